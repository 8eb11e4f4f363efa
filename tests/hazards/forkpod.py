# SPDX-License-Identifier: Apache-2.0
"""A pod maker for the tests of the templates alone: no spawner, no runner, no root of its own; just the namespaces, two ids, a
PID 1 that reaps, and the three protocols of worker/templates/template_proto.h. Needs root.

    keeper   root only in the outer user namespace U0: makes pods, writes their maps
    template ordinary id in U0 (build/.../hazards/template_start)
"""
import array
import ctypes
import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import struct
import time

MAGIC = 0x4D525450
SETUP, FORK, READY, FORKED, FAILED = 1, 2, 64, 65, 66
OUTER_BASE, OUTER_COUNT, TEMPLATE_ID, FIRST_POD_ID = 300000, 60000, 1, 1000
CLONE_NEW = {"cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
             "pid": 0x20000000, "net": 0x40000000, "mnt": 0x00020000}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
SPEC = {"env": 2, "name": 3, "source": 4, "cpu": 7, "nofile": 9, "fsize": 10, "arg": 13}
ALLOW_ALL = [(0x06, 0, 0, 0x7FFF0000)]  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    r = getattr(libc, name)(*args)
    if r < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return r


def defence_bit(name):
    rows = (pathlib.Path(__file__).resolve().parents[2] / "worker/spawner/defences.def").read_text()
    return 1 << re.findall(r"^X\(\w+, (\w+),", rows, re.M).index(name)


def setup_message(filter=ALLOW_ALL, landlock=0, rlimits=(), work="/mnt/data", source="/mnt/data", off=0, version=2):
    message = struct.pack("<12I64s64s", MAGIC, SETUP, version, 1000, 1000, 0o077, landlock, len(rlimits), len(filter), off, sum(CLONE_NEW.values()), 0,
                          work.encode(), source.encode())
    for i in range(16):
        r = rlimits[i] if i < len(rlimits) else (0, 0, 0)
        message += struct.pack("<IIQQ", r[0], 0, r[1], r[2])
    return message + b"".join(struct.pack("<HBBI", *f) for f in filter)


def tlv(tag, value):
    return struct.pack("<HHI", tag, 0, len(value)) + value


def go_message(source, name="main.py", args=(), env=(), limits=()):
    body = tlv(SPEC["name"], name.encode()) + tlv(SPEC["source"], source if isinstance(source, bytes) else source.encode())
    body += b"".join(tlv(SPEC["arg"], a.encode()) for a in args)
    body += b"".join(tlv(SPEC["env"], e.encode()) for e in env)
    body += b"".join(tlv(SPEC[k], struct.pack("<Q", v)) for k, v in limits)
    return struct.pack("<II", MAGIC, len(body)) + body


