# SPDX-License-Identifier: Apache-2.0
"""How a program ended is told exactly, and what it wrote is kept."""
import signal
import time

import pytest

KINDS = ["cold", "py"]


def test_output_and_arguments(place):
    facts = place.run("/bin/echo", "-n", "a  b", "")
    assert facts["stdout"] == b"a  b "
    assert facts["stderr"] == b""
    assert facts["exit"]["end"] == "own"
    assert facts["exit"]["exit_code"] == 0
    assert facts["exit"]["signal"] == 0
    assert facts["done"] and facts["started"]


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 255])
def test_exit_codes(place, code):
    assert place.bash(f"exit {code}")["exit"]["exit_code"] == code


@pytest.mark.parametrize("code", [0, 7, 255])
def test_exit_codes_warm(place, code):
    facts = place.warm(f"import sys; sys.exit({code})")
    assert (facts["exit"]["exit_code"], facts["exit"]["signal"]) == (code, 0)


@pytest.mark.parametrize("name", ["SEGV", "KILL", "TERM", "ABRT", "FPE", "PIPE"])
def test_fatal_signals(place, name):
    number = getattr(signal, "SIG" + name)
    end = place.bash(f"kill -{name} $$")["exit"]
    assert (end["exit_code"], end["signal"], end["end"]) == (-1, number, "own")


def test_a_missing_program_is_an_error_and_not_an_exit(place):
    facts = place.run("/usr/bin/no-such-program")
    assert "exit" not in facts
    assert facts["error"].startswith("execute /usr/bin/no-such-program")
    assert facts["done"] and not facts["started"]


# What a compiler of the program's own making leaves, and what a shell says of it.
NO_PROGRAMS = {
    "a missing interpreter": "printf '#!/usr/bin/no-such-interpreter\\n' > p",
    "a bad shebang": "printf '#!\\n' > p",
    "nothing": ": > p",
    "text": "echo text > p",
    "another architecture": "cp /bin/true p; printf '\\xb7' | dd of=p bs=1 seek=18 conv=notrunc status=none",
    "half a program": "head -c 100 /bin/true > p",
}


@pytest.mark.parametrize("name", NO_PROGRAMS)
def test_what_is_no_program_is_an_error_and_not_an_exit(place, name):
    made = f"{NO_PROGRAMS[name]}; chmod 755 p"
    facts = place.run("/mnt/data/p", kind="cold", name="main.sh", code=made, compile="/bin/bash main.sh")
    assert facts["stage"]["exit_code"] == 0 and "exit" not in facts and facts["done"], facts
    assert facts["error"].startswith("execute /mnt/data/p: "), facts


def test_a_relative_command_is_refused(place):
    assert "absolute" in place.run("python3")["error"]


@pytest.mark.parametrize("kind", KINDS)
def test_deadline_kills_who_ignores_signals_and_its_grandchild(place, kind):
    code = """if 1:
        import os, signal, sys, time
        for s in range(1, 65):
            try: signal.signal(s, signal.SIG_IGN)
            except (OSError, ValueError): pass
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        print("before", flush=True)
        if os.fork() == 0:
            os.setsid()
        time.sleep(600)
    """
    facts = place.python(code, wall_ms=2000) if kind == "cold" else place.warm(code, wall_ms=2000)
    assert facts["exit"]["end"] == "wall"
    assert facts["exit"]["signal"] == signal.SIGKILL
    assert facts["stdout"] == b"before\n"
    assert facts["exit"]["wall_ms"] >= 2000
    assert facts["done"]  # PID 1 says so when nobody else is left


def test_without_the_deadline_it_would_go_on(place):
    facts = place.bash("sleep 1.5; echo late", wall_ms=300, off=["wall_limit"])
    assert facts["stdout"] == b"late\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_daemon_that_holds_the_output_delays_the_end_by_the_grace(place, kind):
    code = "import os,time\nprint('x', flush=True)\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nos._exit(3)"
    facts = place.python(code) if kind == "cold" else place.warm(code)
    assert facts["exit"]["exit_code"] == 3
    assert facts["exit"]["end"] == "own"
    assert facts["stdout"] == b"x\n"
    assert facts["exit"]["processes"] == 2
    assert facts["run_ms"] < 60_000 and facts["done"]


