# SPDX-License-Identifier: Apache-2.0
"""Finished logs leave Redis for the object store and read as before; what is over goes for good."""
import json

import pytest
from archive import settle
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PROGRAM = "import sys\nfor i in range(3000): print(i)\nsys.stderr.write('err \\xfc\\n')\nsys.exit(3)"


@pytest.fixture(scope="module")
def archiver(scene):
    return scene.archiver()


@pytest.fixture(scope="module")
def archived(scene, archiver):
    """{job: what was shown of it before}, of jobs that are archived now."""
    jobs = [scene.run(PROGRAM), scene.run("1/0"), scene.run("pass"),
            scene.run("import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)"),
            scene.run("while True: pass", timeout_ms=200), scene.run("print(input())", stdin="x" * 300000)]
    before = {job: scene.shown(job) for job in jobs}
    scene.due(*jobs)
    settle("all are archived", lambda: all(scene.place(job) for job in jobs))
    return before


def test_what_clients_read_is_the_same(scene, archived):
    for job, before in archived.items():
        assert scene.shown(job) == before


def test_the_log_and_the_request_have_left_redis(scene, archived):
    for job in archived:
        assert scene.key(job, ":log") is None and scene.key(job, ":req") is None
        pack = scene.place(job).split()[0]
        assert pack in scene.packs()
    assert all(int(scene.redis.hget(key, "bytes")) == 0 for key in scene.keys("*}:count") if scene.redis.hget(key, "bytes"))
    assert scene.residue() == [] and scene.differences() == []


def test_reading_goes_on_after_any_event(scene, archived):
    job, before = next(iter(archived.items()))
    events = before["events"]
    for at, event in enumerate(events):
        page = json.loads(scene.call(f"/v1/jobs/{job}/events?after={event['id']}")[1])
        assert page["events"] == events[at + 1:] and page["done"]
    for bad in ("1-1", "9999999999999-0", events[3]["id"].split("-")[0] + "-77"):
        assert scene.call(f"/v1/jobs/{job}/events?after={bad}")[0] == 400


def socket_events(scene, job, query):
    """Events over the WebSocket until its end, and its close code."""
    url = f"{scene.system.url.replace('http', 'ws', 1)}/v1/jobs/{job}/stream{query}"
    events = []
    with connect(url, additional_headers={"x-api-key": scene.system.key}) as socket:
        try:
            while True:
                events.append(json.loads(socket.recv(timeout=20)))
        except ConnectionClosed:
            return events, socket.close_code


def sse_events(scene, job, query):
    text = scene.call(f"/v1/jobs/{job}/events{query}", accept="text/event-stream")[1].decode()
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


@pytest.mark.parametrize("reader", [socket_events, lambda *asked: (sse_events(*asked), 1000)], ids=["websocket", "sse"])
def test_every_stream_tells_the_same_from_any_event_on(scene, archived, reader):
    for job, before in archived.items():
        whole = before["events"]
        for at in (None, 0, len(whole) // 2, len(whole) - 1):
            events, code = reader(scene, job, "" if at is None else f"?after={whole[at]['id']}")
            assert events == whole[0 if at is None else at + 1:] and code == 1000


def test_files_of_an_archived_job_are_there(scene, archiver):
    job = scene.run("open('/mnt/data/out.txt', 'w').write('made'); print(1)")
    before = scene.shown(job)
    result = json.loads(before["result"][1])
    scene.due(job)
    settle("it is archived", lambda: scene.place(job))
    assert scene.shown(job) == before
    file, = result["result"]["files"]
    assert scene.call(f"/download/{result['session_id']}/{file['id']}") == (200, b"made")


def test_the_command_line_replays_it(scene, archived):
    job = next(iter(archived))
    done = scene.system.millrace("replay", "--speed", "0", job)
    assert done.stdout == "".join(f"{i}\n" for i in range(3000)) and done.returncode == 3
    assert scene.system.millrace("tail", job).stdout == done.stdout


def test_it_is_listed_and_cannot_be_changed(scene, archived):
    listed = [job["job_id"] for job in json.loads(scene.call("/v1/jobs?limit=100")[1])["jobs"]]
    assert set(archived) <= set(listed)
    done = scene.system.millrace("cancel", next(iter(archived)))
    assert done.returncode == 0
    assert scene.shown(next(iter(archived))) == archived[next(iter(archived))]


def test_metrics_and_pages(scene, archiver, archived):
    assert archiver.metric('millrace_archived_total{what="log"}') >= len(archived)
    assert archiver.metric('millrace_archived_bytes_total{what="log"}') > 300000
    assert archiver.metric("millrace_archive_lag_seconds") >= 0
    assert archiver.metric("millrace_object_store_up") == 1
    health = json.loads(archiver.get("/health")[1])
    assert health["status"] == "ok" and health["objects"]["ok"]
    assert archiver.get("/nothing")[0] == 404
    assert b'millrace_restored_total{what="log"}' in scene.call("/metrics")[1]


def test_a_pack_that_was_changed_is_never_shown(scene, archived):
    job, before = next(iter(archived.items()))
    pack, offset, length, _ = scene.place(job).split()
    path = next(path for path in scene.objects.rglob(pack))
    good = path.read_bytes()
    for at in (int(offset), int(offset) + 5, int(offset) + int(length) // 2, int(offset) + int(length) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
        whole = at == int(offset) + int(length) - 1  # behind the last event: what was shown until then is right
        assert scene.call(f"/v1/jobs/{job}") == before["result"] if whole else scene.call(f"/v1/jobs/{job}")[0] == 503
        shown = json.loads(scene.call(f"/v1/jobs/{job}/events")[1]).get("events", [])
        assert shown == before["events"][:len(shown)]
    path.write_bytes(good[:int(offset) + int(length) // 2])
    assert scene.call(f"/v1/jobs/{job}")[0] == 503
    path.unlink()
    assert scene.call(f"/v1/jobs/{job}")[0] == 503
    path.write_bytes(good)
    assert scene.shown(job) == before


def test_another_archiver_cannot_take_what_is_taken(scene, archiver, archived):
    other = scene.archiver()
    jobs = [scene.run("print(1)") for _ in range(12)]
    before = archiver.metric('millrace_archived_total{what="log"}')
    scene.due(*jobs)
    settle("all are archived", lambda: all(scene.place(job) for job in jobs))
    settle("each once", lambda: archiver.metric('millrace_archived_total{what="log"}') - before
           + other.metric('millrace_archived_total{what="log"}') == len(jobs))
    assert other.end() == 0


def test_what_is_over_goes_with_its_packs(scene, archiver, archived):
    jobs = [key.rsplit(":", 1)[1] for key in scene.keys("*}:j:*") if scene.redis.hget(key, "arch")]
    scene.over(*jobs)
    settle("the jobs are gone", lambda: not scene.keys("*}:j:*"))
    settle("the packs are gone", lambda: not scene.packs() and not scene.keys("*}:packs"))
    assert scene.call(f"/v1/jobs/{jobs[0]}")[0] == 404
    assert scene.residue() == [] and scene.differences() == []
    settle("and counted", lambda: archiver.metric('millrace_expired_total{what="log"}') == len(jobs) and
           archiver.metric("millrace_swept_objects_total") > 0)


def test_its_redis_user_was_never_refused(scene, archiver, archived):
    denied = [entry for entry in scene.redis.execute_command("ACL", "LOG") if "archiver" in str(entry)]
    assert denied == []


def test_it_ends_when_asked(archiver):
    assert archiver.end() == 0
    assert "archiver ended" in archiver.log.read_text()
