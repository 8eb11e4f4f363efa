# SPDX-License-Identifier: Apache-2.0
"""Something else lies under the keys of a session's state: whoever asks is told so, nothing is written or stuck, other sessions work,
and when the keys are back so is the state."""
import contextlib
import json

import pytest
import redis
import yaml
from contract import Session
from test_2_jobs import socket_of


@pytest.fixture(scope="module")
def store(system):
    told = yaml.safe_load((system.state / "millrace.yaml").read_text())
    with redis.Redis.from_url(told.get("REDIS_URL") or system.redis.url) as client:
        yield client


@pytest.fixture
def session(api):
    made = Session(api)
    made("n = 1")
    return made


def prefix(store, session):
    return next(store.scan_iter(match=f"*s:{session.id}", count=10000)).decode()


@contextlib.contextmanager
def damaged(store, *keys, change):
    """At the end they are again what they were."""
    before = {key: store.dump(key) for key in keys}
    for key in keys:
        change(key)
    try:
        yield
    finally:
        for key, dump in before.items():
            store.delete(key)
            if dump:
                store.restore(key, 0, dump)


def other_type(store):
    def change(key):
        kind = store.type(key)
        store.delete(key)
        store.rpush(key, "x") if kind == b"string" else store.set(key, "x")
    return change


# What is done to the session's own key.
FIELDS = {
    "no status": lambda store, key: store.hdel(key, "status"),
    "no tenant": lambda store, key: store.hdel(key, "tenant"),
    "a version that is none": lambda store, key: store.hset(key, "version", "two"),
    "a time that is none": lambda store, key: store.hset(key, "due", "soon"),
    "no version": lambda store, key: store.hdel(key, "version"),
}
READ = {"": "the session", ":states": "its versions", ":blobs": "their bytes"}  # also where a run begins
WRITTEN = {":log": "its log"}
SHARED = ("sdue", "sidle", "drop")


def refused(api, session):
    answer = api.post("/exec", json={"lang": "py", "code": "print(n)", "session_id": session.id})
    assert (answer.status_code, answer.json()["error_type"]) == (409, "state_damaged"), answer.text


def is_failed(api, session):
    told = api.exec("py", "print(n)", session_id=session.id)
    assert (told["job_status"], told["reason"], told["stdout"]) == ("failed", "state_invalid", ""), told


def is_well(api):
    other = Session(api)
    other("n = 5")
    assert other.prints("n += 1; print(n)") == "6"


@pytest.mark.parametrize("part", READ, ids=READ.values())
def test_a_run_and_every_route_say_so(api, store, session, part):
    with damaged(store, prefix(store, session) + part, change=other_type(store)):
        for method, path, body in (("GET", f"/state/{session.id}", None), ("DELETE", f"/state/{session.id}", None),
                                   ("POST", f"/v1/sessions/{session.id}/rewind", {"version": 1}),
                                   ("POST", f"/v1/sessions/{session.id}/fork", {"version": 1})):
            answer = api.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error_type"]) == (409, "state_damaged"), (path, answer.text)
        # Only the session itself is looked at before a run is accepted.
        is_failed(api, session) if part == ":blobs" else refused(api, session)
        is_well(api)
    assert session.prints("n += 1; print(n)") == "2"


WAITS = "n += 1; input('ready')"


def ended_meanwhile(system, api, session, change):
    """The end of a run whose session is changed while its program runs."""
    job = api.submit("py", WAITS, session_id=session.id, interactive=True)
    with socket_of(system, job) as socket:
        while json.loads(socket.recv(timeout=30))["type"] != "output":
            pass
        with change:
            socket.send(json.dumps({"type": "stdin", "data": "go\n"}))
            told = api.wait(job)
    return told


def says_damaged(told):
    result = told["result"]
    assert (told["status"], result["exit_code"], result["stdout"]) == ("completed", 0, "ready"), told
    assert result["state_version"] == 1 and "damaged" in result["state_warnings"][0]["reason"], told


@pytest.mark.parametrize("part", READ | WRITTEN, ids=(READ | WRITTEN).values())
def test_a_run_ends_all_the_same(system, api, store, session, part):
    says_damaged(ended_meanwhile(system, api, session, damaged(store, prefix(store, session) + part, change=other_type(store))))
    assert session.prints("n += 1; print(n)") == "2"
    assert api.get(f"/v1/sessions/{session.id}/versions").json()["version"] == 2


@pytest.mark.parametrize("change", FIELDS.values(), ids=FIELDS)
def test_a_session_that_lacks_a_field(system, api, store, session, change):
    key = prefix(store, session)
    says_damaged(ended_meanwhile(system, api, session, damaged(store, key, change=lambda key: change(store, key))))
    assert session("n += 1")["state_version"] == 2
    with damaged(store, key, change=lambda key: change(store, key)):
        if change is FIELDS["no version"]:  # as a session has that has no state yet; there is one all the same
            assert "damaged" in session("n = 1")["state_warnings"][0]["reason"]
        else:
            refused(api, session)
        is_well(api)
    assert session.prints("n += 1; print(n)") == "3"


def test_what_all_sessions_share(api, store, session):
    """Their runs end and say that nothing was saved; what has no state is not concerned."""
    shared = prefix(store, session).split("}:")[0] + "}:"
    with damaged(store, *(shared + name for name in SHARED), change=other_type(store)):
        told = session("n += 1; print(n)")
        assert (told["stdout"], told["state_version"]) == ("2\n", 1) and "damaged" in told["state_warnings"][0]["reason"]
        assert api.exec("py", "print(1)")["stdout"] == "1\n"
    assert session.prints("n += 1; print(n)") == "2"


@pytest.mark.parametrize("record", ("", "x", "0 1", "0 now - upload seal", "9" * 30 + " 1 - a b"))
def test_a_record_that_is_none(api, store, session, record):
    """Its version is damaged; such a record goes with the others when the session has new versions."""
    states = prefix(store, session) + ":states"
    with damaged(store, states, change=lambda key: store.hset(key, "1", record)):
        assert api.get(f"/state/{session.id}").json()["error_type"] == "state_damaged"
        is_failed(api, session)
        assert api.get(f"/v1/sessions/{session.id}/versions").json()["version"] == 1
        is_well(api)
    assert session.prints("n += 1; print(n)") == "2"
    store.hset(states, "no version", record)
    for turn in range(3, 15):
        assert session.prints("n += 1; print(n)") == str(turn)
    assert store.hlen(states) == 10
