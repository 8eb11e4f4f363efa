# SPDX-License-Identifier: Apache-2.0
"""Chaos: clients submit and read without pause while a process is killed every two seconds.

By hand:  chaos.py --seconds 120 --seed 7 [--jobs N] [--keep DIR] [--preset release]
Prints the seed, the kills by kind of process, and what the checker finds in the history.
"""
import argparse
import asyncio
import collections
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import checker
import faultclient
import plant as plants
from scene import effect

KILL_EVERY = 2.0
CLIENTS = 20
SESSIONS, IN_SESSIONS = 6, 0.15  # so many sessions, and the share of the jobs that run in one of them
LARGE_STATE = 100_000  # of every third session: an object


# Programs: (weight, language, source, output). Each prints its own token, so that a foreign output shows.
PROGRAMS = (
    (10, "py", "import sys; print(sys.argv[1])", "{t}\n"),
    (4, "bash", "echo $1", "{t}\n"),
    (4, "py", "import sys, time\nfor n in range(5):\n    print(sys.argv[1], n, flush=True); time.sleep(0.08)",
     "{t} 0\n{t} 1\n{t} 2\n{t} 3\n{t} 4\n"),
    (2, "bash", "echo $1 a; sleep 1; echo $1 b", "{t} a\n{t} b\n"),
    (1, "py", "import sys\nfor n in range(2000): print(sys.argv[1], n)", None),
)


def program(rng, token):
    """(body of a request, what it has to print)"""
    _, lang, code, expect = rng.choices(PROGRAMS, [row[0] for row in PROGRAMS])[0]
    if expect is None:
        expect = "".join(f"{token} {n}\n" for n in range(2000))
    return {"lang": lang, "code": code, "args": [token], "timeout_ms": 20000}, expect.replace("{t}", token)


class Load:
    """Clients in one asyncio loop."""

    def __init__(self, plant, recorder, seed, seconds, jobs):
        self.plant, self.recorder, self.seed = plant, recorder, seed
        self.until, self.jobs = time.monotonic() + seconds, jobs
        self.flights = faultclient.Flights()
        self.started, self.open = 0, 0
        self.enough = threading.Event()  # set by the killer when its quota is met
        self.sessions = []

    def client(self, name, deadline=90.0):
        return faultclient.Client(name, self.plant.urls, self.plant.api_key, self.recorder, self.flights, self.seed,
                                  deadline)

    def going(self):
        return time.monotonic() < self.until or self.started < self.jobs or not self.enough.is_set()

    async def one_client(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        while self.going():
            self.started += 1
            token = f"c{number}j{self.started}"
            client = self.client(token)
            asked = effect(token, **rng.choice(self.sessions)) if rng.random() < IN_SESSIONS else program(rng, token)
            self.open += 1
            try:
                if rng.random() < 0.5:
                    await client.execute(token, *asked)
                else:
                    job = await client.submit(token, *asked)
                    await client.follow(job, rng.choice(("poll", "sse", "ws")))
                    await client.result(job)
            except faultclient.GaveUp:
                pass
            finally:
                self.open -= 1

    async def begin_sessions(self):
        while len(self.sessions) < SESSIONS:
            self.started += 1
            token, ballast = f"s{self.started}", 0 if len(self.sessions) % 3 else LARGE_STATE
            told = await self.client(token).execute(token, *effect(token, ballast=ballast))
            if told.get("state_version"):  # else its worker had no interpreter that saves, and there is no session
                self.sessions.append({"session": told["session_id"], "ballast": ballast})

    async def end_sessions(self):
        """A last run in each, which finds all that was done."""
        for number, one in enumerate(self.sessions):
            token = f"last{number}"
            client = self.client(token)
            await client.execute(token, *effect(token, **one))
            await client.versions(one["session"])

    async def final_reads(self):
        """Every accepted job's whole log, by a reader that saw nothing of it before."""
        jobs = sorted({line["value"]["job"] for line in self.recorder.lines if line["op"] == "submit" and line["value"]})
        turn = asyncio.Semaphore(16)

        async def read(job):
            async with turn:
                client = self.client(job)
                try:
                    await client.follow(job, "final")
                    await client.result(job)
                except faultclient.GaveUp:
                    pass
        await asyncio.gather(*(read(job) for job in jobs))
        await self.client("lister").list_all()

    async def run(self):
        await self.begin_sessions()
        await asyncio.gather(*(self.one_client(number) for number in range(CLIENTS)))


class Killer(threading.Thread):
    """Kills a process every two seconds; the kind by quota, the moment when a job is in flight there."""

    def __init__(self, plant, load, recorder, seed, quota, kinds=plants.KINDS):
        super().__init__(daemon=True)
        self.plant, self.load, self.recorder, self.quota = plant, load, recorder, quota
        self.rng = random.Random(f"{seed}/killer")
        self.kinds, self.counted = kinds, collections.Counter()
        self.over = threading.Event()
        self.error = None

    def run(self):
        try:
            bag = []
            while not self.over.wait(KILL_EVERY):
                bag = bag or self.rng.sample(self.kinds, len(self.kinds))
                self.kill_one(bag.pop())
                if all(self.counted[kind] >= self.quota for kind in self.kinds):
                    self.load.enough.set()
        except Exception as error:  # told by the run, which would else wait for its quota
            self.error = error
            self.load.enough.set()

    def kill_one(self, kind):
        """Tries one process of this kind after the other until one is caught with a job in flight."""
        until = time.monotonic() + KILL_EVERY
        targets = self.plant.of("spawner" if kind == "worker" else kind)
        while time.monotonic() < until and not self.over.is_set():
            target = self.rng.choice(targets)
            if target.alive() and self.caught(kind, target):
                self.counted[kind] += 1
                return
            time.sleep(0.02)
        self.recorder.add("killer", "missed", kind)

    def caught(self, kind, target):
        """Stops it, looks, and kills it only if it holds a job at that moment."""
        pid = target.worker_pid() if kind == "worker" else target.pid
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            return False
        held = False
        try:
            held = self.in_flight(kind, target)
        finally:
            if held:
                self.recorder.add("killer", "kill", kind,
                                  {"pid": pid, "name": target.name, "counted": True, "jobs": held})
                with self.plant.lock:
                    target.expected = True
                    os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGCONT)
        return bool(held)

    def in_flight(self, kind, target):
        if kind == "redis":
            return self.load.open
        if kind == "api":
            return self.load.flights.count[target.url]
        return len(self.plant.jobs_held_by(target.worker_id))


