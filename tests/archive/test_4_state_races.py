# SPDX-License-Identifier: Apache-2.0
"""An archived state comes back while something else changes it, at every moment of its way; and while its store is away."""
import concurrent.futures
import contextlib
import json
import pickle
import time
import urllib.error
import urllib.request

import pytest
from archive import Scene, settle
from test_2_states import archive, run

TURNS = 50
SWEEP = 0.03  # seconds: the second of the two is sent so much later at most, which is longer than the first one takes


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    made = Scene(tmp_path_factory.mktemp("races"), cluster=cluster)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def archiver(scene):
    one = scene.archiver()
    yield one
    assert one.end() == 0


def call(scene, method, path, content=None):
    request = urllib.request.Request(scene.system.url + path, method=method, data=content,
                                     headers={"x-api-key": scene.system.key, "content-type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def both(first, second, turn):
    """Both at once: in half of the turns the second waits, in the others the first, each time by another step."""
    delay = (turn // 2) * 2 * SWEEP / TURNS

    def late(action, wait):
        time.sleep(wait)
        return action()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one = pool.submit(late, first, delay if turn % 2 else 0)
        two = pool.submit(late, second, 0 if turn % 2 else delay)
        return one.result(), two.result()


def cold_sessions(scene):
    sessions = [run(scene, "x = 1")[0] for _ in range(TURNS)]
    archive(scene, *sessions)
    return sessions


def versions(scene, session):
    told = json.loads(call(scene, "GET", f"/v1/sessions/{session}/versions")[1])
    return told["version"], [v["version"] for v in told["versions"]]


def test_restore_against_commit(scene, archiver):
    """Whoever came second built on the first one, or was told that it came too late: no effect is lost in silence."""
    upload = b"\1" + pickle.dumps({"x": 100})
    for turn, session in enumerate(cold_sessions(scene)):
        (_, _, ran), (status, body) = both(lambda: run(scene, "x += 1", session), lambda: call(scene, "POST", f"/state/{session}", upload), turn)
        assert ran["exit_code"] == 0, ran
        mine = ran["state_version"] if not ran.get("state_warnings") else 0
        if status == 409:
            wanted, present = 2, 2
        else:
            theirs = json.loads(body)["version"]
            wanted, present = (101 if mine > theirs else 100), max(mine, theirs)
        assert versions(scene, session) == (present, list(range(present, 0, -1))), (ran, status, body)
        assert run(scene, "print(x)", session)[1] == f"{wanted}\n", (turn, ran, status, body)


def test_restore_against_delete(scene, archiver):
    """What was deleted never comes back: a run that began with it is not saved behind the deletion."""
    code = "x = globals().get('x', 0) + 1; print(x)"
    for turn, session in enumerate(cold_sessions(scene)):
        (_, out, ran), (status, _) = both(lambda: run(scene, code, session), lambda: call(scene, "DELETE", f"/state/{session}"), turn)
        assert status == 204 and ran["exit_code"] == 0, ran
        info = json.loads(call(scene, "GET", f"/state/{session}/info")[1])
        assert info["exists"] == (out == "1\n"), (turn, ran, info)
        assert run(scene, "print(globals().get('x'))", session)[1] == ("1\n" if out == "1\n" else "None\n")


def test_restore_by_many_at_once(scene, archiver):
    """Reads and a run that find the same archived state: one brings it back, all get it."""
    for session in cold_sessions(scene)[:10]:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            reads = [pool.submit(call, scene, "GET", f"/state/{session}") for _ in range(3)]
            ran = pool.submit(run, scene, "print(x)", session)
            assert ran.result()[1] == "1\n"
            assert [one.result()[0] for one in reads] == [200] * 3


@contextlib.contextmanager
def away(scene):
    """No program may look into the folder that is the object store."""
    mode = scene.objects.stat().st_mode
    scene.objects.chmod(0)
    try:
        yield
    finally:
        scene.objects.chmod(mode)


def test_a_run_waits_for_a_store_that_is_away(scene, archiver):
    session = run(scene, "x = 7")[0]
    archive(scene, session)
    with away(scene):
        job = json.loads(scene.call("/v1/jobs", {"lang": "py", "code": "print(x)", "session_id": session})[1])["job_id"]
        settle("it waits", lambda: job in scene.system.log_of("worker"))
    ended = settle("it ends", lambda: (told := json.loads(scene.call(f"/v1/jobs/{job}")[1]))["finished_at"] and told)
    assert (ended["status"], ended["attempt"], ended["result"]["stdout"]) == ("completed", 1, "7\n")


def test_but_not_for_ever(scene, archiver):
    session = run(scene, "x = 7")[0]
    archive(scene, session)
    with away(scene):
        status, body = scene.call("/exec", {"lang": "py", "code": "print(x)", "session_id": session})
    told = json.loads(body)
    assert (status, told["job_status"], told["reason"]) == (200, "failed", "state_unavailable"), told
    assert run(scene, "print(x)", session)[1] == "7\n"
