# SPDX-License-Identifier: Apache-2.0
"""Two minutes in which a process is killed every two seconds: nothing accepted is lost, nothing is doubled."""
import os

import chaos
import checker
import plant as plants
import pytest
from counts import count


@pytest.mark.timeout(900)
def test_chaos(tmp_path):
    seed = int(os.environ.get("MILLRACE_SEED", int.from_bytes(os.urandom(3), "big")))
    quota = count("chaos_kills_of_each")
    outcome = chaos.run(tmp_path, seed, count("chaos_seconds"), count("chaos_jobs"), quota)
    assert not outcome.findings, f"seed {seed}: {outcome.findings[:5]}"
    assert len(outcome.history.accepted) >= count("chaos_jobs")
    assert {kind: outcome.counted[kind] >= quota for kind in plants.KINDS} == dict.fromkeys(plants.KINDS, True)
    # A worker that died with a job shows in the job's log: the kills were real.
    lost = [job for job, events in outcome.history.finals.items() if any(e["type"] == "lease_lost" for e in events)]
    assert len(lost) >= quota
    # A part of them ran in sessions, with states in Redis and in the object store.
    effects = checker.effects_of(outcome.history)
    sizes = [[event["size"] for run in runs for event in run.saved] for runs in effects.values()]
    assert len(effects) == chaos.SESSIONS and all(len(made) >= 5 for made in sizes), sizes
    assert max(map(min, sizes)) > 65536 > min(map(max, sizes)), sizes
    done = [events for events in outcome.history.finals.values() if events[-1]["type"] == "completed"]
    assert len(done) >= 0.95 * len(outcome.history.finals), "too many jobs were given up"


@pytest.mark.timeout(900)
def test_chaos_on_a_cluster(tmp_path):
    """The same against a one-node Redis Cluster with its eight partitions, where each restart takes about two seconds."""
    seed = int(os.environ.get("MILLRACE_SEED", int.from_bytes(os.urandom(3), "big")))
    outcome = chaos.run(tmp_path, seed, count("chaos_cluster_seconds"), 100, 2, cluster=True)
    assert not outcome.findings, f"seed {seed}: {outcome.findings[:5]}"
