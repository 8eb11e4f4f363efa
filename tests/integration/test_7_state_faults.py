# SPDX-License-Identifier: Apache-2.0
"""The state of a session when processes die: no version is lost, doubled or forked."""
import json
import os
import pathlib
import sys
import tempfile
import urllib.error
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "faults"))
import plant as plants  # noqa: E402


@pytest.fixture(scope="module")
def objects():
    """A folder that the worker, which is nobody in particular, can use too."""
    with tempfile.TemporaryDirectory(prefix="millrace-state-") as name:
        os.chmod(name, 0o777)
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def plant(tmp_path_factory, objects):
    folder = tmp_path_factory.mktemp("state")
    made = plants.Plant(folder, apis=1, workers=1,
                        env={"POD_POOL_PY": "2", "POD_POOL_PY_SCIENCE": "0", "POD_POOL_JS": "0", "POD_POOL_BASH": "0",
                             "OBJECT_STORE_PATH": str(objects), "STATE_CAPTURE_ON_ERROR": "true",
                             "STATE_CAPTURE_SECONDS": "4", "STATE_MAX_SIZE_MB": "1", "STATE_VERSIONS_KEPT": "3", "STATE_TTL_SECONDS": "10800", "SESSION_TTL_HOURS": "1",
                             "STATE_KEYS": "b:the secret of these tests,a:an older secret of them"})
    with made:
        yield made
    assert made.crashes == []


def call(plant, method, path, body=None):
    request = urllib.request.Request(plant.urls[0] + path, method=method, data=json.dumps(body).encode() if body else None,
                                     headers={"x-api-key": plant.api_key, "content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def run(plant, code, **more):
    status, body = call(plant, "POST", "/exec", {"lang": "py", "code": code, **more})
    assert status == 200, body
    return body


def taken(plant, code, session):
    """The run's answer; None while the service says 503, and so accepted nothing."""
    try:
        status, body = call(plant, "POST", "/exec", {"lang": "py", "code": code, "session_id": session})
    except OSError:
        return None
    assert status in (200, 503), body
    return body if status == 200 else None


def ended(plant, job):
    status, body = call(plant, "GET", f"/v1/jobs/{job}")
    return body if status == 200 and body.get("result") else None


def test_a_worker_that_dies_between_the_object_and_the_finish(plant, objects):
    session = run(plant, "n = 0")["session_id"]
    before = {p for p in objects.rglob("*") if p.is_file()}
    status, job = call(plant, "POST", "/v1/jobs", {
        "lang": "py", "session_id": session, "code": "import os, time; n += 1; data = os.urandom(100_000); time.sleep(4)"})
    assert status == 202
    key = f"millrace:{{p00}}:j:{job['job_id']}"
    plants.wait_until("it runs", lambda: plant.redis().hget(key, "started"))
    plant.redis().execute_command("CLIENT", "PAUSE", "120000", "WRITE")  # the finish waits, and goes with its connection
    try:
        plants.wait_until("its state is written", lambda: {p for p in objects.rglob("*state-*") if p.is_file()} - before, 40.0)
        spawner = plant.of("spawner")[0]
        below = plant.kill_worker(spawner)
        plants.wait_until("it is gone", lambda: plants.is_gone(below), 20.0)
        plant.redis().execute_command("CLIENT", "KILL", "TYPE", "normal")  # what waits in them goes too
    finally:
        plant.redis().execute_command("CLIENT", "UNPAUSE")
    body = plants.wait_until("another attempt ends", lambda: ended(plant, job["job_id"]), 60.0)
    assert (body["attempt"], body["result"]["state_version"]) == (2, 2)
    assert run(plant, "print(n, len(data))", session_id=session)["stdout"] == "1 100000\n"
    versions = call(plant, "GET", f"/v1/sessions/{session}/versions")[1]["versions"]
    assert [(v["version"], v["base"]) for v in versions] == [(3, 2), (2, 1), (1, 0)]


def test_restarts_lose_nothing(plant):
    session = run(plant, """
import os
import pandas as pd
from sklearn.tree import DecisionTreeRegressor
x, data, same = 1, os.urandom(256000), []
alias, frame = same, pd.DataFrame({"a": range(1000)})
model = DecisionTreeRegressor(random_state=1).fit([[0], [1]], [5, 7])
""")["session_id"]
    for kind in ("redis", "spawner", "api"):
        killed = plant.of(kind)[0].pid
        plant.kill(plant.of(kind)[0])
        plants.wait_until("another is there", lambda kind=kind, killed=killed: plant.of(kind)[0].alive() and plant.of(kind)[0].pid != killed)
        body = plants.wait_until("a run is taken", lambda: taken(plant, "print(x, alias is same, frame.a.sum(), model.predict([[1]])[0], len(data)); x += 1", session), 60.0)
        assert body["stdout"].endswith(" True 499500 7.0 256000\n"), body
    assert run(plant, "print(x)", session_id=session)["stdout"] == "4\n"


def test_every_setting_has_its_effect(plant):
    first = run(plant, "x = 1; raise ValueError")
    assert (first["exit_code"], first["state_version"]) == (1, 1)  # STATE_CAPTURE_ON_ERROR
    session = first["session_id"]
    slow = run(plant, """
class Slow:
    def __reduce__(self):
        import time
        time.sleep(20)
x, s = 2, Slow()
""", session_id=session)
    assert slow["exit_code"] == 0 and "longer than 4000 ms" in slow["state_warnings"][0]["reason"]  # STATE_CAPTURE_SECONDS
    large = run(plant, "x = 3; data = bytes(1_100_000)", session_id=session)
    assert "larger than its limit of 1048576" in large["state_warnings"][0]["reason"]  # STATE_MAX_SIZE_MB
    for n in range(4):
        run(plant, f"y = {n}", session_id=session)
    versions = call(plant, "GET", f"/v1/sessions/{session}/versions")[1]["versions"]
    assert [v["version"] for v in versions] == [5, 4, 3]  # STATE_VERSIONS_KEPT
    store, key = plant.redis(), f"millrace:{{p00}}:s:{session}"
    assert store.hget(f"{key}:states", 5).split()[6] == "b"  # STATE_KEYS: the first one signs
    info = call(plant, "GET", f"/state/{session}/info")[1]
    assert 10800 * 1000 <= info["expires_at"] - info["created_at"] < 10860 * 1000  # STATE_TTL_SECONDS, not SESSION_TTL_HOURS


def test_a_program_that_eats_the_memory_while_it_is_saved(plant):
    body = run(plant, """
class Eats:
    def __reduce__(self):
        hold = []
        while True:
            hold.append(bytearray(1 << 24))
e = Eats()
print("done")
""")
    assert (body["stdout"], body["exit_code"], body["job_status"]) == ("done\n", 0, "completed")
    assert body["has_state"] is False or body["state_warnings"]


def test_switched_off(tmp_path):
    made = plants.Plant(tmp_path / "off", apis=1, workers=1,
                        env={"POD_POOL_PY": "1", "POD_POOL_PY_SCIENCE": "0", "POD_POOL_JS": "0", "POD_POOL_BASH": "0",
                             "STATE_PERSISTENCE_ENABLED": "false"})
    with made:
        body = run(made, "x = 1")
        assert body["has_state"] is False
        status, told = call(made, "POST", "/exec", {"lang": "py", "code": "1", "state": True})
        assert status == 422 and "STATE_PERSISTENCE_ENABLED" in told["details"][0]["message"]
