# SPDX-License-Identifier: Apache-2.0
"""What a run with state asks of Redis beyond one without: nothing, where the state is little."""
import contextlib
import hashlib

import pytest
from contract import Api, Session
from system import BUILD, System
from test_7_state_routes import store  # noqa: F401  a fixture

OVER = "this test has seen enough"


@pytest.fixture
def session(api):
    return Session(api)


@contextlib.contextmanager
def scripts_of(store, session):  # noqa: F811
    """Of every script called meanwhile that has a key of the session: (its keys behind the session's id, its arguments)."""
    found = []
    with store.monitor() as monitor:
        yield found
        store.echo(OVER)
        for line in monitor.listen():
            words = line["command"].split(" ")
            if OVER in line["command"]:
                break
            if words[0].upper() == "EVALSHA" and line["client_type"] != "lua":
                count = int(words[2])
                keys = [key.split(f"s:{session.id}")[1] for key in words[3:3 + count] if f":s:{session.id}" in key]
                if keys:
                    found.append((keys, words[3 + count:]))


def reads(scripts):
    """Those that ask for a version with its blob, as a worker does; an api's question whose session it is asks for version 0."""
    return [arguments for keys, arguments in scripts if keys == ["", ":states", ":blobs", ":order"] and arguments[-1] != "0"]


def test_a_little_state_comes_with_its_run(session, store):  # noqa: F811
    session("x = 1")
    with scripts_of(store, session) as scripts:
        assert session.prints("x += 1; print(x)") == "2"
    assert reads(scripts) == []
    # the api looks whose session it is, the job is accepted, the run ends
    assert [keys for keys, _ in scripts] == [["", ":states", ":blobs", ":order"], [":order"], [":order", "", ":log", ":states", ":blobs"]]


def test_a_larger_one_is_asked_for(session, store):  # noqa: F811
    session("import random; x = random.randbytes(40000)")
    with scripts_of(store, session) as scripts:
        assert session.prints("print(len(x))") == "40000"
    assert len(reads(scripts)) == 1


def test_a_session_that_is_none_yet_is_not_asked_for(session, store):  # noqa: F811
    with store.monitor() as monitor:
        session("x = 1")
        store.echo(OVER)
        lines = []
        for line in monitor.listen():
            if OVER in line["command"]:
                break
            lines.append(line["command"])
    mine = [line for line in lines if line.upper().startswith("EVALSHA") and f":s:{session.id}" in line]
    assert len(mine) == 2, mine


TIMED = {"append", "heartbeat"}  # whether one comes before the end depends on how long that takes


def scripts(store, do):  # noqa: F811
    """The names of those that the job of `do` needs of Redis, and its session, in their order."""
    names = {hashlib.sha1(path.read_bytes()).hexdigest(): path.stem for path in (BUILD / "lib" / "queue").glob("*.lua")}
    with store.monitor() as monitor:
        body = do()
        store.echo(OVER)
        found = []
        for line in monitor.listen():
            words = line["command"].split(" ")
            if OVER in line["command"]:
                break
            if words[0].upper() == "EVALSHA":
                keys = " ".join(words[3:3 + int(words[2])])
                if body["job_id"] in keys or f":s:{body['session_id']}" in keys:
                    found.append(names[words[1]])
    return [name for name in found if name not in TIMED]


def test_a_run_that_leaves_nothing_costs_nothing(api, session, store):  # noqa: F811
    """The scripts of a run that wants no state; in a session that its client names, where it has its turn, its end gives that on."""
    runs = [{"state": False}, {}]
    assert [scripts(store, lambda more=more: api.exec("py", "pass", **more)) for more in runs] == [["submit", "finish"]] * 2
    session("open('f.txt', 'w').write('x')")  # it is there, and has no state
    without, with_state = (scripts(store, lambda more=more: session("pass", **more)) for more in runs)
    assert with_state == ["finish_state" if name == "finish" else name for name in without] and without[-1] == "finish"


LAST = """
import socket, time
class Last:
    def __del__(self, socket=socket, time=time, print=print):
        print('saved', flush=True)
        socket.socket(fileno=3).shutdown(socket.SHUT_WR)
        time.sleep({})
        print('after', flush=True)
x = Last()
"""


def test_its_end_is_told_when_its_state_is(tmp_path):
    """The interpreter's last step, done here by the program itself: PID 1 does not wait until the process is gone."""
    system = System(tmp_path, env={"STATE_CAPTURE_SECONDS": "60"})  # before that nothing but this step ends it
    try:
        with Api(system) as api:
            body = api.exec("py", LAST.format(25))
    finally:
        system.stop()
    assert (body["exit_code"], body["stdout"], body["has_state"]) == (0, "saved\n", True)


def test_a_program_that_left_files_is_waited_for(session):
    body = session("open('a.txt', 'w').write('x')" + LAST.format(0.1))
    assert (body["exit_code"], body["stdout"], body["has_state"]) == (0, "saved\nafter\n", True)
