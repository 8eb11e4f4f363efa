# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the archiver at every step, one after the other, on a real MinIO: then one archiver that is left alone, and neither
Redis nor the object store has anything too much or too little."""
import pytest
from archive import settle
from test_2_states import LARGE, READ, archive, idle, run, session_key
from test_3_faults import LOG_POINTS, PACK_POINTS, STATE_POINTS, dies_at, put_off


@pytest.fixture(autouse=True)
def plain(s3):
    s3.proxy.clear()
    yield
    s3.proxy.clear()


def archived(s3):
    """job -> its partition and pack"""
    keys = [key for key in s3.keys("*}:j:*") if key.count(":") == 3]
    places = {key: s3.redis.hget(key, "arch") for key in keys}
    return {key.rsplit(":", 1)[1]: (key.split("{")[1].split("}")[0], place.split()[0]) for key, place in places.items() if place}


def wanted(s3):
    """The objects without which something would be lost."""
    states = {record.split()[2] for key in s3.keys("*}:s:*:states") for record in s3.redis.hvals(key)} - {"-"}
    return states | {f"archive.logs/{partition}/{pack}" for partition, pack in archived(s3).values()}


def whole(s3):
    """An archiver that nobody kills tidies up: only what is named is left, and nothing that is needed is away."""
    one = s3.archiver()

    def clean():
        put_off(s3)
        doomed = {name for packs in s3.keys("*}:packs") for name in s3.redis.zrange(packs, 0, -1) if "/" in name}
        packs = {name for name in s3.names() if name.startswith("archive.logs/")}
        return not s3.unnamed() and not s3.keys("*}:drop") and not doomed and packs <= wanted(s3)
    settle("only what is named is left", clean)
    assert wanted(s3) <= s3.names()
    assert s3.residue() == [] and s3.differences() == []
    assert one.end() == 0


def test_while_logs_move(s3):
    jobs, before = [], {}
    for point in LOG_POINTS:
        jobs += (made := [s3.run(f"print('{point}', {n})") for n in range(2)])
        before.update((job, s3.shown(job)) for job in made)
        s3.due(*made)
        dies_at(s3, point)
        assert {job: s3.shown(job) for job in made} == {job: before[job] for job in made}, point
    one = s3.archiver()
    s3.due(*[job for job in jobs if not s3.place(job)])
    settle("all are archived", lambda: all(s3.place(job) for job in jobs))
    assert one.end() == 0
    whole(s3)
    assert {job: s3.shown(job) for job in jobs} == before


def test_while_states_move(s3):
    sessions = []
    for point in STATE_POINTS:
        session, _, _ = run(s3, "x = 41")
        run(s3, "x += 1", session)
        idle(s3, session)
        dies_at(s3, point)
        assert run(s3, "print(x)", session)[1] == "42\n", point
        sessions.append(session)
    one = s3.archiver()
    archive(s3, *sessions)
    assert one.end() == 0
    whole(s3)
    for session in sessions:
        assert run(s3, "print(x)", session)[1] == "42\n"


def test_while_packs_are_deleted(s3):
    for point in PACK_POINTS:
        job = s3.run("print(1)")
        s3.due(job)
        one = s3.archiver()
        settle("it is archived", lambda job=job: s3.place(job))
        assert one.end() == 0
        s3.over(*archived(s3))
        dies_at(s3, point)
        s3.over(*archived(s3))  # its leases
    one = s3.archiver()
    settle("the packs are gone", lambda: not s3.packs())
    assert one.end() == 0
    whole(s3)


def test_when_a_session_has_ended(s3):
    """One with a large state, which is an object, versions in Redis, an archived one, and a file."""
    session, digest, _ = run(s3, LARGE + "; open('/mnt/data/f', 'w').write('f')")
    other = run(s3, LARGE)[0]
    run(s3, "del x", session)
    one = s3.archiver()
    archive(s3, session)
    assert one.end() == 0
    run(s3, "y = 1", session)
    mine = {name for name in s3.names() if session in name}
    assert {name.split("/")[0] for name in mine} == {"archive.state", "default"}
    key = session_key(s3, session)
    s3.redis.hset(key, "due", 1)
    s3.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
    dies_at(s3, "session-expired")
    whole(s3)
    assert s3.redis.hget(key, "status") == "gone" and not [name for name in s3.names() if session in name]
    assert len(run(s3, READ, other)[1]) == len(digest)
