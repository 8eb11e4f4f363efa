# SPDX-License-Identifier: Apache-2.0
"""Pods without privilege: the spawner runs as nobody, with a range of subordinate ids and, or not, cgroups of its own.
The table of ranges is replaced in a mount namespace of the test alone."""
import os
import pathlib
import subprocess

import pods as module
import pytest

NOBODY = 65534
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
NO_LIMITS = [f"--accept-missing={name}" for name in ("memory_limit", "pids_limit", "cpu_limit")]


class Rootless(module.Pods):
    """The commands of Pods, as nobody."""

    groups = ()

    def command(self, argv, **options):
        inner = super().command(argv, **options)
        enter = "".join(f"echo $$ > {g}/cgroup.procs; " for g in self.groups)
        table = self.state.parent / "subid"
        table.write_text("nobody:400000:65536\n")
        script = (f"set -e; for f in /etc/subuid /etc/subgid; do mount --bind {table} $f; done; {enter}"
                  f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"')
        return ["unshare", "-m", "/bin/sh", "-c", script, "sh", *inner]

    def refused(self, *spawner_options):
        command = self.command(["/bin/true"], spawner_options=["--rootless", *spawner_options])
        return subprocess.run(command, capture_output=True, timeout=30)


@pytest.fixture
def rootless(build, tmp_path):
    state = tmp_path / "spawner"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    for parent in [tmp_path, *tmp_path.parents]:
        if str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    for table in ("/etc/subuid", "/etc/subgid"):
        pathlib.Path(table).touch()
    yield Rootless(build, state)
    module.wait_until_gone(state)


@pytest.fixture
def delegated(rootless, tmp_path):
    groups = [pathlib.Path("/sys/fs/cgroup") / c / f"delegated-{os.getpid()}" for c in CONTROLLERS]
    for g in groups:
        g.mkdir()
        for f in [g, *g.iterdir()]:
            os.chown(f, NOBODY, NOBODY)
    rootless.groups = groups
    yield rootless
    for g in groups:
        assert not [d for d in g.iterdir() if d.is_dir()], "a cgroup is left"
        g.rmdir()


def test_without_cgroups_it_is_refused_unless_accepted(rootless):
    done = rootless.refused()
    assert done.returncode == 78
    for name in ("memory_limit", "pids_limit", "cpu_limit"):
        assert f"--accept-missing={name}".encode() in done.stderr
    assert rootless.refused("--accept-missing=pids_limit", "--accept-missing=cpu_limit").returncode == 78
    facts = rootless.run("/usr/bin/id", "-u", spawner_options=["--rootless", *NO_LIMITS])
    assert facts["stdout"] == b"1000\n"


def test_a_rootless_pod_is_as_closed(rootless):
    code = "import os,json; print(open('/proc/self/status').read()); print(open('/proc/self/uid_map').read().split())"
    out = rootless.python(code, spawner_options=["--rootless", *NO_LIMITS])["stdout"].decode()
    s = dict(line.split(":\t", 1) for line in out.splitlines() if ":\t" in line)
    assert all(int(s[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert (s["NoNewPrivs"], s["Seccomp"]) == ("1", "2")
    assert "'0', '4096', '1', '1000', '4097', '1'" in out


def test_deadline_rootless(rootless):
    facts = rootless.bash("trap '' TERM; sleep 100 & wait", wall_ms=300, spawner_options=["--rootless", *NO_LIMITS])
    assert facts["exit"]["end"] == "wall"
    assert facts["done"]


@pytest.mark.parametrize("kind", ["cold", "py"])
def test_delegated_memory_limit(delegated, kind):
    code = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    options = dict(memory=64 << 20, spawner_options=["--rootless"])
    facts = delegated.python(code, **options) if kind == "cold" else delegated.warm(code, **options)
    assert facts["exit"]["end"] == "memory"
    assert facts["usage"]["oom_kills"] >= 1


def test_delegated_pids_limit(delegated):
    facts = delegated.python(module.FORKS_UNTIL_REFUSED, pids=40, spawner_options=["--rootless"])
    assert 0 < int(facts["stdout"]) < 40
    assert facts["usage"]["pids_refused"] > 0
