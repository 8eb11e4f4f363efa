# SPDX-License-Identifier: Apache-2.0
"""/state and the versions of a session: what its owner may do with it, and what nobody may."""
import hashlib
import json
import pickle
import struct

import httpx
import pytest
import redis
import yaml
from contract import Api
from system import wait_until
from test_7_state import Session
from websockets.sync.client import connect


@pytest.fixture
def session(api):
    return Session(api)


@pytest.fixture(scope="module")
def store(system):
    told = yaml.safe_load((system.state / "millrace.yaml").read_text())
    with redis.Redis.from_url(told.get("REDIS_URL") or system.redis.url) as client:
        yield client


@pytest.fixture(scope="module")
def stranger_key():
    return "other-" + "k" * 32


def key_of(store, session, what):
    return next(store.scan_iter(match=f"*:s:{session.id}:{what}", count=10000))


def raw(**names):
    return b"\1" + pickle.dumps(names)


def lz4(frame):
    """A frame of stored blocks, so that no library is needed here."""
    head = b"\x60\x40"
    blocks = b"".join(struct.pack("<I", 0x80000000 | len(frame[i:i + 65536])) + frame[i:i + 65536] for i in range(0, len(frame), 65536))
    return b"\x04\x22\x4d\x18" + head + bytes([xxh32(head) >> 8 & 0xff]) + blocks + b"\0\0\0\0"


def xxh32(data):
    """Of less than 16 bytes, seed 0."""
    mask, value = 0xffffffff, (0x165667B1 + len(data)) & 0xffffffff
    for byte in data:
        value = (value + byte * 0x165667B1) & mask
        value = (value << 11 | value >> 21) * 0x9E3779B1 & mask
    value = (value ^ value >> 15) * 0x85EBCA77 & mask
    value = (value ^ value >> 13) * 0xC2B2AE3D & mask
    return value ^ value >> 16


# ---- GET


def test_get_gives_the_bytes_and_their_tag(api, session):
    told = session("x = [1, 2]")
    answer = api.get(f"/state/{session.id}")
    assert answer.status_code == 200 and answer.content[0] in (1, 2)
    assert len(answer.content) == told["state_size"]
    assert hashlib.sha256(answer.content).hexdigest() == told["state_hash"]
    assert answer.headers["etag"] == f'"{told["state_hash"]}"' and answer.headers["x-state-version"] == "1"
    for tag in (answer.headers["etag"], f'W/{answer.headers["etag"]}', f'"a", {answer.headers["etag"]}', "*"):
        again = api.get(f"/state/{session.id}", headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b"")
    assert api.get(f"/state/{session.id}", headers={"if-none-match": '"other"'}).status_code == 200
    assert api.get(f"/state/{session.id}", headers={"if-none-match": "garbage"}).status_code == 400


def test_info_tells_of_it(api, session):
    told = session("x = 1")
    info = api.get(f"/state/{session.id}/info").json()
    assert (info["exists"], info["version"], info["hash"], info["source"]) == (True, 1, told["state_hash"], "redis")
    assert info["created_at"] < info["expires_at"]
    assert api.get(f"/state/{'n' * 21}/info").json()["exists"] is False


# ---- POST


@pytest.mark.parametrize("form", (1, 2))
def test_what_was_downloaded_can_be_uploaded(api, session, form):
    session("x = 1")
    blob = api.get(f"/state/{session.id}").content if form == 1 else b"\2" + lz4(pickle.dumps({"x": 1}))
    session("x = 2")
    answer = api.post(f"/state/{session.id}", content=blob)
    assert answer.status_code == 201 and answer.json()["version"] == 3
    assert session.prints("print(x)") == "1"


def test_an_upload_makes_a_session(api, session):
    session.id = "Upload" + "x" * 15
    assert api.post(f"/state/{session.id}", content=raw(x=5)).status_code == 201
    assert session.prints("print(x)") == "5"


@pytest.mark.parametrize("body, status", [
    (b"", 400), (b"\1", 400), (b"\0ab", 400), (b"\3ab", 400), (b"\2garbage", 400), (b"\2" + lz4(b"x" * 100)[:-6], 400),
    (b"\2" + lz4(b"x" * 100) + b"y", 400), (b"\2" + lz4(bytes(51 << 20)), 413), (b"\1" + bytes(51 << 20), 413)])
