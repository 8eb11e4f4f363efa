# SPDX-License-Identifier: Apache-2.0
"""The WebSocket, long-poll and server-sent events as protocols (FAULTS c5), and who may see what. No worker runs: the jobs
wait, so that what comes is known."""
import json
import os
import signal
import struct
import time

import pytest

from contract import Api, check, check_event
from rawhttp import Raw, WebSocket, client_frame, request
from system import System, wait_until

OTHER = "other-key-0123456789abcdef"


@pytest.fixture(scope="module")
def front(tmp_path_factory, cluster):
    made = System(tmp_path_factory.mktemp("front"), apis=2, workers=0, cluster=cluster, env={"API_KEYS": f"other:{OTHER}"})
    yield made
    assert made.stop() == 0


@pytest.fixture
def client(front):
    with Api(front) as made:
        yield made


@pytest.fixture
def job(client):
    """A job that waits; cancelled at the end."""
    name = client.submit("py", "print(1)", interactive=True)
    yield name
    client.delete(f"/v1/jobs/{name}")


def stream(front, job, query="", **more):
    return WebSocket(front.next_url(), f"/v1/jobs/{job}/stream{query}", more.pop("key", front.key), **more)


# ---- handshake ------------------------------------------------------------------------------------------------------------

HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


@pytest.mark.parametrize("change", [
    {"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": "c2hvcnQ="}, {"Sec-WebSocket-Key": "!" * 24},
    {"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Version": None}, {"Connection": "keep-alive"}, {"Upgrade": "h2c"},
    {"Upgrade": None}])
def test_a_bad_handshake_is_426(front, job, change):
    headers = [f"{name}: {value}" for name, value in {**HANDSHAKE, **change}.items() if value is not None]
    with Raw(front.url) as raw:
        raw.send(request("GET", f"/v1/jobs/{job}/stream", [f"x-api-key: {front.key}", *headers]))
        status, told, body = raw.answer()
        assert status == 426 and told["sec-websocket-version"] == "13"
        check(json.loads(body), {"$ref": "#/components/schemas/Error"}, "426")


def test_two_keys_http_1_0_and_post(front, job):
    headers = [f"x-api-key: {front.key}", *(f"{name}: {value}" for name, value in HANDSHAKE.items())]
    for line, want in ((request("GET", f"/v1/jobs/{job}/stream", [*headers, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]), 426),
                       (request("GET", f"/v1/jobs/{job}/stream", headers, version="HTTP/1.0"), 426),
                       (request("POST", f"/v1/jobs/{job}/stream", headers), 405)):
        with Raw(front.url) as raw:
            raw.send(line)
            assert raw.answer()[0] == want


def test_who_may_not_is_told_before_the_upgrade(front, job):
    stream(front, job, key="wrong", expect=401)
    stream(front, job, key=OTHER, expect=404)
    stream(front, job, headers=["Origin: https://evil.example"], expect=403)
    stream(front, job, headers=["Origin: null"], expect=403)
    stream(front, job, "?after=x", expect=400)
    with stream(front, job, headers=["Origin: http://millrace.test"]) as own:
        assert json.loads(own.frame()[1])["type"] == "submitted"


def test_compression_is_declined(front, job):
    with stream(front, job, headers=["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99"]) as ws:
        assert "sec-websocket-extensions" not in ws.headers


# ---- frames ------------------------------------------------------------------------------------------------------------------

BAD_FRAMES = {
    "not masked": (client_frame(1, b"{}", mask=False), 1002),
    "RSV1": (client_frame(1, b"{}", rsv=4), 1002),
    "RSV2": (client_frame(1, b"{}", rsv=2), 1002),
    "RSV3": (client_frame(1, b"{}", rsv=1), 1002),
    **{f"opcode {n}": (client_frame(n), 1002) for n in (3, 7, 11, 15)},
    "fragmented ping": (client_frame(9, fin=False), 1002),
    "ping of 126 bytes": (client_frame(9, b"x" * 126), 1002),
    "length not minimal": (client_frame(1, b"hello", length=b"\x7e\x00\x05"), 1002),
    "length with the high bit": (client_frame(1, b"", length=b"\x7f\x80" + bytes(7)), 1002),
    "length of 2^63-1": (client_frame(1, b"", length=b"\x7f\x7f" + b"\xff" * 7), 1009),
    "16 MiB": (client_frame(1, b"x" * (16 << 20)), 1009),
    "continues nothing": (client_frame(0, b"x"), 1002),
    "a message in a message": (client_frame(1, b"x", fin=False) + client_frame(1, b"x"), 1002),
    "no UTF-8": (client_frame(1, b"\xff"), 1007),
    "no UTF-8, split": (client_frame(1, b"\xc0", fin=False), 1007),
    "cut UTF-8": (client_frame(1, b"\xe2\x82"), 1007),
    "close of one byte": (client_frame(8, b"\x03"), 1002),
    **{f"close {n}": (client_frame(8, struct.pack(">H", n)), 1002) for n in (0, 999, 1004, 1005, 1006, 1016, 2999, 5000)},
    "close with bad text": (client_frame(8, b"\x03\xe8\xff"), 1007),
    "binary": (client_frame(2, b"{}"), 1003),
    "no JSON": (client_frame(1, b"x"), 1008),
    "unknown type": (client_frame(1, b'{"type":"shout"}'), 1008),
    "no signal": (client_frame(1, b'{"type":"signal","signal":"NOPE"}'), 1008),
}


