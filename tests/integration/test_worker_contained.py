# SPDX-License-Identifier: Apache-2.0
"""The runner in a container of its own, reached over TCP (worker/knock.h): who is let in, what it says to whom, that it
works once, and that its programs are walled off although their container has a network."""
import socket
import struct

import pytest

from containedrunner import (COLLECT_ALL, DONE, ERROR, EXIT, FILE_BEGIN, FILE_DATA, FRAME_VERSION, KNOCK, READY, SIGNAL, START, STARTED,
                             STDERR, STDIN, STDIN_EOF, container, exit_of, frame, is_closed, output, read_frame, read_until, spec)
from system import wait_until

PYTHON = ("--warm=python-bare", "--needs=/usr/bin/python3")
BASH = ("--needs=/bin/bash",)
WAITING_BASH = ("--warm=bash", *BASH)


def run(made, code, *argv, more=b"", **how):
    with made.dial(KNOCK) as sock:
        assert read_frame(sock) == (READY, struct.pack("<I", FRAME_VERSION))
        sock.sendall(spec(code, *argv, **how) + frame(START) + more)
        return read_until(sock, DONE)


def test_a_warm_python_runs_one_program_and_ends():
    with container(*PYTHON) as made:
        frames = run(made, "import os, sys\nprint(os.getpid() != 1, os.getcwd(), os.getuid(), sys.argv)", "/usr/bin/python3")
        assert output(frames) == "True /mnt/data 65532 ['main.py']\n", frames
        assert exit_of(frames) == (0, 0, 0)
        wait_until("the runner ends with its connection", lambda: made.process.poll() is not None)


@pytest.mark.parametrize("options", [BASH, WAITING_BASH], ids=["cold", "warm"])
def test_a_bash_has_input_signals_and_files(options):
    with container(*options) as made, made.dial(KNOCK) as sock:
        assert read_frame(sock)[0] == READY
        code = 'trap "echo got > caught" USR1; read a; echo "in: $a"; kill -USR1 $$; read b || echo end'
        sock.sendall(COLLECT_ALL + spec(code, "/bin/bash", "main.py") + frame(START) + frame(STDIN, b"one\n"))
        frames = [read_frame(sock)]
        while not output(frames):
            frames.append(read_frame(sock))
        sock.sendall(frame(STDIN_EOF))
        frames += read_until(sock, DONE)
        assert output(frames) == "in: one\nend\n"
        assert any(kind == FILE_BEGIN and payload.endswith(b"caught") for kind, payload in frames)
        assert output(frames, FILE_DATA) == "got\n"


@pytest.mark.parametrize("greeting", [b"", b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n", KNOCK[:-1] + bytes([KNOCK[-1] ^ 1]),
                                      b"x" + KNOCK, KNOCK[:8] + b"\0" * 32, frame(START) * 8],
                         ids=["silence", "http", "wrong token", "shifted", "no token", "frames"])
def test_a_stranger_hears_nothing_and_the_worker_is_let_in(greeting):
    with container(*BASH) as made:
        assert is_closed(made.dial(greeting))
        assert exit_of(run(made, "exit 3", "/bin/bash", "main.py"))[0] == 3


def test_many_strangers_do_not_keep_the_worker_out():
    with container(*BASH) as made:
        strangers = [made.dial(KNOCK[:9]) for _ in range(20)]
        assert exit_of(run(made, "exit 4", "/bin/bash", "main.py"))[0] == 4
        assert all(is_closed(sock) for sock in strangers)


def test_an_idle_pod_is_taken_over_and_a_working_one_is_not():
    with container(*BASH) as made:
        first = made.dial(KNOCK)
        assert read_frame(first)[0] == READY
        second = made.dial(KNOCK)
        assert read_frame(second)[0] == READY
        assert is_closed(first)
        second.sendall(spec("read a; exit 5", "/bin/bash", "main.py") + frame(START))
        assert read_frame(second)[0] == STARTED
        assert not made.listens()
        second.sendall(frame(STDIN, b"\n"))
        assert exit_of(read_until(second, DONE))[0] == 5


