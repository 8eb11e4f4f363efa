# SPDX-License-Identifier: Apache-2.0
"""Processes that stand still: a worker past its lease is fenced when it goes on; a Redis that pauses holds the program."""
import asyncio
import os
import signal
import time

import plant as plants
import pytest
from counts import count
from scene import kinds_of, saw, steps

GROWTH_MAX = 8 << 20
PAUSE_SECONDS = 10


@pytest.mark.parametrize("repeat", range(count("pause_repeats")))
def test_a_stopped_worker_is_fenced(scene, repeat):
    """It still holds output and an end of the program when it wakes up: neither has an effect."""
    body, expect = steps("alpha", 30)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "ws", events.append))
        await saw(events, "output", 1)
        holder = await asyncio.to_thread(scene.holder, job)
        pid = holder.worker_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            await saw(events, "claimed", 2)
            await saw(events, "output", 2)
        finally:
            os.kill(pid, signal.SIGCONT)
        await reader
        # It lives, and takes jobs again: fencing is no reason to end.
        await asyncio.to_thread(scene.plant.wait_ready)
        return job, events, holder, pid
    job, events, holder, pid = scene.run(play())
    assert holder.worker_pid() == pid
    second = next(n for n, event in enumerate(events) if event["type"] == "claimed" and event["attempt"] == 2)
    assert all(event["attempt"] == 2 for event in events[second:])
    assert kinds_of(events).count("completed") == 1
    assert scene.run(scene.client().result(job))["stdout"] == expect
    # Its pod is killed by itself: no program of the first attempt goes on.
    plants.wait_until("the worker holds no job", lambda: not scene.plant.jobs_held_by(holder.worker_id))


@pytest.mark.parametrize("repeat", range(count("pause_repeats")))
def test_a_stopped_worker_whose_job_has_ended(scene, repeat):
    """SIGCONT after the other worker's end: `finish` of the old attempt is refused."""
    body, expect = steps("beta", 30)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "sse", events.append))
        await saw(events, "output", 1)
        holder = await asyncio.to_thread(scene.holder, job)
        pid = holder.worker_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            await reader
        finally:
            os.kill(pid, signal.SIGCONT)
        quick, quick_expect = steps("quick", 1)
        for n in range(4):  # whatever the woken one had to say was said before these were done
            await scene.client().execute(f"after{n}", quick, quick_expect)
        return events
    events = scene.run(play())
    assert kinds_of(events).count("completed") == 1


def test_a_stopped_api_goes_on(scene):
    """Readers wait at it while the job ends: they get the rest of it when it goes on, over the same connections."""
    api = scene.plant.of("api")[0]
    body, expect = steps("gamma", 20)

    async def play():
        client, seen = scene.client(), {how: [] for how in ("ws", "sse", "poll")}
        job = await client.submit("k1", body, expect)
        readers = [asyncio.create_task(scene.client(api).follow(job, how, seen[how].append)) for how in seen]
        for events in seen.values():
            await saw(events, "output")
        os.kill(api.pid, signal.SIGSTOP)
        try:
            await scene.client(scene.plant.of("api")[1]).follow(job, "sse")
        finally:
            os.kill(api.pid, signal.SIGCONT)
        await asyncio.gather(*readers)
        return list(seen.values())
    first, second, third = scene.run(play())
    assert kinds_of(first)[-1] == "completed" and first == second == third


def memory_of(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))


def test_redis_paused_while_a_program_writes(make_scene):
    """`yes` against a store that takes nothing for ten seconds: the program blocks, the worker keeps its size."""
    scene = make_scene(workers=1)
    redis, = scene.plant.of("redis")
    body = {"lang": "bash", "code": "yes 0123456789abcdef & sleep 14; kill %1; wait; exit 0", "timeout_ms": 30000,
            "limits": {"output_bytes": 1 << 24}}
    del body["limits"]

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, None)
        reader = asyncio.create_task(client.follow(job, "ws", events.append))
        await saw(events, "output")
        worker = scene.plant.worker1.worker_pid()
        os.kill(redis.pid, signal.SIGSTOP)
        until, most, before = time.monotonic() + PAUSE_SECONDS, 0, memory_of(worker)
        try:
            while time.monotonic() < until:
                most = max(most, memory_of(worker))
                await asyncio.sleep(0.05)
        finally:
            os.kill(redis.pid, signal.SIGCONT)
        await reader
        return events, before, most
    events, before, most = scene.run(play())
    assert most - before < GROWTH_MAX, f"the worker grew by {(most - before) >> 20} MiB"
    assert kinds_of(events).count("claimed") == 1
    assert events[-1]["type"] in ("completed", "failed") and events[-1].get("reason") in (None, "output_limit")
