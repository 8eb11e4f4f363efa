# SPDX-License-Identifier: Apache-2.0
"""Two workers, then one, then three, one of which is killed, under load on one cluster, whose API server goes away for longer than a lease:
each job ends once, in a pod that no other run had, each worker does some, and nothing is left of one that has gone. `tests/bench/kubernetes_workers.py` measures what they do."""
import collections
import contextlib
import json
import pathlib
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

import kubeimages
from system import wait_until

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("faults", "integration")]
import plant as plants  # noqa: E402
from checker import TERMINAL  # noqa: E402
from counts import count  # noqa: E402
from test_worker_runs import events, run, submit, text_of  # noqa: E402

NAMESPACE, CLIENTS, SLOTS = "workers", 6, 2
AWAY_S = count("kubernetes_away_seconds")  # the API server, at least
CODE = "import os, sys, time\nprint(sys.argv[1], os.uname().nodename, flush=True); time.sleep(0.3); print('over')"  # a pod is called as its host
ENV = {name: "0" for name in kubeimages.POOLS} | {
    "POD_BACKEND": "kubernetes", "K8S_NAMESPACE": NAMESPACE, "POD_POOL_PY": str(SLOTS), "K8S_LEASE_SECONDS": "3",
    "DRAIN_SECONDS": "30", "K8S_CPU_REQUEST": "10m", "K8S_MEMORY_REQUEST": "24Mi",
    "K8S_MEMORY_LIMIT": "96Mi"}  # which keeps the canaries small
# A lease's time is there for a test to act; idle pods are replaced when what is left of their time is too short for the longest run.
LONG = {"K8S_LEASE_SECONDS": "8", "K8S_POD_DEADLINE_SECONDS": "130", "MAX_EXECUTION_TIME": "30"}
USEFUL_S = 70
pytestmark = pytest.mark.timeout(400 + 4 * AWAY_S)


class Load:
    """Clients that send one job after the other until they are told to stop; each job's events from first to last."""

    def __init__(self, plant):
        self.plant, self.lock, self.over = plant, threading.Lock(), threading.Event()
        self.jobs, self.ids, self.errors, self.sent = {}, {}, [], 0
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(CLIENTS)]

    def client(self):
        try:
            while not self.over.is_set():
                with self.lock:
                    self.sent += 1
                    token = f"t{self.sent}"
                job = submit(self.plant, CODE, args=[token])
                seen = events(self.plant, job)
                with self.lock:
                    self.jobs[token], self.ids[token] = seen, job
        except Exception as error:  # told by the test
            self.errors.append(error)

    def more(self, count):
        """So many further jobs have ended."""
        until = len(self.jobs) + count
        wait_until(f"{count} more jobs ended", lambda: self.errors or len(self.jobs) >= until, 120, 0.05)
        assert self.errors == []

    def each_serves(self, *processes):
        """Each of them claims a job from now on."""
        with self.lock:
            known = set(self.jobs)

        def served():
            with self.lock:
                return set().union(*(workers_of(seen) for token, seen in self.jobs.items() if token not in known))
        wait_until("each has served", lambda: self.errors or served() >= {process.worker_id for process in processes}, 120 + 2 * AWAY_S, 0.05)
        assert self.errors == []

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(150)


def make(kubernetes, folder, **env):
    """A plant of two workers, and a third that is not started yet."""
    for name in ("images", "plant"):
        (folder / name).mkdir()
    given = kubeimages.pods_of(kubernetes, folder / "images")["env"]
    kubernetes.namespace(NAMESPACE)
    made = plants.Plant(folder / "plant", apis=1, workers=3, env={**given, **ENV, **env})
    for process in made.of("spawner"):
        process.env["WORKER_SLOTS"] = env.get("POD_POOL_PY", str(SLOTS))
    made.third = made.processes.pop()
    ready = made.wait_ready
    made.wait_ready = lambda: ready(120)
    return made


@pytest.fixture(scope="module")
def plant(kubernetes, tmp_path_factory):
    with make(kubernetes, tmp_path_factory.mktemp("workers")) as made:
        yield made
    assert made.crashes == []


