# SPDX-License-Identifier: Apache-2.0
"""F32: Redis' append-only file cut anywhere in its last 4 KiB. It starts, what was answered before the cut is there, and no transition is half there."""
import contextlib
import shutil
import subprocess

import redis
from counts import count
from plant import wait_until
from scene import steps
from system import free_port

JOBS = 3
LAST = 4096


@contextlib.contextmanager
def started(command, port, folder):
    """The plant's Redis on another port and other files."""
    command = [*command]
    for option, value in (("--port", port), ("--dir", folder)):
        command[command.index(option) + 1] = str(value)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    store = redis.Redis(port=port, decode_responses=True)

    def loaded():
        try:
            return store.ping()
        except (redis.ConnectionError, redis.BusyLoadingError):
            assert process.poll() is None, "Redis does not start on it"
            return False
    try:
        wait_until("Redis has read the file", loaded)
        yield store
    finally:
        process.kill()
        process.wait()
        store.close()


def test_cut_anywhere(make_scene, tmp_path):
    scene = make_scene(apis=1, workers=1)
    store, = scene.plant.of("redis")
    data = scene.plant.dir / "redis"
    done = []  # (how long the file was when its end was answered, job)
    for n in range(JOBS):
        body, expect = steps(f"job{n}", 1)
        answer = scene.run(scene.client().execute(f"k{n}", body, expect))
        done.append((scene.plant.newest_log().stat().st_size, answer["job_id"]))
    scene.plant.down(store)
    log = scene.plant.newest_log()
    whole, port = log.read_bytes(), free_port()
    found = set()
    for cut in range(max(0, len(whole) - LAST), len(whole), count("aof_cut_step")):
        folder = tmp_path / "cut"
        shutil.copytree(data, folder)
        (folder / "appendonlydir" / log.name).write_bytes(whole[:cut])
        with started(store.command, port, folder) as there:
            for at, job in done:
                status = there.hget(f"millrace:{{p00}}:j:{job}", "status")
                assert status == "completed" or at > cut, (cut, at, status)
                found.add(status)
            verified = subprocess.run([scene.plant.bin / "millrace", "replay", "--verify"], cwd=scene.plant.dir, timeout=60,
                                      env={**scene.plant.env, "REDIS_URL": f"redis://127.0.0.1:{port}"}, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, check=False)
            assert (verified.returncode, verified.stdout) == (0, ""), (cut, verified)
        shutil.rmtree(folder)
    assert {"completed", "running"} <= found, found  # cuts before an end, and behind one
    scene.plant.release(store)
    scene.plant.wait_ready()
