# SPDX-License-Identifier: Apache-2.0
"""What a release is compiled from has none of the switches that tests take defences out, kill, delay or fail with: neither a name, which it
would have to have to read it from the environment, nor the wrappers of lib/base/fault.h."""
import json
import re
import shutil
import subprocess

import pytest
import set_up

ROOT = set_up.ROOT
NAME = re.compile(r'"((?:MILLRACE_)?TEST_[A-Z_]+)=?')


def sources():
    return [p for folder in ("lib", "schema", "api", "worker", "archiver", "tools") for p in (ROOT / folder).rglob("*.c")]


def commands(build, source):
    """How `build` compiles it: the command, and the object that comes of it."""
    rows = [r for r in json.loads((build / "compile_commands.json").read_text()) if r["file"] == str(source)]
    return [(r["command"], re.search(r" -o (\S+)", r["command"])[1]) for r in rows]


def compiled(release, build, source, into):
    """Its objects as a release has them, with what the test build has generated for both."""
    found = []
    for command, output in commands(release, source):
        command = command.replace(str(release), str(build)).replace(f" -o {output}", f" -o {into}")
        subprocess.run(re.sub(r" -M[TF] \S+| -MD", "", command), shell=True, cwd=build, check=True, capture_output=True)
        found.append(into.read_bytes())
    return found


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    build = tmp_path_factory.mktemp("release")
    subprocess.run(["cmake", "--preset", "release", "-B", build], cwd=ROOT, check=True, capture_output=True)
    yield build
    shutil.rmtree(build)


def test_a_release_has_no_switch(build, release, tmp_path):
    having = {source: set(NAME.findall(source.read_text())) for source in sources()}
    names = set().union(*having.values())
    assert {"TEST_KILL_AT", "TEST_DELAY_MS", "TEST_HOLD_AT", "TEST_FAIL_STEP", "MILLRACE_TEST_OFF", "MILLRACE_TEST_KINDS"} <= names
    seen = set()
    for source in [source for source, own in having.items() if own]:
        for data in compiled(release, build, source, tmp_path / "object"):
            assert not [n for n in names if n.encode() in data], source
        seen |= {n for _, output in commands(build, source) for n in names if n.encode() in (build / output).read_bytes()}
    assert seen == names  # a test build has them all
    assert "--wrap=setns" not in (release / "build.ninja").read_text()
    assert "--wrap=setns" in (build / "build.ninja").read_text()
