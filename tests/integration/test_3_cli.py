# SPDX-License-Identifier: Apache-2.0
"""The command line feels local: streams, exit codes, input, Ctrl-C; and submit, tail, cancel, jobs."""
import json
import os
import pty
import re
import signal
import subprocess
import threading
import time

import pytest
from system import BIN, free_port, wait_until

ID = re.compile(r"[A-Za-z0-9_-]{21}\n")


@pytest.fixture
def program(tmp_path):
    def write(text, name="prog.py"):
        path = tmp_path / name
        path.write_text(text)
        return path
    return write


@pytest.fixture
def start(system):
    """Starts `millrace` and leaves it running."""
    started = []

    def run(*argv, **more):
        process = subprocess.Popen([BIN / "millrace", *map(str, argv)], cwd=system.directory, env=system.client_env,
                                   **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
                                      "bufsize": 0, **more})
        started.append(process)
        return process
    yield run
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()


def test_streams_stay_apart_and_arguments_arrive(system, program):
    done = system.millrace("run", program("import sys; print(sys.argv[1:]); print('err', file=sys.stderr)"), "-x", "--json", "a b")
    assert (done.stdout, done.stderr, done.returncode) == ("['-x', '--json', 'a b']\n", "err\n", 0)


@pytest.mark.parametrize("name, text", [("p.py", "print('x')"), ("p.js", "console.log('x')"), ("p.sh", "echo x")])
def test_the_language_is_told_by_the_name(system, program, name, text):
    assert system.millrace("run", program(text, name)).stdout == "x\n"


def test_the_language_is_told_by_the_first_line(system, program):
    assert system.millrace("run", program("#!/usr/bin/env python3\nprint('x')", "prog")).stdout == "x\n"


def test_an_unknown_language_names_the_known_ones(system, program):
    done = system.millrace("run", program("x", "prog.zzz"))
    assert done.returncode == 125 and "py, js, bash" in done.stderr


def test_a_program_from_standard_input(system):
    assert system.millrace("run", "--lang", "py", "-", "a", stdin="import sys; print(sys.argv[1])").stdout == "a\n"


@pytest.mark.parametrize("text, code", [
    ("pass", 0), ("import sys; sys.exit(7)", 7), ("1/0", 1),
    ("import os; os.kill(os.getpid(), 9)", 137), ("import os; os.kill(os.getpid(), 15)", 143),
])
def test_the_exit_code_is_the_programs(system, program, text, code):
    assert system.millrace("run", program(text)).returncode == code


def test_a_timeout_is_124(system, program):
    done = system.millrace("run", "--timeout-ms", "2000", program("print('so far', flush=True)\nwhile True: pass"))
    assert (done.stdout, done.returncode) == ("so far\n", 124) and "timed out" in done.stderr


def test_variables_arrive(system, program):
    path = program("import os; print(os.environ['A'], os.environ['B'])")
    assert system.millrace("run", "-e", "A=1", "--env=B=x=y", path).stdout == "1 x=y\n"


def test_standard_input_is_passed_on(system, program):
    done = system.millrace("run", program("import sys\nfor line in sys.stdin: print(line.upper(), end='')"), stdin="a\nü\n")
    assert done.stdout == "A\nÜ\n"


def test_much_input_arrives_whole(system, program):
    text = "".join(f"{n:07}\n" for n in range(100_000))
    path = program("import sys, hashlib; data = sys.stdin.buffer.read(); print(len(data), hashlib.sha256(data).hexdigest())")
    import hashlib
    done = system.millrace("run", path, stdin=text)
    assert done.stdout == f"{len(text)} {hashlib.sha256(text.encode()).hexdigest()}\n", done.stderr


def test_input_that_the_program_does_not_read_harms_nothing(system, program):
    assert system.millrace("run", program("print('done')"), stdin="x" * 1_000_000).stdout == "done\n"


def test_a_conversation(start, program):
    run = start("run", program("while True:\n    print(input().upper(), flush=True)"), stdin=subprocess.PIPE)
    for line in (b"one\n", b"two\n"):
        run.stdin.write(line)
        assert run.stdout.readline() == line.upper()
    run.stdin.close()
    assert run.wait(20) == 1 and b"EOFError" in run.stderr.read()


def test_output_is_live(start, program):
    run = start("run", program("import time\nprint('early', flush=True)\ntime.sleep(60)"))
    assert run.stdout.readline() == b"early\n" and run.poll() is None


def test_bytes_pass_unchanged(start, program):
    run = start("run", program("import sys; sys.stdout.buffer.write(bytes(range(256)) * 5)"))
    assert run.stdout.read() == bytes(range(256)) * 5


