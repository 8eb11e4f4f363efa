# SPDX-License-Identifier: Apache-2.0
"""Clients that are started once, and the matrix of what they were seen to do: tool, language or case, version, without a gap."""
import subprocess

import pytest

from clients import FACTORIES, HERE, VERSIONS, Client

MATRIX = {}  # (tool, what) -> {version: what is printed}
MADE = {}    # version -> factories of its package
GAPS = []    # cells that no test filled
CHOSEN = []  # tests that were left out by the command line


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
    made = clients(request.param)
    MADE[made.version] = made.makes
    return made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    row = item.get_closest_marker("matrix")
    if call.when == "call" and row and "client" in getattr(item, "callspec", type("", (), {"params": {}})).params:
        name = item.originalname.removeprefix("test_").replace("_", " ")
        case = name if item.cls else ""
        version = item.callspec.params["client"]
        what = " ".join((case, item.callspec.id.replace(f"agents-{version}", "").strip("-"))).strip() or name
        told = dict(item.user_properties).get("cell", "ok") if report.passed else "FAILED"
        MATRIX.setdefault((row.args[0] + getattr(item.module, "WHERE", ""), what), {})[version] = told


def cell(tool, cells, version):
    """What the row has for a version; a version that was not asked has no such tool, or there is a gap."""
    if version not in cells and FACTORIES.get(tool.split(" on ")[0], "createCodeExecutionTool") not in MADE.get(version, []):
        return "no tool" if version in MADE else "not asked"
    return cells.get(version, "GAP")


def pytest_terminal_summary(terminalreporter):
    if not MATRIX:
        return
    terminalreporter.write_line(f"\n{'tool':<31}{'language or case':<60}" + "".join(f"{v:>12}" for v in VERSIONS))
    for (tool, what), cells in MATRIX.items():
        marks = "".join(f"{cell(tool, cells, version):>12}" for version in VERSIONS)
        terminalreporter.write_line(f"{tool:<31}{what:<60}{marks}")
    terminalreporter.write_line(f"{len(MATRIX)} rows, {len(GAPS)} gaps")


def pytest_deselected(items):
    """A part of the tests fills a part of the matrix."""
    CHOSEN.extend(items)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if not CHOSEN:
        GAPS.extend((tool, what, version) for (tool, what), cells in MATRIX.items() for version in VERSIONS
                    if cell(tool, cells, version) == "GAP")
    if GAPS and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config):
    config.addinivalue_line("markers", "matrix(tool): a cell of the matrix that is printed at the end")
