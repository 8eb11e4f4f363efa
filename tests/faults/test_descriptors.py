# SPDX-License-Identifier: Apache-2.0
"""Processes that may open no more files: what needs one fails with a reason and is tried again, all else goes on."""
import asyncio
import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import time
import urllib.request

import plant as plants
import pytest
import wire
from scene import Scene, kinds_of, saw
from system import wait_until

CPU_MAX = 0.5  # of a processor, of a process that can do nothing but wait


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    made = Scene(tmp_path_factory.mktemp("descriptors"), apis=1, workers=1, env={"POD_POOL_JS": "0", "POD_POOL_JAVA": "0", "MAX_EXECUTION_TIME": "120"})
    with made.plant:
        yield made
        assert made.finish() == []


def open_files(pid):
    return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}


@contextlib.contextmanager
def standing(pid):
    """The process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(f"{pid} stands still", lambda: plants.stat_of(pid)[1] == "T")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def limit_files(pid, limits):
    """As who it runs as: others need a privilege that a container's root may lack."""
    owner = os.stat(f"/proc/{pid}").st_uid
    if owner in (0, os.getuid()):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    else:
        subprocess.run(["/usr/bin/setpriv", f"--reuid={owner}", f"--regid={owner}", "--clear-groups", "/usr/bin/prlimit",
                        f"--pid={pid}", f"--nofile={limits[0]}:{limits[1]}"], check=True)


def files_of(pid):
    """(soft, hard) limit."""
    line = next(line for line in plants.proc(pid, "limits").decode().splitlines() if line.startswith("Max open files"))
    return tuple(map(int, line.split()[3:5]))


def asleep(pid):
    """It has done what there was to do."""
    return plants.stat_of(pid)[1] == "S"


@contextlib.contextmanager
def at_its_limit(pid):
    """It has all the descriptors that it may have."""
    before = files_of(pid)

    def tight():
        """What it had open in the middle of its work only, it closes: then there is room again."""
        with standing(pid):
            taken = open_files(pid)
            limit = min(set(range(max(taken) + 2)) - taken)
            limit_files(pid, (limit, before[1]))
        wait_until(f"{pid} sleeps", lambda: asleep(pid))
        return set(range(limit)) <= open_files(pid)
    try:
        wait_until(f"{pid} has no room", tight)
        yield
    finally:
        limit_files(pid, before)


def helper_of(spawner):
    """Its other child."""
    worker = spawner.worker_pid()
    return next(pid for pid, stat in plants.descendants(spawner.pid).items() if stat[2] == spawner.pid and pid != worker)


def health_of(process):
    with urllib.request.urlopen(process.url + "/health", timeout=20) as answer:
        return json.load(answer)


def python_pool(process):
    return health_of(process)["pools"]["py"]


WRITES = """
import select, sys
n = 0
while not select.select([sys.stdin], [], [], 0.1)[0]:
    print(n, flush=True)
    n += 1
"""


class Programs:
    """They write all the while, until their test lets them end: none makes room before that."""

    def __init__(self, scene):
        self.scene, self.jobs, self.readers = scene, [], []

    async def begin(self, key):
        """The events so far of one more."""
        client, events = self.scene.client(), []
        self.jobs.append(await client.submit(key, {"lang": "py", "code": WRITES, "interactive": True, "timeout_ms": 120000}, None))
        self.readers.append(asyncio.create_task(client.follow(self.jobs[-1], "ws", events.append)))
        return events

    async def beside(self, key):
        """One that runs."""
        events = await self.begin(key)
        await saw(events, "output")
        return events

    async def all_complete(self):
        for job in self.jobs:
            await self.scene.client().end_input(job)
        await asyncio.gather(*self.readers)
        for job in self.jobs:
            told = await self.scene.client().result(job)
            lines = told["stdout"].split()
            assert told["status"] == "completed" and lines == [str(n) for n in range(len(lines))], told


def at_rest(spawner):
    """One program runs, and no pod is being made."""
    health = health_of(spawner)
    return health["running"] == 1 and all(pool["ready"] == pool["size"] for pool in health["pools"].values() if not pool["missing"])


def reasons_told(spawner):
    """Why pods could not be made, by the worker's log."""
    return {record.get("why") for record in plants.log_records(spawner) if record.get("message") == "a pod could not be made"}


def undisturbed(events, spawner, processes):
    """A program and the processes that made its pod went on as if nothing had been."""
    assert kinds_of(events).count("claimed") == 1 and kinds_of(events)[-1] == "completed"
    assert (spawner.pid, spawner.worker_pid(), helper_of(spawner)) == processes


