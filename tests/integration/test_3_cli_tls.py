# SPDX-License-Identifier: Apache-2.0
"""The command line against an API behind a proxy that ends TLS, as deployments have it."""
import contextlib
import socket
import ssl
import threading

import pytest
from certificates import make_certificates


class TlsProxy:
    """Ends TLS on a free port and passes the bytes to `target`."""

    def __init__(self, directory, target):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(directory / "public.crt", directory / "private.key")
        self.context, self.target = context, target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(raw,), daemon=True).start()

    def serve(self, raw):
        with contextlib.suppress(OSError), self.context.wrap_socket(raw, server_side=True) as client, \
                socket.create_connection(self.target) as server:
            back = threading.Thread(target=self.copy, args=(server, client), daemon=True)
            back.start()
            self.copy(client, server)
            back.join()

    @staticmethod
    def copy(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def secure(system, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    make_certificates(directory)
    proxy = TlsProxy(directory, ("127.0.0.1", int(system.url.rsplit(":", 1)[1])))
    yield {"MILLRACE_URL": f"https://localhost:{proxy.port}", "MILLRACE_CA_FILE": str(directory / "ca.crt")}
    proxy.listener.close()


def test_a_program_runs_as_if_it_was_here(system, secure, tmp_path):
    (tmp_path / "p.py").write_text("import sys\nfor line in sys.stdin: print('got', line, end='')\nsys.exit(7)")
    done = system.millrace("run", tmp_path / "p.py", stdin="one\ntwo\n", **secure)
    assert (done.stdout, done.returncode) == ("got one\ngot two\n", 7)


def test_the_asynchronous_life(system, secure, tmp_path):
    (tmp_path / "p.py").write_text("print('x' * 100000)")
    job = system.millrace("submit", tmp_path / "p.py", **secure).stdout.strip()
    assert system.millrace("tail", job, **secure).stdout == "x" * 100000 + "\n"
    assert job in system.millrace("jobs", **secure).stdout


@pytest.mark.parametrize("other", [{"MILLRACE_CA_FILE": ""}, {"MILLRACE_CA_FILE": "/nowhere"}])
def test_an_unknown_authority_is_told(system, secure, other):
    done = system.millrace("jobs", **{**secure, **other})
    assert done.returncode == 125 and "ertificate" in done.stderr, done.stderr
