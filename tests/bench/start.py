# SPDX-License-Identifier: Apache-2.0
"""How long a start takes when nothing is left to install or build: `tools/up`, and its parts.

The goal is 2 s until the system is ready. Each start is ended before the next; the state folder is kept between them, as a user's is.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import page  # noqa: E402

TOOLS = page.ROOT / "tools"
GOAL_SECONDS = 2.0


def seconds(*command):
    began = time.monotonic()
    subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=300)
    return time.monotonic() - began


def one_round(state):
    up = [TOOLS / "up", "--state", state, "--port", "0", "--detach"]
    program = [page.ROOT / "build/release/bin/millrace", "up", "--state", state, "--port", "0", "--detach"]
    took = {"`tools/install`, all there": seconds(TOOLS / "install"), "`tools/build release`, nothing to do": seconds(TOOLS / "build", "release")}
    for what, command in (("`millrace up --detach --no-demo`", [*program, "--no-demo"]), ("`tools/up --detach --no-demo`: the system is ready", [*up, "--no-demo"]),
                          ("`tools/up --detach`: the first program has run too", up)):
        took[what] = seconds(*command)
        seconds(*program[:4], "down")
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/BENCHMARKS.md")
    options = parser.parse_args()
    seconds(TOOLS / "build", "release")
    where = page.machine()
    with tempfile.TemporaryDirectory(prefix="millrace-start-") as folder:
        os.chmod(folder, 0o755)
        rounds = [one_round(pathlib.Path(folder) / "state") for _ in range(1 if options.quick else options.rounds)]
    medians = {what: statistics.median(took[what] for took in rounds) for what in rounds[0]}
    rows = [(what, f"{value:.2f} s", f"{GOAL_SECONDS:.0f} s" if what.endswith("is ready") else "") for what, value in medians.items()]
    table = page.table(["a second start, median", "measured", "goal"], rows)
    print(table)
    if options.docs:
        page.write_section("Start", "tests/bench/start.py --docs", where, table)


if __name__ == "__main__":
    main()