async def until(what, condition):
    await asyncio.to_thread(wait_until, what, condition)


def test_the_spawner_cannot_take_a_pod_that_was_made(scene):
    """The pod's descriptor is lost on its way: that pod alone is given up, and the program beside it does not notice."""
    spawner = scene.plant.worker1
    pid, worker = spawner.pid, spawner.worker_pid()
    helper = helper_of(spawner)

    async def play():
        programs = Programs(scene)
        events = await programs.beside("beside-spawner")
        await until("nothing else is under way", lambda: at_rest(spawner))
        with contextlib.ExitStack() as stack:
            before = len(open_files(pid))
            with standing(helper):
                await programs.begin("spawner")  # one, for whose pod another is wanted: more would be refused in other words
                await until("the helper is asked for a pod", lambda: len(open_files(pid)) >= before + 3 and asleep(pid))
                stack.enter_context(at_its_limit(pid))
            await until("the pod is given up", lambda: "the spawner may open no more descriptors" in
                        reasons_told(spawner))
        await programs.all_complete()
        return events
    undisturbed(scene.run(play()), spawner, (pid, worker, helper))


def test_the_helper_cannot_take_what_a_pod_needs(scene):
    spawner = scene.plant.worker1
    processes = spawner.pid, spawner.worker_pid(), helper_of(spawner)

    async def play():
        programs = Programs(scene)
        events = await programs.beside("beside-helper")
        await until("nothing else is under way", lambda: at_rest(spawner))
        with at_its_limit(processes[2]):
            for n in range(3):
                await programs.begin(f"helper{n}")
            await until("no pod can be made", lambda: python_pool(spawner)["why"] == "the helper may open no more descriptors")
        await programs.all_complete()
        return events
    undisturbed(scene.run(play()), spawner, processes)


def test_the_worker_cannot_take_its_pods(scene):
    """Many runs at its limit: those that have a pod go on, the others wait, and none is lost."""
    spawner = scene.plant.worker1
    processes = spawner.pid, spawner.worker_pid(), helper_of(spawner)

    async def play():
        programs = Programs(scene)
        events = await programs.beside("beside-worker")
        with at_its_limit(processes[1]):
            for n in range(20):
                await programs.begin(f"worker{n}")
            await until("no pod can be taken", lambda: "the worker may open no more descriptors: it cannot take the pod's socket"
                        in reasons_told(spawner))
        await programs.all_complete()
        return events
    undisturbed(scene.run(play()), spawner, processes)


def cpu_seconds(pid):
    fields = plants.proc(pid, "stat").rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def knock(url, held=None):
    """What a new connection is told first. One that is served is kept open in `held`."""
    connection = await wire.Connection(url, timeout=30.0).__aenter__()
    await connection.send("GET", "/health", {})
    status = (await connection.head()).status
    if status == 200 and held is not None:
        held.append(connection)
    else:
        await connection.__aexit__()
    return status


def test_the_api_cannot_take_a_connection(scene):
    """Who comes is told to come again, who is there is served, and nothing spins on the listener."""
    api, = scene.plant.of("api")

    async def play():
        there = http.client.HTTPConnection("127.0.0.1", int(api.url.rsplit(":", 1)[1]), timeout=60)
        await asyncio.to_thread(there.connect)
        await until("the connection is taken", lambda: plants.metric(api, "millrace_http_connections") >= 2)
        held = []
        with at_its_limit(api.pid):
            while await knock(api.url, held) == 200:  # what was just being closed leaves room for another
                pass
            cpu, began = cpu_seconds(api.pid), time.monotonic()
            told = [await knock(api.url) for _ in range(8)]
            told += await asyncio.gather(*(knock(api.url) for _ in range(8)))
            there.request("GET", "/v1/jobs?limit=1", headers=scene.client().headers)
            served = await asyncio.to_thread(lambda: there.getresponse().status)
            await asyncio.sleep(max(0.0, began + 1.0 - time.monotonic()))  # what spins does so all the while
            cpu, took = cpu_seconds(api.pid) - cpu, time.monotonic() - began
        there.close()
        for connection in held:
            await connection.__aexit__()
        await until("connections are taken again", lambda: scene.plant.ready(api))
        return set(told), served, cpu / took
    told, served, busy = scene.run(play())
    assert (told, served) == ({503}, 200)
    assert busy < CPU_MAX
    assert "a connection is turned away" in api.log.read_text()
