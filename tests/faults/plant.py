# SPDX-License-Identifier: Apache-2.0
"""A whole system of real processes to break: Redis, apis, spawners with their workers, and who starts them again.

The test process is the subreaper of all of them, so that whatever is left of a killed process shows as its child.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import redis

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
import backend  # noqa: E402
import stale  # noqa: E402
from system import BUILD, free_port, mounts, proc, wait_until  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
KINDS = ("api", "worker", "spawner", "redis")


def stat_of(pid):
    """(name, state, parent) of a process, or None."""
    text = proc(pid, "stat").decode(errors="replace")
    if not text:
        return None
    name, rest = text[text.index("(") + 1:].rsplit(")", 1)
    return name, rest.split()[0], int(rest.split()[1])


def is_gone(pid):
    """No thread of it is left. The first one may be a zombie while others still hold its sockets open."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return threads == [str(pid)] and (stat_of(pid) or "ZZ")[1] == "Z"


def descendants(root):
    """{pid: (name, state, parent)} of all that descend from `root`."""
    all_of = {int(name): stat_of(name) for name in os.listdir("/proc") if name.isdigit()}
    found, more = {}, {root}
    while more:
        more = {pid for pid, stat in all_of.items() if stat and stat[2] in more and pid not in found}
        found.update((pid, all_of[pid]) for pid in more)
    return found


class Process:
    """One supervised program: started again when it ends, until `wanted` is false."""

    def __init__(self, plant, kind, name, command, env, url=None):
        self.plant, self.kind, self.name, self.command, self.url = plant, kind, name, command, url
        self.env, self.generation, self.wanted, self.expected = env, 0, False, False
        self.popen = None
        self.exits = []
        self.held = False  # do not start it again yet

    def start(self):
        self.generation += 1
        self.expected = False
        env = dict(self.env)
        if self.kind == "spawner":
            env["WORKER_ID"] = f"{self.name}-{self.generation}"
        log = open(self.log, "ab")
        self.popen = subprocess.Popen(self.command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      cwd=self.plant.dir, start_new_session=True,
                                      preexec_fn=self.plant.enter_cgroups)
        log.close()
        self.wanted = True

    @property
    def log(self):
        return self.plant.dir / f"{self.name}.log"

    @property
    def pid(self):
        return self.popen.pid

    @property
    def worker_id(self):
        return f"{self.name}-{self.generation}"

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def worker_pid(self):
        """The worker is the child of its spawner that is called so, or it has none."""
        if (stat_of(self.pid) or ("",))[0] == "millrace-worker":
            return self.pid
        for pid, (name, state, parent) in descendants(self.pid).items():
            if parent == self.pid and name == "millrace-worker" and state != "Z":
                return pid
        return None


