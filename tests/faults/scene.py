# SPDX-License-Identifier: Apache-2.0
"""The scene of a fault: a plant of real processes, clients with a history, and at the end the checker and the residue."""
import asyncio

import checker
import faultclient
import plant as plants


# Long leases: none of these may lapse, however busy the machine is.
PATIENT = {"LEASE_SECONDS": "20", "HEARTBEAT_SECONDS": "2"}


class Scene:
    def __init__(self, directory, **options):
        self.recorder = faultclient.Recorder(directory / "history.jsonl")
        self.plant = plants.Plant(directory / "plant", **options)
        self.count = 0

    def client(self, *apis, deadline=60.0):
        """A client of these apis (of all, when none is named)."""
        self.count += 1
        urls = [api.url for api in apis] or self.plant.urls
        return faultclient.Client(f"t{self.count}", urls, self.plant.api_key, self.recorder, deadline=deadline)

    def run(self, awaitable, timeout=120):
        async def bounded():
            return await asyncio.wait_for(awaitable, timeout)
        return asyncio.run(bounded())

    def holder(self, job, timeout=30.0):
        """The worker (its spawner's process) that runs this job's present attempt."""
        def look():
            for process in self.plant.of("spawner"):
                if process.alive() and job in self.plant.jobs_held_by(process.worker_id):
                    return process
            return None
        return plants.wait_until(f"job {job} is held by a worker", look, timeout)

    def holder_of_any(self, process):
        """Waits until this worker runs something."""
        return plants.wait_until(f"{process.name} runs a job",
                                 lambda: self.plant.jobs_held_by(process.worker_id))

    @property
    def job_of(self):
        """Key -> job, of what was accepted."""
        return {line["key"]: line["value"]["job"] for line in self.recorder.lines
                if line["op"] == "submit" and line["value"]}

    async def final_reads(self):
        for job in sorted(set(self.job_of.values())):
            client = self.client()
            await client.follow(job, "final")
            await client.result(job)
        await self.client().list_all()

    def finish(self):
        """Reads all that was accepted to its end, stops everything, and lets the checker judge."""
        left = []
        try:
            self.plant.wait_ready()
            self.run(self.final_reads())
            left = list(self.plant.store_residue()) + self.plant.differences()
        finally:
            self.plant.stop()
            self.recorder.add("run", "residue", "", left + self.plant.residue() + self.plant.crashes)
            self.recorder.close()
        return checker.find(checker.History(self.recorder.lines))


# A program that writes a line each 100 ms: long enough to be killed, and it shows how far each reader came.
STEPS = "import sys, time\nfor n in range(int(sys.argv[2])):\n    print(sys.argv[1], n, flush=True)\n    time.sleep(0.1)\n"


def steps(token, count, **more):
    """(request, output) of the program that writes `count` lines, ten a second."""
    body = {"lang": "py", "code": STEPS, "args": [token, str(count)], "timeout_ms": 30000, **more}
    return body, "".join(f"{token} {n}\n" for n in range(count))


# Leaves its token in the state of its session, and prints what it found there (checker.Effect).
EFFECT = """
import json, os, sys, time
done, counter = globals().get("done", []), globals().get("counter", 0)
print(json.dumps({"counter": counter, "done": done}), flush=True)
done.append(sys.argv[1])
counter += 1
ballast = os.urandom(int(sys.argv[2]))
time.sleep(float(sys.argv[3]))
"""


def effect(token, session=None, ballast=0, seconds=0):
    """(request, no output that is known before, what the history is told) of a run with an effect in this session, or in a new one."""
    body = {"lang": "py", "code": EFFECT, "args": [token, str(ballast), str(seconds)], "timeout_ms": 30000}
    return {**body, "session_id": session} if session else body, None, {"token": token, "session": session}


async def saw(events, kind, attempt=None):
    """Waits until a reader's list has an event of this type."""
    while not any(event["type"] == kind and attempt in (None, event["attempt"]) for event in events):
        await asyncio.sleep(0.005)


def kinds_of(events):
    return [event["type"] for event in events]
