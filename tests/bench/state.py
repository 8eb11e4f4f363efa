# SPDX-License-Identifier: Apache-2.0
"""What restoring and saving a session's state adds to a run, beside pickling the same object by hand in Python.

    MILLRACE_BUILD=build/release build/venv/bin/python tests/bench/state.py [--runs N]

For a dict and a dataframe of about 1 KB, 100 KB, 1 MB and 10 MB, medians of the time to the answer. `capture`: a run that makes the
object and saves it, less a run that makes it and leaves nothing behind. `restore`: that run in a session that has such a state already, which it restores
first, less the run that only saves. By hand: cloudpickle.dumps and pickle.loads in one process, without a pod, a service or a copy. Rounds of all
kinds alternate, so that a slow moment of the machine meets all of them.
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

DICT = "x = {{f'k{{i}}': i for i in range({})}}"
FRAME = "import pandas as pd, numpy as np; x = pd.DataFrame(np.arange({}.0).reshape(-1, 1).repeat(5, 1))"
# (name, code, how many times fewer runs than of the small ones)
OBJECTS = [("dict 1 KB", DICT.format(100), 0.2), ("dict 100 KB", DICT.format(9_500), 1), ("dict 1 MB", DICT.format(88_000), 4),
           ("dict 10 MB", DICT.format(750_000), 16), ("dataframe 1 KB", FRAME.format(14), 1), ("dataframe 100 KB", FRAME.format(2_500), 1),
           ("dataframe 1 MB", FRAME.format(25_000), 4), ("dataframe 10 MB", FRAME.format(250_000), 8)]
BY_HAND = """
import cloudpickle, pickle, statistics, sys, time
exec(sys.argv[1])
save, load = [], []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); d = cloudpickle.dumps({"x": x}, 5); save.append(time.perf_counter() - t)
    t = time.perf_counter(); y = pickle.loads(d); load.append(time.perf_counter() - t); del y
print(len(d), statistics.median(save) * 1e3, statistics.median(load) * 1e3)
"""


def timed(api, code, **more):
    time.sleep(0.02)  # the run before is taken down by then, and the next pod is made
    began = time.perf_counter()
    body = api.exec("py", code, **more)
    took = (time.perf_counter() - began) * 1e3
    assert body["exit_code"] == 0, body["stderr"]
    return took, body


def measure(api, code, runs):
    took = {"plain": [], "save": [], "restore": []}
    for _ in range(runs):
        took["plain"].append(timed(api, f"exec({code!r}, {{}})")[0])
        ms, saved = timed(api, code)
        took["save"].append(ms)
        assert saved["has_state"] and not saved.get("state_warnings"), saved
        ms, body = timed(api, code, session_id=saved["session_id"])
        assert body["state_version"] == 2, body
        took["restore"].append(ms)
    p50 = {name: statistics.median(values) for name, values in took.items()}
    return p50["save"] - p50["plain"], p50["restore"] - p50["save"], saved["state_size"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    print("| object | pickle, bytes | stored, bytes | capture adds | dumps by hand | restore adds | loads by hand |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        system = System(folder)
        try:
            with Api(system) as api:
                for name, code, fewer in OBJECTS:
                    runs = max(3, int(options.runs / fewer))
                    done = subprocess.run(["/usr/bin/python3", "-c", BY_HAND, code, str(runs)], capture_output=True, text=True, check=True)
                    size, save, load = map(float, done.stdout.split())
                    capture, restore, stored = measure(api, code, runs)
                    print(f"| {name} | {size:.0f} | {stored} | {capture:.2f} ms | {save:.2f} ms | {restore:.2f} ms | {load:.2f} ms |", flush=True)
        finally:
            system.stop()


main()
