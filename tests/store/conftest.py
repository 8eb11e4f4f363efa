# SPDX-License-Identifier: Apache-2.0
"""The object store by hand (store_tool), on a directory, on MinIO, and on MinIO with TLS."""
import json
import subprocess

import pytest
from minio import Minio
from system import BUILD, PLAIN_ENV

TOOL = BUILD / "store" / "store_tool"


class Store:
    """One store_tool. Calls answer what it told."""

    def __init__(self, env):
        self.process = subprocess.Popen([TOOL], env={**PLAIN_ENV, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def told(self):
        line = self.process.stdout.readline()
        assert line, f"the tool ended: {self.process.wait()} {self.process.stderr.read()}"
        return json.loads(line)

    def __call__(self, *words):
        self.tell(*words)
        return self.told()

    def put(self, key, size=10, seed=1, source="bytes", flags="-"):
        return self("put", key, size, seed, source, flags)

    def get(self, key, start=0, length=0, sha256="-", flags="-"):
        return self("get", key, start, length, sha256, flags)

    def list(self, prefix="-", cursor="-", limit=1000):
        return self("list", prefix, cursor, limit)

    def close(self):
        if self.process.poll() is not None:
            return  # the test ended it
        self.process.stdin.close()
        code = self.process.wait(60)
        err = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0, err


def s3_env(minio, bucket, **more):
    return {"STORE_KIND": "s3", "STORE_ENDPOINT": minio.endpoint, "STORE_BUCKET": bucket,
            "STORE_ACCESS_KEY": minio.access_key, "STORE_SECRET_KEY": minio.secret_key,
            "STORE_SECURE": "1" if minio.tls else "", "STORE_CA_FILE": minio.ca_file, "STORE_PART_SIZE": str(5 << 20),
            **more}


@pytest.fixture(scope="session")
def minio(tmp_path_factory):
    server = Minio(tmp_path_factory.mktemp("minio"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def minio_tls(tmp_path_factory):
    server = Minio(tmp_path_factory.mktemp("minio-tls"), tls=True)
    yield server
    server.stop()


@pytest.fixture
def open_store():
    """Tools that are ended, in order, at the end of the test."""
    opened = []

    def open_one(env):
        opened.append(Store(env))
        return opened[-1]
    yield open_one
    for one in opened:
        one.close()


@pytest.fixture(params=["directory", "minio", "minio_tls"])
def store_env(request, tmp_path):
    if request.param == "directory":
        return {"STORE_KIND": "directory", "STORE_PATH": str(tmp_path / "objects")}
    return s3_env(request.getfixturevalue(request.param), "bucket-" + tmp_path.name.replace("_", "-").lower()[:40].strip("-"))


@pytest.fixture
def store(store_env, open_store):
    return open_store(store_env)
