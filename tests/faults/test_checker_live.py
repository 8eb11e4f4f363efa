# SPDX-License-Identifier: Apache-2.0
"""Real histories of a system with one defence taken out (test build only): the checker has to find them.

The same play with the defence in its place is a good history, so it is the defence that the finding is about."""
import asyncio
import os
import signal

import checker
import pytest
from plant import metric, wait_until
from scene import Scene, effect, saw, steps


async def zombie(scene):
    """A worker stands still until another attempt runs, then goes on."""
    body, expect = steps("alpha", 40)
    client, events = scene.client(), []
    job = await client.submit("k1", body, expect)
    reader = asyncio.create_task(client.follow(job, "poll", events.append))
    await saw(events, "output", 1)
    holder = await asyncio.to_thread(scene.holder, job)
    pid = holder.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        await saw(events, "output", 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    await reader


async def zombie_with_a_state(scene):
    """A worker stands still until another attempt has ended, then comes to its own end, and with it to a state. Another run looks."""
    client, events = scene.client(), []
    session = (await client.execute("k1", *effect("first")))["session_id"]
    job = await client.submit("k2", *effect("second", session, seconds=1))
    reader = asyncio.create_task(client.follow(job, "poll", events.append))
    await saw(events, "output", 1)
    holder = await asyncio.to_thread(scene.holder, job)
    before = ends(scene)
    pid = holder.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        await reader
    finally:
        os.kill(pid, signal.SIGCONT)
    await asyncio.to_thread(wait_until, "both attempts are over", lambda: ends(scene) >= before + 2, 60)
    await client.versions(session)
    await client.execute("k3", *effect("third", session))


def ends(scene):
    """Attempts that came to an end at their workers, or heard that they are no longer theirs."""
    return sum(metric(worker, "millrace_jobs_" + name) or 0 for worker in scene.plant.of("spawner")
               for name in ("finished_total", "fenced_total"))


async def lost_answer(scene):
    """A client that got no answer asks again with its key, at the other api."""
    body, expect = steps("beta", 1)
    for api in scene.plant.of("api"):
        await scene.client(api).submit("k1", body, expect)


PLAYS = [("fencing", zombie, {"attempts_fenced"}),
         ("fencing,states", zombie_with_a_state, {"states_are_a_chain", "effects_once"}),
         ("idempotency", lost_answer, {"nothing_doubled"})]


@pytest.mark.parametrize("off", (False, True), ids=("in", "out"))
@pytest.mark.parametrize("defence, play, wanted", PLAYS, ids=[row[0] for row in PLAYS])
def test_real_history(tmp_path, defence, play, wanted, off):
    scene = Scene(tmp_path, preset="test", env={"MILLRACE_TEST_QUEUE_OFF": defence} if off else {})
    scene.plant.__enter__()
    try:
        scene.run(play(scene))
    finally:
        found = {name for name, _ in scene.finish()}
    assert found >= wanted if off else found == set(), (found, set(checker.CHECKS))
