# SPDX-License-Identifier: Apache-2.0
"""Workers whose cluster lacks or refuses something, each in its own way, side by side: every one says what it is in
/health/kubernetes, uses no pod, goes on living, and recovers when it can."""
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

import pytest

import kubeimages
from kubeproxy import KubeProxy, kubeconfig, status
from system import wait_until

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("faults", "integration")]
import plant as plants  # noqa: E402
from test_worker_runs import call, events, run, submit  # noqa: E402

NAMESPACE, FULL = "refusals", "refusals-full"
WAY = "refusals-way"  # of the one worker that is well: what the others leave is not its to sweep
PROXIED = {"K8S_NAMESPACE": WAY, "K8S_LEASE_SECONDS": "6", "K8S_CLUSTER_PATIENCE_SECONDS": "2"}
ONE_POOL = {name: "0" for name in kubeimages.POOLS} | {"POD_POOL_PY": "1", "K8S_CPU_REQUEST": "10m", "K8S_MEMORY_REQUEST": "24Mi"}
ALL = ("create", "delete", "get", "list", "watch")
# {worker: (settings, what is said of why, the pool's reason)}
REFUSALS = {
    "namespace": ({"K8S_NAMESPACE": "nowhere"}, 'namespaces "nowhere" not found', "pod_forbidden"),
    "security": ({"K8S_SECCOMP_PROFILE_TYPE": "Unconfined"}, "violates PodSecurity", "pod_forbidden"),
    "quota": ({"K8S_NAMESPACE": FULL}, "exceeded quota: none", "pod_quota"),
    "right": ({"K8S_NAMESPACE": NAMESPACE}, f"the right to delete pods in the namespace {NAMESPACE} is missing", ""),
    "token": ({"K8S_NAMESPACE": NAMESPACE}, "Unauthorized", "cluster_unavailable"),
    "nobody": ({"K8S_NAMESPACE": NAMESPACE}, "cannot", "cluster_unavailable"),
    "image": ({"K8S_IMAGE_PULL_POLICY": "IfNotPresent", "K8S_IMAGE_REGISTRY": "127.0.0.1:1/none"}, "127.0.0.1:1/none-py", "image_unavailable"),
    "node": ({"K8S_POD_NODE_SELECTOR": '{"millrace.dev/none": "here"}', "K8S_POD_START_SECONDS": "3"}, "node affinity/selector", "unschedulable"),
    "runner": ({"K8S_IMAGES": "py=millrace.test/busybox:1"}, "millrace-runner", "image_unavailable"),
    "limit": ({"POD_ACCEPT_MISSING": ""}, "POD_ACCEPT_MISSING=pids_limit", "pod_forbidden"),
}

# Every setting of a pod; no node takes these, so that they stay to be read.
SETTINGS = {
    "K8S_NAMESPACE": "refusals-settings", "K8S_IMAGE_REGISTRY": "127.0.0.1:1/mill", "K8S_IMAGE_TAG": "7", "K8S_IMAGES": "js=127.0.0.1:1/j@sha256:" + "0" * 64,
    "K8S_IMAGE_PULL_POLICY": "Always", "K8S_IMAGE_PULL_SECRETS": "one,two", "K8S_CPU_LIMIT": "3", "K8S_MEMORY_LIMIT": "300Mi",
    "K8S_CPU_REQUEST": "20m", "K8S_MEMORY_REQUEST": "30Mi", "K8S_LANGUAGE_RESOURCES": "js.memory_limit=1Gi,js.cpu_limit=2",
    "K8S_POD_NODE_SELECTOR": '{"millrace.dev/none": "here"}', "K8S_POD_TOLERATIONS": '[{"key": "hostile", "operator": "Exists", "effect": "NoSchedule"}]',
    "K8S_POD_LABELS": "team=blue,cost=7", "K8S_RUNTIME_CLASS_NAME": "other", "K8S_SECCOMP_PROFILE_TYPE": "Localhost", "K8S_SECCOMP_PROFILE": "millrace.json",
    "K8S_USER_NAMESPACES": "true", "K8S_SERVICE_ACCOUNT": "nothing", "K8S_RUNNER_PORT": "9000", "K8S_POD_DEADLINE_SECONDS": "700",
    "K8S_POD_START_SECONDS": "3600", "POD_POOL_PY": "0", "POD_POOL_JS": "1", "MAX_TOTAL_FILE_SIZE_MB": "40",
}


