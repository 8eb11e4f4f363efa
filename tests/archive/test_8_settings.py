# SPDX-License-Identifier: Apache-2.0
"""What the archiver's settings do, and what its metrics tell. Each test has archivers of its own only."""
import time

import pytest
from archive import Scene, settle
from test_2_states import archive, idle, run, session_key
from test_4_orphans import upload


def score(scene, session):
    return scene.redis.zscore(session_key(scene, session).split("}:")[0] + "}:sidle", session)


def test_after_how_long_a_state_is_idle(scene):
    hour = scene.archiver()
    session, _, _ = run(scene, "x = 1")
    begun = score(scene, session)
    one = scene.archiver(STATE_ARCHIVE_AFTER_SECONDS="2")
    settle("it is archived by itself", lambda: not session_key(scene, session, ":blobs"))
    archived = int(scene.redis.xrevrange(session_key(scene, session, ":log"), count=1)[0][1]["m"])
    assert 2000 <= archived - begun
    assert one.end() == 0
    other, _, _ = run(scene, "x = 1")
    looks = hour.metric("millrace_redis_commands_total")
    settle("it has looked", lambda: hour.metric("millrace_redis_commands_total") > looks + 50)
    assert session_key(scene, other, ":blobs")
    assert hour.end() == 0


@pytest.mark.parametrize("days", [1, 30])
def test_how_long_an_archive_is_kept(scene, days):
    """A day is what its session has left anyway, so only more shows."""
    session, _, _ = run(scene, "x = 1")
    job = scene.run("print(1)")
    one = scene.archiver(STATE_ARCHIVE_TTL_DAYS=str(days), JOB_ARCHIVE_TTL_DAYS=str(days))
    archive(scene, session)
    scene.due(job)
    settle("the log is archived", lambda: scene.place(job))
    now, wanted = time.time() * 1000, days * 24 * 3600 * 1000
    finished, ttl = map(int, scene.redis.hmget(scene.key(job), "finished", "ttl"))
    for due in (int(scene.redis.hget(session_key(scene, session), "due")), finished + ttl):
        assert abs(due - now - wanted) < 60000
    assert one.end() == 0


def test_how_often_it_looks(scene):
    first, _, _ = run(scene, "x = 1")
    idle(scene, first)
    one = scene.archiver(STATE_ARCHIVE_CHECK_INTERVAL_SECONDS="3600")
    settle("it has looked once", lambda: not session_key(scene, first, ":blobs"))
    session, _, _ = run(scene, "x = 1")
    idle(scene, session)
    asked = one.metric("millrace_redis_commands_total")
    settle("it has asked for other things", lambda: one.metric("millrace_redis_commands_total") >= asked + 3)
    assert session_key(scene, session, ":blobs")
    other = scene.archiver()
    settle("another looks at once", lambda: not session_key(scene, session, ":blobs"))
    assert one.end() == 0 and other.end() == 0


def over(scene):
    """The key of a session whose time is over."""
    session, _, _ = run(scene, "x = 1")
    key = session_key(scene, session)
    scene.redis.hset(key, "due", 1)
    scene.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
    return key


def test_how_often_it_looks_for_sessions_that_are_over(scene):
    started = []
    for minutes in ("1440", "1"):
        first = over(scene)
        started.append(scene.archiver(SESSION_CLEANUP_INTERVAL_MINUTES=minutes))
        settle("it looks when it starts", lambda one=first: scene.redis.hget(one, "status") == "gone")
    began, second = time.monotonic(), over(scene)
    settle("it looks again", lambda: scene.redis.hget(second, "status") == "gone", 150)
    assert time.monotonic() - began > 30
    settle("and counts it", lambda: [one.metric('millrace_expired_total{what="session"}') for one in started] == [1, 2])
    assert [one.end() for one in started] == [0, 0]


def test_how_long_a_session_is_kept(tmp_path, cluster):
    """More than STATE_TTL_SECONDS, so that the setting shows: of what an upload makes, and of what a run does."""
    made = Scene(tmp_path / "hours", cluster=cluster, SESSION_TTL_HOURS="5")
    try:
        for session in (upload(made, b"in")["session_id"], run(made, "open('f.txt', 'w').write('out')")[0]):
            created, due = map(int, made.redis.hmget(session_key(made, session), "created", "due"))
            assert 5 * 3600 * 1000 <= due - created < 5 * 3600 * 1000 + 60000
    finally:
        made.stop()


def metric(scene, name):
    """Of the API."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in scene.call("/metrics")[1].decode().splitlines() if line.startswith(name))


def test_every_metric_counts_what_was_caused(scene):
    job, (session, _, _) = scene.run("print(1)"), run(scene, "x = 1")
    scene.redis.zadd(scene.key(job).split("j:")[0] + "due", {job: int((time.time() - 100) * 1000)})
    scene.redis.hset(scene.key(job), "ttl", 1)
    idle(scene, session)
    first = scene.archiver(STATE_ARCHIVE_CHECK_INTERVAL_SECONDS="3600")  # one look, whose figures stay
    settle("both are archived", lambda: scene.place(job) and not session_key(scene, session, ":blobs"))
    for what in ("log", "state"):
        settle("it is counted", lambda what=what: first.metric(f'millrace_archived_total{{what="{what}"}}') >= 1)
        assert first.metric(f'millrace_archived_bytes_total{{what="{what}"}}') > 50
    assert 100 <= first.metric('millrace_archive_lag_seconds{what="log"}') < 200
    assert first.metric('millrace_archive_lag_seconds{what="state"}') > 10**9  # idle() says since 1970
    before = {what: metric(scene, f'millrace_restored_total{{what="{what}"}}') for what in ("log", "state")}
    assert scene.call(f"/v1/jobs/{job}")[0] == 200 and scene.call(f"/state/{session}")[0] == 200
    assert {what: metric(scene, f'millrace_restored_total{{what="{what}"}}') - before[what] for what in before} == \
        {"log": 1, "state": 1}
    assert first.end() == 0
    scene.over(job)
    second = scene.archiver()
    settle("the job has gone for good", lambda: second.metric('millrace_expired_total{what="log"}') == 1)
    settle("and its pack", lambda: scene.over() or second.metric("millrace_swept_objects_total") >= 1)
    assert second.end() == 0