def test_much_output_arrives_whole_at_a_slow_reader(start, program):
    run = start("run", program("for n in range(1_000_000): print(f'{n:07}')"))
    time.sleep(1)  # the reader is slow: this is what is tested, not waited for
    data = run.stdout.read()
    assert data == "".join(f"{n:07}\n" for n in range(1_000_000)).encode() and run.wait(20) == 0


def wait_until_cancelled(api):
    wait_until("the newest job is cancelled", lambda: api.get("/v1/jobs", params={"limit": 1}).json()["jobs"][0]["status"] == "cancelled")


def test_ctrl_c_cancels(system, start, program, api):
    run = start("run", program("import time\nprint('ready', flush=True)\ntime.sleep(60)"))
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130 and b"cancelled" in run.stderr.read()
    wait_until_cancelled(api)


def test_ctrl_c_cancels_a_program_that_does_not_read_what_comes(start, program, api):
    run = start("run", program("import time\nprint('ready', flush=True)\ntime.sleep(60)"), stdin=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    os.set_blocking(run.stdin.fileno(), False)
    sent = 0

    def stuck():
        nonlocal sent
        taken = run.stdin.write(b"y" * 65536) or 0
        sent += taken
        return taken == 0
    # What the pod holds, what the worker and the store hold, and then no more.
    wait_until("no more is taken", lambda: stuck() and sent > 1 << 20, 60)
    assert sent < 8 << 20
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130
    wait_until_cancelled(api)


def test_a_second_ctrl_c_leaves_at_once(start, program):
    run = start("run", program("import time\nprint('ready', flush=True)\ntime.sleep(60)"))
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGSTOP)  # so that both are there when it goes on
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)
    run.send_signal(signal.SIGCONT)
    assert run.wait(20) in (130, 143)


def test_a_reader_that_goes_away_ends_the_run(system, start, program, api):
    run = start("run", program("while True: print('y' * 100)"))
    run.stdout.read(100)
    run.stdout.close()
    assert run.wait(20) == 128 + signal.SIGPIPE
    wait_until_cancelled(api)


def test_on_a_terminal(system, start, program):
    """Typed lines arrive, Ctrl-D ends the input, and the terminal is left as it was."""
    leader, terminal = pty.openpty()
    path = program("import sys\nfor line in sys.stdin: print('got', line.strip(), flush=True)\nprint('end')")
    run = start("run", path, stdin=terminal, stdout=terminal, stderr=terminal)
    seen = b""
    os.write(leader, b"hello\n")
    while b"got hello" not in seen:
        seen += os.read(leader, 4096)
    os.write(leader, b"\x04")
    while b"end\r\n" not in seen:
        seen += os.read(leader, 4096)
    assert run.wait(20) == 0
    assert os.get_blocking(terminal)
    os.close(leader)
    os.close(terminal)


def test_json_prints_the_result_alone(system, program):
    done = system.millrace("run", "--json", program("print(1); import sys; sys.exit(2)"))
    result = json.loads(done.stdout)
    assert (result["stdout"], result["exit_code"], done.returncode, done.stderr) == ("1\n", 2, 2, "")


def test_submit_and_tail(system, program):
    path = program("import sys, time\nfor n in range(5):\n    print(n, flush=True)\n    time.sleep(.05)\nsys.exit(3)")
    submitted = system.millrace("submit", path)
    assert submitted.returncode == 0 and ID.fullmatch(submitted.stdout)
    for _ in range(2):
        tail = system.millrace("tail", submitted.stdout.strip())
        assert (tail.stdout, tail.returncode) == ("0\n1\n2\n3\n4\n", 3)
    events = [json.loads(line) for line in system.millrace("tail", "--json", submitted.stdout.strip()).stdout.splitlines()]
    assert events[0]["type"] == "submitted" and events[-1]["exit_code"] == 3
    rest = system.millrace("tail", "--json", "--after", events[2]["id"], submitted.stdout.strip()).stdout.splitlines()
    assert [json.loads(line) for line in rest] == events[3:]


def test_cancel_and_jobs(system, program, api):
    job = system.millrace("submit", program("import time; time.sleep(60)")).stdout.strip()
    assert system.millrace("cancel", job).returncode == 0
    assert api.wait(job)["status"] == "cancelled"
    ended = system.millrace("submit", program("pass")).stdout.strip()
    api.wait(ended)
    late = system.millrace("cancel", ended)
    assert late.returncode == 0 and "had ended already: completed" in late.stderr
    row = system.millrace("jobs", "--status", "cancelled", "--limit", "1").stdout.split()
    assert row[:3] == [job, "cancelled", "py"]
    assert json.loads(system.millrace("jobs", "--json", job).stdout)["status"] == "cancelled"
    listed = json.loads(system.millrace("jobs", "--json", "--status", "cancelled", "--limit", "1").stdout)
    assert listed["jobs"][0]["job_id"] == job


