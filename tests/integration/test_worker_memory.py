# SPDX-License-Identifier: Apache-2.0
"""What idle pods own in memory, and that runs leave nothing behind: small counts of what tests/bench/memory measures."""
import os
import pathlib
import statistics
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
import plant as plants  # noqa: E402
from test_worker_pools import health, is_full, programs, worker  # noqa: E402
from test_worker_runs import run  # noqa: E402

MIB = 1 << 20
SIZES = {"py": 3, "py-science": 3}
RUNS = 150
MORE = 0, 100, 5  # the spawner keeps the cgroups of the most pods there ever were, some ten descriptors each; fewer than RUNS


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    others = {f"POD_POOL_{name}": "0" for name in "JS TS JAVA PHP R BASH GO C CPP RS F90 D".split()}
    with plants.Plant(tmp_path_factory.mktemp("memory"), apis=1, workers=1,
                      env={**others, "POD_POOL_PY": str(SIZES["py"]), "POD_POOL_PY_SCIENCE": str(SIZES["py-science"])}) as made:
        yield made
    assert made.residue() == [] and made.crashes == []


def private(pid):
    for line in open(f"/proc/{pid}/smaps_rollup", encoding="ascii"):
        if line.startswith("Private_Dirty"):
            return int(line.split()[1]) << 10
    raise LookupError(pid)


def by_size(plant):
    """The programs that wait, those of the package set apart: they map a numpy."""
    found = {"py": [], "py-science": []}
    for pid in programs(plant):
        mapped = pathlib.Path(f"/proc/{pid}/maps").read_text(errors="replace")
        if "python3" in mapped:
            found["py-science" if "_multiarray_umath" in mapped else "py"].append(private(pid))
    return found


def test_1_an_idle_pod_owns_little(plant):
    plants.wait_until("the pools are full", lambda: is_full(plant), 60)
    found = by_size(plant)
    assert {kind: len(values) for kind, values in found.items()} == SIZES
    assert statistics.median(found["py"]) <= 1.4 * MIB
    assert statistics.median(found["py-science"]) <= 1.6 * MIB


def counts(plant):
    """Processes, and descriptors of the worker and the spawner."""
    tree = plants.descendants(worker(plant).pid)
    return len(tree), *(len(os.listdir(f"/proc/{pid}/fd")) for pid in (worker(plant).pid, worker(plant).worker_pid()))


def test_2_runs_leave_nothing_behind(plant):
    for n in range(4):  # what is made once is made
        assert run(plant, f"print({n})")["stdout"] == f"{n}\n"
    plants.wait_until("the pools are full", lambda: is_full(plant), 60)
    before = counts(plant)
    for n in range(RUNS):
        assert run(plant, f"import os\nprint({n})" if n % 5 else f"import numpy\nprint({n})")["stdout"] == f"{n}\n"

    def is_as_before():
        return (is_full(plant) and not any(pool["running"] for pool in health(plant).values()) and
                all(now <= then + more for now, then, more in zip(counts(plant), before, MORE)))

    try:
        plants.wait_until("as much as before is there", is_as_before, 60)
    except AssertionError as late:
        raise AssertionError(f"processes, descriptors of spawner and worker: {counts(plant)}, {before} before; {health(plant)}") from late
