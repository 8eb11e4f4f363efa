# SPDX-License-Identifier: Apache-2.0
"""A whole system for a test: `millrace up` of the build under test, in a folder of its own, and what it leaves behind."""
import contextlib
import itertools
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time

import backend

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build" / "test")).resolve()
BIN = BUILD / "bin"
PLAIN_ENV = {"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
             **{name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}}


def wait_until(what, condition, timeout=20.0, pause=0.01):
    """The truth of `condition()`, as soon as it is true."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if value := condition():
            return value
        time.sleep(pause)
    raise AssertionError(f"waited {timeout} s in vain: {what}")


def free_port():
    """For a server that cannot be given port 0. Below the range from which the kernel takes ports for connections: in that
    range anybody's connection could have it before the server does, or while the server is restarted."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    first, end = (10000, lowest) if lowest > 15000 else (20000, 60000)
    while True:
        port = first + secrets.randbelow(end - first)
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
            return port


def parents():
    """{pid: (parent, command line)} of all processes."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path(f"/proc/{name}/stat").read_text()
            line = pathlib.Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(name)] = (int(stat.rsplit(")", 1)[1].split()[1]), line.strip() or stat)
    return found


def descendants(root):
    table, found, more = parents(), {}, {root}
    while more:
        more = {pid for pid, (parent, _) in table.items() if parent in more and pid not in found}
        found.update((pid, table[pid][1]) for pid in more)
    return found


def proc(pid, name):
    """A file of a process, as bytes; nothing once it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def began(pid):
    """When a process was started, which tells it from others that have its number later; None: it has ended."""
    fields = proc(pid, "stat").rsplit(b")", 1)[-1].split()
    return None if not fields or fields[0] in b"ZX" else int(fields[19])


def tree(root):
    """{(pid, when it began): command line} of all below a process, for living()."""
    return {(pid, began(pid)): line for pid, line in descendants(root).items()}


def living(processes):
    """Those of a tree() that have not ended."""
    return {pid: line for (pid, start), line in processes.items() if start is not None and began(pid) == start}


def files_below(folder):
    """All that are no folders, while others make and remove some. (Path.rglob fails at a folder that goes while it looks.)"""
    return [pathlib.Path(path, name) for path, _, names in os.walk(folder) for name in names]


OBJECTS = "/var/lib/millrace/up-"  # folders on which tests put small disks of their own, beside others that look for what was left


def mounts():
    points = {line.split()[4] for line in open("/proc/self/mountinfo", encoding="utf-8")}
    return {point for point in points if not point.startswith(OBJECTS)}


def fnv(text):
    value = 0xcbf29ce484222325
    for byte in str(text).encode():
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return value


