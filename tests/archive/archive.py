# SPDX-License-Identifier: Apache-2.0
"""A system whose archivers a test starts itself, and what is in its two stores."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import redis
import yaml
from minio import Minio
from proxy import Proxy
from system import BIN, BUILD, PLAIN_ENV, System, descendants, files_below, wait_until

DAY = 24 * 3600 * 1000
# What the archiver may do in Redis: everything but looking for keys.
ACL = ["on", ">archive", "~*", "&*", "+@all", "-scan", "-keys", "-randomkey", "-sscan", "-hscan", "-zscan", "-flushall",
       "-flushdb"]


# At once: an archiver may move it meanwhile, and its time in the archive is not over.
DUE = """
if redis.call('HGET', KEYS[1], 'arch') == false then redis.call('HSET', KEYS[1], 'ttl', 1) end
local finished, ttl = unpack(redis.call('HMGET', KEYS[1], 'finished', 'ttl'))
redis.call('ZADD', KEYS[2], string.format('%.0f', finished + ttl), ARGV[1])
"""


class Archiver:
    """One process, with the Redis user that cannot search."""

    def __init__(self, scene, name, env):
        self.port_file = scene.directory / f"{name}.port"
        self.port_file.unlink(missing_ok=True)
        self.log = scene.directory / f"{name}.log"
        self.process = subprocess.Popen([BIN / "millrace-archiver", "--port-file", self.port_file],
                                        env={**scene.system.env, "MILLRACE_CONFIG": str(scene.system.state / "millrace.yaml"),
                                             "STATE_ARCHIVE_CHECK_INTERVAL_SECONDS": "0.2", "REDIS_URL": scene.archiver_url,
                                             **env},
                                        stdin=subprocess.DEVNULL, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT,
                                        cwd=scene.directory)

    def get(self, path):
        url = f"http://127.0.0.1:{int(self.port_file.read_text())}{path}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self):
        return self.port_file.exists() and self.get("/ready")[0] == 200

    def metric(self, name):
        """The sum of its series whose text begins so."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.get("/metrics")[1].splitlines() if line.startswith(name))

    def end(self):
        """As SIGTERM ends it; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)


class Still:
    """A folder for TEST_HOLD_AT: the next process that comes to a step of lib/base/point.h stands still there."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-still-"))
        self.folder.chmod(0o777)  # a worker is nobody in particular

    @contextlib.contextmanager
    def at(self, step):
        """Gives what waits until a process stands there; it goes on at the end."""
        file, held = self.folder / step, self.folder / f"{step}.held"
        file.touch()
        try:
            yield lambda: wait_until(f"a process stands still at {step}", held.exists, 60)
        finally:
            file.unlink(missing_ok=True)
            held.unlink(missing_ok=True)

    def remove(self):
        self.folder.rmdir()


