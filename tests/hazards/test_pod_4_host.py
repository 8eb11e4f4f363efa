# SPDX-License-Identifier: Apache-2.0
"""Other hosts and bad days: a host with version 2 of the cgroups only, a template that dies, a helper that dies."""
import os
import pathlib
import re
import signal
import subprocess
import time

import pods as module
import pytest
from place import descendants
from system import ROOT, began, proc

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "cpuset", "devices", "freezer", "blkio", "systemd")
MISSING = [f"--accept-missing={name}" for name in ("memory_limit", "pids_limit", "cpu_limit", "swap_limit")]


class OnlyV2(module.Pods):
    """The same in a mount namespace where version 1 is not mounted. (Version 2 has no controllers here, but its entry, its
    clock and its removal are real.)"""

    def command(self, argv, **options):
        inner = super().command(argv, spawner_options=MISSING, **options)
        script = f'for c in {" ".join(CONTROLLERS)}; do umount /sys/fs/cgroup/$c 2>/dev/null; done; exec "$@"'
        return ["unshare", "-m", "/bin/sh", "-c", script, "sh", *inner]


def test_version_2_counts_time_and_leaves_nothing(build, pods):
    v2 = OnlyV2(build, pods.state)
    for facts in v2.bash("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; cat /proc/self/cgroup", count=2):
        assert facts["exit"]["exit_code"] == 0
        assert facts["usage"]["cpu_ms"] >= 20
        assert b"0::/\n" in facts["stdout"]
    assert v2.warm("print(1)")["stdout"] == b"1\n"


def test_version_2_limits(build, pods):
    roots = [pathlib.Path("/sys/fs/cgroup/unified"), pathlib.Path("/sys/fs/cgroup")]
    offered = {w for r in roots if (r / "cgroup.controllers").exists() for w in (r / "cgroup.controllers").read_text().split()}
    if not {"memory", "pids", "cpu"} <= offered:
        pytest.skip("untested: cgroup2_controllers")
    v2 = OnlyV2(build, pods.state)
    assert v2.python("x = []\nwhile True: x.append(bytearray(1 << 20))", memory=64 << 20)["exit"]["end"] == "memory"
    assert v2.bash(":(){ :|:& };:; sleep 0.5", pids=40)["usage"]["pids_refused"] > 0


def wait_for(what, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline
        time.sleep(0.01)


def named(pid, text, but=None):
    """Our descendant with this in its command line."""
    def look():
        return next((child for child in descendants(pid)[1:] if child != but and text in proc(child, "cmdline")), None)
    return wait_for(look)


def test_a_template_that_dies_is_started_again(pods):
    command = pods.command([], kind="py", name="main.py", code="print(1)", runs=12, hold_ms=100)
    spawner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = named(spawner.pid, b"--set\0bare")
    os.kill(first, signal.SIGKILL)
    assert named(spawner.pid, b"--set\0bare", but=first)
    out, _ = spawner.communicate(timeout=60)
    assert out.count('"exit_code":0') == 12
    assert spawner.returncode == 0


def test_a_helper_that_dies_ends_everything(pods):
    command = pods.command(["/bin/sleep", "300"], wall_ms=400_000)
    spawner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    helper = named(spawner.pid, b"millrace-podhelper")
    inside = wait_for(lambda: [p for p in descendants(helper)[1:] if b"sleep" in proc(p, "cmdline")])
    os.kill(helper, signal.SIGKILL)
    assert spawner.wait(30) != 0
    wait_for(lambda: not any(began(p) for p in inside))


def preflight_rows():
    """Name and weight of each row of the table."""
    return re.findall(r"^P\(\w+, (\w+), (\w+),", (ROOT / "worker/spawner/preflight.def").read_text(), re.M)


@pytest.mark.parametrize("name, weight", preflight_rows())
def test_each_row_of_the_preflight(pods, name, weight):
    """Taken away by the switch of a test build: refused, unless it is accepted by name, or told only."""
    def check(*options):
        env = dict(os.environ, MILLRACE_TEST_MISSING=name)
        done = subprocess.run([pods.spawner, "--state", str(pods.state), *options, "--check"], env=env, capture_output=True, text=True)
        return done.returncode, [line for line in done.stderr.splitlines() if line.split()[0] == name]

    states = {"FATAL": (78, "MISSING, and no pod is safe without it"), "REFUSED": (78, f"MISSING; accept with --accept-missing={name}"),
              "TOLD": (0, "missing, told only")}
    status, lines = check()
    assert status == states[weight][0] and len(lines) == 1 and states[weight][1] in lines[0]
    status, lines = check(f"--accept-missing={name}")
    assert status == (0 if weight == "REFUSED" else 64)  # the others are no names that can be accepted
    assert weight != "REFUSED" or "missing, accepted" in lines[0]


def test_what_this_host_lacks_is_refused(pods):
    done = subprocess.run([pods.spawner, "--state", str(pods.state), "--accept-missing=seccomp", "--check"], capture_output=True)
    assert done.returncode == 64
    assert b"nothing of this name can be accepted" in done.stderr