class ClusterRedis:
    """A Redis of one node with cluster-enabled yes: it refuses what crosses slots."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory) / "cluster-redis"
        self.directory.mkdir(parents=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            ["/usr/bin/redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory),
             "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory", "1gb",
             "--maxmemory-policy", "noeviction", "--cluster-enabled", "yes", "--cluster-port", str(free_port())],
            stdin=subprocess.DEVNULL, stdout=open(self.directory / "log", "wb"), stderr=subprocess.STDOUT)
        wait_until("Redis answers", lambda: self.told("PING").startswith("PONG"))
        self.told("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_until("the cluster is whole", lambda: "cluster_state:ok" in self.told("CLUSTER", "INFO"))

    def told(self, *command):
        return subprocess.run(["/usr/bin/redis-cli", "-p", str(self.port), *command], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class System:
    """`millrace up`, ready. `urls` are the APIs; next_url() takes them in turn, as a load balancer does."""

    def __init__(self, directory, apis=1, workers=1, env=None, cluster=False, options=(), binaries=BIN,
                 cwd=None):
        self.directory = pathlib.Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.state = self.directory / "state"
        self.key = "test-" + secrets.token_hex(16)
        self.redis = ClusterRedis(self.directory) if cluster else None
        self.mounts_before = mounts()
        self.env = {**PLAIN_ENV, "HOME": str(self.directory), "TMPDIR": str(self.directory), "API_KEY": self.key,
                    "LOG_FORMAT": "json", **backend.settings, **(env or {})}
        self.env = {name: value for name, value in self.env.items() if value is not None}
        store = ["--redis-url", self.redis.url] if cluster else []
        self.log = open(self.directory / "up.log", "wb")
        # A test run that is killed takes it along. (The kernel means the thread that started it.)
        with_us = ["/usr/bin/setpriv", "--pdeathsig", "TERM"] if threading.current_thread() is threading.main_thread() else []
        self.process = subprocess.Popen(
            [*with_us, binaries / "millrace", "up", "--state", self.state, "--port", "0", "--no-demo", "--apis", str(apis),
             "--workers", str(workers), *store, *options],
            cwd=cwd or self.directory, env=self.env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            start_new_session=True)
        self.seen = {}
        try:
            wait_until("the system is ready", self.is_ready, backend.START_S)
        except BaseException:
            self.kill()
            raise
        self.turn = itertools.cycle(self.urls)

    def told(self):
        try:
            return json.loads((self.state / "up.json").read_text())
        except FileNotFoundError:
            return {"ready": False, "children": []}

    def is_ready(self):
        assert self.process.poll() is None, f"up ended early:\n{(self.directory / 'up.log').read_text()[-3000:]}"
        told = self.told()
        self.seen = tree(self.process.pid) | self.seen
        return told["ready"] and told["pid"] == self.process.pid and all(child["ready"] for child in told["children"])

    def children(self, part):
        return [child for child in self.told()["children"] if child["part"] == part]

    @property
    def urls(self):
        return [f"http://127.0.0.1:{child['port']}" for child in self.children("api")]

    def next_url(self):
        return next(self.turn)

    @property
    def url(self):
        return self.urls[0]

    @property
    def client_env(self):
        """The environment of a command line that uses this system."""
        return {**PLAIN_ENV, "HOME": str(self.directory), "MILLRACE_URL": self.url, "MILLRACE_API_KEY": self.key}

    def log_of(self, part, number=1):
        return (self.state / "log" / f"{part}-{number}.log").read_text(errors="replace")

    def millrace(self, *argv, stdin="", timeout=60, **more):
        return subprocess.run([BIN / "millrace", *map(str, argv)], cwd=self.directory, env={**self.client_env, **more},
                              input=stdin, capture_output=True, text=True, timeout=timeout, check=False)

    def run_folders(self):
        return list(pathlib.Path("/run").glob(f"millrace-up-{fnv(self.state):016x}"))

    def object_folder(self):
        """Root's object store lies beside the state folder."""
        return pathlib.Path(f"/var/lib/millrace/up-{fnv(self.state):016x}")

    def kill(self):
        """Ends the supervisor, and with it all; what only it would have tidied up is removed here."""
        below = tree(self.process.pid)
        self.process.kill()
        self.process.wait()
        wait_until("all below it have ended", lambda: not living(below), 60)
        for folder in self.run_folders():
            shutil.rmtree(folder)
        shutil.rmtree(self.object_folder(), ignore_errors=True)
        if self.redis:
            self.redis.stop()

    def stop(self):
        """Stops it as Ctrl-C does; returns up's exit code."""
        self.seen |= tree(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(120)
        finally:
            self.log.close()
            shutil.rmtree(self.object_folder(), ignore_errors=True)
            if self.redis:
                self.redis.stop()

    def cgroups(self):
        """Names of what a spawner of ours made: they hold the hash of its state folder."""
        names = [f"millrace-{fnv(self.state / f'spawner-{n}'):016x}" for n in range(1, 9)]
        # os.walk passes over what others remove meanwhile.
        return [os.path.join(folder, child) for folder, children, _ in os.walk("/sys/fs/cgroup") for child in children
                if child.startswith(tuple(names))]

    def residue(self):
        """What is left after stop(), when what was dying has had its time: has to be nothing."""
        with contextlib.suppress(AssertionError):
            wait_until("nothing is left", lambda: not self.left())
        return self.left()

    def left(self):
        left = [f"process {pid}: {line}" for pid, line in living(self.seen).items()]
        left += [f"mount {path}" for path in sorted(mounts() - self.mounts_before) if "millrace" in path]
        left += [f"cgroup {path}" for path in self.cgroups()]
        left += [f"run folder {path}" for path in self.run_folders()]
        return left
