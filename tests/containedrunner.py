# SPDX-License-Identifier: Apache-2.0
"""The runner as PID 1 of a container that a test makes itself: namespaces, user 65532, no capability, two tmpfs, and a network
namespace in which nothing is but the runner and who speaks to it. Frames as worker/frame.h has them."""
import contextlib
import ctypes
import hashlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import threading

import system

PORT = 8765
TOKEN = secrets.token_bytes(32)
KNOCK = b"MRKNOCK1" + TOKEN
SPEC, START, STDIN, STDIN_EOF, SIGNAL, KILL, COLLECT = 1, 2, 3, 4, 5, 6, 7
FRAME_VERSION = 2
READY, STARTED, STDOUT, STDERR, EXIT, ERROR, FILE_BEGIN, FILE_DATA, DONE, DEAD = 64, 65, 66, 67, 70, 71, 72, 73, 75, 76
ARGV, ENV, SOURCE_NAME, SOURCE, WALL_MS, STDIN_OPEN = 1, 2, 3, 4, 6, 12
CLONE_NEWNET = 0x40000000
SETUP = """set -e
ip link set lo up
mount -t tmpfs -o mode=0777,size=16m tmpfs /mnt
{work}
mount -t tmpfs -o mode=1777,size=16m tmpfs /tmp
install -m 0755 {runner} /mnt/runner
exec setpriv --reuid 65532 --regid 65532 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs /mnt/runner "$@"
"""
WORK = "mkdir -m 0777 /mnt/data"


def frame(kind, payload=b""):
    return struct.pack("<IB3x", len(payload), kind) + payload


def item(tag, value):
    return struct.pack("<HHI", tag, 0, len(value)) + value


def spec(code, *argv, name=b"main.py"):
    items = [item(ARGV, a.encode()) for a in argv]
    items += [item(ENV, b"PATH=/usr/bin:/bin"), item(SOURCE_NAME, name), item(SOURCE, code.encode()),
              item(WALL_MS, struct.pack("<Q", 20000)), item(STDIN_OPEN, struct.pack("<Q", 1))]
    return frame(SPEC, b"".join(items))


COLLECT_ALL = frame(COLLECT, struct.pack("<QQQQ", 100, 1 << 20, 1 << 24, 0) + b"main.py\0")


class Container:
    def __init__(self, *args, work=WORK):
        script = SETUP.format(work=work, runner=system.BIN / "millrace-runner")
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script,
             "sh", f"--listen={PORT}", f"--token={hashlib.sha256(TOKEN).hexdigest()}", *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def init(self):
        inside = [pid for pid, (parent, _) in system.parents().items() if parent == self.process.pid]
        return inside[0] if inside else None

    def dial(self, send=b"", timeout=20):
        """A connection from within its network namespace, once somebody listens there; a thread alone goes there."""
        sock = self.inside(lambda try_it: system.wait_until("the runner listens", try_it))
        sock.settimeout(timeout)
        sock.sendall(send)
        return sock

    def listens(self):
        if sock := self.inside(lambda try_it: try_it()):
            sock.close()
        return sock is not None

    def inside(self, how):
        made = []

        def work():
            def there():
                pid = self.init()
                if pid is None:
                    return None
                with contextlib.suppress(OSError), open(f"/proc/{pid}/ns/net") as net:
                    if ctypes.CDLL(None, use_errno=True).setns(net.fileno(), CLONE_NEWNET) != 0:
                        return None
                    sock = socket.socket()
                    try:
                        sock.connect(("127.0.0.1", PORT))
                        return sock
                    except OSError:
                        sock.close()
                return None

            made.append(how(there))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]

    def end(self):
        with contextlib.suppress(ProcessLookupError):  # it may end by itself just now
            if (pid := self.init()) is not None:
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        return self.process.stderr.read()


@contextlib.contextmanager
def container(*args, **how):
    made = Container(*args, **how)
    try:
        yield made
    finally:
        made.end()


def exactly(sock, size):
    data = b""
    while len(data) < size:
        if not (piece := sock.recv(size - len(data))):
            raise EOFError(f"{len(data)} of {size} bytes")
        data += piece
    return data


def read_frame(sock):
    size, kind = struct.unpack("<IB3x", exactly(sock, 8))
    return kind, exactly(sock, size)


def read_until(sock, last):
    frames = []
    while not frames or frames[-1][0] != last:
        frames.append(read_frame(sock))
    return frames


def is_closed(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
    finally:
        sock.close()


def output(frames, kind=STDOUT):
    return b"".join(payload for k, payload in frames if k == kind).decode()


def exit_of(frames):
    code, number, end, _ = struct.unpack_from("<iiII", next(payload for k, payload in frames if k == EXIT))
    return code, number, end


def alive(container):
    return container.process.poll() is None and os.path.exists(f"/proc/{container.process.pid}")
