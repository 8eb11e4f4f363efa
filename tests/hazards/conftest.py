# SPDX-License-Identifier: Apache-2.0
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "faults"))
import forkpod  # noqa: E402
import place as place_module  # noqa: E402
import pods as pods_module  # noqa: E402
import stale  # noqa: E402
from system import BUILD  # noqa: E402

# What runs the tests in the background may ignore some signals, and every child would too. A handler is not inherited over an exec.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def build():
    return BUILD


@pytest.fixture(scope="session")
def start(build):
    return str(build / "hazards" / "template_start")


@pytest.fixture(scope="session")
def host(start):
    """One template with everything on; its programs are independent of each other."""
    host = forkpod.Host(start, landlock=1, rlimits=[(4, 0, 0), (7, 1024, 1024)])
    yield host
    host.close()


@pytest.fixture
def pods(build, tmp_path):
    """Real pods; nothing of them may be left behind."""
    state = tmp_path / "spawner"
    state.mkdir()
    yield pods_module.Pods(build, state)
    pods_module.wait_until_gone(state)


@pytest.fixture(scope="session", autouse=True)
def nothing_stale():
    stale.sweep()


@pytest.fixture(scope="session")
def privileged(build):
    made = place_module.Place(build, privileged=True)
    yield made
    made.close()


@pytest.fixture(scope="session")
def rootless(build):
    made = place_module.Place(build, privileged=False)
    yield made
    made.close()


@pytest.fixture(params=["privileged", "rootless"])
def place(request):
    """Pods of a spawner with privilege, and of one without. Afterwards nothing is left and a normal job runs."""
    made = request.getfixturevalue(request.param)
    yield made
    made.check()