def test_what_is_no_state_is_never_stored(api, session, body, status):
    session("x = 1")
    answer = api.post(f"/state/{session.id}", content=body)
    assert (answer.status_code, answer.json()["error_type"]) == (status, "invalid_state" if status == 400 else "state_too_large")
    assert api.get(f"/state/{session.id}/info").json()["version"] == 1


def test_an_upload_under_conditions(api, session):
    first = session("x = 1")["state_hash"]
    second = session("x = 2")["state_hash"]
    path = f"/state/{session.id}"
    assert api.post(path, content=raw(x=3), headers={"if-match": f'"{first}"'}).status_code == 412
    assert api.post(path, content=raw(x=3), headers={"if-none-match": "*"}).status_code == 412
    assert api.post(path, content=raw(x=3), headers={"if-match": f'"{second}"'}).status_code == 201
    assert session.prints("print(x)") == "3"


def test_a_state_that_does_not_load_keeps_itself(api, session):
    api_answer = api.post("/state/" + "Q" * 21, content=b"\1no pickle at all")
    assert api_answer.status_code == 201
    session.id = "Q" * 21
    body = session("x = 1; print('ran')")
    assert (body["stdout"], body["state_version"]) == ("ran\n", 1)
    assert body["state_warnings"][0]["name"] == "*"


def test_a_pickle_runs_in_the_pod_only(api, session, system):
    class Evil:
        def __reduce__(self):
            import os
            return os.system, ("echo pwned; id -u; ls /proc | grep -c '^[0-9]'",)
    session.id = "Evil" + "e" * 17
    assert api.post(f"/state/{session.id}", content=raw(e=Evil())).status_code == 201
    for _ in range(2):
        api.get(f"/state/{session.id}")
        api.get(f"/state/{session.id}/info")
    body = session("print('after')")
    assert "pwned\n1000\n" in body["stdout"] and body["stdout"].endswith("after\n")
    assert "pwned" not in system.log_of("worker") + system.log_of("api")


# ---- DELETE


def test_delete_forgets_it_and_the_next_version_counts_on(api, session):
    session("x = 1")
    assert api.delete(f"/state/{session.id}").status_code == 204
    assert api.delete(f"/state/{session.id}").status_code == 204
    assert api.get(f"/state/{session.id}").status_code == 404
    assert api.get(f"/state/{session.id}/info").json()["exists"] is False
    assert session.prints("print('x' in globals())") == "False"
    assert session("y = 1")["state_version"] == 3


def test_a_deletion_is_a_version_and_can_be_undone(api, session):
    session("x = 1")
    assert api.delete(f"/state/{session.id}").status_code == 204
    listed = api.get(f"/v1/sessions/{session.id}/versions").json()
    assert (listed["version"], [one["version"] for one in listed["versions"]]) == (2, [1])  # nothing is in the second
    assert api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 1}).json()["version"] == 3
    assert session.prints("print(x)") == "1"


# ---- the end


def test_the_end_of_a_session_takes_all_that_it_holds(api, session, store):
    body = session("x = 1; open('kept.txt', 'w').write('kept')")
    file = body["files"][0]
    assert api.get(f"/download/{file['session_id']}/{file['id']}").status_code == 200
    assert api.delete(f"/v1/sessions/{session.id}").status_code == 204
    assert api.delete(f"/v1/sessions/{session.id}").status_code == 204
    for path in (f"/state/{session.id}", f"/v1/sessions/{session.id}/versions"):
        assert api.get(path).json()["error_type"] == "state_not_found"
    assert api.get(f"/download/{file['session_id']}/{file['id']}").status_code == 404
    assert api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 1}).status_code == 404
    assert not list(store.scan_iter(match=f"*:s:{session.id}:states", count=10000))
    after = api.exec("py", "print('x' in globals())", session_id=session.id)
    assert after["stdout"] == "False\n" and after["session_id"] != session.id


def test_a_run_in_a_session_that_ends_keeps_nothing(api, session, system):
    session("x = 1")
    job = api.submit("py", "print('begun', flush=True); input(); x = 2; open('a.txt', 'w').write('a')", session_id=session.id, interactive=True)
    with connect(f"{system.next_url().replace('http', 'ws', 1)}/v1/jobs/{job}/stream", additional_headers={"x-api-key": system.key}) as socket:
        while json.loads(socket.recv(timeout=60))["type"] != "output":
            continue
        assert api.delete(f"/v1/sessions/{session.id}").status_code == 204
        socket.send(json.dumps({"type": "stdin", "data": "\n"}))
        list(socket)
    result = api.job(job)["result"]
    assert (result["stdout"], result["exit_code"], result["has_state"], result["files"]) == ("begun\n", 0, False, [])
    assert [one["reason"] for one in result["state_warnings"]] == ["the session is gone; what this run left was not saved"]
    assert api.get(f"/state/{session.id}").status_code == 404


