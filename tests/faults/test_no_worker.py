# SPDX-License-Identifier: Apache-2.0
"""No worker is there for a while: jobs wait, too many are refused, and then all are run, the oldest first."""
import json

import pytest
import wire
from scene import steps
from system import wait_until

QUEUE_MAX = 20


def fair(plant, field):
    """Of each order of jobs, what stands there."""
    store = plant.redis()
    return [store.hget(key, field) for key in store.scan_iter(match="millrace:{p*}:c:*:fair")]


def capacity(plant):
    """What workers have said that they take at a time."""
    return sum(int(cap or 0) for cap in fair(plant, "cap"))


def heard(plant):
    """A worker to which a job would be handed: Redis knows of no end of it."""
    return any(count for name in fair(plant, "hp") if name for _, count in plant.redis().pubsub_numsub(f"millrace:to:{name}"))


@pytest.mark.parametrize("told", [False, True], ids=["who said nothing", "who had said what they take"])
def test_jobs_wait_for_workers(make_scene, told):
    """Of workers that had told what they take, so many jobs wait in the lane, where each has its place as in the backlog."""
    scene = make_scene(env={"QUEUE_MAX_JOBS": str(QUEUE_MAX), "QUEUE_MAX_JOBS_PER_TENANT": str(QUEUE_MAX)})
    workers = scene.plant.of("spawner")
    if told:
        wait_until("they have said what they take", lambda: capacity(scene.plant) > 1)
    for worker in workers:
        scene.plant.down(worker)
    wait_until("Redis has heard of it", lambda: not heard(scene.plant))

    async def fill():
        client, jobs = scene.client(), []
        for n in range(QUEUE_MAX):
            body, expect = steps(f"job{n}", 1)
            jobs.append(await client.submit(f"k{n}", body, expect))
        body, _ = steps("one too many", 1)
        refused = await wire.request(scene.plant.urls[0], "POST", "/v1/jobs", {**client.headers, "Content-Type": "application/json"},
                                     json.dumps(body).encode())
        places = [(await client.get(f"/v1/jobs/{job}"))["position"] for job in jobs]
        return jobs, refused, places
    jobs, refused, places = scene.run(fill())
    assert refused.status == 429 and int(refused.headers["retry-after"]) > 0, refused
    assert places == list(range(1, QUEUE_MAX + 1))
    for worker in workers:
        scene.plant.release(worker)

    async def drain():
        claimed = []
        for job in jobs:
            events = await scene.client().follow(job, "poll")
            assert events[-1]["type"] == "completed"
            claimed.append(next(event["time"] for event in events if event["type"] == "claimed"))
        return claimed
    claimed = scene.run(drain())
    assert claimed == sorted(claimed)
