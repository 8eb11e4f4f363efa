# SPDX-License-Identifier: Apache-2.0
"""What every folder of tests shares: whole systems (system.py), a client that checks the contract (contract.py)."""
import pytest

import backend as where
import kubeimages
import kubesuite


def pytest_addoption(parser):
    parser.addoption("--redis", choices=("own", "cluster"), default="own",
                     help="the store of the systems: up's own Redis, or one with cluster-enabled yes and 8 partitions")
    parser.addoption("--backend", choices=("local", "kubernetes"), default="local",
                     help="where the systems' programs run: in pods of this machine, or of a Kubernetes made for the tests")
    parser.addoption("--whole", action="store_true", help="with --backend kubernetes: also what the check has no time for")


def pytest_collection_modifyitems(config, items):
    kept = items[:]
    if config.getoption("--redis") == "cluster":  # what asks for no such store was shown with up's own
        kept = [item for item in kept if "cluster" in item.fixturenames]
    if config.getoption("--backend") == "kubernetes":
        kept = kubesuite.choose(config, kept, kubeimages.LANGUAGES)
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With a failure goes the end of what the system under test wrote: its folder is gone by the time that somebody reads of it."""
    outcome = yield
    if not outcome.get_result().failed:
        return
    from system import System
    found = {value if isinstance(value, System) else getattr(value, "system", None) for value in getattr(item, "funcargs", {}).values()
             if isinstance(value, System) or hasattr(value, "system")}
    for one in (one for one in found if isinstance(one, System)):
        for log in sorted((one.directory / "state" / "log").glob("*")):
            lines = log.read_text(errors="replace").splitlines()
            outcome.get_result().sections.append((f"the end of {log.name}", "\n".join(line[:400] for line in lines[-40:])))


@pytest.fixture(scope="session")
def cluster(request):
    return request.config.getoption("--redis") == "cluster"


def finish(system):
    code, left = system.stop(), system.residue()
    assert code == 0, (system.directory / "up.log").read_text()
    assert left == []


@pytest.fixture(scope="session", autouse=True)
def backend(request, tmp_path_factory):
    """Before any system is started: where its pods are."""
    if request.config.getoption("--backend") == "kubernetes":
        where.use(kubeimages.pods_of(request.getfixturevalue("kubernetes"), tmp_path_factory.mktemp("images"))["env"])


@pytest.fixture(scope="session")
def system(tmp_path_factory, cluster):
    """Two APIs, one worker; shared by all tests that harm nothing. At the end nothing may be left of it."""
    from system import System
    made = System(tmp_path_factory.mktemp("system"), apis=2, workers=1, cluster=cluster,
                  env={"AUTH_WRONG_KEYS_PER_MINUTE": "1000000"})  # all come from one address, and wrong keys are what many try
    yield made
    finish(made)


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory):
    """A real Kubernetes, shared by all tests that leave it as it was. At the end nothing may be left of it."""
    from kubecluster import Cluster
    made = Cluster(tmp_path_factory.mktemp("kubernetes"))
    yield made
    made.stop()
    assert made.residue() == []


@pytest.fixture
def make_system(tmp_path, cluster):
    """Systems of a test's own, stopped at its end."""
    from system import System
    made = []

    def make(**options):
        made.append(System(tmp_path / f"system-{len(made)}", **{"cluster": cluster, **options}))
        return made[-1]
    yield make
    for one in made:
        if one.process.poll() is None:
            finish(one)


@pytest.fixture
def api(system):
    from contract import Api
    with Api(system) as client:
        yield client
