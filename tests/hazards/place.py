# SPDX-License-Identifier: Apache-2.0
"""Where attacks run: a spawner that stays, privileged or as nobody, with podrun as its worker taking one program after the
other. Each set of defences that is off has a spawner of its own. After every program the search for residue."""
import collections
import itertools
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

import pods as module
import stale
from system import OBJECTS

NOBODY = 65534
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
SESSIONS_MAX = 6
# Without it a template's child can do nothing: it has no id in its pod but the one that it is given with it.
FORKLESS = {"no_capabilities"}
IDLE_ENOUGH = 32  # worker/spawner/cgroup.c
# Of what else may start meanwhile: container engines (tests/containerengines.py), `tools/soak fresh`, small disks of other tests.
FOREIGN_MOUNTS = ("/engine-", "/fresh-debian.", "/full-disk-", OBJECTS)
GRACE_S = 20  # for what ends after the worker was told that the pod is gone


def descendants(pid):
    found = [pid]
    for one in found:
        try:
            found += [int(c) for t in os.listdir(f"/proc/{one}/task")
                      for c in pathlib.Path(f"/proc/{one}/task/{t}/children").read_text().split()]
        except OSError:
            pass
    return found


def readable(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def mounts_of(process):
    lines = readable(f"/proc/{process}/mountinfo").splitlines(True)
    return "".join(line for line in lines if not any(name in line for name in FOREIGN_MOUNTS))


def of_the_host():
    """What no pod may change on this host, whoever else works on it meanwhile."""
    return {"mounts": mounts_of("self"), "ipc": [readable(f"/proc/sysvipc/{k}").count("\n") for k in ("shm", "msg", "sem")],
            "core pattern": readable("/proc/sys/kernel/core_pattern"), "user namespaces": readable("/proc/sys/user/max_user_namespaces"),
            "host name": os.uname().nodename, "queues": sorted(os.listdir("/dev/mqueue")) if os.path.isdir("/dev/mqueue") else []}


class Session:
    """One spawner and what it leaves."""

    def __init__(self, place, off):
        self.place, self.off, self.used, self.buffer = place, off, False, b""
        self.state = place.folder / f"spawner-{next(place.numbers)}"
        self.state.mkdir()
        self.log = open(place.folder / f"{self.state.name}.log", "wb+")
        if not place.privileged:
            os.chown(self.state, NOBODY, NOBODY)
        env = dict(os.environ, LOG_FORMAT="json", MILLRACE_TEST_OFF=",".join(off), MILLRACE_TEST_KINDS="py",
                   **place.environment)
        self.process = subprocess.Popen(place.command(self.state), env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log)
        self.host_before = of_the_host()
        # What the first pods of a spawner leave for the next: idle cgroups (of two pods at a time, and where most runs are as many as
        # there may be, for a cgroup that files were read in is left lying for another), a started template.
        self.run([module.PYTHON, "-c", ""], kind="cold", count=2 if off else IDLE_ENOUGH + 2, hold_pods=True)
        if not FORKLESS & set(off):
            self.normal()
        self.before = self.settled()

    def normal(self, kind="py"):
        """A job as any other: the pool, the spawner and the host still do what they did."""
        argv = [module.PYTHON, "-I", "-c", "print(6 * 7)"] if kind == "cold" else []
        options = {"kind": "cold"} if kind == "cold" else {"kind": kind, "name": "main.py", "code": "print(6 * 7)"}
        facts = self.run(argv, **options)[0]
        assert (facts["stdout"], facts["exit"]["exit_code"], facts["exit"]["end"]) == (b"42\n", 0, "own"), facts

    def run(self, argv, count=1, timeout=60, **options):
        request = module.podrun_options(runs=count, **options) + ["--", *argv]
        data = b"".join(os.fsencode(a) + b"\0" for a in request)
        self.process.stdin.write(b"%d\n" % len(data) + data)
        self.process.stdin.flush()
        until, parts, ends = time.monotonic() + timeout, [self.buffer], self.buffer.count(b"\n")
        while ends < count:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
            more = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            if not more:
                self.process.kill()
                self.log.seek(0)
                raise AssertionError(f"no answer: {self.log.read().decode(errors='replace')[-2000:]}")
            parts.append(more)
            ends += more.count(b"\n")
        *lines, self.buffer = b"".join(parts).split(b"\n", count)
        return [module.decoded(line) for line in lines]

    def processes(self):
        return len(descendants(self.process.pid))

    def told(self, message):
        """How often its log says so."""
        return readable(self.log.name).count(f'"message":"{message}"')

    def starting(self):
        """Templates that are not ready yet."""
        templates = [p for p in descendants(self.process.pid) if "\0--set\0" in readable(f"/proc/{p}/cmdline")]
        return len(templates) - readable(self.log.name).count('"a template is ready"')

    def settled(self):
        """What is there once nothing changes any more."""
        last, same, until = None, 0, time.monotonic() + 6 * GRACE_S
        while (same < 3 or self.starting() > 0) and time.monotonic() < until:
            try:
                now = self.own()
            except (FileNotFoundError, ProcessLookupError):
                now = None
            same = same + 1 if now is not None and now == last else 0
            last = now
            time.sleep(0.01)
        assert last is not None
        return last

    def own(self):
        """Processes, descriptors, namespaces, mounts and cgroups of this spawner."""
        pids = sorted(descendants(self.process.pid))
        groups = sorted(g for g in module.cgroups_below(self.place.groups) if module.name_of(self.state) in g)
        return {"processes": pids, "descriptors": [len(os.listdir(f"/proc/{p}/fd")) for p in pids],
                "net namespaces": len({os.readlink(f"/proc/{p}/ns/net") for p in pids}),
                "mounts": [mounts_of(p) for p in pids], "cgroups": groups,
                "in cgroups": [g for g in groups if "/p" in g.rsplit("millrace-", 1)[1] and readable(f"{g}/cgroup.procs")]}

    def keys(self):
        """Users of the kernel's key store that are ids of pods."""
        maps = [list(map(int, l.split())) for p in descendants(self.process.pid) for l in readable(f"/proc/{p}/uid_map").splitlines()]
        ranges = [range(outside, outside + count) for _, outside, count in maps if outside > NOBODY + 1]
        users = [int(line.split(":")[0]) for line in readable("/proc/key-users").splitlines()]
        return {user for user in users if any(user in r for r in ranges)}

    def residue(self):
        until = time.monotonic() + GRACE_S
        while True:
            try:
                left = {k: (self.before[k], v) for k, v in self.own().items() if v != self.before[k]}
            except (FileNotFoundError, ProcessLookupError):
                left = {"processes": "changing"}  # look again
            if not left or time.monotonic() > until:
                break
            time.sleep(0.01)
        host = of_the_host()
        left |= {k: (self.host_before[k], v) for k, v in host.items() if v != self.host_before[k]}
        if self.off:
            self.place.keys |= self.keys()  # a control may well have made some, and the kernel takes its time to forget
        elif self.keys() - self.place.keys:
            left["keys"] = self.keys() - self.place.keys
        return left

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0, (self.off, self.process.returncode)
        self.process.stdout.close()
        self.log.close()
        assert not [g for g in module.cgroups_below(self.place.groups) if module.name_of(self.state) in g]


class Place:
    """Pods of one privilege: run() with the defences `off` that are to be missing."""

    places = itertools.count(1)  # several may live at a time

    def __init__(self, build, privileged, environment=()):
        self.build, self.privileged, self.numbers = pathlib.Path(build), privileged, itertools.count(1)
        self.environment = dict(environment)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-place-"))
        self.folder.chmod(0o755)
        self.sessions, self.keys = collections.OrderedDict(), set()
        self.groups = [] if privileged else self.delegate()

    def delegate(self):
        """Cgroups of nobody's own, as an administrator would hand them over."""
        number = next(self.places)
        groups = [pathlib.Path("/sys/fs/cgroup") / c / f"delegated-{os.getpid()}-place{number}" for c in CONTROLLERS]
        for g in groups:
            g.mkdir(exist_ok=True)
            for f in [g, *g.iterdir()]:
                os.chown(f, NOBODY, NOBODY)
        for table in ("/etc/subuid", "/etc/subgid"):
            pathlib.Path(table).touch()
        (self.folder / "subid").write_text("nobody:400000:65536\n")
        return groups

    def command(self, state):
        spawner = [str(self.build / "bin" / "millrace-spawner"), "--state", str(state)]
        worker = ["--", str(self.build / "bin" / "podrun"), "--serve"]
        if self.privileged:
            return spawner + worker
        enter = "".join(f"echo $$ > {g}/cgroup.procs; " for g in self.groups)
        script = (f"set -e; for f in /etc/subuid /etc/subgid; do mount --bind {self.folder / 'subid'} $f; done; {enter}"
                  f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"')
        return ["unshare", "-m", "/bin/sh", "-c", script, "sh", *spawner, "--rootless", *worker]

    def session(self, off=()):
        off = tuple(sorted(off))
        if off not in self.sessions:
            while len(self.sessions) >= SESSIONS_MAX:
                self.sessions.popitem(last=False)[1].close()
            self.sessions[off] = Session(self, off)
        self.sessions.move_to_end(off)
        return self.sessions[off]

    def run(self, *argv, off=(), count=1, **options):
        if isinstance(options.get("code"), bytes) or "\0" in options.get("code", ""):
            code = options.pop("code")
            source = self.folder / "source"
            source.write_bytes(code if isinstance(code, bytes) else code.encode())
            source.chmod(0o644)
            options["source"] = str(source)
        session = self.session(off)
        session.used = True
        facts = session.run(argv, count=count, **options)
        return facts if count > 1 else facts[0]

    def python(self, code, *args, **options):
        return self.run(module.PYTHON, "-I", "-c", code, *args, **options)

    def warm(self, code, *args, **options):
        return self.run(*args, code=code, **{"kind": "py", "name": "main.py"} | options)

    def bash(self, script, *args, **options):
        return self.run("/bin/bash", "-c", script, "bash", *args, **options)

    def check(self):
        """Everything that ran since the last check has left nothing, and the next one is served."""
        used = sorted([s for s in self.sessions.values() if s.used], key=lambda s: s.off, reverse=True)
        for session in used:
            session.used = False
            left = session.residue()
            assert not left, left
        if used:  # after a control too, which may have harmed the host
            self.session().normal()

    def close(self):
        for session in self.sessions.values():
            session.close()
        for g in self.groups:
            until = time.monotonic() + GRACE_S
            while g.exists() and time.monotonic() < until:  # of a spawner that had to end, pods may still be on their way
                stale.remove(g)
                time.sleep(0.01)
            assert not g.exists(), {str(sub): readable(sub / "cgroup.procs").split() for sub in [g, *g.rglob("millrace-*")]}
        shutil.rmtree(self.folder)