def test_closing_its_output_is_not_its_end(place):
    facts = place.python("import os,time; os.close(1); os.close(2); time.sleep(0.4); os._exit(5)")
    assert facts["exit"]["exit_code"] == 5
    assert facts["exit"]["wall_ms"] >= 400


def test_what_is_in_the_pipe_survives_sigkill(place):
    facts = place.python("import os,signal; os.write(1, b'z' * 4096); os.kill(os.getpid(), signal.SIGKILL)")
    assert facts["exit"]["signal"] == signal.SIGKILL
    assert facts["exit"]["end"] == "own"
    assert facts["stdout"] == b"z" * 4096


@pytest.mark.parametrize("stream", [1, 2])
def test_output_limit_is_exact(place, stream):
    facts = place.bash(f"yes >&{stream}", output=100_000)
    assert facts["exit"]["end"] == "output"
    assert len(facts["stdout"]) + len(facts["stderr"]) == 100_000


def test_output_limit_counts_both_streams(place):
    facts = place.python("import os\nwhile True:\n    os.write(1, b'a' * 1000)\n    os.write(2, b'b' * 1000)", output=300_001)
    assert facts["exit"]["end"] == "output"
    assert len(facts["stdout"]) + len(facts["stderr"]) == 300_001
    assert facts["stdout"] and facts["stderr"]


def test_exactly_the_limit_is_not_over_it(place):
    facts = place.bash("head -c 100000 /dev/zero", output=100_000)
    assert facts["exit"]["end"] == "own"
    assert facts["stdout"] == b"\0" * 100_000


def test_a_slow_reader_blocks_the_program_and_loses_nothing(place):
    code = "import os,time\nt = time.monotonic()\nfor i in range(300): os.write(1, b'%07d\\n' % i * 8192)\nos._exit(int(time.monotonic() - t))"
    facts = place.python(code, stall_ms=2500, output=1 << 26)
    assert facts["exit"]["exit_code"] >= 2
    assert facts["stdout"] == b"".join(b"%07d\n" % i * 8192 for i in range(300))


def test_all_bytes_come_through(place):
    facts = place.python("import os; os.write(1, bytes(range(256)) * 300)")
    assert facts["stdout"] == bytes(range(256)) * 300


def test_forged_frames_are_output(place):
    code = """if 1:
        import os, struct
        for t in (65, 70, 71, 75):
            os.write(1, struct.pack("<IBBBB", 48, t, 0, 0, 0) + bytes(48))
        os._exit(3)
    """
    facts = place.python(code)
    assert facts["exit"]["exit_code"] == 3
    assert len(facts["stdout"]) == 4 * 56


def test_memory_limit_is_told_from_the_kernels_counter(place):
    facts = place.python("x = []\nwhile True: x.append(bytearray(1 << 20))", memory=64 << 20)
    assert facts["exit"]["end"] == "memory"
    assert facts["exit"]["signal"] == signal.SIGKILL
    assert facts["usage"]["oom_kills"] >= 1
    assert facts["usage"]["memory_peak"] <= 64 << 20


def test_memory_limit_warm(place):
    facts = place.warm("x = []\nwhile True: x.append(bytearray(1 << 20))", memory=64 << 20)
    assert facts["exit"]["end"] == "memory"
    assert facts["usage"]["oom_kills"] >= 1


def test_sigkill_alone_is_not_called_out_of_memory(place):
    facts = place.bash("kill -KILL $$", memory=64 << 20)
    assert facts["exit"]["end"] == "own"
    assert facts["usage"]["oom_kills"] == 0


def test_a_child_out_of_memory_ends_the_whole_pod(place):
    code = """if 1:
        import os, time
        if os.fork() == 0:
            x = []
            while True: x.append(bytearray(1 << 20))
        os.wait()
        time.sleep(30)
    """
    facts = place.python(code, memory=64 << 20)
    assert facts["exit"]["end"] == "memory"
    assert facts["exit"]["wall_ms"] < 10_000


def test_files_count_as_memory(place):
    facts = place.bash("head -c 200000000 /dev/zero > /mnt/data/f; echo $?", memory=64 << 20, work_bytes=1 << 30)
    assert facts["usage"]["oom_kills"] >= 1