def cluster_of(process):
    """What it says of its pods; {} when it does not answer."""
    with contextlib.suppress(OSError):
        try:
            with urllib.request.urlopen(process.url + "/health/kubernetes", timeout=5) as answer:
                return json.load(answer)["cluster"]
        except urllib.error.HTTPError as answer:
            return json.load(answer)["cluster"]
    return {}


def full(process):
    """Its pods are all ready, and there is nothing else that it makes or takes away."""
    with contextlib.suppress(OSError), urllib.request.urlopen(process.url + "/health/kubernetes", timeout=5) as answer:
        told = json.load(answer)
        return told["pools"]["py"]["ready"] == told["cluster"]["pods"] == SLOTS
    return False


def names(kubernetes, kind, **labels):
    return {found["metadata"]["name"] for found in kubernetes.list(kind, NAMESPACE, **{"app.kubernetes.io/managed-by": "millrace", **labels})}


LEASE = "millrace.dev/lease"


def owned(kubernetes):
    """{pod: the lease that it belongs to}."""
    return {pod["metadata"]["name"]: pod["metadata"]["labels"][LEASE]
            for pod in kubernetes.list("pods", NAMESPACE, **{"app.kubernetes.io/managed-by": "millrace"})}


def holds(plant, process):
    return plant.jobs_held_by(process.worker_id)


def kill_at_work(plant, process):
    """In the middle of a job; which one. What it had said to the store before it stood still is known there before the question."""
    def caught():
        plant.kill(process, signal.SIGSTOP)
        wait_until("it stands still", lambda: plants.stat_of(process.pid)[1] == "T", 20, 0.001)
        plant.redis().ping()
        held = holds(plant, process)
        plant.kill(process, signal.SIGKILL if held else signal.SIGCONT)
        return held
    return wait_until(f"{process.name} was at work", caught, 60, 0.05)


def workers_of(seen):
    return {event["worker"] for event in seen if event["type"] == "claimed"}


@pytest.fixture(scope="module")
def load(plant, kubernetes):
    one, two, three = *plant.of("spawner"), plant.third
    with Load(plant) as load:
        load.each_serves(one, two)
        one_more = one.worker_id
        plant.hold(two)  # to one: it may finish what it has
        plant.kill(two, signal.SIGTERM)
        wait_until("it has ended", lambda: not two.alive(), 60, 0.05)
        assert two.popen.returncode == 0
        load.more(2)
        wait_until("the one alone has a lease", lambda: names(kubernetes, "configmaps") == {cluster_of(one).get("lease")}, 60, 0.2)

        plant.release(two)  # to three: one comes back, one is new
        plant.processes.append(three)
        three.start()
        load.each_serves(one, two, three)

        begun = time.monotonic()
        with kubernetes.away("kube-apiserver") as gone:  # silent for longer than a request has patience, then not there
            for process in (one, two, three):
                wait_until(f"{process.name} says so", lambda process=process: "configmaps" in cluster_of(process).get("why", ""), 60, 0.2)
            gone.killed()
            was = {process: (process.pid, cluster_of(process)["lease"]) for process in (one, two, three)}
            wait_until("it was away for so long", lambda: time.monotonic() - begun >= AWAY_S, AWAY_S + 20, 0.1)
        load.each_serves(one, two, three)  # nobody took another for dead
        assert was == {process: (process.pid, cluster_of(process)["lease"]) for process in (one, two, three)}
        assert [cluster_of(process)["swept"] + cluster_of(process)["adopted"] for process in (one, two, three)] == [0, 0, 0]

        killed = kill_at_work(plant, one)  # it comes back as another
        load.more(4)
        assert one_more != one.worker_id
    load.killed = killed
    return load


def test_each_job_ends_once(load):
    """The last attempt printed all of it, and who was killed had jobs that another attempt did."""
    assert load.errors == [] and len(load.jobs) == load.sent
    for token, seen in load.jobs.items():
        ends = [event for event in seen if event["type"] in TERMINAL]
        assert [(event["type"], event.get("exit_code")) for event in ends] == [("completed", 0)], seen
        last = [event for event in seen if event.get("attempt") == ends[0]["attempt"]]
        words = text_of(last).decode().split()
        assert (words[0], words[2:]) == (token, ["over"]), seen
    again = {load.ids[token] for token, seen in load.jobs.items() if any(event["type"] == "claimed" and event["attempt"] > 1 for event in seen)}
    assert set(load.killed) <= again


