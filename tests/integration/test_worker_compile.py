# SPDX-License-Identifier: Apache-2.0
"""Compiled programs are kept: same answers, no compiler the second time, nothing between tenants, nothing from a program."""
import concurrent.futures
import json
import pathlib
import sys
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
import plant as plants  # noqa: E402

KEYS = {"one": "one-0123456789abcdef", "two": "two-0123456789abcdef"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    made = plants.Plant(tmp_path_factory.mktemp("compile"), apis=1, workers=1,
                        env={"API_KEYS": ",".join(f"{name}:{key}" for name, key in KEYS.items()), "COMPILE_CACHE_MB": "1",
                             "POD_POOL_BASH": "2", "POD_POOL_PY": "1", "POD_POOL_PY_SCIENCE": "0", "POD_POOL_JS": "0",
                             "POD_POOL_TS": "0", "POD_POOL_R": "0", "POD_POOL_PHP": "0", "POD_POOL_JAVA": "0"})
    with made:
        yield made
    assert made.residue() == []
    assert made.crashes == []


def run(plant, code, lang="c", tenant="one", **more):
    request = urllib.request.Request(plant.urls[0] + "/exec", method="POST",
                                     data=json.dumps({"lang": lang, "code": code, **more}).encode(),
                                     headers={"x-api-key": KEYS[tenant], "content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def counted(plant, lang="c"):
    worker = plant.of("spawner")[0]
    return [int(plants.metric(worker, f'millrace_compile_cache_{which}_total{{lang="{lang}"}}') or 0) for which in ("hits", "misses")]


def kept(plant):
    return int(plants.metric(plant.of("spawner")[0], "millrace_compile_cache_bytes"))


WARNS = '#include <stdio.h>\n#warning "look"\nint main(int n, char **a) { int c = getchar(); printf("%d %s %c\\n", n, a[1], c); return 7; }\n'
FACTS = ("stdout", "stderr", "exit_code", "job_status", "files")


def test_1_the_second_time_nothing_is_compiled(plant):
    first = run(plant, WARNS, args=["x"], stdin="a")
    assert first["stdout"] == "2 x a\n" and first["exit_code"] == 7 and '#warning "look"' in first["stderr"]
    hits, misses = counted(plant)
    second = run(plant, WARNS, args=["x"], stdin="a")
    assert counted(plant) == [hits + 1, misses]
    assert {name: second.get(name) for name in FACTS} == {name: first.get(name) for name in FACTS}
    other = run(plant, WARNS, args=["y"], stdin="b")
    assert other["stdout"] == "2 y b\n" and counted(plant) == [hits + 2, misses]


def test_2_what_the_compiler_sees_makes_another_program(plant):
    hits, misses = counted(plant)
    code = '#include <stdio.h>\nint main() { puts("%s"); }\n'
    assert run(plant, code % "a")["stdout"] == "a\n"
    assert run(plant, code % "b")["stdout"] == "b\n"
    assert run(plant, code % "a", env={"X": "1"})["stdout"] == "a\n"
    assert counted(plant) == [hits, misses + 3]


def test_3_no_tenant_gets_anothers(plant):
    code = '#include <stdio.h>\nint main() { puts("mine"); }\n'
    run(plant, code, tenant="one")
    hits, misses = counted(plant)
    assert run(plant, code, tenant="two")["stdout"] == "mine\n"
    assert counted(plant) == [hits, misses + 1]
    assert run(plant, code, tenant="two")["stdout"] == "mine\n"
    assert counted(plant) == [hits + 1, misses + 1]


def test_4_a_program_changes_no_entry(plant):
    """It runs as its own file, and may overwrite that; the next run still gets what the compiler made."""
    code = ('#include <stdio.h>\n#include <unistd.h>\nint main() { unlink("/mnt/data/.program"); '
            'FILE *f = fopen("/mnt/data/.program", "w"); fputs("#!/bin/sh\\necho evil\\n", f); fclose(f); puts("good"); }\n')
    for _ in range(3):
        assert run(plant, code)["stdout"] == "good\n"


def test_5_what_fails_is_not_kept(plant):
    before, (hits, misses) = kept(plant), counted(plant)
    for n in range(2):
        body = run(plant, "int main() { return x; }\n")
        assert body["job_status"] == "completed" and body["stage"] == "compile" and body["exit_code"] == 1
        assert "main.c:1" in body["stderr"] and counted(plant) == [hits, misses + n + 1]
    assert kept(plant) == before


def test_6_a_program_that_tells_the_time_is_compiled_each_time(plant):
    before = counted(plant)
    for _ in range(2):
        assert run(plant, '#include <stdio.h>\nint main() { puts(__TIME__); }\n')["exit_code"] == 0
    assert counted(plant) == before


def test_7_the_cache_is_bounded_and_forgets_the_oldest(plant):
    """Programs of 200 kB in a cache of 1 MiB."""
    code = '#include <stdio.h>\nstatic const char pad[200000] = "%d";\nint main() { puts(pad); }\n'
    for n in range(7):
        assert run(plant, code % n)["stdout"] == f"{n}\n"
    assert kept(plant) <= 1 << 20
    assert int(plants.metric(plant.of("spawner")[0], "millrace_compile_cache_evicted_total")) > 0
    hits, misses = counted(plant)
    assert run(plant, code % 6)["stdout"] == "6\n" and run(plant, code % 0)["stdout"] == "0\n"
    assert counted(plant) == [hits + 1, misses + 1]


def test_7_kept_ones_go_while_others_run(plant):
    """Two clients with more programs than there is room for: each gets its own, and no memory file stays open behind them."""
    code = '#include <stdio.h>\nstatic const char pad[200000] = "two %d";\nint main() { puts(pad); }\n'

    def client(first):
        return [run(plant, code % (0 if n % 2 else first + n))["stdout"] == f"two {0 if n % 2 else first + n}\n" for n in range(12)]
    hits, misses = counted(plant)
    with concurrent.futures.ThreadPoolExecutor(2) as two:
        assert all(sum(two.map(client, (10, 30)), []))
    now = counted(plant)
    assert now[0] > hits and now[1] > misses and sum(now) == hits + misses + 24
    assert 0 < kept(plant) <= 1 << 20
    plants.wait_until("only kept programs are open", lambda: 0 < plants.kept_files(plant.of("spawner")[0]) <= 5)


def test_8_a_cancelled_or_late_run_of_a_kept_program(plant):
    code = '#include <unistd.h>\nint main() { sleep(60); }\n'
    for _ in range(2):
        assert run(plant, code, timeout_ms=1500)["job_status"] == "timed_out"
    assert run(plant, code, timeout_ms=1500)["limit"] == "wall"


@pytest.mark.parametrize("lang,code", [
    ("cpp", '#include <iostream>\nint main() { std::cout << "cpp\\n"; }'),
    ("go", 'package main\nimport "fmt"\nfunc main() { fmt.Println("go") }'),
    ("rs", 'fn main() { println!("rs"); }'),
    ("f90", 'program p\nprint "(a)", "f90"\nend program'),
    ("d", 'import std.stdio; void main() { writeln("d"); }'),
])
def test_9_every_compiled_language(tmp_path_factory, nine, lang, code):
    for n in range(2):
        assert run(nine, code, lang)["stdout"] == f"{lang}\n"
    assert counted(nine, lang) == [1, 1]


# Each tells what it was started from, and starts that once more.
SELF = {
    "c": r"""
#include <stdio.h>
#include <unistd.h>
static const char pad[100000] = "c";
int main(int n, char **a) { char p[99] = {0}; readlink("/proc/self/exe", p, 98); printf("%s %s %s\n", pad, p, a[0]); fflush(stdout);
  if (n == 1) execl(p, a[0], "again", NULL); }
""",
    "go": """
package main
import ("fmt"; "os"; "os/exec")
func main() {
  p, err := os.Executable()
  fmt.Println("go", p, os.Args[0], err)
  if len(os.Args) == 1 { c := exec.Command(p, "again"); c.Args[0] = os.Args[0]; out, err := c.Output(); fmt.Print(string(out)); if err != nil { panic(err) } }
}
""",
    "rs": """
use std::os::unix::process::CommandExt;
fn main() {
  let p = std::env::current_exe().unwrap();
  let a: Vec<String> = std::env::args().collect();
  println!("rs {} {}", p.display(), a[0]);
  if a.len() == 1 { let e = std::process::Command::new(&p).arg0(&a[0]).arg("again").exec(); panic!("{}", e); }
}
""",
    "d": """
import std.stdio, std.file, std.process;
void main(string[] a) { writeln("d ", thisExePath(), " ", a[0]); stdout.flush(); if (a.length == 1) execv(thisExePath(), [a[0], "again"]); }
""",
}


@pytest.mark.parametrize("lang", SELF)
def test_9_a_kept_program_is_the_file_that_it_would_be(nine, lang):
    hits, misses = counted(nine, lang)
    first, second = run(nine, SELF[lang], lang), run(nine, SELF[lang], lang)
    assert counted(nine, lang) == [hits + 1, misses + 1]
    assert {name: second.get(name) for name in FACTS} == {name: first.get(name) for name in FACTS}
    lines = first["stdout"].splitlines()
    assert len(lines) == 2 and lines[0] == lines[1] and lines[0].startswith(f"{lang} /mnt/data/.program "), first
    assert plants.kept_files(nine.of("spawner")[0]) > 0


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """With room for the larger programs."""
    with plants.Plant(tmp_path_factory.mktemp("nine"), apis=1, workers=1,
                      env={"API_KEYS": ",".join(f"{name}:{key}" for name, key in KEYS.items()), "POD_POOL_PY": "1",
                           "POD_POOL_PY_SCIENCE": "0", "POD_POOL_JS": "0", "POD_POOL_TS": "0", "POD_POOL_R": "0",
                           "POD_POOL_PHP": "0", "POD_POOL_JAVA": "0"}) as made:
        yield made
    assert made.crashes == []
