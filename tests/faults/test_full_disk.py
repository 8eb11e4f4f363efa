# SPDX-License-Identifier: Apache-2.0
"""F16: where a worker puts the files of runs there is no room. A run says so, the worker lives, and with room again all is as before."""
import os
import pathlib
import subprocess
import tempfile

import pytest

FILE = 3 << 20
WRITES = f"open('a', 'wb').write(b'y' * {FILE}); print('done')"


@pytest.fixture
def small():
    """A disk of 1 MiB, to which the worker comes too. (Its name is not ours: others look for mounts of Millrace that were left.)"""
    with tempfile.TemporaryDirectory(prefix="full-disk-") as name:
        os.chmod(name, 0o755)
        folder = pathlib.Path(name) / "small"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", folder], check=True)
        yield folder
        subprocess.run(["umount", "--lazy", folder], check=True)  # the programs that have it open end behind us


def test_no_room_for_the_files_of_a_run(small, make_scene):
    scene = make_scene(apis=1, workers=1, env={"OBJECT_STORE_PATH": str(small)})
    pid = scene.plant.worker1.worker_pid()

    def run(key, code):
        return scene.run(scene.client().execute(key, {"lang": "py", "code": code, "timeout_ms": 20000}, None))
    full = run("k1", WRITES)
    assert (full["status"], full["stdout"], full["files"]) == ("completed", "done\n", [])
    assert full["refused_files"] == [{"name": "a", "reason": "not_stored"}]
    assert run("k2", "print(2)")["stdout"] == "2\n"
    subprocess.run(["mount", "-o", "remount,size=32m", small], check=True)
    again = run("k3", WRITES)
    assert again["status"] == "completed" and [file["name"] for file in again["files"]] == ["a"]
    assert scene.plant.worker1.worker_pid() == pid