class Plant:
    def __init__(self, directory, apis=2, workers=2, preset=None, env=None, redis=True, redis_args=(), cluster=False, proxy=None):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        build = ROOT / "build" / preset if preset else BUILD
        self.bin = build / "bin"
        self.api_key = "test-" + secrets.token_hex(16)
        self.redis_port = free_port()
        if proxy:
            proxy.server.upstream = self.redis_port
        self.cluster = cluster
        self.children_before = set(descendants(os.getpid()))
        self.mounts_before = self.mounts()
        self.cgroups = self._own_cgroups()
        self.crashes = []
        self.processes = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.dir), "TMPDIR": str(self.dir),
                    "REDIS_URL": proxy.url if proxy else f"redis://127.0.0.1:{self.redis_port}", "API_KEY": self.api_key,
                    "API_HOST": "127.0.0.1", "OBJECT_STORE_PATH": str(self.dir / "objects"), "LOG_FORMAT": "json", "MILLRACE_PROFILE": "development",
                    "POD_POOL_PY_SCIENCE": "0", "POD_POOL_TS": "0", "POD_POOL_PHP": "0", "POD_POOL_R": "0",  # quicker to start
                    "LEASE_SECONDS": "2", "HEARTBEAT_SECONDS": "0.4", "DRAIN_SECONDS": "10",
                    **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")},
                    **backend.settings, **(env or {})}
        if redis:
            (self.dir / "redis").mkdir(exist_ok=True)
            self._add("redis", "redis", ["/usr/bin/redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1",
                                         "--dir", str(self.dir / "redis"), "--appendonly", "yes",
                                         "--appendfsync", "always", "--save", "", "--maxmemory", "2gb",
                                         "--maxmemory-policy", "noeviction",
                                         *(["--cluster-enabled", "yes", "--cluster-port", str(free_port())] if cluster else []),
                                         *redis_args])
        for n in range(1, apis + 1):
            port = free_port()
            self._add("api", f"api{n}", [str(self.bin / "millrace-api")], {"API_PORT": str(port)},
                      f"http://127.0.0.1:{port}")
        for n in range(1, workers + 1):
            port = free_port()
            # Where pods are a cluster's there is no spawner: the worker stands alone.
            spawner = [] if self.env.get("POD_BACKEND") == "kubernetes" else \
                [str(self.bin / "millrace-spawner"), "--state", str(self.dir / f"worker{n}.state"), "--"]
            self._add("spawner", f"worker{n}", [*spawner, str(self.bin / "millrace-worker")],
                      {"WORKER_HTTP_PORT": str(port), "WORKER_SLOTS": "8"}, f"http://127.0.0.1:{port}")
        self.supervisor = threading.Thread(target=self._supervise, daemon=True)

    def _add(self, kind, name, command, env=None, url=None):
        self.processes.append(Process(self, kind, name, command, {**self.env, **(env or {})}, url))

    # ---- who is there ---------------------------------------------------------------------------------------------

    def of(self, kind):
        return [process for process in self.processes if process.kind == kind]

    def __getattr__(self, name):
        for process in self.__dict__.get("processes", ()):
            if process.name == name:
                return process
        raise AttributeError(name)

    @property
    def urls(self):
        return [process.url for process in self.of("api")]

    # ---- life -----------------------------------------------------------------------------------------------------

    def __enter__(self):
        for process in self.processes:
            process.start()
            if process.kind == "redis" and self.cluster:
                self._make_cluster()
        self.supervisor.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _make_cluster(self):
        """A cluster of one node, which has all slots."""
        def told(*command):
            return subprocess.run(["redis-cli", "-p", str(self.redis_port), *command], text=True, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        wait_until("Redis answers", lambda: told("PING").startswith("PONG"))
        told("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_until("the cluster is whole", lambda: "cluster_state:ok" in told("CLUSTER", "INFO"))

    def wait_ready(self, timeout=None):
        timeout = timeout or backend.START_S
        for process in self.of("spawner") + self.of("api"):
            wait_until(f"{process.name} is ready; its log ends with:\n{self.log_tail(process)}",
                       lambda process=process: self.ready(process), timeout, 0.05)

    def ready(self, process):
        try:
            with urllib.request.urlopen(process.url + "/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def log_tail(self, process, count=12):
        try:
            return "\n".join(process.log.read_text(errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""

    def _supervise(self):
        while not self.stopping.wait(0.03):
            with self.lock:
                for process in self.processes:
                    if process.wanted and not process.held and not process.alive():
                        code = process.popen.returncode
                        process.exits.append(code)
                        if not process.expected:
                            self.crashes.append(f"{process.name} ended by itself with {code}: "
                                                f"{self.log_tail(process, 3)}")
                        process.start()

    def hold(self, process):
        """From now on it stays ended, when it ends."""
        process.held = process.expected = True

    def release(self, process):
        process.held = False

    def kill(self, process, sig=signal.SIGKILL):
        with self.lock:
            process.expected = True
            os.kill(process.pid, sig)

    def down(self, process):
        """Killed, gone, and not started again before it is released."""
        self.hold(process)
        self.kill(process)
        process.popen.wait()

    def newest_log(self):
        """The part of Redis' append-only file that is being written."""
        return max((self.dir / "redis" / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)

    def kill_worker(self, process, sig=signal.SIGKILL):
        """Its spawner ends too, and the supervisor starts both again."""
        with self.lock:
            pid = process.worker_pid()
            process.expected = True
            os.kill(pid, sig)
            return pid

    def stop(self):
        self.stopping.set()
        if self.supervisor.is_alive():
            self.supervisor.join()
        # Clients of the store first, so that each ends in order.
        for kinds in (("api", "spawner"), ("redis",)):
            running = [process for process in self.processes if process.kind in kinds and process.popen]
            for process in running:
                process.wanted = False
                if process.alive():
                    process.popen.send_signal(signal.SIGCONT)
                    process.popen.send_signal(signal.SIGTERM)
            for process in running:
                try:
                    code = process.popen.wait(60)
                    if code != 0 and not process.expected:
                        self.crashes.append(f"{process.name} ended with {code} on SIGTERM: {self.log_tail(process, 3)}")
                except subprocess.TimeoutExpired:
                    self.crashes.append(f"{process.name} did not end within 60 s of SIGTERM: "
                                        f"{self.log_tail(process, 3)}")
                    process.popen.kill()
                    process.popen.wait()

    # ---- the store ------------------------------------------------------------------------------------------------

    def redis(self):
        return redis.Redis(port=self.redis_port, socket_timeout=5, socket_connect_timeout=2, decode_responses=True)

    def jobs_held_by(self, worker_id):
        """Ids of the jobs whose running attempt belongs to this worker, by the store; none while it is away."""
        try:
            return self._jobs_held_by(worker_id)
        except redis.RedisError:
            return []

    def _jobs_held_by(self, worker_id):
        store, held = self.redis(), []
        for lane in store.scan_iter(match="millrace:{p*}:c:*:ready", count=1000):
            prefix = lane.split(":c:")[0]
            for pending in store.xpending_range(lane, "w", "-", "+", 200, consumername=worker_id):
                for _, fields in store.xrange(lane, pending["message_id"], pending["message_id"]):
                    status, worker = store.hmget(f"{prefix}:j:{fields['j']}", "status", "worker")
                    if status == "running" and worker == worker_id:
                        held.append(fields["j"])
        return held

    def differences(self):
        """What the store holds and its logs do not say: `millrace replay --verify`."""
        done = subprocess.run([self.bin / "millrace", "replay", "--verify"], env=self.env, cwd=self.dir, timeout=120,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.stdout.splitlines() or ([f"verify: {done.stderr}"] if done.returncode else [])

    def store_residue(self):
        """What the queue still counts or keeps when every job is terminal: has to be nothing."""
        store = self.redis()
        for lane in store.scan_iter(match="millrace:{p*}:c:*:ready", count=1000):
            if store.xlen(lane):
                yield f"lane {lane}: {store.xlen(lane)} entries, {store.xpending(lane, 'w')['pending']} pending"
        for key in store.scan_iter(match="millrace:{p*}:c:*:b[0-9]", count=1000):
            yield f"backlog {key}: {store.zcard(key)} jobs"
        for key in store.scan_iter(match="millrace:{p*}:s:*:order", count=1000):
            yield f"order {key}"
        for key in store.scan_iter(match="millrace:{p*}:count", count=1000):
            for name, value in store.hgetall(key).items():
                if name != "bytes" and int(value):
                    yield f"count {name} = {value}"
        for key in store.scan_iter(match="millrace:{p*}:c:*:fair", count=1000):
            for name, value in store.hgetall(key).items():
                if (name == "run" or name.startswith("r:")) and int(value):
                    yield f"{key} {name} = {value}"

    # ---- residue --------------------------------------------------------------------------------------------------

    def mounts(self):
        """Mount points that could be of this plant: pods have namespaces of their own, so here is none."""
        return {point for point in mounts() if point.startswith(str(self.dir)) or "millrace" in point}

    def _own_cgroups(self):
        """A cgroup of this plant in each hierarchy, so that what it leaves is told from what others do meanwhile."""
        stale.sweep()
        base, made, name = pathlib.Path("/sys/fs/cgroup"), [], f"millrace-plant-{os.getpid()}-{secrets.token_hex(4)}"
        hierarchies = [base] if (base / "cgroup.controllers").exists() else [path.parent for path in
                                                                             base.glob("*/cgroup.procs")]
        for hierarchy in {path.resolve() for path in hierarchies}:
            own = hierarchy / name
            try:
                own.mkdir()
            except OSError:
                continue  # not ours to write: the plant runs in our own cgroup there
            made.append(own)
            if hierarchy.name == "cpuset":
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (own / setting).write_text((hierarchy / setting).read_text())
        return made

    def enter_cgroups(self):
        """In the child, before it executes the program."""
        for cgroup in self.cgroups:
            with open(cgroup / "cgroup.procs", "w", encoding="ascii") as file:
                file.write("0")

    def _left_cgroups(self):
        left = []
        for cgroup in self.cgroups:
            left += [path for path, _, _ in os.walk(cgroup) if path != str(cgroup)]
        return left

    def _left(self):
        left, others = {}, set(self.children_before)  # and what these start meanwhile: parents come before their children
        for pid, stat in descendants(os.getpid()).items():
            if stat[2] in others:
                others.add(pid)
            if pid in others or any(p.popen and p.pid == pid for p in self.processes):
                continue
            if stat[1] == "Z" and stat[2] == os.getpid():
                os.waitpid(pid, os.WNOHANG)  # an orphan that came to us and has ended
            elif stat[1] != "Z":
                left[pid] = stat
        return left

    def residue(self, grace=20.0):
        """What is left of the stopped plant after a grace: processes, cgroups, mounts, files of its temporary folder."""
        until = time.monotonic() + grace
        while True:
            left = [f"process {pid} {stat[0]} ({stat[1]})" for pid, stat in self._left().items()]
            left += [f"cgroup {path}" for path in self._left_cgroups()]
            left += [f"mount {path}" for path in sorted(self.mounts() - self.mounts_before)]
            left += [f"file {path.name}" for path in self.dir.iterdir()
                     if path.suffix not in (".log", ".state") and path.name not in ("redis", "away", "objects")]
            if not left or time.monotonic() > until:
                break
            time.sleep(0.05)
        for cgroup in self.cgroups:
            try:
                cgroup.rmdir()
            except OSError as error:
                left.append(f"cgroup {cgroup}: {error.strerror}")
        return left


def kept_files(process):
    """The memory files of kept programs that a worker has open."""
    found = []
    for fd in pathlib.Path(f"/proc/{process.worker_pid()}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(fd))
    return found.count("/memfd:program (deleted)")


def metric(process, name):
    with urllib.request.urlopen(process.url + "/metrics", timeout=60) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                return float(line.rsplit(" ", 1)[1])
    return None


def log_records(process):
    for line in process.log.read_text(errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
