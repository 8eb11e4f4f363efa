# SPDX-License-Identifier: Apache-2.0
"""Controls outside: what becomes of one who trusts names where a pod's files are taken by descriptors when nothing else lives (A4, A5,
A6, A8, A9, A12, A17, A20); and of a connection, where the network is the host's (A134)."""
import contextlib
import errno
import os
import select
import shutil
import signal
import socket
import time

import pytest

from system import wait_until

SECRET = "secret of the host"


@contextlib.contextmanager
def meanwhile(step):
    """A process that does nothing else, until its end."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                step()
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def a_moment():
    time.sleep(0.001)  # between the look and the use


def test_a_written_name_may_be_a_link(tmp_path):
    """A4"""
    (tmp_path / "in.csv").symlink_to(tmp_path / "pwn")
    (tmp_path / "in.csv").write_text("upload")
    assert (tmp_path / "pwn").read_text() == "upload"


def test_what_was_no_link_is_one_when_it_is_read(tmp_path):
    """A5"""
    (tmp_path / "secret").write_text(SECRET)

    def swap():
        (tmp_path / "real").write_text("real")
        os.rename(tmp_path / "real", tmp_path / "out")
        os.symlink(tmp_path / "secret", tmp_path / "link")
        os.rename(tmp_path / "link", tmp_path / "out")

    def leaks():
        with contextlib.suppress(FileNotFoundError):
            if not os.path.islink(tmp_path / "out"):
                a_moment()
                return (tmp_path / "out").read_text() == SECRET
        return False
    with meanwhile(swap):
        wait_until("the naive collector read the secret", leaks, 60)


def test_what_was_a_folder_is_a_link_when_it_is_written_to(tmp_path):
    """A6"""
    (tmp_path / "outside").mkdir()
    (tmp_path / "spare").mkdir()

    def swap():
        os.rename(tmp_path / "spare", tmp_path / "in")
        os.rename(tmp_path / "in", tmp_path / "spare")
        os.symlink(tmp_path / "outside", tmp_path / "in")
        os.unlink(tmp_path / "in")

    def writes():
        with contextlib.suppress(OSError):
            if not os.path.islink(tmp_path / "in"):
                a_moment()
                (tmp_path / "in" / "upload").write_text("x")
        return (tmp_path / "outside" / "upload").exists()
    with meanwhile(swap):
        wait_until("the naive upload went outside", writes, 60)


def test_a_fifo_holds_who_opens_it(tmp_path):
    """A8"""
    os.mkfifo(tmp_path / "out.txt")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(tmp_path / "out.txt", "rb"):
            os.write(write, b"opened")
        os._exit(0)
    assert not select.select([read], [], [], 0.3)[0]
    wait_until("it waits for a writer", lambda: opened(tmp_path / "out.txt"), 60)
    assert os.read(read, 6) == b"opened"
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)


def opened(fifo):
    with contextlib.suppress(OSError):  # nobody opens it yet
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


def test_a_socket_cannot_be_opened(tmp_path):
    """A9"""
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "out.sock"))
        with pytest.raises(OSError) as told:
            open(tmp_path / "out.sock", "rb")
    assert told.value.errno == errno.ENXIO


def test_blocks_do_not_tell_the_size(tmp_path):
    """A12"""
    for i in range(50):
        with open(tmp_path / str(i), "wb") as file:
            file.truncate(100 << 20)
    found = [os.stat(tmp_path / str(i)) for i in range(50)]
    assert sum(s.st_blocks * 512 for s in found) < 50 << 20 and sum(s.st_size for s in found) == 5000 << 20


def test_a_path_may_be_longer_than_any_path(tmp_path):
    """A17"""
    at, path = os.open(tmp_path, os.O_RDONLY), str(tmp_path)
    for _ in range(30):
        os.mkdir("x" * 200, dir_fd=at)
        below = os.open("x" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at, path = below, f"{path}/{'x' * 200}"
    os.close(at)
    with pytest.raises(OSError) as told:
        os.stat(path)
    assert told.value.errno == errno.ENAMETOOLONG
    shutil.rmtree(tmp_path / ("x" * 200))


def test_a_size_is_another_when_the_file_is_read(tmp_path):
    """A20"""
    file = tmp_path / "f"
    file.touch()

    def change():
        with open(file, "r+b", buffering=0) as f:
            f.write(b"x" * 1000)
            f.truncate(0)

    def differs():
        with open(file, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            a_moment()
            return len(f.read()) != size
    with meanwhile(change):
        wait_until("an announced size was wrong", differs, 60)


def test_a_connection_is_neither_made_nor_kept(place):
    """A134: with the host's network it is made, and its end is that of the pod."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import os, socket, time
try:
    s = socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5)
    if os.fork() == 0:
        os.setsid()
        time.sleep(3600)
    print("reached")
except OSError:
    print("stopped")
"""
        assert place.warm(code)["stdout"] == b"stopped\n"
        assert place.warm(code, off=("net_namespace", "landlock"))["stdout"] == b"reached\n"
        server.settimeout(60)
        peer, _ = server.accept()
        with peer:
            peer.settimeout(60)
            assert peer.recv(1) == b""