# ---- versions


def test_versions_rewind_and_fork(api, session):
    for n in range(1, 4):
        session(f"x = {n}; big = 'b' * {n}")
    listed = api.get(f"/v1/sessions/{session.id}/versions").json()
    assert [(v["version"], v["base"], v["from"]) for v in listed["versions"]] == [(3, 2, "run"), (2, 1, "run"), (1, 0, "run")]
    answer = api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 1})
    assert (answer.status_code, answer.json()["version"]) == (200, 4)
    assert session.prints("print(x)") == "1"
    fork = api.post(f"/v1/sessions/{session.id}/fork", json={"version": 2})
    assert fork.status_code == 201
    other = Session(api)
    other.id = fork.json()["session_id"]
    assert other.prints("print(x); x = 9") == "2"
    assert session.prints("print(x)") == "1"
    assert api.post(f"/v1/sessions/{session.id}/fork").status_code == 201
    for body in ({"version": 99}, {"version": 0}, {}, {"version": "1"}):
        assert api.post(f"/v1/sessions/{session.id}/rewind", json=body).status_code in (404, 422)


@pytest.mark.parametrize("what", ("rewind", "fork"))
def test_what_nobody_has_has_no_versions(api, what):
    answer = api.post(f"/v1/sessions/{'n' * 21}/{what}", json={"version": 1}, timeout=20)
    assert (answer.status_code, answer.json()["error_type"]) == (404, "state_not_found")
    assert api.get(f"/v1/sessions/{'n' * 21}/versions").status_code == 404


def test_how_many_versions_are_kept_is_bounded(api, session, store):
    for n in range(13):
        session(f"x = {n}")
    listed = api.get(f"/v1/sessions/{session.id}/versions").json()
    assert [v["version"] for v in listed["versions"]] == list(range(13, 3, -1))
    assert store.hlen(key_of(store, session, "blobs")) == store.hlen(key_of(store, session, "states")) == 10
    assert api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 3}).status_code == 404


def test_the_log_of_the_session_has_every_version(api, session, store):
    session("x = 1")
    api.post(f"/state/{session.id}", content=raw(x=2))
    api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 1})
    api.post(f"/v1/sessions/{session.id}/fork")
    entries = [fields for _, fields in store.xrange(key_of(store, session, "log"))]
    assert [e[b"t"] for e in entries] == [b"session_created", b"state_committed", b"state_committed", b"session_rewound", b"session_forked"]
    assert [e[b"s"] for e in entries] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_large_state_is_an_object(api, session, store):
    session("import os; data = os.urandom(200_000); x = 1")
    assert api.get(f"/state/{session.id}/info").json()["source"] == "archive"
    assert not store.exists(key_of(store, session, "states").replace(b"states", b"blobs"))
    assert session.prints("print(len(data), x); x = 2") == "200000 1"
    blob = api.get(f"/state/{session.id}")
    assert hashlib.sha256(blob.content).hexdigest() == blob.headers["etag"].strip('"')
    assert api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 1}).json()["version"] == 3
    assert session.prints("print(len(data), x)") == "200000 1"
    other = Session(api)
    other.id = api.post(f"/v1/sessions/{session.id}/fork", json={"version": 2}).json()["session_id"]
    assert other.prints("print(len(data), x)") == "200000 2"
    assert api.post(f"/state/{session.id}", content=blob.content).status_code == 201
    assert session.prints("print(len(data), x)") == "200000 2"


def metric(system, name):
    """Of the worker."""
    text = httpx.get(f"http://127.0.0.1:{system.children('worker')[0]['port']}/metrics", timeout=60).text
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"millrace_{name}_total "))


def test_a_damaged_object_is_refused(api, session, store, system):
    saved, size = metric(system, "states_saved"), metric(system, "state_bytes")
    told = session("import os; data = os.urandom(200_000)")
    wait_until("it is counted", lambda: metric(system, "states_saved") == saved + 1)
    wait_until("so are its bytes", lambda: metric(system, "state_bytes") == size + told["state_size"])
    place = store.hget(key_of(store, session, "states"), 1).split()[2].decode()
    path = next(p for p in system.object_folder().rglob("*") if p.is_file() and str(p).endswith(place.split("/")[-1]))
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + b"x" + whole[1001:])
    refused = metric(system, "states_refused")
    assert session("print(1)")["reason"] == "state_invalid"
    wait_until("it is counted", lambda: metric(system, "states_refused") == refused + 1)
    assert api.get(f"/state/{session.id}").json()["error_type"] == "state_damaged"
    path.write_bytes(whole)
    assert session.prints("print(len(data))") == "200000"


