# SPDX-License-Identifier: Apache-2.0
"""A96: what a compiler can be made to read is what its pod shows. A137: the service never takes a pickle apart. And what is kept of a program
is beyond its reach."""
import json
import os
import pathlib
import re
import subprocess
import urllib.request

import plant as plants
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


# Large enough to be kept in a memory file of the worker. It looks for that in every process that it sees, and then writes to the file that it
# was started from, in place, which is possible once it is another program.
KEPT = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static const char large[100000] = "good";
static int seen(void)
{
    int found = 0;
    DIR *all = opendir("/proc");
    for (struct dirent *p; (p = readdir(all)) != NULL;) {
        char path[300], target[300];
        for (int fd = 0; fd < 64; fd++) {
            snprintf(path, sizeof path, "/proc/%s/fd/%d", p->d_name, fd);
            ssize_t n = readlink(path, target, sizeof target - 1);
            if (n > 0 && (target[n] = 0, strstr(target, "memfd:") != NULL))
                found += strcmp(p->d_name, "self") != 0 && strcmp(p->d_name, "thread-self") != 0;
        }
        snprintf(path, sizeof path, "/proc/%s/exe", p->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0 && (target[n] = 0, strstr(target, "memfd:") != NULL))
            found++;
    }
    closedir(all);
    return found;
}
int main(void)
{
    char self[300] = {0};
    printf("%s %d\n", large, seen());
    printf("%s\n", readlink("/proc/self/exe", self, sizeof self - 1) > 0 ? self : "none");
    printf("%s\n", open("/proc/self/exe", O_RDWR) < 0 && open("/mnt/data/.program", O_RDWR) < 0 && errno == ETXTBSY ? "busy" : "open");
    memfd_create("program", 0);
    printf("own %d\n", seen());
    fflush(stdout);
    execl("/bin/sh", "sh", "-c", "printf '#!/bin/sh\\necho evil\\n' > .program; stat -c %a:%h:%U .program; ./.program", NULL);
}
"""


def test_what_is_kept_of_a_program_is_beyond_its_reach(tmp_path):
    """Control: it finds a memory file where there is one, its own, and what it writes is what is then executed in its pod."""
    with plants.Plant(tmp_path, apis=1, workers=1, env={"POD_POOL_PY": "1", "POD_POOL_JS": "0", "POD_POOL_JAVA": "0"}) as plant:
        worker = plant.of("spawner")[0]
        for n in range(4):
            request = urllib.request.Request(plant.urls[0] + "/exec", json.dumps({"lang": "c", "code": KEPT}).encode(),
                                             {"x-api-key": plant.api_key, "content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as answer:
                told = json.loads(answer.read())
            assert told["stdout"].split("\n")[:4] == ["good 0", "/mnt/data/.program", "busy", "own 1"], told
            assert told["stdout"].split("\n")[5:] == ["evil", ""], told
            assert int(plants.metric(worker, 'millrace_compile_cache_hits_total{lang="c"}') or 0) == n
        assert plants.kept_files(worker) == 1  # it was kept so
    assert plant.crashes == []
