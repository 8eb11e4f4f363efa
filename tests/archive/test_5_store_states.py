# SPDX-License-Identifier: Apache-2.0
"""States that are objects, while the object store refuses, is away, or loses its answers: a run ends as it ended, the version before
stays, and whoever asks is told."""
import json
import urllib.error
import urllib.request

import pytest
from archive import settle
from proxy import SLOW_DOWN
from test_2_states import run, session_key

DENIED = b"<Error><Code>AccessDenied</Code></Error>"
PUT, GET = r"^PUT /archive-test/default/.*/state-", r"^GET /archive-test/default/.*/state-"
LARGE = "import os; data = os.urandom(100_000)"
S3_TRIES = 6  # of one operation of the store's client; lib/io/store/s3.h
DOWN = [{"status": 503, "body": SLOW_DOWN}, {"status": 403, "body": DENIED}]


@pytest.fixture(autouse=True)
def plain(s3):
    s3.proxy.clear()
    yield
    s3.proxy.clear()


def send(s3, path, data):
    """As it is, which no JSON is."""
    request = urllib.request.Request(s3.system.url + path, data=data, headers={
        "x-api-key": s3.system.key, "content-type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def fork(s3, session):
    status, body = s3.call(f"/v1/sessions/{session}/fork", {"version": 1})
    return status, json.loads(body)


def versions(s3, session):
    return [one["version"] for one in json.loads(s3.call(f"/v1/sessions/{session}/versions")[1])["versions"]]


@pytest.mark.parametrize("down", DOWN)
def test_a_run_whose_state_the_store_does_not_take(s3, down):
    session, _, _ = run(s3, "x = 1")
    rule = s3.proxy.rule(PUT, "answer", 10**6, **down)
    _, out, told = run(s3, f"x = 2; {LARGE}; print('ran')", session)
    assert (out, told["exit_code"], told["job_status"]) == ("ran\n", 0, "completed") and rule.hits
    assert told["state_version"] == 1 and told["has_state"] is True
    assert told["state_warnings"] == [{"name": "*", "reason": "the object store took no state at present"}]
    assert versions(s3, session) == [1] and run(s3, "print(x)", session)[1] == "1\n"  # two bytes need no object
    s3.proxy.clear()
    _, _, told = run(s3, f"x = 3; {LARGE}", session)
    assert told["state_version"] == versions(s3, session)[0] and "state_warnings" not in told
    assert run(s3, "print(x, len(data))", session)[1] == "3 100000\n"


def test_uploads_and_forks_are_told_and_change_nothing(s3):
    session, _, told = run(s3, f"x = 1; {LARGE}")
    _, blob = s3.call(f"/state/{session}")
    assert len(blob) == told["state_size"] > 64 << 10
    fresh = "Y" * 21
    s3.proxy.rule(PUT, "answer", 10**6, **DOWN[1])
    for answer in (send(s3, f"/state/{session}", blob), send(s3, f"/state/{fresh}", blob), fork(s3, session)):
        assert answer[0] == 503 and answer[1]["error_type"] == "service_unavailable", answer
    assert versions(s3, session) == [1] and not session_key(s3, fresh)
    s3.proxy.clear()
    s3.proxy.rule(GET, "answer", 10**6, **DOWN[1])
    status, told = fork(s3, session)
    assert (status, told["error_type"]) == (503, "service_unavailable"), told
    assert s3.call(f"/state/{session}")[0] == 503
    s3.proxy.clear()
    assert send(s3, f"/state/{fresh}", blob)[0] == 201
    status, told = fork(s3, session)
    assert status == 201
    for one in (session, fresh, told["session_id"]):
        assert run(s3, "print(x, len(data))", one)[1] == "1 100000\n"
    assert not s3.unnamed()


def test_a_run_waits_for_the_object_of_its_state(s3):
    session, _, _ = run(s3, f"x = 7; {LARGE}")
    rule = s3.proxy.rule(GET, "answer", 10**6, **DOWN[0])
    job = json.loads(s3.call("/v1/jobs", {"lang": "py", "code": "print(x, len(data))", "session_id": session})[1])["job_id"]
    settle("its worker asks again, not only the store's client", lambda: rule.hits > S3_TRIES)
    s3.proxy.clear()
    told = settle("it ends", lambda: (told := json.loads(s3.call(f"/v1/jobs/{job}")[1]))["finished_at"] and told)
    assert (told["status"], told["attempt"], told["result"]["stdout"]) == ("completed", 1, "7 100000\n")


def test_a_lost_answer_is_no_failure(s3):
    session, _, _ = run(s3, "x = 1")
    rule = s3.proxy.rule(PUT, "lost_reply", 1)
    _, _, told = run(s3, f"x = 2; {LARGE}", session)
    assert rule.hits == 1 and told["state_version"] == 2 and "state_warnings" not in told
    _, blob = s3.call(f"/state/{session}")
    s3.proxy.rule(PUT, "lost_reply", 1)
    assert send(s3, f"/state/{session}", blob)[0] == 201
    s3.proxy.rule(GET, "lost_reply", 1)
    assert run(s3, "print(x, len(data))", session)[1] == "2 100000\n"
    assert not s3.unnamed()
