# SPDX-License-Identifier: Apache-2.0
"""The connection breaks around a finish that carries a state: the worker repeats it, and the state is there once."""
import os
import pathlib
import tempfile

import pytest
from plant import wait_until
from redisproxy import RedisProxy
from scene import Scene, kinds_of
from system import files_below

# Told with the claim; asked for; an object.
SIZES = {"inline": 4_000, "asked": 40_000, "object": 100_000}
FINISH = b"\r\nstate_saved\r\n"  # as an argument; the script itself is loaded anew with each connection
CODE = """
import os
n = globals().get("n", 0) + 1
data = os.urandom(SIZE)
print(n)
"""


@pytest.fixture(scope="module")
def objects():
    """A folder that the worker, which is nobody in particular, can use too."""
    with tempfile.TemporaryDirectory(prefix="millrace-lost-") as name:
        os.chmod(name, 0o777)
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def proxy():
    made = RedisProxy()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def scene(tmp_path_factory, proxy, objects):
    made = Scene(tmp_path_factory.mktemp("lost"), apis=1, workers=1,
                 proxy=proxy, env={"OBJECT_STORE_PATH": str(objects), "POD_POOL_PY": "2", "POD_POOL_JS": "0", "POD_POOL_BASH": "0"})
    made.plant.__enter__()
    yield made
    assert made.finish() == []


class Run:
    """A session, run by run; what its jobs' logs and its own say."""

    count = 0

    def __init__(self, scene, size):
        self.scene, self.code, self.session, self.runs = scene, CODE.replace("SIZE", str(size)), None, 0

    def begin(self):
        self.runs, Run.count = self.runs + 1, Run.count + 1
        body = {"lang": "py", "code": self.code, "timeout_ms": 20000}
        if self.session:
            body["session_id"] = self.session
        self.job = self.scene.run(self.scene.client().submit(f"k{Run.count}", body, f"{self.runs}\n"))
        self.session = self.redis.hget(f"millrace:{{p00}}:j:{self.job}", "session")

    def end(self):
        events = self.scene.run(self.scene.client().follow(self.job, "poll"))
        assert kinds_of(events).count("state_saved") == 1 and kinds_of(events)[-1] == "completed", kinds_of(events)

    @property
    def redis(self):
        return self.scene.plant.redis()

    @property
    def versions(self):
        key = f"millrace:{{p00}}:s:{self.session}"
        committed = [entry for _, entry in self.redis.xrange(key + ":log") if entry["t"] == "state_committed"]
        assert len(committed) == int(self.redis.hget(key, "version"))
        return {int(version): int(record.split()[0]) for version, record in self.redis.hgetall(key + ":states").items()}


def terminal(run):
    return run.redis.hget(f"millrace:{{p00}}:j:{run.job}", "status") == "completed"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", ("unsent", "half", "answer"))
def test_the_state_is_there_once(scene, proxy, objects, how, size):
    run = Run(scene, SIZES[size])
    run.begin()
    run.end()
    first = proxy.lose(FINISH, how)
    again = proxy.lose(FINISH, "answer")  # and the repeat's answer too
    run.begin()
    if how == "answer":
        wait_until("Redis has done it", lambda: terminal(run), 30)
        first.cut()
    assert first.met.wait(30)
    wait_until("Redis has done it, or said that it was done", lambda: terminal(run) and (how != "answer" or b"dup" in again.withheld), 30)
    again.cut()
    run.end()
    assert run.versions == {1: 0, 2: 1}
    run.begin()
    run.end()
    assert run.versions == {1: 0, 2: 1, 3: 2}
    left = {path.name for path in files_below(objects) if path.name.startswith("state-") and run.session in str(path)}
    assert len(left) == (3 if size == "object" else 0)
