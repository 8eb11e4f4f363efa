# SPDX-License-Identifier: Apache-2.0
"""What a program in a pod can see and reach; beside each defence, the same attack with that one defence off."""
import json
import os
import pathlib
import subprocess
import time

import pods as module
import pytest
from system import proc

KINDS = ["cold", "py"]
STATUS = "print(open('/proc/self/status').read())"


def run(place, kind, code, **options):
    return place.python(code, **options) if kind == "cold" else place.warm(code, **options)


def value(place, kind, expression, **options):
    facts = run(place, kind, f"import json, os\nprint(json.dumps({expression}))", **options)
    assert facts["exit"]["exit_code"] == 0, facts
    return json.loads(facts["stdout"])


def status(place, kind, **options):
    facts = run(place, kind, STATUS, **options)
    return dict(line.split(":\t", 1) for line in facts["stdout"].decode().splitlines() if ":\t" in line)


@pytest.mark.parametrize("kind", KINDS)
def test_no_privilege_is_left(place, kind):
    s = status(place, kind)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(s[name], 16) == 0, name
    assert s["NoNewPrivs"] == "1"
    assert s["Seccomp"] == "2"
    assert s["Uid"].split() == ["1000"] * 4
    assert s["Gid"].split() == ["1000"] * 4
    assert s["Groups"].strip() == ""


def test_without_the_defence_there_would_be_capabilities(place):
    s = status(place, "cold", off=["no_capabilities"])
    assert int(s["CapEff"], 16) != 0
    assert status(place, "cold", off=["no_new_privs", "seccomp", "landlock"])["NoNewPrivs"] == "0"
    assert status(place, "cold", off=["seccomp"])["Seccomp"] == "0"


@pytest.mark.parametrize("kind", KINDS)
def test_two_pods_share_no_namespace_with_each_other_or_the_host(place, kind):
    code = "import json,os; print(json.dumps({n: os.readlink('/proc/self/ns/' + n) for n in os.listdir('/proc/self/ns')}))"
    options = dict(kind="py", name="main.py", code=code) if kind == "py" else {}
    argv = [] if kind == "py" else [module.PYTHON, "-I", "-c", code]
    # The first pod is alive while the second runs: pods are made ahead of their use.
    seen = [json.loads(f["stdout"]) for f in place.run(*argv, count=2, hold_pods=True, **options)]
    seen.append({n: os.readlink("/proc/self/ns/" + n) for n in os.listdir("/proc/self/ns")})
    for name in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup"):
        assert len({one[name] for one in seen}) == 3, name


def test_pods_that_live_together_have_ids_of_their_own(place):
    facts = place.bash("cat /proc/self/uid_map", count=2, hold_pods=True)
    maps = [tuple(tuple(map(int, line.split())) for line in f["stdout"].splitlines()) for f in facts]
    used = [m[i][1] for m in maps for i in (0, 1)]
    assert all([(row[0], row[2]) for row in m] == [(0, 1), (1000, 1)] for m in maps)
    assert len(set(used)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_processes_outside_are_not_seen(place, kind):
    pids = value(place, kind, "[p for p in os.listdir('/proc') if p.isdigit()]")
    own = value(place, kind, "os.getpid()")
    assert pids == [str(own)]
    assert own < 10


def test_without_hidepid_pid_1_is_seen(place):
    assert "1" in value(place, "cold", "os.listdir('/proc')", off=["proc_hidepid"])


@pytest.mark.parametrize("what", ["environ", "mem", "maps", "root", "cwd", "exe", "fd", "cmdline", "status"])
def test_pid_1_is_closed(place, what):
    facts = place.bash(f"ls -l /proc/1/{what}; cat /proc/1/{what}")
    assert facts["stdout"] == b""
    assert facts["exit"]["exit_code"] != 0


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_can_be_written_but_three_places(place, kind):
    code = """if 1:
        import os
        good = []
        for top, dirs, files in os.walk('/'):
            dirs[:] = [d for d in dirs if os.path.join(top, d) != '/proc' and top.count('/') < 4]
            try:
                with open(os.path.join(top, 'probe'), 'x'): good.append(top)
            except OSError: pass
        print(sorted(good))
    """
    assert run(place, kind, code)["stdout"].decode().strip() == "['/dev/shm', '/mnt/data', '/tmp']"


@pytest.mark.parametrize("kind", KINDS)
def test_working_directory(place, kind):
    assert value(place, kind, "[os.getcwd(), os.access('.', os.W_OK), oct(os.stat('.').st_mode & 0o777)]") == [
        "/mnt/data", True, "0o700"]


def test_only_the_three_standard_descriptors(place):
    assert place.bash("ls /proc/self/fd")["stdout"].split() == [b"0", b"1", b"2", b"3"]  # 3 is ls looking


def test_only_the_jobs_environment(place):
    facts = place.run("/usr/bin/env", env=["A=1", "B=two words"])
    assert sorted(facts["stdout"].splitlines()) == [b"A=1", b"B=two words", b"HOME=/mnt/data", b"PATH=/usr/bin:/bin"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_network(place, kind):
    code = """if 1:
        import socket
        print([l.split(':')[0].strip() for l in open('/proc/self/net/dev') if ':' in l])
        for family, address in ((socket.AF_INET, ('127.0.0.1', 80)), (socket.AF_INET6, ('::1', 80))):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                s = socket.socket(family, kind)
                try:
                    s.connect(address)
                    if kind == socket.SOCK_DGRAM: s.send(b'x')
                    print('reached', address)
                except OSError as e: pass
    """
    assert run(place, kind, code)["stdout"] == b"['lo']\n"


def test_a_listener_of_the_host_is_not_reached(place):
    import socket
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.3)
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2); print('in')"
        assert place.python(code)["stdout"] == b""
        with pytest.raises(TimeoutError):
            server.accept()
        # The control: in the host's network namespace (and with no other wall) it is reached.
        assert place.python(code, off=["net_namespace", "landlock"])["stdout"] == b"in\n"
        server.accept()


