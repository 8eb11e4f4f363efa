# SPDX-License-Identifier: Apache-2.0
"""`millrace replay`: what a job wrote, byte for byte, at its pace, with its exit code."""
import json
import subprocess
import time

import pytest
from system import BIN

PROGRAM = r"""
import sys, time
for i in range(3):
    sys.stdout.buffer.write(b"out %d \xff\x00\n" % i); sys.stdout.flush()
    sys.stderr.buffer.write(b"err %d \xfe\r" % i); sys.stderr.flush()
    time.sleep(0.3)
sys.exit(7)
"""


def replay(system, *argv):
    begun = time.monotonic()
    done = subprocess.run([BIN / "millrace", "replay", *argv], env=system.client_env, cwd=system.directory, timeout=60,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done, time.monotonic() - begun


def submit(system, tmp_path, text, *options):
    program = tmp_path / "prog.py"
    program.write_text(text)
    job = system.millrace("submit", *options, program).stdout.strip()
    subprocess.run([BIN / "millrace", "tail", job], env=system.client_env, cwd=system.directory, timeout=60, check=False,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return job


@pytest.fixture(scope="module")
def job(system, tmp_path_factory):
    return submit(system, tmp_path_factory.mktemp("replay"), PROGRAM)


@pytest.mark.parametrize("options", [("--speed", "0"), ("--speed", "2"), ()])
def test_bytes_streams_and_exit_code(system, job, options):
    done, took = replay(system, job, *options)
    assert done.stdout == b"".join(b"out %d \xff\x00\n" % i for i in range(3))
    assert done.stderr == b"".join(b"err %d \xfe\r" % i for i in range(3))
    assert done.returncode == 7
    events = [json.loads(line) for line in system.millrace("tail", "--json", job).stdout.splitlines()]
    lasted = (events[-1]["time"] - next(event["time"] for event in events if event["type"] == "started")) / 1000
    assert took >= {(): lasted, ("--speed", "2"): lasted / 2, ("--speed", "0"): 0}[options]


def test_much_output_comes_back_whole(system, tmp_path):
    text = "import sys\nfor i in range(200000): sys.stdout.write('%d\\n' % i)"
    done, _ = replay(system, submit(system, tmp_path, text), "--speed", "0")
    assert done.returncode == 0 and done.stdout == b"".join(b"%d\n" % i for i in range(200000))


def test_ends_of_our_own_are_told(system, tmp_path):
    job = submit(system, tmp_path, "print('so far', flush=True)\nwhile True: pass", "--timeout-ms", "2000")
    done, _ = replay(system, job, "--speed", "0")
    assert (done.stdout, done.returncode) == (b"so far\n", 124) and b"timed out" in done.stderr


def test_a_job_that_has_not_ended_is_for_tail(system, tmp_path):
    program = tmp_path / "prog.py"
    program.write_text("import time; time.sleep(100)")
    job = system.millrace("submit", program).stdout.strip()
    done, _ = replay(system, job)
    assert done.returncode == 125 and b"millrace tail" in done.stderr
    system.millrace("cancel", job)


@pytest.mark.parametrize("argv, code, said", [
    ((), 2, b"usage"), (("nope",), 2, b"not a job's id"), (("A" * 21,), 125, b"404"),
    (("A" * 21, "--speed", "-1"), 2, b"--speed"), (("A" * 21, "--speed", "nan"), 2, b"--speed"),
    (("A" * 21, "--speed", "1x"), 2, b"--speed"),
])
def test_what_is_wrong_is_said(system, argv, code, said):
    done, _ = replay(system, *argv)
    assert done.returncode == code and said in done.stderr
