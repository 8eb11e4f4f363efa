# SPDX-License-Identifier: Apache-2.0
"""An api is killed, or told to end, while clients wait at it: they go on at another one and miss nothing."""
import asyncio
import json
import signal

import plant as plants
import pytest
import wire
from scene import kinds_of, saw, steps


@pytest.mark.parametrize("how", ("ws", "sse", "poll"))
def test_readers_resume_elsewhere(scene, how):
    body, expect = steps("alpha", 25)
    first, second = scene.plant.of("api")

    async def play():
        job = await scene.client().submit("k1", body, expect)
        client, events = scene.client(first, second), []
        client.turn = 1  # the next one is the first
        reader = asyncio.create_task(client.follow(job, how, events.append))
        await saw(events, "output")
        scene.plant.hold(first)
        scene.plant.kill(first)
        await reader
        scene.plant.release(first)
        return job, events
    job, events = scene.run(play())
    assert kinds_of(events)[-1] == "completed" and [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert scene.run(scene.client().result(job))["stdout"] == expect


def test_synchronous_run_is_found_again_by_its_key(scene):
    body, expect = steps("beta", 40)
    first, second = scene.plant.of("api")

    async def play():
        client = scene.client(first, second)
        client.turn = 1
        run = asyncio.create_task(client.execute("k1", body, expect))
        await asyncio.to_thread(
            plants.wait_until, "the run is claimed",
            lambda: any(scene.plant.jobs_held_by(p.worker_id) for p in scene.plant.of("spawner")))
        scene.plant.kill(first)
        return await run
    result = scene.run(play())
    assert result["status"] == "completed" and result["stdout"] == expect
    submits = [line for line in scene.recorder.lines if line["op"] == "submit"]
    assert [line["r"] for line in submits][0] == "info" and submits[-1]["r"] == "ok"


def test_sigterm_closes_sockets_with_a_cursor(scene):
    body, expect = steps("gamma", 25)
    first, second = scene.plant.of("api")

    async def play():
        client = scene.client(second)
        job = await client.submit("k1", body, expect)
        events = []
        async with wire.Connection(first.url) as connection:
            answer = await connection.upgrade(f"/v1/jobs/{job}/stream", client.headers)
            assert answer.status == 101
            async for kind, value in connection.ws_messages(20):
                if kind == "close":
                    break
                events.append(json.loads(value))
                if events[-1]["type"] == "output" and not first.expected:
                    scene.plant.hold(first)
                    scene.plant.kill(first, signal.SIGTERM)
        rest = await client.get(f"/v1/jobs/{job}/events?after={events[-1]['id']}&wait=0")
        code = await asyncio.to_thread(first.popen.wait, 60)
        scene.plant.release(first)
        return value, events, rest, code
    (close, reason), events, rest, code = scene.run(play())
    assert close == 1001 and events[-1]["id"] in reason
    assert code == 0
    assert not rest["events"] or rest["events"][0]["seq"] == events[-1]["seq"] + 1


def test_sigterm_answers_what_is_under_way(scene):
    """A synchronous run that began before SIGTERM is answered; a new connection is refused."""
    body, expect = steps("delta", 15)
    first, _ = scene.plant.of("api")

    async def play():
        client = scene.client(first)
        run = asyncio.create_task(client.execute("k1", body, expect))
        await asyncio.to_thread(
            plants.wait_until, "the run is claimed",
            lambda: any(scene.plant.jobs_held_by(p.worker_id) for p in scene.plant.of("spawner")))
        scene.plant.hold(first)
        scene.plant.kill(first, signal.SIGTERM)
        result = await run
        code = await asyncio.to_thread(first.popen.wait, 60)
        scene.plant.release(first)
        return result, code
    result, code = scene.run(play())
    assert result["stdout"] == expect and code == 0
    assert [line["r"] for line in scene.recorder.lines if line["op"] == "submit"] == ["ok"]