def test_the_same_key_is_the_same_job(system, program):
    path = program("print(1)")
    key = f"cli-{time.time_ns()}"
    first, second = (system.millrace("submit", "--idempotency-key", key, path).stdout for _ in range(2))
    assert first == second and ID.fullmatch(first)


@pytest.mark.parametrize("argv, word", [
    (["frobnicate"], "frobnicate"), (["jbos"], "millrace jobs"), ([], "--help"), (["cancel", "../health"], "21"),
    (["tail", "../../../../../health"], "21"), (["run"], "usage"), (["run", "--lnag", "py", "x"], "--lang"),
    (["jobs", "--limit", "0"], "--limit"), (["run", "-t"], "--timeout-ms"), (["tail", "short"], "21"),
    (["submit", "/nonexistent.py"], "nonexistent"),
])
def test_a_wrong_command_line_is_told_by_name(system, argv, word):
    done = system.millrace(*argv)
    assert done.returncode in (2, 125) and word in done.stderr and done.stdout == ""


def test_faults_of_the_api_are_shown(system, program):
    done = system.millrace("run", program("print(1)"), MILLRACE_API_KEY="wrong-wrong-wrong-wrong")
    assert done.returncode == 125 and "key" in done.stderr and "401" in done.stderr
    assert "MILLRACE_API_KEY" in done.stderr
    gone = system.millrace("tail", "A" * 21)
    assert gone.returncode == 125 and "check the path and the id (404 resource_not_found" in gone.stderr
    # A field's sentence is told once, and none of it as JSON.
    wrong = system.millrace("jobs", "--status", "foo")
    assert wrong.returncode == 125 and wrong.stderr.count("must be queued, running") == 1 and "{" not in wrong.stderr


def test_settings_of_servers_and_of_other_programs_are_no_matter(system, program, tmp_path):
    """A project's own .env and environment stop nobody who only wants a program run."""
    (tmp_path / ".env").write_text("API_TOKEN=x\nLOG_LEVEL=verbose\nREDIS_URI=y\nAPI_KEYS=short\n")
    done = subprocess.run([BIN / "millrace", "run", program("print(1)")], cwd=tmp_path, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60,
                          env={**system.client_env, "API_TOKEN": "x", "STATE_DIR": "y", "MAX_EXECUTION_TIME": "z"})
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
    typo = system.millrace("run", program("print(1)"), MILLRACE_ULR="x")
    assert typo.returncode == 125 and "did you mean MILLRACE_URL?" in typo.stderr


def test_an_api_that_is_away_is_told_while_it_is_waited_for(start):
    run = start("jobs", "--url", f"http://127.0.0.1:{free_port()}")
    assert b"trying again" in run.stderr.readline() and run.poll() is None


@pytest.mark.parametrize("command", ["run", "submit", "tail", "cancel", "jobs", "bench", "up", "config"])
def test_every_command_helps(system, command):
    done = system.millrace(command, "--help")
    assert done.returncode == 0 and f"usage: millrace {command}" in done.stdout and "--json" in done.stdout
    assert command in system.millrace("--help").stdout


def test_the_run_survives_the_end_of_its_api(make_system, program):
    """The API is killed while output streams; the command line goes on behind the last event, nothing twice."""
    system = make_system()
    path = program("import time\nfor n in range(60):\n    print(n, flush=True)\n    time.sleep(.05)")
    run = subprocess.Popen([BIN / "millrace", "run", path], env=system.client_env, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(run.stdout))
    reader.start()
    wait_until("output has begun", lambda: len(lines) > 5)
    os.kill(system.children("api")[0]["pid"], signal.SIGKILL)
    assert run.wait(60) == 0
    reader.join()
    run.stderr.close()
    assert lines == [f"{n}\n".encode() for n in range(60)]


def test_bench_counts(system, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"lang": "py", "code": "print(1)"}))
    done = system.millrace("bench", "--json", "-r", "20", "-c", "2", "-d", body, system.url + "/exec")
    told = json.loads(done.stdout)
    assert (done.returncode, told["requests"], told["status"]["2xx"], told["errors"]) == (0, 20, 20, 0)
    assert 0 < told["latency_ms"]["p50"] <= told["latency_ms"]["p99"] <= told["latency_ms"]["max"]
    refused = system.millrace("bench", "--json", "-r", "5", system.url + "/nothing-here")
    assert refused.returncode == 1 and json.loads(refused.stdout)["status"]["4xx"] == 5


def test_bench_pauses(system):
    paused = json.loads(system.millrace("bench", "--json", "-r", "5", "--pause", "100", system.url + "/nothing-here").stdout)
    assert paused["requests"] == 5 and paused["seconds"] > 0.3  # four pauses, each a little less by the clock of its loop