class Scene:
    def __init__(self, directory, cluster=False, apis=1, **env):
        self.directory = pathlib.Path(directory)
        self.system = System(directory, apis=apis, workers=1, cluster=cluster, options=["--archivers", "0"],
                             env={"JOB_RESULT_TTL_SECONDS": "3600", "SYNC_RESULT_TTL_SECONDS": "3600", **env})
        told = yaml.safe_load((self.system.state / "millrace.yaml").read_text())
        url = told.get("REDIS_URL") or self.system.redis.url
        self.url = url
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.redis.execute_command("ACL", "SETUSER", "archiver", *ACL)
        self.archiver_url = "redis://archiver:archive@" + url.rsplit("@", 1)[-1].removeprefix("redis://")
        self.objects = pathlib.Path(told.get("OBJECT_STORE_PATH", self.directory / "no folder"))
        self.started = []

    def archiver(self, ready=True, **env):
        one = Archiver(self, f"archiver-{len(self.started)}", env)
        self.started.append(one)
        if ready:
            wait_until("the archiver is ready", one.is_ready, 60)
        return one

    def announce(self):
        """There is an archiver: from now on the worker's janitor leaves logs alone."""
        one = self.archiver()
        wait_until("it has looked", lambda: any(self.redis.hexists(key, "archiver") for key in self.keys("*}:count")))
        assert one.end() == 0

    def stop(self):
        for one in self.started:
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()
        self.redis.close()
        code, left = self.system.stop(), self.system.residue()
        assert (code, left) == (0, []), (self.directory / "up.log").read_text()[-2000:]

    def kill(self, part):
        """kill -9 of the program; up starts it again."""
        was = self.system.children(part)[0]
        os.kill(worker_of(was["pid"]) if part == "worker" else was["pid"], signal.SIGKILL)
        wait_until(f"another {part} is ready", lambda: self.system.children(part)[0]["restarts"] > was["restarts"]
                   and self.system.is_ready(), 60)

    # ---- jobs ----

    def call(self, path, body=None, accept="application/json"):
        request = urllib.request.Request(self.system.url + path, data=json.dumps(body).encode() if body else None,
                                         headers={"x-api-key": self.system.key, "content-type": "application/json",
                                                  "accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def run(self, code, **more):
        """Submits and waits for the end; the job."""
        status, body = self.call("/v1/jobs", {"lang": "py", "code": code, **more})
        assert status == 202, body
        job = json.loads(body)["job_id"]
        wait_until("the job ends", lambda: json.loads(self.call(f"/v1/jobs/{job}")[1])["finished_at"], 60)
        return job

    def shown(self, job):
        """Everything that a client can read of a job."""
        events, after = [], ""
        while True:
            status, body = self.call(f"/v1/jobs/{job}/events{after}")
            assert status == 200, body
            page = json.loads(body)
            events += page["events"]
            if page["done"] or not page["events"]:
                break
            after = f"?after={page['next']}"
        return {"events": events, "result": self.call(f"/v1/jobs/{job}"),
                "sse": self.call(f"/v1/jobs/{job}/events", accept="text/event-stream")}

    # ---- the stores ----

    def key(self, job, part=""):
        return next((k for k in self.redis.scan_iter(match=f"*j:{job}{part}", count=1000) if k.endswith(job + part)), None)

    def keys(self, pattern):
        return sorted(self.redis.scan_iter(match=pattern, count=1000))

    def place(self, job):
        return self.redis.hget(self.key(job), "arch")

    def due(self, *jobs):
        """Their time in Redis is over; with it every lease on them."""
        for job in jobs:
            if key := self.key(job):
                self.redis.eval(DUE, 2, key, key.split("}:")[0] + "}:due", job)

    def over(self, *jobs):
        """Their time in the archive is over, and that of all packs."""
        for job in jobs:
            self.redis.hset(self.key(job), "ttl", 1)
            self.redis.zadd(self.key(job).split("}:")[0] + "}:due", {job: 1})
        for packs in self.keys("*}:packs"):
            for pack in self.redis.zrange(packs, 0, -1):
                self.redis.zadd(packs, {pack: 1})

    def packs(self):
        return sorted(path.name for path in files_below(self.objects) if "archive.logs" in str(path))

    def residue(self):
        """What nothing accounts for: keys of jobs without a job, packs that Redis does not know, known ones that are away."""
        known = {pack for packs in self.keys("*}:packs") for pack in self.redis.zrange(packs, 0, -1)}
        left = [f"object {pack}" for pack in self.packs() if pack not in known]
        left += [f"key {key}" for key in self.keys("*}:j:*:*") if not self.redis.exists(key.rsplit(":", 1)[0])]
        for key in self.keys("*}:j:*"):
            place = self.redis.hget(key, "arch") if key.count(":") == 3 else None
            if place and place.split()[0] not in self.packs():
                left.append(f"{key}: its pack is away")
            if place and self.redis.exists(key + ":log"):
                left.append(f"{key}: it has a log and an archive")
        return left

    def differences(self):
        done = subprocess.run([BIN / "millrace", "replay", "--verify", "--config", self.system.state / "millrace.yaml"],
                              env={**self.system.env, "REDIS_URL": self.url}, cwd=self.directory, timeout=120, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        return done.stdout.splitlines() or ([done.stderr] if done.returncode else [])


SWEEPS = {"MILLRACE_PROFILE": "development", "ARCHIVE_SWEEP_INTERVAL_SECONDS": "0.5", "ARCHIVE_SWEEP_GRACE_SECONDS": "1"}


class S3Scene(Scene):
    """The same on a real MinIO, behind a proxy that lies when it is told to."""

    BUCKET = "archive-test"

    def __init__(self, directory, cluster=False, proxied=True, **env):
        self.minio = Minio(pathlib.Path(directory) / "minio")
        self.proxy = Proxy(self.minio.endpoint)
        super().__init__(pathlib.Path(directory) / "system", cluster, **{**self.minio.settings, "MINIO_ENDPOINT": (self.proxy if proxied else self.minio).endpoint,
                                                                "MINIO_BUCKET": self.BUCKET, "MINIO_TIMEOUT": "3", **SWEEPS, **env})

    def tool(self, *words):
        """The store by hand (tests/store/store_tool.c)."""
        env = {**PLAIN_ENV, "STORE_KIND": "s3", "STORE_ENDPOINT": self.minio.endpoint, "STORE_BUCKET": self.BUCKET,
               "STORE_ACCESS_KEY": self.minio.access_key, "STORE_SECRET_KEY": self.minio.secret_key}
        done = subprocess.run([BUILD / "store" / "store_tool"], env=env, input=" ".join(map(str, words)) + "\n", text=True,
                              capture_output=True, timeout=60, check=True)
        return json.loads(done.stdout)

    def stop(self):
        self.proxy.clear()
        super().stop()
        self.proxy.stop()
        self.minio.stop()

    def names(self):
        """All objects' keys, as MinIO has them on its disk."""
        bucket = self.minio.data / self.BUCKET
        return {str(path.parent.relative_to(bucket)) for path in files_below(bucket) if path.name == "xl.meta"}

    def packs(self):
        return sorted(name.rsplit("/", 1)[1] for name in self.names() if name.startswith("archive.logs/"))

    def named(self):
        """All that anything in Redis names."""
        found = {record.split()[2] for key in self.keys("*}:s:*:states") for record in self.redis.hvals(key)} - {"-"}
        for key in self.keys("*}:s:*:files"):
            session = key.split(":s:")[1].split(":")[0]
            found |= {f"default/{session}/{json.loads(record)['hash']}-{file}" for file, record in self.redis.hgetall(key).items()}
        for key in self.keys("*}:drop"):
            found |= set(self.redis.lrange(key, 0, -1))
        for key in self.keys("*}:packs"):  # what leaves the others comes here
            partition = key.split("{")[1].split("}")[0]
            found |= {name if "/" in name else f"archive.logs/{partition}/{name}" for name in self.redis.zrange(key, 0, -1)}
        return found

    def unnamed(self):
        return {name for name in self.names() - self.named() if not name.startswith(("sweep.owner/", "millrace-probe/"))}

    def held(self, pattern):
        """The next such request is done, and its answer kept back until `go`."""
        return self.proxy.rule(pattern, "hold", 1, reached=threading.Event(), go=threading.Event()).more


def worker_of(spawner):
    """The worker is the spawner's child of that name."""
    return next(pid for pid, line in descendants(spawner).items() if line.split()[0].endswith("millrace-worker"))


def settle(what, condition, timeout=90):
    return wait_until(what, condition, timeout, 0.05)


__all__ = ["Archiver", "BIN", "DAY", "S3Scene", "Scene", "Still", "os", "settle", "time", "wait_until"]
