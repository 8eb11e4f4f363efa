# SPDX-License-Identifier: Apache-2.0
"""Workspaces (CONTRACT 5.2): runs that send the same runtime_session_hint have the same /mnt/data, one after the other, each in a pod of its own."""
import concurrent.futures
import os
import secrets
import signal

import pytest
import redis
import yaml

from conftest import finish
from contract import Api
from system import System, wait_until
from test_3_verify import verify


@pytest.fixture(scope="module")
def plant(tmp_path_factory, cluster):
    system = System(tmp_path_factory.mktemp("plant"), apis=2, cluster=cluster,
                    env={"API_KEYS": "other:other-key-0123456789", "WORKSPACE_MAX_MB": "2", "WORKSPACE_MAX_FILES": "40", "WORKSPACE_QUEUE_MAX": "8"})
    with Api(system) as api:
        yield system, api
    finish(system)


@pytest.fixture
def hint():
    return f"v2:conversation:{secrets.token_hex(16)}"


def run(api, hint, code, lang="bash", **more):
    return api.exec(lang, code, runtime_session_hint=hint, **more)


def out(api, hint, code, **more):
    told = run(api, hint, code, **more)
    assert told["code"] == 0, told
    return told["stdout"]


def test_files_stay_and_nothing_else_does(plant, hint):
    _, api = plant
    one = run(api, hint, "mkdir -p a/empty .hidden; echo 1 > a/f; echo h > .hidden/h; echo x > script; chmod 750 script; ln -s a/f link; "
                         "touch -d @1000000000 old; : > nothing; export V=1; echo t > /tmp/t")
    assert (one["runtime_status"], one["runtime_session_id"]) == ("new", one["session_id"]) and len(one["session_id"]) == 21
    assert sorted(file["name"] for file in one["files"]) == ["a/f", "nothing", "old", "script"]
    two = run(api, hint, "find . -mindepth 1 ! -name main.sh | sort; cat link .hidden/h; stat -c %a script; stat -c %Y old; echo \"[$V]\"; ls /tmp")
    assert (two["runtime_status"], two["runtime_session_id"]) == ("reused", one["runtime_session_id"])
    assert two["stdout"] == ("./.hidden\n./.hidden/h\n./a\n./a/empty\n./a/f\n./link\n./nothing\n./old\n./script\n1\nh\n750\n1000000000\n[]\n"), two
    assert all(file.get("inherited") is True for file in two["files"]) and "deleted_files" not in two
    assert out(api, hint, "print(open('a/f').read())", lang="py") == "1\n\n"


def test_changes_and_deletions(plant, hint):
    _, api = plant
    before = {file["name"]: file for file in run(api, hint, "echo 1 > a; echo 2 > b; echo 3 > c; mkdir d; ln -s a l")["files"]}
    told = run(api, hint, "echo more >> a; rm b l; rmdir d; echo 4 > e")
    files = {file["name"]: file for file in told["files"]}
    assert told["deleted_files"] == ["b"] and files["c"]["inherited"] and files["c"]["id"] == before["c"]["id"]
    assert files["a"]["modified_from"]["id"] == before["a"]["id"] != files["a"]["id"] and "inherited" not in files["e"]
    assert out(api, hint, "ls; cat a") == "a\nc\ne\nmain.sh\n1\nmore\n"
    session = told["session_id"]
    assert api.get(f"/download/{session}/{files['a']['id']}").content == b"1\nmore\n"
    listed = api.get(f"/files/{session}", params={"detail": "normalized"}).json()
    assert sorted(file["name"] for file in listed) == ["a", "c", "e"]
    api.delete(f"/files/{session}/{files['c']['id']}")
    assert out(api, hint, "ls") == "a\ne\nmain.sh\n"


