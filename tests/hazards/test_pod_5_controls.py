# SPDX-License-Identifier: Apache-2.0
"""Every defence of worker/spawner/defences.def has an attack that it alone stops: the same program in the same pod, with
the defence on and with it off, with privilege and without, in a program that is executed and in one forked from a template. A
row without an attack fails, and so does an attack that is stopped by something else."""
import contextlib
import ctypes
import os
import pathlib
import re
import socket

import place as place_module
import pods as module
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = re.findall(r"^X\(\w+, (\w+),", (ROOT / "worker/spawner/defences.def").read_text(), re.M)

# What a template's child has or is whatever the defence: shown with executed programs only.
COLD_ONLY = place_module.FORKLESS | {"no_new_privs"}  # the template has given it up itself


class Attacker:
    """Runs one attack's program in pods of a place and of a kind."""

    def __init__(self, place, kind, off):
        self.place, self.kind, self.off = place, kind, tuple(off)

    def facts(self, code, off=(), **options):
        off = (*self.off, *off)
        if self.kind == "py":
            return self.place.run(kind="py", name="main.py", code=code, off=off, **options)
        return self.place.run(module.PYTHON, "-I", "-c", code, off=off, **options)

    def __call__(self, code, off=(), **options):
        """The last line of what the program prints; one that could not print was stopped."""
        lines = self.facts(code, off, **options)["stdout"].decode().split()
        return lines[-1] if lines else "stopped"


def connect(attack):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        return attack("import socket\ntry:\n    socket.create_connection(('127.0.0.1', "
                      f"{server.getsockname()[1]}), 2)\n    print('reached')\nexcept OSError: print('stopped')", ["landlock"])


def queues(attack):
    code = "import ctypes; l = ctypes.CDLL(None); print('reached' if l.msgget(77, 0) >= 0 else 'stopped'); l.msgget(77, 0o1777)"
    told = attack.facts(code, count=2)[1]["stdout"].decode().strip()
    libc = ctypes.CDLL(None)
    libc.msgctl(libc.msgget(77, 0), 0, None)  # a control's would stay on the host, and pass for one that was there before
    return told


def host_name(attack):
    return attack(f"import os; print('reached' if os.uname().nodename == '{os.uname().nodename}' else 'stopped')")


def cgroup_path(attack):
    return attack("print('reached' if 'millrace' in open('/proc/self/cgroup').read() else 'stopped')")


def write_to_usr(attack):
    place = pathlib.Path("/usr/share") / f"millrace-test-{os.getpid()}"
    place.mkdir()
    try:
        place.chmod(0o777)
        return attack(f"try:\n    open('{place}/x', 'w')\n    print('reached')\nexcept OSError: print('stopped')", ["landlock"])
    finally:
        for f in place.iterdir():
            f.unlink()
        place.rmdir()


@contextlib.contextmanager
def something_local():
    """A file below /usr/local, whatever this host has there."""
    file = pathlib.Path("/usr/local") / f"millrace-test-{os.getpid()}"
    file.touch()
    yield
    file.unlink()


def see_local(attack):
    with something_local():
        return attack("import os; print('reached' if os.listdir('/usr/local') else 'stopped')")


def see_pid_1(attack):
    return attack("import os; print('reached' if os.path.exists('/proc/1') else 'stopped')")


def kernel_command_line(attack):
    return attack("print('reached' if open('/proc/cmdline').read() else 'stopped')")


def nested(attack):
    return attack("import ctypes; print('stopped' if ctypes.CDLL(None).unshare(0x10000000) else 'reached')", ["seccomp"])


def execute_from_tmp(attack):
    return attack("import shutil, subprocess; shutil.copy('/bin/true', '/tmp/t')\n"
                  "try: subprocess.run(['/tmp/t'], check=True); print('reached')\nexcept OSError: print('stopped')")


def fill_disk(attack):
    return attack("try:\n    open('f', 'wb').write(bytes(20 << 20))\n    print('reached')\nexcept OSError: print('stopped')",
                  work_bytes=8 << 20)


def take_memory(attack):
    return attack("x = bytearray(150 << 20); print('reached')", memory=64 << 20)


def many_processes(attack):
    return attack("import os, signal\ntry:\n    for i in range(60):\n        if os.fork() == 0: signal.pause()\n"
                  "    print('reached')\nexcept OSError: print('stopped')", pids=30)


def take_processor(attack):
    """For what it needs its share would take eight seconds, and a third of that is enough on a busy machine."""
    return attack("import time\nwhile time.process_time() < 0.08: pass\nprint('reached')", cpu_millis=10, wall_ms=2500)


