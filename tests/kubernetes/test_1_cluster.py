# SPDX-License-Identifier: Apache-2.0
"""The cluster of the tests is one: what pods of ours rely on holds in it, and what must be refused is refused."""
import json
import os
import signal
import subprocess
import sys

import pytest

from kubecluster import Cluster, hardened_pod
from system import ROOT, descendants, wait_until

BUSYBOX = "millrace.test/busybox:1"
STATUS = "id -u; grep -E '^(CapEff|Seccomp):' /proc/self/status; touch /x 2>/dev/null && echo writable; touch /mnt/data/x && echo data"


@pytest.fixture(scope="module")
def sandbox(kubernetes):
    return kubernetes.namespace("sandbox")


def phase(kubernetes, sandbox, name):
    return kubernetes.get("pod", name, sandbox)["status"].get("phase")


def run(kubernetes, sandbox, pod):
    kubernetes.kubectl("-n", sandbox, "apply", "-f", "-", stdin=json.dumps(pod))
    return pod["metadata"]["name"]


def ended(kubernetes, sandbox, name):
    status = kubernetes.get("pod", name, sandbox)["status"]
    return status if status.get("phase") in ("Succeeded", "Failed") else None


def test_a_hardened_pod_runs_and_is_deleted(kubernetes, sandbox):
    name = run(kubernetes, sandbox, hardened_pod("long", BUSYBOX, ["sleep", "3600"]))
    wait_until("it runs", lambda: phase(kubernetes, sandbox, name) == "Running", 60, 0.1)
    kubernetes.kubectl("-n", sandbox, "delete", "pod", name)
    assert kubernetes.get("pod", name, sandbox) is None


def test_it_has_no_rights(kubernetes, sandbox):
    name = run(kubernetes, sandbox, hardened_pod("rights", BUSYBOX, ["sh", "-c", STATUS]))
    wait_until("it ended", lambda: ended(kubernetes, sandbox, name), 60, 0.1)
    assert kubernetes.kubectl("-n", sandbox, "logs", name).split() == [
        "65532", "CapEff:", "0000000000000000", "Seccomp:", "2", "data"]


def test_memory_has_a_limit(kubernetes, sandbox):
    pod = hardened_pod("memory", BUSYBOX, ["dd", "if=/dev/zero", "of=/dev/null", "bs=400M", "count=1"])
    name = run(kubernetes, sandbox, pod)
    status = wait_until("it ended", lambda: ended(kubernetes, sandbox, name), 60, 0.1)
    assert status["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_pod_with_rights_is_refused(kubernetes, sandbox):
    pod = hardened_pod("bad", BUSYBOX, ["true"])
    pod["spec"]["securityContext"] = {}
    told = subprocess.run([kubernetes.programs / "kubectl", "--kubeconfig", kubernetes.kubeconfig, "-n", sandbox, "create", "-f", "-"],
                          input=json.dumps(pod), capture_output=True, text=True, check=False)
    assert told.returncode != 0 and "violates PodSecurity" in told.stderr


def test_the_api_server_comes_back(kubernetes, sandbox):
    before = kubernetes.processes("kube-apiserver")
    kubernetes.signal("kube-apiserver", signal.SIGKILL)
    wait_until("another one runs", lambda: set(kubernetes.processes("kube-apiserver")) - set(before), 60, 0.1)
    wait_until("it answers", lambda: kubernetes.kubectl("get", "--raw", "/readyz", check=False) == "ok", 120, 0.2)
    assert kubernetes.get("namespace", sandbox) is not None


def test_two_clusters_stand_side_by_side_and_one_ends_with_its_owner(kubernetes, tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", "import sys, kubecluster as k; print(k.Cluster(sys.argv[1]).state, flush=True); sys.stdin.read()", tmp_path],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                             env={**{name: value for name, value in os.environ.items() if name != "MILLRACE_TEST_CLUSTER"}, "PYTHONPATH": str(ROOT / "tests")})
    try:
        state = owner.stdout.readline().strip()
        assert state
        other = Cluster(None, state)
        assert other.number != kubernetes.number and other.server != kubernetes.server
        other.namespace("only-here")
        assert kubernetes.get("namespace", "only-here") is None
        other.seen |= descendants(other.init)
    finally:
        owner.kill()
        owner.wait()
    wait_until("nothing of it is left", lambda: other.residue() == [], 60, 0.2)
    assert kubernetes.get("namespace", "default")