def test_references_of_clients(plant, hint):
    """Uploads come in once; after that the workspace's own file counts, however old the client's list is."""
    _, api = plant

    def upload(name, text):
        told = api.post("/upload", files={"file": (name, text)}).json()
        return {"id": told["files"][0]["fileId"], "storage_session_id": told["storage_session_id"], "name": name, "kind": "user"}
    ref = upload("data.csv", "one")
    told = run(api, hint, "cat data.csv", files=[ref])
    assert told["stdout"] == "one" and [(f["id"], f["inherited"]) for f in told["files"]] == [(ref["id"], True)]
    assert out(api, hint, "cat data.csv") == "one"
    told = run(api, hint, "printf two > data.csv", files=[ref])
    changed = {**ref, "id": told["files"][0]["id"], "storage_session_id": told["files"][0]["storage_session_id"]}
    assert out(api, hint, "cat data.csv", files=[ref]) == "two"  # a stale list
    assert out(api, hint, "cat data.csv; printf three > data.csv", files=[changed]) == "two"
    assert out(api, hint, "cat data.csv", files=[changed, ref]) == "three"
    assert out(api, hint, "cat data.csv", files=[upload("data.csv", "new")]) == "new"  # another file of that name
    missing = run(api, hint, "true", files=[{**ref, "id": "A" * 21}])
    assert missing["reason"] == "input_missing" and "data.csv" in missing["stderr"]


def test_a_failing_program_keeps_what_it_did(plant, hint):
    _, api = plant
    assert run(api, hint, "echo 1 > a; exit 3")["code"] == 3
    assert run(api, hint, "echo 2 > b; sleep 60", timeout_ms=2000)["status"] == "TO"
    assert out(api, hint, "cat a b") == "1\n2\n"


def test_whose_it_is(plant, hint):
    system, api = plant
    mine = run(api, hint, "echo mine > f")
    with Api(system, key="other-key-0123456789") as other:
        theirs = run(other, hint, "ls")
        assert theirs["runtime_status"] == "new" and theirs["runtime_session_id"] != mine["runtime_session_id"]
        assert theirs["stdout"] == "main.sh\n"
        assert other.get(f"/files/{mine['session_id']}").status_code in (200, 404)
        assert other.get(f"/download/{mine['session_id']}/{mine['files'][0]['id']}").status_code == 404


def test_concurrent_runs_queue(plant, hint):
    system, api = plant
    out(api, hint, "echo 0 > count")
    code = "n=$(cat count); sleep 0.05; echo $((n + 1)) > count"
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        told = list(pool.map(lambda _: run(api, hint, code), range(6)))
    assert all(one["code"] == 0 for one in told), told
    assert out(api, hint, "cat count") == "6\n"


def test_the_queue_of_a_workspace_is_bounded_and_tells_the_place(plant, hint):
    _, api = plant
    body = {"lang": "bash", "code": "sleep 60", "runtime_session_hint": hint}
    jobs = [api.post("/v1/jobs", json=body).json() for _ in range(8)]
    assert len({job["session_id"] for job in jobs}) == 1
    places = [api.job(job["job_id"])["position"] for job in jobs[1:]]
    assert places == sorted(places) and all(places), places
    full = api.post("/exec", json=body)
    told = full.json()
    assert (full.status_code, told["error"]) == (429, "rate_limited") and told["retry_after_seconds"] > 0 and "Retry-After" in full.headers
    for job in reversed(jobs):
        api.delete(f"/v1/jobs/{job['job_id']}")
    assert out(api, hint, "echo free") == "free\n"


def test_limits(plant, hint):
    _, api = plant
    out(api, hint, "echo keep > keep")
    told = run(api, hint, "for i in 1 2 3; do head -c 900000 /dev/zero > big$i; done")
    assert {file["reason"] for file in told["refused_files"]} <= {"session_full", "total"} and told["refused_files"]
    assert "keep" in out(api, hint, "ls")
    told = run(api, hint, "for i in $(seq 60); do echo > n$i; done")
    assert any(file["reason"] in ("too_many", "session_full") for file in told["refused_files"])
    assert "keep" in out(api, hint, "ls")


