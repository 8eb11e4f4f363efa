# SPDX-License-Identifier: Apache-2.0
"""The same programs in warm pods of the spawner, under its filter, Landlock and limits: nothing honest is refused."""
import pytest

import test_template_1_programs as programs
import test_template_3_node as node

PYTHON = ["thread joined", "daemon thread", "process pool", "multiprocessing", "multiprocessing spawn", "subprocess", "os.fork",
          "asyncio", "input", "sqlite", "hashlib", "tempfile", "sigterm", "segfault", "exception", "del at exit", "big output"]
NODE = ["print", "esm", "stack", "child", "fork", "worker", "stdin", "exit code"]
ENV = ["LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TMPDIR=/tmp"]


def ended(facts):
    end = facts["exit"]
    return -end["signal"] if end["signal"] else end["exit_code"]


@pytest.mark.parametrize("name", PYTHON)
def test_python(pods, tmp_path, name):
    facts = pods.run(kind="py", name="main.py", code=programs.PROGRAMS[name], stdin=programs.STDIN.decode(), env=ENV)
    code, out, err = programs.plain(programs.PROGRAMS[name], tmp_path)
    assert programs.same_addresses(facts["stdout"]) == programs.same_addresses(out)
    assert programs.same_addresses(facts["stderr"]) == programs.same_addresses(err)
    assert ended(facts) == code and facts["error"] == ""


TYPESCRIPT = {
    "types": ("enum E { A = 1 }\nconst x: string = E.A as any;\nconsole.log(x, process.argv.slice(1), __filename, process.execArgv)",
              b"1 [ '/mnt/data/.main.js' ] /mnt/data/.main.js [ '--enable-source-maps' ]\n", b"", 0),
    "an error of types": ("const x: number = 'a';\nconsole.log(x)", b"a\n", b"", 0),
    "an error of syntax": ("let x: = 1;\nconsole.log(1)", b"", b"main.ts(1,8): error TS1110: Type expected.\n", 1),
    "await": ("const y: number = await Promise.resolve(3);\nconsole.log(y, import.meta.url)", b"3 file:///mnt/data/.main.mjs\n", b"", 0),
    "exit": ("import fs from 'fs';\nconsole.log(fs.existsSync('main.ts'));\nprocess.exit(7)", b"true\n", b"", 7),
}


@pytest.mark.parametrize("name", TYPESCRIPT)
def test_typescript(pods, name):
    code, out, err, status = TYPESCRIPT[name]
    facts = pods.run(kind="ts", name="main.ts", code=code)
    assert (facts["stdout"], facts["stderr"], ended(facts), facts["error"]) == (out, err, status, "")
    assert ("stage" in facts) == (name == "an error of syntax")


def test_typescript_stack_has_the_users_lines(pods):
    facts = pods.run(kind="ts", name="main.ts", code="interface I { a: number }\nfunction f(i: I) {\n  throw new Error('no');\n}\nf({ a: 1 });\n")
    assert b"/mnt/data/main.ts:3" in facts["stderr"] and b"launcher" not in facts["stderr"] and ended(facts) == 1


# What a waiting interpreter does, its own command does too: (kind, file, program, words that both say).
INTERPRETERS = [
    ("php", "main.php", "<?php\nprintf(\"%s %s %d\\n\", implode('|', $argv), implode('|', $_SERVER['argv']), $argc);\n"
     "echo getenv('A'), $_SERVER['A'], __FILE__, getcwd(), fgets(STDIN);\nfwrite(STDERR, 'e');\nexit(7);\n"),
    ("php", "main.php", "<?php\nfunction f() { throw new Exception('no'); }\nf();\n"),
    ("php", "main.php", "<?php\n\n$x = ;\n"),
    ("php", "main.php", "text before <?= 1 + 1 ?> and after\n"),
    ("php", "main.php", "<?php posix_kill(posix_getpid(), 9);"),
    ("php", "main.php", "<?php register_shutdown_function(function () { echo 'end'; }); $v = array_keys(get_defined_vars()); sort($v); echo implode(',', $v);"),
    ("r", "main.r", "cat(commandArgs(TRUE), Sys.getenv('A'), getwd(), '\\n')\ncat(readLines(file('stdin')), '\\n')\nprint(ls())\nquit(status = 7)\n"),
    ("r", "main.r", "f <- function() stop('no')\nf()\n"),
    ("r", "main.r", "x <- c(a = 1, b = 2)\nprint(summary(x))\nwarning('w')\nmessage('m')\nsystem('echo sub')"),
    ("r", "main.r", "tools::pskill(Sys.getpid(), 9); Sys.sleep(5)"),
    ("r", "main.r", ""),
]
COMMANDS = {"php": ["/usr/bin/php", "-d", "display_errors=stderr", "-d", "log_errors=0"],
            "r": ["/usr/bin/Rscript", "--no-environ", "--no-init-file"]}


