# SPDX-License-Identifier: Apache-2.0
"""The first run of each language in a warm pod, beside its toolchain started by hand in the same run.

    languages.py [--runs N] [--lang ID]... [--json FILE] [--docs]

Medians of milliseconds: `warm` is POST /exec with a ready pod, of compiled languages with the program in the cache (`first`: when it had
to be compiled); `by hand` starts the same commands in a folder; of compiled languages `own` is the program alone. The client does
nothing in the time that is measured but send, receive and read the JSON; all that a run leaves behind has ended before the next.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import lean  # noqa: E402
import page  # noqa: E402
from memory import pools  # noqa: E402
from system import System, wait_until  # noqa: E402

HELLO = "hello\n"
PAUSE_S = 0.02  # as the paused client of figures.py: the last pod that was made and the last that ended are quiet by then
# id: (file, program, compile, run)
LANGUAGES = {
    "py": ("main.py", "print('hello')", None, ["/usr/bin/python3", "main.py"]),
    "js": ("main.js", "console.log('hello')", None, ["/usr/bin/node", "main.js"]),
    "ts": ("main.ts", "const x: string = 'hello'; console.log(x)",
           ["/usr/bin/node", str(pathlib.Path(__file__).parents[2] / "worker/templates/node/transpile.js"), "main.ts", "main.js"],
           ["/usr/bin/node", "main.js"]),
    "bash": ("main.sh", "echo hello", None, ["/bin/bash", "main.sh"]),
    "php": ("main.php", "<?php echo \"hello\\n\";", None, ["/usr/bin/php", "main.php"]),
    "r": ("main.r", "cat('hello\\n')", None, ["/usr/bin/Rscript", "main.r"]),
    "java": ("Main.java", "class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }",
             ["/usr/bin/javac", "Main.java"], ["/usr/bin/java", "Main"]),
    "c": ("main.c", "#include <stdio.h>\nint main() { puts(\"hello\"); }", ["/usr/bin/gcc", "-O2", "-o", "p", "main.c"], ["./p"]),
    "cpp": ("main.cpp", "#include <iostream>\nint main() { std::cout << \"hello\\n\"; }", ["/usr/bin/g++", "-O2", "-o", "p", "main.cpp"], ["./p"]),
    "go": ("main.go", "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hello\") }", ["/usr/bin/go", "build", "-o", "p", "main.go"], ["./p"]),
    "rs": ("main.rs", "fn main() { println!(\"hello\"); }", ["/usr/bin/rustc", "-C", "opt-level=1", "-o", "p", "main.rs"], ["./p"]),
    "f90": ("main.f90", "program p\nprint '(a)', 'hello'\nend program", ["/usr/bin/gfortran", "-O2", "-o", "p", "main.f90"], ["./p"]),
    "d": ("main.d", "import std.stdio; void main() { writeln(\"hello\"); }", ["/usr/bin/ldc2", "-O1", "--of=p", "main.d"], ["./p"]),
}
WAITS = {"ts"}  # compiled, but by what waits in the pod


def timed(call):
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def by_hand(lang, runs):
    name, code, compiler, command = LANGUAGES[lang]
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / name).write_text(code)

        def start(argv):
            done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
                                  env={"PATH": "/usr/bin:/bin", "HOME": folder, "GO111MODULE": "off"})
            return done.stdout
        compiling = [timed(lambda: start(compiler)) for _ in range(runs)] if compiler else [0.0]
        running = [timed(lambda: start(command)) for _ in range(runs)]
        assert start(command) == HELLO
    return statistics.median(compiling), statistics.median(running)


def full(system):
    return all(pool["ready"] == pool["size"] for pool in pools(system).values() if not pool["missing"])


def warm(system, client, lang, runs):
    def once():
        answer = client.exec(lang, LANGUAGES[lang][1])
        assert answer["stdout"] == HELLO, answer
    took = []
    for _ in range(runs + 1):
        wait_until("the pools are full", lambda: full(system), 120)
        time.sleep(PAUSE_S)
        took.append(timed(once))
    return took[0], statistics.median(took[1:])


def write_docs(rows, where, runs):
    def shown(row, name):
        return f"{row[name]:.1f} ms" if name in row else ""

    lines = [[row["lang"], shown(row, "warm"), shown(row, "by hand"), f"{row['warm'] / row['by hand']:.2f}", shown(row, "own"),
              f"{row['warm'] - row['own']:.1f} ms" if "own" in row else "", shown(row, "first") if "own" in row else ""] for row in rows]
    page.write_section(
        "Languages", "tests/bench/languages.py --docs", where,
        f"`print(\"hello\")` in each language, medians of {runs}: through `POST /exec` with a pod ready (of compiled languages with the program in\nthe "
        "cache; `compiled` is its first run), and the same toolchain started by hand on this machine; `own` is the compiled program alone.\n"
        "The goals: interpreted, faster than by hand; compiled, less than 5 ms over the program's own time.\n\n"
        + page.table(["language", "warm", "by hand", "ratio", "own", "over it", "compiled"], lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--lang", action="append", choices=LANGUAGES)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/BENCHMARKS.md")
    parser.add_argument("--quick", action="store_true", help="small counts, to see that it works")
    options, _ = parser.parse_known_args()
    rows, where = [], page.machine()
    options.runs = 1 if options.quick else options.runs
    with tempfile.TemporaryDirectory() as folder:
        system = System(pathlib.Path(folder) / "system", env={"POD_POOL_BASH": "3"})
        try:
            with lean.Client(system) as client:
                for lang in options.lang or [one for one, row in LANGUAGES.items() if all(
                        pathlib.Path(argv[0]).exists() for argv in (row[2], row[3]) if argv and argv[0].startswith("/"))]:
                    first, again = warm(system, client, lang, options.runs)
                    compiling, running = by_hand(lang, options.runs)
                    row = {"lang": lang, "first": first, "warm": again, "by hand": compiling + running}
                    if compiling and lang not in WAITS:
                        row["own"] = running
                    rows.append({name: round(value, 2) if name != "lang" else value for name, value in row.items()})
                    print(json.dumps(rows[-1]), flush=True)
        finally:
            system.stop()
    if options.json:
        options.json.write_text(json.dumps(rows))
    if options.docs:
        write_docs(rows, where, options.runs)


if __name__ == "__main__":
    main()