def test_links_lead_nowhere(plant, hint):
    _, api = plant
    told = run(api, hint, "ln -s /etc/passwd absolute; ln -s ../../etc up; ln -s up/x deep; mkfifo pipe; ln keep hard 2>/dev/null; true")
    assert {(file["name"], file["reason"]) for file in told["refused_files"]} == {("absolute", "symlink"), ("pipe", "special")}
    assert out(api, hint, "readlink up deep; ls") == "../../etc\nup/x\ndeep\nmain.sh\nup\n"
    ref = api.post("/upload", files={"file": ("up/f", b"x")}).json()
    told = run(api, hint, "cat up/f", files=[{"id": ref["files"][0]["fileId"], "storage_session_id": ref["session_id"], "name": "up/f", "kind": "user"}])
    assert told["stdout"] == "x", told  # the folder takes the link's place


@pytest.mark.parametrize("hint, says", [(7, "must be a string"), ("x" * 129, "at most 128 characters"), ("a b", "may only contain"), ("é", "may only contain")])
def test_bad_hints(plant, hint, says):
    _, api = plant
    answer = api.post("/exec", json={"lang": "py", "code": "1", "runtime_session_hint": hint})
    assert answer.status_code == 400 and says in answer.json()["error"]
    told = api.post("/exec", json={"lang": "py", "code": "print(1)", "runtime_session_hint": hint}, headers={"X-CodeAPI-Expected-Profile": "default"})
    assert told.status_code == 200 and "runtime_session_id" not in told.json()


def test_variables_do_not_stay(plant, hint):
    _, api = plant
    assert "state_version" not in run(api, hint, "x = 1", lang="py")
    assert "NameError" in run(api, hint, "print(x)", lang="py")["stderr"]
    answer = api.post("/exec", json={"lang": "py", "code": "1", "runtime_session_hint": hint, "state": True})
    assert answer.status_code == 422 and "state" in answer.text


def test_prewarm(plant, hint):
    _, api = plant
    answer = api.post("/exec", json={"lang": "bash", "code": "true", "runtime_session_hint": hint}, headers={"X-CodeAPI-Expected-Profile": "stateful"})
    assert answer.status_code == 200 and answer.json()["runtime_status"] == "new" and answer.json()["files"] == []
    assert run(api, hint, "true")["runtime_status"] == "reused"


def test_a_worker_that_dies_leaves_the_workspace_as_it_was(make_system, hint):
    system = make_system(env={"LEASE_SECONDS": "1", "HEARTBEAT_SECONDS": "0.2"})
    with Api(system) as api:
        out(api, hint, "echo 0 > n")
        job = api.submit("bash", "echo $(($(cat n) + 1)) > n; sleep 6", runtime_session_hint=hint)
        wait_until("it runs", lambda: any(event["type"] == "started" for event in api.get(f"/v1/jobs/{job}/events").json()["events"]))
        os.kill(system.children("worker")[0]["pid"], signal.SIGKILL)
        wait_until("it was run again", lambda: api.job(job)["status"] == "completed", 90)
        assert api.job(job)["attempt"] >= 2 and out(api, hint, "cat n") == "1\n"


def test_a_workspace_that_is_over_begins_anew(plant, hint):
    """Its id is the same: neither the tombstone nor what is due and not yet swept is in the way."""
    system, api = plant
    session = run(api, hint, "echo old > old")["session_id"]
    url = system.redis.url if system.redis else yaml.safe_load((system.state / "millrace.yaml").read_text())["REDIS_URL"]
    with redis.Redis.from_url(url, decode_responses=True) as store:
        (key,) = [key for key in store.keys(f"*s:{session}")]
        store.hset(key, "due", 1)
    told = run(api, hint, "ls; echo new > new")
    assert (told["runtime_status"], told["stdout"], told["session_id"]) == ("new", "main.sh\n", session)
    assert out(api, hint, "ls") == "main.sh\nnew\n"


def test_the_store_is_what_the_logs_say(plant):
    """After all of the above, what the last runs only marked as removed included."""
    system, _ = plant
    done = verify(system)
    assert done.returncode == 0, done.stdout + done.stderr