OWN_NETWORK = "import os, socket, struct\nprint(os.readlink('/proc/self/ns/net'))\n"
TOUCHES = {
    "nothing": "pair = socket.socketpair(); [s.close() for s in pair]",  # what a program without a network may well use
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    # IPV6_FLOWLABEL_MGR: a label that stays for a while after its socket.
    "label": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).setsockopt(41, 32, socket.inet_pton(socket.AF_INET6, '::1') + "
             "struct.pack('!I', 0x12345) + struct.pack('=BBHHHI', 0, 1, 1, 60, 6, 0))",
}


@pytest.mark.parametrize("touch", TOUCHES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_namespace_serves_again_until_it_was_touched(place, kind, touch):
    code = f"{OWN_NETWORK}\ntry:\n    {TOUCHES[touch]}\nexcept OSError as e: assert e.errno == 101, e"
    first, second = run(place, kind, code, count=2)
    assert (first["exit"]["exit_code"], first["stderr"]) == (0, b"")
    assert first["stdout"].startswith(b"net:[")
    assert (first["stdout"] == second["stdout"]) == (touch == "nothing")


SYSCALLS = {
    "unshare user": "unshare(0x10000000)", "setns": "setns(0, 0)", "mount": "mount('a', '/mnt/data', 'tmpfs', 0, 0)",
    "ptrace": "ptrace(0, 0, 0, 0)", "bpf": "syscall(321, 0, 0, 0)", "perf": "syscall(298, 0, 0, 0, 0, 0)",
    "userfaultfd": "syscall(323, 0)", "io_uring": "syscall(425, 1, 0)", "keyctl": "syscall(250, 0, 0)",
    "add_key": "syscall(248, 0, 0, 0, 0, 0)", "process_vm_readv": "syscall(310, 1, 0, 0, 0, 0, 0)", "chroot": "chroot('/')",
    "open_by_handle_at": "syscall(304, 0, 0, 0)", "pidfd_getfd": "syscall(438, 0, 0, 0)", "kcmp": "syscall(312, 1, 1, 0, 0, 0)",
    "af_alg": "socket(38, 5, 0)", "raw": "socket(2, 3, 1)", "packet": "socket(17, 3, 0)", "netlink": "socket(16, 3, 0)",
    "tiocsti": "ioctl(0, 0x5412, b'x')", "tiocsti high bits": "syscall(16, 0, 0x100005412, b'x')",
    "lease": "syscall(72, 0, 1024, 0)", "personality": "personality(0x0040000)", "seccomp": "syscall(317, 1, 0, 0)",
    "modify_ldt": "syscall(154, 0, 0, 0)", "quotactl": "syscall(179, 0, 0, 0, 0)", "swapon": "syscall(167, 0, 0)",
    "clone newuser": "syscall(56, 0x10000011, 0, 0, 0, 0)", "flock": "flock(0, 1)", "syslog": "klogctl(3, 0, 0)",
}


@pytest.mark.parametrize("name", SYSCALLS)
def test_refused_system_calls(place, name):
    call = SYSCALLS[name].replace("(", "(", 1)
    code = f"import ctypes; l = ctypes.CDLL(None, use_errno=True); r = l.{call}; print(r, ctypes.get_errno())"
    code = code.replace("'", '"').replace('"a"', 'b"a"').replace('"/mnt/data"', 'b"/mnt/data"').replace('"tmpfs"', 'b"tmpfs"')
    code = code.replace('"/"', 'b"/"')
    assert place.python(code)["stdout"] == b"-1 1\n"


def test_unknown_and_new_calls_say_so(place):
    code = """if 1:
        import ctypes
        l = ctypes.CDLL(None, use_errno=True)
        for n in (435, 463, 1000):
            print(l.syscall(n, 0, 0, 0, 0), ctypes.get_errno())
    """
    assert place.python(code)["stdout"] == b"-1 38\n" * 3


def test_x32_calls_kill(place):
    end = place.python("import ctypes; ctypes.CDLL(None).syscall(0x40000000 | 39)")["exit"]
    assert end["signal"] == 31


def test_threads_and_processes_still_work(place):
    code = """if 1:
        import threading, subprocess, multiprocessing, tempfile, sqlite3, os, mmap
        t = threading.Thread(target=lambda: print('thread', flush=True)); t.start(); t.join()
        print(subprocess.run(['/bin/echo', 'sub'], capture_output=True).stdout)
        with tempfile.NamedTemporaryFile() as f: f.write(b'x')
        print(sqlite3.connect(':memory:').execute('select 1').fetchone())
        q = multiprocessing.Queue(); p = multiprocessing.Process(target=q.put, args=(7,)); p.start(); print(q.get()); p.join()
        m = mmap.mmap(-1, 4096); m.write(b'x')
        os.fork() or os._exit(0)
        os.wait()
    """
    facts = place.run(module.PYTHON, "main.py", name="main.py", code=code)
    assert facts["stderr"] == b""
    assert facts["stdout"] == b"thread\nb'sub\\n'\n(1,)\n7\n"


def test_no_nested_user_namespace_without_the_filter_either(place):
    code = "import ctypes; l = ctypes.CDLL(None, use_errno=True); print(l.unshare(0x10000000), ctypes.get_errno())"
    assert place.python(code, off=["seccomp"])["stdout"] == b"-1 28\n"
    assert place.python(code, off=["seccomp", "nested_namespaces"])["stdout"] == b"0 0\n"


MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kallsyms", "/proc/kmsg", "/proc/cmdline", "/proc/config.gz"]


@pytest.mark.parametrize("path", MASKED)
def test_masked_files_are_empty(place, path):
    facts = place.bash(f"cat {path} | wc -c")
    assert facts["stdout"].strip() == b"0"


def test_without_the_masks_the_command_line_of_the_kernel_is_seen(place):
    assert place.bash("cat /proc/cmdline", off=["proc_masks"])["stdout"] != b""


@pytest.mark.parametrize("path", ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/uid_map",
                                  "/proc/sys/user/max_user_namespaces"])
