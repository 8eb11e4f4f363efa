# SPDX-License-Identifier: Apache-2.0
"""The figures of the system, each a median over rounds, beside `python3 -c 'print(1)'` started by hand in the same run.

Writes build/bench/figures.json, and with --docs the table in docs/BENCHMARKS.md.
"""
import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import page  # noqa: E402
from system import BIN, ROOT, System, free_port, wait_until  # noqa: E402
from contract import Api  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

PRINT_1 = "print(1)"
SCIENCE = "import pandas, matplotlib.pyplot\nprint(1)"
# Enough ready pods for sixteen clients; all else as it comes.
POOLS = {"POD_POOL_PY": "16", "POD_POOL_PY_SCIENCE": "8", "POD_POOL_JAVA": "0"}  # a JVM warms up for seconds, beside what is measured
PAUSE_MS = 20  # in which the next pod is made
# Tells when it wrote, while it goes on running.
WRITER = "import time\ntime.sleep(0.3)\nprint(time.time_ns(), flush=True)\ntime.sleep(0.3)\n"


class PlainRedis:
    """A Redis with another fsync policy than up's own."""

    def __init__(self, directory, appendfsync):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            ["/usr/bin/redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory),
             "--appendonly", "yes", "--appendfsync", appendfsync, "--save", "", "--maxmemory", "1gb",
             "--maxmemory-policy", "noeviction"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ping = ["/usr/bin/redis-cli", "-p", str(self.port), "PING"]
        wait_until("Redis answers", lambda: b"PONG" in subprocess.run(ping, capture_output=True, check=False).stdout)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def durable_append(store, count=1000):
    """One small entry at a time, each answered when it is on the disk (or, with another policy, given to the kernel): ms, p50."""
    done = subprocess.run(["/usr/bin/redis-benchmark", "-p", str(store.port), "-c", "1", "-n", str(count), "--csv",
                           "XADD", "floor", "*", "f", "x" * 50], capture_output=True, text=True, check=True, timeout=60)
    heads, values = (line.replace('"', "").split(",") for line in done.stdout.splitlines()[:2])
    return float(values[heads.index("p50_latency_ms")])


def floors(directory):
    """What an append costs on this machine: (with its fsync, without)."""
    found = []
    for policy in ("always", "no"):
        where = pathlib.Path(directory) / f"floor-{policy}"
        where.mkdir()
        store = PlainRedis(where, policy)
        try:
            found.append(durable_append(store))
        finally:
            store.stop()
    return found


def p50(values):
    return statistics.median(values)


def by_hand(count, code=PRINT_1):
    """Milliseconds of `python3 -c CODE`, started as a shell does."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run(["/usr/bin/python3", "-c", code], stdout=subprocess.DEVNULL, check=True)
        took.append((time.perf_counter() - began) * 1e3)
    return p50(took)


def load(system, directory, *options, code=PRINT_1):
    """One run of `millrace bench` against POST /exec."""
    body = pathlib.Path(directory) / "body.json"
    body.write_text(json.dumps({"lang": "py", "code": code}))
    done = system.millrace("bench", "--json", "-d", body, *options, system.url + "/exec", timeout=300)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["errors"] == 0, told
    return told


def direct(directory, runs, clients=1):
    """The same program in the same pods without api, log and queue: what bench-pod-direct tells."""
    done = subprocess.run([BIN / "millrace-spawner", "--state", pathlib.Path(directory) / "spawner-direct", "--",
                           BIN / "bench-pod-direct", "--runs", str(runs), "--clients", str(clients), "--pool", POOLS["POD_POOL_PY"]],
                          capture_output=True, text=True, timeout=300, check=True, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout.splitlines()[-1])


def first_output(system, count):
    """From the program's write to the event at a WebSocket client, which was connected before: ms, p50."""
    took = []
    with Api(system) as api:
        for _ in range(count):
            job = api.submit("py", WRITER, priority="interactive")
            with connect(f"{system.url.replace('http', 'ws', 1)}/v1/jobs/{job}/stream",
                         additional_headers={"x-api-key": system.key}) as socket:
                for message in socket:
                    arrived = time.time_ns()
                    event = json.loads(message)
                    if event["type"] == "output":
                        took.append((arrived - int(event["data"])) / 1e6)
                        assert api.job(job)["status"] == "running"
                        break
    return p50(took)


def one_round(system, directory, runs, seconds, everything):
    """By hand, through the queue, directly, in turn, so that a noisy minute hits all alike."""
    found = {"by_hand": by_hand(30)}
    told = load(system, directory, "-r", str(runs), "--warmup", "20")["latency_ms"]
    found["exec"], found["exec_p99"] = told["p50"], told["p99"]
    found["paused"] = load(system, directory, "-r", str(runs // 4), "--warmup", "5", "--pause", str(PAUSE_MS))["latency_ms"]["p50"]
    found["direct"] = direct(directory, runs)["p50_ms"]
    found["queue"] = found["exec"] - found["direct"]
    if everything:
        found["per_second"] = load(system, directory, "-t", str(seconds), "-c", "16")["requests_per_second"]
        found["direct_per_second"] = direct(directory, 200 * seconds, 16)["runs_per_second"]
        found["first_output"] = first_output(system, 10)
        found["science_by_hand"] = by_hand(3, SCIENCE)
        found["science"] = load(system, directory, "-r", str(runs // 2), "--warmup", "10", code=SCIENCE)["latency_ms"]["p50"]
        found["science_per_second"] = load(system, directory, "-t", str(seconds), "-c", "16", code=SCIENCE)["requests_per_second"]
    return found


def measure(directory, rounds, runs, seconds):
    """{policy of fsync: {figure: its value in each round}}, of two systems in turn."""
    store = PlainRedis(directory, "everysec")
    systems = {}
    try:
        for name, options in (("always", []), ("everysec", ["--redis-url", store.url])):
            systems[name] = System(pathlib.Path(directory) / name, options=options, env=POOLS)
            load(systems[name], directory, "-r", "50")
            load(systems[name], directory, "-r", "10", code=SCIENCE)
        found = {name: collections.defaultdict(list) for name in systems}
        for _ in range(rounds):
            for name, system in systems.items():
                for figure, value in one_round(system, directory, runs, seconds, name == "always").items():
                    found[name][figure].append(value)
        return found
    finally:
        assert [system.stop() for system in systems.values()] == [0] * len(systems)
        store.stop()


# figure, policy, name in found, goal, what it stands beside. Those that are no time are runs per second.
ROWS = [
    ("`python3 -c 'print(1)'` by hand, p50", "always", "by_hand", "", "by_hand"),
    ("warm Python `print(1)` through `POST /exec`, one client, p50", "always", "exec", "4 ms, then 2", "by_hand"),
    ("the same, p99", "always", "exec_p99", "10 ms", "by_hand"),
    (f"the same by a client that waits {PAUSE_MS} ms between answer and request, p50", "always", "paused", "", "by_hand"),
    ("the same with `appendfsync everysec`, no pause, p50", "everysec", "exec", "", "by_hand"),
    ("fresh isolated Python runs, full path, 16 clients", "always", "per_second", "200/s, then 600", ""),
    ("the same runs in pods without api, log and queue, 16 at a time", "always", "direct_per_second", "", ""),
    ("`import pandas, matplotlib.pyplot` in the program, one client, p50", "always", "science", "5 ms", "science_by_hand"),
    ("the same, runs per second, 16 clients", "always", "science_per_second", "200/s", ""),
    ("the same run in a pod without api, log and queue, p50", "always", "direct", "", "by_hand"),
    ("queue overhead, `appendfsync always`, p50", "always", "queue", "1.5 ms", "by_hand"),
    ("queue overhead, `appendfsync everysec`, p50", "everysec", "queue", "1.0 ms", "by_hand"),
    ("first output event at a WebSocket client after the write, p50", "always", "first_output", "6 ms", ""),
]


def rows(found, floor):
    for text, policy, figure, goal, beside in ROWS:
        values = found[policy][figure]
        if "second" in figure:
            yield text, f"{p50(values):.0f}/s", f"{max(values):.0f}/s", goal, ""
            continue
        ratio = p50([value / other for value, other in zip(values, found[policy][beside])]) if beside else None
        yield (text, f"{p50(values):.2f} ms", f"{min(values):.2f} ms", goal,
               "" if ratio is None else f"{ratio:.3f}" if ratio < 0.02 else f"{ratio:.2f}")
    yield ("a durable append to Redis alone (two of them are in each run), p50", f"{floor[0]:.2f} ms", f"without its fsync {floor[1]:.2f} ms",
           "0.16 ms when the goals were set", "")


def table(found, floor):
    return page.table(["figure", "median of the rounds", "quickest round", "goal", "beside by hand"], rows(found, floor))


def write_docs(text, where):
    kept = page.PATH.read_text().partition("\n## ")  # the sections of others
    page.PATH.write_text(f"# Figures\n\nMade by `tests/bench/run --docs` on {time.strftime('%Y-%m-%d')}: {where}. "
                         "Medians over rounds; everything of a round is\nmeasured in turn, so that a noisy minute hits all "
                         f"alike.\n\n{text}\n\nQueue overhead is the p50 through the API less the p50 of the same program in "
                         "the same pods without api, log and queue\n(`bench-pod-direct`). `millrace bench` is the load "
                         "generator; `queue_bench` measures the queue alone.\n" + kept[1] + kept[2])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it works")
    parser.add_argument("--docs", action="store_true", help="write docs/BENCHMARKS.md")
    options = parser.parse_args()
    rounds, runs, seconds = (1, 40, 2) if options.quick else (options.rounds, 300, 5)
    where = page.machine()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory:
        os.chmod(directory, 0o755)
        found = measure(directory, rounds, runs, seconds)
        floor = floors(directory)
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps({"machine": where, **found, "floor": floor}, indent=1))
    text = table(found, floor)
    print(f"{where}\n\n{text}")
    if options.docs:
        write_docs(text, where)


if __name__ == "__main__":
    main()
