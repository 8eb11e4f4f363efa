# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import forkpod  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def build():
    return pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build" / "test"))


@pytest.fixture(scope="session")
def start(build):
    return str(build / "hazards" / "template_start")


@pytest.fixture(scope="session")
def host(start):
    """One template with everything on; its programs are independent of each other."""
    host = forkpod.Host(start, landlock=1, rlimits=[(4, 0, 0), (7, 1024, 1024)])
    yield host
    host.close()
