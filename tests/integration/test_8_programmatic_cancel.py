# SPDX-License-Identifier: Apache-2.0
"""POST /exec/programmatic/cancel and the ids that clients give their requests (CONTRACT 7); what a round says besides its calls."""
import threading
import uuid

import pytest

from conftest import finish
from contract import Api
from system import System, wait_until

TOOLS = [{"name": "t", "parameters": {"properties": {"n": {}}}}]


@pytest.fixture(scope="module")
def plant(tmp_path_factory, cluster):
    system = System(tmp_path_factory.mktemp("plant"), apis=2, cluster=cluster, env={"API_KEYS": "other:other-key-0123456789"})
    with Api(system) as api:
        yield system, api
    finish(system)


def header(request_id):
    return {"X-LibreChat-Code-Request-ID": request_id}


def begin(api, code, request_id=None, **more):
    answer = api.post("/exec/programmatic", json={"code": code, "tools": TOOLS, **more}, headers=header(request_id) if request_id else None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def go_on(api, told, request_id=None, result=1):
    results = [{"call_id": call["id"], "result": result} for call in told["tool_calls"]]
    return api.post("/exec/programmatic", json={"continuation_token": told["continuation_token"], "tool_results": results},
                    headers=header(request_id) if request_id else None)


def cancel(api, request_id):
    return api.post("/exec/programmatic/cancel", json={"request_id": request_id})


def last_event(api):
    job = api.get("/v1/jobs").json()["jobs"][0]["job_id"]
    return api.get(f"/v1/jobs/{job}/events").json()["events"][-1]


def running(api, request_id, told):
    """A continuation that does not end by itself, and what it is answered."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(go_on(api, told, request_id)))
    thread.start()
    wait_until("it has its results", lambda: last_event(api)["type"] == "tool_result")
    return thread, answers


def test_a_request_under_way_is_cancelled_at_any_api(plant):
    system, api = plant
    one, other = (Api(system, url=url) for url in system.urls)
    with one, other:
        request_id = str(uuid.uuid4())
        thread, answers = running(one, request_id, begin(one, "await t(n=1)\nwhile True: pass"))
        told = cancel(other, request_id)
        assert (told.status_code, told.json()) == (202, {"status": "cancellation_requested"})
        thread.join()
        assert answers[0].json()["status"] == "error" and last_event(api)["type"] == "cancelled"
        assert cancel(other, request_id).status_code in (200, 202)  # by now it may have its answer


def test_what_has_its_answer_is_not_cancelled(plant):
    """At the api that gave the answer, whose close of the record is before the cancel in its connection; then at any."""
    system, api = plant
    one, other = (Api(system, url=url) for url in system.urls)
    with one, other:
        request_id = str(uuid.uuid4())
        told = begin(one, "print(await t(n=1))", request_id)
        for asked in (one, other):
            answer = cancel(asked, request_id)
            assert (answer.status_code, answer.json()) == (200, {"status": "already_completed"})
    assert go_on(api, told, str(uuid.uuid4())).json()["stdout"] == "1\n"


def test_a_cancel_that_comes_first_is_remembered(plant):
    _, api = plant
    request_id = str(uuid.uuid4())
    assert cancel(api, request_id).status_code == 202
    told = begin(api, "await t(n=1)\nwhile True: pass", request_id)
    wait_until("it is ended", lambda: last_event(api)["type"] == "cancelled")
    assert told["status"] in ("error", "tool_call_required")  # whichever came first; it is over


def test_an_id_in_use_and_a_malformed_one(plant):
    _, api = plant
    request_id = str(uuid.uuid4())
    thread, answers = running(api, request_id, begin(api, "await t(n=1)\nwhile True: pass"))
    answer = api.post("/exec/programmatic", json={"code": "await t(n=2)", "tools": TOOLS}, headers=header(request_id))
    assert (answer.status_code, answer.json()["error"]) == (409, "Programmatic request ID is already in use")
    assert cancel(api, request_id).status_code == 202
    thread.join()
    answer = api.post("/exec/programmatic", json={"code": "1", "tools": TOOLS}, headers=header("no-uuid"))
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid programmatic request ID")
    for body in ({}, {"request_id": 1}, {"request_id": "x" * 36}, []):
        answer = api.post("/exec/programmatic/cancel", json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "Invalid or missing request_id")


def test_somebody_elses(plant):
    system, api = plant
    request_id = str(uuid.uuid4())
    told = begin(api, "await t(n=1)", request_id)
    with Api(system, key="other-key-0123456789") as other:
        answer = cancel(other, request_id)
        assert (answer.status_code, answer.json()["error"]) == (403, "Programmatic request belongs to another principal")
    assert go_on(api, told).json()["status"] == "completed"


@pytest.mark.parametrize("lang, code", [("python", "print('a')\nawait t(n=1)\nprint('b')\nprint('e', file=sys.stderr)\nawait t(n=2)\nprint('c')"),
                                        ("bash", "echo a; t '{\"n\":1}' >/dev/null; echo b; echo e >&2; t '{\"n\":2}' >/dev/null; echo c")],
                         ids=["python", "bash"])
def test_what_was_written_so_far(plant, lang, code):
    _, api = plant
    first = begin(api, code, lang=lang)
    assert first["partial_stdout"] == "a\n" and "partial_stderr" not in first
    second = go_on(api, first).json()
    assert (second["partial_stdout"], second["partial_stderr"]) == ("a\nb\n", "e\n")
    last = go_on(api, second).json()
    assert (last["status"], last["stdout"], last["stderr"]) == ("completed", "a\nb\nc\n", "e\n")


def test_a_session_that_is_not_ones_own_is_no_hindrance(plant):
    """session_id is advice (CONTRACT 3.1): with a stale one the run gets a fresh session, and gives its files."""
    _, api = plant
    for stale in ("A" * 21, "nonsense", 7):
        told = begin(api, "open('f.txt', 'w').write(str(await t(n=1)))", session_id=stale)
        last = go_on(api, told).json()
        assert last["status"] == "completed" and [file["name"] for file in last["files"]] == ["f.txt"], last
        assert last["session_id"] == told["session_id"] != stale
