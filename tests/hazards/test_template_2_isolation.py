# SPDX-License-Identifier: Apache-2.0
"""What a program forked from the template is, and what it can reach; and what the template does with bad requests."""
import json
import os
import re
import select
import socket
import struct
import time

import forkpod
import pytest

NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")
SELF = """import json, os
status = dict(l.split(":\\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\\t" in l)
print(json.dumps({"ns": {n: os.readlink("/proc/self/ns/" + n) for n in %r}, "status": status, "pid": os.getpid(),
    "ppid": os.getppid(), "sid": os.getsid(0), "ids": os.getresuid() + os.getresgid(), "groups": os.getgroups(),
    "cwd": os.getcwd(), "umask": os.umask(0), "fds": sorted(int(f) for f in os.listdir("/proc/self/fd"))}))
""" % (NAMESPACES,)


def about(host, **how):
    code, out, err = host.run(SELF, **how)
    assert (code, err) == (0, b"")
    return json.loads(out)


def test_locked_down(host):
    me = about(host)
    status = me["status"]
    assert [status[k] for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == ["0" * 16] * 5
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    assert me["ids"] == [1000] * 6 and me["groups"] == []
    assert (me["cwd"], me["umask"], me["ppid"]) == ("/mnt/data", 0o077, 1)
    assert me["sid"] == me["pid"]
    assert me["fds"] == [0, 1, 2, 3], "3 is the listing itself"
    assert (status["SigBlk"], status["SigCgt"][-1]) == ("0" * 16, "2")  # SIGINT only


def test_every_pod_has_its_own(host):
    """Pods at one time: all seven namespaces and the ids differ from each other's and from the template's."""
    programs = [host.program() for _ in range(6)]
    outside = {n: os.readlink(f"/proc/{host.template}/ns/{n}") for n in NAMESPACES}
    seen = [{n: os.readlink(f"/proc/{p.host_pid()}/ns/{n}") for n in NAMESPACES} for p in programs]
    ids = {os.stat(f"/proc/{p.init}").st_uid for p in programs}
    told = []
    for p in programs:
        p.release(SELF)
        told.append(json.loads(p.finish()[1])["ns"])
    assert told == seen
    for n in NAMESPACES:
        assert len({s[n] for s in seen} | {outside[n]}) == len(programs) + 1, n
    assert len(ids) == len(programs)


def test_nothing_random_is_shared(host):
    program = """import random, uuid, tempfile, secrets, ssl, os, hashlib, multiprocessing, threading
print(random.random(), random.getrandbits(64), random.Random().random())
print(uuid.uuid4(), uuid.uuid1())
print(tempfile.mktemp())
print(secrets.token_hex(), os.urandom(8))
print(ssl.RAND_bytes(16))
print(multiprocessing.current_process().authkey[:])
"""
    runs = [host.run(program)[1].splitlines() for _ in range(3)]
    assert all(len(r) == 6 for r in runs)
    for lines in zip(*runs):
        assert len(set(lines)) == len(runs), lines


def test_forks_of_the_program_run_the_hooks(host):
    """The template's own fork goes without them; the program's must not."""
    program = """import os, random, threading, logging
threading.Thread(target=lambda: None).start()
before = random.getstate()
lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: print("hook"))
if os.fork() == 0:
    print(random.getstate() != before, threading.current_thread() is threading.main_thread())
    os._exit(logging.lastResort is None)
print(os.wait()[1])
"""
    assert host.run(program) == (0, b"hook\nTrue True\n0\n", b"")


def test_the_template_is_out_of_reach(host):
    program = """import os, signal
print(sorted(int(p) for p in os.listdir("/proc") if p.isdigit()))
for pid in (%d, 1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as e:
        print(e.errno)
""" % host.template
    assert host.run(program) == (0, b"[1, 3]\n3\n1\n", b"")


def test_limits(start):
    import resource as r
    limits = [(r.RLIMIT_CORE, 0, 0), (r.RLIMIT_NOFILE, 100, 200), (r.RLIMIT_STACK, 8 << 20, 64 << 20)]
    host = forkpod.Host(start, rlimits=limits)
    program = "import resource as r\nprint([r.getrlimit(x) for x in (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_STACK, r.RLIMIT_FSIZE, r.RLIMIT_CPU)])\n"
    _, out, _ = host.run(program, limits=[("nofile", 150), ("fsize", 4096), ("cpu", 1500)])
    assert out == b"[(0, 0), (150, 150), (8388608, 67108864), (4096, 4096), (2, 3)]\n"
    _, out, _ = host.run(program, limits=[("nofile", 5000)])
    assert b"(200, 200)" in out, "a run cannot raise a hard one"
    host.close()


def test_filter_holds(start):
    """A filter that denies uname (63) with EPERM: it is the one that was given, and it is there before the first line."""
    load_number, equal, ret = 0x20, 0x15, 0x06
    deny = [(load_number, 0, 0, 0), (equal, 0, 1, 63), (ret, 0, 0, 0x00050001), (ret, 0, 0, 0x7FFF0000)]
    host = forkpod.Host(start, filter=deny)
    code, out, err = host.run("import os\ntry:\n    os.uname()\nexcept OSError as e:\n    print(e.errno)\n")
    assert (code, out, err) == (0, b"1\n", b"")
    host.close()


REACH = """import os
def can(f):
    try:
        f()
        return True
    except OSError:
        return False
print(can(lambda: open("/root_of_host/x")), can(lambda: open("/var/lib/dpkg/status")), can(lambda: os.listdir("/")),
      can(lambda: open("/usr/bin/env", "rb")), can(lambda: open("/mnt/data/x", "w")), can(lambda: open("/tmp/x", "w")),
      can(lambda: open("/etc/passwd")), can(lambda: open("/etc/passwd", "r+")))
"""


def test_landlock_confines(host, start):
    """This pod maker leaves the host's files in view, so only Landlock keeps the program from them; the control is without it."""
    assert host.run(REACH)[1] == b"False False True True True True True False\n"
    bare = forkpod.Host(start, off=forkpod.defence_bit("landlock"))
    assert bare.run(REACH)[1] == b"False True True True True True True False\n"
    bare.close()


def test_cgroups_are_entered_before_the_program(host):
    tree = "/sys/fs/cgroup/pids" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup"
    path = f"{tree}/millrace-test-{os.getpid()}"
    os.mkdir(path)
    try:
        procs = os.open(f"{path}/cgroup.procs", os.O_WRONLY)
        program = host.program(cgroups=[procs])
        os.close(procs)
        assert program.reply["type"] == forkpod.FORKED, program.reply
        assert open(f"{path}/cgroup.procs").read().split() == [str(program.host_pid())]
        assert str(host.template) not in open(f"{path}/cgroup.procs").read().split()
        program.release("print(1)")
        assert program.finish()[1] == b"1\n"
    finally:
        for _ in range(100):
            try:
                os.rmdir(path)
                break
            except OSError:
                time.sleep(0.01)


def test_the_template_has_nothing(host):
    """One thread, no capability, no descriptor but its control socket."""
    status = open(f"/proc/{host.template}/status").read()
    assert re.search(r"Threads:\t1\n", status) and re.search(r"NoNewPrivs:\t1\n", status)
    assert re.search(r"CapPrm:\t0+\nCapEff:\t0+\n", status)
    assert sorted(map(int, os.listdir(f"/proc/{host.template}/fd"))) == [0, 1, 2, 3]
    assert open(f"/proc/{host.template}/environ").read().split("\0")[0].startswith("PATH=")


def test_a_dead_pod_is_a_failed_fork(host):
    """The template says so and goes on; nothing is left of M, N or P."""
    program = host.program()
    program.kill()
    init = host.new_pod(os.open("/dev/null", os.O_WRONLY))
    pidfd = os.pidfd_open(init)
    os.kill(init, 9)
    assert select.select([pidfd], [], [], 20)[0]
    null = os.open("/dev/null", os.O_RDWR)
    a, b = socket.socketpair()
    tag = host.send_fork([pidfd, null, null, null, b.fileno()])
    reply = host.reply()
    assert (reply["type"], reply["tag"]) == (forkpod.FAILED, tag) and reply["error"] != 0 and reply["text"]
    with open(f"/proc/{host.template}/task/{host.template}/children") as f:
        assert f.read() == ""
    assert sorted(map(int, os.listdir(f"/proc/{host.template}/fd"))) == [0, 1, 2, 3]
    assert host.run("print(2)")[1] == b"2\n"


def test_no_job_means_a_quiet_end(host):
    program = host.program()
    program.go.close()
    assert program.finish() == (0, b"", b"")


@pytest.mark.parametrize("bytes_", [
    struct.pack("<II", 1, 4) + b"1234",
    struct.pack("<II", forkpod.MAGIC, 17 << 20),
    struct.pack("<II", forkpod.MAGIC, 8) + struct.pack("<HHI", 99, 0, 0),
    struct.pack("<II", forkpod.MAGIC, 8) + struct.pack("<HHI", 4, 0, 1),
    struct.pack("<II", forkpod.MAGIC, 18) + forkpod.tlv(3, b"../etc/x.y"),
], ids=["magic", "too long", "unknown tag", "cut", "path for a name"])
def test_damaged_specification(host, bytes_):
    program = host.program()
    program.go.sendall(bytes_)
    program.go.shutdown(socket.SHUT_WR)
    told = program.read_ready()  # to PID 1: there is no program yet whose standard error it could be
    assert told["error"] != 0 and told["text"]
    assert program.finish() == (125, b"", b"")


@pytest.mark.parametrize("change", [{"version": 1}, {"work": "relative"}, {"work": "/nowhere"}, {"filter": []}])
def test_bad_setup(start, change):
    """What the template can check it refuses at once, what only a pod can show fails each program before its first line."""
    if change == {"work": "/nowhere"}:
        host = forkpod.Host(start, **change)
        program = host.program()
        assert program.ready["error"] == 2 and "working folder" in program.ready["text"]
        assert program.finish()[0] == 125
        host.close()
        return
    host = forkpod.Host(start, **change)
    assert host.hello["type"] == 0
    host.close()


def test_a_message_that_is_none_ends_the_template(start):
    host = forkpod.Host(start)
    host.control.send(b"x" * 24)
    assert host.reply()["type"] == 0
    host.close()


def test_the_template_ends_with_its_spawner(start):
    host = forkpod.Host(start)
    pidfd = os.pidfd_open(host.template)
    host.close()
    assert select.select([pidfd], [], [], 20)[0]


def test_many_forks_leave_nothing(host):
    def facts():
        status = open(f"/proc/{host.template}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]), len(os.listdir(f"/proc/{host.template}/fd"))
    host.run("print(1)")
    before = facts()
    for _ in range(60):
        assert host.run("print(1)")[:2] == (0, b"1\n")
    after = facts()
    assert after[1] == before[1] and after[0] - before[0] < 256
