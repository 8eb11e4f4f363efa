# SPDX-License-Identifier: Apache-2.0
"""Redis is killed (it has an append-only file): nothing accepted is lost, 503 at once meanwhile, recovery by itself."""
import asyncio
import time

import pytest
import wire
from scene import kinds_of, saw, steps
from counts import count

DOWN_SECONDS = 3.0


@pytest.mark.parametrize("repeat", range(count("kill_repeats")))
def test_nothing_accepted_is_lost(scene, repeat):
    redis, = scene.plant.of("redis")

    async def one(n):
        body, expect = steps(f"job{n}", 3 + n % 15)
        client = scene.client()
        job = await client.submit(f"k{n}", body, expect)
        await client.follow(job, ("ws", "sse", "poll")[n % 3])
        return await client.result(job)

    async def play():
        jobs = [asyncio.create_task(one(n)) for n in range(24)]
        for _ in range(3):
            await asyncio.sleep(1.0)  # the rhythm of the kills, not a wait for anything
            scene.plant.kill(redis)
        return await asyncio.gather(*jobs)
    assert [result["status"] for result in scene.run(play())] == ["completed"] * 24


def test_503_at_once_and_recovery(scene):
    redis, = scene.plant.of("redis")
    body, expect = steps("alpha", 60)
    quick, quick_expect = steps("quick", 1)

    async def play():
        client, events = scene.client(), []
        job = await client.submit("k1", body, expect)
        reader = asyncio.create_task(client.follow(job, "ws", events.append))
        await saw(events, "output")
        scene.plant.hold(redis)
        scene.plant.kill(redis)
        down = time.monotonic()
        answers = []
        while time.monotonic() < down + DOWN_SECONDS:
            for url in scene.plant.urls:
                for method, path in (("POST", "/exec"), ("POST", "/v1/jobs"), ("GET", f"/v1/jobs/{job}")):
                    asked = time.monotonic()
                    answer = await wire.request(url, method, path, {**client.headers, "Content-Type": "application/json"},
                                                b'{"lang":"py","code":"print(1)"}' if method == "POST" else b"", timeout=30.0)
                    answers.append((path, answer, time.monotonic() - asked))
            await asyncio.sleep(0.1)
        scene.plant.release(redis)
        up = time.monotonic()
        result = await client.execute("k2", quick, quick_expect)
        recovered = time.monotonic() - up
        await reader
        return job, events, answers, result, recovered
    job, events, answers, result, recovered = scene.run(play())
    assert {(answer.status, "retry-after" in answer.headers) for _, answer, _ in answers} == {(503, True)}, \
        {(path, answer.status, answer.body[:200]) for path, answer, _ in answers}
    assert max(took for _, _, took in answers) < DOWN_SECONDS  # which is what an answer that waited for Redis would take
    assert result["status"] == "completed" and recovered < 30.0
    # The program was not disturbed: its worker kept the job over the outage.
    assert kinds_of(events)[-1] == "completed" and kinds_of(events).count("claimed") == 1


def test_one_log_line_per_cause_and_second(scene):
    redis, = scene.plant.of("redis")
    before = {p.name: len(p.log.read_text().splitlines()) for p in scene.plant.of("api") + scene.plant.of("spawner")}
    began = time.monotonic()
    scene.plant.hold(redis)
    scene.plant.kill(redis)

    async def knock():
        until = time.monotonic() + DOWN_SECONDS
        client = scene.client()
        while time.monotonic() < until:
            for url in scene.plant.urls:
                await wire.request(url, "POST", "/exec", {**client.headers, "Content-Type": "application/json"},
                                   b'{"lang":"py","code":"print(1)"}', timeout=30.0)
    scene.run(knock())
    scene.plant.release(redis)
    for process in scene.plant.of("api") + scene.plant.of("spawner"):
        lines = process.log.read_text().splitlines()[before[process.name]:]
        trouble = [line for line in lines if '"level":"info"' not in line and '"level":"debug"' not in line]
        # Two causes at most: the connection, and what waited for it.
        assert len(trouble) <= 2 * (time.monotonic() - began + 1), trouble[:5]
