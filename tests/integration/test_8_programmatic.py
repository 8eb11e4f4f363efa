# SPDX-License-Identifier: Apache-2.0
"""A program that waits for its client's tools outlives its worker: it is run again with the results that the log has."""
import os
import signal

import pytest

from conftest import finish
from contract import Api
from system import System, wait_until

TOOLS = [{"name": "t", "parameters": {"properties": {"n": {}}}}]


class Programmatic:
    def __init__(self, api):
        self.api, self.token, self.calls, self.last = api, None, [], None

    def take(self, answer):
        assert answer.status_code == 200, answer.text
        self.last = answer.json()
        self.token, self.calls = self.last.get("continuation_token"), self.last.get("tool_calls")
        return self

    def begin(self, code, **more):
        return self.take(self.api.post("/exec/programmatic", json={"code": code, "tools": TOOLS, **more}))

    def go_on(self):
        """Answers each call with ten times its n."""
        results = [{"call_id": call["id"], "result": call["input"]["n"] * 10} for call in self.calls]
        return self.take(self.api.post("/exec/programmatic", json={"continuation_token": self.token, "tool_results": results}))


@pytest.fixture(scope="module")
def plant(tmp_path_factory, cluster):
    system = System(tmp_path_factory.mktemp("plant"), cluster=cluster,
                    env={"LEASE_SECONDS": "1", "HEARTBEAT_SECONDS": "0.2", "PROGRAMMATIC_PAUSE_SECONDS": "60"})
    with Api(system) as api:
        yield system, api
    finish(system)


def events_of(api):
    job = api.get("/v1/jobs").json()["jobs"][0]["job_id"]
    return api.events(job)


def kill_worker(system):
    before = system.children("worker")[0]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until("another worker is there", lambda: system.is_ready() and system.children("worker")[0]["pid"] != before, 60)


@pytest.mark.parametrize("lang, code", [
    ("python", "print('begin')\na = await t(n=1)\nb, c = await asyncio.gather(t(n=2), t(n=3))\nprint(a, b, c, await t(n=4))"),
    ("bash", "echo begin\na=$(t '{\"n\":1}'); b=$(t '{\"n\":2}'); c=$(t '{\"n\":3}'); echo $a $b $c $(t '{\"n\":4}')")], ids=["python", "bash"])
def test_the_worker_is_killed_between_rounds(plant, lang, code):
    system, api = plant
    run = Programmatic(api).begin(code, lang=lang).go_on()
    kill_worker(system)
    while run.last["status"] == "tool_call_required":
        run.go_on()
    assert (run.last["status"], run.last["stdout"]) == ("completed", "begin\n10 20 30 40\n"), run.last
    kinds = [event["type"] for event in events_of(api)]
    assert "retried" in kinds and kinds.count("claimed") == 2, kinds


def test_another_way_taken_is_said(plant):
    """What it calls depends on the clock: run again it cannot be given the recorded results."""
    system, api = plant
    run = Programmatic(api).begin("import time\nawait t(n=time.time_ns() // 1000)\nawait t(n=1)").go_on()
    kill_worker(system)
    run.go_on()
    assert run.last["status"] == "error"
    assert any(event["type"] == "failed" and event["reason"] == "replay_diverged" for event in events_of(api)), run.last


def test_many_that_wait_hold_up_nobody(plant):
    """More than the worker has slots."""
    system, api = plant
    waiting = [Programmatic(api).begin(f"print(await t(n={n}))") for n in range(12)]
    assert api.exec("py", "print('in between')")["stdout"] == "in between\n"
    assert [run.go_on().last["stdout"] for run in waiting] == [f"{n * 10}\n" for n in range(12)]


def test_a_wait_has_an_end(make_system):
    system = make_system(env={"PROGRAMMATIC_PAUSE_SECONDS": "1"})
    with Api(system) as api:
        run = Programmatic(api).begin("await t(n=1)")
        wait_until("it has ended", lambda: events_of(api)[-1]["type"] == "failed")
        assert events_of(api)[-1]["reason"] == "tools_timeout"
        assert run.go_on().last["status"] == "error"
