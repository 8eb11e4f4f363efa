# SPDX-License-Identifier: Apache-2.0
"""Pods of a Kubernetes beside local ones, on one machine in one run.

    kubernetes.py [--runs N] [--seconds N] [--pool N] [--pods N] [--json FILE] [--docs]

Warm print(1) through the API with one client and the pool kept full; from no ready pod to an answer, beside `kubectl run --rm`; runs
per second of 8 clients, none of which may fail, beside the pods that the kubelet alone makes and takes away in a second; how long a pool
takes to be full again, beside as many pods made by kubectl; requests to the API server for each job; memory of a worker that keeps many
pods which no node takes.
Needs root and the images of tools/images (Python). One cluster, made by tests/kube.
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
import kubeimages  # noqa: E402
import lean  # noqa: E402
import page  # noqa: E402
import plant as plants  # noqa: E402
from kubecluster import Cluster, hardened_pod  # noqa: E402
from system import System, descendants, proc, wait_until  # noqa: E402

OTHERS_OFF = {f"POD_POOL_{name}": "0" for name in "PY_SCIENCE JS TS JAVA PHP R BASH GO C CPP RS F90 D".split()}
MIB = 1 << 20


def told(system, path):
    port = system.children("worker")[0]["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def full(system, size):
    return told(system, "/health")["pools"]["py"]["ready"] >= size


def connected(system):
    return lean.Client(system, timeout=180)  # a pool that is empty is filled by a kubelet


def timed(client):
    begun = time.monotonic()
    answer = client.exec("py", "print(1)")
    assert answer["stdout"] == "1\n", answer
    return time.monotonic() - begun


def warm(system, runs, size, burst):
    """The pool is full before each `burst` of runs; within one, pods are made beside the runs."""
    seen = []
    with connected(system) as client:
        for n in range(runs):
            if n % burst == 0:
                wait_until("the pool is full", lambda: full(system, size), 120, 0.02)
            seen.append(timed(client) * 1000)
    return statistics.median(seen)


def warm_both(figures, name, system, runs, size):
    figures[f"{name}warm p50, ms"] = warm(system, runs, size, 1)
    figures[f"{name}warm p50 in bursts of half a pool, ms"] = warm(system, runs, size, max(1, size // 2))


def sustained(system, seconds):
    """From a full pool until the last has its answer: (runs per second, those of the second half, where the pool is used up, the median wait)."""
    def one():
        runs = []
        with connected(system) as client:
            while time.monotonic() - begun < seconds:
                taken = timed(client)
                runs.append((time.monotonic() - begun, taken))
        return runs
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = sum((f.result() for f in [pool.submit(one) for _ in range(8)]), [])
    whole = max(ended for ended, _ in runs)
    later = sum(ended > whole / 2 for ended, _ in runs)
    return len(runs) / whole, later / (whole / 2), statistics.median(taken for _, taken in runs)


def processor(cluster):
    """Seconds of processor time that the cluster with its pods has used, those of ended processes too: what does not depend on who else is here."""
    stats = (proc(pid, "stat").rsplit(b")", 1)[-1].split() for pid in [cluster.init, *descendants(cluster.init)])
    return sum(sum(map(int, fields[11:15])) for fields in stats if fields) / os.sysconf("SC_CLK_TCK")


def cold(folder, cluster, env, options, runs):
    """Seconds from no ready pod to an answer, beside what kubectl takes with the same image: medians, in turn."""
    ours, theirs = [], []
    cluster.namespace("by-hand", level="privileged")
    system = System(folder / "cold", env={**env, "POD_POOL_PY": "0"}, options=options)
    try:
        with connected(system) as client:
            for n in range(runs):
                ours.append(timed(client))
                begun = time.monotonic()
                told = cluster.kubectl("-n", "by-hand", "run", f"hand-{n}", "--rm", "-i", "--restart=Never", "--image-pull-policy=Never", "--command",
                                       f"--image={kubeimages.reference('py')}", "--", "/usr/bin/python3", "-c", "print(1)", timeout=180)
                theirs.append(time.monotonic() - begun)
                assert told.startswith("1\n"), told
    finally:
        system.stop()
    return statistics.median(ours), statistics.median(theirs)


def refill(system, size):
    wait_until("the pool is full", lambda: full(system, size), 120, 0.02)
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(size) as pool:
        list(pool.map(timed, [stack.enter_context(connected(system)) for _ in range(size)]))
    begun = time.monotonic()
    wait_until("the pool is full again", lambda: full(system, size), 300, 0.02)
    return time.monotonic() - begun


ROUNDS = 3


def kubelet_alone(cluster, count):
    """(seconds until so many pods run, pods per second when each such lot is deleted and made anew, processor seconds for each pod): of the
    same shape as ours, with a program that does nothing, and nobody of ours beside them."""
    cluster.namespace("alone")
    begun, used, first = time.monotonic(), processor(cluster), None
    for lot in range(ROUNDS):
        pods = [hardened_pod(f"alone-{lot}-{n}", "millrace.test/busybox:1", ["sleep", "600"]) for n in range(count)]
        cluster.apply(*({**pod, "metadata": {"name": pod["metadata"]["name"], "namespace": "alone", "labels": {"lot": str(lot)}}} for pod in pods))
        wait_until("they run", lambda lot=lot: all(pod["status"].get("phase") == "Running" for pod in cluster.list("pods", "alone", lot=lot)), 300, 0.1)
        first = first or time.monotonic() - begun
        cluster.kubectl("-n", "alone", "delete", "pods", "-l", f"lot={lot}", "--grace-period=0", "--force", "--wait=false")
    rate = ROUNDS * count / (time.monotonic() - begun)
    used = (processor(cluster) - used) / (ROUNDS * count)
    cluster.kubectl("delete", "namespace", "alone", "--wait=false")
    return first, rate, used


class Workers(plants.Plant):
    """A worker alone, which is never ready: no node takes its pods."""

    def wait_ready(self, timeout=30.0):
        for process in self.of("api"):
            wait_until("the api is ready", lambda process=process: self.ready(process), timeout, 0.05)


def memory(folder, given, pods):
    env = {**given["env"], **OTHERS_OFF, "POD_BACKEND": "kubernetes", "POD_POOL_PY": str(pods),
           "POD_POOL_PARALLEL_BATCH": str(min(pods, 200)), "K8S_POD_START_SECONDS": "3600",
           "K8S_POD_NODE_SELECTOR": '{"millrace.dev/none": "here"}'}
    plant = Workers(folder, apis=1, workers=1, env=env)
    worker = plant.of("spawner")[0]

    def made():
        try:
            with urllib.request.urlopen(worker.url + "/health/kubernetes", timeout=10) as answer:
                return json.load(answer)["cluster"]["made"]
        except urllib.error.HTTPError as answer:  # it has no pod that could be used
            return json.load(answer)["cluster"]["made"]
        except OSError:
            return 0
    with plant:
        wait_until("all are made", lambda: made() >= pods, 300, 0.2)
        return next(int(line.split()[1]) << 10 for line in open(f"/proc/{worker.pid}/status", encoding="ascii") if line.startswith("VmRSS"))


def measure(options, folder):
    figures = {}
    local = System(folder / "local", env={**OTHERS_OFF, "POD_POOL_PY": "20"})
    warm_both(figures, "local ", local, options.runs, 20)
    local.stop()
    cluster = Cluster(folder)
    try:
        given = kubeimages.pods_of(cluster, folder / "images")
        env = {**given["env"], **OTHERS_OFF, "POD_POOL_PY": str(options.pool), "POD_POOL_PARALLEL_BATCH": str(options.pool),
               "K8S_CPU_REQUEST": "10m", "K8S_MEMORY_REQUEST": "24Mi", "K8S_LEASE_SECONDS": "600"}
        system = System(folder / "kubernetes-system", env=env, options=given["options"])
        try:
            warm_both(figures, "", system, options.runs, options.pool)
            before = told(system, "/health/kubernetes")["cluster"]
            wait_until("the pool is full", lambda: full(system, options.pool), 120, 0.02)
            begin, used = told(system, "/health/kubernetes")["cluster"], processor(cluster)
            figures["runs/s of 8 clients"], figures["runs/s in the second half"], figures["their median, s"] = sustained(system, options.seconds)
            used, end = processor(cluster) - used, told(system, "/health/kubernetes")["cluster"]
            lives = (end["made"] - begin["made"] + end["deleted"] - begin["deleted"]) / 2
            figures["processor s of the cluster for each pod"] = used / max(1, lives)
            figures["pool full again, s"] = refill(system, options.pool)
            after = told(system, "/health/kubernetes")["cluster"]
            figures["requests per job"] = (after["requests"] - before["requests"]) / max(1, after["made"] - before["made"])
        finally:
            system.stop()
        figures["no ready pod to an answer, s"], figures["kubectl run --rm, s"] = cold(folder, cluster, env, given["options"], min(3, options.runs))
        figures["as many by kubectl, s"], figures["pods/s of the kubelet alone"], figures["processor s for each of these"] = kubelet_alone(cluster, options.pool)
        figures["runs in the second half for each such pod"] = figures["runs/s in the second half"] / figures["pods/s of the kubelet alone"]
        if options.pods:
            figures[f"worker with {options.pods} pods, MiB"] = memory(folder / "memory", given, options.pods) / MIB
    finally:
        cluster.stop()
    return figures


def write_docs(figures, where):
    rows = [[name, f"{value:.2f}" if value < 1 else f"{value:.1f}"] for name, value in figures.items()]
    page.write_section("Kubernetes", "tests/bench/kubernetes.py --docs", where, page.table(["figure", "measured"], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pool", type=int, default=20)
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--docs", action="store_true", help="write the table of docs/BENCHMARKS.md")
    options, where = parser.parse_args(), page.machine()
    with tempfile.TemporaryDirectory(prefix="millrace-kubernetes-") as folder:
        (pathlib.Path(folder) / "images").mkdir()
        figures = measure(options, pathlib.Path(folder))
    for name, value in figures.items():
        print(f"{name:<42} {value:8.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    if options.docs:
        write_docs(figures, where)


if __name__ == "__main__":
    main()
