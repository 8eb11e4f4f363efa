# SPDX-License-Identifier: Apache-2.0
"""A store that forgets its scripts, is empty where it was not, or is set so that it would lose what it accepted."""
import asyncio
import subprocess
import time
import urllib.error
import urllib.request

import plant as plants
import pytest
from counts import count
from scene import steps


def test_script_flush_each_second(scene):
    async def one(n):
        body, expect = steps(f"job{n}", 1 + n % 8)
        return await scene.client().execute(f"k{n}", body, expect)

    async def play():
        until, n, statuses = time.monotonic() + count("script_flush_seconds"), 0, []
        store = scene.plant.redis()
        while time.monotonic() < until:
            await asyncio.to_thread(store.script_flush)
            results = await asyncio.gather(*(one(n + k) for k in range(6)))
            n += 6
            statuses += [result["status"] for result in results]
        return statuses
    statuses = scene.run(play(), 300)
    assert statuses == ["completed"] * len(statuses)


def ready_text(process):
    try:
        with urllib.request.urlopen(process.url + "/ready", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_an_empty_store_is_refused(make_scene):
    """Redis comes back without its data: whoever saw the old epoch accepts nothing, until the data is back."""
    scene = make_scene()
    redis, = scene.plant.of("redis")
    body, expect = steps("alpha", 2)
    scene.run(scene.client().execute("k1", body, expect))
    scene.plant.down(redis)
    data, away = scene.plant.dir / "redis", scene.plant.dir / "away"
    data.rename(away)
    data.mkdir()
    scene.plant.release(redis)
    plants.wait_until("the empty store answers", lambda: pings(scene.plant))
    for process in scene.plant.of("api"):
        plants.wait_until("the api names the epoch",
                          lambda process=process: "epoch" in ready_text(process)[1], 30.0)
        assert ready_text(process)[0] == 503
        assert post(process, scene.plant.api_key) == 503
    # Nothing of ours was written into the wrong volume.
    assert scene.plant.redis().dbsize() == 0
    scene.plant.down(redis)
    for file in data.rglob("*"):
        if file.is_file():
            file.unlink()
    for folder in sorted(data.rglob("*"), reverse=True):
        folder.rmdir()
    data.rmdir()
    away.rename(data)
    scene.plant.release(redis)
    scene.plant.wait_ready()
    again = scene.run(scene.client().execute("k1", body, expect))
    assert again["stdout"] == expect


def downed(scene):
    """Redis killed, and not started again yet; the part of its append-only file."""
    redis, = scene.plant.of("redis")
    scene.plant.down(redis)
    return redis, scene.plant.newest_log()


def test_a_log_of_redis_with_a_flipped_byte(make_scene):
    """F33: Redis does not start on it, and nobody begins anew: nothing is accepted until the file is whole again."""
    scene = make_scene(apis=1, workers=1)
    body, expect = steps("alpha", 2)
    scene.run(scene.client().execute("k1", body, expect))
    redis, log = downed(scene)
    whole = log.read_bytes()
    at = whole.index(b"\r\n*", len(whole) // 2) + 2  # the beginning of a command
    log.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
    ended = subprocess.run(redis.command, cwd=scene.plant.dir, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0 and "Bad file format reading the append only file" in ended.stdout
    plants.wait_until("the api refuses", lambda: post(scene.plant.api1, scene.plant.api_key) == 503, 30.0)
    assert ready_text(scene.plant.api1)[0] == 503
    log.write_bytes(whole)
    scene.plant.release(redis)
    scene.plant.wait_ready()
    again = scene.run(scene.client().execute("k1", body, expect))
    assert again["stdout"] == expect


def test_a_log_of_redis_cut_in_a_record(make_scene):
    """F32: what a crash leaves of a write that nobody was told of. Redis starts without it, and all before it is there."""
    scene = make_scene(apis=1, workers=1)
    body, expect = steps("alpha", 2)
    scene.run(scene.client().execute("k1", body, expect))
    redis, log = downed(scene)
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$5\r\nnobo")
    scene.plant.release(redis)
    scene.plant.wait_ready()
    again = scene.run(scene.client().execute("k1", body, expect))
    assert again["stdout"] == expect
    assert "truncated" in redis.log.read_text(errors="replace")


def pings(plant):
    try:
        return plant.redis().ping()
    except OSError:
        return False
    except Exception as error:  # redis-py's own, while it starts
        return "redis.exceptions" in type(error).__module__ and False


def post(process, key):
    request = urllib.request.Request(process.url + "/v1/jobs", b'{"lang":"py","code":"print(1)"}',
                                     {"x-api-key": key, "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


UNSAFE = [
    (("--maxmemory-policy", "allkeys-lru"), "noeviction"),
    (("--appendonly", "no"), "appendonly"),
    (("--appendfsync", "no"), "appendfsync"),
    (("--maxmemory", "0"), "maxmemory"),
]


@pytest.mark.parametrize("setting, word", UNSAFE, ids=[setting[1] + setting[0] for setting, _ in UNSAFE])
def test_an_unsafe_store_is_refused(tmp_path, setting, word):
    """Outside the development profile nothing is accepted on it, and the reason says what to set."""
    plant = plants.Plant(tmp_path, apis=1, workers=1, redis_args=setting, env={"MILLRACE_PROFILE": "production"})
    try:
        for process in plant.processes:
            process.start()
        for process in (plant.api1, plant.worker1):
            plants.wait_until(f"{process.name} says what to set",
                              lambda process=process: word in plant.log_tail(process, 100), 30.0)
        if plant.api1.alive():
            status, text = ready_text(plant.api1)
            assert status == 503 and word in text
            assert post(plant.api1, plant.api_key) == 503
        assert plant.redis().dbsize() == 0
    finally:
        plant.stop()
    assert plant.residue() == []
