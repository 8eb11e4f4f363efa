# SPDX-License-Identifier: Apache-2.0
"""The object store as the programs use it: told by /health of each, in the folder that the settings name."""
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import httpx
import pytest
from conftest import finish
from contract import Api
from minio import Minio, binary
from system import BIN, PLAIN_ENV, wait_until


def objects_of(system, part):
    port = system.children(part)[0]["port"]
    return httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).json()["objects"]


def test_every_program_reaches_the_directory(system):
    for part in ("api", "worker"):
        wait_until(f"{part} has asked", lambda: objects_of(system, part)["ok"])
        assert objects_of(system, part)["store"] == "directory"
    assert stat.S_ISDIR((system.object_folder() / ".tmp").stat().st_mode)


def test_the_setting_names_the_folder_and_a_broken_one_is_told(make_system):
    made = make_system(env={"OBJECT_STORE_PATH": "/dev/null/objects"}, options=("--archivers", "0"))
    for part in ("api", "worker"):
        wait_until("it has asked", lambda: "asked yet" not in objects_of(made, part)["why"])
        told = objects_of(made, part)
        assert not told["ok"] and "/dev/null/objects" in told["why"]
    assert not made.object_folder().exists()
    # What needs no objects runs all the same.
    assert made.millrace("run", "--lang", "py", "-", stdin="print(6*7)").stdout == "42\n"


def test_a_minio_of_its_own(make_system):
    """--minio: the whole system on S3; its keys are in no command line and no environment."""
    made = make_system(options=("--minio", binary()))
    for part in ("api", "worker"):
        wait_until(f"{part} has asked", lambda: objects_of(made, part)["ok"])
        assert objects_of(made, part) == {"store": "s3", "ok": True, "why": None if part == "api" else ""}
    assert made.millrace("run", "--lang", "py", "-", stdin="print(6*7)").stdout == "42\n"
    assert (made.state / "minio" / "millrace-files").is_dir()
    key = (made.state / "minio.key").read_text()
    for pid, line in made.seen.items():
        assert key not in line
    pid = made.children("minio")[0]["pid"]
    assert key.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert not made.object_folder().exists()


@pytest.fixture
def elsewhere(tmp_path):
    server = Minio(tmp_path / "minio", tls=True, region="eu-test-1")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone, and a worker is not root
        os.chmod(folder, 0o755)
        server.ca_file = shutil.copy(server.ca_file, folder)
        yield server
    server.stop()


def test_the_whole_system_on_an_s3_of_other_people(elsewhere, make_system):
    """TLS signed by a made authority, the bucket in the host name, another region: files up, into a run, out of it, and down."""
    made = make_system(env={**elsewhere.settings, "MINIO_ENDPOINT": f"localhost:{elsewhere.port}", "MINIO_REGION": "eu-test-1",
                            "MINIO_VIRTUAL_HOST": "true"})
    with Api(made) as api:
        data = os.urandom(9 << 20)
        told = api.post("/upload", files={"file": ("d/in.bin", data)}).json()
        ref = {"id": told["files"][0]["fileId"], "session_id": told["session_id"], "name": "d/in.bin"}
        body = api.exec("bash", "cat d/in.bin > out.bin; : > empty", files=[ref])
        files = {file["name"]: file for file in body["files"]}
        assert set(files) == {"d/in.bin", "out.bin", "empty"} and files["d/in.bin"]["inherited"] is True, body
        for name, expected in (("out.bin", data), ("empty", b""), ("d/in.bin", data)):
            assert api.get(f"/download/{files[name]['session_id']}/{files[name]['id']}").content == expected
    finish(made)  # before its store goes


@pytest.mark.parametrize("env, sentence", [
    ({"OBJECT_STORE": "s3"}, "s3 needs MINIO_ACCESS_KEY and MINIO_SECRET_KEY"),
    ({"OBJECT_STORE": "s4"}, "OBJECT_STORE"),
    ({"MINIO_ENDPOINT": "http://localhost:9000"}, "MINIO_ENDPOINT: must be host[:port]"),
    ({"OBJECT_STORE_PATH": "objects"}, "OBJECT_STORE_PATH: must be an absolute path"),
])
def test_bad_settings_of_the_store(tmp_path, env, sentence):
    done = subprocess.run([BIN / "millrace", "config", "validate"], cwd=tmp_path, env={**PLAIN_ENV, **env}, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 1 and sentence in done.stdout + done.stderr


def test_minio_beside_another_store_is_refused(tmp_path):
    done = subprocess.run([BIN / "millrace", "up", "--state", tmp_path / "s", "--minio", "/bin/true"], cwd=tmp_path,
                          env={**PLAIN_ENV, "HOME": str(tmp_path), "MINIO_ENDPOINT": "s3.example.com"}, text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 1 and "MINIO_ENDPOINT is set; give one of the two" in done.stderr
