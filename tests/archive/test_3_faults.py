# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the archiver at every step, two of them at one work, a store that goes away: nothing is lost, nothing is left."""
import contextlib
import ctypes
import json
import re
import signal

import pytest
from archive import Scene, Still, settle, time
from system import ROOT, files_below
from test_2_states import archive, idle, run, session_key

LOG_POINTS = ["taken", "registered", "spooled", "put", "verified", "commit-sent", "committed"]
PACK_POINTS = ["packs-taken", "pack-deleted"]
SWEEP_POINTS = ["sweep-turn", "uploads-swept", "orphans-listed", "orphan-noted"]
STATE_POINTS = ["state-taken", "state-registered", "state-put", "state-verified", "state-committed"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    made = Scene(tmp_path_factory.mktemp("faults"), cluster=cluster)
    made.announce()
    yield made
    made.stop()


def test_every_step_is_tried():
    steps = {step for path in (ROOT / "archiver").glob("*.c") for step in re.findall(r'test_point\("([^"]+)"', path.read_text())}
    assert steps == {*LOG_POINTS, *STATE_POINTS, *PACK_POINTS, *SWEEP_POINTS, "session-expired"}


def dies_at(scene, point):
    one = scene.archiver(ready=False, TEST_KILL_AT=point)
    assert one.process.wait(60) == -signal.SIGKILL, one.log.read_text()


def put_off(scene):
    """What was put off, or taken by an archiver that died, is due now: unused packs, unnamed objects, leases."""
    used = {scene.redis.hget(key, "arch").split()[0] for key in scene.keys("*}:j:*")
            if key.count(":") == 3 and scene.redis.hget(key, "arch")}
    for packs in scene.keys("*}:packs"):
        for name in scene.redis.zrange(packs, 0, -1):
            if name not in used:
                scene.redis.zadd(packs, {name: 1}, xx=True)


def named(scene):
    return {record.split()[2] for key in scene.keys("*}:s:*:states") for record in scene.redis.hvals(key)} - {"-"}


def objects(scene):
    return {str(path.relative_to(scene.objects)).replace("+/", "/") for path in files_below(scene.objects)}


def clean(scene):
    """Only what is named is left in the object store, everything named is there, and the logs say the same as Redis."""
    def left():
        put_off(scene)
        packs = {f"archive.logs/{key.split('{')[1].split('}')[0]}/{name}" for key in scene.keys("*}:packs")
                 for name in scene.redis.zrange(key, 0, -1) if "/" not in name}
        archived = {name for name in objects(scene) if name.startswith("archive.")}
        return archived == packs | named(scene) and not scene.keys("*}:drop")
    settle("only what is named is left", left)
    assert scene.residue() == [] and scene.differences() == []


@pytest.mark.parametrize("point", LOG_POINTS)
def test_killed_while_logs_move(scene, point):
    jobs = [scene.run(f"print({n})") for n in range(2)]
    before = {job: scene.shown(job) for job in jobs}
    scene.due(*jobs)
    dies_at(scene, point)
    assert {job: scene.shown(job) for job in jobs} == before
    scene.due(*[job for job in jobs if not scene.place(job)])
    other = scene.archiver()
    settle("all are archived", lambda: all(scene.place(job) for job in jobs))
    assert {job: scene.shown(job) for job in jobs} == before
    clean(scene)
    assert other.end() == 0


@pytest.mark.parametrize("point", PACK_POINTS)
def test_killed_while_packs_are_deleted(scene, point):
    job = scene.run("print(1)")
    scene.due(job)
    other = scene.archiver()
    settle("it is archived", lambda: scene.place(job))
    assert other.end() == 0
    scene.over(*[key.rsplit(":", 1)[1] for key in scene.keys("*}:j:*") if scene.redis.hget(key, "arch")])
    dies_at(scene, point)
    scene.over(*[key.rsplit(":", 1)[1] for key in scene.keys("*}:j:*") if scene.redis.hget(key, "arch")])  # its leases
    other = scene.archiver()
    settle("the jobs are gone", lambda: not scene.keys("*}:j:*"))
    clean(scene)
    assert other.end() == 0


@pytest.mark.parametrize("point", STATE_POINTS)
def test_killed_while_a_state_moves(scene, point):
    session, _, _ = run(scene, "x = 41")
    run(scene, "x += 1", session)
    idle(scene, session)
    dies_at(scene, point)
    assert run(scene, "print(x)", session)[1] == "42\n"
    other = scene.archiver()
    archive(scene, session)
    clean(scene)
    assert run(scene, "print(x)", session)[1] == "42\n"
    clean(scene)
    assert other.end() == 0


def test_killed_when_a_session_has_ended(scene):
    session, _, _ = run(scene, "x = 1; open('f', 'w').write('f')")
    key = session_key(scene, session)
    scene.redis.hset(key, "due", 1)
    scene.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
    dies_at(scene, "session-expired")
    other = scene.archiver()

    def gone():
        put_off(scene)
        return not [name for name in objects(scene) if session in name]
    settle("its objects are deleted", gone)
    clean(scene)
    assert other.end() == 0


@pytest.fixture
def still():
    made = Still()
    yield made
    made.remove()


@pytest.mark.parametrize("point", ["registered", "put", "verified"])
def test_an_archiver_that_was_too_slow_changes_nothing(scene, still, point):
    jobs = [scene.run(f"print('{point}', {n})") for n in range(2)]
    before = {job: scene.shown(job) for job in jobs}
    with still.at(point) as stands:
        slow = scene.archiver(TEST_HOLD_AT=str(still.folder))
        scene.due(*jobs)
        stands()
        scene.due(*jobs)
        quick = scene.archiver()
        settle("another has archived them", lambda: all(scene.place(job) for job in jobs))
        places = [scene.place(job) for job in jobs]
    assert {job: scene.shown(job) for job in jobs} == before
    settle("the slow one goes on", slow.is_ready)
    assert slow.end() == 0 and [scene.place(job) for job in jobs] == places
    clean(scene)
    assert quick.end() == 0


def test_a_commit_while_its_session_is_archived(scene, still):
    session, _, _ = run(scene, "x = 1")
    with still.at("state-verified") as stands:
        slow = scene.archiver(TEST_HOLD_AT=str(still.folder))
        idle(scene, session)
        stands()
        assert run(scene, "x += 1; print(x)", session)[1] == "2\n"
    settle("the older version has moved", lambda: any(session in name for name in named(scene)))
    assert scene.redis.hget(session_key(scene, session), "status") == "live"
    assert run(scene, "print(x)", session)[1] == "2\n"
    clean(scene)
    assert slow.end() == 0


def test_a_session_that_ends_while_it_is_archived_stays_gone(scene, still):
    session, _, _ = run(scene, "x = 1")
    key = session_key(scene, session)
    with still.at("state-verified") as stands:
        slow = scene.archiver(TEST_HOLD_AT=str(still.folder))
        idle(scene, session)
        stands()
        scene.redis.hset(key, "due", 1)
        scene.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
        quick = scene.archiver()
        settle("it is gone", lambda: scene.redis.hget(key, "status") == "gone")
    settle("the slow one goes on", slow.is_ready)
    clean(scene)
    assert not [name for name in objects(scene) if session in name] and scene.redis.hget(key, "status") == "gone"
    assert slow.end() == 0 and quick.end() == 0


def exchange(one, other):
    """Their names, at once: an archiver that tries makes a folder wherever there is none."""
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if ctypes.CDLL(None, use_errno=True).renameat2(here, bytes(one), here, bytes(other), both):
        raise OSError(ctypes.get_errno(), "renameat2")


@contextlib.contextmanager
def store_away(scene):
    """Where the archiver writes there is no folder. (That of the whole store can be renamed and is still the one that programs have open.)"""
    places = [scene.objects / name for name in ("archive.logs+", "archive.state+")]

    def swap():
        for place in places:
            exchange(place, place.with_name("." + place.name))
    for place in places:
        place.mkdir(exist_ok=True)
        place.with_name("." + place.name).write_text("no folder")
    swap()
    try:
        yield
    finally:
        swap()
        for place in places:
            place.with_name("." + place.name).unlink()


def test_a_store_that_goes_away_and_comes_back(scene):
    one = scene.archiver()
    session, _, _ = run(scene, "x = 7")
    archive(scene, session)
    job = scene.run("print('kept')")
    before = scene.shown(job)
    with store_away(scene):
        scene.due(job)
        idle(scene, session)
        settle("it is tried", lambda: one.metric('millrace_archive_failures_total{what="log"}') >= 2)
        assert scene.place(job) is None and scene.shown(job) == before
        assert scene.call("/v1/jobs")[0] == 200
    settle("it recovers by itself", lambda: scene.place(job), 60)
    assert scene.shown(job) == before and run(scene, "print(x)", session)[1] == "7\n"
    clean(scene)
    assert one.end() == 0


def test_how_long_a_state_waits_is_told_while_the_store_is_away(scene):
    session, _, _ = run(scene, "x = 8")
    one = scene.archiver()
    lag = 'millrace_archive_lag_seconds{what="state"}'
    sidle = session_key(scene, session).split("}:")[0] + "}:sidle"
    since = int((time.time() - 3600 - 1000) * 1000)  # STATE_ARCHIVE_AFTER_SECONDS, and longer
    with store_away(scene):
        scene.redis.zadd(sidle, {session: since})
        settle("its wait is told", lambda: one.metric(lag) >= 1000)
        settle("it cannot be moved", lambda: one.metric('millrace_archive_failures_total{what="state"}') >= 1)
        first = one.metric(lag)
        settle("later looks, which do not find it, know of it", lambda: one.metric(lag) >= first + 2)
    scene.redis.zadd(sidle, {session: since})  # as if the lease were over
    settle("it is moved", lambda: not session_key(scene, session, ":blobs"))
    settle("nothing waits", lambda: one.metric(lag) == 0)
    assert run(scene, "print(x)", session)[1] == "8\n"
    assert one.end() == 0


def test_what_presses_leaves_before_it_is_due(scene):
    one = scene.archiver(QUEUE_MAX_MB="1")
    jobs = [scene.run("print('y' * 200000)") for _ in range(6)]
    settle("some have left", lambda: any(scene.place(job) for job in jobs))
    assert all(json.loads(scene.call(f"/v1/jobs/{job}")[1])["result"]["stdout"] == "y" * 200000 + "\n" for job in jobs)
    assert one.end() == 0


def test_logs_are_deleted_where_the_archive_is_off(scene):
    one = scene.archiver(JOB_ARCHIVE_ENABLED="false", STATE_ARCHIVE_ENABLED="false")
    job, (session, _, _) = scene.run("print(1)"), run(scene, "x = 1")
    assert session_key(scene, session, ":blobs")
    packs = scene.packs()
    idle(scene, session)
    scene.due(job)
    settle("it is gone", lambda: scene.call(f"/v1/jobs/{job}")[0] == 404)
    assert scene.packs() == packs and session_key(scene, session, ":blobs")
    assert one.end() == 0
