# SPDX-License-Identifier: Apache-2.0
"""Archive, restore, commit, rewind and delete at once, many times, with two archivers that dawdle at every step; and a deletion
whose store is away."""
import pathlib
import random
import sys
import threading
import time
import urllib.request

import pytest
from archive import Scene, settle
from proxy import SLOW_DOWN
from test_2_states import archive, run, session_key
from test_3_faults import clean

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
from counts import count  # noqa: E402  the folder of tests/faults is on the path only now


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    made = Scene(tmp_path_factory.mktemp("races"), cluster=cluster)
    made.announce()
    yield made
    made.stop()


class Idler(threading.Thread):
    """Every state is idle, always; so the archivers race with whatever else happens."""

    def __init__(self, scene):
        super().__init__()
        self.scene, self.over = scene, threading.Event()

    def run(self):
        while not self.over.wait(0.005):
            for key in self.scene.keys("*}:sidle"):
                for session in self.scene.redis.zrange(key, 0, -1):
                    self.scene.redis.zadd(key, {session: 1}, xx=True)


@pytest.fixture
def racing(scene):
    archivers = [scene.archiver(TEST_DELAY_MS="10", STATE_ARCHIVE_CHECK_INTERVAL_SECONDS="0.1") for _ in range(2)]
    idler = Idler(scene)
    idler.start()
    yield archivers
    idler.over.set()
    idler.join()
    assert all(one.end() == 0 for one in archivers)


def version(scene, session):
    return int(scene.redis.hget(session_key(scene, session), "version"))


def moves(scene, session):
    """How often its states were archived or restored: events that made no version. The log itself keeps only the last ones."""
    return int(scene.redis.hget(session_key(scene, session), "seq")) - version(scene, session) - 1


def delete_state(scene, session):
    request = urllib.request.Request(f"{scene.system.url}/state/{session}", method="DELETE", headers={"x-api-key": scene.system.key})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


def test_commits_and_restores_against_two_archivers(scene, racing):
    """Each run sees what the one before left, whoever moved it meanwhile."""
    sessions = [run(scene, "n = 0")[0] for _ in range(5)]
    turns, least = 0, count("archive_races")

    def raced():
        return sum(moves(scene, session) for session in sessions) >= 2 * least // 5 and \
            all(one.metric('millrace_archived_total{what="state"}') > 0 for one in racing)
    until = time.monotonic() + 120
    while turns < least or not raced():
        assert time.monotonic() < until, "the archivers do not come to it"
        turns += 1
        for session in sessions[:1 + turns % 5]:
            assert run(scene, "n = n + 1; print(n)", session)[1].strip().isdigit()
    for place, session in enumerate(sessions):
        runs = sum(place < 1 + turn % 5 for turn in range(1, turns + 1))
        assert run(scene, "print(n)", session)[1] == f"{runs}\n"
        assert version(scene, session) == runs + 2


def test_deletes_and_rewinds_against_two_archivers(scene, racing):
    """What was deleted stays so, and an older version is what it was, wherever it lay."""
    chance = random.Random(7)
    for turn in range(count("archive_races")):
        session, _, _ = run(scene, f"n = {turn}")
        reader = threading.Thread(target=scene.call, args=(f"/state/{session}",))
        if chance.random() < 0.5:
            settle("it is archived", lambda one=session: not session_key(scene, one, ":blobs"))
        reader.start()
        assert delete_state(scene, session) in (200, 204)
        reader.join()
        assert run(scene, "print('n' in globals())", session)[1] == "False\n"
        status, body = scene.call(f"/v1/sessions/{session}/rewind", {"version": 1})
        assert status in (200, 201), body
        assert run(scene, "print(n)", session)[1] == f"{turn}\n"


def test_what_is_left_afterwards(scene):
    one = scene.archiver()
    clean(scene)
    assert one.end() == 0


def test_logs_and_two_archivers(scene):
    """Every log is archived once, in one pack, whatever the two do at once."""
    archivers = [scene.archiver(TEST_DELAY_MS="10") for _ in range(2)]
    jobs = [scene.run(f"print({n})") for n in range(count("archive_races"))]
    before = {job: scene.shown(job) for job in jobs}
    for job in jobs:
        scene.due(job)  # also the lease of whoever has it is over
        scene.due(job)
    settle("all are archived", lambda: all(scene.place(job) for job in jobs), 60)
    assert {job: scene.shown(job) for job in jobs} == before
    settle("and counted", lambda: sum(one.metric('millrace_archived_total{what="log"}') for one in archivers) == len(jobs))
    assert all(one.end() == 0 for one in archivers)
    one = scene.archiver()
    clean(scene)
    assert one.end() == 0


def test_a_deletion_whose_store_is_away(s3):
    """The session is over for everybody at once; its objects go when the store is back."""
    session, _, answer = run(s3, "x = 1; open('/mnt/data/f.txt', 'w').write('f')")
    one = s3.archiver()
    archive(s3, session)
    mine = {name for name in s3.names() if session in name}
    assert len(mine) == 2 and one.end() == 0
    s3.proxy.rule("^DELETE /archive-test/(default|archive)", "answer", 10**6, status=503, body=SLOW_DOWN)
    key = session_key(s3, session)
    s3.redis.hset(key, "due", 1)
    s3.redis.zadd(key.split("}:")[0] + "}:sdue", {session: 1})
    one = s3.archiver()
    settle("it is over", lambda: s3.redis.hget(key, "status") == "gone")
    assert s3.call(f"/state/{session}")[0] == 404
    assert s3.call(f"/download/{session}/{answer['files'][0]['id']}")[0] == 404

    def due():
        for packs in s3.keys("*}:packs"):
            for name in s3.redis.zrange(packs, 0, -1):
                if session in name:
                    s3.redis.zadd(packs, {name: 1}, xx=True)
    settle("a deletion has failed", lambda: due() or "cannot be deleted yet" in one.log.read_text(), 60)
    assert mine <= s3.names() and not mine - s3.named()
    s3.proxy.clear()
    settle("they are deleted", lambda: due() or not mine & s3.names())
    assert one.end() == 0