def same_ids(attack):
    facts = attack.facts("print(open('/proc/self/uid_map').read())", count=2, hold_pods=True)
    return "reached" if facts[0]["stdout"] == facts[1]["stdout"] else "stopped"


def see_descriptors(attack):
    return attack("import os; print('reached' if len(os.listdir('/proc/self/fd')) > 4 else 'stopped')")


def raise_limits(attack):
    return attack("import resource; print('stopped' if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) else 'reached')")


def outlive_the_service(attack):
    return attack("print('stopped' if open('/proc/self/oom_score_adj').read() == '1000\\n' else 'reached')")


def capabilities(attack):
    return attack("s = open('/proc/self/status').read(); print('stopped' if 'CapEff:\\t0000000000000000' in s else 'reached')")


def new_privileges(attack):
    return attack("s = open('/proc/self/status').read(); print('stopped' if 'NoNewPrivs:\\t1' in s else 'reached')",
                  ["landlock", "seccomp"])


def listen(attack):
    return attack("import socket\ntry:\n    s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); print('reached')\n"
                  "except OSError: print('stopped')")


def keyring(attack):
    """One key in a ring of the process, which ends with it."""
    return attack("import ctypes; print('reached' if ctypes.CDLL(None).syscall(248, b'user', b'k', b'v', 1, -2) > 0 else 'stopped')")


def daemon(attack):
    """A process that PID 1 has seen the end of before it told the end of the program."""
    code = ("import os, time\nr, w = os.pipe()\nif os.fork() == 0:\n    os.setsid()\n    x = b'x' * (64 << 20)\n    os.write(w, b'.')\n"
            "    time.sleep(100)\nos.read(r, 1)\nos._exit(0)")
    return "stopped" if attack.facts(code)["exit"]["max_rss"] > 64 << 20 else "reached"


def sleep_on(attack):
    return attack("import time; time.sleep(1); print('reached')", wall_ms=300)


def burn_on(attack):
    return attack("import time\nwhile time.process_time() < 0.8: pass\nprint('reached')", ["rlimits"], cpu_ms=300)


def write_on(attack):
    facts = attack.facts("import os\nfor i in range(200): os.write(1, bytes(1000))", output=1000)
    return "stopped" if len(facts["stdout"]) == 1000 else "reached"


def network_counters(attack):
    """What a dead pod sent nowhere is told to a later one by the counters of its network namespace."""
    code = ("import socket\nsent = open('/proc/self/net/snmp').read().split('Ip:')[2].split()[11]\n"
            "print('stopped' if sent == '0' else 'reached')\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "try: s.sendto(b'x', ('127.0.0.1', 9))\nexcept OSError: pass")
    return attack.facts(code, count=2)[1]["stdout"].decode().strip()


def link_among_the_outputs(attack):
    """What PID 1 may read and the program has a name for comes out as a file of the run."""
    facts = attack.facts("import os; os.symlink('/etc/passwd', '/mnt/data/out')", collect=True)
    return "reached" if any("data" in file for file in facts["files"]) else "stopped"


ATTACKS = {
    "net_namespace": connect, "ipc_namespace": queues, "uts_namespace": host_name, "cgroup_namespace": cgroup_path,
    "read_only_root": write_to_usr, "local_mask": see_local, "proc_hidepid": see_pid_1, "proc_masks": kernel_command_line,
    "nested_namespaces": nested, "noexec_tmp": execute_from_tmp, "disk_limits": fill_disk, "memory_limit": take_memory,
    "pids_limit": many_processes, "cpu_share": take_processor, "unique_ids": same_ids, "close_fds": see_descriptors,
    "rlimits": raise_limits, "oom_score": outlive_the_service, "no_capabilities": capabilities, "no_new_privs": new_privileges,
    "landlock": listen, "seccomp": keyring, "kill_all": daemon, "wall_limit": sleep_on, "cpu_limit": burn_on,
    "output_limit": write_on, "net_clean": network_counters, "plain_files": link_among_the_outputs,
}


def test_every_defence_has_its_attack():
    assert sorted(ATTACKS) == sorted(ROWS)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("kind", ["cold", "py"])
def test_defence(place, kind, name):
    assert ATTACKS[name](Attacker(place, kind, [])) == "stopped"
    if kind == "py" and name in COLD_ONLY:
        return
    assert ATTACKS[name](Attacker(place, kind, [name])) == "reached"
