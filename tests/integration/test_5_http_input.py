# SPDX-License-Identifier: Apache-2.0
"""Bad input over HTTP (FAULTS c1, c2): a 4xx of the documented shape, or an end of the connection; never a 5xx, nothing
queued, and nothing behind a malformed request is ever run."""
import json
import re
import socket

import pytest

from contract import Api, check
from rawhttp import WAYS, Raw, jobs_of, request
from system import ROOT, System, wait_until

GOOD = b'{"lang":"py","code":"print(1)"}'


@pytest.fixture(scope="module")
def front(tmp_path_factory, cluster):
    """A system without a worker: whatever is queued stays queued, and is seen."""
    made = System(tmp_path_factory.mktemp("front"), apis=1, workers=0, cluster=cluster)
    yield made
    assert made.stop() == 0


@pytest.fixture(autouse=True)
def nothing_queued(front):
    with Api(front) as client:
        assert jobs_of(client) == 0
        yield
        assert jobs_of(client) == 0
        assert client.get("/health").json()["status"] == "ok"


@pytest.fixture
def client(front):
    with Api(front) as made:
        yield made


def post(front, headers, body=GOOD, path="/v1/jobs"):
    return request("POST", path, [f"x-api-key: {front.key}", "Content-Type: application/json", *headers], body)


def check_error(body, status):
    told = json.loads(body)
    check(told, {"$ref": "#/components/schemas/Error"}, f"the body of a {status}")
    return told


# ---- the head ---------------------------------------------------------------------------------------------------------

