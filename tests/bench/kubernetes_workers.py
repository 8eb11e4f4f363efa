# SPDX-License-Identifier: Apache-2.0
"""What workers do side by side on one Kubernetes: two, then one, then three, under the same load.

    kubernetes_workers.py [--seconds N] [--pool N] [--docs]

Jobs that have ended in a second, of six clients that each wait for their job; each worker has so many slots as pods in its pool.
`tests/kubernetes/test_6_workers.py` shows that nothing is lost meanwhile. Needs root. One cluster, made by tests/kube.
"""
import argparse
import pathlib
import signal
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "kubernetes")]
import page  # noqa: E402
import test_6_workers as workers  # noqa: E402
from kubecluster import Cluster  # noqa: E402
from system import wait_until  # noqa: E402


def rate(load, seconds, *processes):
    load.each_serves(*processes)
    before, begun = len(load.jobs), time.monotonic()
    time.sleep(seconds)
    return (len(load.jobs) - before) / (time.monotonic() - begun)


def measure(plant, seconds):
    one, two, three = *plant.of("spawner"), plant.third
    with workers.Load(plant) as load:
        figures = {2: rate(load, seconds, one, two)}
        plant.hold(two)
        plant.kill(two, signal.SIGTERM)
        wait_until("it has ended", lambda: not two.alive(), 60, 0.05)
        figures[1] = rate(load, seconds, one)
        plant.release(two)
        plant.processes.append(three)
        three.start()
        figures[3] = rate(load, seconds, one, two, three)
    return {f"runs/s of {count} workers": figures[count] for count in (1, 2, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--pool", type=int, default=workers.SLOTS)
    parser.add_argument("--docs", action="store_true", help="write the table of docs/BENCHMARKS.md")
    options, where = parser.parse_args(), page.machine()
    with tempfile.TemporaryDirectory(prefix="millrace-workers-") as folder:
        folder = pathlib.Path(folder)
        cluster = Cluster(folder)
        try:
            with workers.make(cluster, folder, POD_POOL_PY=str(options.pool)) as plant:
                figures = measure(plant, options.seconds)
        finally:
            cluster.stop()
    for name, value in figures.items():
        print(f"{name:<32} {value:8.2f}")
    if options.docs:
        rows = [[name, f"{value:.2f}"] for name, value in figures.items()]
        page.write_section("Workers on a Kubernetes", "tests/bench/kubernetes_workers.py --docs", where, page.table(["figure", "measured"], rows))


if __name__ == "__main__":
    main()
