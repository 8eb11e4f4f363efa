# SPDX-License-Identifier: Apache-2.0
"""How fast the archiver moves finished logs and idle states, and whether its memory grows with their number.

    build/venv/bin/python tests/bench/archiver.py [--quick]        (MILLRACE_BUILD: the build, default build/test)

One finished job and one session with a state are made by real runs and then copied in Redis, so that what is measured is the
archiver and not the pods. Says, for each number: logs and states moved a second, archived logs read a second over the API by one
client, and the archiver's memory (VmRSS) at the end.
"""
import json
import pathlib
import secrets
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parent / "archive")]

from archive import Scene  # noqa: E402  the folder of tests/archive is on the path only now

READS = 200


def fresh():
    return "A" + secrets.token_hex(9) + "Z1"


def copy_jobs(scene, job, count):
    base = scene.key(job).split("j:")[0]
    created = scene.redis.hget(scene.key(job), "created")
    made = [fresh() for _ in range(count)]
    for start in range(0, count, 1000):
        with scene.redis.pipeline(transaction=False) as pipe:
            for new in made[start:start + 1000]:
                for part in ("", ":log", ":req"):
                    pipe.copy(f"{base}j:{job}{part}", f"{base}j:{new}{part}")
                pipe.zadd(f"{base}t:default", {new: int(created)})
                pipe.zadd(f"{base}due", {new: 1})
            pipe.execute()
    return base, made


def copy_sessions(scene, session, count):
    base = next(iter(scene.redis.scan_iter(match=f"*s:{session}"))).split("s:")[0]
    made = [fresh() for _ in range(count)]
    for start in range(0, count, 1000):
        with scene.redis.pipeline(transaction=False) as pipe:
            for new in made[start:start + 1000]:
                for part in ("", ":log", ":states", ":blobs"):
                    pipe.copy(f"{base}s:{session}{part}", f"{base}s:{new}{part}")
                pipe.zadd(f"{base}sidle", {new: 1})
            pipe.execute()
    return base, made


def rss_mib(archiver):
    status = pathlib.Path(f"/proc/{archiver.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def seconds_until(condition):
    begun = time.monotonic()
    while not condition():
        time.sleep(0.02)
    return time.monotonic() - begun


def round_of(scene, job, session, count):
    base, jobs = copy_jobs(scene, job, count)
    one = scene.archiver()
    logs = seconds_until(lambda: scene.redis.zcount(f"{base}due", "-inf", 1) == 0
                         and scene.redis.hexists(f"{base}j:{jobs[-1]}", "arch")
                         and one.metric('millrace_archived_total{what="log"}') >= count)
    begun = time.monotonic()
    for name in jobs[:READS]:
        assert scene.call(f"/v1/jobs/{name}/events")[0] == 200
    reads = time.monotonic() - begun
    base, _ = copy_sessions(scene, session, count)
    states = seconds_until(lambda: scene.redis.zcard(f"{base}sidle") <= 2)
    print(f"{count:>8} | {count / logs:>10.0f} | {min(READS, count) / reads:>10.0f} | {count / states:>10.0f} | "
          f"{rss_mib(one):>8.1f}", flush=True)
    assert one.end() == 0


def main():
    counts = (200, 2000) if "--quick" in sys.argv else (1000, 10000, 100000)
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(directory, QUEUE_MAX_MB="8192")
        try:
            scene.archiver().end()
            job = scene.run("for i in range(100): print(i)")
            session = json.loads(scene.call("/exec", {"lang": "py", "code": "x = list(range(100))"})[1])["session_id"]
            print("   count |   logs / s |  reads / s | states / s |  RSS MiB")
            for count in counts:
                round_of(scene, job, session, count)
        finally:
            scene.stop()


main()
