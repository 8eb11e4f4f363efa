# SPDX-License-Identifier: Apache-2.0
"""What warm pods cost in memory, and that runs leave none behind.

    memory.py [--bare N] [--science N] [--runs N] [--json FILE] [--docs]

MemAvailable before and with N idle pods (the first one is paid before, with its template), the private memory of one of their
programs, and MemAvailable, processes and cgroups before and after N runs in the same system.
"""
import argparse
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import page  # noqa: E402
from contract import Api  # noqa: E402
from system import System, descendants, wait_until  # noqa: E402

OTHERS_OFF = {f"POD_POOL_{name}": "0" for name in
              "PY PY_SCIENCE JS TS JAVA PHP R BASH GO C CPP RS F90 D".split()}
KINDS = {"bare": ("py", "POD_POOL_PY", "print(1)"), "science": ("py-science", "POD_POOL_PY_SCIENCE", "import numpy\nprint(1)")}
MIB = 1 << 20


def available():
    for line in open("/proc/meminfo", encoding="ascii"):
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) << 10
    raise LookupError("MemAvailable")


def median_second():
    seen = []
    for _ in range(10):
        seen.append(available())
        time.sleep(0.1)
    return int(statistics.median(seen))


def settled():
    """MemAvailable when it stands still for five seconds: what ended pods held comes back slowly, and in steps."""
    subprocess.run(["sync"], check=True)
    seen = []
    for _ in range(90):
        seen = [*seen[-4:], median_second()]
        if len(seen) == 5 and max(seen) - min(seen) < 2 * MIB:
            return seen[-1]
    raise TimeoutError("MemAvailable does not stand still: something else is at work on this machine")


def pools(system):
    import urllib.request
    port = system.children("worker")[0]["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        return json.loads(answer.read())["pools"]


def private(pid):
    for line in open(f"/proc/{pid}/smaps_rollup", encoding="ascii"):
        if line.startswith("Private_Dirty"):
            return int(line.split()[1]) << 10
    raise LookupError(pid)


def programs(system):
    """Pids of what waits in the pods: the children of the runners."""
    tree = descendants(system.process.pid)
    runners = {pid for pid, line in tree.items() if "millrace-runner" in line}
    from system import parents
    table = parents()
    return [pid for pid in tree if table.get(pid, (0, ""))[0] in runners]


def start(directory, **sizes):
    return System(directory, env={**OTHERS_OFF, **sizes, "QUEUE_MAX_MB": "256"})


def idle_cost(directory, kind, count):
    name, setting, _ = KINDS[kind]
    few = {setting: "2", "POD_POOL_PY": "2"} if kind != "bare" else {setting: "2"}
    system = start(directory / f"{kind}-few", **few)
    try:
        wait_until("the first pods", lambda: pools(system)[name]["ready"] >= 2, 120)
        before = settled()
    finally:
        system.stop()
    system = start(directory / f"{kind}-all", **{**few, setting: str(count)})
    try:
        wait_until(f"{count} pods", lambda: pools(system)[name]["ready"] >= count, 300, 0.2)
        with_all = settled()
        sample = programs(system)[:200:10] or programs(system)
        own = statistics.median(private(pid) for pid in sample)
    finally:
        system.stop()
    return {"pods": count, "mem_available_mib": round((before - with_all) / MIB, 1),
            "each_mib": round((before - with_all) / MIB / max(1, count - 2), 3), "private_dirty_mib": round(own / MIB, 3)}


def leak(directory, runs):
    system = start(directory / "leak", POD_POOL_PY="5")
    try:
        with Api(system) as api:
            def one(_):
                assert api.exec("py", "print(1)")["stdout"] == "1\n"
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                list(pool.map(one, range(min(200, runs))))
                wait_until("the pool is full", lambda: pools(system)["py"]["ready"] == 5, 30)
                before, processes = settled(), len(descendants(system.process.pid))
                list(pool.map(one, range(runs)))
            wait_until("the pool is full", lambda: pools(system)["py"]["ready"] == 5, 30)
            wait_until("as many processes", lambda: len(descendants(system.process.pid)) <= processes, 30)
            return {"runs": runs, "mem_available_mib": round((before - settled()) / MIB, 1),
                    "logs_mib": round(runs * 4096 / MIB, 1), "cgroups": len(system.cgroups())}
    finally:
        system.stop()


def write_docs(told, where):
    goals = {"bare": "under 2 GiB for 1,000", "science": "under 512 MiB for 200, 1.5 MiB private each"}
    rows = [[f"{told[kind]['pods']} {kind} pods waiting", f"{told[kind]['mem_available_mib']} MiB", f"{told[kind]['private_dirty_mib']} MiB", goals[kind]]
            for kind in KINDS if kind in told]
    text = page.table(["what", "MemAvailable less", "private memory of one (median)", "goal"], rows)
    if "leak" in told:
        one = told["leak"]
        text += (f"\n\nAfter {one['runs']:,} runs in one system MemAvailable was {-one['mem_available_mib']:+} MiB of what it was before them, of which the logs of "
                 f"the runs\nhold at most {one['logs_mib']} MiB; as many processes as before, {one['cgroups']} cgroups.")
    page.write_section("Memory", "tests/bench/memory.py --docs", where, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--bare", type=int, default=1000)
    parser.add_argument("--science", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10000)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/BENCHMARKS.md")
    parser.add_argument("--quick", action="store_true", help="small counts, to see that it works")
    options, _ = parser.parse_known_args()
    told, where = {}, page.machine()
    if options.quick:
        options.bare, options.science, options.runs = 8, 4, 100
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if count := getattr(options, kind):
                told[kind] = idle_cost(pathlib.Path(folder), kind, count)
                print(kind, json.dumps(told[kind]), flush=True)
        if options.runs:
            told["leak"] = leak(pathlib.Path(folder), options.runs)
            print("leak", json.dumps(told["leak"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(told))
    if options.docs:
        write_docs(told, where)


if __name__ == "__main__":
    main()
