# SPDX-License-Identifier: Apache-2.0
"""Every language does what every language has to do: one table of programs, run two at a time by one system."""
import concurrent.futures
import re
import subprocess

import httpx
import pytest
from contract import Api
from language_programs import LANGUAGES, LIBRARIES, SLEEP
from system import BIN, ROOT, System, parents, wait_until

TEN_MB = 10 << 20
INTERPRETED_MS, COMPILED_MS = 4000, 10000
ROWS = {
    "hello": {},
    "args": {"args": ["a b", "--c", "ü"]},
    "stdin": {"stdin": "one\ntwo three\n"},
    "env": {"env": {"GREETING": "good day"}},
    "stderr": {},
    "exit7": {},
    "signal": {},
    "broken": {},
    "forever": {},
    "ten_mb": {},
    "file": {},
}


def request(lang, row):
    more = dict(ROWS[row])
    if row == "forever":
        more["timeout_ms"] = COMPILED_MS if LANGUAGES[lang]["compiled"] else INTERPRETED_MS
    return {"lang": lang, "code": LANGUAGES[lang][row], **more}


@pytest.fixture(scope="module")
def plant(tmp_path_factory, cluster):
    # Twice the time that is usual: a busy machine is no reason to fail.
    made = System(tmp_path_factory.mktemp("languages"), cluster=cluster, env={"MAX_EXECUTION_TIME": "60"})
    yield made
    code, left = made.stop(), made.residue()
    assert code == 0 and left == []


@pytest.fixture(scope="module")
def runs(plant, request):
    """Everything that a test of this module asks for runs ahead of it, two at a time: (lang, row) -> future."""
    wanted = [item.callspec.params for item in request.session.items
              if item.module is request.module and "row" in getattr(getattr(item, "callspec", None), "params", {})]
    with concurrent.futures.ThreadPoolExecutor(2) as two, Api(plant) as api:
        futures = {(p["lang"], p["row"]): two.submit(ask, api, p["lang"], p["row"]) for p in wanted}
        yield futures
        for future in futures.values():
            future.cancel()


