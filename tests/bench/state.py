# SPDX-License-Identifier: Apache-2.0
"""What restoring and saving a session's state adds to a run, beside pickling the same object by hand in Python.

    MILLRACE_BUILD=build/release build/venv/bin/python tests/bench/state.py [--runs N]

For each object: `run` without state, `save` (the run makes it), `both` (the run gets it and leaves it), medians of the time to the
answer in ms; `by hand`: cloudpickle.dumps, and loads and dumps, in a process that has it. Rounds of all kinds alternate.
"""
import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from contract import Api  # noqa: E402
from system import System  # noqa: E402

# Each gives about so many bytes.
OBJECTS = {
    "dict 1 KB": "x = {f'k{i}': i for i in range(100)}",
    "dict 100 KB": "x = {f'key{i}': str(i) * 3 for i in range(4000)}",
    "bytes 1 MB": "import os; x = os.urandom(1_000_000)",
    "list 10 MB": "x = list(range(2_000_000))",
    "dataframe 1 MB": "import pandas as pd, numpy as np; x = pd.DataFrame(np.arange(125_000.0).reshape(-1, 5))",
}
BY_HAND = """
import cloudpickle, pickle, statistics, sys, time
exec(sys.argv[1])
save, both = [], []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); d = cloudpickle.dumps({"x": x}, 5); save.append(time.perf_counter() - t)
    t = time.perf_counter(); y = pickle.loads(d); cloudpickle.dumps(y, 5); both.append(time.perf_counter() - t)
print(len(d), statistics.median(save) * 1e3, statistics.median(both) * 1e3)
"""


def timed(api, code, **more):
    began = time.perf_counter()
    body = api.exec("py", code, **more)
    took = (time.perf_counter() - began) * 1e3
    assert body["exit_code"] == 0, body["stderr"]
    return took, body


def measure(api, code, runs):
    took = {"run": [], "save": [], "both": []}
    session = timed(api, code)[1]["session_id"]
    for _ in range(runs):
        took["run"].append(timed(api, code, state=False)[0])
        took["save"].append(timed(api, code)[0])
        ms, body = timed(api, "pass", session_id=session)
        took["both"].append(ms)
    plain = statistics.median([timed(api, "pass", state=False)[0] for _ in range(runs)])
    return {name: statistics.median(values) for name, values in took.items()}, plain, body["state_size"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    options = parser.parse_args()
    print("| object | pickle | stored | saving adds | by hand | restoring and saving add | by hand |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        system = System(folder)
        try:
            with Api(system) as api:
                for name, code in OBJECTS.items():
                    done = subprocess.run(["/usr/bin/python3", "-c", BY_HAND, code, str(options.runs)], capture_output=True, text=True, check=True)
                    size, save, both = map(float, done.stdout.split())
                    took, plain, stored = measure(api, code, options.runs)
                    print(f"| {name} | {size:.0f} | {stored} | {took['save'] - took['run']:.2f} ms | {save:.2f} ms "
                          f"| {took['both'] - plain:.2f} ms | {both:.2f} ms |", flush=True)
        finally:
            system.stop()


main()