def test_cpu_limit_counts_every_process(place):
    facts = place.bash("for i in 1 2 3 4; do (while :; do :; done) & done; wait", cpu_ms=400, wall_ms=20_000)
    assert facts["exit"]["end"] == "cpu"
    assert 400 <= facts["usage"]["cpu_ms"] <= 2000


def test_standard_input_then_its_end(place):
    assert place.run("/bin/cat", stdin="hello\n")["stdout"] == b"hello\n"
    assert place.run("/bin/cat")["stdout"] == b""


def test_cancelled_keeps_what_was_written(place):
    facts = place.bash("echo begun; cat; echo never", hold_stdin=True, cancel=True)
    assert facts["exit"]["end"] == "cancelled"
    assert facts["stdout"] == b"begun\n"


def test_a_signal_reaches_the_program(place):
    facts = place.python("import time\ntry: print('there', flush=True); time.sleep(30)\nexcept KeyboardInterrupt: print('caught')", signal=2)
    assert facts["stdout"] == b"there\ncaught\n"
    assert facts["exit"]["exit_code"] == 0


def test_compile_then_run(place):
    facts = place.run("/bin/bash", "out.sh", name="in.txt", code="echo $((6*7))", compile="/bin/cp in.txt out.sh")
    assert facts["stage"]["exit_code"] == 0
    assert facts["exit"]["exit_code"] == 0
    assert facts["stdout"] == b"42\n"


def test_a_compile_error_is_the_end(place):
    facts = place.run("/bin/echo", "never", name="in.txt", code="", compile="/bin/cp absent.txt out")
    assert facts["stage"]["exit_code"] == 1
    assert facts["exit"]["exit_code"] == 1
    assert facts["stdout"] == b""
    assert b"absent.txt" in facts["stderr"]


# What a compiler that works beside its program leaves there when it is ended, and how it ends then.
LEAVES = "mkdir rmeta; echo x | tee .program.rcgu.o rmeta/lib.rmeta > whole.o\n"
CUT_SHORT = {
    "error": ("exit 1", {}, "own"),
    "signal": ("kill -9 $$", {}, "own"),
    "deadline": ("sleep 60", dict(wall_ms=500), "wall"),
    "processor": ("while :; do :; done", dict(cpu_ms=300), "cpu"),
    "memory": ("x=$(tail -c 100M /dev/zero | tr '\\0' x)", dict(memory=32 << 20), "memory"),
}


@pytest.mark.parametrize("how", CUT_SHORT)
def test_what_a_compiler_leaves_is_no_file_of_the_run(place, how):
    last, limits, end = CUT_SHORT[how]
    facts = place.run("/bin/true", name="main.py", code=LEAVES + last, compile="/bin/bash main.py", collect=True, **limits)
    assert facts["exit"]["end"] == end, facts
    assert facts.get("files", []) == []


def test_what_a_program_leaves_is_told_when_its_compiler_was_good(place):
    facts = place.run("/bin/bash", "-c", "exit 3", name="main.py", code=LEAVES, compile="/bin/bash main.py", collect=True)
    assert facts["exit"]["exit_code"] == 3
    assert {f["path"] for f in facts["files"]} == {".program.rcgu.o", "rmeta/lib.rmeta", "whole.o"}


def test_the_source_is_a_file_in_the_working_directory(place):
    facts = place.run("/usr/bin/python3", "main.py", name="main.py", code="import os; print(os.getcwd(), os.listdir())")
    assert facts["stdout"] == b"/mnt/data ['main.py']\n"


def test_zero_seconds_of_program_is_honest(place):
    for facts in (place.run("/bin/true") for _ in range(50)):
        assert facts["exit"]["exit_code"] == 0
        assert facts["done"]


def test_a_second_spawner_of_the_same_state_is_refused(pods):
    import subprocess
    first = subprocess.Popen(pods.command(["/bin/sleep", "30"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not pods_of(pods):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second = subprocess.run(pods.command(["/bin/true"]), capture_output=True, timeout=30)
        assert second.returncode == 69
        assert b"another spawner" in second.stderr
    finally:
        first.terminate()
        first.wait(30)


def pods_of(pods):
    import pods as module
    return [g for g in module.cgroups() if g.endswith(module.name_of(pods.state))]
