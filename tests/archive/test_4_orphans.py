# SPDX-License-Identifier: Apache-2.0
"""What a kill -9 between a put and its entry in Redis left in the store is found and deleted; nothing else is."""
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request

import pytest
from archive import settle, wait_until
from test_2_states import archive, run, session_key
from test_3_faults import SWEEP_POINTS

SESSION = "Aorphan00000000000Z00"
HASH = "ab" * 32


@pytest.fixture(autouse=True)
def plain(s3):
    yield
    s3.proxy.clear()
    for packs in s3.keys("*}:sweep"):
        s3.redis.delete(packs)


def upload(s3, data):
    body = (b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\n' + data + b"\r\n--b--\r\n")
    request = urllib.request.Request(s3.system.url + "/upload", data=body, headers={
        "x-api-key": s3.system.key, "content-type": "multipart/form-data; boundary=b"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def looks(s3, since=0):
    """How often the store was looked through."""
    return sum("prefix=&" in line or line.endswith("prefix=") for line in s3.proxy.seen[since:])


def later(call, *args):
    def quiet():
        try:
            call(*args)
        except (OSError, AssertionError, urllib.error.HTTPError, json.JSONDecodeError):
            pass  # the api died with it
    thread = threading.Thread(target=quiet)
    thread.start()
    return thread


def due(s3):
    """The moment has come for what nothing names any more."""
    for packs in s3.keys("*}:packs"):
        for name in s3.redis.zrange(packs, 0, -1):
            if "/" in name:
                s3.redis.zadd(packs, {name: 1}, xx=True)


def swept(s3, expected):
    """An archiver finds exactly these, and they go; whatever is named stays."""
    assert s3.unnamed() == set(expected) and expected
    kept = s3.names() & s3.named()
    one = s3.archiver()
    settle("all are found", lambda: one.metric("millrace_orphans_total") == len(expected))

    def gone():
        due(s3)
        return not s3.names() & set(expected)
    settle("they are deleted", gone)
    assert kept <= s3.names() and not s3.unnamed()
    settle("and counted", lambda: one.metric("millrace_swept_objects_total") >= len(expected))
    assert one.end() == 0


def test_an_upload_whose_api_died(s3):
    upload(s3, b"kept")
    hold = s3.held(r"^PUT /archive-test/default/")
    asked = later(upload, s3, b"lost")
    assert hold["reached"].wait(60)
    s3.kill("api")
    hold["go"].set()
    asked.join()
    assert len(s3.unnamed()) == 1
    swept(s3, s3.unnamed())


def test_an_output_file_whose_worker_died(s3):
    hold = s3.held(r"^PUT /archive-test/default/.*/[0-9a-f]{64}-")
    code = "open('/mnt/data/out.txt', 'w').write('out'); print('ran')"
    asked = later(s3.run, code)
    assert hold["reached"].wait(60)
    s3.kill("worker")
    hold["go"].set()
    asked.join()  # the next attempt put its own, and named it
    assert len(s3.unnamed()) == 1
    swept(s3, s3.unnamed())


def test_a_state_whose_worker_died(s3):
    hold = s3.held(r"^PUT /archive-test/default/.*/state-")
    asked = later(run, s3, "import os; x = os.urandom(200000)")
    assert hold["reached"].wait(60)
    s3.kill("worker")
    hold["go"].set()
    asked.join()
    settle("another attempt named its own", lambda: len([n for n in s3.names() if "/state-" in n]) == 2)
    assert len(s3.unnamed()) == 1
    swept(s3, s3.unnamed())


def test_a_state_whose_answers_were_all_lost(s3):
    """It is stored, and nobody knows: the run keeps the version before."""
    rule = s3.proxy.rule(r"^PUT /archive-test/default/.*/state-", "lost_reply", 10**6)
    session, _, told = run(s3, "import os; x = os.urandom(200000)")
    assert rule.hits and told["has_state"] is False and told["state_warnings"][0]["name"] == "*"
    s3.proxy.clear()
    orphan, = s3.unnamed()
    assert f"/{session}/state-" in orphan
    swept(s3, {orphan})


def test_a_pack_that_redis_forgot(s3):
    """As when Redis lost its last second."""
    job = s3.run("print(1)")
    s3.due(job)
    one = s3.archiver(ready=False, TEST_KILL_AT="put")
    assert one.process.wait(60) == -signal.SIGKILL
    pack, = s3.packs()
    for packs in s3.keys("*}:packs"):
        s3.redis.zrem(packs, pack)
    name, = s3.unnamed()
    one = s3.archiver()
    settle("it is found", lambda: one.metric("millrace_orphans_total") == 1)
    packs, = s3.keys("*}:packs")
    s3.redis.zadd(packs, {pack: 1})
    settle("it is deleted", lambda: name not in s3.names())
    assert one.end() == 0
    s3.due(job)
    one = s3.archiver()
    settle("the log is archived", lambda: s3.place(job))
    assert one.end() == 0


@pytest.mark.parametrize("point", SWEEP_POINTS)
def test_killed_while_it_sweeps(s3, point):
    hold = s3.held(r"^PUT /archive-test/default/")
    asked = later(upload, s3, b"lost")
    assert hold["reached"].wait(60)
    s3.kill("api")
    hold["go"].set()
    asked.join()
    orphan, = s3.unnamed()
    wait_until("it is old enough", lambda: older(s3, orphan))
    one = s3.archiver(ready=False, TEST_KILL_AT=point)
    assert one.process.wait(60) == -signal.SIGKILL
    assert orphan in s3.names()
    one = s3.archiver()

    def gone():
        due(s3)
        return orphan not in s3.names()
    settle("it is deleted by another", gone)
    assert not s3.unnamed() and one.end() == 0


def older(s3, name, seconds=1.5):
    return time.time() - os.stat(s3.minio.data / s3.BUCKET / name / "xl.meta").st_mtime > seconds


def test_only_one_looks_at_a_time(s3):
    first = s3.archiver(ARCHIVE_SWEEP_INTERVAL_SECONDS="600", ARCHIVE_SWEEP_GRACE_SECONDS="1")
    settle("it has looked", lambda: s3.keys("*}:sweep"))
    assert s3.redis.pttl(s3.keys("*}:sweep")[0]) > 500000
    second = s3.archiver()
    settle("the second has asked", lambda: second.metric("millrace_redis_commands_total") > 5)
    assert second.metric("millrace_orphans_total") == 0
    assert first.end() == 0 and second.end() == 0


def test_a_part_of_a_large_pack_that_was_left(s3):
    """A real upload in parts on a real MinIO, whose archiver died: it ends with the pack's own time, and not by its age."""
    grace = {"ARCHIVE_SWEEP_GRACE_SECONDS": "3600"}
    jobs = [s3.run("import os\nfor i in range(10): os.write(1, os.urandom(600000).hex().encode())") for _ in range(4)]
    hold = s3.held(r"^PUT /archive-test/archive.logs/.*partNumber=2")
    s3.due(*jobs)
    one = s3.archiver(ready=False, **grace)
    assert hold["reached"].wait(60)
    one.process.kill()
    one.process.wait()
    hold["go"].set()
    assert s3.minio.parts()
    pack = next(line.split("/p00/")[1].split("?")[0] for line in s3.proxy.seen if "partNumber=2" in line)
    packs, = s3.keys("*}:packs")
    s3.redis.zadd(packs, {pack: 1}, xx=True)
    one = s3.archiver(**grace)
    settle("it is ended", lambda: not s3.minio.parts())
    settle("and counted", lambda: one.metric("millrace_swept_uploads_total") == 1)
    s3.due(*jobs)
    settle("the logs are archived", lambda: all(s3.place(job) for job in jobs), 60)
    assert one.end() == 0


# ---- what is not proved to be nobody's ----

def put(s3, name):
    """By hand, through a second bucket's worth of keys: as another program would."""
    return s3.tool("put", name, 10, 1, "bytes", "-")


def test_what_is_not_ours_stays(s3):
    foreign = ["photos/cat.jpg", "default/notes.txt", f"default/{SESSION}/readme", f"archive.logs/p99/{SESSION}",
               f"default/{SESSION}/{HASH[:-1]}g-{SESSION}"]
    ours = f"default/{SESSION}/{HASH}-{SESSION}"
    for name in [*foreign, ours]:
        assert put(s3, name)["err"] == "OK"
    one = s3.archiver()
    settle("ours is found", lambda: one.metric("millrace_orphans_total") == 1)

    def gone():
        due(s3)
        return ours not in s3.names()
    settle("it is deleted", gone)
    assert set(foreign) <= s3.names() and one.end() == 0
    for name in foreign:
        s3.tool("delete", name)


def deleted(s3, one, ours):
    """`one` has found the object to be nobody's: when its time is over, the next archiver deletes it."""
    assert one.end() == 0
    due(s3)
    one = s3.archiver()
    settle("it is deleted", lambda: ours not in s3.names())
    assert one.end() == 0


def test_nothing_goes_where_another_redis_is_at_home(s3):
    ours = f"default/{SESSION}/{HASH}-{SESSION}"
    for name in (ours, "sweep.owner/another"):
        assert put(s3, name)["err"] == "OK"
    wait_until("it is old enough", lambda: older(s3, ours))
    one = s3.archiver()
    settle("it says why", lambda: "another Redis" in one.log.read_text())
    assert one.metric("millrace_orphans_total") == 0 and ours in s3.names()
    s3.tool("delete", "sweep.owner/another")
    settle("now it goes", lambda: one.metric("millrace_orphans_total") == 1)
    deleted(s3, one, ours)


def test_what_is_older_than_this_redis_stays(s3):
    ours = f"default/{SESSION}/{HASH}-{SESSION}"
    store, = s3.keys("*}:store")
    created = s3.redis.hget(store, "created")
    assert put(s3, ours)["err"] == "OK"
    wait_until("it is old enough", lambda: older(s3, ours))
    s3.redis.hset(store, "created", int(created) + 3600 * 1000)
    one = s3.archiver()
    settle("it has looked twice", lambda: looks(s3) >= 2)
    assert one.metric("millrace_orphans_total") == 0
    s3.redis.hset(store, "created", created)
    settle("its own goes", lambda: one.metric("millrace_orphans_total") == 1)
    deleted(s3, one, ours)


def test_minios_clock_tells_the_age(s3):
    """An archiver that is ten minutes ahead, which MinIO allows: what was put just now is within five minutes of grace."""
    ours = f"default/{SESSION}/{HASH}-{SESSION}"
    assert put(s3, ours)["err"] == "OK"
    one, seen = s3.archiver(TEST_CLOCK_AHEAD_MS="600000", ARCHIVE_SWEEP_GRACE_SECONDS="300"), len(s3.proxy.seen)
    settle("it has looked twice", lambda: looks(s3, seen) >= 2)
    assert one.end() == 0 and not any(s3.redis.zscore(packs, ours) for packs in s3.keys("*}:packs"))
    wait_until("it is old enough", lambda: older(s3, ours))
    one = s3.archiver(TEST_CLOCK_AHEAD_MS="-600000")
    settle("it goes by MinIO's clock", lambda: one.metric("millrace_orphans_total") == 1)
    deleted(s3, one, ours)


def test_a_grace_that_is_too_short_is_refused(s3):
    one = s3.archiver(ready=False, ARCHIVE_SWEEP_GRACE_SECONDS="60", MILLRACE_PROFILE="production")
    assert one.process.wait(60) == 2 and "ARCHIVE_SWEEP_GRACE_SECONDS" in one.log.read_text()


def test_what_is_named_was_never_touched(s3):
    session, _, answer = run(s3, "x = 1; open('/mnt/data/f.txt', 'w').write('f')")
    one = s3.archiver()
    archive(s3, session)
    before = {name for name in s3.names() if session in name}
    wait_until("all are old enough", lambda: all(older(s3, name) for name in before))
    seen = len(s3.proxy.seen)
    settle("it has looked again", lambda: looks(s3, seen) >= 2)
    due(s3)
    assert session_key(s3, session, ":states") and one.metric("millrace_orphans_total") == 0
    assert len(before) == 2 and before <= s3.names()
    assert s3.call(f"/download/{session}/{answer['files'][0]['id']}") == (200, b"f")
    assert run(s3, "print(x)", session)[1] == "1\n"
    assert one.end() == 0