def test_an_idle_pod_outlives_its_worker():
    with container(*PYTHON) as made:
        with made.dial(KNOCK) as sock:
            assert read_frame(sock)[0] == READY
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as after kill -9 of its host
        assert output(run(made, "print(1)", "/usr/bin/python3")) == "1\n"


def test_a_working_pod_ends_with_its_worker():
    with container(*PYTHON) as made:
        with made.dial(KNOCK) as sock:
            read_frame(sock)
            sock.sendall(spec("import time; print(1); time.sleep(100)", "/usr/bin/python3") + frame(START))
            read_until(sock, STARTED)
        wait_until("nobody is left to work for", lambda: made.process.poll() is not None)


@pytest.mark.parametrize("orders", [struct.pack("<IB3x", 1 << 30, 1), frame(200), frame(SIGNAL), b"\xff" * 64],
                         ids=["oversized", "unknown", "out of turn", "garbage"])
def test_orders_that_the_protocol_does_not_allow_end_the_pod(orders):
    with container(*BASH) as made, made.dial(KNOCK) as sock:
        assert read_frame(sock)[0] == READY
        sock.sendall(orders)
        assert is_closed(sock)
        wait_until("the pod ends", lambda: made.process.poll() is not None)


WALLS = """
import ctypes, errno, os, signal, socket
def name(call, *args):
    try:
        call(*args)
        return "done"
    except OSError as e:
        return errno.errorcode[e.errno]
print(name(socket.socket, socket.AF_INET), name(socket.socket, socket.AF_INET6), name(socket.socket, socket.AF_UNIX))
print(name(open, "/proc/1/mem"), name(os.listdir, "/proc/1/fd"))
name(os.kill, 1, signal.SIGKILL)  # what it says is up to the kernel's Landlock; nothing may come of it
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), errno.errorcode[ctypes.get_errno()])
print(open("/proc/self/oom_score_adj").read().strip(), os.environ.get("LD_PRELOAD"))
print(sorted(os.listdir("/proc/self/fd"))[:3], [l.split()[1] for l in open("/proc/self/status") if l.startswith(("Seccomp:", "NoNewPrivs:"))])
"""


def test_a_program_sees_no_network_and_no_runner():
    with container(*PYTHON) as made:
        frames = run(made, WALLS, "/usr/bin/python3")
        assert output(frames).splitlines() == ["EPERM EPERM done", "EACCES EACCES", "-1 EPERM", "1000 None",
                                               "['0', '1', '2'] ['1', '2']"], (output(frames), output(frames, STDERR))


@pytest.mark.parametrize("args, how, why", [
    (("--needs=/usr/bin/no-such-tool",), {}, "/usr/bin/no-such-tool: is missing in this image"),
    (BASH, {"work": "mkdir -m 0777 /mnt/real; ln -s real /mnt/data"}, "/mnt/data: is a link in this image"),
    (BASH, {"work": "mkdir -m 0755 /mnt/data"}, "/mnt/data: cannot be written by this user"),
    (("--warm=cobol",), {}, "cobol: is no interpreter that can be started ahead"),
    (("--token=12",), {}, "--token=12: is no option, or has no such value"),
], ids=["toolchain", "link", "read-only", "interpreter", "token"])
def test_an_image_or_specification_that_will_not_do_is_refused_by_name(args, how, why):
    with container(*args, **how) as made:
        assert made.process.wait(timeout=20) == 78
        assert why in made.process.stderr.read()


def test_an_interpreter_that_cannot_start_says_why():
    with container("--warm=python-science", work="mkdir -m 0777 /mnt/data; mount -t tmpfs tmpfs /usr/lib/python3/dist-packages") as made:
        with made.dial(KNOCK) as sock:
            kind, text = read_frame(sock)
            assert (kind, b"numpy" in text) == (ERROR, True), (kind, text)