def test_no_pod_is_used_twice(load):
    """By every attempt whose program said where it was; it says so first."""
    used = collections.Counter(text_of([event]).decode().split()[1] for seen in load.jobs.values() for event in seen
                               if event["type"] == "output" and text_of([event]).startswith(b"t"))
    assert len(used) >= len(load.jobs) and set(used.values()) == {1}, used


def test_nothing_is_left_of_who_has_gone(load, plant, kubernetes):
    """Pods of the killed ones are used by the others or deleted, and their leases go with them; nobody has more than its pool."""
    living, seen = plant.of("spawner"), {}

    def settled():
        told = [cluster_of(process) for process in living]
        seen.update(told=told, leases=names(kubernetes, "configmaps"), pods=owned(kubernetes))
        held = [set(one.get("leases", ())) for one in told]
        return (seen["leases"] == set().union(*held) == {one.get("lease") for one in told} | set(seen["pods"].values())
                and len(seen["pods"]) == sum(one.get("pods", -1) for one in told) == SLOTS * len(living))
    try:
        wait_until("the cluster has what the living say", settled, 120, 0.3)
    except AssertionError as error:
        raise AssertionError(seen) from error
    for process in living:
        plant.hold(process)
        plant.kill(process, signal.SIGTERM)
    wait_until("all have ended", lambda: not any(process.alive() for process in living), 60, 0.1)
    wait_until("nothing is left", lambda: names(kubernetes, "pods") == names(kubernetes, "configmaps") == set(), 60, 0.2)


def take_over(plant, kubernetes, killed, heir, idle):
    """Who is killed does nothing; the heir, whose pool is full, has room for its pods as soon as they are its own to give."""
    plant.hold(killed)
    plant.kill(killed)
    wait_until(f"{heir.name} holds its lease", lambda: cluster_of(heir).get("orphans") == len(idle), 120, 0.1)
    mine = cluster_of(heir)["lease"]
    kubernetes.kubectl("-n", NAMESPACE, "delete", "pods", "-l", f"{LEASE}={mine}", "--wait=false")
    wait_until(f"{heir.name} keeps them ready", lambda: cluster_of(heir).get("adopted") == len(idle) and set(owned(kubernetes)) == idle, 60, 0.1)


def test_idle_pods_go_from_hand_to_hand(load, plant, kubernetes):
    """Their first worker's lease lives as long as they do, in whose hands it may be, and they do not live longer for it."""
    workers = one, two, three = plant.of("spawner")
    for process in workers:
        process.env |= LONG
        wait_until("it is not there", lambda process=process: not process.alive(), 20)
    plant.release(two)
    wait_until("it has its pods", lambda: full(two), 120, 0.1)
    plant.release(one)
    wait_until("it has its pods too", lambda: full(one), 120, 0.1)
    born, first = time.monotonic(), cluster_of(one)["lease"]
    idle = {pod for pod, lease in owned(kubernetes).items() if lease == first}

    take_over(plant, kubernetes, one, two, idle)
    assert set(cluster_of(two)["leases"]) == names(kubernetes, "configmaps") == {first, cluster_of(two)["lease"]}
    plant.release(three)
    wait_until("the third has its pods", lambda: full(three), 120, 0.1)
    take_over(plant, kubernetes, two, three, idle)
    wait_until("the lease that had none is gone", lambda: names(kubernetes, "configmaps") == {first, cluster_of(three).get("lease")}, 60, 0.1)
    assert run(plant, "import os; print(os.uname().nodename)")["stdout"].strip() in idle

    wait_until("the other is replaced in time", lambda: not idle & set(owned(kubernetes)), 120, 0.1)
    assert time.monotonic() - born < USEFUL_S + 15
    wait_until("its lease is gone", lambda: names(kubernetes, "configmaps") == {cluster_of(three).get("lease")}, 60, 0.1)
