# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes of one node for tests: tests/kube makes it in namespaces of its own, and takes all of it away."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess

from system import ROOT, descendants, parents, wait_until

SCRIPTS = ROOT / "tests" / "kube"


def programs():
    """The folder of kubectl and the others; builds them when they are not in the cache."""
    told = subprocess.run([SCRIPTS / "build"], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(told.stdout.strip())


class Gone:
    """A program of a cluster that stands still."""

    def __init__(self, cluster, name, starters):
        self.cluster, self.name, self.starters = cluster, name, starters

    def killed(self):
        for pid in self.starters:
            os.kill(pid, signal.SIGSTOP)
        self.cluster.signal(self.name, signal.SIGKILL)


class Cluster:
    """A new one below the directory, which ends with this process at the latest; or one that is up in the folder `state`; or, to try tests
    again and again, the one of tests/kube/up that MILLRACE_TEST_CLUSTER names."""

    def __init__(self, directory, state=None):
        self.programs = programs()
        self.given = None if state else os.environ.get("MILLRACE_TEST_CLUSTER")
        self.state = pathlib.Path(state or self.given or pathlib.Path(directory) / "kubernetes").resolve()
        if not self.given and not state:
            up = subprocess.run([SCRIPTS / "up", self.state], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=400, check=False, env={**os.environ, "KUBE_OWNER": str(os.getpid())})
            assert up.returncode == 0, up.stderr
        self.kubeconfig = self.state / "pki" / "admin.kubeconfig"
        self.number = int((self.state / "number").read_text())
        self.server = f"https://10.88.{self.number}.2"
        self.init = int((self.state / "init.pid").read_text())
        self.seen = descendants(self.init)

    def kubectl(self, *argv, stdin="", timeout=60, check=True):
        """Its standard output."""
        told = subprocess.run(
            [self.programs / "kubectl", "--kubeconfig", self.kubeconfig, "--cache-dir", self.state / "kubectl",
             *map(str, argv)], input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        assert told.returncode == 0 or not check, f"kubectl {argv}: {told.stderr}"
        return told.stdout

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, what, name, namespace="default"):
        """The object, or None when there is none."""
        told = self.kubectl("-n", namespace, "get", what, name, "-o", "json", "--ignore-not-found")
        return json.loads(told) if told else None

    def list(self, what, namespace="default", **labels):
        chosen = ["-l", ",".join(f"{key}={value}" for key, value in labels.items())] if labels else []
        return json.loads(self.kubectl("-n", namespace, "get", what, *chosen, "-o", "json"))["items"]

    def namespace(self, name, level="restricted"):
        """Made, with its default service account, without which no pod is taken."""
        if self.given:  # a test before may just have deleted it
            wait_until("the namespace of the last time is gone", lambda: "deletionTimestamp" not in (self.get("namespace", name) or {}).get("metadata", {}), 120, 0.2)
        self.apply({"apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": level}}})
        wait_until("the namespace's service account", lambda: self.get("serviceaccount", "default", name), 60, 0.1)
        return name

    def import_images(self, *archives):
        subprocess.run([SCRIPTS / "import", self.state, *archives], check=True, capture_output=True, timeout=300)

    def processes(self, name):
        """Pids of a program of the cluster, by the name it was called by: etcd, kube-apiserver, kubelet, containerd ..."""
        return [pid for pid, line in descendants(self.init).items() if os.path.basename(line.split(" ", 1)[0]) == name]

    def signal(self, name, number):
        """SIGSTOP: gone silent; SIGCONT: back; SIGKILL: it is started again at once."""
        found = self.processes(name)
        assert found, f"no {name} runs in the cluster"
        for pid in found:
            os.kill(pid, number)

    @contextlib.contextmanager
    def away(self, name):
        """Meanwhile it is silent: connections stand, nothing answers; from killed() on nothing listens. Then it is back."""
        starters = {parents()[pid][0] for pid in self.processes(name)}  # the loop of tests/kube/inner
        gone = Gone(self, name, starters)
        self.signal(name, signal.SIGSTOP)
        try:
            yield gone
        finally:
            for pid in starters:
                os.kill(pid, signal.SIGCONT)
            for pid in self.processes(name):
                os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def kubelet(self, **settings):
        """Meanwhile it runs with these settings."""
        file = self.state / "conf" / "kubelet.yaml"
        before, was = file.read_text(), {name: self.kubelet_setting(name) for name in settings}
        try:
            self.restart_kubelet(before + "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()), settings)
            yield
        finally:
            self.restart_kubelet(before, was)

    def kubelet_setting(self, name):
        told = self.kubectl("get", "--raw", "/api/v1/nodes/node/proxy/configz", check=False)
        return json.loads(told)["kubeletconfig"].get(name) if told else None

    def restart_kubelet(self, text, settings):
        (self.state / "conf" / "kubelet.yaml").write_text(text)
        self.signal("kubelet", signal.SIGKILL)
        wait_until("the kubelet has its settings", lambda: all(self.kubelet_setting(name) == value for name, value in settings.items()), 120, 0.2)

    @contextlib.contextmanager
    def closed_to_pods(self):
        """Meanwhile pods reach no API server, as a NetworkPolicy would have it where the network plug-in enforces one."""
        pods, service = f"10.{128 + self.number}.0.0/24", f"10.96.{self.number}.1"

        def rule(*words):
            subprocess.run(["nsenter", "-t", str(self.init), "-n", "ip", "rule", *words], check=True)
        rule("add", "pref", "2", "lookup", "local")  # which comes first else
        rule("add", "pref", "1", "from", pods, "to", service, "prohibit")
        rule("del", "pref", "0")
        try:
            yield
        finally:
            rule("add", "pref", "0", "lookup", "local")
            rule("del", "pref", "1")
            rule("del", "pref", "2")

    def stop(self):
        if self.given:
            return
        self.seen |= descendants(self.init)
        down = subprocess.run([SCRIPTS / "down", self.state], capture_output=True, text=True, timeout=120, check=False)
        assert down.returncode == 0, down.stdout + down.stderr

    def residue(self):
        """What is left after stop(): has to be nothing."""
        if self.given:
            return []
        now = parents()
        left = [f"process {pid}: {line}" for pid, line in self.seen.items() if now.get(pid, (0, ""))[1] == line]
        left += [f"cgroup {path}" for path in pathlib.Path("/sys/fs/cgroup").glob(f"*/millrace-kube-{self.number}")]
        left += [f"link mrkube{self.number}"] * os.path.exists(f"/sys/class/net/mrkube{self.number}")
        return left + [str(self.state)] * self.state.exists()


def hardened_pod(name, image, command=None, **container):
    """A pod of the shape that ours have, as Pod Security `restricted` wants it."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False, "enableServiceLinks": False, "restartPolicy": "Never",
            "activeDeadlineSeconds": 900, "terminationGracePeriodSeconds": 1,
            "dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.1"]},
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                                "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "run", "image": image, "imagePullPolicy": "Never", **({"command": command} if command else {}),
                "securityContext": {"allowPrivilegeEscalation": False, "privileged": False, "readOnlyRootFilesystem": True,
                                    "capabilities": {"drop": ["ALL"]}},
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi", "ephemeral-storage": "16Mi"},
                              "limits": {"cpu": "1", "memory": "256Mi", "ephemeral-storage": "128Mi"}},
                "volumeMounts": [{"name": "work", "mountPath": "/mnt/data"}, {"name": "tmp", "mountPath": "/tmp"}],
                **container}],
            "volumes": [{"name": "work", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}},
                        {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}}]}}
