# SPDX-License-Identifier: Apache-2.0
"""Errors of Redis that pass: clients are told 503 while they last, nothing accepted is lost, and service comes back by itself."""
import concurrent.futures

import pytest
import redis
import yaml
from contract import Api
from system import wait_until


@pytest.fixture
def system(make_system):
    return make_system(cluster=False)


@pytest.fixture
def store(system):
    told = yaml.safe_load((system.state / "millrace.yaml").read_text())
    with redis.Redis.from_url(told["REDIS_URL"], decode_responses=True) as client:
        yield client


def answers(api, status):
    """Until a run is answered so; what was answered until then is one of both."""
    def look():
        got = api.post("/exec", json={"lang": "py", "code": "print(1)"})
        assert got.status_code in (200, 503), got.text
        return got.status_code == status
    wait_until(f"a run is answered {status}", look, 30)


def is_busy(store):
    try:
        store.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


def test_busy_with_somebodys_script(system, store):
    store.config_set("busy-reply-threshold", 50)
    with Api(system) as api, concurrent.futures.ThreadPoolExecutor() as pool:
        answers(api, 200)
        endless = pool.submit(lambda: redis.Redis(connection_pool=store.connection_pool).eval("while true do end", 0))
        wait_until("it runs", lambda: is_busy(store))  # what was submitted before would wait for its end
        answers(api, 503)
        assert api.get("/ready").status_code == 503
        wait_until("it is killed", lambda: store.execute_command("SCRIPT", "KILL") in (True, "OK", b"OK"))
        with pytest.raises(redis.ResponseError):
            endless.result(30)
        answers(api, 200)
    assert [child["restarts"] for child in system.told()["children"]] == [0] * 4


def test_no_writes_because_it_could_not_save(system, store):
    """MISCONF: a snapshot failed, since its file's name is a folder."""
    blocker = system.state / "redis" / store.config_get("dbfilename")["dbfilename"]
    with Api(system) as api:
        answers(api, 200)
        blocker.mkdir()
        (blocker / "in the way").touch()
        store.config_set("save", "36000 1")
        store.bgsave()
        wait_until("the snapshot failed", lambda: store.info("persistence")["rdb_last_bgsave_status"] == "err")
        answers(api, 503)
        (blocker / "in the way").unlink()
        blocker.rmdir()
        store.bgsave()
        wait_until("it saves again", lambda: store.info("persistence")["rdb_last_bgsave_status"] == "ok")
        answers(api, 200)
    assert [child["restarts"] for child in system.told()["children"]] == [0] * 4


def test_a_cluster_that_is_down(make_system):
    system = make_system(cluster=True)
    with Api(system) as api:
        answers(api, 200)
        system.redis.told("CLUSTER", "DELSLOTSRANGE", "0", "16383")
        answers(api, 503)
        system.redis.told("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        answers(api, 200)
