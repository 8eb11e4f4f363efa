# SPDX-License-Identifier: Apache-2.0
"""How fast the archiver moves finished logs and idle states to a real MinIO and how fast they come back, from 1,000 to 100,000
of them; whether its memory grows with their number; and that it looks for no keys.

    build/venv/bin/python tests/bench/archiver.py [--quick | COUNT ...]   (MILLRACE_BUILD: the build, default build/test)

One finished job and one session with a state are made by real runs and then copied in Redis, so that what is measured is the
archiver and not the pods. Of the states of a round the first 2,000 are waited for, while all others wait behind them: so a
round is bounded, and what their number costs shows all the same. What comes back are sessions of their own, whose states
were uploaded (a copied state is not sealed for its session). A second is one of the clock; commands are counted by Redis.
"""
import json
import pathlib
import secrets
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parent / "archive")]

from archive import S3Scene  # noqa: E402  the folder of tests/archive is on the path only now

READS, STATES = 200, 2000
NEVER = ("scan", "keys", "randomkey", "hscan", "sscan", "zscan")


def fresh():
    return "A" + secrets.token_hex(9) + "Z1"


def copied(scene, source, parts, count, place):
    """`count` copies of the keys `source` + parts; `place(pipe, new)` puts each into its lists."""
    made = [fresh() for _ in range(count)]
    for start in range(0, count, 1000):
        with scene.redis.pipeline(transaction=False) as pipe:
            for new in made[start:start + 1000]:
                for part in parts:
                    pipe.copy(source + part, source[:-21] + new + part)
                place(pipe, new)
            pipe.execute()
    return made


def copy_jobs(scene, job, count):
    key = scene.key(job)
    base, created = key.split("j:")[0], scene.redis.hget(key, "created")

    def place(pipe, new):
        pipe.zadd(f"{base}t:default", {new: int(created)})
        pipe.zadd(f"{base}due", {new: 1})
    return base, copied(scene, key, ("", ":log", ":req"), count, place)


def copy_sessions(scene, base, session, count):
    return copied(scene, f"{base}s:{session}", ("", ":log", ":states", ":blobs"), count,
                  lambda pipe, new: pipe.zadd(f"{base}sidle", {new: 2}))


def upload_states(scene, base, blob, count):
    """Sessions whose states are their own, idle for longer than all others."""
    made = [fresh() for _ in range(count)]
    for session in made:
        request = urllib.request.Request(f"{scene.system.url}/state/{session}", data=blob, method="POST", headers={
            "x-api-key": scene.system.key, "content-type": "application/octet-stream"})
        urllib.request.urlopen(request, timeout=30).read()
        scene.redis.zadd(f"{base}sidle", {session: 1})
    return made


def rss_mib(archiver):
    status = pathlib.Path(f"/proc/{archiver.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def seconds_of(condition):
    begun = time.monotonic()
    while not condition():
        time.sleep(0.02)
    return time.monotonic() - begun


def reads_of(scene, paths):
    begun = time.monotonic()
    for path in paths:
        assert scene.call(path)[0] == 200, path
    return len(paths) / (time.monotonic() - begun)


def commands(scene):
    told = scene.redis.info("commandstats")
    never = [name for name in NEVER if f"cmdstat_{name}" in told]
    assert not never, f"keys were looked for: {never}"
    return sum(row["calls"] for row in told.values())


def round_of(scene, job, session, blob, count):
    base, jobs = copy_jobs(scene, job, count)
    scene.redis.config_resetstat()
    one = scene.archiver()
    logs = seconds_of(lambda: one.metric('millrace_archived_total{what="log"}') >= count)
    log_reads = reads_of(scene, [f"/v1/jobs/{name}/events" for name in jobs[:READS]])
    commands(scene)
    rss_logs = rss_mib(one)
    assert one.end() == 0
    mine = upload_states(scene, base, blob, READS)
    copy_sessions(scene, base, session, count)
    scene.redis.config_resetstat()
    one, wanted = scene.archiver(), min(count + READS, STATES)
    states = seconds_of(lambda: one.metric('millrace_archived_total{what="state"}') >= wanted)
    moved = one.metric('millrace_archived_total{what="state"}')
    each = commands(scene) / moved
    rss = rss_mib(one)
    assert one.end() == 0
    state_reads = reads_of(scene, [f"/state/{name}" for name in mine])
    print(f"| {count:,} | {count / logs:.0f} | {log_reads:.0f} | {moved / states:.0f} | {state_reads:.0f} | {each:.1f} | "
          f"{rss_logs:.1f} | {rss:.1f} |", flush=True)
    scene.redis.delete(f"{base}sidle")


def main():
    counts = (200, 1000) if "--quick" in sys.argv else [int(text) for text in sys.argv[1:]] or (1000, 10000, 100000)
    with tempfile.TemporaryDirectory() as directory:
        scene = S3Scene(directory, proxied=False, QUEUE_MAX_MB="8192", ARCHIVE_SWEEP_INTERVAL_SECONDS="21600")
        try:
            scene.redis.config_set("maxmemory", "8gb")
            scene.announce()
            job = scene.run("for i in range(100): print(i)")
            session = json.loads(scene.call("/exec", {"lang": "py", "code": "x = list(range(100))"})[1])["session_id"]
            blob = scene.call(f"/state/{session}")[1]
            print("| idle | logs archived/s | archived logs read/s | states archived/s | states restored/s | Redis commands a state | "
                  "RSS after logs, MiB | RSS after states, MiB |\n|---|---|---|---|---|---|---|---|")
            for count in counts:
                round_of(scene, job, session, blob, count)
        finally:
            scene.stop()


main()
