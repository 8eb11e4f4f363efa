# SPDX-License-Identifier: Apache-2.0
"""SIGTERM of a worker under load: it claims no more, finishes or hands back, exits 0, and nothing is lost."""
import asyncio
import signal

import pytest
from scene import PATIENT, kinds_of, saw, steps


def load(scene, count, lines):
    async def one(n):
        body, expect = steps(f"job{n}", lines(n))
        client, events = scene.client(), []
        job = await client.submit(f"k{n}", body, expect)
        await client.follow(job, ("ws", "sse", "poll")[n % 3], events.append)
        result = await client.result(job)
        assert result["stdout"] == expect
        return events
    return [asyncio.create_task(one(n)) for n in range(count)]


@pytest.mark.parametrize("which", ("worker", "spawner"))
def test_sigterm_under_load(make_scene, which):
    scene = make_scene(env={**PATIENT, "DRAIN_SECONDS": "30"})
    victim = scene.plant.worker1

    async def play():
        jobs = load(scene, 30, lambda n: 3 + n % 12)
        await asyncio.to_thread(lambda: scene.holder_of_any(victim))
        scene.plant.hold(victim)
        (scene.plant.kill_worker if which == "worker" else scene.plant.kill)(victim, signal.SIGTERM)
        code = await asyncio.to_thread(victim.popen.wait, 60)
        scene.plant.release(victim)
        return code, await asyncio.gather(*jobs)
    code, logs = scene.run(play())
    assert code == 0
    # Within its grace all that it ran could end: nothing had to be run again.
    assert all(kinds_of(events)[-1] == "completed" and "lease_lost" not in kinds_of(events) for events in logs)
    assert all(kinds_of(events).count("started") == 1 for events in logs)


def test_a_job_longer_than_the_grace_is_handed_back(make_scene):
    scene = make_scene(env={**PATIENT, "DRAIN_SECONDS": "1"})
    body, expect = steps("long", 60)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "ws", events.append))
        await saw(events, "output")
        holder = await asyncio.to_thread(scene.holder, job)
        scene.plant.hold(holder)
        scene.plant.kill_worker(holder, signal.SIGTERM)
        code = await asyncio.to_thread(holder.popen.wait, 60)
        scene.plant.release(holder)
        await reader
        return code, events
    code, events = scene.run(play())
    assert code == 0
    kinds = kinds_of(events)
    assert kinds[-1] == "completed" and "lease_lost" not in kinds and kinds.count("retried") == 1
    assert next(event for event in events if event["type"] == "retried")["reason"] == "worker_drained"