@pytest.mark.parametrize("kind,name,code", INTERPRETERS)
def test_interpreter_as_by_its_command(pods, tmp_path, kind, name, code):
    import subprocess
    env = ENV + ["A=b c", "HOME=/mnt/data"]
    facts = pods.run("x", "-y", kind=kind, name=name, code=code, env=env, stdin="line\n")
    (tmp_path / name).write_text(code)
    done = subprocess.run([*COMMANDS[kind], name, "x", "-y"], cwd=tmp_path, env=dict(e.split("=") for e in env), input=b"line\n",
                          capture_output=True, timeout=60, check=False)

    def same(text):
        return text.replace(str(tmp_path).encode(), b"/mnt/data")
    assert (facts["stdout"], facts["stderr"]) == (same(done.stdout), same(done.stderr))
    assert ended(facts) == done.returncode and facts["error"] == ""


@pytest.mark.parametrize("code,out,told", [
    ("x <- 1\nprint(x)\ny y\n", b"[1] 1\n", b"main.r:3:3: unexpected symbol\n2: print(x)\n3: y y\n     ^\nExecution halted\n"),
    ("f <- function( {\n", b"", b"main.r:1:16: unexpected '{'\n1: f <- function( {\n                   ^\nExecution halted\n"),
])
def test_an_error_of_syntax_in_r_has_its_line(pods, code, out, told):
    facts = pods.run(kind="r", name="main.r", code=code)
    assert facts["stdout"] == out and facts["stderr"].endswith(told) and ended(facts) == 1


@pytest.mark.parametrize("kind", ["php", "r"])
def test_the_mediator_is_gone_when_the_program_runs(pods, kind):
    code = {"php": "<?php for ($i = 0; $i < 2000 && count(glob('/proc/[0-9]*/comm')) > 1; $i++) usleep(10000); echo count(glob('/proc/[0-9]*/comm'));",
            "r": "for (i in 1:2000) if (length(Sys.glob('/proc/[0-9]*/comm')) > 1) Sys.sleep(0.01)\ncat(length(Sys.glob('/proc/[0-9]*/comm')))"}[kind]
    facts = pods.run(kind=kind, name="main." + kind, code=code)
    assert facts["stdout"] == b"1"


SCIENCE = """import time; began = time.process_time()
import numpy, pandas, matplotlib.pyplot as plt
print(time.process_time() - began < 0.05)
import os, threading, matplotlib
print(len(os.listdir('/proc/self/task')), matplotlib.get_backend(), pandas.DataFrame({'a': [1, 2]}).a.sum())
done = []
threads = [threading.Thread(target=lambda: done.append(numpy.ones((50, 50)) @ numpy.ones((50, 50)))) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(done), done[0][0, 0])
plt.plot([1, 2]); plt.savefig('a.png'); print(open('a.png', 'rb').read(4), sorted(os.listdir('.')))
"""


def test_science(pods):
    facts = pods.run(kind="py-science", name="main.py", code=SCIENCE, env=ENV + ["MPLCONFIGDIR=/tmp/matplotlib"])
    assert facts["stderr"] == b"" and facts["stdout"].decode().splitlines() == [
        "True", "1 agg 3", "4 50.0", "b'\\x89PNG' ['a.png', 'main.py']"]


# What a pod costs is pages and mappings. Here 199 and 307, 52 and 287; 366 and 491, 112 and 624 before they were looked at (docs/TEMPLATES.md).
@pytest.mark.parametrize("kind, faults, mappings", [("py", 260, 75), ("py-science", 380, 340)])
def test_little_is_copied(pods, kind, faults, mappings):
    program = """stat = open("/proc/self/stat").read()
maps = [line.split()[1] for line in open("/proc/self/maps")]
print(stat.rpartition(")")[2].split()[7], len(maps), sum("w" in m and "x" in m for m in maps))
"""
    facts = pods.run(kind=kind, name="main.py", code=program, env=ENV)
    found = tuple(map(int, facts["stdout"].split()))
    assert found[0] < faults and found[1] < mappings and found[2] == 0, found


def test_no_science_pod_has_anothers_random_numbers(pods):
    program = """import multiprocessing, random, numpy
print(numpy.random.random(), numpy.random.default_rng().random())
print(random.random(), random.gauss(0, 1))
print(multiprocessing.current_process().authkey[:])
"""
    runs = [pods.run(kind="py-science", name="main.py", code=program, env=ENV)["stdout"].splitlines() for _ in range(3)]
    assert all(len(lines) == 3 for lines in runs), runs
    for lines in zip(*runs):
        assert len(set(lines)) == len(runs), lines


@pytest.mark.parametrize("name", NODE)
def test_node(pods, tmp_path, name):
    import subprocess
    facts = pods.run(kind="js", name="main.js", code=node.PROGRAMS[name], stdin="line\n", env=ENV)
    (tmp_path / "main.js").write_text(node.PROGRAMS[name])
    done = subprocess.run([node.NODE, "main.js"], cwd=tmp_path, env=dict(e.split("=") for e in ENV), input=b"line\n",
                          capture_output=True, timeout=60)

    def same(text):
        return node.comparable(text, tmp_path).replace(b"/mnt/data", b"/work")
    assert same(facts["stdout"]) == same(done.stdout)
    assert same(facts["stderr"]) == same(done.stderr)
    assert ended(facts) == done.returncode and facts["error"] == ""
