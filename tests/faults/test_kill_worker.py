# SPDX-License-Identifier: Apache-2.0
"""A worker or its spawner is killed while a program runs: another finishes the job, and there is one result."""
import asyncio
import os
import signal

import plant as plants
import pytest
import system
from counts import count
from scene import PATIENT, kinds_of, saw, steps

READERS = ("ws", "sse", "poll")


async def lost_and_retried(scene, kill, body, expect):
    """Kills the holder while three readers follow; the events that they saw."""
    client = scene.client()
    job = await client.submit("k1", body, expect)
    seen = {how: [] for how in READERS}
    readers = [asyncio.create_task(scene.client().follow(job, how, seen[how].append)) for how in READERS]
    for how in READERS:
        await saw(seen[how], "output", 1)
    holder = await asyncio.to_thread(scene.holder, job)
    below = system.tree(holder.pid)
    kill(holder)
    await asyncio.to_thread(plants.wait_until, "all below the dead spawner is gone", lambda: not system.living(below), 20.0)
    await asyncio.gather(*readers)
    return job, seen, holder


@pytest.mark.parametrize("repeat", range(count("kill_repeats")))
@pytest.mark.parametrize("which, reason", (("worker", "lease_lost"), ("spawner", "pod_lost")))
def test_another_worker_finishes(make_scene, which, reason, repeat):
    scene = make_scene(env=PATIENT if which == "spawner" else {})
    body, expect = steps("alpha", 40)
    kill = scene.plant.kill_worker if which == "worker" else scene.plant.kill
    job, seen, holder = scene.run(lost_and_retried(scene, kill, body, expect))
    for events in seen.values():
        kinds = kinds_of(events)
        assert kinds.count("completed") == 1 and kinds[-1] == "completed"
        # A worker without its spawner can still say so, and hands the job back before its lease lapses.
        assert kinds.count("lease_lost") == (1 if which == "worker" else 0)
        assert [event["reason"] for event in events if event["type"] == "retried"] == [reason]
        claims = [event for event in events if event["type"] == "claimed"]
        assert [event["attempt"] for event in claims] == [1, 2]
        assert claims[0]["worker"] != claims[1]["worker"]
    result = scene.run(scene.client().result(job))
    assert result["stdout"] == expect and result["exit_code"] == 0


def test_synchronous_run_survives(scene):
    body, expect = steps("beta", 30)

    async def play():
        run = asyncio.create_task(scene.client().execute("k1", body, expect))
        holder = await asyncio.to_thread(
            plants.wait_until, "a worker holds the run",
            lambda: next((p for p in scene.plant.of("spawner") if scene.plant.jobs_held_by(p.worker_id)), None))
        scene.plant.kill_worker(holder)
        return await run
    result = scene.run(play())
    assert result["status"] == "completed" and result["stdout"] == expect


def test_no_second_run_when_forbidden(scene):
    body, expect = steps("gamma", 50, retry=False)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "ws", events.append))
        await saw(events, "output")
        scene.plant.kill_worker(await asyncio.to_thread(scene.holder, job))
        await reader
        return job, events
    job, events = scene.run(play())
    assert kinds_of(events).count("claimed") == 1 and "retried" not in kinds_of(events)
    assert events[-1]["type"] == "failed" and events[-1]["reason"] == "lease_lost"
    result = scene.run(scene.client().result(job))
    assert result["status"] == "failed" and result["reason"] == "lease_lost"
    # What it printed until then is kept.
    assert result["stdout"] and expect.startswith(result["stdout"])


def test_cancel_of_a_job_whose_worker_is_dead(scene):
    body, expect = steps("delta", 50)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "sse", events.append))
        await saw(events, "output")
        holder = await asyncio.to_thread(scene.holder, job)
        other, = (process for process in scene.plant.of("spawner") if process is not holder)
        scene.plant.hold(holder)
        os.kill(other.worker_pid(), signal.SIGSTOP)  # it would take the job over
        try:
            scene.plant.kill_worker(holder)
            await client.cancel(job)
        finally:
            os.kill(other.worker_pid(), signal.SIGCONT)
        scene.plant.release(holder)
        await reader
        return events
    kinds = kinds_of(scene.run(play()))
    assert kinds[-1] == "cancelled" and "cancel_requested" in kinds and "retried" not in kinds


def test_poison_job_dies_alone(scene):
    body, expect = steps("poison", 100)
    other, other_expect = steps("harmless", 3)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "poll", events.append))
        for attempt in (1, 2, 3):
            await saw(events, "output", attempt)
            holder = await asyncio.to_thread(scene.holder, job)
            scene.plant.kill_worker(holder)
            await asyncio.to_thread(scene.plant.wait_ready)
            result = await scene.client().execute(f"other{attempt}", other, other_expect)
            assert result["status"] == "completed"
        await reader
        return events
    events = scene.run(play())
    assert events[-1]["type"] == "dead" and events[-1]["reasons"] == ["lease_lost"] * 3
    assert [event["attempt"] for event in events if event["type"] == "claimed"] == [1, 2, 3]