@pytest.mark.parametrize("way", ["whole", "bytes"])
@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_closes_with_its_code(front, client, job, name, way):
    frame, code = BAD_FRAMES[name]
    with stream(front, job) as ws:
        ws.send(frame, "whole" if len(frame) > 1000 else way)
        assert ws.events()[1] == code
        assert ws.ends()
    assert client.job(job)["status"] == "queued"


def test_ping_is_answered_and_close_echoed(front, job):
    with stream(front, job) as ws:
        ws.send(client_frame(9, b"abc"))
        ws.send(client_frame(8, struct.pack(">H", 1000) + b"bye"))
        seen = []
        while (one := ws.frame()) is not None:
            seen.append(one)
        assert (10, b"abc") in seen and seen[-1] == (8, struct.pack(">H", 1000))


def test_a_flood_is_ended(front, job):
    with stream(front, job) as ws:
        flood = client_frame(9, b"x") * 50
        for _ in range(200):
            if not ws.send(flood):
                break
        assert ws.events()[1] == 1008
        assert ws.ends()


# ---- events --------------------------------------------------------------------------------------------------------------------

def ended(client, job):
    client.delete(f"/v1/jobs/{job}")
    found = client.events(job)
    assert [event["type"] for event in found] == ["submitted", "queued", "cancelled"]
    for event in found:
        check_event(event)
    return found


def sse(front, job, last=None):
    """(status, [(id, event)])"""
    with Raw(front.next_url()) as raw:
        raw.send(request("GET", f"/v1/jobs/{job}/events", [f"x-api-key: {front.key}", "Accept: text/event-stream",
                                                           "Connection: close",
                                                           *([f"Last-Event-ID: {last}"] if last else [])]))
        while raw.more():
            pass
        head, _, body = raw.got.partition(b"\r\n\r\n")
        text = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            text, body = text + body[:int(size, 16)], body[int(size, 16) + 2:]
        found = []
        for block in filter(None, text.decode().split("\n\n")):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields:
                found.append((fields["id"], json.loads(fields["data"])))
        return int(head.split()[1]), found


def test_every_way_gives_the_same_after_every_event(front, client):
    job = client.submit("py", "print(1)")
    whole = ended(client, job)
    for place in range(len(whole) + 1):
        after, rest = (whole[place - 1]["id"], whole[place:]) if place else ("0", whole)
        page = client.get(f"/v1/jobs/{job}/events", params={"after": after}).json()
        assert page == {"events": rest, "next": whole[-1]["id"], "done": True}
        with stream(front, job, f"?after={after}") as ws:
            assert ws.events() == (rest, 1000, "the job has ended")
        status, told = sse(front, job, after)
        assert told == [(event["id"], event) for event in rest] and status == (200 if rest else 204)


def test_live_events_reach_all_readers_at_once(front, client):
    job = client.submit("py", "print(1)")
    with stream(front, job) as ws, stream(front, job) as second:
        assert [json.loads(one.frame()[1])["type"] for one in (ws, ws, second, second)] == ["submitted", "queued"] * 2
        client.delete(f"/v1/jobs/{job}")
        for one in (ws, second):
            told, code, _ = one.events()
            assert [event["type"] for event in told] == ["cancelled"] and code == 1000


def test_a_long_poll_is_woken(front, client, job):
    import threading
    last = client.get(f"/v1/jobs/{job}/events").json()["next"]
    threading.Timer(0.3, lambda: Api(front).delete(f"/v1/jobs/{job}")).start()
    began = time.monotonic()
    page = client.get(f"/v1/jobs/{job}/events", params={"after": last, "wait": 30}).json()
    assert [event["type"] for event in page["events"]] == ["cancelled"] and time.monotonic() - began < 25


def test_a_long_poll_without_an_event_gives_the_place_back(client, job):
    page = client.get(f"/v1/jobs/{job}/events").json()
    began = time.monotonic()
    again = client.get(f"/v1/jobs/{job}/events", params={"after": page["next"], "wait": "0.3"}).json()
    assert again == {"events": [], "next": page["next"], "done": False} and time.monotonic() - began >= 0.29


def test_a_position_that_the_log_never_had(client, job):
    answer = client.get(f"/v1/jobs/{job}/events", params={"after": "9999999999999-0", "wait": 0})
    assert (answer.status_code, answer.json()["error_type"]) == (400, "bad_cursor")


