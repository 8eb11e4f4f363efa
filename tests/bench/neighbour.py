# SPDX-License-Identifier: Apache-2.0
"""What a client feels of another whose program burns all it may: the time of `print(1)` through `POST /exec`, alone and beside programs that raise their
priority (A70), look for names that are not there (A92), fill memory and fill their disk, each with the limits of a plain run. Prints a table and how many times the
p99 alone it came to; exit 1 when that is more than twice. --runs N, --docs. Meaningful on an idle machine only."""
import contextlib
import pathlib
import sys
import tempfile
import threading
import time

from beside import benchmark, quantile
from lean import Client
from system import System

GOAL, BURN_MS, WARM = 2.0, 5000, 50
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
    "memory": "while True: x = bytearray(200 << 20); x[::4096] = x[::4096]",
    "disk": "import os\nwhile True:\n    open('f', 'wb').write(bytes(8 << 20)); os.unlink('f')",
}


@contextlib.contextmanager
def burning(system, code):
    """One program after the other, by a client of its own."""
    over = threading.Event()

    def burn():
        with Client(system) as client:
            while code and not over.is_set():
                ends.append(client.exec("py", code, timeout_ms=BURN_MS)["job_status"])
    ends, thread = [], threading.Thread(target=burn)
    thread.start()
    time.sleep(1)  # it is at it
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert set(ends) == ({"timed_out"} if code else set()), ends


def measure(system, runs):
    """Milliseconds from request to answer."""
    times = []
    with Client(system) as client:
        for _ in range(runs):
            begun = time.perf_counter()
            answer = client.exec("py", "print(1)")
            times.append((time.perf_counter() - begun) * 1000)
            assert answer["stdout"] == "1\n", answer
    return sorted(times)


def measure_all(runs):
    with tempfile.TemporaryDirectory() as folder:
        system = System(pathlib.Path(folder))
        try:
            measure(system, WARM)
            for name, code in BURNERS.items():
                with burning(system, code):
                    yield name, measure(system, runs)
        finally:
            system.stop()


def table(runs):
    rows, alone, good = [], None, True
    for name, times in measure_all(runs):
        p99 = quantile(times, 0.99)
        alone = alone or p99
        good = good and p99 <= GOAL * alone
        rows.append([name, *(f"{value:.2f} ms" for value in (quantile(times, 0.5), p99)), f"{p99 / alone:.1f}", f"{GOAL:.0f}"])
    above = f"{runs} programs each that print 1, one client that never pauses, beside one program with the limits of a plain run."
    return ["beside it", "p50", "p99", "times alone", "goal"], rows, above, good


if __name__ == "__main__":
    sys.exit(benchmark("neighbour.py", __doc__, "A run beside a pod that burns all it may", 500, 100, table))