def health(process):
    try:
        with urllib.request.urlopen(process.url + "/health/kubernetes", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as answer:
        return json.load(answer)
    except OSError:
        return {"status": "away", "why": "", "cluster": {}, "pools": {"py": {"reason": "", "why": "", "ready": 0}}}


def page(process, path):
    with urllib.request.urlopen(process.url + path, timeout=10) as answer:
        return json.load(answer)


def account_without(kubernetes, path, verb):
    """A service account that has all rights but one."""
    kubernetes.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "few", "namespace": NAMESPACE}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "few", "namespace": NAMESPACE}, "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": [one for one in ALL if one != verb]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": [*ALL, "patch"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "few", "namespace": NAMESPACE},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "few"},
         "subjects": [{"kind": "ServiceAccount", "name": "few", "namespace": NAMESPACE}]})
    token = kubernetes.kubectl("-n", NAMESPACE, "create", "token", "few").strip()
    return kubeconfig(path, kubernetes.server, (kubernetes.state / "pki" / "ca.crt").read_bytes(), {"token": token})


@pytest.fixture(scope="module")
def way(kubernetes, tmp_path_factory):
    """A worker's way to the API server that a test can break."""
    proxy = KubeProxy(kubernetes, tmp_path_factory.mktemp("way"))
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def workers(kubernetes, way, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusals")
    given = kubeimages.pods_of(kubernetes, tmp_path_factory.mktemp("images"))["env"]
    for name in (NAMESPACE, FULL, WAY):
        kubernetes.namespace(name)
    kubernetes.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": FULL},
                      "spec": {"hard": {"pods": "0"}}})
    kubernetes.namespace(SETTINGS["K8S_NAMESPACE"])
    kubernetes.apply({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "other"}, "handler": "runc"},
                     {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nothing", "namespace": SETTINGS["K8S_NAMESPACE"]}})
    authority = (kubernetes.state / "pki" / "ca.crt").read_bytes()
    configs = {"right": account_without(kubernetes, folder / "right", "delete"), "proxied": way.kubeconfig(folder / "proxied"),
               "token": kubeconfig(folder / "token", kubernetes.server, authority, {"token": "wrong"}),
               "nobody": kubeconfig(folder / "nobody", "https://127.0.0.1:1", authority, {"token": "any"})}
    plant = plants.Plant(folder / "plant", apis=1, workers=len(REFUSALS) + 2,
                         env={**given, **ONE_POOL, "POD_BACKEND": "kubernetes", "K8S_NAMESPACE": NAMESPACE})
    named = dict(zip([*REFUSALS, "proxied", "settings"], plant.of("spawner")))
    for name, process in named.items():
        process.env |= REFUSALS[name][0] if name in REFUSALS else SETTINGS if name == "settings" else PROXIED
        if name in configs:
            process.env["KUBECONFIG"] = str(configs[name])
    plant.wait_ready = lambda: None  # most never are
    with plant:
        yield {**named, "plant": plant}
    for name in (NAMESPACE, FULL, WAY, SETTINGS["K8S_NAMESPACE"]):  # of workers that were killed, or had no right to delete
        kubernetes.kubectl("delete", "namespace", name, "--wait=false")
    assert plant.crashes == []


@pytest.mark.parametrize("name", REFUSALS)
def test_it_says_why(workers, name):
    _, text, reason = REFUSALS[name]

    def told():
        page = health(workers[name])
        said = page["why"] + page["pools"]["py"]["why"]
        return text in said and reason in (page["pools"]["py"]["reason"], "") and page
    page = wait_until(f"it says {text!r}", told, 90, 0.2)
    assert page["status"] in ("failing", "degraded")
    assert page["pools"]["py"]["ready"] == 0 or name == "right"


def test_the_api_knows_who_fails(workers):
    plant = workers["plant"]
    request = urllib.request.Request(plant.urls[0] + "/health/kubernetes", headers={"x-api-key": plant.api_key})

    def told():
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["workers"]
        except urllib.error.HTTPError as answer:
            return json.load(answer).get("workers", {})
    all_of = wait_until("all told it", lambda: len(told()) == len(REFUSALS) + 2 and told(), 60, 0.5)
    assert 'namespaces "nowhere" not found' in all_of[workers["namespace"].worker_id]["why"]


def test_what_the_canary_found(workers):
    worker = workers["proxied"]
    canary = wait_until("it answers", lambda: health(worker)["cluster"].get("canary", {}).get("answered") and health(worker)["cluster"]["canary"], 120, 0.2)
    assert [(row["name"], row["accepted"]) for row in canary["missing"]] == [("pids_limit", True), ("network_policy", True)]
    assert page(worker, "/health")["isolation"] == "pids_limit,network_policy"
    wait_until("pods are used", lambda: health(worker)["pools"]["py"]["ready"] == 1, 120, 0.2)


def test_what_was_accepted_is_told(workers):
    """Of what is missing only what is needed has to be accepted; who did not accept it does not say that he did."""
    plant, accepts, refuses = workers["plant"], workers["proxied"], workers["limit"]
    for worker in (accepts, refuses):
        wait_until("the canary answered", lambda: health(worker)["cluster"].get("canary", {}).get("answered"), 120, 0.2)
    assert [page(worker, "/health")["accepted_gaps"] for worker in (accepts, refuses)] == [["pids_limit"], []]

    def told():
        return call(plant, "GET", "/health")[1]["accepted_gaps"]
    all_of = wait_until("the api knows it", lambda: accepts.worker_id in told() and told(), 60, 0.2)
    assert all_of[accepts.worker_id] == ["pids_limit"] and refuses.worker_id not in all_of


def test_every_setting_is_in_the_pod(workers, kubernetes):
    def made(kind):
        return kubernetes.list("pods", SETTINGS["K8S_NAMESPACE"], **{"millrace.dev/kind": kind})
    py = wait_until("the canary, which has Python's image, is made", lambda: made("canary"), 120, 0.5)[0]
    js = wait_until("JavaScript's pod is made", lambda: made("js"), 120, 0.5)[0]
    assert workers["settings"].alive()
    spec, (container,), (other,) = py["spec"], py["spec"]["containers"], js["spec"]["containers"]
    assert (container["image"], other["image"]) == ("127.0.0.1:1/mill-py:7", "127.0.0.1:1/j@sha256:" + "0" * 64)
    assert container["imagePullPolicy"] == "Always" and spec["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    resources = {kind: {name: amount for name, amount in one.items() if name != "ephemeral-storage"} for kind, one in container["resources"].items()}
    assert resources == {"limits": {"cpu": "3", "memory": "300Mi"}, "requests": {"cpu": "20m", "memory": "30Mi"}}
    assert (other["resources"]["limits"]["cpu"], other["resources"]["limits"]["memory"]) == ("2", "1Gi")
    assert spec["nodeSelector"] == {"millrace.dev/none": "here"}
    assert json.loads(SETTINGS["K8S_POD_TOLERATIONS"])[0] in spec["tolerations"]
    assert (py["metadata"]["labels"]["team"], py["metadata"]["labels"]["cost"]) == ("blue", "7")
    assert (spec["runtimeClassName"], spec["serviceAccountName"], spec["hostUsers"]) == ("other", "nothing", False)
    assert spec["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "millrace.json"}
    assert spec["activeDeadlineSeconds"] == 700
    assert other["ports"][0]["containerPort"] == 9000 and "--listen=9000" in other["args"]
    assert {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"]}["work"] in ("40Mi", str(40 << 20))


@pytest.mark.parametrize("code, reason", [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable")])
def test_it_recovers_by_itself(workers, kubernetes, way, code, reason):
    """Its pod is taken away while the API server gives none and breaks the watch off: it says so, and makes one when it may."""
    worker = workers["proxied"]
    wait_until("its pool is full", lambda: health(worker)["pools"]["py"]["ready"] == 1, 120, 0.1)
    made, asked = health(worker)["cluster"]["made"], way.count("POST /")
    way.rule("POST", "answer", times=100000, status=code, headers=[], body=status(code, reason))
    way.rule("watch=1", "cut_watch", times=2, after=0)
    try:
        kubernetes.kubectl("-n", WAY, "delete", "pod", "--all", "--wait=false")
        wait_until("it asked in vain", lambda: way.count("POST /") > asked and health(worker)["pools"]["py"]["ready"] == 0, 60, 0.1)
    finally:
        with way.lock:
            way.rules.clear()
    wait_until("it is well again", lambda: health(worker)["pools"]["py"]["ready"] == 1 and health(worker)["status"] == "ok", 120, 0.2)
    assert health(worker)["cluster"]["made"] > made


@pytest.fixture(scope="module")
def only(workers):
    """The worker that is well, and from now on no other."""
    plant, worker = workers["plant"], workers["proxied"]
    for other in (process for process in workers.values() if process not in (plant, worker)):
        plant.hold(other)  # one of them has pods too
        plant.kill(other)
    return worker


def test_a_job_costs_two_requests(workers, only, kubernetes, way):
    """One makes a pod and one deletes it, neither while somebody waits; beside them there are the renewals of the lease alone. By the pods'
    names: the client may have to say a thing twice to a server that is slow."""
    plant, worker = workers["plant"], only

    def settled():
        """It has one pod, which is ready, and the cluster has no other."""
        told = health(worker)
        return told["pools"]["py"]["ready"] == told["cluster"].get("pods") == 1 and len(kubernetes.list("pods", WAY)) == 1
    wait_until("nothing is on its way", settled, 120, 0.2)
    before = health(worker)["cluster"]
    with way.lock:
        way.answered.clear()
    for n in range(4):
        assert run(plant, f"print({n})")["stdout"] == f"{n}\n"
        wait_until("its pool is full", lambda: health(worker)["pools"]["py"]["ready"] == 1, 120, 0.1)
    wait_until("nothing is on its way", settled, 120, 0.2)
    with way.lock:
        done = [(method, path, name) for method, path, status, name in way.answered if status < 300]
    pods = {(method, name) for method, path, name in done if "/pods" in path}
    assert sorted(method for method, _ in pods) == ["DELETE"] * 4 + ["POST"] * 4, done
    assert {method for method, path, _ in done if "/pods" not in path} <= {"PATCH"}, done
    after = health(worker)["cluster"]
    assert (after["made"] - before["made"], after["deleted"] - before["deleted"]) == (4, 4)


def test_every_result_says_what_was_accepted(workers, only):
    plant = workers["plant"]
    assert run(plant, "print(1)")["accepted_gaps"] == ["pids_limit"]
    late = run(plant, "while True: pass", timeout_ms=300)
    assert (late["timed_out"], late["accepted_gaps"]) == (True, ["pids_limit"])
    assert events(plant, submit(plant, "print(2)"))[-1]["accepted_gaps"] == ["pids_limit"]


def test_a_job_that_finds_no_pod_waits_for_the_api_server_so_long(workers, only, way):
    """The worker takes it, for it has a pod of Python's."""
    wait_until("its pool is full", lambda: health(only)["pools"]["py"]["ready"] == 1, 120, 0.1)
    way.rule("(POST|PATCH) ", "answer", times=100000, status=503, headers=[], body=status(503, "ServiceUnavailable"))
    try:
        begun = time.monotonic()
        answer = call(workers["plant"], "POST", "/exec", {"lang": "js", "code": "1"}, 200)[1]
    finally:
        with way.lock:
            way.rules.clear()
    assert (answer["job_status"], answer["reason"]) == ("failed", "cluster_unavailable") and time.monotonic() - begun >= 2, answer
    assert run(workers["plant"], "print(1)")["stdout"] == "1\n" and only.alive()


def test_jobs_go_on_while_the_api_server_is_slow(workers, only, way):
    """What it is asked to do it does, and says so after the worker has given that try up: pods are made, found again and deleted."""
    wait_until("its pool is full", lambda: health(only)["pools"]["py"]["ready"] == 1, 120, 0.1)
    way.rule("(POST|DELETE|PATCH) ", "slow", times=100000, seconds=11)
    try:
        assert [run(workers["plant"], f"print({n})")["stdout"] for n in range(3)] == ["0\n", "1\n", "2\n"]
    finally:
        with way.lock:
            way.rules.clear()
    wait_until("it is well", lambda: health(only)["pools"]["py"]["ready"] == health(only)["cluster"].get("pods") == 1 and health(only)["status"] == "ok", 120, 0.2)
