# SPDX-License-Identifier: Apache-2.0
"""The log of a session is bounded: what is cut off its beginning is told by a checkpoint, which is held against the events before it."""
import http.client
import json
import pickle
import urllib.parse

import pytest
from archive import settle
from test_2_states import archive, run, session_key

COMMITS, CHECKPOINT_EVENTS = 1000, 128
LONGEST = 2 * CHECKPOINT_EVENTS + 2


def log(scene, session):
    return scene.redis.xrange(session_key(scene, session, ":log"))


def checkpoints(scene, session):
    return [at for at, entry in log(scene, session) if entry["t"] == "session_checkpoint"]


def commit(scene, session, numbers):
    """A version of its state for each, uploaded; the longest that its log was."""
    connection, longest = http.client.HTTPConnection(urllib.parse.urlsplit(scene.system.url).netloc, timeout=60), 0
    for number in numbers:
        connection.request("POST", f"/state/{session}", b"\1" + pickle.dumps({"n": number}), {"x-api-key": scene.system.key})
        answer = connection.getresponse()
        told = answer.read()
        assert answer.status == 201, told
        longest = max(longest, scene.redis.xlen(session_key(scene, session, ":log")))
    connection.close()
    return longest


@pytest.fixture(scope="module")
def long(scene):
    """A session with a file and many versions of its state."""
    scene.announce()
    session, _, _ = run(scene, "n = 0; open('/mnt/data/f.txt', 'w').write('file')")
    assert CHECKPOINT_EVENTS < commit(scene, session, range(COMMITS)) <= LONGEST
    return session


def test_it_says_what_the_session_is(scene, long):
    assert int(scene.redis.hget(session_key(scene, long), "version")) == COMMITS + 1
    assert log(scene, long)[0][1]["t"] == "session_checkpoint" and len(checkpoints(scene, long)) == 2
    assert scene.differences() == []


def test_kept_versions_are_there(scene, long):
    kept = json.loads(scene.call(f"/v1/sessions/{long}/versions")[1])["versions"]
    assert sorted(one["version"] for one in kept) == list(range(COMMITS - 8, COMMITS + 2))
    status, body = scene.call(f"/v1/sessions/{long}/fork", {"version": COMMITS - 3})
    assert status in (200, 201), body
    assert run(scene, "print(n)", json.loads(body)["session_id"])[1] == f"{COMMITS - 5}\n"
    status, body = scene.call(f"/v1/sessions/{long}/rewind", {"version": COMMITS - 4})
    assert status in (200, 201), body
    assert run(scene, "print(n)", long)[1] == f"{COMMITS - 6}\n"
    assert scene.differences() == []


def test_it_is_archived_and_comes_back(scene, long):
    one = scene.archiver()
    archive(scene, long)
    settle("it is cold", lambda: scene.redis.hget(session_key(scene, long), "status") == "cold")
    assert one.end() == 0
    before = log(scene, long)[-1]
    commit(scene, long, [1])
    while not checkpoints(scene, long)[-1] > before[0]:
        commit(scene, long, [2])
    assert scene.differences() == []


def lying(scene, session, lies):
    """What --verify says while the log's last checkpoint has these lies."""
    key, last = session_key(scene, session, ":log"), checkpoints(scene, session)[-1]
    entries = scene.redis.xrange(key)
    for told in (lies, {}):
        scene.redis.delete(key)
        for name, fields in entries:
            d = json.dumps({**json.loads(fields["d"]), **told}) if told and name == last else fields["d"]
            scene.redis.xadd(key, {**fields, "d": d}, id=name)
        if told:
            found = "\n".join(scene.differences())
    return found


def test_a_checkpoint_that_lies_is_found(scene, long):
    found = lying(scene, long, {"files": {}, "versions": {"5": "4 1"}, "version": 7})
    for what in ("has 0 files, the events before say 1", "version 5 of checkpoint", "is not what the events before come to"):
        assert what in found
    assert scene.differences() == []


def test_a_log_that_begins_anywhere_is_found(scene, long):
    key = session_key(scene, long, ":log")
    before = scene.redis.xrange(key)
    scene.redis.xdel(key, before[0][0])
    found = scene.differences()
    scene.redis.delete(key)
    for name, fields in before:
        scene.redis.xadd(key, fields, id=name)
    assert any("follows event 0" in line for line in found), found
    assert scene.differences() == []
