# SPDX-License-Identifier: Apache-2.0
"""An archived state comes back while something else changes it, at each step of its way and many times at random; and while its
store is away."""
import concurrent.futures
import contextlib
import json
import pickle
import re
import urllib.error
import urllib.request

import pytest
from archive import Scene, Still, settle
from system import ROOT
from test_2_states import archive, run, session_key

TURNS = 50
RESTORE = ["restore-wanted", "restore-read", "restore-done"]  # after each of them the state is read again
STEPS = [*RESTORE, "state-read"]
CHANGES = ["state-put", "state-finish"]  # where a change stands right before its script
UPLOAD = b"\1" + pickle.dumps({"x": 100})
COUNT = "x = globals().get('x', 0) + 1; print(x)"


def test_every_step_is_tried():
    steps = {step for path in (ROOT / "lib" / "queue").glob("*.c") for step in re.findall(r'test_point\("([^"]+)"', path.read_text())}
    assert steps == {*STEPS, *CHANGES}


@pytest.fixture(scope="module")
def still():
    made = Still()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster, still):
    made = Scene(tmp_path_factory.mktemp("races"), cluster=cluster, apis=2, TEST_HOLD_AT=str(still.folder))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def slow_scene(tmp_path_factory, cluster):
    """The same, but each step takes a while, another one every time."""
    made = Scene(tmp_path_factory.mktemp("slow"), cluster=cluster, apis=2, TEST_DELAY_MS="10")
    one = made.archiver(TEST_DELAY_MS="0")
    yield made
    assert one.end() == 0
    made.stop()


@pytest.fixture(scope="module")
def archiver(scene):
    one = scene.archiver(TEST_HOLD_AT="")
    yield one
    assert one.end() == 0


