# SPDX-License-Identifier: Apache-2.0
"""A bad network between our programs and Redis: slow, lossy, broken, half open."""
import asyncio
import time

import pytest
from redisproxy import RedisProxy, Weather
from scene import steps

TIMEOUT_SECONDS = 2.0
BAD_SECONDS = 12.0
DETECTED_SECONDS = 20.0  # a command's time-out, a reader's, and connecting anew


@pytest.fixture
def proxy():
    made = RedisProxy()
    yield made
    made.stop()


@pytest.fixture
def scene(proxy, make_scene):
    """Everything but the test's own looks goes through the proxy."""
    return make_scene(env={"REDIS_SOCKET_TIMEOUT": str(TIMEOUT_SECONDS)}, proxy=proxy)


def test_connections_that_are_half_open(scene, proxy):
    """Those that wait for an answer, and those that wait for news: both are found dead by our own timers."""
    body, expect = steps("long", 20)
    quick, quick_expect = steps("quick", 1)

    async def play():
        client = scene.client()
        job = await client.submit("k0", body, expect)
        readers = [asyncio.create_task(scene.client().follow(job, how)) for how in ("ws", "sse", "poll")]
        await asyncio.to_thread(scene.holder, job)
        proxy.half_open()
        began = time.monotonic()
        await client.execute("k1", quick, quick_expect)
        found = time.monotonic() - began
        await asyncio.gather(*readers)
        return found, await client.result(job)
    found, result = scene.run(play())
    assert result["status"] == "completed" and result["stdout"] == expect
    assert found < DETECTED_SECONDS, found


def test_delay_loss_and_breaks(scene, proxy):
    """For a while a command takes longer than a heartbeat, at times than a lease: jobs may be run again, and each ends once."""

    async def one(n):
        body, expect = steps(f"job{n}", 1 + n % 4)
        client = scene.client(deadline=100.0)
        job = await client.submit(f"k{n}", body, expect)
        await client.follow(job, ("ws", "sse", "poll")[n % 3])
        return await client.result(job)

    async def play():
        proxy.weather = Weather(delay=1.0, lost=0.05, again=1.0, breaks=0.01)
        jobs = [asyncio.create_task(one(n)) for n in range(12)]
        await asyncio.sleep(BAD_SECONDS)  # how long it lasts, not a wait for anything
        proxy.weather = Weather()
        return await asyncio.gather(*jobs)
    assert [result["status"] for result in scene.run(play())] == ["completed"] * 12
