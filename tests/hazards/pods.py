# SPDX-License-Identifier: Apache-2.0
"""Run programs in real pods: a spawner of its own for each call, with podrun as its worker."""
import json
import os
import pathlib
import subprocess

from system import wait_until

PYTHON = "/usr/bin/python3"


def podrun_options(kind="cold", **options):
    words = ["--kind", kind]
    for key, value in options.items():
        flag = "--" + key.replace("_", "-")
        if value is True:
            words.append(flag)
        else:
            for one in value if isinstance(value, list) else [value]:
                words += [flag, str(one)]
    return words


def decoded(line):
    fact = json.loads(line)
    for stream in ("stdout", "stderr"):  # bytes as Latin-1
        fact[stream] = fact[stream].encode("latin-1")
    return fact


class Pods:
    def __init__(self, build, state):
        self.build, self.state = pathlib.Path(build), pathlib.Path(state)
        self.spawner = str(self.build / "bin" / "millrace-spawner")
        self.podrun = str(self.build / "bin" / "podrun")

    def command(self, argv, kind="cold", spawner_options=(), **options):
        command = [self.spawner, "--state", str(self.state), *spawner_options, "--", self.podrun]
        return [*command, *podrun_options(kind=kind, **options), "--", *argv]

    def run(self, *argv, off=(), timeout=60, count=1, **options):
        """The facts of one run (or a list of them, with count)."""
        if count > 1:
            options["runs"] = count
        env = dict(os.environ, LOG_FORMAT="json", MILLRACE_TEST_OFF=",".join(off))
        env["MILLRACE_TEST_KINDS"] = options.get("kind", "py")
        done = subprocess.run(self.command(argv, **options), env=env, capture_output=True, timeout=timeout)
        assert done.returncode == 0, done.stderr.decode()
        facts = [decoded(line) for line in done.stdout.splitlines()]
        return facts if count > 1 else facts[0]

    def python(self, code, *args, **options):
        return self.run(PYTHON, "-I", "-c", code, *args, **options)

    def warm(self, code, *args, **options):
        return self.run(*args, kind="py", name="main.py", code=code, **options)

    def bash(self, script, *args, **options):
        return self.run("/bin/bash", "-c", script, "bash", *args, **options)


# Prints how many children there were when the next was refused.
FORKS_UNTIL_REFUSED = """
import os, signal
children = []
try:
    while len(children) < 1000:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
except BlockingIOError:
    print(len(children))
"""


def cgroups():
    """Every cgroup of a spawner on this host."""
    found = set()
    for root in pathlib.Path("/sys/fs/cgroup").iterdir():
        found |= {str(p) for p in root.glob("millrace-*")} if root.is_dir() else set()
    return found


def cgroups_below(places):
    """The same with everything inside, below these places (or the top of each hierarchy)."""
    tops = [t for t in pathlib.Path("/sys/fs/cgroup").iterdir() if t.is_dir()] if not places else places
    found = set()
    for top in tops:
        for own in top.glob("millrace-*"):
            try:
                found |= {str(own), *(str(p) for p in own.iterdir() if p.is_dir())}
            except FileNotFoundError:
                continue  # somebody else's, which has ended
    return found


def wait_until_gone(state):
    """Nothing is left of a spawner, once what was dying with it has died."""
    name = name_of(state)
    wait_until("its cgroups and processes are gone", lambda: not processes_of(state) and not [g for g in cgroups() if g.endswith(name)])


def mounts():
    return set(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def name_of(state):
    """A spawner's name is made from its state directory (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in str(pathlib.Path(state).resolve()).encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"millrace-{value:016x}"


def processes_of(state):
    """Living processes that were given this state directory. (What is in pods is in a cgroup, which cannot go before it.)"""
    found = {}
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            arguments = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(state).encode() in arguments:
            found[int(proc.name)] = b" ".join(arguments).decode()
    return found