# ---- whose it is


@pytest.mark.parametrize("method, path", [
    ("GET", "/state/{}"), ("POST", "/state/{}"), ("DELETE", "/state/{}"), ("GET", "/v1/sessions/{}/versions"),
    ("POST", "/v1/sessions/{}/rewind"), ("POST", "/v1/sessions/{}/fork")])
def test_a_stranger_sees_nothing(make_strangers, method, path):
    owner, stranger, session = make_strangers
    more = {"content": raw(x=9)} if path == "/state/{}" and method == "POST" else {"json": {"version": 1}} if method == "POST" else {}
    theirs = stranger.request(method, path.format(session.id), **more)
    nobodys = stranger.request(method, path.format("z" * 21), **({} if method != "POST" or "json" in more else {"content": b"\1"}))
    if method == "DELETE":
        assert theirs.status_code == nobodys.status_code == 204
    else:
        assert theirs.status_code == 404 and theirs.json()["error_type"] == "state_not_found"
    assert session.prints("print(x)") == "1"


def test_a_stranger_ends_no_session(make_strangers):
    owner, stranger, session = make_strangers
    for _ in range(2):
        for whose in (session.id, "z" * 21, "no id"):
            answer = stranger.delete(f"/v1/sessions/{whose}")
            assert (answer.status_code, answer.json()["error_type"]) == (404, "state_not_found")
    assert session.prints("print(x)") == "1"
    assert owner.delete(f"/v1/sessions/{session.id}").status_code == 204
    assert stranger.delete(f"/v1/sessions/{session.id}").status_code == 404


def test_a_run_in_a_strangers_session_gets_a_fresh_one(make_strangers):
    _, stranger, session = make_strangers
    body = stranger.exec("py", "print('x' in globals()); x = 7", session_id=session.id)
    assert body["stdout"] == "False\n" and body["session_id"] != session.id
    assert stranger.exec("py", "print(x)", session_id=body["session_id"])["stdout"] == "7\n"
    assert session.prints("print(x)") == "1"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory, stranger_key, cluster):
    from conftest import finish
    from system import System
    made = System(tmp_path_factory.mktemp("strangers"), cluster=cluster, env={"API_KEYS": "other:" + stranger_key, "POD_POOL_PY_SCIENCE": "0"})
    yield made
    finish(made)


@pytest.fixture
def make_strangers(strangers, stranger_key):
    with Api(strangers) as owner, Api(strangers, key=stranger_key) as stranger:
        session = Session(owner)
        session("x = 1")
        yield owner, stranger, session


# ---- what lies in the store


def test_a_damaged_state_is_refused_and_an_earlier_one_is_there(api, session, store):
    session("x = 1")
    session("x = 2; data = 'd' * 4000")
    blobs, states = key_of(store, session, "blobs"), key_of(store, session, "states")
    good = store.hget(blobs, 2)
    for bad in (good[:-1], good + b"x", bytes([good[0] ^ 1]) + good[1:], good[:50] + bytes([good[50] ^ 0x80]) + good[51:], b""):
        store.hset(blobs, 2, bad)
        body = session("print(x)")
        assert (body["job_status"], body["reason"]) == ("failed", "state_invalid"), bad[:60]
        assert api.get(f"/state/{session.id}").json()["error_type"] == "state_damaged"
    store.hset(blobs, 2, store.hget(blobs, 1))  # a replay of an older one
    assert session("print(x)")["reason"] == "state_invalid"
    record = store.hget(states, 1)
    store.hset(states, 2, record)  # with its seal
    assert session("print(x)")["reason"] == "state_invalid"
    assert api.post(f"/v1/sessions/{session.id}/rewind", json={"version": 1}).status_code == 200
    assert session.prints("print(x)") == "1"


def test_another_sessions_state_is_refused(api, session, store):
    other = Session(api)
    session("x = 1")
    other("x = 2")
    for what in ("states", "blobs"):
        store.hset(key_of(store, session, what), 1, store.hget(key_of(store, other, what), 1))
    body = session("print(x)")
    assert (body["job_status"], body["reason"]) == ("failed", "state_invalid")
