# SPDX-License-Identifier: Apache-2.0
"""The object store as the programs use it: told by /health of each, in the folder that the settings name."""
import stat

import httpx
from system import wait_until


def objects_of(system, part):
    port = system.children(part)[0]["port"]
    return httpx.get(f"http://127.0.0.1:{port}/health").json()["objects"]


def test_every_program_reaches_the_directory(system):
    for part in ("api", "worker"):
        wait_until(f"{part} has asked", lambda: objects_of(system, part)["ok"])
        assert objects_of(system, part)["store"] == "directory"
    assert stat.S_ISDIR((system.object_folder() / ".tmp").stat().st_mode)


def test_the_setting_names_the_folder_and_a_broken_one_is_told(make_system):
    made = make_system(env={"OBJECT_STORE_PATH": "/dev/null/objects"})
    for part in ("api", "worker"):
        wait_until("it has asked", lambda: "asked yet" not in objects_of(made, part)["why"])
        told = objects_of(made, part)
        assert not told["ok"] and "/dev/null/objects" in told["why"]
    assert not made.object_folder().exists()
    # What needs no objects runs all the same.
    assert made.millrace("run", "--lang", "py", "-", stdin="print(6*7)").stdout == "42\n"
