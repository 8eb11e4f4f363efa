# SPDX-License-Identifier: Apache-2.0
"""From a run's deadline to the end of the last process of its pod: programs that ignore every signal, with children and
grandchildren in sessions of their own, while another pod takes half of this machine. PID 1 tells the end only when nobody else is left
in the pod, so its EXIT is the moment. Prints a table; exit 1 when p99 is above the goal. --runs N, --docs"""
import os
import sys

from beside import benchmark, beside, quantile

GOAL_MS, WALL_MS = 50, 400
STUBBORN = """
import os, signal, time
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for i in range(4):
    if os.fork() == 0:
        os.setsid()
        os.fork()
        while True: time.sleep(0.01)
while True: time.sleep(600)
"""


def half_load(place, until):
    """One pod after the other that takes half of all processors."""
    cores = max(1, os.cpu_count() // 2)
    code = f"import os\nfor i in range({cores - 1}):\n    if os.fork() == 0: break\nwhile True: pass"
    while not until.is_set():
        place.python(code, wall_ms=2000, cpu_millis=1000 * cores)


def measure(place, runs):
    late = []
    for n in range(runs):
        facts = place.warm(STUBBORN, wall_ms=WALL_MS) if n % 2 else place.python(STUBBORN, wall_ms=WALL_MS)
        assert facts["exit"]["end"] == "wall" and facts["done"], facts
        late.append(facts["run_ms"] - WALL_MS)
    return sorted(late)


def table(runs):
    rows, good = [], True
    for name, load in (("idle", None), ("half load", half_load)):
        with beside(load) as place:
            late = measure(place, runs)
        p99 = quantile(late, 0.99)
        good = good and p99 <= GOAL_MS
        rows.append([name, *(f"{value:.1f} ms" for value in (quantile(late, 0.5), p99, late[-1])), f"{GOAL_MS} ms"])
    above = f"{runs} programs each that ignore every signal, with children and grandchildren in sessions of their own."
    return ["machine", "p50", "p99", "longest", "goal for p99"], rows, above, good


if __name__ == "__main__":
    sys.exit(benchmark("deadline.py", __doc__, "From the deadline to the end of the last process", 110, 30, table))
