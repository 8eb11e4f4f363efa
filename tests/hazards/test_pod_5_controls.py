# SPDX-License-Identifier: Apache-2.0
"""Every defence of worker/spawner/defences.def has an attack that it alone stops: the same program in the same pod, with
the defence on and with it off. A row without an attack fails, and so does an attack that is stopped by something else."""
import os
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = re.findall(r"^X\(\w+, (\w+),", (ROOT / "worker/spawner/defences.def").read_text(), re.M)


def answer(pods, off, code, **options):
    return pods.python(code, off=off, **options)["stdout"].decode().strip()


def connect(pods, off):
    import socket
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        return answer(pods, [*off, "landlock"], "import socket\ntry:\n    socket.create_connection(('127.0.0.1', "
                      f"{server.getsockname()[1]}), 2)\n    print('reached')\nexcept OSError: print('stopped')")


def queues(pods, off):
    code = "import ctypes; l = ctypes.CDLL(None); print('reached' if l.msgget(77, 0) >= 0 else 'stopped'); l.msgget(77, 0o1777)"
    import pods as module
    return pods.run(module.PYTHON, "-I", "-c", code, count=2, off=off)[1]["stdout"].decode().strip()


def host_name(pods, off):
    return "reached" if answer(pods, off, "import os; print(os.uname().nodename)") == os.uname().nodename else "stopped"


def cgroup_path(pods, off):
    return "reached" if "millrace" in answer(pods, off, "print(open('/proc/self/cgroup').read())") else "stopped"


def write_to_usr(pods, off):
    place = pathlib.Path("/usr/share") / f"millrace-test-{os.getpid()}"
    place.mkdir()
    try:
        place.chmod(0o777)
        code = f"try:\n    open('{place}/x', 'w')\n    print('reached')\nexcept OSError: print('stopped')"
        return answer(pods, [*off, "landlock"], code)
    finally:
        for f in place.iterdir():
            f.unlink()
        place.rmdir()


def see_local(pods, off):
    return answer(pods, off, "import os; print('reached' if os.listdir('/usr/local') else 'stopped')")


def see_pid_1(pods, off):
    return answer(pods, off, "import os; print('reached' if os.path.exists('/proc/1') else 'stopped')")


def kernel_command_line(pods, off):
    return answer(pods, off, "print('reached' if open('/proc/cmdline').read() else 'stopped')")


def nested(pods, off):
    code = "import ctypes; print('stopped' if ctypes.CDLL(None).unshare(0x10000000) else 'reached')"
    return answer(pods, [*off, "seccomp"], code)


def execute_from_tmp(pods, off):
    return pods.bash("cp /bin/true /tmp/t; /tmp/t 2>/dev/null && echo reached || echo stopped", off=off)["stdout"].decode().strip()


def fill_disk(pods, off):
    code = "try:\n    open('f', 'wb').write(bytes(20 << 20))\n    print('reached')\nexcept OSError: print('stopped')"
    return answer(pods, off, code, work_bytes=8 << 20)


def take_memory(pods, off):
    return answer(pods, off, "x = bytearray(150 << 20); print('reached')", memory=64 << 20) or "stopped"


def many_processes(pods, off):
    code = """if 1:
        import os, signal
        try:
            for i in range(60):
                if os.fork() == 0: signal.pause()
            print('reached')
        except OSError: print('stopped')
    """
    return answer(pods, off, code, pids=30)


def take_processor(pods, off):
    facts = pods.bash("while :; do :; done", cpu_millis=100, wall_ms=1500, off=off)
    return "stopped" if facts["usage"]["cpu_ms"] < 300 else "reached"


def same_ids(pods, off):
    facts = pods.bash("cat /proc/self/uid_map", count=2, hold_pods=True, off=off)
    return "reached" if facts[0]["stdout"] == facts[1]["stdout"] else "stopped"


def see_descriptors(pods, off):
    return answer(pods, off, "import os; print('reached' if len(os.listdir('/proc/self/fd')) > 4 else 'stopped')")


def raise_limits(pods, off):
    code = "import resource\nprint('stopped' if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0) else 'reached')"
    return answer(pods, off, code)


def outlive_the_service(pods, off):
    return "stopped" if answer(pods, off, "print(open('/proc/self/oom_score_adj').read())") == "1000" else "reached"


def capabilities(pods, off):
    code = "s = open('/proc/self/status').read(); print('stopped' if 'CapEff:\\t0000000000000000' in s else 'reached')"
    return answer(pods, off, code)


def new_privileges(pods, off):
    code = "s = open('/proc/self/status').read(); print('stopped' if 'NoNewPrivs:\\t1' in s else 'reached')"
    return answer(pods, [*off, "landlock", "seccomp"], code)


def listen(pods, off):
    code = "import socket\ntry:\n    s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen(); print('reached')\nexcept OSError: print('stopped')"
    return answer(pods, off, code)


def keyring(pods, off):
    code = "import ctypes; print('reached' if ctypes.CDLL(None).syscall(248, b'user', b'k', b'v', 1, -2) > 0 else 'stopped')"
    return answer(pods, off, code)


def daemon(pods, off):
    """A process that PID 1 has seen the end of before it told the end of the program."""
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(100)\nos._exit(0)"
    return "stopped" if pods.python(code, off=off)["exit"]["processes"] == 2 else "reached"


def sleep_on(pods, off):
    return pods.bash("sleep 1; echo reached", wall_ms=300, off=off)["stdout"].decode().strip() or "stopped"


def burn_on(pods, off):
    code = "import time\nwhile time.process_time() < 1: pass\nprint('reached')"
    return answer(pods, [*off, "rlimits"], code, cpu_ms=300) or "stopped"


def write_on(pods, off):
    return "stopped" if len(pods.bash("head -c 200000 /dev/zero", output=1000, off=off)["stdout"]) == 1000 else "reached"


ATTACKS = {
    "net_namespace": connect, "ipc_namespace": queues, "uts_namespace": host_name, "cgroup_namespace": cgroup_path,
    "read_only_root": write_to_usr, "local_mask": see_local, "proc_hidepid": see_pid_1, "proc_masks": kernel_command_line,
    "nested_namespaces": nested, "noexec_tmp": execute_from_tmp, "disk_limits": fill_disk, "memory_limit": take_memory,
    "pids_limit": many_processes, "cpu_share": take_processor, "unique_ids": same_ids, "close_fds": see_descriptors,
    "rlimits": raise_limits, "oom_score": outlive_the_service, "no_capabilities": capabilities, "no_new_privs": new_privileges,
    "landlock": listen, "seccomp": keyring, "kill_all": daemon, "wall_limit": sleep_on, "cpu_limit": burn_on,
    "output_limit": write_on,
}


def test_every_defence_has_its_attack():
    assert sorted(ATTACKS) == sorted(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_defence(pods, name):
    assert ATTACKS[name](pods, []) == "stopped"
    assert ATTACKS[name](pods, [name]) == "reached"
