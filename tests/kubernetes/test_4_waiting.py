# SPDX-License-Identifier: Apache-2.0
"""A worker that can make no pods of Python's: where its image alone is at fault the other languages go on, and a worker that has it runs the
programs in Python; where nothing can be made jobs wait, and clients are told why."""
import json
import pathlib
import signal
import sys
import urllib.request

import pytest

import kubeimages
from system import wait_until

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("faults", "integration")]
import plant as plants  # noqa: E402
from test_worker_runs import call, events, run, submit  # noqa: E402

NAMESPACE = "waiting"
SETTINGS = {**{name: "0" for name in kubeimages.POOLS}, "POD_POOL_PY": "1", "POD_POOL_BASH": "1", "POD_BACKEND": "kubernetes",
            "K8S_NAMESPACE": NAMESPACE, "K8S_IMAGES": "py=millrace.test/missing:1", "K8S_CLUSTER_PATIENCE_SECONDS": "2", "K8S_LEASE_SECONDS": "5"}


@pytest.fixture(scope="module")
def plant(kubernetes, tmp_path_factory):
    given = kubeimages.pods_of(kubernetes, tmp_path_factory.mktemp("images"))["env"]
    kubernetes.namespace(NAMESPACE)
    made = plants.Plant(tmp_path_factory.mktemp("plant"), apis=1, workers=2, env={**given, **SETTINGS})
    made.second = made.processes.pop()  # of another test
    made.second.env |= {"K8S_IMAGES": "", "WORKER_SLOTS": "1"}
    made.wait_ready = lambda: wait_until("the api is ready", lambda: made.ready(made.of("api")[0]), 60, 0.1)  # the worker, without Python, is not
    with made:
        yield made
    kubernetes.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    assert made.crashes == []


def workers_of(seen):
    return [event["worker"] for event in seen if event["type"] == "claimed"]


def elsewhere(process):
    try:
        with urllib.request.urlopen(process.url + "/health", timeout=5) as answer:
            return json.load(answer)["pools"]["py"]["elsewhere"]
    except OSError:
        return False


def told(plant):
    """(status, of its one worker) as the api says it."""
    status, page = call(plant, "GET", "/health/kubernetes")
    return status, next(iter(page["workers"].values()), {}) if "workers" in page else {}


def test_other_languages_go_on_without_pythons_image(plant):
    """The canary too, which says what the cluster enforces, has another's image then."""
    wait_until("bash is ready", lambda: told(plant)[1].get("pools", {}).get("bash", {}).get("ready") == 1, 120, 0.2)
    job = submit(plant, "print(1)")
    answer = run(plant, "echo 1", "bash")
    assert (answer["stdout"], answer["accepted_gaps"]) == ("1\n", ["pids_limit"])
    end = events(plant, job)[-1]
    assert (end["type"], end["reason"]) == ("failed", "image_unavailable"), end
    assert run(plant, "echo 2", "bash")["stdout"] == "2\n"
    status, worker = told(plant)
    assert (status, worker["status"], worker["stuck"], worker["pools"]["py"]["reason"]) == (200, "degraded", False, "image_unavailable")


def test_a_worker_that_has_the_image_runs_what_the_other_cannot(plant):
    """Whoever takes them: they wait for one that is busy too."""
    lacks, has = plant.of("spawner")[0], plant.second
    plant.processes.append(has)
    has.start()
    wait_until("it has Python, and the other knows", lambda: plant.ready(has) and elsewhere(lacks), 120, 0.1)
    jobs = [submit(plant, "import time; time.sleep(1); print(1)") for _ in range(4)]
    seen = [events(plant, job) for job in jobs]
    assert [(one[-1]["type"], workers_of(one)[-1]) for one in seen] == [("completed", has.worker_id)] * len(jobs), seen
    back = [event["reason"] for one in seen for event in one if event["type"] == "retried"]
    assert lacks.worker_id in sum(map(workers_of, seen), []) and set(back) == {"not_here"}, seen
    assert run(plant, "echo 1", "bash")["stdout"] == "1\n"
    plant.hold(has)
    plant.kill(has, signal.SIGTERM)
    wait_until("it has ended", lambda: not has.alive(), 60, 0.1)
    plant.processes.remove(has)
    wait_until("its offer is gone", lambda: len(call(plant, "GET", "/health/kubernetes")[1]["workers"]) == 1, 60, 0.2)


@pytest.fixture
def full(plant, kubernetes):
    """The namespace's quota lets nothing be made; take it away to go on."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE}, "spec": {"hard": {"pods": "0"}}}
    kubernetes.apply(quota)

    def lift():
        kubernetes.kubectl("-n", NAMESPACE, "delete", "resourcequota", "none", "--ignore-not-found")
    wait_until("the quota is in force", lambda: "hard" in kubernetes.get("resourcequota", "none", NAMESPACE).get("status", {}), 60, 0.1)
    kubernetes.kubectl("-n", NAMESPACE, "delete", "pods", "--all", "--wait=false")
    wait_until("nothing can be made", lambda: "exceeded quota" in told(plant)[1].get("why", ""), 120, 0.2)
    yield lift
    lift()


def test_who_waits_is_told_why_nothing_can_be_made(plant, full):
    job = submit(plant, "echo waited", "bash")
    status, refused = call(plant, "POST", "/exec", {"lang": "bash", "code": "echo 1"})
    assert (status, refused["error_type"]) == (503, "no_pods") and "exceeded quota" in refused["error"], refused
    assert call(plant, "POST", "/exec", {"lang": "bash", "code": "echo kept", "detach": True})[0] == 503
    round_ = {"language": "bash", "code": "ask", "tools": [{"name": "ask"}]}
    status, refused = call(plant, "POST", "/exec/programmatic", round_)
    assert (status, refused["error_type"]) == (503, "no_pods") and "exceeded quota" in refused["error"], refused
    waits = call(plant, "GET", f"/v1/jobs/{job}")[1]
    assert (waits["status"], waits["position"]) == ("queued", 1) and "exceeded quota" in waits["why"], waits
    status, worker = told(plant)
    assert (status, worker["status"], worker["stuck"]) == (503, "failing", True)
    full()
    assert [event["data"] for event in events(plant, job) if event["type"] == "output"] == ["waited\n"]

    def ends():
        return sorted(row["status"] for row in call(plant, "GET", "/v1/jobs?limit=4")[1]["jobs"])
    wait_until("what goes on without its client has run, the other not", lambda: ends() == ["cancelled", "cancelled", "completed", "completed"], 60, 0.2)
    wait_until("it is not stuck any more", lambda: told(plant)[1].get("stuck") is False and told(plant)[0] == 200, 60, 0.2)
