# SPDX-License-Identifier: Apache-2.0
"""How long a job may wait for a worker."""
import pytest
from contract import Api
from system import wait_until
from test_2_jobs import ONE_SLOT, key_of, partition, store_of, wait_until_taken
from test_3_verify import verify

SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(600)\n"
SHORT = 300  # ms


@pytest.fixture
def busy(make_system):
    """One slot, which a program holds: all others of its partition wait. Also: what keeps a job in that partition."""
    system = make_system(env={**ONE_SLOT, "QUEUE_TIMEOUT_SECONDS": "600", "MAX_EXECUTION_TIME": "600"})
    with Api(system) as api:
        beside = {"session_id": api.exec("py", "x = 0", state=True)["session_id"], "state": False}
        holder = api.submit("py", SLEEP, **beside)
        wait_until_taken(system, holder)
        yield system, api, holder, beside
        api.delete(f"/v1/jobs/{holder}")


def types(api, job):
    return [event["type"] for event in api.events(job)]


def failed(api):
    return sum(float(line.split()[-1]) for url in api.system.urls for line in Api(api.system, url=url).get("/metrics").text.splitlines()
               if line.startswith('millrace_jobs_failed_total{reason="queue_timeout"}'))


def test_a_job_waits_no_longer_than_it_may(busy):
    system, api, holder, beside = busy
    patient = api.submit("py", "print(1)", **beside)
    answer = api.exec("py", "print(1)", queue_timeout_ms=SHORT, **beside)
    assert (answer["job_status"], answer["reason"], answer["stdout"]) == ("failed", "queue_timeout", "")
    job = api.submit("py", "print(1)", queue_timeout_ms=SHORT, **beside)
    assert types(api, job) == ["submitted", "queued", "failed"]
    told = api.job(job)
    assert told["status"] == "failed" and told["result"]["reason"] == "queue_timeout", told
    assert api.job(patient)["status"] == "queued"
    wait_until("both are counted", lambda: failed(api) == 2)
    assert api.delete(f"/v1/jobs/{holder}").status_code == 202
    assert api.wait(patient)["result"]["stdout"] == "1\n"
    # What waited is nowhere any more: every counter and list is what the logs say.
    done = verify(system)
    assert done.returncode == 0, done.stdout + done.stderr


def test_behind_others_of_its_session(busy):
    _, api, holder, beside = busy
    session = beside["session_id"]
    api.submit("py", "x = 1", session_id=session, state=True)
    second = api.submit("py", "x += 1", session_id=session, state=True, queue_timeout_ms=SHORT)
    third = api.submit("py", "print(x)", session_id=session, state=True)
    assert types(api, second) == ["submitted", "queued", "failed"]
    api.delete(f"/v1/jobs/{holder}")
    assert api.wait(third)["result"]["stdout"] == "1\n"


def test_the_range_is_told(busy):
    api = busy[1]
    for value in (0, 600001):
        answer = api.post("/v1/jobs", json={"lang": "py", "code": "1", "queue_timeout_ms": value})
        assert answer.status_code == 422, answer.text
        assert "queue_timeout_ms" in answer.text and "from 1 to 600000" in answer.text


def test_the_command_line_passes_it_on(busy, tmp_path):
    system, _, holder, _ = busy
    key = next(key for key in map(str, range(1000)) if partition(f"default\0{key}", 8) == partition(holder, 8))
    (tmp_path / "hello.py").write_text("print('hello')")
    done = system.millrace("run", "--queue-timeout-ms", "1", "--idempotency-key", key, "--no-stdin", tmp_path / "hello.py")
    assert done.returncode == 125 and "no worker took" in done.stderr.lower(), done


def test_a_name_without_a_job_leaves_the_list(busy):
    system = busy[0]
    with store_of(system) as store:
        waiting = next(store.scan_iter(match="*:store")).replace(b"store", b"waiting")
        job = next(name for name in (f"{letter}{'A' * 20}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") if partition(name, 8) == 0)
        store.zadd(waiting, {job: 1})
        wait_until("it is gone", lambda: store.zscore(waiting, job) is None)


def test_what_was_taken_in_time_runs_on(busy):
    """It is among those that wait no more, and whoever still finds it there, too late by now, leaves it alone."""
    system, api, holder, beside = busy
    job = api.submit("py", SLEEP, queue_timeout_ms=600000, **beside)
    with store_of(system) as store:
        waiting = key_of(system, "waiting", job)
        assert store.zscore(waiting, job)
        api.delete(f"/v1/jobs/{holder}")
        wait_until("it runs", lambda: api.job(job)["status"] == "running")
        assert store.zscore(waiting, job) is None
        store.zadd(waiting, {job: 1})
        wait_until("it was found", lambda: store.zscore(waiting, job) is None)
    assert api.job(job)["status"] == "running"
    api.delete(f"/v1/jobs/{job}")
