# SPDX-License-Identifier: Apache-2.0
"""Idle state leaves Redis and comes back when it is asked for; sessions that are due go with all that is theirs."""
import json
import urllib.request

import pytest
from archive import Scene, settle, time
from system import files_below


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    made = Scene(tmp_path_factory.mktemp("states"), cluster=cluster)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def archiver(scene):
    return scene.archiver()


def run(scene, code, session=None):
    status, body = scene.call("/exec", {"lang": "py", "code": code, **({"session_id": session} if session else {})})
    assert status == 200, body
    answer = json.loads(body)
    return answer["session_id"], answer["stdout"], answer


def session_key(scene, session, part=""):
    return next(iter(scene.redis.scan_iter(match=f"*s:{session}{part}", count=1000)), None)


def events(scene, session):
    return [entry["t"] for _, entry in scene.redis.xrange(session_key(scene, session, ":log"))]


def idle(scene, *sessions):
    """Nobody touched their state for long."""
    for session in sessions:
        key = session_key(scene, session).split("}:")[0] + "}:sidle"
        scene.redis.zadd(key, {session: 1}, xx=True)


def states(scene):
    return sorted(str(path.relative_to(scene.objects)).replace("+/", "/") for path in files_below(scene.objects)
                  if "archive.state" in str(path))


def archive(scene, *sessions):
    idle(scene, *sessions)
    settle("the states are archived", lambda: not any(session_key(scene, one, ":blobs") for one in sessions))


def test_it_leaves_and_comes_back_with_the_next_run(scene, archiver):
    session, _, _ = run(scene, "x = 41; text = 'y' * 1000")
    assert session_key(scene, session, ":blobs")
    archive(scene, session)
    assert scene.redis.hget(session_key(scene, session), "status") == "cold" and len(states(scene)) == 1
    assert "state_archived" in events(scene, session)
    _, out, answer = run(scene, "x += 1; print(x, len(text))", session)
    assert out == "42 1000\n", answer
    assert "state_restored" in events(scene, session) and scene.redis.hget(session_key(scene, session), "status") == "live"
    _, out, _ = run(scene, "print(x)", session)
    assert out == "42\n"


def test_many_times(scene, archiver):
    session, _, _ = run(scene, "n = 0")
    for turn in range(1, 6):
        archive(scene, session)
        _, out, answer = run(scene, "n += 1; print(n)", session)
        assert out == f"{turn}\n", answer


def test_its_time_in_redis_is_prolonged(scene, archiver):
    session, _, _ = run(scene, "x = 1")
    before = int(scene.redis.hget(session_key(scene, session), "due"))
    archive(scene, session)
    assert int(scene.redis.hget(session_key(scene, session), "due")) - before > 6 * 24 * 3600 * 1000


def places(scene, session):
    return [record.split()[2] for record in scene.redis.hvals(session_key(scene, session, ":states"))]


LARGE = "import os; x = os.urandom(200000); import hashlib; print(hashlib.sha256(x).hexdigest())"
READ = "print(hashlib.sha256(x).hexdigest())"


def cold(scene, session):
    """Idle, and archived; how much longer it lives by that, and what its log says of it."""
    key = session_key(scene, session)
    before = int(scene.redis.hget(key, "due"))
    assert scene.redis.hget(key, "status") == "live"
    idle(scene, session)
    settle("it is archived", lambda: scene.redis.hget(key, "status") == "cold")
    said, = [json.loads(entry["d"]) for _, entry in scene.redis.xrevrange(key + ":log", count=1) if entry["t"] == "state_archived"]
    return int(scene.redis.hget(key, "due")) - before, said


def test_a_large_one_is_prolonged_where_it_lies(scene, archiver):
    session, digest, _ = run(scene, LARGE)
    (place,) = places(scene, session)
    assert place != "-"
    more, said = cold(scene, session)
    assert more > 6 * 24 * 3600 * 1000 and said == {"version": 1, "object": place}
    _, out, answer = run(scene, READ, session)
    assert out == digest, answer
    run(scene, "x += b'1'", session)
    assert scene.redis.hget(session_key(scene, session), "status") == "live"
    assert cold(scene, session)[1]["object"] in places(scene, session)
    assert scene.differences() == []


def test_one_that_was_deleted_is_archived_for_its_older_versions(scene, archiver):
    session, digest, _ = run(scene, LARGE)
    cold(scene, session)
    request = urllib.request.Request(f"{scene.system.url}/state/{session}", method="DELETE", headers={"x-api-key": scene.system.key})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status in (200, 204)
    assert cold(scene, session)[1] == {"version": 2}
    status, body = scene.call(f"/v1/sessions/{session}/rewind", {"version": 1})
    assert status == 200, body
    assert run(scene, READ, session)[1] == digest and scene.differences() == []


