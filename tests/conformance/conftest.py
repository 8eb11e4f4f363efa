# SPDX-License-Identifier: Apache-2.0
"""Clients that are started once, and the matrix of what they were seen to do."""
import subprocess

import pytest

from clients import HERE, VERSIONS, Client

MATRIX = {}  # (tool, what) -> {version: passed}


@pytest.fixture(scope="session")
def clients(system):
    """{version: Client}, started when first asked for."""
    subprocess.run([HERE / "install"], check=True)
    made = {}

    def get(version):
        if version not in made:
            made[version] = Client(version, system.url, system.key)
        return made[version]
    yield get
    for one in made.values():
        one.close()


@pytest.fixture
def client(request, clients):
    return clients(request.param)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    row = item.get_closest_marker("matrix")
    if call.when == "call" and row and "client" in getattr(item, "callspec", type("", (), {"params": {}})).params:
        case = item.originalname.removeprefix("test_").replace("_", " ") if item.cls else ""
        what = " ".join((case, item.callspec.id.replace(f"agents-{item.callspec.params['client']}", "").strip("-"))).strip()
        MATRIX.setdefault((row.args[0], what), {})[item.callspec.params["client"]] = report.passed


def pytest_terminal_summary(terminalreporter):
    if not MATRIX:
        return
    terminalreporter.write_line(f"\n{'tool':<22}{'language or case':<60}" + "".join(f"{v:>10}" for v in VERSIONS))
    for (tool, what), cells in MATRIX.items():
        marks = "".join(f"{'n/a' if v not in cells else 'ok' if cells[v] else 'FAILED':>10}" for v in VERSIONS)
        terminalreporter.write_line(f"{tool:<22}{what:<60}{marks}")


def pytest_configure(config):
    config.addinivalue_line("markers", "matrix(tool): a cell of the matrix that is printed at the end")