BAD_HEADS = {
    "bare LF": (b"GET /health HTTP/1.1\nHost: a\n\n", {400}),
    "bare CR": (b"GET /health HTTP/1.1\r\nHost: a\rb\r\n\r\n", {400}),
    "fold": (b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", {400}),
    "NUL": (b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", {400}),
    "control in a value": (b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", {400}),
    "byte in a name": (b"GET /health HTTP/1.1\r\nHost: a\r\nX\xff: a\r\n\r\n", {400}),
    "space before the colon": (b"GET /health HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", {400}),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", {400}),
    "two hosts": (b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}),
    "no version": (b"GET /health\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /health HTTP/0.9\r\n\r\n", {400, 505}),
    "HTTP/1.10": (b"GET /health HTTP/1.10\r\nHost: a\r\n\r\n", {400, 505}),
    "http/1.1": (b"GET /health http/1.1\r\nHost: a\r\n\r\n", {400, 505}),
    "tabs": (b"GET\t/health\tHTTP/1.1\r\nHost: a\r\n\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), {400}),
    "long line": (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: a\r\n\r\n", {414}),
    "long header": (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 102400 + b"\r\n\r\n", {431}),
    "many headers": (b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 10000 + b"\r\n", {431}),
    "star": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", {400, 404}),
    "authority": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", {400, 404}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_bad_head_is_refused_and_ends_the_connection(front, name, way):
    head, statuses = BAD_HEADS[name]
    if len(head) > 10000 and way == "bytes":
        way = "halves"
    with Raw(front.url) as raw:
        raw.send(head + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", way)
        answers = raw.answers()
        assert len(answers) == 1 and answers[0][0] in statuses and raw.closed, answers
        assert answers[0][1]["connection"] == "close"
        told = check_error(answers[0][2], answers[0][0])
        assert told["error_type"] == {414: "uri_too_long", 431: "head_too_large"}.get(answers[0][0], "bad_request")


BAD_FRAMING = {
    "length and chunked": ["Content-Length: 31", "Transfer-Encoding: chunked"],
    "two lengths": ["Content-Length: 31", "Content-Length: 31"],
    "two other lengths": ["Content-Length: 31", "Content-Length: 6"],
    "list of lengths": ["Content-Length: 31, 31"],
    "negative length": ["Content-Length: -1"],
    "signed length": ["Content-Length: +31"],
    "hex length": ["Content-Length: 0x1f"],
    "two numbers": ["Content-Length: 3 1"],
    "no length": ["Content-Length: "],
    "semicolon": ["Content-Length: 31;"],
    "overflow": ["Content-Length: 99999999999999999999"],
    "xchunked": ["Transfer-Encoding: xchunked"],
    "chunked, identity": ["Transfer-Encoding: chunked, identity"],
    "identity, chunked": ["Transfer-Encoding: identity, chunked"],
    "chunked twice": ["Transfer-Encoding: chunked, chunked"],
    "chunked twice apart": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
    "vertical tab": ["Transfer-Encoding: \x0bchunked"],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BAD_FRAMING)
def test_nothing_behind_an_ambiguous_body_is_run(front, name, way):
    with Raw(front.url) as raw:
        raw.send(post(front, BAD_FRAMING[name]) + post(front, [f"Content-Length: {len(GOOD)}"]), way)
        answers = raw.answers()
        assert len(answers) == 1 and answers[0][0] in (400, 501) and raw.closed, answers


BAD_CHUNKS = [b"-1\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5_0\r\n", b"1" * 17 + b"\r\n", b"\r\n", b" 5\r\nhello\r\n0\r\n\r\n",
              b"5 ;\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloXX0\r\n\r\n", b"0\r\n folded: x\r\n\r\n",
              b"5;" + b"x" * 20000]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", range(len(BAD_CHUNKS)))
def test_bad_chunks(front, place, way):
    chunks = BAD_CHUNKS[place]
    way = "halves" if len(chunks) > 10000 and way == "bytes" else way
    with Raw(front.url) as raw:
        raw.send(post(front, ["Transfer-Encoding: chunked"], chunks) + post(front, [f"Content-Length: {len(GOOD)}"]), way)
        answers = raw.answers()
        assert len(answers) == 1 and answers[0][0] == 400 and raw.closed, answers


def test_a_chunk_that_cannot_fit_is_not_waited_for(front):
    with Raw(front.url) as raw:
        raw.send(post(front, ["Transfer-Encoding: chunked"], b"2\r\n{ \r\n7ffffffffffffff\r\n"))
        status, _, body = raw.answer()
        told = check_error(body, 413)
        assert status == 413 and raw.ends() and told["error_type"] == "payload_too_large"
        assert str(64 << 20) in told["error"]


@pytest.mark.parametrize("path", [
    "/../etc/passwd", "/%2e%2e/", "/%252e%252e/", "/a/./b", "/v1/jobs;x", "/v1/jobs%00", "/%c0%ae%c0%ae/", "/%zz", "/%",
    "/health/../v1/jobs", "/health%2f..%2fv1/jobs", "/docsX", "/HEALTH", "/v1/jobs/", "/v1/jobs/.."])
def test_paths_that_only_look_like_a_route(front, path):
    with Raw(front.url) as raw:
        raw.send(request("POST", path, ["Content-Type: application/json", f"Content-Length: {len(GOOD)}"], GOOD))
        status, _, body = raw.answer()
        assert status in (400, 401, 404)
        check_error(body, status)


def test_double_slashes_are_one(front):
    with Raw(front.url) as raw:
        raw.send(request("GET", "//v1//health"))
        assert raw.answer()[0] == 200


def test_pipelined_requests_are_answered_in_order(front):
    with Raw(front.url) as raw:
        raw.send(b"".join(request("GET", f"/nothing/{n}", [f"x-api-key: {front.key}"]) if n % 2 else
                          request("GET", "/health") for n in range(1000)))
        assert [raw.answer()[0] for _ in range(1000)] == [404 if n % 2 else 200 for n in range(1000)]


def test_head_is_get_without_a_body(front):
    with Raw(front.url) as raw:
        raw.send(request("HEAD", "/ready") + request("GET", "/ready"))
        while raw.got.count(b"\r\n\r\n") < 2 or not raw.got.endswith(b"}\n"):
            assert raw.more()
        first, second = raw.got.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"200 OK") and first.endswith(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % len(second.split(b"\r\n\r\n")[1]) in first.lower()


@pytest.mark.parametrize("method,path,allow", [
    ("GET", "/exec", "POST"), ("PUT", "/v1/jobs", "POST, GET, HEAD"), ("DELETE", "/health", "GET, HEAD"),
    ("PATCH", "/v1/jobs/aaaaaaaaaaaaaaaaaaaaa", "GET, HEAD, DELETE"), ("BREW", "/exec", "POST")])
def test_a_wrong_method_names_the_right_ones(front, client, method, path, allow):
    answer = client.request(method, path)
    assert answer.status_code == 405 and answer.headers["allow"] == allow
    assert check_error(answer.content, 405)["error_type"] == "method_not_allowed"


# ---- the key ------------------------------------------------------------------------------------------------------------

def test_without_a_valid_key_nothing_is_told(front):
    from rawhttp import b64
    for headers in ([], ["x-api-key: wrong"], ["x-api-key: "], ["Authorization: Bearer wrong"], ["Authorization: Bearer"],
                    ["Authorization: " + front.key], ["Authorization: Basic !!!"], [f"Authorization: Basic {b64(b'a:b')}"],
                    [f"x-api-key: {front.key}x"], [f"x-api-key: {front.key[:-1]}"]):
        with Raw(front.url) as raw:
            raw.send(request("POST", "/v1/jobs", [*headers, "Content-Length: 3000000000"]))
            status, told, body = raw.answer()
            assert status == 401 and told["www-authenticate"] == "Bearer", headers
            assert front.key not in body.decode()


def test_ways_to_send_the_key(front):
    from rawhttp import b64
    key = front.key
    for header in (f"X-API-KEY: {key}", f"Authorization: Bearer {key}", f"authorization: bearer {key}",
                   f"Authorization: ApiKey {key}", f"Authorization: Basic {b64(key.encode())}",
                   f"Authorization: Basic {b64(key.encode() + b':')}", f"Authorization: Basic {b64(b'u:' + key.encode())}"):
        with Raw(front.url) as raw:
            raw.send(request("GET", "/v1/languages", [header]))
            assert raw.answer()[0] == 200, header


# ---- the body -----------------------------------------------------------------------------------------------------------

def test_too_large_a_body_is_refused_before_it_is_read(front):
    with Raw(front.url) as raw:
        raw.send(post(front, ["Content-Length: 100000000000"], b"{"))
        status, headers, body = raw.answer()
        assert status == 413 and headers["connection"] == "close"
        check_error(body, 413)


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(front):
    with Raw(front.url) as raw:
        raw.send(post(front, ["Transfer-Encoding: chunked"], b""))
        piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        sent = sum(raw.send(piece) for _ in range(80))
        assert sent >= 60
        assert raw.answer()[0] == 413


@pytest.mark.parametrize("kind", ["", "text/plain", "text/json", "application/json; charset=utf-16",
                                  "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_another_content_type_is_415(front, client, kind):
    answer = client.post("/exec", content=GOOD, headers={"content-type": kind})
    assert answer.status_code == 415
    check_error(answer.content, 415)


BAD_JSON = [b"", b"{", b"{}x", b"{} {}", b"{'a':1}", b'{"a":1,}', b"// x\n{}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":01}',
            b'{"a":1.}', b'{"a":+1}', b'{"a":0x1}', b"\xff", b'{"lang":"py","lang":"js","code":"x"}',
            b'{"lang":"py","\\u006cang":"js","code":"x"}', b'{"lang":"py","code":"\\ud800"}',
            b'{"lang":"py","code":"\\udc00\\ud800"}', b'{"lang":"py","code":"\xc3"}', b"[" * 100000,
            b'{"a":' * 100000, b'{"lang":"py","code":"x","args":[1e400]}',
            b'{"lang":"py","code":"x","args":[99999999999999999999]}', b'{"lang":"py","code":"x","env":{"timeout_ms":99999999999999999999}}',
            b'{"a\\u0000":1}']


@pytest.mark.parametrize("place", range(len(BAD_JSON)))
def test_what_is_no_json_is_400(front, client, place):
    answer = client.post("/v1/jobs", content=BAD_JSON[place], headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert check_error(answer.content, 400)["error_type"] == "bad_json"


NAMED = [
    (422, None, b"null"), (422, None, b"[]"), (422, None, b'"x"'), (422, None, b"1"),
    (422, "lang", {"code": "x"}), (422, "lang", {"lang": 5, "code": "x"}), (400, "lang", {"lang": "cobol", "code": "x"}),
    (400, "lang", {"lang": "", "code": "x"}), (422, "code", {"lang": "py"}), (422, "code", {"lang": "py", "code": ["x"]}),
    (400, "code", {"lang": "py", "code": ""}), (413, "code", {"lang": "py", "code": "x" * (8 * 1024 * 1024 + 1)}),
    (413, "args", {"args": ["x" * (1 << 20)]}),
    (400, "args", {"args": ["a\0b"]}), (413, "args", {"args": ["x"] * 1025}),
    (422, "env", {"env": []}), (422, "env.1A", {"env": {"1A": ""}}), (422, "env.LD_PRELOAD", {"env": {"LD_PRELOAD": "x"}}),
    (422, "env", {"env": {"A": 1}}), (400, "env", {"env": {"A": "\0"}}),
    (422, "stdin", {"stdin": 1}), (422, "stdin", {"stdin": "!", "stdin_encoding": "base64"}),
    (422, "stdin_encoding", {"stdin_encoding": "hex"}),
    *[(422, "timeout_ms", {"timeout_ms": value}) for value in (0, -1, 30001, 1.5, "5", True, [], 2**53, -(2**63))],
    *[(422, "memory_mb", {"memory_mb": value}) for value in (0, -1, 15, 100000, 64.5, "64")],
    (422, "max_pids", {"max_pids": 0}), (422, "max_output_bytes", {"max_output_bytes": 0}),
    (422, "timeout", {"timeout": "5"}), (422, "priority", {"priority": "high"}), (422, "retry", {"retry": 1}),
    (422, "detach", {"detach": "yes"}),
]


@pytest.mark.parametrize("place", range(len(NAMED)))
def test_a_bad_field_is_named(front, client, place):
    status, field, body = NAMED[place]
    if isinstance(body, dict):
        whole = body if "lang" in body or "code" in body else {"lang": "py", "code": "x", **body}
        body = json.dumps(whole).encode()
    answer = client.post("/exec", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    told = check_error(answer.content, status)["details"][0]
    assert told["field"] == field and told["message"], told


LIMITS = re.findall(r'^X\(\w+, "(\w+)"', (ROOT / "schema" / "limits.def").read_text(), re.M)


@pytest.mark.parametrize("path", ["/exec", "/v1/jobs"])
@pytest.mark.parametrize("value", ["99999999999999999999999", "-99999999999999999999999", "1e400", "-1e400"])
def test_limits_that_no_integer_holds_are_told_the_range(front, client, path, value):
    assert "timeout_ms" in LIMITS
    for field in LIMITS:
        answer = client.post(path, content=f'{{"lang":"py","code":"x","{field}":{value}}}', headers={"content-type": "application/json"})
        assert answer.status_code == 422, answer.text
        told = check_error(answer.content, 422)["details"][0]
        assert told["field"] == field and re.search(r"must be an integer from \d+ to \d+", told["message"]), told


@pytest.mark.parametrize("field,value", [("args", [1]), ("args", [None]), ("session_id", "../../x"), ("session_id", "a\nb"),
                                         ("session_id", "{tag}"), ("session_id", ""), ("session_id", 5),
                                         ("interactive", "yes")])
def test_jobs_are_stricter(front, client, field, value):
    answer = client.post("/v1/jobs", json={"lang": "py", "code": "x", field: value})
    assert answer.status_code == 422, answer.text
    assert check_error(answer.content, 422)["details"][0]["field"] == field


def test_an_unknown_language_names_the_known_ones(client):
    told = client.post("/exec", json={"lang": "cobol", "code": "x"}).json()
    assert all(name in told["error"] for name in ("cobol", "py", "js", "bash"))


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x7f", "\u00e4"])
def test_bad_idempotency_keys(front, client, key):
    answer = client.post("/v1/jobs", json={"lang": "py", "code": "x"},
                         headers=[(b"idempotency-key", key.encode("latin-1"))])
    assert answer.status_code == 400, answer.text


# ---- ids, cursors ---------------------------------------------------------------------------------------------------------

UNKNOWN = "aaaaaaaaaaaaaaaaaaaaa"


@pytest.mark.parametrize("job", [UNKNOWN, "x", "a" * 300, "*", "%7Btag%7D", "%0d%0a*1", "a:b", "..%2f"])
@pytest.mark.parametrize("method,end", [("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/stream")])
def test_unknown_jobs_are_404(front, job, method, end):
    headers = [f"x-api-key: {front.key}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] if end == "/stream" else [f"x-api-key: {front.key}"]
    with Raw(front.url) as raw:
        raw.send(request(method, f"/v1/jobs/{job}{end}", headers))
        status, _, body = raw.answer()
        assert status in ((404,) if "%" not in job else (400, 404)), body
        check_error(body, status)


@pytest.mark.parametrize("query,status", [
    ("limit=0", 422), ("limit=101", 422), ("limit=x", 422), ("limit=", 422), ("status=done", 422), ("cursor=x", 400),
    ("cursor=" + "x" * 600, 400), ("limit=1&limit=%zz", 400)])
def test_bad_lists(client, query, status):
    answer = client.get("/v1/jobs?" + query)
    assert answer.status_code == status, answer.text
    check_error(answer.content, status)


@pytest.mark.parametrize("query,status", [
    ("after=x", 400), ("after=-1", 400), ("after=1-2-3", 400), ("after=" + "9" * 50, 400), ("after=01", 400),
    ("wait=-1", 422), ("wait=NaN", 422), ("wait=x", 422), ("wait=inf", 422), ("wait=0x10", 422)])
def test_bad_positions(client, query, status):
    answer = client.get(f"/v1/jobs/{UNKNOWN}/events?{query}")
    assert answer.status_code == status, answer.text
    check_error(answer.content, status)


# ---- slow, gone ---------------------------------------------------------------------------------------------------------------

def test_half_a_request_holds_up_nobody(front, client):
    socks = []
    for _ in range(200):
        raw = Raw(front.url)
        raw.send(post(front, ["Content-Length: 1000"], b"{"))
        socks.append(raw)
    assert client.get("/health").status_code == 200
    for raw in socks:
        raw.sock.close()


def test_a_slow_head_is_ended_within_its_deadline(front):
    with Raw(front.url) as raw:
        raw.send(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        answers = raw.answers()
        assert [status for status, _, _ in answers] == [408] and raw.closed


def test_resets_leave_nothing(front, client):
    before = client.get("/metrics").text
    for _ in range(50):
        raw = Raw(front.url)
        raw.send(post(front, ["Content-Length: 1000"], b"{"))
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.sock.close()

    def connections(text):
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith("millrace_http_connections ")))
    wait_until("they are closed", lambda: connections(client.get("/metrics").text) <= connections(before))


# ---- the description -----------------------------------------------------------------------------------------------------------

def test_the_route_table_and_the_description_agree():
    import re

    from contract import DOCUMENT, resolved
    rows = re.findall(r'^X\((\w+), "([^"]+)", \w+, (AUTH|OPEN)', (ROOT / "api" / "routes.def").read_text(), re.M)
    routes = {(path, method.lower()): auth == "OPEN" for method, path, auth in rows}
    described = {(path, method): resolved(item)[method].get("security") == []
                 for path, item in DOCUMENT["paths"].items() for method in ("get", "post", "put", "patch", "delete")
                 if method in resolved(item)}
    assert routes == described


def test_the_description_is_served(client):
    assert client.get("/openapi.yaml").text == (ROOT / "schema" / "openapi.yaml").read_text()