def test_kernel_settings_are_read_only(place, path):
    assert place.bash(f"echo 1 > {path} || echo refused")["stdout"] == b"refused\n"


def test_the_host_is_not_seen(place):
    canary = "canary" + os.urandom(8).hex()
    places = [pathlib.Path(p) for p in ("/etc", "/tmp", "/root", "/var/tmp", "/usr/local/share", "/home", "/opt", "/srv", "/run")]
    files = [p / f".millrace-{canary}" for p in places if p.is_dir()]
    try:
        for f in files:
            f.write_text(canary)
        code = """if 1:
            import os
            for top, dirs, files in os.walk('/'):
                if top.startswith('/proc'): dirs[:] = []
                for f in dirs + files: print(os.path.join(top, f))
            for p in ('mountinfo', 'cgroup', 'environ', 'maps', 'net/route', 'net/unix', 'net/tcp'):
                print(open('/proc/self/' + p, errors='replace').read())
            print(os.uname())
        """
        out = place.python(code, env=["X=1"], output=1 << 26)["stdout"].decode(errors="replace")
        assert canary not in out
        assert os.uname().nodename not in out.split("posix.uname_result")[-1]
        assert str(module.name_of(place.session().state)) not in out
        assert str(place.build.resolve().parent) not in out
        # The control: the names are there to be found.
        assert any(canary in str(f) for f in pathlib.Path("/etc").iterdir())
    finally:
        for f in files:
            f.unlink(missing_ok=True)


def test_setuid_gives_nothing(place):
    facts = place.bash("/usr/bin/su -c id root < /dev/null; /usr/bin/newgrp - < /dev/null; id -u")
    assert facts["stdout"].splitlines()[-1] == b"1000"


