# SPDX-License-Identifier: Apache-2.0
"""Bodies as large as they may be, many at a time: others are answered meanwhile, and an API's memory stays flat."""
import json
import socket

import httpx
import pytest

from contract import Api
from rawhttp import Raw, request

MIB = 1 << 20
MOST = 64 * MIB  # MAX_BODY_MB; most tests take less, which shows the same


def padded(fields, size):
    """A body of at most `size` bytes, and not much less; most of it is a member that no schema has."""
    text = json.dumps(fields)[:-1] + ', "more": [' + "\"\\u00e9" + "x" * 1000 + '"'
    item = ',"\\u00e9' + "x" * 1000 + '"'
    text += item * ((size - len(text) - 2) // len(item)) + "]}"
    assert len(text) <= size
    return text.encode()


def head(system, path, length):
    return request("POST", path, [f"x-api-key: {system.key}", "Content-Type: application/json", f"Content-Length: {length}"])


def to_read(raw):
    """What came so far, None: nothing."""
    raw.sock.setblocking(False)
    try:
        return raw.sock.recv(1000, socket.MSG_PEEK)
    except BlockingIOError:
        return None
    finally:
        raw.sock.settimeout(60)


@pytest.mark.parametrize("path, fields, size, status, says", [
    ("/exec", {"lang": "bash", "code": "echo ran"}, MOST // 4, 200, "ran"),
    ("/v1/jobs", {"lang": "bash", "code": "echo ran"}, MOST // 8, 202, "queued"),
    ("/exec/programmatic", {"code": "print('ran')", "tools": []}, MOST // 8, 200, "ran"),
    ("/exec/programmatic", {"continuation_token": "A" * 21 + ".1", "tool_results": [{"call_id": "call_001", "result": "x"}]}, MOST // 8, 404, "error"),
    ("/exec", {"lang": "bash"}, MOST // 8, 422, "code")], ids=["exec", "job", "programmatic", "continuation", "refused"])
def test_others_are_answered_while_a_large_body_is_read(system, path, fields, size, status, says):
    """The order of answers shows it: a request that comes after the whole of the large one is answered before. On a busy
    machine the second one may be late, so it has some tries; an api that read on would never show it."""
    body = padded(fields, size)

    def overtaken():
        with httpx.Client(timeout=60) as other, Raw(system.url) as raw:
            other.get(f"{system.url}/health")
            raw.send(head(system, path, len(body)) + body[:-1])
            raw.send(body[-1:])
            assert other.get(f"{system.url}/health").status_code == 200
            waits = to_read(raw) is None
            told, _, answer = raw.answer()
        assert (told, says in answer.decode()) == (status, True), answer[:500]
        return waits
    assert any(overtaken() for _ in range(8))


def test_many_large_bodies_at_once_and_clients_that_leave(system):
    body = padded({"lang": "bash", "code": "echo ran"}, 2 * MIB)
    raws = [Raw(system.url, patience=60) for _ in range(12)]
    for raw in raws:
        raw.send(head(system, "/exec", len(body)) + body)
    for raw in raws[::2]:
        raw.sock.close()
    for raw in raws[1::2]:
        status, _, answer = raw.answer()
        assert (status, json.loads(answer)["stdout"]) == (200, "ran\n")
        raw.sock.close()


def test_a_large_body_that_is_no_json_is_told(system):
    for body, says in ((padded({"lang": "py"}, MIB)[:-1], "not valid JSON"), (b"[" * MIB, "deep"), (b'{"a":' + b"1" * MIB + b"}", "")):
        answer = httpx.post(f"{system.url}/exec", content=body, headers={"x-api-key": system.key, "content-type": "application/json"}, timeout=60)
        assert answer.status_code in (400, 422) and says in answer.text, answer.text[:500]


def test_the_same_large_job_again_is_the_same(system):
    """What an Idempotency-Key repeats is the body, large or small."""
    with Api(system) as api:
        def post(body):
            return api.post("/v1/jobs", content=body, headers={"content-type": "application/json", "idempotency-key": "large-1"})
        one, two = padded({"lang": "bash", "code": "echo 1"}, 2 * MIB), padded({"lang": "bash", "code": "echo 2"}, 2 * MIB)
        first = post(one)
        assert first.status_code == 202 and post(one).json()["job_id"] == first.json()["job_id"]
        assert post(two).status_code == 409


def test_results_of_tools_at_their_limit(api):
    """5 MB each, 40 MB together."""
    told = api.post("/exec/programmatic", json={"code": "r = await asyncio.gather(*[t(n=i) for i in range(8)])\nprint([len(x) for x in r])",
                                                "tools": [{"name": "t", "parameters": {"properties": {"n": {}}}}], "timeout": 15000}).json()
    size = 5_000_000 - 2
    results = [{"call_id": call["id"], "result": "x" * size, "is_error": False} for call in told["tool_calls"]]
    large = [{**results[0], "result": "x" * 5 * MIB}]
    refused = api.post("/exec/programmatic", json={"continuation_token": told["continuation_token"], "tool_results": large})
    assert refused.status_code == 400 and "too large" in refused.text
    done = api.post("/exec/programmatic", json={"continuation_token": told["continuation_token"], "tool_results": results}).json()
    assert (done["status"], done["stdout"]) == ("completed", f"{[size] * 8}\n"), str(done)[:500]