def told(scene, method, path, content=None, api=0):
    """The answer's status, body and headers."""
    request = urllib.request.Request(scene.system.urls[api] + path, method=method, data=content,
                                     headers={"x-api-key": scene.system.key, "content-type": "application/octet-stream"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def call(scene, method, path, content=None, api=0):
    return told(scene, method, path, content, api)[:2]


def both(first, second):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(first), pool.submit(second)
        return one.result(), two.result()


@contextlib.contextmanager
def meanwhile(still, step, action):
    """The action stands still at the step while the block runs; what is given has its result afterwards."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool, still.at(step) as stands:
        running = pool.submit(action)
        stands()
        yield running


def cold_sessions(scene, count=TURNS):
    sessions = [run(scene, "x = 1")[0] for _ in range(count)]
    archive(scene, *sessions)
    return sessions


def versions(scene, session):
    body = json.loads(call(scene, "GET", f"/v1/sessions/{session}/versions")[1])
    return body["version"], [v["version"] for v in body["versions"]]


def has(scene, session):
    return run(scene, "print(globals().get('x'))", session)[1].strip()


# ---- at each step: what comes in between is complete before the step is left ----


@pytest.mark.parametrize("step", STEPS)
def test_an_upload_while_a_run_restores(scene, archiver, still, step):
    [session] = cold_sessions(scene, 1)
    with meanwhile(still, step, lambda: run(scene, COUNT, session)) as running:
        assert call(scene, "POST", f"/state/{session}", UPLOAD)[0] == 201
    _, out, ran = running.result()
    if step in RESTORE:
        assert (out, ran["state_version"], versions(scene, session)) == ("101\n", 3, (3, [3, 2, 1]))
        assert has(scene, session) == "101"
    else:  # it had read the old one: it must not be saved over the upload
        assert out == "2\n" and [warning["name"] for warning in ran["state_warnings"]] == ["*"], ran
        assert versions(scene, session) == (2, [2, 1]) and has(scene, session) == "100"


@pytest.mark.parametrize("step", STEPS)
def test_a_deletion_while_a_run_restores(scene, archiver, still, step):
    [session] = cold_sessions(scene, 1)
    with meanwhile(still, step, lambda: run(scene, COUNT, session)) as running:
        assert call(scene, "DELETE", f"/state/{session}")[0] == 204
    _, out, ran = running.result()
    if step in RESTORE:
        assert (out, ran["state_version"], has(scene, session)) == ("1\n", 3, "1")
    else:
        assert out == "2\n" and has(scene, session) == "None", ran


@pytest.mark.parametrize("step", STEPS)
def test_a_session_ends_while_a_run_restores(scene, archiver, still, step):
    [session] = cold_sessions(scene, 1)
    key = session_key(scene, session)
    with meanwhile(still, step, lambda: run(scene, COUNT, session)) as running:
        scene.redis.hset(key, "due", 1)
        scene.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
        other = scene.archiver(TEST_HOLD_AT="")  # the interval of this look is minutes: a new one looks at once
        settle("it is gone", lambda: scene.redis.hget(key, "status") == "gone")
        assert other.end() == 0
    _, out, ran = running.result()
    assert out == ("1\n" if step in RESTORE else "2\n") and ran["state_warnings"], ran
    assert scene.redis.hget(key, "status") == "gone" and call(scene, "GET", f"/state/{session}")[0] == 404
    assert session_key(scene, session, ":blobs") is None and session_key(scene, session, ":states") is None


@pytest.mark.parametrize("step", STEPS)
def test_a_run_commits_while_a_reader_restores(scene, archiver, still, step):
    [session] = cold_sessions(scene, 1)
    with meanwhile(still, step, lambda: told(scene, "GET", f"/state/{session}", api=1)) as reading:
        _, out, ran = run(scene, COUNT, session)
        assert (out, ran["state_version"]) == ("2\n", 2)
    status, _, headers = reading.result()
    assert (status, headers["x-state-version"]) == (200, "2" if step in RESTORE else "1")
    assert (headers["etag"] == f'"{ran["state_hash"]}"') == (step in RESTORE)
    assert versions(scene, session) == (2, [2, 1]) and has(scene, session) == "2"


@pytest.mark.parametrize("step", STEPS)
def test_a_deletion_while_a_reader_restores(scene, archiver, still, step):
    [session] = cold_sessions(scene, 1)
    with meanwhile(still, step, lambda: told(scene, "GET", f"/state/{session}", api=1)) as reading:
        assert call(scene, "DELETE", f"/state/{session}")[0] == 204
    assert reading.result()[0] == (404 if step in RESTORE else 200)
    assert call(scene, "GET", f"/state/{session}")[0] == 404 and has(scene, session) == "None"


@pytest.mark.parametrize("change", ["upload", "delete"])
def test_a_reader_restores_while_something_else_changes_it(scene, archiver, still, change):
    """The other way round: the change stands before its script, the restore is complete."""
    [session] = cold_sessions(scene, 1)
    action = ("POST", f"/state/{session}", UPLOAD) if change == "upload" else ("DELETE", f"/state/{session}")
    with meanwhile(still, "state-put", lambda: told(scene, *action, api=1)) as changing:
        assert told(scene, "GET", f"/state/{session}")[2]["x-state-version"] == "1"
    assert changing.result()[0] in (201, 204)
    assert has(scene, session) == ("100" if change == "upload" else "None")


def test_a_run_is_archived_and_restored_before_it_commits(scene, archiver, still):
    [session] = cold_sessions(scene, 1)
    with meanwhile(still, "state-finish", lambda: run(scene, COUNT, session)) as running:
        archive(scene, session)
        assert told(scene, "GET", f"/state/{session}")[2]["x-state-version"] == "1"
    assert running.result()[1] == "2\n" and versions(scene, session) == (2, [2, 1]) and has(scene, session) == "2"


# ---- many times: every step takes another while ----


def test_restore_against_commit(slow_scene):
    """Whoever came second built on the first one, or was told that it came too late: no effect is lost in silence."""
    for turn, session in enumerate(cold_sessions(slow_scene)):
        (_, _, ran), (status, body) = both(lambda: run(slow_scene, "x += 1", session),
                                           lambda: call(slow_scene, "POST", f"/state/{session}", UPLOAD, api=1))
        assert ran["exit_code"] == 0, ran
        mine = ran["state_version"] if not ran.get("state_warnings") else 0
        if status == 409:
            wanted, present = 2, 2
        else:
            theirs = json.loads(body)["version"]
            wanted, present = (101 if mine > theirs else 100), max(mine, theirs)
        assert versions(slow_scene, session) == (present, list(range(present, 0, -1))), (ran, status, body)
        assert run(slow_scene, "print(x)", session)[1] == f"{wanted}\n", (turn, ran, status, body)


def test_restore_against_delete(slow_scene):
    """What was deleted never comes back: a run that began with it is not saved behind the deletion."""
    for turn, session in enumerate(cold_sessions(slow_scene)):
        (_, out, ran), (status, _) = both(lambda: run(slow_scene, COUNT, session),
                                          lambda: call(slow_scene, "DELETE", f"/state/{session}", api=1))
        assert status == 204 and ran["exit_code"] == 0, ran
        info = json.loads(call(slow_scene, "GET", f"/state/{session}/info")[1])
        assert info["exists"] == (out == "1\n"), (turn, ran, info)
        assert has(slow_scene, session) == ("1" if out == "1\n" else "None")


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