def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def first_process(ready, go, status, cgroup_delay=0):
    """PID 1 of a pod: mounts, then reports what it reaps as lines of JSON."""
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.write(ready, b"u")
    if os.read(go, 1) != b"m":
        os._exit(1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    call("mount", b"none", b"/", None, 0x44000, None)
    call("mount", b"proc", b"/proc", b"proc", 14, None)
    call("mount", b"tmpfs", b"/tmp", b"tmpfs", 6, b"mode=700,uid=1000,gid=1000")
    call("mount", b"tmpfs", b"/mnt", b"tmpfs", 6, b"mode=755")
    os.mkdir("/mnt/data")
    os.chown("/mnt/data", 1000, 1000)
    os.chmod("/mnt/data", 0o700)
    call("unshare", CLONE_NEW["cgroup"])
    os.write(ready, b"r")
    reader = select.poll()
    reader.register(status, 0)
    while not reader.poll(0):  # an error: nobody reads any more
        signal.sigtimedwait([signal.SIGCHLD], 1)
        while True:
            try:
                pid, how, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            line = {"pid": pid, "status": how, "cpu": usage.ru_utime + usage.ru_stime, "faults": usage.ru_minflt}
            os.write(status, json.dumps(line).encode() + b"\n")


def make_pod(index, status):
    """In the keeper: a fresh PID 1, its pid as seen from outside."""
    ready_r, ready_w = os.pipe()
    go_r, go_w = os.pipe()
    pid_r, pid_w = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(TEMPLATE_ID)
            call("unshare", sum(v for k, v in CLONE_NEW.items() if k != "cgroup"))
            inner = os.fork()
            if inner == 0:
                first_process(ready_w, go_r, status)
            os.write(pid_w, str(inner).encode())
        finally:
            os._exit(0)
    pid = int(os.read(pid_r, 16))
    os.waitpid(child, 0)
    assert os.read(ready_r, 1) == b"u"
    base = FIRST_POD_ID + 2 * index
    for kind in ("gid_map", "uid_map"):
        with open(f"/proc/{pid}/{kind}", "w") as f:
            f.write(f"0 {base} 1\n1000 {base + 1} 1\n")
    os.write(go_w, b"m")
    os.close(ready_w)
    assert os.read(ready_r, 1) == b"r", "the pod's first process failed"
    for fd in (ready_r, go_r, go_w, pid_r, pid_w):
        os.close(fd)
    return pid


def keeper(control):
    """Root in U0. One request: the index of a pod and its status pipe; the answer: the pid."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    index = 0
    while True:
        data, fds, _, _ = socket.recv_fds(control, 16, 1)
        if not data:
            os._exit(0)
        pid = make_pod(index, fds[0])
        index += 1
        os.close(fds[0])
        control.send(str(pid).encode())


class Program:
    """A program forked into a pod, from ready to reaped."""

    def __init__(self, host, stdin=None, cgroups=()):
        self.status_r, status_w = os.pipe()
        self.init = host.new_pod(status_w)
        os.close(status_w)
        self.pidfd = os.pidfd_open(self.init)
        self.go, far_go = socket.socketpair()
        pipes = [os.pipe() for _ in range(3)]
        self.stdin, self.stdout, self.stderr = pipes[0][1], pipes[1][0], pipes[2][0]
        far = [self.pidfd, pipes[0][0], pipes[1][1], pipes[2][1], far_go.fileno(), *cgroups]
        started = time.perf_counter()
        self.tag = host.send_fork(far, len(cgroups))
        for fd in far[1:4]:
            os.close(fd)
        far_go.close()
        self.reply = host.reply()
        self.forked = time.perf_counter() - started
        if self.reply["type"] == FORKED:
            self.ready = self.read_ready()
        self.waiting = time.perf_counter() - started

    def read_ready(self):
        message = self.go.recv(128, socket.MSG_WAITALL)
        magic, pid, error, text = struct.unpack("<Iii116s", message)
        assert magic == MAGIC
        return {"pid": pid, "error": error, "text": text.rstrip(b"\0").decode()}

    def release(self, source, **how):
        self.go.sendall(go_message(source, **how))

    def host_pid(self):
        with open(f"/proc/{self.init}/task/{self.init}/children") as f:
            return int(f.read().split()[0])

    def finish(self, stdin=b"", timeout=30):
        """Feed and drain; the end as (exit code or -signal, stdout, stderr)."""
        out = {self.stdout: bytearray(), self.stderr: bytearray()}
        readers, writers, line, end = {self.stdout, self.stderr, self.status_r}, {self.stdin}, b"", None
        deadline = time.monotonic() + timeout
        os.set_blocking(self.stdin, False)
        while readers - {self.status_r} or end is None:
            if not stdin and writers:
                os.close(self.stdin)
                writers = set()
            r, w, _ = select.select(readers, writers, [], max(0, deadline - time.monotonic()))
            if not r and not w:
                self.kill()
                raise TimeoutError(f"stdout {bytes(out[self.stdout])!r} stderr {bytes(out[self.stderr])!r}")
            for fd in w:
                try:
                    stdin = stdin[os.write(fd, stdin[:65536]):]
                except BrokenPipeError:
                    stdin = b""
            for fd in r:
                data = os.read(fd, 65536)
                if not data:
                    readers.discard(fd)
                elif fd == self.status_r:
                    line += data
                else:
                    out[fd] += data
            for one in line.split(b"\n")[:-1]:
                one = json.loads(one)
                if one["pid"] == self.ready["pid"]:
                    end = one
                    # What a dead program's children still hold open is not waited for.
                    readers -= {self.stdout, self.stderr} if not select.select([self.stdout, self.stderr], [], [], 0.05)[0] else set()
        self.end = end
        self.kill()
        return os.waitstatus_to_exitcode(end["status"]), bytes(out[self.stdout]), bytes(out[self.stderr])

    def kill(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        select.select([self.pidfd], [], [], 20)
        for fd in (self.status_r, self.stdout, self.stderr, self.pidfd):
            os.close(fd)
        self.go.close()


class Host:
    """U0, its keeper and one template."""

    def __init__(self, start, package_set="bare", **setup):
        self.control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asks, keeper_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made_r, made_w = os.pipe()
        mapped_r, mapped_w = os.pipe()
        self.keeper = os.fork()
        if self.keeper == 0:
            try:
                call("unshare", CLONE_NEW["user"])
                os.write(made_w, b"u")
                os.read(mapped_r, 1)
                become(0)
                template = os.fork()
                if template == 0:
                    null = os.open("/dev/null", os.O_RDWR)
                    os.dup2(null, 0)
                    os.dup2(far.fileno(), 3)
                    os.set_inheritable(3, True)
                    become(TEMPLATE_ID)
                    os.execv(start, [start, package_set])
                os.write(made_w, struct.pack("<i", template))
                for s in (far, self.control, self.asks):
                    s.close()
                keeper(keeper_end)
            finally:
                os._exit(1)
        os.read(made_r, 1)
        for kind in ("gid_map", "uid_map"):
            with open(f"/proc/{self.keeper}/{kind}", "w") as f:
                f.write(f"0 {OUTER_BASE} {OUTER_COUNT}\n")
        os.write(mapped_w, b"m")
        self.template = struct.unpack("<i", os.read(made_r, 4))[0]
        for fd in (made_r, made_w, mapped_r, mapped_w):
            os.close(fd)
        far.close()
        keeper_end.close()
        self.tag = 0
        started = time.perf_counter()
        self.control.send(setup_message(**setup))
        self.hello = self.reply()
        self.startup = time.perf_counter() - started

    def reply(self):
        message = self.control.recv(512)
        if not message:
            return {"type": 0}
        magic, kind, tag, pid, error, text = struct.unpack("<IIQii256s", message)
        assert magic == MAGIC
        return {"type": kind, "tag": tag, "pid": pid, "error": error, "text": text.rstrip(b"\0").decode()}

    def new_pod(self, status):
        socket.send_fds(self.asks, [b"p"], [status])
        return int(self.asks.recv(16))

    def send_fork(self, fds, cgroups=0):
        self.tag += 1
        self.control.sendmsg([struct.pack("<IIQII", MAGIC, FORK, self.tag, cgroups, 0)],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        return self.tag

    def program(self, **how):
        return Program(self, **how)

    def run(self, source, stdin=b"", timeout=30, **how):
        program = self.program()
        program.release(source, **how)
        result = program.finish(stdin, timeout)
        self.last = program
        return result

    def close(self):
        self.control.close()
        self.asks.close()
        os.waitpid(self.keeper, 0)
