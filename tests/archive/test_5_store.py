# SPDX-License-Identifier: Apache-2.0
"""The archiver on a real MinIO that fails, stalls, lies, is full or does not know us, and on a full disk: nothing wrong comes
back, nothing is lost, and it recovers by itself."""
import os
import subprocess

import pytest
from archive import Scene, settle
from proxy import SLOW_DOWN
from test_2_states import archive, idle, run, session_key

ERROR = b"<Error><Code>%s</Code></Error>"
PUT, GET = r"^PUT /archive-test/archive\.", r"^GET /archive-test/archive\."
FAULTS = {
    "500": (PUT, "answer", {"status": 500, "body": ERROR % b"InternalError"}),
    "503": (PUT, "answer", {"status": 503, "body": SLOW_DOWN}),
    "denied": (PUT, "answer", {"status": 403, "body": ERROR % b"AccessDenied"}),
    "full": (PUT, "answer", {"status": 507, "body": ERROR % b"XMinioStorageFull"}),
    "cut while it is sent": (PUT, "cut_request", {"after": 100}),
    "truncated": (GET, "cut_answer", {"after": 10}),
    "short": (GET, "short_length", {}),
    "long": (GET, "long_length", {}),
    "wrong bytes": (GET, "wrong_bytes", {}),
}
ONCE = {"stalls": (PUT, "slow", {"seconds": 4}), "a lost answer": (PUT, "lost_reply", {}), "slow": (PUT, "slow", {"seconds": 2}),
        "a 503": (PUT, "answer", {"status": 503, "body": SLOW_DOWN}),
        "a lost answer when read back": (GET, "lost_reply", {})}


@pytest.fixture(scope="module")
def archiver(s3):
    one = s3.archiver()
    yield one
    assert one.end() == 0


@pytest.fixture(autouse=True)
def plain(s3):
    s3.proxy.clear()
    yield
    s3.proxy.clear()


def failures(one, what):
    return one.metric(f'millrace_archive_failures_total{{what="{what}"}}')


def cold(s3, session):
    return not session_key(s3, session, ":blobs")


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_leaves_redis_before_it_is_safe(s3, archiver, fault):
    pattern, action, more = FAULTS[fault]
    job, (session, _, _) = s3.run("print('kept')"), run(s3, "x = 7")
    before = s3.shown(job)
    logs, states = failures(archiver, "log"), failures(archiver, "state")
    s3.proxy.rule(pattern, action, 10**6, **more)
    s3.due(job)
    idle(s3, session)
    settle("both have failed", lambda: failures(archiver, "log") > logs and failures(archiver, "state") > states, 120)
    assert s3.place(job) is None and not cold(s3, session)
    assert s3.shown(job) == before and run(s3, "print(x)", session)[1] == "7\n"
    s3.proxy.clear()
    settle("the log moves by itself", lambda: s3.place(job), 60)
    archive(s3, session)  # as when the lease on it is over
    assert s3.shown(job) == before and run(s3, "print(x)", session)[1] == "7\n"


@pytest.mark.parametrize("fault", ONCE)
def test_what_passes_is_no_failure(s3, archiver, fault):
    pattern, action, more = ONCE[fault]
    job = s3.run("print('kept')")
    before, logs = s3.shown(job), failures(archiver, "log")
    s3.proxy.rule(pattern, action, 1, **more)
    s3.due(job)
    settle("it has moved", lambda: s3.place(job))
    assert s3.shown(job) == before and failures(archiver, "log") == logs
    assert not s3.unnamed()


@pytest.mark.parametrize("action, more", [
    ("wrong_bytes", {}), ("cut_answer", {"after": 10}), ("short_length", {}),
    ("answer", {"status": 500, "body": ERROR % b"InternalError"}), ("answer", {"status": 403, "body": ERROR % b"AccessDenied"}),
])
def test_nothing_wrong_is_restored(s3, archiver, action, more):
    session, _, _ = run(s3, "x = 7")
    job = s3.run("print('kept')")
    before, state = s3.shown(job), s3.call(f"/state/{session}")
    archive(s3, session)
    s3.due(job)
    settle("both are archived", lambda: s3.place(job))
    s3.proxy.rule(GET, action, 10**6, **more)
    for path in (f"/v1/jobs/{job}", f"/state/{session}"):
        status, body = s3.call(path)
        assert status in (409, 503) if "state" in path else status == 503, body
    assert cold(s3, session) and session_key(s3, session, ":states")
    s3.proxy.clear()
    assert s3.call(f"/state/{session}") == state and s3.shown(job) == before
    assert run(s3, "print(x)", session)[1] == "7\n"


def test_an_archiver_that_the_store_does_not_know(s3):
    job = s3.run("print('kept')")
    wrong = s3.archiver(ready=False, MINIO_SECRET_KEY="0" * 32)
    s3.due(job)
    settle("it says so", lambda: wrong.port_file.exists() and wrong.get("/ready")[0] == 503
           and "the object store cannot be used" in wrong.log.read_text())
    assert "0" * 32 not in wrong.log.read_text() + wrong.get("/health")[1]
    assert wrong.get("/health")[0] == 200 and wrong.metric("millrace_object_store_up") == 0
    assert len(wrong.log.read_text().splitlines()) < 50
    assert wrong.end() == 0


def test_a_store_that_is_away_when_it_starts(s3):
    s3.proxy.rule(r"^", "cut_request", 10**6)
    one = s3.archiver(ready=False)
    settle("it says so", lambda: one.port_file.exists() and one.get("/ready")[0] == 503)
    s3.proxy.clear()
    settle("it recovers", one.is_ready, 60)
    assert one.end() == 0


def test_a_disk_that_is_full(tmp_path):
    scene = Scene(tmp_path / "full")
    folder = scene.objects
    was = os.stat(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=1m,mode={was.st_mode & 0o7777:o},gid={was.st_gid}", "tmpfs", folder], check=True)
    try:
        scene.kill("api")  # it had opened what is below now
        scene.announce()
        job = scene.run("print('y' * 3000000)")
        before = scene.shown(job)
        scene.due(job)
        one = scene.archiver()
        settle("it has failed", lambda: failures(one, "log") > 0)
        assert scene.place(job) is None and scene.shown(job) == before
        subprocess.run(["mount", "-o", "remount,size=32m", folder], check=True)
        settle("it recovers", lambda: scene.place(job), 90)
        assert scene.shown(job) == before
        assert one.end() == 0
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # its programs have it open
        scene.stop()
