# SPDX-License-Identifier: Apache-2.0
"""A96: what a compiler can be made to read is what its pod shows. A137: the service never takes a pickle apart."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {
    "include": '#include "{file}"\nint main(void) {{ return 0; }}\n',
    "incbin": '__asm__(".incbin \\"{file}\\"");\nint main(void) {{ return 0; }}\n',
    "response file": "{file}",
}


def compile_it(name, file, run):
    if name == "response file":
        return run(f"gcc @{file} 2>&1; cat a.out")
    return run("gcc -o a.out main.c 2>&1; cat a.out")


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_compiler_can_include(place, tmp_path, name):
    canary = "canary" + os.urandom(8).hex()
    file = pathlib.Path("/etc") / f"millrace-{canary[-6:]}.h"
    file.write_text(canary + "\n")
    source = SOURCES[name].format(file=file)
    try:
        def in_pod(script):
            return place.run("/bin/bash", "-c", script, name="main.c", code=source)["stdout"]

        def outside(script):
            (tmp_path / "main.c").write_text(source)
            return subprocess.run(["/bin/bash", "-c", script], cwd=tmp_path, capture_output=True).stdout
        assert canary.encode() not in compile_it(name, file, in_pod)
        assert canary.encode() in compile_it(name, file, outside)
    finally:
        file.unlink()


def test_the_service_never_unpickles():
    """Interpreters run in templates and pods only: no program of ours links or loads one, or starts it with a state."""
    programs = [p for folder in ("api", "lib", "archiver", "worker") for p in (ROOT / folder).rglob("*.[ch]")]
    reads = [p for p in programs if re.search(r"Py_Initialize|PyImport_|pickle\.loads|dlopen\(", p.read_text())]
    assert [str(p.relative_to(ROOT)) for p in reads if "worker/templates" not in str(p)] == []
