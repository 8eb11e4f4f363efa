# SPDX-License-Identifier: Apache-2.0
"""How old something is, the clock of its store says: a program whose own clock is hours wrong ends nothing too early."""
import hashlib
import json
import os
import subprocess
import time

import pytest
from archive import BUILD, SWEEPS, Scene, settle
from system import PLAIN_ENV
from test_2_states import run, session_key
from test_4_orphans import HASH, SESSION

HOURS = 3600 * 1000
WRONG = 2 * HOURS


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    """Its workers' and APIs' clocks are ahead too."""
    made = Scene(tmp_path_factory.mktemp("clock"), cluster=cluster, TEST_CLOCK_AHEAD_MS=str(WRONG))
    made.announce()
    yield made
    made.stop()


def plant(scene, name, minutes):
    """An object that nothing names, put so long ago."""
    done = subprocess.run([BUILD / "store" / "store_tool"], env={**PLAIN_ENV, "STORE_PATH": str(scene.objects)}, text=True,
                          input=f"put {name} 10 1 bytes -\n", capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["err"] == "OK"
    path, = (path for path in scene.objects.rglob("*") if path.is_file() and path.name == name.rsplit("/", 1)[1])
    then = time.time() - minutes * 60
    os.utime(path, (then, then))
    return name


def due_in(scene, session, ms):
    key = session_key(scene, session)
    due = int(scene.redis.time()[0]) * 1000 + ms
    scene.redis.hset(key, "due", due)
    scene.redis.zadd(key.split("}:")[0] + "}:sdue", {session: due})
    return key


def test_an_archiver_that_is_ahead_finds_only_what_is_old(scene):
    old, young = (plant(scene, f"default/{SESSION}/{digit + HASH[1:]}-{SESSION}", minutes) for digit, minutes in (("0", 90), ("1", 30)))
    store, = scene.keys("*}:store")
    scene.redis.hset(store, "created", 1)
    scene.redis.delete(*scene.keys("*}:sweep"))  # it is anybody's turn
    one = scene.archiver(**{**SWEEPS, "ARCHIVE_SWEEP_GRACE_SECONDS": "3600"})
    settle("the old one is found", lambda: one.metric("millrace_orphans_total") == 1)
    assert one.end() == 0  # whatever it asked of that page is answered
    waiting = {name for packs in scene.keys("*}:packs") for name in scene.redis.zrange(packs, 0, -1)}
    assert old in waiting and young not in waiting


@pytest.mark.parametrize("wrong", [WRONG, -WRONG])
def test_a_session_ends_when_redis_says_so(scene, wrong):
    over, not_over = (due_in(scene, run(scene, "x = 1")[0], ms) for ms in (-1000, HOURS))
    one = scene.archiver(TEST_CLOCK_AHEAD_MS=str(wrong))
    settle("one is over", lambda: scene.redis.hget(over, "status") == "gone")
    assert one.end() == 0 and scene.redis.hget(not_over, "status") == "live"


def test_a_janitor_that_is_ahead_leaves_logs_to_the_archiver(scene):
    job = scene.run("print(1)")
    scene.due(job)
    janitor = hashlib.sha1((BUILD / "lib" / "queue" / "janitor.lua").read_bytes()).hexdigest()
    with scene.redis.monitor() as monitor:
        looks = (line for line in monitor.listen() if janitor in line["command"] and "}:count" in line["command"])
        first = next(looks)["command"]
        next(line for line in looks if line["command"] == first)
        next(line for line in looks if line["command"] == first)
    assert scene.redis.hget(scene.key(job), "status") == "completed"
    for count in scene.keys("*}:count"):
        scene.redis.hdel(count, "archiver")
    settle("without an archiver it goes", lambda: not scene.key(job))
