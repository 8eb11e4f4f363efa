# SPDX-License-Identifier: Apache-2.0
"""The object store as the programs use it: told by /health of each, in the folder that the settings name."""
import pathlib
import stat
import subprocess

import httpx
import pytest
from minio import binary
from system import BIN, PLAIN_ENV, wait_until


def objects_of(system, part):
    port = system.children(part)[0]["port"]
    return httpx.get(f"http://127.0.0.1:{port}/health").json()["objects"]


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


@pytest.mark.parametrize("env, sentence", [
    ({"OBJECT_STORE": "s3"}, "s3 needs MINIO_ACCESS_KEY and MINIO_SECRET_KEY"),
    ({"OBJECT_STORE": "s4"}, "OBJECT_STORE"),
    ({"MINIO_ENDPOINT": "http://localhost:9000"}, "MINIO_ENDPOINT: must be host[:port]"),
    ({"OBJECT_STORE_PATH": "objects"}, "OBJECT_STORE_PATH: must be an absolute path"),
])
def test_bad_settings_of_the_store(tmp_path, env, sentence):
    done = subprocess.run([BIN / "millrace", "config", "validate"], cwd=tmp_path, env={**PLAIN_ENV, **env}, text=True,
                          capture_output=True, timeout=20, check=False)
    assert done.returncode == 1 and sentence in done.stdout + done.stderr


def test_minio_beside_another_store_is_refused(tmp_path):
    done = subprocess.run([BIN / "millrace", "up", "--state", tmp_path / "s", "--minio", "/bin/true"], cwd=tmp_path,
                          env={**PLAIN_ENV, "HOME": str(tmp_path), "MINIO_ENDPOINT": "s3.example.com"}, text=True,
                          capture_output=True, timeout=20, check=False)
    assert done.returncode == 1 and "MINIO_ENDPOINT is set; give one of the two" in done.stderr