class Outcome:
    def __init__(self, history, findings, counted):
        self.history, self.findings, self.counted = history, findings, counted


def run(directory, seed, seconds, jobs, quota, kinds=plants.KINDS, out=print, **plant_options):
    """One whole run: load and kills, drain, final reads, stop, residue, check."""
    directory = pathlib.Path(directory)
    out(f"chaos: seed {seed}, {seconds} s, at least {jobs} jobs and {quota} kills of each of {', '.join(kinds)}")
    recorder = faultclient.Recorder(directory / "history.jsonl")
    recorder.add("run", "start", "", {"seed": seed})
    objects = pathlib.Path(tempfile.mkdtemp(prefix="millrace-objects-"))
    objects.chmod(0o777)  # a worker is nobody in particular
    plant = plants.Plant(directory / "plant", env={"OBJECT_STORE_PATH": str(objects)}, **plant_options)
    with plant:
        load = Load(plant, recorder, seed, seconds, jobs)
        killer = Killer(plant, load, recorder, seed, quota, kinds)
        killer.start()
        try:
            asyncio.run(load.run())
        finally:
            killer.over.set()
            killer.join()
        if killer.error:
            raise killer.error
        plant.wait_ready()
        asyncio.run(load.end_sessions())
        asyncio.run(load.final_reads())
        left = list(plant.store_residue())
    shutil.rmtree(objects)
    left += plant.residue() + [f"crash: {text}" for text in plant.crashes]
    recorder.add("run", "residue", "", left)
    recorder.close()
    history = checker.History(recorder.lines)
    for text in checker.summary(history):
        out(text)
    findings = checker.find(history)
    for name, sentence in findings[:50]:
        out(f"FOUND {name}: {sentence}")
    out(f"{len(findings)} findings in {len(history.lines)} operations; seed {seed}")
    return Outcome(history, findings, killer.counted)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0, help="at least so many of each kind")
    parser.add_argument("--kinds", default=",".join(plants.KINDS))
    parser.add_argument("--preset", default=None)
    parser.add_argument("--cluster", action="store_true", help="a one-node Redis Cluster")
    parser.add_argument("--keep", default=None, help="folder that keeps the history and the logs")
    options = parser.parse_args()
    directory = options.keep or tempfile.mkdtemp(prefix="millrace-chaos-")
    outcome = run(directory, options.seed, options.seconds, options.jobs, options.kills,
                  tuple(options.kinds.split(",")), preset=options.preset, cluster=options.cluster)
    if outcome.findings:
        print(f"history and logs: {directory}")
    elif not options.keep:
        shutil.rmtree(directory)
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