def ask(api, lang, row):
    body = LIBRARIES[lang][row] if row not in ROWS else request(lang, row)
    answer = api.post("/exec", json=body if isinstance(body, dict) else {"lang": lang, "code": body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def well(body, stdout):
    assert (body["stdout"], body["stderr"], body["exit_code"], body["job_status"]) == (stdout, "", 0, "completed")


def check_hello(lang, body):
    well(body, "hello\n")
    assert body["stage"] is None and body["signal"] is None and body["files"] == []
    usage = body["usage"]
    assert usage["cpu_ms"] > 0 and usage["memory_peak_bytes"] > 100_000 and usage["processes"] >= 1
    assert usage["wall_ms"] > 0


def check_args(lang, body):
    well(body, "a b|--c|ü\n")


def check_stdin(lang, body):
    well(body, "one\ntwo three\n")


def check_env(lang, body):
    well(body, "good day\n")


def check_stderr(lang, body):
    assert (body["stdout"], body["stderr"], body["exit_code"]) == ("to out\n", "to err\n", 0)


def check_exit7(lang, body):
    assert (body["exit_code"], body["signal"], body["stage"], body["job_status"]) == (7, None, None, "completed")


def check_signal(lang, body):
    assert body["signal"] == LANGUAGES[lang]["dies_of"] and body["exit_code"] is None and body["job_status"] == "completed"


def check_broken(lang, body):
    assert body["exit_code"] not in (0, None) and body["job_status"] == "completed" and body["stdout"] == ""
    assert re.search(LANGUAGES[lang]["points_at"], body["stderr"]), body["stderr"]
    assert body["stage"] == ("compile" if LANGUAGES[lang]["compiled"] else None)
    assert body["files"] == []


def check_forever(lang, body):
    assert (body["job_status"], body["limit"], body["timed_out"], body["status"]) == ("timed_out", "wall", True, "TO")
    assert body["stdout"] == "begun\n" and body["files"] == []
    wait_until("its child has ended", lambda: not [line for _, line in parents().values() if line == f"sleep {SLEEP[lang]}"])


def check_ten_mb(lang, body):
    assert len(body["stdout"]) == TEN_MB and body["stdout"] == "0123456789abcde\n" * (TEN_MB // 16)
    assert body["exit_code"] == 0 and not body["truncated"]


def check_file(lang, body):
    """The program wrote /mnt/data/out.txt and read it again; its source and what was compiled are no files of it."""
    well(body, "kept\n")
    assert [file["name"] for file in body["files"]] == ["out.txt"]


CHECKS = {name.removeprefix("check_"): check for name, check in list(globals().items()) if name.startswith("check_")}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("row", ROWS)
def test_each_language(runs, lang, row):
    CHECKS[row](lang, runs[lang, row].result(timeout=150))


@pytest.mark.parametrize("lang,row", [(lang, row) for lang, rows in LIBRARIES.items() for row in rows])
def test_usual_libraries(runs, lang, row):
    body = runs[lang, row].result(timeout=150)
    assert (body["stdout"], body["exit_code"]) == ("fine\n", 0), body["stderr"]


def test_types_do_not_stop_typescript(plant):
    with Api(plant) as api:
        body = api.exec("ts", "const x: number = 'text';\nconsole.log(x, typeof x);\n")
        well(body, "text string\n")
        body = api.exec("ts", "interface A { a: number }\nfunction f(x: A): never { throw new Error('told ' + x.a) }\nf({ a: 3 });\n")
        assert body["exit_code"] == 1 and "told 3" in body["stderr"] and "main.ts:2" in body["stderr"]
        well(api.exec("ts", "const x: number = await Promise.resolve(4);\nconsole.log(x);\n"), "4\n")


@pytest.mark.parametrize("code,out", [
    ("public class Other { public static void main(String[] a) { System.out.println(\"other\"); } }", "other"),
    ("class Helper { }\nclass Start { public static void main(String... a) { System.out.println(\"start\"); } }", "start"),
    ("// class No { }\npackage some.where;\n/* class No2 */ final class In { enum E { A }\n static public void main(final String[] a)"
     " { System.out.println(\"in \" + E.A); } }", "in A"),
    ("record Point(int x) { public static void main(String[] a) { System.out.println(new Point(3)); } }", "Point[x=3]"),
])
def test_javas_class_may_have_any_name(plant, code, out):
    with Api(plant) as api:
        well(api.exec("java", code), out + "\n")


@pytest.mark.parametrize("timeout_ms", [40, 160, 320])
def test_what_a_compiler_had_begun_is_no_file_of_the_run(plant, timeout_ms):
    """Ended wherever it is just then; each source is another, for one that is kept is not compiled."""
    with Api(plant) as api:
        for lang in (lang for lang, row in LANGUAGES.items() if row["compiled"] and lang != "java"):
            body = api.exec(lang, LANGUAGES[lang]["hello"] + "\n" * timeout_ms, timeout_ms=timeout_ms)
            assert body["files"] == [] and "refused_files" not in body, (lang, body)


@pytest.mark.parametrize("lang,code,told", [("go", "package other\n\nfunc main() { }\n", "main package"),
                                            ("rs", "#![crate_type = \"lib\"]\npub fn f() { }\n", "`main` function not found")])
def test_what_compiles_to_no_program_is_an_error_of_compiling(plant, lang, code, told):
    with Api(plant) as api:
        body = api.exec(lang, code)
    assert (body["job_status"], body["stage"], body["exit_code"] != 0, told in body["stderr"]) == ("completed", "compile", True, True), body


def test_gos_library_is_compiled_ahead(plant):
    """Debian's package has it compiled, below /usr for all pods, so with an empty cache one file is compiled: the program's."""
    code = ('cat > a.go <<X\npackage main\n\nimport (\n"crypto/tls"\n"database/sql"\n"encoding/json"\n"net/http"\n"text/template"\n)\n\n'
            'func main() { println(http.StatusOK, json.Valid(nil), template.New, sql.Open, tls.Dial) }\nX\n'
            "GO111MODULE=off GOENV=off GOCACHE=/tmp/cache go build -x -o a a.go 2>&1 | grep -c '/compile '\n./a 2>&1 | grep -c 200\n")
    with Api(plant) as api:
        well(api.exec("bash", code), "1\n1\n")


# Files that some tool takes for its own where it finds them; each would say "taken" (A144).
TAKEN = {
    "node_modules/lodash/index.js": "console.log('taken');\n",
    "node_modules/typescript/index.js": "console.log('taken');\n",
    "package.json": '{"name": "taken", "main": "taken.js", "imports": {"#fs": "./taken.js"}}\n',
    "taken.js": "console.log('taken');\n",
    "taken.php": "<?php echo \"taken\\n\";\n",
    ".npmrc": "node-options=--require=/mnt/data/taken.js\n",
    ".Rprofile": "cat('taken\\n')\n",
    ".Renviron": "R_DEFAULT_PACKAGES=taken\n",
    "php.ini": "auto_prepend_file=/mnt/data/taken.php\n",
    ".user.ini": "auto_prepend_file=/mnt/data/taken.php\n",
    "pom.xml": "<project/>\n",
    ".bashrc": "echo taken\n",
    ".profile": "echo taken\n",
    "sitecustomize.py": "print('taken')\n",
    "usercustomize.py": "print('taken')\n",
}


@pytest.fixture(scope="module")
def taken(plant):
    with Api(plant) as api:
        answer = api.post("/upload/batch", data={"kind": "user", "id": "66aa02"},
                          files=[("file", (name, text.encode())) for name, text in TAKEN.items()])
        assert answer.status_code == 200 and answer.json()["succeeded"] == len(TAKEN), answer.text
        session = answer.json()["session_id"]
        return [{"id": file["fileId"], "storage_session_id": session, "name": file["filename"], "kind": "user",
                 "resource_id": file["fileId"]} for file in answer.json()["files"]]


@pytest.mark.parametrize("lang", ["py", "js", "ts", "r", "php", "java", "bash"])
def test_files_of_a_run_say_nothing_to_what_runs_it(plant, taken, lang):
    with Api(plant) as api:
        body = api.exec(lang, LANGUAGES[lang]["hello"], files=taken)
    assert (body["stdout"], body["stderr"], body["exit_code"]) == ("hello\n", "", 0)
    assert {file["name"] for file in body["files"] if file.get("inherited")} == set(TAKEN)


def test_files_of_a_run_are_there_for_who_asks(plant, taken):
    """The same files by their languages' own rules, in the program's pod."""
    with Api(plant) as api:
        code = ("Rscript --no-environ -e 'cat()'; php -c php.ini /dev/null; node -e 'require(\"lodash\")'; . ./.bashrc\n"
                "python3 -c 'import sitecustomize'\n")
        well(api.exec("bash", code, files=taken), "taken\n" * 5)


def test_what_is_there_is_told(plant):
    with Api(plant) as api:
        wait_until("a worker told", lambda: api.get("/v1/languages").json()["languages"][0]["available"])
        rows = {row["id"]: row for row in api.get("/languages").json()["languages"]}
        assert list(rows) == list(api.get("/v1/languages").json() and rows) and set(rows) == set(LANGUAGES)
        for lang, row in rows.items():
            assert row["available"] and row["why"] is None and re.match(r"\d", row["version"]), row
            assert f"--languages {lang} " in row["install"]
        assert rows["py"]["libraries"].keys() >= {"numpy", "pandas", "matplotlib", "scipy", "scikit-learn", "openpyxl", "Pillow"}
        for alias in sum((row["aliases"] for row in rows.values()), []):
            answer = api.post("/exec", json={"lang": alias.upper(), "code": ""})
            assert answer.status_code == 400 and answer.json()["error_type"] == "empty_code", alias
        answer = api.post("/exec", json={"lang": "cobol", "code": "x"})
        assert answer.status_code == 400 and all(lang in answer.json()["error"] for lang in LANGUAGES)


def test_the_installation_takes_its_packages_from_the_table():
    install = [ROOT / "tools" / "install", "--languages"]
    bad = subprocess.run([*install, "py,cobol"], capture_output=True, text=True, check=False)
    assert bad.returncode == 1 and "'cobol' is not known" in bad.stderr
    assert set(LANGUAGES) <= set(bad.stderr.split(":")[-1].split())
    good = subprocess.run([*install, "all"], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")  # all is here: nothing to do and nothing to say


def test_limits_of_a_language(plant):
    with Api(plant) as api:
        for lang, field, most in [("py", "timeout_ms", 60000), ("rs", "timeout_ms", 180000), ("java", "memory_mb", 768),
                                  ("c", "memory_mb", 512), ("r", "cpu_ms", 90000), ("py", "cpu_millis", 1000), ("d", "max_pids", 512)]:
            answer = api.post("/exec", json={"lang": lang, "code": "", field: most + 1})
            assert answer.status_code in (400, 422)
            answer = api.post("/exec", json={"lang": lang, "code": "x", field: most + 1})
            assert answer.status_code == 422 and f"to {most}" in answer.json()["error"], answer.text
        # The clamped one gives no error, and a limit in range holds.
        assert api.exec("py", "print(1)", timeout=10**9)["stdout"] == "1\n"
        body = api.exec("py", "import time; time.sleep(60)", timeout=300)
        assert body["status"] == "TO" and body["usage"]["wall_ms"] >= 300


# What a limit of the request does: program, the limit, and what the answer has.
HOLD = {
    "output": ("print('x' * 5000)", {"max_output_bytes": 1000}, {"reason": "output_limit", "status": "OL", "truncated": True}),
    "memory": ("x = bytearray(200 << 20); print(len(x))", {"memory_mb": 64}, {"reason": "oom", "oom": True, "status": "SG"}),
    "cpu": ("while True: pass", {"cpu_ms": 300, "timeout_ms": 60000}, {"job_status": "timed_out", "limit": "cpu"}),
    "wall": ("import time; time.sleep(60)", {"timeout_ms": 300}, {"job_status": "timed_out", "limit": "wall"}),
    "pids": ("import os\nn = 0\ntry:\n  while os.fork(): n += 1\n  import time; time.sleep(60)\nexcept OSError: print(n < 12)",
             {"max_pids": 12}, {"stdout": "True\n"}),
    "open files": ("f = []\ntry:\n  while True: f.append(open('/dev/null'))\nexcept OSError: print(10 < len(f) < 20)",
                   {"max_open_files": 20}, {"stdout": "True\n"}),
    "file size": ("import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\ntry: open('a', 'wb', 0).write(b'x' * 999) and open('b', 'wb', 0).write(b'x' * 2000)\n"
                  "finally: import os; print(os.stat('b').st_size)", {"max_file_bytes": 1000}, {"stdout": "1000\n"}),
}


@pytest.mark.parametrize("name", HOLD)
def test_a_limit_of_the_request_holds(plant, name):
    code, limits, expected = HOLD[name]
    with Api(plant) as api:
        body = api.exec("py", code, **limits)
    assert {key: body[key] for key in expected} == expected, body
    assert {"wall_ms", "cpu_ms", "memory_peak_bytes", "processes"} <= body["usage"].keys()


def test_what_was_left_out_is_told_although_the_program_has_ended(plant):
    with Api(plant) as api:
        for _ in range(8):  # its end and its output are seen in either order
            body = api.exec("py", "print('x' * 5000)", max_output_bytes=1000)
            assert (body["stdout"][:1001], body["truncated"], body["reason"]) == ("x" * 1000, True, "output_limit")


def test_a_share_of_a_processor_holds(plant):
    code = "import time\nwhile time.process_time() < 0.4: pass"
    with Api(plant) as api:
        usage = api.exec("py", code, cpu_millis=200, timeout_ms=60000)["usage"]
    assert usage["wall_ms"] >= 2.5 * usage["cpu_ms"], usage


def test_compiling_counts_for_the_limits(plant):
    with Api(plant) as api:
        code = "#include <bits/stdc++.h>\ntemplate<int N> struct F { static constexpr long v = F<N-1>::v + F<N-2>::v; };\nint main() {}\n"
        body = api.exec("cpp", code, timeout_ms=150)
        assert (body["job_status"], body["limit"]) == ("timed_out", "wall")


def test_a_missing_toolchain_is_told_and_refused(tmp_path, cluster):
    """The whole system in a mount namespace where PHP and the header files of C are not."""
    folder = tmp_path / "bin"
    folder.mkdir()
    hidden = folder / "millrace"
    hidden.write_text("#!/bin/sh\nexec unshare --mount --propagation private sh -c '"
                      "mount --bind /dev/null /usr/bin/php8.2 && mount -t tmpfs none /usr/include && exec \"$@\"' "
                      f"sh {BIN}/millrace \"$@\"\n")
    hidden.chmod(0o755)
    made = System(tmp_path / "system", cluster=cluster, binaries=folder,
                  env={"POD_POOL_PY": "1", "POD_POOL_JS": "0", "POD_POOL_TS": "0", "POD_POOL_JAVA": "0", "POD_POOL_R": "0",
                       "POD_POOL_PY_SCIENCE": "0"})
    try:
        with Api(made) as api:
            wait_until("a worker told", lambda: api.get("/v1/languages").json()["languages"][0]["available"])
            rows = {row["id"]: row for row in api.get("/v1/languages").json()["languages"]}
            assert {lang for lang, row in rows.items() if not row["available"]} == {"php", "c", "cpp"}
            assert "/usr/bin/php" in rows["php"]["why"] and "php-cli" in rows["php"]["why"]
            for path, lang, name in (("/exec", "php", "php-cli"), ("/v1/jobs", "C", "libc6-dev")):
                answer = api.post(path, json={"lang": lang, "code": "x"})
                assert answer.status_code == 422 and answer.json()["error_type"] == "language_unavailable"
                assert name in answer.json()["error"] and "tools/install" in answer.json()["error"]
            assert api.exec("py", "print(1)")["stdout"] == "1\n"
        log = made.log_of("worker")
        assert "languages that are not installed here" in log and "php: /usr/bin/php" in log
        worker = made.children("worker")[0]["port"]
        told = httpx.get(f"http://127.0.0.1:{worker}/health", timeout=60).json()["languages"]
        assert told["php"] == {"missing": "/usr/bin/php"} and told["py"]["version"]
    finally:
        code, left = made.stop(), made.residue()
    assert code == 0 and left == []
