# SPDX-License-Identifier: Apache-2.0
"""One tenant with a hundred jobs always waiting, another that sends one at a time, eight slots, real pods.

The small one's p99 from submit to started at most doubles against being alone; with the backlog changed to first
come, first served (test build), the same measurement fails, so it is the queue that does it."""
import json
import secrets
import subprocess

import checker
import pytest
from counts import COLUMN, count
from plant import wait_until
from scene import Scene

SLOTS, WAITING, SLEEP_SECONDS = 8, 100, 0.05
# Eight slots of 50 ms want 160 fresh pods a second. Where that is more than this share of what the machine makes, the
# measurement would be one of the pods: the sleep is stretched, and told.
PODS_SHARE = 0.6
# The p99 of 200 samples is the second largest: below this, two hiccups of the machine decide it (alone 9 to 20 ms were seen in
# turn, with the same build), and more of them on one that others use too. First come, first served is at 1,900 ms.
NOISE_MS = 100 if COLUMN == "check" else 20
MEASURED_SECONDS = 60 if COLUMN == "check" else 1800  # one tenant's samples take no longer than this


def body(seconds):
    """It prints at once: `started` comes with the first output, and otherwise waits a while for it."""
    return {"lang": "py", "code": f"import time; print(1, flush=True); time.sleep({seconds:.3f})", "timeout_ms": 20000}


def bench(plant, key, directory, seconds, *options):
    file = directory / "flood.json"
    file.write_text(json.dumps(body(seconds)))
    return [plant.bin / "millrace", "bench", *options, "-d", file, "-H", f"x-api-key: {key}", plant.urls[0] + "/exec"]


def slept(plant, key, directory):
    """How long the programs sleep here, so that the slots are what is short."""
    told = json.loads(subprocess.run(bench(plant, key, directory, 0, "--json", "-c", str(SLOTS), "-t", "4"),
                                     stdout=subprocess.PIPE, check=True).stdout)
    return max(SLEEP_SECONDS, SLOTS / (PODS_SHARE * told["requests_per_second"]))


class Flood:
    """The big tenant: as many connections as slots and waiting jobs, each with one run at a time (`millrace bench`)."""

    def __init__(self, plant, key, directory, seconds):
        self.plant, self.log = plant, open(directory / "flood.log", "wb")
        self.popen = subprocess.Popen(bench(plant, key, directory, seconds, "-c", str(SLOTS + WAITING), "-t", "3600"),
                                      stdout=self.log, stderr=self.log)
        wait_until(f"{WAITING} jobs wait", lambda: self.waiting() >= 0.9 * WAITING)

    def waiting(self):
        store = self.plant.redis()
        return sum(store.zcard(lane) for lane in store.scan_iter(match="millrace:{p*}:c:*:b[0-9]"))

    def stop(self):
        assert self.popen.poll() is None, "the flood ended"
        self.popen.terminate()
        self.popen.wait()
        self.log.close()


async def samples(scene, key, number, start, seconds):
    """Milliseconds from submit to started, one run at a time, by the store's clock."""
    client, waits = scene.client(scene.plant.api2), []
    client.headers = {"x-api-key": key}
    for n in range(start, start + number):
        result = await client.execute(f"s{n}", body(seconds), "1\n")
        assert result["status"] == "completed"
        page = await client.get(f"/v1/jobs/{scene.job_of[f's{n}']}/events?after=0&wait=0")
        time_of = {event["type"]: event["time"] for event in page["events"]}
        waits.append(time_of["started"] - time_of["submitted"])
    return waits


def measure(tmp_path, env, number, preset=None):
    """The bound on the small tenant's p99 and that p99 beside the crowd, ms."""
    small, big = ("t-" + secrets.token_hex(12) for _ in range(2))
    scene = Scene(tmp_path, workers=1, preset=preset,
                  env={"API_KEYS": f"small:{small},big:{big}", "POD_POOL_PY": "16", "WORKER_SLOTS": str(SLOTS), "LEASE_SECONDS": "10",
                       "HEARTBEAT_SECONDS": "2", **env})
    with scene.plant as plant:
        seconds = slept(plant, big, tmp_path)
        number = max(5, min(number, int(MEASURED_SECONDS / seconds)))
        alone = scene.run(samples(scene, small, number, 0, seconds), 900)
        flood = Flood(plant, big, tmp_path, seconds)
        try:
            crowded = scene.run(samples(scene, small, number, number, seconds), 900)
            wait_until("the crowd is still there", lambda: flood.waiting() >= 0.9 * WAITING)
        finally:
            flood.stop()
    at = {name: (checker.percentile(waits, .5), checker.percentile(waits, .99))
          for name, waits in (("alone", alone), ("crowded", crowded))}
    print(f"\nfairness, submit to started: alone p50 {at['alone'][0]} ms p99 {at['alone'][1]} ms; "
          f"beside {WAITING} waiting jobs of another p50 {at['crowded'][0]} ms p99 {at['crowded'][1]} ms; "
          f"{number} samples each, {seconds * 1000:.0f} ms of sleep")
    return 2 * max(at["alone"][1], NOISE_MS), at["crowded"][1]


@pytest.mark.timeout(900)
def test_a_crowd_does_not_slow_the_other_tenant(tmp_path):
    bound, crowded = measure(tmp_path, {}, count("fairness_samples"))
    assert crowded <= bound


@pytest.mark.timeout(900)
def test_first_come_first_served_would(tmp_path):
    bound, crowded = measure(tmp_path, {"MILLRACE_TEST_QUEUE_OFF": "fairness"}, 5, preset="test")
    assert crowded > bound
