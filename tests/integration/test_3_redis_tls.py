# SPDX-License-Identifier: Apache-2.0
"""The whole system on a Redis with TLS, a made authority, and a user with a password."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from certificates import make_certificates
from system import BIN, PLAIN_ENV, System, free_port, wait_until

USER, PASSWORD = "mill", "a p@ss:w/rd"
QUOTED = "mill:a%20p%40ss%3Aw%2Frd"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("redis-tls")
    make_certificates(directory)
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    (directory / "users").write_text(f"user default off\nuser {USER} on #{digest} ~* &* +@all\n")
    port = free_port()
    process = subprocess.Popen(
        ["/usr/bin/redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "127.0.0.2",
         "--dir", str(directory),
         "--tls-cert-file", "public.crt", "--tls-key-file", "private.key", "--tls-ca-cert-file", "ca.crt",
         "--tls-auth-clients", "no", "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory", "1gb",
         "--maxmemory-policy", "noeviction", "--aclfile", str(directory / "users")],
        cwd=directory, stdin=subprocess.DEVNULL, stdout=open(directory / "log", "wb"), stderr=subprocess.STDOUT)
    wait_until("Redis is ready", lambda: "Ready to accept connections" in (directory / "log").read_text())
    with tempfile.TemporaryDirectory() as readable:  # by the worker too, which is another user
        os.chmod(readable, 0o755)
        yield pathlib.Path(shutil.copy(directory / "ca.crt", readable)), port
    process.terminate()
    process.wait(20)


def settings(server, **other):
    authority, port = server
    return {"REDIS_URL": f"rediss://{QUOTED}@localhost:{port}", "REDIS_CA_FILE": str(authority), **other}


def test_a_run_goes_through_it(server, tmp_path):
    system = System(tmp_path, env=settings(server))
    try:
        (tmp_path / "p.py").write_text("print('over TLS')")
        assert system.millrace("run", tmp_path / "p.py").stdout == "over TLS\n"
    finally:
        assert system.stop() == 0
    assert system.residue() == []


def told(server, **other):
    """What a program that needs the store says of it."""
    done = subprocess.run([BIN / "millrace", "replay", "--verify"], env={**PLAIN_ENV, **settings(server, **other)}, cwd="/",
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("other, why", [
    ({"REDIS_CA_FILE": ""}, "self-signed certificate"),
    ({"REDIS_CA_FILE": "/nowhere/ca.crt"}, "REDIS_CA_FILE"),
    ({"REDIS_URL": "rediss://mill:wrong@localhost:{port}"}, "WRONGPASS"),
    ({"REDIS_URL": "rediss://" + QUOTED + "@127.0.0.2:{port}"}, "IP address mismatch"),
    ({"REDIS_URL": "redis://" + QUOTED + "@localhost:{port}"}, "connection"),
])
def test_what_does_not_fit_is_told(server, other, why):
    code, text = told(server, **{name: value.format(port=server[1]) for name, value in other.items()})
    assert code == 125 and why in text, text


def test_the_settings_one_by_one(server):
    code, text = told(server, REDIS_URL="", REDIS_HOST="localhost", REDIS_PORT=str(server[1]), REDIS_SSL="true",
                      REDIS_PASSWORD="of the default user, who is off")
    assert code == 125 and "WRONGPASS" in text
