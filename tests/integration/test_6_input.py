# SPDX-License-Identifier: Apache-2.0
"""Standard input that a running program reads late or never: it waits in the log, its client is held back, and nothing else waits behind it."""
import hashlib
import json
import random
import threading

import pytest

from rawhttp import WebSocket
from system import System, descendants, proc, wait_until

PIECE = 40000
LATE = """
import hashlib, sys, time
print('ready', flush=True)
time.sleep(2)
data = sys.stdin.buffer.read()
print(len(data), hashlib.sha256(data).hexdigest())
"""
NEVER = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: print('signalled', flush=True))
print('ready', flush=True)
time.sleep(100)
"""


class Stream(WebSocket):
    """A WebSocket whose events are read while its input is sent."""

    def __init__(self, system, job):
        super().__init__(system.next_url(), f"/v1/jobs/{job}/stream", system.key, patience=120)
        self.seen, self.code, self.reason = [], None, None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while (one := self.frame()) is not None:
            if one[0] == 8:
                self.code, self.reason = int.from_bytes(one[1][:2], "big"), one[1][2:].decode()
                return
            self.seen.append(json.loads(one[1]))

    def printed(self):
        return "".join(event["data"] for event in self.seen if event["type"] == "output")

    def feed(self, data):
        """All of it, or until the other side closes."""
        try:
            for at in range(0, len(data), PIECE):
                self.say({"type": "stdin", "data": data[at:at + PIECE]})
            self.say({"type": "eof"})
        except OSError:
            pass


@pytest.fixture(scope="module")
def system(tmp_path_factory, cluster):
    made = System(tmp_path_factory.mktemp("input"), apis=2, workers=1, cluster=cluster, env={"MAX_EXECUTION_TIME": "120"})
    yield made
    assert made.stop() == 0


def worker_memory(system):
    worker, = [pid for pid in descendants(system.process.pid) if proc(pid, "comm") == b"millrace-worker\n"]
    return int(proc(worker, "statm").split()[1]) * 4096


def begin(system, api, program):
    stream = Stream(system, api.submit("py", program, timeout_ms=120000, interactive=True))
    wait_until("it runs", lambda: "ready" in stream.printed(), 30)
    return stream


def job_of(stream):
    return stream.seen[0]["job_id"]


def test_a_program_that_reads_late_gets_every_byte_in_order(system, api):
    data = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=8 << 20))
    with begin(system, api, LATE) as stream:
        stream.feed(data)
        stream.reader.join(60)
        assert stream.code == 1000 and stream.seen[-1]["type"] == "completed"
        assert stream.printed().split() == ["ready", str(len(data)), hashlib.sha256(data.encode()).hexdigest()]
        assert "".join(event["data"] for event in stream.seen if event["type"] == "input") == data


def test_a_program_that_never_reads(system, api):
    """Its client is closed with 1008, the worker keeps little of it, and a signal and a cancel pass by."""
    before = worker_memory(system)
    with begin(system, api, NEVER) as stream:
        stream.feed("z" * (16 << 20))
        stream.reader.join(60)
        assert (stream.code, stream.reason) == (1008, "the program does not read its input")
        assert worker_memory(system) - before < 8 << 20
        taken = sum(len(event["data"]) for event in stream.seen if event["type"] == "input")
        assert 1 << 20 < taken < 4 << 20
        job = job_of(stream)
    with Stream(system, job) as again:
        again.say({"type": "signal", "signal": "USR1"})
        wait_until("the signal is there", lambda: "signalled" in again.printed(), 30)
        assert api.delete(f"/v1/jobs/{job}").status_code in (200, 202)
        again.reader.join(30)
        assert again.code == 1000 and again.seen[-1]["type"] == "cancelled"
    # The runner heard of it: it was not destroyed for want of an answer, which would have told no usage.
    assert [event["type"] for event in again.seen if event["type"] == "usage"] == ["usage"]
