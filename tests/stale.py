# SPDX-License-Identifier: Apache-2.0
"""Cgroups that killed test runs left behind. What is removed is told by a rule that holds whatever else runs on this machine:

- millrace-plant-PID-* (tests/faults/plant.py): no process PID lives, or it began after the cgroup was made; and every process inside
  is one of this pid namespace (another's show as 0: that plant's owner may live there). What is inside is then an orphan of
  that test run and is ended.
- millrace-<16 hex digits> (a spawner's) and delegated-PID*: no process anywhere below, and made ten minutes ago or longer. A
  living spawner has its helper there from its first moments on.
"""
import os
import pathlib
import re
import signal
import time

ROOT = pathlib.Path("/sys/fs/cgroup")
PLANT = re.compile(r"millrace-plant-(\d+)-[0-9a-f]+$")
OTHER = re.compile(r"(millrace-[0-9a-f]{16}|delegated-\d+(-place\d*)?)$")
OLD_S = 600


def began(pid):
    """When a process began, in seconds since 1970; None: there is none."""
    try:
        ticks = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
        up = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    except (OSError, IndexError):
        return None
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def members(group):
    found = []
    for folder, _, _ in os.walk(group):
        try:
            found += map(int, (pathlib.Path(folder) / "cgroup.procs").read_text().split())
        except OSError:
            pass
    return found


def remove(group):
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:
            return


def orphans(group, owner):
    """The processes of a plant whose owner is gone; None: leave it alone."""
    start = began(owner)
    inside = members(group)
    if (start is not None and start <= group.stat().st_mtime + 1) or 0 in inside or os.getpid() in inside:
        return None
    return inside


def sweep():
    for group in [g for pattern in ("millrace-*", "*/millrace-*", "*/delegated-*") for g in ROOT.glob(pattern)]:
        try:
            if found := PLANT.match(group.name):
                inside = orphans(group, int(found[1]))
                for pid in inside or ():
                    os.kill(pid, signal.SIGKILL)
                if inside is not None:
                    remove(group)
            elif OTHER.match(group.name) and time.time() - group.stat().st_mtime > OLD_S and not members(group):
                remove(group)
        except (FileNotFoundError, ProcessLookupError):
            continue  # somebody else was quicker
