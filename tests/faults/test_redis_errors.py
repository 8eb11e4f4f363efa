# SPDX-License-Identifier: Apache-2.0
"""Each error by which Redis says "not now" or "not here" (F30, F37, F38, F41, F46): 503 with Retry-After while it lasts, nothing accepted is
lost, service comes back by itself, and no cause fills the log."""
import time

import pytest
import wire
from redisrefusals import RefusingRedis
from scene import Scene, steps

ERRORS = ["LOADING Redis is loading the dataset in memory", "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
          "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
          "READONLY You can't write against a read only replica.", "MOVED 3999 127.0.0.1:1", "ASK 3999 127.0.0.1:1",
          "TRYAGAIN Multiple keys request during rehashing of slot", "CLUSTERDOWN The cluster is down",
          "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."]
LASTS = 1.5
BODY = b'{"lang":"py","code":"print(1)"}'


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    proxy = RefusingRedis()
    scene = Scene(tmp_path_factory.mktemp("errors"), apis=1, workers=1, env={"REDIS_URL": proxy.url})
    proxy.upstream = scene.plant.redis_port
    scene.plant.__enter__()
    yield scene, proxy
    left = scene.finish()
    proxy.stop()
    assert left == []


def trouble(process, after):
    lines = process.log.read_text().splitlines()[after:]
    return [line for line in lines if '"level":"info"' not in line and '"level":"debug"' not in line]


async def post(scene, path):
    headers = {**scene.client().headers, "Content-Type": "application/json"}
    answer = await wire.request(scene.plant.urls[0], "POST", path, headers, BODY, timeout=30.0)
    return answer.status, "retry-after" in answer.headers


@pytest.mark.parametrize("error", ERRORS, ids=[error.split()[0] for error in ERRORS])
def test_an_error_that_passes(faulty, error):
    scene, proxy = faulty
    word, client = error.split()[0], scene.client()
    body, expect = steps(word, 20)
    processes = scene.plant.of("api") + scene.plant.of("spawner")
    before = {p.name: len(p.log.read_text().splitlines()) for p in processes}

    async def play():
        job = await client.submit(f"{word}-1", body, expect)
        proxy.error, began, told = error, time.monotonic(), proxy.told
        try:
            while (got := await post(scene, "/exec"))[0] != 503:  # a run that was sent before it, or while it was noticed
                assert got[0] == 200 and time.monotonic() - began < 30
            until, answers = time.monotonic() + LASTS, []
            while time.monotonic() < until:
                answers += [await post(scene, path) for path in ("/exec", "/v1/jobs")]
        finally:
            proxy.error = None
        assert proxy.told > told
        lasted = time.monotonic() - began
        after = await client.execute(f"{word}-2", *steps("after", 1))
        return await client.result(job), after, answers, lasted
    result, after, answers, lasted = scene.run(play())
    assert set(answers) == {(503, True)}  # and at once: the error lasted until the last of them was there
    assert after["status"] == "completed"
    scene.run(client.follow(scene.job_of[f"{word}-1"], "poll"))
    assert scene.run(client.result(scene.job_of[f"{word}-1"]))["stdout"] == expect
    for process in processes:
        lines = trouble(process, before[process.name])
        assert len(lines) <= 3 * (lasted + 2), lines[:6]  # a line a second and cause: the connection, a lane, what waits for them
    assert [process.generation for process in processes] == [1] * len(processes)
