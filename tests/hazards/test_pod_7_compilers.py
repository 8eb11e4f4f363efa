# SPDX-License-Identifier: Apache-2.0
"""A96: what a compiler can be made to read is what its pod shows. A137: the service never takes a pickle apart."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What is compiled (always as main.c) and how; {file} is one of the host that no pod shows, with a canary in it.
SOURCES = {
    "include": ('#include "{file}"\nint main(void) {{ return 0; }}\n', "gcc -o a.out main.c"),
    "incbin": ('__asm__(".incbin \\"{file}\\"");\nint main(void) {{ return 0; }}\n', "gcc -o a.out main.c"),
    "response file": ("{file}", "gcc @{file}"),
    "linker script": ("TARGET(binary) INPUT({file}) TARGET(elf64-x86-64)\n",
                      "echo 'int main(void) {{ return 0; }}' > m.c; gcc -o a.out m.c -Wl,main.c"),
    "include_bytes!": ('fn main() {{ println!("{{:?}}", include_bytes!("{file}")); }}\n', "rustc --crate-name m -o a.out main.c"),
    "go:embed": ('package main\n\nimport _ "embed"\n\n//go:embed x\nvar x string\n\nfunc main() {{ println(x) }}\n',
                 """cp main.c m.go; echo '{{"Patterns": {{"x": ["x"]}}, "Files": {{"x": "{file}"}}}}' > cfg
                    /usr/bin/go tool compile -embedcfg cfg -o a.out m.go"""),
}


@pytest.fixture
def hidden():
    """A file in the host's /etc, with its canary. A pod has an /etc of its own."""
    canary = "canary" + os.urandom(8).hex()
    file = pathlib.Path("/etc") / f"millrace-{canary[-6:]}.h"
    file.write_text(canary + "\n")
    yield file, canary.encode()
    file.unlink()


def outside(folder, script, source):
    (folder / "main.c").write_text(source)
    return subprocess.run(["/bin/bash", "-c", script], cwd=folder, capture_output=True).stdout


def in_pod(place, script, source):
    facts = place.run("/bin/bash", "-c", script, name="main.c", code=source, env=["GOENV=off", "GOCACHE=/tmp/go"])
    assert facts["exit"]["end"] == "own", facts
    return facts["stdout"]


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_compiler_can_include(place, tmp_path, hidden, name):
    file, canary = hidden
    source, script = (text.format(file=file) for text in SOURCES[name])
    script = f"{{ {script}; }} 2>&1; cat a.out"
    told = in_pod(place, script, source)
    assert file.name.encode() in told and canary not in told  # it was looked for
    assert canary in outside(tmp_path, script, source)


def test_what_a_compiler_can_load(place, tmp_path, hidden):
    """A plug-in of the host is none of a pod's: neither as an option nor as a pragma, which takes none at all."""
    file, canary = hidden
    source = f'#pragma GCC optimize("-fplugin={file}")\nint main(void) {{ return 0; }}\n'
    load = f"gcc -fplugin={file} -o a.out main.c 2>&1; gcc -o a.out main.c 2>&1"
    made = f"""printf '#include <stdio.h>\\n__attribute__((constructor)) static void f(void) {{ puts("%s"); fflush(stdout); }}' {canary.decode()} > p.c
    gcc -shared -fPIC -o p.so p.c && cat p.so > {file}"""
    assert outside(tmp_path, made, source) == b""
    told = in_pod(place, load, source)
    assert b"cannot load plugin" in told and canary not in told
    assert outside(tmp_path, load, source).count(canary) == 1


def test_the_service_never_unpickles():
    """Interpreters run in templates and pods only: no program of ours links or loads one, or starts it with a state."""
    programs = [p for folder in ("api", "lib", "archiver", "worker") for p in (ROOT / folder).rglob("*.[ch]")]
    reads = [p for p in programs if re.search(r"Py_Initialize|PyImport_|pickle\.loads|dlopen\(", p.read_text())]
    assert [str(p.relative_to(ROOT)) for p in reads if "worker/templates" not in str(p)] == []
