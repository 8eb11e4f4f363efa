# SPDX-License-Identifier: Apache-2.0
"""Runs in pods of a real cluster: what a pod is made of, what its programs can do, what becomes of it when somebody or something
takes it away, and that nothing of a worker is left when it is killed or ends."""
import contextlib
import json
import os
import pathlib
import signal
import sys
import urllib.error
import urllib.request

import pytest
from websockets.sync.client import connect

import kubeimages
from system import descendants, wait_until

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("faults", "integration")]
import plant as plants  # noqa: E402
from test_worker_runs import events, run, submit, text_of, wait_for  # noqa: E402

NAMESPACE = "pods"
SETTINGS = {
    "POD_BACKEND": "kubernetes", "K8S_NAMESPACE": NAMESPACE, "POD_POOL_PY": "3", "POD_POOL_BASH": "1", "POD_POOL_JS": "0",
    "POD_POOL_JAVA": "0", "K8S_CPU_REQUEST": "10m", "K8S_MEMORY_REQUEST": "24Mi", "K8S_MEMORY_LIMIT": "256Mi",
    "K8S_LANGUAGE_RESOURCES": "bash.memory_limit=200Mi", "K8S_POD_LABELS": "team=blue", "K8S_LEASE_SECONDS": "3",
    "K8S_IMAGES": "js=millrace.test/missing:1", "K8S_POD_NODE_SELECTOR": '{"kubernetes.io/os": "linux"}',
    "K8S_POD_TOLERATIONS": '[{"key": "hostile", "operator": "Exists"}]', "K8S_POD_DEADLINE_SECONDS": "600",
    "MAX_PIDS": "64", "MAX_EXECUTION_TIME": "120",
}


class Plant(plants.Plant):
    def __init__(self, folder, workers, **env):
        super().__init__(folder, apis=1, workers=workers, env=env)

    def wait_ready(self, timeout=120.0):
        super().wait_ready(timeout)


@pytest.fixture(scope="module")
def settings(kubernetes, tmp_path_factory):
    given = kubeimages.pods_of(kubernetes, tmp_path_factory.mktemp("images"))["env"]
    kubernetes.namespace(NAMESPACE)
    return {**given, **SETTINGS}


@pytest.fixture(scope="module")
def plant(settings, tmp_path_factory, kubernetes):
    with Plant(tmp_path_factory.mktemp("plant"), 1, **settings) as made:
        yield made
    assert made.crashes == []
    wait_until("nothing of it is left in the cluster", lambda: pods(kubernetes) == [] and leases(kubernetes) == [], 60, 0.2)


def pods(kubernetes, **labels):
    return kubernetes.list("pods", NAMESPACE, **{"app.kubernetes.io/managed-by": "millrace", **labels})


def leases(kubernetes):
    return kubernetes.list("configmaps", NAMESPACE, **{"app.kubernetes.io/managed-by": "millrace"})


