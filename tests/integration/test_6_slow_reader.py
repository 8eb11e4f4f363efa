# SPDX-License-Identifier: Apache-2.0
"""A reader that does not read: the api keeps little for it, the job is not held up, and nothing is missed."""
import json
import pathlib

import pytest

from rawhttp import Raw, WebSocket, request
from system import wait_until

LINES = 150_000
PROGRAM = f"import sys\nfor n in range({LINES}): sys.stdout.write('%06d ' % n + 'x' * 57 + '\\n')"


def memory(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def apis_memory(system):
    return sum(memory(child["pid"]) for child in system.children("api"))


def status_of(api, job):
    """From the list: a look at the job itself would fold its result."""
    return next(one["status"] for one in api.get("/v1/jobs", params={"limit": 50}).json()["jobs"] if one["job_id"] == job)


def output_of(events):
    return "".join(event["data"] for event in events if event["type"] == "output")


@pytest.fixture
def slow_readers(system, api):
    """A job with 9.6 MB of output, and ten readers that do not read until it has ended."""
    job = api.submit("py", PROGRAM, timeout_ms=30000)
    before = apis_memory(system)
    readers = [WebSocket(system.next_url(), f"/v1/jobs/{job}/stream", system.key, patience=60) for _ in range(5)]
    for _ in range(5):
        readers.append(Raw(system.next_url(), patience=60))
        readers[-1].send(request("GET", f"/v1/jobs/{job}/events",
                                 [f"x-api-key: {system.key}", "Accept: text/event-stream", "Connection: close"]))
    yield job, readers, before
    for reader in readers:
        reader.sock.close()


def test_slow_readers_cost_little_and_miss_nothing(system, api, slow_readers):
    job, readers, before = slow_readers
    wait_until("the job has ended", lambda: status_of(api, job) not in ("queued", "running"), 60, 0.05)
    assert status_of(api, job) == "completed"
    grown = apis_memory(system) - before
    want = "".join("%06d " % n + "x" * 57 + "\n" for n in range(LINES))
    for reader in readers[:5]:
        events, code, _ = reader.events()
        assert code == 1000 and [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert output_of(events) == want
    for reader in readers[5:]:
        while reader.more():
            pass
        events = [json.loads(line[6:]) for line in reader.got.replace(b"\r\n", b"\n").split(b"\n")
                  if line.startswith(b"data: ")]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert output_of(events) == want
    print(f"{grown >> 10} KiB for ten readers of 9.6 MB")
    assert grown < 16 << 20, f"{grown >> 20} MiB for ten readers"
