# SPDX-License-Identifier: Apache-2.0
"""The asynchronous life of a job: submit, look, follow (long-poll, SSE, WebSocket), cancel, list; at two APIs in turn."""
import json
import time

import httpx
import pytest
import redis
import yaml
from contract import Api, check_event
from rawhttp import Raw, request
from system import wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

COUNT = "import time\nfor n in range(int(__import__('sys').argv[1])):\n    print(n, flush=True)\n    time.sleep(0.05)\n"


def text_of(events, stream="stdout", attempt=None):
    last = attempt or max(event["attempt"] for event in events)
    return "".join(event["data"] for event in events
                   if event["type"] == "output" and event["stream"] == stream and event["attempt"] == last)


def follow_ws(system, job, after=None, url=None, until=None):
    """Events over a WebSocket to its end; (events, close code). With `until` it leaves after that many."""
    base = (url or system.next_url()).replace("http", "ws", 1)
    events = []
    with connect(f"{base}/v1/jobs/{job}/stream" + (f"?after={after}" if after else ""),
                 additional_headers={"x-api-key": system.key}) as socket:
        for message in socket:
            events.append(json.loads(message))
            check_event(events[-1])
            if until and len(events) == until:
                return events, None
        return events, socket.protocol.close_code


def follow_sse(system, job, after=None, until=None):
    headers = {"x-api-key": system.key, "accept": "text/event-stream", **({"last-event-id": after} if after else {})}
    events, data, ids = [], [], []
    with httpx.stream("GET", f"{system.next_url()}/v1/jobs/{job}/events", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data:"):
                data.append(line[5:].lstrip())
            elif line.startswith("id:"):
                ids.append(line[3:].strip())
            elif not line and data:
                event = json.loads("\n".join(data))
                data = []
                if "id" not in event:
                    continue
                check_event(event)
                assert event["id"] == ids[-1]
                events.append(event)
                if until and len(events) == until:
                    break
    return events


def follow_poll(system, job, after=None, until=None):
    events, done = [], False
    with Api(system) as api:
        while not done and not (until and len(events) >= until):
            page = api.get(f"/v1/jobs/{job}/events", params={"wait": 10, **({"after": after} if after else {})}).json()
            events, after, done = events + page["events"], page["next"], page["done"]
    return events[:until]


READERS = {"poll": follow_poll, "sse": follow_sse,
           "ws": lambda system, job, after=None, until=None: follow_ws(system, job, after, until=until)[0]}


def test_a_job_is_accepted_run_and_kept(api):
    job = api.submit("py", "print('later')")
    ended = api.wait(job)
    assert (ended["status"], ended["result"]["stdout"], ended["result"]["job_id"]) == ("completed", "later\n", job)
    assert ended["created_at"] <= ended["started_at"] <= ended["finished_at"]
    assert ended["attempt"] == 1 and ended["position"] is None


def test_the_logs_name_job_and_attempt(make_system):
    system = make_system(env={"LOG_LEVEL": "debug"})
    with Api(system) as api:
        job = api.submit("py", "pass")
        api.wait(job)

    def lines(part):
        return [line for line in map(json.loads, (system.state / "log" / f"{part}-1.log").read_text().splitlines())
                if line.get("job") == job]
    wait_until("its end is logged", lambda: any(line["message"] == "an attempt has ended" for line in lines("worker")))
    assert [(line["attempt"], line["message"]) for line in lines("worker")] == [(1, "an attempt begins"), (1, "an attempt has ended")]
    assert lines("worker")[1]["end"] == "completed" and [line["attempt"] for line in lines("api")] == [0]


def partition(one, partitions):
    """As schema/PROTOCOL.md has it: FNV-1a of the id."""
    value = 0xcbf29ce484222325
    for byte in one.encode():
        value = (value ^ byte) * 0x100000001b3 % (1 << 64)
    return value % partitions


def store_of(system):
    told = yaml.safe_load((system.state / "millrace.yaml").read_text())
    return redis.Redis.from_url(told.get("REDIS_URL") or system.redis.url)


def key_of(system, name, job):
    return f"millrace:{{p{partition(job, 8 if system.redis else 1):02}}}:{name}"


ONE_SLOT = {"WORKER_SLOTS": "1", "HEARTBEAT_SECONDS": "0.2"}


def wait_until_taken(system, job):
    """This job has the only slot, and the store knows: by a heartbeat with it. One without it, still on its way when the job was
    handed over, offers that slot once more, and a worker takes what it is handed (schema/PROTOCOL.md)."""
    with store_of(system) as store:
        wait_until("its worker has told of it", lambda: int(store.hget(key_of(system, f"j:{job}", job), "hb") or 0) > 0, 60)


def test_the_place_in_the_queue(make_system, cluster):
    """Each of those that wait has a place of its own, the one in the lane the first."""
    system = make_system(env=ONE_SLOT)
    with Api(system) as api:
        busy = api.submit("py", "import time; time.sleep(60)")
        wait_until_taken(system, busy)
        waiting, partitions = [], 8 if cluster else 1
        while len(waiting) < 4:
            job = api.submit("py", "pass")
            if partition(job, partitions) == partition(busy, partitions):
                waiting.append(job)

        def places():
            return [api.job(job)["position"] for job in waiting]
        wait_until("all have their places", lambda: places() == [1, 2, 3, 4])
        assert api.delete(f"/v1/jobs/{waiting[1]}").json()["status"] == "cancelled"
        wait_until("those behind move up", lambda: places() == [1, None, 2, 3])
        api.delete(f"/v1/jobs/{busy}")
        for job in waiting:
            api.wait(job)


def test_the_history_of_a_run(api):
    events = api.events(api.submit("py", "print('x')"))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["submitted", "queued"] and kinds[-1] == "completed"
    assert [kind for kind in kinds if kind in ("claimed", "started", "output", "completed")] == \
        ["claimed", "started", "output", "completed"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["exit_code"] == 0
    times = [event["time"] for event in events]
    assert times == sorted(times)


@pytest.mark.parametrize("status, code, more", [
    ("completed", "print(1)", {}),
    ("completed", "import sys; sys.exit(9)", {}),
    ("timed_out", "while True: pass", {"timeout_ms": 300}),
    ("failed", "while True: print('x' * 100000)", {"timeout_ms": 20000}),
])
def test_how_a_job_ends(api, status, code, more):
    job = api.submit("py", code, **more)
    assert api.wait(job)["status"] == status
    assert job in [row["job_id"] for row in api.get("/v1/jobs", params={"status": status, "limit": 100}).json()["jobs"]]


@pytest.mark.parametrize("reader", READERS)
def test_readers_see_the_same(system, api, reader):
    job = api.submit("py", COUNT, args=["6"])
    live = READERS[reader](system, job)
    again = READERS[reader](system, job)
    assert live == again == api.events(job)
    assert text_of(live) == "".join(f"{n}\n" for n in range(6))


@pytest.mark.parametrize("reader", READERS)
def test_output_arrives_while_the_program_runs(system, api, reader):
    job = api.submit("py", "import time\nprint('early', flush=True)\ntime.sleep(60)")
    seen = READERS[reader](system, job, until=5)
    assert text_of(seen) == "early\n" and api.job(job)["status"] == "running"
    api.delete(f"/v1/jobs/{job}")


@pytest.mark.parametrize("reader", READERS)
def test_reading_goes_on_after_any_event_at_any_api(system, api, reader):
    job = api.submit("py", COUNT, args=["5"])
    whole = api.events(job)
    for place, event in enumerate(whole[:-1]):
        assert READERS[reader](system, job, after=event["id"]) == whole[place + 1:]


def test_a_reader_that_leaves_and_comes_back_misses_nothing(system, api):
    job = api.submit("py", COUNT, args=["30"])
    events = []
    while not events or events[-1]["type"] != "completed":
        events += follow_ws(system, job, events[-1]["id"] if events else None, until=4)[0]
    assert events == api.events(job)
    assert text_of(events) == "".join(f"{n}\n" for n in range(30))


def test_the_websocket_closes_with_1000_after_the_last_event(system, api):
    events, code = follow_ws(system, api.submit("py", "print(1)"))
    assert events[-1]["type"] == "completed" and code == 1000


def test_a_long_poll_waits_no_longer_than_asked(api):
    job = api.submit("py", "import time; time.sleep(60)")
    after = wait_until("it runs", lambda: [event for event in api.get(f"/v1/jobs/{job}/events", params={"wait": 0}).json()["events"]
                                           if event["type"] == "started"])[0]["id"]
    began = time.monotonic()
    page = api.get(f"/v1/jobs/{job}/events", params={"after": after, "wait": 1}).json()
    assert page == {"events": [], "next": after, "done": False}
    assert 0.9 < time.monotonic() - began < 20  # the program ends after 30
    api.delete(f"/v1/jobs/{job}")


def socket_of(system, job):
    return connect(f"{system.next_url().replace('http', 'ws', 1)}/v1/jobs/{job}/stream",
                   additional_headers={"x-api-key": system.key})


def test_input_over_the_websocket(system, api):
    job = api.submit("py", "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)\nprint('end')",
                     interactive=True)
    with socket_of(system, job) as socket:
        socket.send(json.dumps({"type": "stdin", "data": "one\n"}))
        events = []
        while "got one" not in text_of(events or [{"attempt": 0, "type": ""}]):
            events.append(json.loads(socket.recv(timeout=20)))
        socket.send(json.dumps({"type": "stdin", "data": "dHdvCg==", "encoding": "base64"}))
        socket.send(json.dumps({"type": "eof"}))
        events += [json.loads(message) for message in socket]
    assert text_of(events) == "got one\ngot two\nend\n"
    assert [event["type"] for event in events if event["type"] in ("input", "eof")] == ["input", "input", "eof"]


def test_input_to_a_job_that_takes_none_is_refused(system, api):
    """With the field and the fix; the job itself goes on, what is no input is still taken."""
    job = api.submit("py", "import sys, time\nprint(repr(sys.stdin.read()), '\"stdin_open\":true', flush=True)\ntime.sleep(60)")
    with socket_of(system, job) as socket:
        socket.send(json.dumps({"type": "stdin", "data": "one\n"}))
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=60)
        assert socket.protocol.close_code == 1008
        assert socket.protocol.close_reason.startswith("stdin: ") and '"interactive": true' in socket.protocol.close_reason
    with socket_of(system, job) as socket:
        socket.send(json.dumps({"type": "eof"}))
        while json.loads(socket.recv(timeout=60))["type"] != "output":
            pass
        socket.send(json.dumps({"type": "cancel"}))
        events = [json.loads(message) for message in socket]
    assert events[-1]["type"] == "cancelled" and text_of(api.events(job)) == "'' \"stdin_open\":true\n"


def test_a_signal_over_the_websocket(system, api):
    job = api.submit("py", "import signal, time\nsignal.signal(signal.SIGINT, lambda *_: (print('caught'), exit(4)))\n"
                           "print('ready', flush=True)\ntime.sleep(30)", interactive=True)
    with socket_of(system, job) as socket:
        while json.loads(socket.recv(timeout=20))["type"] != "output":
            pass
        socket.send(json.dumps({"type": "signal", "signal": "INT"}))
        events = [json.loads(message) for message in socket]
    assert text_of(events) == "caught\n" and events[-1]["exit_code"] == 4


def test_cancel_over_the_websocket_keeps_the_output(system, api):
    job = api.submit("py", "import time\nprint('so far', flush=True)\ntime.sleep(30)")
    with socket_of(system, job) as socket:
        while json.loads(socket.recv(timeout=20))["type"] != "output":
            pass
        socket.send(json.dumps({"type": "cancel"}))
        events = [json.loads(message) for message in socket]
    assert events[-1]["type"] == "cancelled"
    ended = api.job(job)
    assert (ended["status"], ended["result"]["stdout"]) == ("cancelled", "so far\n")


def test_cancel_of_a_running_job(api):
    job = api.submit("py", "import time\nprint('so far', flush=True)\ntime.sleep(30)")
    wait_until("it runs", lambda: api.job(job)["status"] == "running")
    assert api.delete(f"/v1/jobs/{job}").status_code < 300
    assert api.wait(job)["status"] == "cancelled"


def test_a_retried_submission_with_a_key_is_one_job(api):
    headers = {"idempotency-key": f"key-{time.time_ns()}"}
    jobs = {api.post("/v1/jobs", json={"lang": "py", "code": "print(1)"}, headers=headers).json()["job_id"] for _ in range(4)}
    assert len(jobs) == 1
    other = api.post("/v1/jobs", json={"lang": "py", "code": "print(2)"}, headers=headers)
    assert other.status_code == 409


def test_the_list_is_newest_first_and_has_pages(api):
    jobs = [api.submit("py", f"print({n})") for n in range(5)]
    for job in jobs:
        api.wait(job)
    seen, cursor = [], None
    while len(seen) < 5:
        page = api.get("/v1/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        assert len(page["jobs"]) == 2
        seen += [row["job_id"] for row in page["jobs"]]
        cursor = page["next_cursor"]
    created = [api.job(job)["created_at"] for job in seen]
    assert created == sorted(created, reverse=True) and set(seen[:5]) == set(jobs)


def test_a_client_that_goes_away_cancels_its_run(system, api):
    body = b'{"lang": "py", "code": "import time; time.sleep(60)"}'

    def jobs():
        return {row["job_id"]: row["status"] for row in api.get("/v1/jobs", params={"limit": 100}).json()["jobs"]}
    before = jobs()
    with Raw(system.url) as client:
        client.send(request("POST", "/exec", [f"x-api-key: {system.key}", "Content-Type: application/json", f"Content-Length: {len(body)}"], body))
        job = wait_until("it runs", lambda: [job for job, status in jobs().items() if job not in before and status == "running"])[0]
    wait_until("the run is cancelled", lambda: jobs()[job] == "cancelled")


@pytest.mark.parametrize("field, header", [(', "detach": true', ""), ("", "Idempotency-Key: {}")], ids=["detach", "key"])
def test_a_run_that_was_asked_to_goes_on_without_its_client(system, api, field, header):
    """A second client leaves after it: when that one's run is cancelled, the api has seen both go."""
    wait = (b'{"lang": "py", "code": "import signal, sys\\nsignal.signal(signal.SIGINT, lambda *_: (print(\\"end\\"), sys.exit(4)))\\n'
            b'print(\\"ready\\", flush=True)\\nwhile True: signal.pause()"%s}')

    def jobs():
        return {row["job_id"]: row["status"] for row in api.get("/v1/jobs", params={"limit": 100}).json()["jobs"]}

    def started(client, more, *headers):
        body, before = wait % more, jobs()
        client.send(request("POST", "/exec", [f"x-api-key: {system.key}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers], body))
        return wait_until("it is there", lambda: jobs().keys() - before.keys()).pop()
    with Raw(system.url) as stays, Raw(system.url) as goes:
        kept = started(stays, field.encode(), *([header.format(time.time_ns())] if header else []))
        lost = started(goes, b"")
        for job in (kept, lost):
            wait_until("it is ready", lambda job=job: "ready\n" in text_of(api.get(f"/v1/jobs/{job}/events").json()["events"]))
        stays.sock.close()
        goes.sock.close()
    wait_until("the other run is cancelled", lambda: jobs()[lost] == "cancelled")
    assert api.job(kept)["status"] == "running"
    with socket_of(system, kept) as socket:
        socket.send(json.dumps({"type": "signal", "signal": "INT"}))
        events = [json.loads(message) for message in socket]
    assert text_of(events) == "ready\nend\n" and events[-1]["exit_code"] == 4
    assert "cancel_requested" not in [event["type"] for event in events]


def test_many_jobs_at_once_all_end_well(api):
    jobs = [api.submit("py", f"print({n})") for n in range(40)]
    assert [api.wait(job)["result"]["stdout"] for job in jobs] == [f"{n}\n" for n in range(40)]