def health(process):
    try:
        with urllib.request.urlopen(process.url + "/health/kubernetes", timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as answer:
        return json.load(answer)


def full(process):
    told = health(process)["pools"]
    return told["py"]["ready"] == 3 and told["bash"]["ready"] == 1


def test_a_program_runs_in_a_pod(plant):
    answer = run(plant, "import os; print(6 * 7, os.getuid(), os.getcwd())")
    assert (answer["stdout"], answer["exit_code"], answer["warm"]) == ("42 65532 /mnt/data\n", 0, True), answer


def test_the_api_tells_how_the_workers_fare(plant):
    """It asks the store, where they tell it: it has no access to the cluster."""
    worker = plant.of("spawner")[0]
    wait_until("the pools are full", lambda: full(worker), 60, 0.1)

    def told():
        request = urllib.request.Request(plant.urls[0] + "/health/kubernetes", headers={"x-api-key": plant.api_key})
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            return {"workers": {}}
    last = wait_until("the worker told it", lambda: [w for w in told()["workers"].values() if w["pools"]["py"]["ready"] == 3], 60, 0.2)[-1]
    mine = health(worker)
    assert (last["status"], last["why"]) == (mine["status"], mine["why"]) and last["cluster"]["lease"] == mine["cluster"]["lease"]


def test_the_settings_are_in_the_pod(plant, kubernetes):
    wait_until("the pools are full", lambda: full(plant.of("spawner")[0]), 60, 0.1)
    pod = pods(kubernetes, **{"millrace.dev/kind": "py"})[0]
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert pod["metadata"]["labels"]["team"] == "blue"
    assert pod["metadata"]["ownerReferences"][0]["name"] in [lease["metadata"]["name"] for lease in leases(kubernetes)]
    assert (spec["nodeSelector"], spec["activeDeadlineSeconds"]) == ({"kubernetes.io/os": "linux"}, 600)
    assert {"key": "hostile", "operator": "Exists"} in spec["tolerations"]
    assert container["image"] == kubeimages.reference("py") and container["imagePullPolicy"] == "Never"
    assert container["resources"]["limits"]["memory"] == "256Mi"
    assert container["resources"]["requests"]["cpu"] == "10m"
    assert spec["automountServiceAccountToken"] is False and "volumes" in spec
    bash = pods(kubernetes, **{"millrace.dev/kind": "bash"})[0]
    assert bash["spec"]["containers"][0]["resources"]["limits"]["memory"] == "200Mi"


def test_output_streams_and_input_and_signals_arrive(plant):
    code = "import signal, sys\nsignal.signal(signal.SIGUSR1, lambda *_: print('signal', flush=True))\n" \
           "print('began', flush=True)\nfor line in sys.stdin: print('in', line.strip(), flush=True)\n"
    job = submit(plant, code, interactive=True)

    def until(text):
        told = ""
        while text not in told:
            event = json.loads(stream.recv(timeout=30))
            told += event.get("data", "") if event["type"] == "output" else ""

    with connect(f"{plant.urls[0].replace('http', 'ws', 1)}/v1/jobs/{job}/stream",
                 additional_headers={"x-api-key": plant.api_key}) as stream:
        until("began")
        stream.send(json.dumps({"type": "signal", "signal": "USR1"}))
        until("signal")
        stream.send(json.dumps({"type": "stdin", "data": "one\n"}))
        until("in one")
        stream.send(json.dumps({"type": "eof"}))
        assert [json.loads(message) for message in stream][-1]["exit_code"] == 0


def test_files_and_state_come_back(plant):
    first = run(plant, "open('out.txt', 'w').write('written')\nx = 41", user_id="u")
    assert [f["name"] for f in first["files"]] == ["out.txt"]
    second = run(plant, "print(x + 1)", session_id=first["session_id"], user_id="u")
    assert second["stdout"] == "42\n", second


@pytest.mark.parametrize("code, lang, reason", [
    ("x = bytearray(1 << 30)", "py", "oom"),
    ("for i in $(seq 200); do sleep 9 & done; wait", "bash", "pids_limit"),
    ("console.log(1)", "js", "image_unavailable"),
])
def test_what_a_pod_cannot_give_is_told(plant, code, lang, reason):
    assert run(plant, code, lang)["reason"] == reason
    assert run(plant, "print(1)")["stdout"] == "1\n"


def processes(kubernetes, uid):
    """{pid: name} of a pod, without its sandbox."""
    found = {}
    for pid in descendants(kubernetes.init):
        with contextlib.suppress(OSError):  # it has ended meanwhile, and so was another's
            if f"pod{uid}" in pathlib.Path(f"/proc/{pid}/cgroup").read_text():
                found[pid] = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return {pid: name for pid, name in found.items() if name != "pause"}


def kill_runner(kubernetes, uid):
    runners = [pid for pid, name in processes(kubernetes, uid).items() if name == "millrace-runner"]
    assert runners
    for pid in runners:
        with contextlib.suppress(ProcessLookupError):  # it went with the first one
            os.kill(pid, signal.SIGKILL)


class Taken:
    """A job whose program runs, in a pod that is then taken away in one of the ways below."""

    def __init__(self, plant, kubernetes, way):
        self.plant, self.kubernetes = plant, kubernetes
        self.job = submit(plant, "import os, sys\nprint(os.uname().nodename, flush=True)\nsys.stdin.readline()\nx = bytearray(1 << 30)",
                          interactive=True, timeout_ms=120000, retry=WAYS[way] != "pod_lost")
        self.pod = text_of(wait_for(plant, self.job, "output")).decode().strip()
        self.uid = kubernetes.get("pod", self.pod, NAMESPACE)["metadata"]["uid"]

    def kubectl(self, *argv, **more):
        self.kubernetes.kubectl("-n", NAMESPACE, *argv, **more)

    def deleted(self):
        self.kubectl("delete", "pod", self.pod, "--wait=false")

    def past_its_deadline(self):
        self.kubectl("patch", "pod", self.pod, "-p", '{"spec": {"activeDeadlineSeconds": 1}}')

    def evicted_by_the_api(self):
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{self.pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": self.pod, "namespace": NAMESPACE}}))

    def evicted_by_the_kubelet(self):
        """More than its ephemeral-storage of 128Mi, to which the logs of its container count."""
        logs = self.kubernetes.state / "varlog" / "pods" / f"{NAMESPACE}_{self.pod}_{self.uid}" / "run"
        with open(logs / "1.log", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 200 << 20)

    def killed_on_its_node(self):
        """The container as a whole: with its first process the kernel ends the others."""
        kill_runner(self.kubernetes, self.uid)

    def killed_for_its_memory(self):
        """The container as a whole: the kernel takes its first process, where it would take the program's."""
        found = processes(self.kubernetes, self.uid)
        for pid, name in found.items():
            pathlib.Path(f"/proc/{pid}/oom_score_adj").write_text("1000" if name == "millrace-runner" else "0")
        assert "millrace-runner" in found.values() and len(found) > 1, found
        with connect(f"{self.plant.urls[0].replace('http', 'ws', 1)}/v1/jobs/{self.job}/stream", additional_headers={"x-api-key": self.plant.api_key}) as stream:
            stream.send(json.dumps({"type": "stdin", "data": "\n"}))


WAYS = {"deleted": "pod_deleted", "past_its_deadline": "pod_deadline", "evicted_by_the_api": "pod_evicted", "evicted_by_the_kubelet": "pod_evicted",
        "killed_on_its_node": "pod_lost", "killed_for_its_memory": "oom"}


@pytest.fixture(scope="module")
def taken(plant, kubernetes):
    """Side by side: a kubelet looks after storage every ten seconds."""
    runs = {way: Taken(plant, kubernetes, way) for way in WAYS}
    for way, one in runs.items():
        getattr(one, way)()
    return runs


@pytest.mark.parametrize("way", WAYS)
def test_a_pod_that_is_taken_away_has_its_reason(plant, taken, way):
    end = events(plant, taken[way].job)[-1]
    assert (end["type"], end["reason"]) == ("failed", WAYS[way]), end
    assert run(plant, "print(2)")["stdout"] == "2\n"


def test_an_idle_pod_whose_container_is_killed_is_replaced(plant, kubernetes):
    worker = plant.of("spawner")[0]
    wait_until("the pools are full", lambda: full(worker), 120, 0.1)
    before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods(kubernetes, **{"millrace.dev/kind": "py"}) if "deletionTimestamp" not in pod["metadata"]}
    killed = sorted(before)[:2]
    for name in killed:
        kill_runner(kubernetes, before[name])

    def replaced():
        now = {pod["metadata"]["name"] for pod in pods(kubernetes)}
        return full(worker) and len(now) == 4 and not now & set(killed)
    wait_until("the killed ones are gone, and the pool is full again", replaced, 120, 0.2)
    used = [run(plant, "import os; print(os.uname().nodename)")["stdout"].strip() for _ in range(4)]
    assert len(set(used)) == 4 and not set(used) & set(killed)


def test_a_pool_serves_while_the_api_server_is_silent(plant, kubernetes):
    worker = plant.of("spawner")[0]
    wait_until("the pools are full", lambda: full(worker), 60, 0.1)
    with kubernetes.away("kube-apiserver"):
        assert [run(plant, f"print({n})")["stdout"] for n in range(3)] == ["0\n", "1\n", "2\n"]
    wait_until("the pools are full again", lambda: full(worker), 120, 0.2)


def test_a_killed_workers_job_is_run_again_and_its_idle_pods_are_used(plant, kubernetes):
    worker = plant.of("spawner")[0]
    wait_until("the pools are full", lambda: full(worker), 120, 0.1)
    known = {pod["metadata"]["name"] for pod in pods(kubernetes)}
    job = submit(plant, "import time; print('began', flush=True); time.sleep(3); print('over')")
    wait_for(plant, job, "output")
    plant.kill(worker)
    ends = events(plant, job)
    assert ends[-1]["type"] == "completed" and ends[-1]["attempt"] == 2, ends
    wait_until("idle pods are taken over", lambda: run(plant, "print(3)")["stdout"] == "3\n" and health(worker)["cluster"]["adopted"] > 0, 60, 0.2)
    wait_until("what was not taken over is gone", lambda: full(worker) and len(pods(kubernetes)) == 4, 120, 0.3)
    assert known  # and were used at most once: a runner works once (test_worker_contained.py)