def test_what_was_archived_is_told_with_the_present_version(scene, archiver):
    session, _, _ = run(scene, "x = 1")
    for more in range(2, 4):
        run(scene, f"x = {more}", session)
    said = cold(scene, session)[1]
    record = scene.redis.hget(session_key(scene, session, ":states"), 3)
    assert said == {"version": 3, "object": record.split()[2]} and "-" not in places(scene, session)


def test_a_small_one_that_large_ones_pushed_out(tmp_path, cluster):
    made = Scene(tmp_path / "one-version", cluster=cluster, STATE_VERSIONS_KEPT="1")
    try:
        session, _, _ = run(made, "x = 1")
        assert places(made, session) == ["-"]
        digest = run(made, LARGE, session)[1]
        assert places(made, session) != ["-"] and not session_key(made, session, ":blobs")
        assert made.differences() == []
        one = made.archiver()
        assert cold(made, session)[0] > 6 * 24 * 3600 * 1000 and made.differences() == []
        assert run(made, READ, session)[1] == digest and one.end() == 0
    finally:
        made.stop()


def test_objects_that_came_back_are_deleted(scene, archiver):
    def over():
        for packs in scene.keys("*}:packs"):
            for name in scene.redis.zrange(packs, 0, -1):
                scene.redis.zadd(packs, {name: 1}, xx=True)
        named = {record.split()[2] for key in scene.keys("*}:s:*:states") for record in scene.redis.hvals(key)}
        return set(states(scene)) == {place for place in named if place.startswith("archive.state/")}
    settle("only what is named is left", over)


def test_what_was_changed_is_never_restored(scene, archiver):
    session, _, _ = run(scene, "x = 1")
    archive(scene, session)
    path = next(p for p in files_below(scene.objects) if session in str(p))
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    _, out, answer = run(scene, "print('x' in globals())", session)
    assert out != "True\n" and scene.redis.hget(session_key(scene, session), "status") == "cold", answer
    path.write_bytes(good)
    _, out, answer = run(scene, "print(x)", session)
    assert out == "1\n", answer


def test_a_session_that_is_due_goes_with_all_that_is_its(scene, archiver):
    hot, _, _ = run(scene, "x = 1; open('f.txt', 'w').write('file')")
    cold, _, _ = run(scene, "x = 1; open('g.txt', 'w').write('file')")
    archive(scene, cold)
    assert any(hot in str(p) for p in files_below(scene.objects))
    for session in (hot, cold):
        key = session_key(scene, session)
        scene.redis.hset(key, "due", 1)
        scene.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
    other = scene.archiver()  # the interval of this look is minutes: a new one looks at once
    settle("they are gone", lambda: all(scene.redis.hget(session_key(scene, one), "status") == "gone"
                                        for one in (hot, cold)))
    assert "session_expired" in events(scene, hot)
    assert not session_key(scene, hot, ":blobs") and not session_key(scene, cold, ":states")

    def objects_gone():
        for packs in scene.keys("*}:packs"):
            for name in scene.redis.zrange(packs, 0, -1):
                scene.redis.zadd(packs, {name: 1}, xx=True)
        return not [p for p in files_below(scene.objects) if hot in str(p) or cold in str(p)]
    settle("their objects are deleted", objects_gone)
    assert run(scene, "print('x' in globals())", hot)[1] == "False\n"
    settle("and counted", lambda: other.metric('millrace_expired_total{what="session"}') == 2)
    assert other.end() == 0


def test_sessions_that_are_kept_for_ever(tmp_path, cluster):
    made = Scene(tmp_path / "for-ever", cluster=cluster, SESSION_TTL_HOURS="0")
    try:
        session, _, _ = run(made, "open('f.txt', 'w').write('file')")
        due = int(made.redis.hget(session_key(made, session), "due"))
        assert due > (time.time() + 99 * 365 * 24 * 3600) * 1000
    finally:
        made.stop()


def test_a_setting_that_would_archive_nothing_is_refused(scene):
    one = scene.archiver(ready=False, STATE_ARCHIVE_AFTER_SECONDS="7200")
    assert one.process.wait(60) == 2 and "STATE_ARCHIVE_AFTER_SECONDS" in one.log.read_text()


def test_metrics(archiver):
    assert archiver.metric('millrace_archived_total{what="state"}') >= 9


def test_its_redis_user_was_never_refused(scene, archiver):
    assert [entry for entry in scene.redis.execute_command("ACL", "LOG") if "archiver" in str(entry)] == []
    assert archiver.end() == 0
