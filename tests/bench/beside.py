# SPDX-License-Identifier: Apache-2.0
"""The frame of benchmarks that time the runs of one pod while another pod does something: deadline.py and neighbour.py."""
import argparse
import contextlib
import os
import pathlib
import sys
import threading

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "hazards")]
import page  # noqa: E402
from place import Place  # noqa: E402


def quantile(values, q):
    """Of values in order."""
    return values[min(len(values) - 1, int(len(values) * q))]


@contextlib.contextmanager
def beside(busy):
    """A place to measure in. busy(place, until), where there is one, has a place of its own meanwhile."""
    build = pathlib.Path(os.environ.get("MILLRACE_BUILD", "build/release")).resolve()
    place, other, until = Place(build, True), Place(build, True), threading.Event()
    thread = threading.Thread(target=busy or (lambda *_: None), args=(other, until))
    thread.start()
    try:
        yield place
    finally:
        until.set()
        thread.join()
        place.close()
        other.close()


def benchmark(script, text, title, runs, quick, measure):
    """main() of one: measure(runs) gives the heads and rows of its table, what stands above it in the page, and whether all is well."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/BENCHMARKS.md")
    options, _ = parser.parse_known_args()
    where = page.machine()
    heads, rows, above, good = measure(quick if options.quick else options.runs)
    table = page.table(heads, rows)
    print(table)
    if options.docs:
        page.write_section(title, f"tests/bench/{script} --docs", where, f"{above}\n\n{table}")
    return 0 if good else 1
