# SPDX-License-Identifier: Apache-2.0
"""`millrace replay --verify`: what the store holds is what the logs say, and a lie is found."""
import json
import subprocess
import time

import pytest
import redis
import yaml
from system import BIN


def verify(system, *argv):
    return subprocess.run([BIN / "millrace", "replay", "--verify", *argv, "--config", system.state / "millrace.yaml"],
                          env={**system.env, **({"REDIS_URL": system.redis.url} if system.redis else {})},
                          cwd=system.directory, timeout=120, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)


@pytest.fixture(scope="module")
def store(system):
    told = yaml.safe_load((system.state / "millrace.yaml").read_text())
    with redis.Redis.from_url(told.get("REDIS_URL") or system.redis.url, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="module")
def jobs(system, tmp_path_factory):
    """One of each end."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "good.py").write_text("for i in range(3000): print(i)")
    (folder / "bad.py").write_text("1/0")
    (folder / "long.py").write_text("import time; time.sleep(600)")
    done = {name: system.millrace("submit", *options, folder / f"{file}.py").stdout.strip()
            for name, file, options in (("good", "good", ()), ("bad", "bad", ("--idempotency-key", "verify")),
                                        ("late", "long", ("--timeout-ms", "300")), ("cancelled", "long", ()))}
    system.millrace("cancel", done["cancelled"])
    for job in done.values():
        system.millrace("tail", job)
    return done


def test_there_is_no_difference_after_all_ends(system, jobs):
    done = verify(system)
    assert (done.stdout, done.returncode) == ("", 0) and "0 differences" in done.stderr
    done = verify(system, jobs["good"])
    assert (done.stdout, done.returncode) == ("", 0) and "1 jobs" in done.stderr


def test_nor_while_jobs_run_and_wait(system, tmp_path):
    (tmp_path / "long.py").write_text("import time\nwhile True: print('x', flush=True); time.sleep(0.05)")
    waiting = [system.millrace("submit", tmp_path / "long.py").stdout.strip() for _ in range(16)]
    done = verify(system)
    assert (done.stdout, done.returncode) == ("", 0), done
    system.millrace("cancel", *waiting)
    for job in waiting:  # what follows looks at a store that nobody changes
        system.millrace("tail", job)


@pytest.fixture(scope="module")
def quiet(system, store):
    """Nobody changes the store: the jobs that other tests left behind are cancelled and gone."""
    for status in ("queued", "running"):
        for job in json.loads(system.millrace("jobs", "--json", "--status", status, "--limit", "100").stdout)["jobs"]:
            system.millrace("cancel", job["job_id"])
    until = time.monotonic() + 60
    while any(int(store.hget(count, "jobs") or 0) for count in store.scan_iter(match="*}:count")):
        assert time.monotonic() < until, "jobs that do not end"
        time.sleep(0.05)


def key(store, pattern):
    found = list(store.scan_iter(match=pattern, count=1000))
    assert len(found) == 1, found
    return found[0]


PLANTED = {
    "status": lambda s, j: s.hset(key(s, f"*j:{j['good']}"), "status", "failed"),
    "attempt": lambda s, j: s.hset(key(s, f"*j:{j['good']}"), "attempt", 2),
    "finished": lambda s, j: s.hdel(key(s, f"*j:{j['bad']}"), "finished"),
    "bytes": lambda s, j: s.hincrby(key(s, f"*j:{j['late']}"), "bytes", 1),
    "seq": lambda s, j: s.xdel(key(s, f"*j:{j['good']}:log"), s.xrange(key(s, f"*j:{j['good']}:log"))[3][0]),
    "due": lambda s, j: [s.zrem(due, j["cancelled"]) for due in s.scan_iter(match="*}:due")],
    "waiting: it is in it": lambda s, j: s.zadd(key(s, f"*j:{j['good']}").split("j:")[0] + "waiting", {j["good"]: 4e12}),
    "list of its tenant": lambda s, j: [s.zrem(t, j["cancelled"]) for t in s.scan_iter(match="*}:t:default")],
    "does not exist": lambda s, j: s.zadd(next(s.scan_iter(match="*}:due")), {"A" * 21: 4e12}),
    "record names": lambda s, j: s.hset(next(k for k in s.scan_iter(match="*}:i:*") if s.hget(k, "job") == j["bad"]),
                                        "job", j["good"]),
    "jobs is": lambda s, j: s.hincrby(next(s.scan_iter(match="*}:count")), "jobs", 1),
    "run is": lambda s, j: s.hincrby(next(s.scan_iter(match="*}:c:local:fair")), "run", 1),
    "log: event": lambda s, j: s.xadd(key(s, f"*j:{j['bad']}:log"),
                                      {"v": 1, "t": "output", "a": 1, "s": 99, "m": 4 * 10**12, "b": "x"}),
}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_difference_is_found(system, store, jobs, what):
    before = {k: store.dump(k) for k in store.scan_iter(match="*", count=1000) if ":store" not in k}
    PLANTED[what](store, jobs)
    changed = [k for k, dump in before.items() if store.dump(k) != dump]
    done = verify(system)
    for name in changed:
        store.restore(name, 0, before[name], replace=True)
    store.delete(*[k for k in store.scan_iter(match="*", count=1000) if ":store" not in k and k not in before] or ["none"])
    assert done.returncode == 1 and what in done.stdout, done
    assert verify(system).returncode == 0


def test_what_cannot_be_done_is_said(system):
    assert verify(system, "nope").returncode == 2
    done = verify(system, "A" * 21)
    assert done.returncode == 125 and "no such job" in done.stderr
    done = verify(system, "--set", "REDIS_URL=redis://127.0.0.1:1")
    assert done.returncode == 125 and "Redis" in done.stderr
    done = verify(system, "--set", "REDIS_KEY_PREFIX=other:")
    assert done.returncode == 125 and "not a store" in done.stderr
