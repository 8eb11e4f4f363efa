# SPDX-License-Identifier: Apache-2.0
"""Real histories of a system with one defence taken out (test build only): the checker has to find them.

The same play with the defence in its place is a good history, so it is the defence that the finding is about."""
import asyncio
import os
import signal

import checker
import pytest
from scene import Scene, saw, steps


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


async def lost_answer(scene):
    """A client that got no answer asks again with its key, at the other api."""
    body, expect = steps("beta", 1)
    for api in scene.plant.of("api"):
        await scene.client(api).submit("k1", body, expect)


PLAYS = [("fencing", zombie, {"attempts_fenced"}), ("idempotency", lost_answer, {"nothing_doubled"})]


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
