# SPDX-License-Identifier: Apache-2.0
"""POST /exec: a program goes in, and what it did comes back."""
import base64
import time

import pytest

HELLO = {"py": "print('hello')", "js": "console.log('hello')", "bash": "echo hello"}
FAIL = {"py": "import sys; print('to err', file=sys.stderr); sys.exit(3)",
        "js": "console.error('to err'); process.exit(3)",
        "bash": "echo 'to err' >&2; exit 3"}
ECHO_ARGS = {"py": "import sys; print(*sys.argv[1:], sep='|')",
             "js": "console.log(process.argv.slice(2).join('|'))",
             "bash": "IFS='|'; echo \"$*\""}
ECHO_STDIN = {"py": "import sys; print(sys.stdin.read().upper(), end='')",
              "js": "process.stdout.write(require('fs').readFileSync(0, 'utf8').toUpperCase())",
              "bash": "tr a-z A-Z"}
ECHO_ENV = {"py": "import os; print(os.environ['GREETING'])", "js": "console.log(process.env.GREETING)",
            "bash": "echo \"$GREETING\""}
each_language = pytest.mark.parametrize("lang", HELLO)


@each_language
def test_a_program_prints(api, lang):
    body = api.exec(lang, HELLO[lang])
    assert (body["stdout"], body["stderr"], body["exit_code"]) == ("hello\n", "", 0)
    assert (body["signal"], body["timed_out"], body["files"], body["job_status"]) == (None, False, [], "completed")


def test_both_paths_are_the_same(api):
    answers = [api.post(path, json={"lang": "py", "code": "print(1)"}).json() for path in ("/exec", "/v1/exec")]
    assert answers[0]["stdout"] == answers[1]["stdout"] == "1\n"
    assert answers[0].keys() == answers[1].keys()


@pytest.mark.parametrize("name", ["Python", "PYTHON3", "javascript", "sh"])
def test_a_language_has_other_names(api, name):
    assert api.exec(name, {"p": "print('x')", "j": "console.log('x')", "s": "echo x"}[name[0].lower()])["stdout"] == "x\n"


@each_language
def test_arguments_arrive(api, lang):
    assert api.exec(lang, ECHO_ARGS[lang], args=["a b", "", "--c", "ü"])["stdout"] == "a b||--c|ü\n"


def test_other_scalars_become_arguments(api):
    assert api.exec("py", ECHO_ARGS["py"], args=[1, True, 2.5, {"a": [1]}])["stdout"] == '1|true|2.5|{"a":[1]}\n'


@each_language
def test_standard_input_arrives_and_ends(api, lang):
    assert api.exec(lang, ECHO_STDIN[lang], stdin="one\ntwo\n")["stdout"] == "ONE\nTWO\n"


def test_standard_input_in_base64(api):
    code = "import sys; print(list(sys.stdin.buffer.read()))"
    raw = base64.b64encode(bytes([0, 255, 10])).decode()
    assert api.exec("py", code, stdin=raw, stdin_encoding="base64")["stdout"] == "[0, 255, 10]\n"


def test_without_standard_input_it_is_empty(api):
    assert api.exec("py", "import sys; print(repr(sys.stdin.read()))")["stdout"] == "''\n"


@each_language
def test_environment_arrives(api, lang):
    assert api.exec(lang, ECHO_ENV[lang], env={"GREETING": "good day"})["stdout"] == "good day\n"


@each_language
def test_a_failing_program_is_200_with_the_facts(api, lang):
    body = api.exec(lang, FAIL[lang])
    assert (body["stdout"], body["stderr"], body["exit_code"], body["job_status"]) == ("", "to err\n", 3, "completed")


def test_a_syntax_error_is_200_with_the_facts(api):
    body = api.exec("py", "def:")
    assert body["exit_code"] == 1 and "SyntaxError" in body["stderr"]


def test_an_exception_shows_its_trace(api):
    body = api.exec("py", "def f():\n    raise ValueError('because')\nf()\n")
    assert body["exit_code"] == 1
    assert body["stderr"].endswith("ValueError: because\n") and "line 2, in f" in body["stderr"]


def test_a_signal_is_named(api):
    body = api.exec("py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (body["signal"], body["exit_code"], body["job_status"]) == ("SIGSEGV", None, "completed")


@each_language
def test_a_timeout_keeps_what_was_written(api, lang):
    forever = {"py": "print('so far', flush=True)\nwhile True: pass",
               "js": "console.log('so far'); for (;;) {}",
               "bash": "echo so far; while :; do :; done"}[lang]
    began = time.monotonic()
    body = api.exec(lang, forever, timeout_ms=2000)
    assert (body["stdout"], body["timed_out"], body["job_status"], body["status"]) == ("so far\n", True, "timed_out", "TO")
    assert 1.9 < time.monotonic() - began < 25  # 30 s is the limit of who asks for none


def test_too_much_output_is_cut_and_said(api):
    body = api.exec("py", "while True: print('x' * 10000)", timeout_ms=20000)
    assert (body["reason"], body["job_status"], body["truncated"]) == ("output_limit", "failed", True)
    assert 15 << 20 < len(body["stdout"]) <= 16 << 20


def test_too_much_memory_is_said(api):
    body = api.exec("py", "x = bytearray(2_000_000_000)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('kept')")
    assert "kept" not in body["stdout"]
    assert body["oom"] or "MemoryError" in body["stderr"]


def test_bytes_that_are_not_text(api):
    body = api.exec("py", "import sys; sys.stdout.buffer.write(b'a\\xff\\x00b')")
    assert body["stdout"] == "a�\x00b"
    assert base64.b64decode(body["stdout_base64"]) == b"a\xff\x00b"


def test_the_working_directory_holds_the_source_and_is_writable(api):
    body = api.exec("py", "import os; print(os.getcwd(), os.listdir()); open('f', 'w').write('x'); print(sorted(os.listdir()))")
    assert body["stdout"] == "/mnt/data ['main.py']\n['f', 'main.py']\n"


def test_nothing_stays_for_the_next_run(api):
    api.exec("py", "open('/mnt/data/left', 'w').write('x'); open('/tmp/left', 'w').write('x')")
    body = api.exec("py", "import os; print(os.path.exists('/mnt/data/left'), os.path.exists('/tmp/left'))")
    assert body["stdout"] == "False False\n"


def test_two_runs_have_two_sessions_and_two_jobs(api):
    one, two = api.exec("py", "print(1)"), api.exec("py", "print(1)")
    assert one["session_id"] != two["session_id"] and one["job_id"] != two["job_id"]


def test_usage_is_told(api):
    usage = api.exec("py", "x = sum(range(3_000_000)); print('abc')")["usage"]
    assert usage["stdout_bytes"] == 4 and usage["stderr_bytes"] == 0
    assert usage["wall_ms"] > 0 and usage["cpu_ms"] > 0 and usage["memory_peak_bytes"] > 100_000


def test_a_program_that_reads_no_input_does_not_hang(api):
    assert api.exec("py", "print('done')", stdin="x" * 1_000_000)["stdout"] == "done\n"


def test_descendants_end_with_the_program(api):
    body = api.exec("bash", "sleep 1000 & echo started")
    assert (body["stdout"], body["timed_out"]) == ("started\n", False)