def test_input_over_the_socket_is_in_the_log(front, client, job):
    with stream(front, job) as ws:
        ws.say({"type": "stdin", "data": "hällo\n"})
        ws.say({"type": "stdin", "data": "/w==", "encoding": "base64"})
        ws.say({"type": "signal", "signal": "INT"})
        ws.say({"type": "eof"})
        ws.say({"type": "cancel"})
        told, code, _ = ws.events()
    assert code == 1000
    seen = [(event["type"], event.get("data"), event.get("encoding"), event.get("signal")) for event in told[2:]]
    assert seen == [("input", "hällo\n", None, None), ("input", "/w==", "base64", None), ("signal", None, None, "INT"),
                    ("eof", None, None, None), ("cancelled", None, None, None)]


def test_input_that_nobody_reads_holds_its_client_back(front, client, job):
    """The last message would fit, but what is before it does not; after a while the client is told."""
    with stream(front, job) as ws:
        for data in ("a" * 40000, "b" * 40000, "c"):
            ws.say({"type": "stdin", "data": data})
        told, code, reason = ws.events()
    assert (code, reason) == (1008, "the program does not read its input")
    assert [event["data"][0] for event in told if event["type"] == "input"] == ["a"]
    log = client.get(f"/v1/jobs/{job}/events").json()["events"]
    assert [event["type"] for event in log] == ["submitted", "queued", "input"]


# ---- tenants --------------------------------------------------------------------------------------------------------------------

def test_another_tenant_sees_nothing(front, client, job):
    with Api(front, key=OTHER) as other:
        unknown = other.get("/v1/jobs/aaaaaaaaaaaaaaaaaaaaa").json()
        for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/events?wait=1")):
            answer = other.request(method, f"/v1/jobs/{job}{end}")
            assert answer.status_code == 404
            assert {**answer.json(), "request_id": ""} == {**unknown, "request_id": ""}
        assert job not in other.get("/v1/jobs").text
        mine = other.submit("py", "print(2)", headers={"Idempotency-Key": "shared"})
        theirs = client.submit("py", "print(3)", headers={"Idempotency-Key": "shared"})
        assert mine != theirs
        assert client.delete(f"/v1/jobs/{mine}").status_code == 404
        assert client.delete(f"/v1/jobs/{theirs}").status_code == 200
        assert other.delete(f"/v1/jobs/{mine}").status_code == 200
    assert client.job(job)["status"] == "queued"


# ---- the ends of a server -----------------------------------------------------------------------------------------------------------

def test_an_api_that_leaves_says_where_to_go_on(make_system):
    system = make_system(apis=2, workers=0)
    with Api(system, url=system.urls[1]) as client:
        job = client.submit("py", "print(1)")
        first = system.children("api")[0]
        with WebSocket(system.urls[0], f"/v1/jobs/{job}/stream", system.key) as ws:
            told = [json.loads(ws.frame()[1]) for _ in range(2)]
            os.kill(first["pid"], signal.SIGTERM)
            rest, code, reason = ws.events()
        assert (rest, code, reason) == ([], 1001, told[-1]["id"])
        client.delete(f"/v1/jobs/{job}")
        with WebSocket(system.urls[1], f"/v1/jobs/{job}/stream?after={reason}", system.key) as ws:
            assert [event["type"] for event in ws.events()[0]] == ["cancelled"]


def test_a_run_that_the_leaving_api_cuts_off_is_cancelled(make_system):
    system = make_system(apis=2, workers=0, env={"DRAIN_SECONDS": "1"})
    body = b'{"lang":"py","code":"print(1)"}'
    with Api(system, url=system.urls[1]) as client, Raw(system.urls[0]) as raw:
        raw.send(request("POST", "/exec", [f"x-api-key: {system.key}", "Content-Type: application/json",
                                           f"Content-Length: {len(body)}"], body))

        def statuses():
            return [job["status"] for job in client.get("/v1/jobs").json()["jobs"]]
        wait_until("it is queued", lambda: statuses() == ["queued"])
        os.kill(system.children("api")[0]["pid"], signal.SIGTERM)
        assert raw.answer() is None
        wait_until("it is cancelled", lambda: statuses() == ["cancelled"])


def test_without_its_store_the_api_says_so_at_once(make_system, cluster):
    system = make_system(apis=1, workers=0)
    store = system.redis.process.pid if cluster else system.children("redis")[0]["pid"]
    with Api(system) as client:
        job = client.submit("py", "print(1)")
        os.kill(store, signal.SIGSTOP)
        try:
            wait_until("it is not ready", lambda: client.get("/ready").status_code == 503, 30)
            began = time.monotonic()
            answer = client.post("/exec", json={"lang": "py", "code": "print(1)"})
            assert answer.status_code == 503 and time.monotonic() - began < 4  # what waits for Redis waits five
            assert answer.headers["retry-after"] == str(answer.json()["retry_after_seconds"])
            assert client.get(f"/v1/jobs/{job}").status_code == 503
            assert client.get("/health").json()["status"] == "degraded"
        finally:
            os.kill(store, signal.SIGCONT)
        wait_until("it is ready again", lambda: client.get("/ready").status_code == 200, 30)
        assert client.job(job)["status"] == "queued"
