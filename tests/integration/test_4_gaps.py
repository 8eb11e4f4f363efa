# SPDX-License-Identifier: Apache-2.0
"""A host that lacks a defence: refused, or accepted by name, and then told in the health of both programs and in every result."""
import json
import urllib.request

import pytest
from contract import Api
from system import System, wait_until

LACKING = {"MILLRACE_TEST_MISSING": "landlock,io_uring_off", "POD_POOL_PY_SCIENCE": "0", "POD_POOL_JS": "0", "POD_POOL_TS": "0"}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    made = System(tmp_path_factory.mktemp("gaps"), env={**LACKING, "POD_ACCEPT_MISSING": "landlock"})
    yield made
    made.stop()


@pytest.fixture
def api(system):
    with Api(system) as made:
        yield made


def worker_health(system):
    with urllib.request.urlopen(f"http://127.0.0.1:{system.children('worker')[0]['port']}/health", timeout=20) as answer:
        return json.load(answer)


def test_health_of_the_worker_says_what_is_lost_and_how_to_mend_it(system):
    health = worker_health(system)
    assert health["accepted_gaps"] == ["landlock"] and health["isolation"] == "landlock"
    rows = {row["name"]: row for row in health["lacks"]}
    assert rows["landlock"]["accepted"] and not rows["io_uring_off"]["accepted"]  # which nobody has to accept
    assert all(row["what"] and row["lost"] and row["fix"] for row in rows.values())


def test_health_of_the_api_names_them(system, api):
    def told():
        return list(api.get("/health").json()["accepted_gaps"].values())
    wait_until("the worker's word is in the store", lambda: told() == [["landlock"]])


def test_every_result_names_them(system, api):
    assert api.exec("py", "print(1)")["accepted_gaps"] == ["landlock"]
    assert api.exec("py", "while True: pass", timeout_ms=300)["accepted_gaps"] == ["landlock"]
    job = api.submit("py", "print(2)")
    assert api.wait(job)["result"]["accepted_gaps"] == ["landlock"]
    done = system.millrace("run", "--json", "--lang", "bash", "-", stdin="echo 3")
    assert json.loads(done.stdout)["accepted_gaps"] == ["landlock"]


def test_without_the_word_nothing_starts(tmp_path):
    with pytest.raises(AssertionError, match="landlock"):
        System(tmp_path, env=LACKING)
