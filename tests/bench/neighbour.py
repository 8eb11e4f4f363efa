# SPDX-License-Identifier: Apache-2.0
"""What a pod feels of another that burns all it may: the time of `print(1)` in a fresh pod, alone and beside programs that raise their
priority (A70), look for names that are not there (A92), fill memory and fill their disk, each with the limits of a plain run. Prints a table and how many times the
p99 alone it came to; exit 1 when that is more than twice. --runs N, --docs. Meaningful on an idle machine only."""
import functools
import sys

from beside import benchmark, beside, quantile

GOAL, BURN_MS = 2.0, 5000
FIFTY = "import os\nfor i in range(50):\n    if os.fork() == 0: break\n"
BURNERS = {
    "alone": None,
    "processor, at any priority (A70)": FIFTY + """
for raise_it in (lambda: os.setpriority(os.PRIO_PROCESS, 0, -20), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))):
    try: raise_it()
    except OSError: pass
while True: pass
""",
    "names that are not there (A92)": """
import itertools, os
for i in itertools.count():
    try: os.stat(f"/usr/missing-{i}-{'x' * 200}")
    except OSError: pass
""",
    "memory": "while True: x = bytearray(256 << 20); x[::4096] = x[::4096]",
    "disk": "import os\nwhile True:\n    open('f', 'wb').write(bytes(64 << 20)); os.unlink('f')",
}


def burn(code, place, until):
    while not until.is_set():
        place.python(code, wall_ms=BURN_MS, cpu_millis=1000)


def measure(place, runs):
    """Milliseconds from the job's START to its EXIT."""
    times = []
    for _ in range(runs):
        facts = place.warm("print(1)")
        assert facts["stdout"] == b"1\n", facts
        times.append(facts["run_ms"])
    return sorted(times)


def table(runs):
    rows, alone, good = [], None, True
    for name, code in BURNERS.items():
        with beside(code and functools.partial(burn, code)) as place:
            times = measure(place, runs)
        p99 = quantile(times, 0.99)
        alone = alone or p99
        good = good and p99 <= GOAL * alone
        rows.append([name, *(f"{value:.2f} ms" for value in (quantile(times, 0.5), p99)), f"{p99 / alone:.1f}", f"{GOAL:.0f}"])
    above = f"{runs} programs each that print 1, beside one pod with the limits of a plain run."
    return ["beside it", "p50", "p99", "times alone", "goal"], rows, above, good


if __name__ == "__main__":
    sys.exit(benchmark("neighbour.py", __doc__, "A run beside a pod that burns all it may", 500, 100, table))
