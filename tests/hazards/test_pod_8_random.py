# SPDX-License-Identifier: Apache-2.0
"""Programs of chance (hostile.py) in pods: nothing that must fail comes through, every one ends, nothing is left of any, and a normal
job runs after each. A seed (MILLRACE_SEED) replays the run."""
import os
import random

import hostile
import pytest

from counts import count

LIMITS = dict(wall_ms=4000, memory=96 << 20, pids=40, output=1 << 20, work_bytes=8 << 20)


def run(place, seed, number, off=()):
    return place.warm(hostile.program(seed, number), off=off, **LIMITS)


def reached(facts):
    return [line for line in facts["stdout"].decode(errors="replace").splitlines() if line.startswith("reached ")]


@pytest.mark.timeout(36000)
def test_hostile_calls(place):
    seed = int(os.environ.get("MILLRACE_SEED", random.randrange(1 << 30)))
    print(f"\nseed {seed}")
    ends = {}
    for number in range(count("hostile_programs")):
        facts = run(place, seed, number)
        assert facts["error"] == "" and facts["done"] and not reached(facts), (seed, number, facts)
        ends[facts["exit"]["end"]] = ends.get(facts["exit"]["end"], 0) + 1
        place.check()
    print(f"hostile programs: {sum(ends.values())}, by their end {ends}")


def test_hostile_calls_do_harm_without_the_filter(place):
    """The control: the same programs with the list of system calls off."""
    seen = set()
    for number in range(40):
        seen |= set(reached(run(place, 7, number, off=("seccomp",))))
        if len(seen) >= 4:
            break
    assert len(seen) >= 4, seen
