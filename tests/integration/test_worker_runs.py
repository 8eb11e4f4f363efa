# SPDX-License-Identifier: Apache-2.0
"""What a worker makes of a run: how it ended, its output while it runs, its inputs, its pods."""
import base64
import json
import os
import pathlib
import signal
import sys
import time
import urllib.error
import urllib.request

import pytest
from websockets.sync.client import connect

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
import plant as plants  # noqa: E402

POOL = 2


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    made = plants.Plant(tmp_path_factory.mktemp("worker"), apis=1, workers=1,
                        env={"POD_POOL_PY": str(POOL), "POD_POOL_PY_SCIENCE": "0", "POD_POOL_JS": "1", "POD_POOL_BASH": "1"})
    with made:
        yield made
    assert made.residue() == []
    assert made.crashes == []


def call(plant, method, path, body=None, timeout=40):
    request = urllib.request.Request(plant.urls[0] + path, method=method, data=json.dumps(body).encode() if body else None,
                                     headers={"x-api-key": plant.api_key, "content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def run(plant, code, lang="py", **more):
    status, body = call(plant, "POST", "/exec", {"lang": lang, "code": code, **more})
    assert status == 200, body
    return body


def submit(plant, code, lang="py", **more):
    status, body = call(plant, "POST", "/v1/jobs", {"lang": lang, "code": code, **more})
    assert status == 202, body
    return body["job_id"]


def events(plant, job, after="", wait=20):
    """All events until the end."""
    seen = []
    while True:
        status, body = call(plant, "GET", f"/v1/jobs/{job}/events?after={after}&wait={wait}")
        assert status == 200, body
        seen += body["events"]
        after = body["next"]
        if body["done"]:
            return seen


def wait_for(plant, job, kind, count=1):
    """The events until there are `count` of this type."""
    seen, after = [], ""
    until = time.monotonic() + 40
    while sum(event["type"] == kind for event in seen) < count:
        assert time.monotonic() < until, [event["type"] for event in seen]
        status, body = call(plant, "GET", f"/v1/jobs/{job}/events?after={after}&wait=5")
        assert status == 200, body
        seen += body["events"]
        after = body["next"]
    return seen


def text_of(seen, stream="stdout"):
    parts = [base64.b64decode(event["data"]) if event.get("encoding") == "base64" else event["data"].encode()
             for event in seen if event["type"] == "output" and event["stream"] == stream]
    return b"".join(parts)


ENDS = [
    ("its own end", "py", "print('x'); raise SystemExit(7)", {}, "completed", {"exit_code": 7}),
    ("its own signal", "bash", "kill -SEGV $$", {}, "completed", {"signal": "SIGSEGV"}),
    ("a traceback", "py", "1/0", {}, "completed", {"exit_code": 1}),
    ("wall clock", "py", "print('begun', flush=True)\nimport time; time.sleep(60)", {"timeout_ms": 2000}, "timed_out",
     {"limit": "wall", "stdout": "begun\n", "timed_out": True}),
    ("cpu time", "py", "while True: pass", {"timeout_ms": 20000, "cpu_ms": 500}, "timed_out", {"limit": "cpu"}),
    ("memory", "py", "x = bytearray(200 << 20)\nprint(len(x))", {"memory_mb": 64}, "failed", {"reason": "oom"}),
    ("output", "bash", "yes", {"max_output_bytes": 100000}, "failed", {"reason": "output_limit", "truncated": True}),
    ("node", "js", "console.log(6*7)", {}, "completed", {"exit_code": 0, "stdout": "42\n"}),
]


@pytest.mark.parametrize("_what,lang,code,more,status,facts", ENDS, ids=[row[0] for row in ENDS])
def test_how_it_ended(plant, _what, lang, code, more, status, facts):
    body = run(plant, code, lang, **more)
    assert body["job_status"] == status, body
    assert {name: body[name] for name in facts} == facts


# What the interpreter says last (struct program_ended, PROGRAM_IS_OVER): that nothing but the end with status 7 is left.
OVER = "import os, struct; os.write(3, struct.pack('=Ii', 0x4D525450, 512 + 7))\n"


def test_a_program_that_says_it_is_over_and_goes_on_is_ended(plant):
    body = run(plant, f"print('before', flush=True)\n{OVER}import time; time.sleep(60); print('after')")
    assert (body["job_status"], body["exit_code"], body["stdout"]) == ("completed", 7, "before\n")


def test_with_a_process_beside_it_its_end_is_waited_for(plant):
    """That process ends by an input, which the runner passes on when it has heard what was said before the output."""
    child = "import os\nif os.fork() == 0:\n    os.read(0, 1)\n    os._exit(0)\n"
    job = submit(plant, f"{child}{OVER}print('said', flush=True)\nos.wait(); print('whole')", interactive=True)
    with stream(plant, job) as socket:
        until(socket, "output")
        socket.send(json.dumps({"type": "stdin", "data": "\n"}))
        ended = until(socket, "completed")
    assert (text_of(ended), ended[-1]["exit_code"]) == (b"whole\n", 0)


def test_output_limit_is_exact(plant):
    body = run(plant, "yes", "bash", max_output_bytes=100001)
    assert len(body["stdout"]) == 100001


def test_output_arrives_while_it_runs(plant):
    job = submit(plant, "print('now', flush=True)\ninput()\nprint('then')", interactive=True)
    seen = wait_for(plant, job, "output")
    assert text_of(seen) == b"now\n"
    status, body = call(plant, "GET", f"/v1/jobs/{job}")
    assert status == 200 and body["status"] == "running"
    with stream(plant, job) as socket:
        socket.send(json.dumps({"type": "stdin", "data": "\n"}))
        assert text_of(until(socket, "completed")) == b"now\nthen\n"


def test_a_silent_program_is_said_to_have_started(plant):
    job = submit(plant, "import time; time.sleep(60)")
    seen = wait_for(plant, job, "started")
    assert [event["type"] for event in seen][-1] == "started"
    call(plant, "DELETE", f"/v1/jobs/{job}")
    assert events(plant, job)[-1]["type"] == "cancelled"


def test_characters_are_whole_in_every_event(plant):
    job = submit(plant, "import os,time\nfor b in '\\u20ac\\U0001f600'.encode() * 3:\n os.write(1, bytes([b])); time.sleep(0.03)")
    seen = events(plant, job)
    assert all("encoding" not in event for event in seen if event["type"] == "output")
    assert text_of(seen).decode() == "\u20ac\U0001f600" * 3


def test_bytes_that_are_no_text(plant):
    job = submit(plant, "import os; os.write(1, bytes(range(256)))")
    assert text_of(events(plant, job)) == bytes(range(256))


def test_streams_keep_their_order(plant):
    code = "import os\nfor i in range(50): os.write(1 + i % 2, b'%d\\n' % i)"
    seen = events(plant, submit(plant, code))
    assert text_of(seen) == b"".join(b"%d\n" % i for i in range(0, 50, 2))
    assert text_of(seen, "stderr") == b"".join(b"%d\n" % i for i in range(1, 50, 2))


def test_cancel_keeps_what_was_written(plant):
    job = submit(plant, "import time\nprint('so far', flush=True)\ntime.sleep(60)")
    wait_for(plant, job, "output")
    assert call(plant, "DELETE", f"/v1/jobs/{job}")[0] in (200, 202, 204)
    seen = events(plant, job)
    assert seen[-1]["type"] == "cancelled" and text_of(seen) == b"so far\n"


def test_standard_input(plant):
    assert run(plant, "import sys; print(sys.stdin.read()[::-1])", stdin="abc")["stdout"] == "cba\n"
    assert run(plant, "import sys; print(sys.stdin.read() == '')")["stdout"] == "True\n"
    large = "x" * (3 << 20)
    assert run(plant, "import sys; print(len(sys.stdin.read()))", stdin=large)["stdout"] == f"{len(large)}\n"
    # One that reads nothing of it ends as well.
    assert run(plant, "print(1)", stdin=large)["stdout"] == "1\n"


def test_large_standard_input_of_a_slow_reader(plant):
    """The runner holds what the program has not taken; it must make room before it takes more."""
    code = """import sys, time
n = 0
while piece := sys.stdin.buffer.read1(50_000):
    n += len(piece)
    time.sleep(0.002)
print(n)
"""
    assert run(plant, code, stdin="x" * (3 << 20), retry=False)["stdout"] == f"{3 << 20}\n"


def test_args_and_environment(plant):
    code = "import os, sys; print(sys.argv[1:], os.environ['A_B'])"
    assert run(plant, code, args=["a b", "\u20ac"], env={"A_B": "c=d"})["stdout"] == "['a b', '\u20ac'] c=d\n"


def test_usage_is_told(plant):
    job = submit(plant, "x = bytearray(50 << 20)\nsum(range(3000000))\nprint('abc')")
    usage = next(event for event in events(plant, job) if event["type"] == "usage")
    assert usage["stdout_bytes"] == 4 and usage["stderr_bytes"] == 0 and usage["truncated"] is False
    assert usage["memory_peak_bytes"] > 50 << 20
    assert usage["wall_ms"] > 0 and usage["cpu_ms"] > 0


def counted(plant):
    worker = plant.of("spawner")[0]
    return [plants.metric(worker, f"millrace_pool_{which}_total{{lang=\"py\"}}") or 0 for which in ("hits", "misses")]


def idle(plant):
    return plants.metric(plant.of("spawner")[0], 'millrace_pods_idle{lang="py"}')


def test_one_more_than_the_pool_takes_the_slow_path(plant):
    """POOL + 1 jobs while the spawner stands still: POOL of them find a ready pod, one waits for its making."""
    plants.wait_until("the pool is full", lambda: idle(plant) == POOL)
    hits, misses = counted(plant)
    spawner = plant.of("spawner")[0].pid
    os.kill(spawner, signal.SIGSTOP)
    try:
        jobs = [submit(plant, "import time; time.sleep(60)") for _ in range(POOL + 1)]
        plants.wait_until("all are claimed", lambda: sum(counted(plant)) == hits + misses + POOL + 1)
        assert counted(plant) == [hits + POOL, misses + 1]
    finally:
        os.kill(spawner, signal.SIGCONT)
    for job in jobs:
        wait_for(plant, job, "started")
        call(plant, "DELETE", f"/v1/jobs/{job}")
        assert events(plant, job)[-1]["type"] == "cancelled"


def test_pods_are_used_once(plant):
    """What one run leaves, the next does not find."""
    run(plant, "open('/tmp/left', 'w').write('x'); open('left', 'w').write('x')")
    for _ in range(POOL + 2):
        assert run(plant, "import os; print(os.path.exists('/tmp/left'), os.listdir('.'))")["stdout"].startswith("False")


def stream(plant, job):
    return connect(plant.urls[0].replace("http", "ws") + f"/v1/jobs/{job}/stream",
                   additional_headers={"x-api-key": plant.api_key})


def until(socket, kind):
    """Events up to the first of this type."""
    seen = []
    while not seen or seen[-1]["type"] != kind:
        seen.append(json.loads(socket.recv(timeout=20)))
    return seen


def test_inputs_while_it_runs(plant):
    job = submit(plant, "import sys\nfor line in sys.stdin: print('<' + line.strip() + '>', flush=True)\nprint('end')",
                 interactive=True)
    with stream(plant, job) as socket:
        for word in ("one", "two"):
            socket.send(json.dumps({"type": "stdin", "data": word + "\n"}))
            assert text_of(until(socket, "output")) == f"<{word}>\n".encode()
        socket.send(json.dumps({"type": "eof"}))
        seen = until(socket, "completed")
    assert text_of(seen) == b"end\n" and seen[-1]["exit_code"] == 0


def test_a_signal_for_the_program(plant):
    job = submit(plant, "import time\ntry:\n print('there', flush=True)\n time.sleep(60)\nexcept KeyboardInterrupt:\n print('int')",
                 interactive=True)
    with stream(plant, job) as socket:
        until(socket, "output")
        socket.send(json.dumps({"type": "signal", "signal": "INT"}))
        seen = until(socket, "completed")
    assert text_of(seen) == b"int\n"


def test_inputs_before_it_runs(plant):
    """Sent while the job waits for its pod: nothing of them is lost."""
    spawner = plant.of("spawner")[0].pid
    plants.wait_until("the pool is full", lambda: idle(plant) == POOL)
    os.kill(spawner, signal.SIGSTOP)
    try:
        jobs = [submit(plant, "import sys\nprint(sys.stdin.read(), end='')", interactive=True) for _ in range(POOL + 1)]
        for job in jobs:
            with stream(plant, job) as socket:
                until(socket, "claimed")
                socket.send(json.dumps({"type": "stdin", "data": "a\n"}))
                socket.send(json.dumps({"type": "stdin", "data": "b\n"}))
                socket.send(json.dumps({"type": "eof"}))
                seen = until(socket, "eof")
                assert [event["type"] for event in seen if event["type"] in ("input", "eof")] == ["input", "input", "eof"]
    finally:
        os.kill(spawner, signal.SIGCONT)
    for job in jobs:
        assert text_of(events(plant, job)) == b"a\nb\n"


def page(plant, path, method="GET"):
    request = urllib.request.Request(plant.of("spawner")[0].url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_what_a_worker_says_of_itself(plant):
    plants.wait_until("the pool is full", lambda: idle(plant) == POOL)
    status, text = page(plant, "/health")
    health = json.loads(text)
    assert status == 200 and health["status"] == "ok" and health["redis"] is True
    assert health["pools"]["py"]["size"] == POOL and health["pools"]["py"]["why"] == ""
    assert page(plant, "/ready") == (200, '{"ready":true,"why":null}\n')
    assert page(plant, "/nothing")[0] == 404
    assert page(plant, "/health", "POST")[0] == 405
    run(plant, "print(1)")
    status, text = page(plant, "/metrics")
    assert status == 200
    for name in ('millrace_jobs_finished_total{lang="py",status="completed"}', "millrace_append_seconds_count",
                 'millrace_run_seconds_count{lang="py"}', 'millrace_http_responses_total{route="/health",class="2xx"}',
                 'millrace_pods{state="idle"}', "millrace_worker_slots", "millrace_ready"):
        assert any(line.startswith(name + " ") for line in text.splitlines()), name
