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
        self.api, self.token, self.calls, self.last, self.job = api, None, [], None, None

    def take(self, answer):
        assert answer.status_code == 200, answer.text
        self.last = answer.json()
        self.token, self.calls = self.last.get("continuation_token"), self.last.get("tool_calls")
        return self

    def begin(self, code, **more):
        self.take(self.api.post("/exec/programmatic", json={"code": code, "tools": TOOLS, **more}))
        self.job = self.api.get("/v1/jobs").json()["jobs"][0]["job_id"]
        return self

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
    assert "retried" in kinds and kinds.count("claimed") >= 2, kinds


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


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, cluster):
    """Two programs of a tenant wait in pods; the others wait without."""
    system = System(tmp_path_factory.mktemp("narrow"), cluster=cluster,
                    env={"PROGRAMMATIC_PAUSED_MAX": "2", "PROGRAMMATIC_PAUSE_SECONDS": "60"})
    with Api(system) as api:
        yield system, api
    finish(system)


def parked(system):
    return system.log_of("worker").count("a program waits for its tools without a pod")


def test_the_oldest_gives_up_its_pod_and_is_replayed_with_its_results(narrow):
    system, api = narrow
    code = "print('begin', {n})\na = await t(n={n})\nprint(a, *await asyncio.gather(t(n=1), t(n=2)))"
    waiting = [Programmatic(api).begin(code.format(n=n)) for n in range(3, 8)]
    wait_until("three are parked", lambda: parked(system) == 3)
    while any(run.last["status"] == "tool_call_required" for run in waiting):
        for run in waiting:
            if run.last["status"] == "tool_call_required":
                run.go_on()
    assert [run.last["stdout"] for run in waiting] == [f"begin {n}\n{n * 10} 10 20\n" for n in range(3, 8)]
    ends = [event for run in waiting for event in api.events(run.job)]
    assert {event["reason"] for event in ends if event["type"] == "retried"} == {"tools_parked"}


def test_one_that_may_not_run_again_ends_instead(narrow):
    system, api = narrow
    before, runs = parked(system), []
    for retry in (False, True, True):
        runs.append(Programmatic(api).begin("await t(n=1)", retry=retry))
    wait_until("the oldest has ended", lambda: api.events(runs[0].job)[-1].get("reason") == "tools_timeout")
    assert parked(system) == before
    assert [run.go_on().last["status"] for run in runs] == ["error", "completed", "completed"]


def test_a_parked_program_can_be_cancelled(narrow):
    system, api = narrow
    before = parked(system)
    runs = [Programmatic(api).begin("print('x')\nawait t(n=1)") for _ in range(4)]
    wait_until("two are parked", lambda: parked(system) == before + 2)
    for run in runs:
        assert api.delete(f"/v1/jobs/{run.job}").status_code in (200, 202)
    wait_until("all are cancelled", lambda: all(api.job(run.job)["status"] == "cancelled" for run in runs))


def test_a_wait_has_an_end(make_system):
    """Also without a pod, as the first one waits once the second one does."""
    system = make_system(env={"PROGRAMMATIC_PAUSED_MAX": "1", "PROGRAMMATIC_PAUSE_SECONDS": "3"})
    with Api(system) as api:
        runs = [Programmatic(api).begin("await t(n=1)") for _ in range(2)]
        for run in runs:
            wait_until("it has ended", lambda run=run: api.job(run.job)["status"] == "failed")
            assert api.events(run.job)[-1]["reason"] == "tools_timeout"
            assert run.go_on().last["status"] == "error"