def test_noexec_where_nothing_has_to_run(place):
    script = "for d in /tmp /dev/shm /mnt/data; do cp /bin/true $d/t; $d/t && echo $d; done"
    assert place.bash(script)["stdout"] == b"/mnt/data\n"
    assert place.bash(script, off=["noexec_tmp", "landlock"])["stdout"] == b"/tmp\n/dev/shm\n/mnt/data\n"


@pytest.mark.parametrize("path", ["/mnt/data", "/tmp", "/dev/shm"])
def test_file_systems_have_bounds(place, path):
    files = place.bash(f"cd {path}; for i in $(seq 3000); do >f$i || break; done 2>/dev/null; ls | wc -l", work_inodes=500)
    assert int(files["stdout"]) < 500
    size = place.bash(f"head -c 90000000 /dev/zero > {path}/f; stat -c %s {path}/f", work_bytes=8 << 20, tmp_bytes=8 << 20)
    assert int(size["stdout"]) <= 8 << 20


def test_limits_of_each_process(place):
    limits = place.bash("ulimit -c; ulimit -n; ulimit -l; ulimit -f; ulimit -q", nofile=100, fsize=1 << 20)["stdout"].split()
    assert limits == [b"0", b"100", b"0", b"1024", b"0"]


def test_a_file_over_its_size_is_cut(place):
    facts = place.python("import signal; signal.signal(25, signal.SIG_IGN)\nopen('f', 'wb').write(bytes(1 << 21))", fsize=1 << 20)
    assert b"File too large" in facts["stderr"]


def test_many_processes_are_refused_and_counted(place):
    facts = place.python(module.FORKS_UNTIL_REFUSED, pids=50)
    assert 0 < int(facts["stdout"]) < 50
    assert facts["usage"]["pids_refused"] > 0


def test_a_fork_bomb_ends_with_the_pod(place):
    facts = place.bash(":(){ :|:& };:; while :; do :; done", pids=50, wall_ms=1000)
    assert facts["exit"]["end"] == "wall"
    assert facts["usage"]["pids_refused"] > 0
    assert facts["done"]


def test_the_program_dies_first(place):
    assert place.bash("cat /proc/self/oom_score_adj; echo 0 > /proc/self/oom_score_adj")["stdout"] == b"1000\n"


def test_every_signal_to_pid_1_is_refused(place):
    code = """if 1:
        import os
        for s in range(0, 65):
            try: os.kill(1, s)
            except OSError as e: print(e.errno)
        print('alive')
    """
    facts = place.python(code)
    assert facts["stdout"] == b"1\n" * 65 + b"alive\n"
    assert facts["exit"]["exit_code"] == 0


def test_kill_everything_ends_what_is_the_programs(place):
    facts = place.bash("sleep 100 & sleep 100 & kill -9 -1; echo alive; exit 9")
    assert facts["stdout"] == b"alive\n"
    assert facts["exit"]["exit_code"] == 9
    assert facts["exit"]["processes"] >= 1
    assert facts["run_ms"] < 10_000


def test_the_parent_gone_pod_is_gone(pods):
    """kill -9 of the spawner: worker, helper, template and pods end; the next start sweeps the cgroups."""
    command = pods.command(["/bin/sleep", "300"], wall_ms=400_000)
    spawner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    name = module.name_of(pods.state)
    groups = []
    while not any((g / "p1" / "cgroup.procs").exists() and (g / "p1" / "cgroup.procs").read_text() for g in groups):
        assert time.monotonic() < deadline
        groups = [pathlib.Path(g) for g in module.cgroups() if g.endswith(name)]
        time.sleep(0.01)
    spawner.kill()
    spawner.wait()
    deadline = time.monotonic() + 20
    while any(p.read_text() for g in groups for p in g.glob("*/cgroup.procs")) or module.processes_of(pods.state):
        assert time.monotonic() < deadline, "something lives"
        time.sleep(0.01)
    assert pods.bash("echo again")["stdout"] == b"again\n"


def test_the_worker_gone_pods_are_gone(pods):
    command = pods.command(["/bin/sleep", "300"], wall_ms=400_000)
    spawner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    workers = []
    while not workers:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        children = proc(spawner.pid, f"task/{spawner.pid}/children").split()
        workers = [int(c) for c in children if proc(int(c), "cmdline").startswith(pods.podrun.encode())]
    assert f"Uid:\t65533" in pathlib.Path(f"/proc/{workers[0]}/status").read_text()
    os.kill(workers[0], 9)
    assert spawner.wait(30) == 128 + 9
