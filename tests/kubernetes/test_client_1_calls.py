# SPDX-License-Identifier: Apache-2.0
"""The client (lib/kube) and a real API server: each call, the watch, and who it is allowed to be."""
import json
import stat
import time

import pytest

from kubecluster import hardened_pod
from kubeproxy import KubeProxy, kubeconfig
from kubetool import Tool
from system import wait_until

BUSYBOX = "millrace.test/busybox:1"


@pytest.fixture(scope="module")
def sandbox(kubernetes):
    return kubernetes.namespace("client-calls")


@pytest.fixture
def open_tool():
    made = []

    def open_one(**settings):
        made.append(Tool(**settings))
        return made[-1]
    yield open_one
    for one in made:
        one.close()


@pytest.fixture
def tool(kubernetes, open_tool):
    return open_tool(KUBE_CONFIG=kubernetes.kubeconfig)


def config_map(name, **labels):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"data": "kept"}}


def waiting_pod(name, **labels):
    """A pod that no node takes: an object of the API only."""
    pod = hardened_pod(name, BUSYBOX, ["sleep", "1"])
    pod["metadata"]["labels"].update(labels)
    pod["spec"]["schedulerName"] = "nobody"
    return pod


def test_create_get_patch_delete(tool, sandbox):
    made = tool("create", "configmaps", sandbox, config_map("one", label="first"))
    assert made["reason"] == "OK" and made["object"]["label"] == "first" and made["object"]["data"] == "kept"
    assert tool("create", "configmaps", sandbox, config_map("one"))["reason"] == "ALREADY_EXISTS"
    got = tool("get", "configmaps", sandbox, "one")
    assert got["object"]["uid"] == made["object"]["uid"] and got["tries"] == 1
    patched = tool("patch", "configmaps", sandbox, "one", got["object"]["uid"], got["object"]["version"],
                   "label", "second", "annotation", "a\"b")
    assert patched["object"]["label"] == "second" and patched["object"]["annotation"] == 'a"b'
    assert tool("patch", "configmaps", sandbox, "one", None, got["object"]["version"], "label", "third", None, None)["reason"] == "CONFLICT"
    assert tool("patch", "configmaps", sandbox, "one", "0000", None, "label", "third", None, None)["reason"] == "CONFLICT"
    assert tool("patch", "configmaps", sandbox, "one", None, None, "label", None, None, None)["object"]["label"] == ""
    assert tool("delete", "configmaps", sandbox, "one", -1, "0000", None)["reason"] == "CONFLICT"
    assert tool("delete", "configmaps", sandbox, "one", -1, got["object"]["uid"], None)["reason"] == "OK"
    missing = tool("get", "configmaps", sandbox, "one")
    assert missing["reason"] == "NOT_FOUND" and "get configmaps one in namespace client-calls" in missing["message"]


def test_lists_have_pages(tool, sandbox):
    for one in [tool.begin("create", "configmaps", sandbox, config_map(f"page-{i}", set="pages")) for i in range(7)]:
        assert tool.end(one)["reason"] == "OK"
    names, following = [], None
    for size in (3, 3, 1):
        page = tool("list", "configmaps", sandbox, "set=pages", 3, following)
        assert page["reason"] == "OK" and len(page["items"]) == size
        names += [item["name"] for item in page["items"]]
        following = page["next"]
    assert following == "" and names == [f"page-{i}" for i in range(7)]
    assert tool("list", "configmaps", sandbox, "set=pages", 3, "nonsense")["reason"] == "INVALID"
    assert tool("deleteall", "configmaps", sandbox, "set=pages")["reason"] == "OK"
    assert tool("list", "configmaps", sandbox, "set=pages", 3, None)["items"] == []
    assert tool("deleteall", "configmaps", sandbox, None) == {"id": f"c{tool.next}", "err": "invalid input"}


def test_names_that_are_none_are_not_sent(tool, sandbox):
    before = tool("stats")["sent"]
    for name in ("a/b", "..", "A", "a?b"):
        assert tool("get", "pods", sandbox, name)["err"] == "invalid input"
    assert tool("create", "pods", sandbox, {"metadata": {}})["err"] == "invalid input"
    assert tool("stats")["sent"] == before


def test_version_and_namespaces(tool, sandbox):
    assert tool("version")["version"].startswith("v1.")
    assert tool("get", "namespaces", None, sandbox)["object"]["name"] == sandbox
    assert tool("get", "namespaces", None, "nowhere")["reason"] == "NAMESPACE_MISSING"
    assert tool("create", "configmaps", "nowhere", config_map("x"))["reason"] == "NAMESPACE_MISSING"


def test_a_pod_tells_what_becomes_of_it(tool, sandbox):
    watch = tool.watch("pods", sandbox, "app=life")
    watch.event("SYNCED")
    assert tool("create", "pods", sandbox, hardened_pod("life", BUSYBOX, ["sleep", "3600"]))["object"]["trouble"] == "NONE"
    running = watch.until(lambda told: told.get("object", {}).get("phase") == 2)["object"]
    assert running["ip"] and running["node"] and running["container"] == 2
    assert tool("delete", "pods", sandbox, "life", 0, running["uid"], None)["reason"] == "OK"
    assert watch.event("GONE")["object"]["uid"] == running["uid"] and watch.known == {}
    tool.cancel(watch.name)


TROUBLES = [
    ("IMAGE", "not present with pull policy of Never", {"image": "millrace.test/none:1"}, {}),
    ("OOM", "", {"command": ["sh", "-c", "x=$(head -c 400000000 /dev/zero | tr '\\0' x)"]}, {}),
    ("EXITED", "", {"command": ["sh", "-c", "exit 3"]}, {}),
    ("CONTAINER", "nonsense", {"command": ["/nonsense"]}, {}),
    ("DEADLINE", "deadline", {"command": ["sleep", "60"]}, {"activeDeadlineSeconds": 1}),
    ("UNSCHEDULABLE", "node", {"command": ["true"]}, {"nodeSelector": {"no": "such"}}),
]


def test_troubles_have_their_names(tool, sandbox):
    watch = tool.watch("pods", sandbox, "trouble")
    watch.event("SYNCED")
    for kind, _, container, spec in TROUBLES:
        pod = hardened_pod(kind.lower(), container.get("image", BUSYBOX), container.get("command"))
        pod["spec"].update(spec)
        pod["metadata"]["labels"]["trouble"] = "yes"
        assert tool("create", "pods", sandbox, pod)["reason"] == "OK"
    wanted = {kind.lower(): kind for kind, *_ in TROUBLES}
    watch.until(lambda _: wanted == {name: pod["trouble"] for name, pod in watch.known.items()}, 90)
    assert watch.known["exited"]["exit_code"] == 3 and watch.known["oom"]["exit_code"] == 137
    for kind, why, *_ in TROUBLES:
        assert why in watch.known[kind.lower()]["why"]
    assert tool("deleteall", "pods", sandbox, "trouble")["reason"] == "OK"


def test_what_refuses_a_pod_is_told_apart(kubernetes, tool, sandbox):
    loose = waiting_pod("loose")
    loose["spec"]["securityContext"] = {}
    assert tool("create", "pods", sandbox, loose)["reason"] == "POD_SECURITY"
    assert tool("create", "pods", sandbox, {"metadata": {"name": "x"}, "spec": {}})["reason"] == "INVALID"
    quota = kubernetes.namespace("client-quota")
    kubernetes.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": quota},
                      "spec": {"hard": {"pods": "0"}}})
    wait_until("the quota counts", lambda: "hard" in kubernetes.get("resourcequota", "none", quota).get("status", {}), 60, 0.1)
    told = tool("create", "pods", quota, waiting_pod("one"))
    assert told["reason"] == "QUOTA" and "exceeded quota: none" in told["message"]


def test_a_watch_can_close_itself(tool, sandbox):
    watch = tool.watch("configmaps", sandbox, "set=closing", close="x")
    watch.event("SYNCED")
    for i in range(3):
        assert tool("create", "configmaps", sandbox, config_map(f"closing-{i}", set="closing"))["reason"] == "OK"
    watch.event("SEEN")
    again = tool.watch("configmaps", sandbox, "set=closing", close="x")  # inside of its list
    again.event("SEEN")
    assert tool("version")["reason"] == "OK" and tool.silent(watch.name) and tool.silent(again.name)


def test_a_cancelled_call_says_nothing(tool, sandbox):
    calls = [tool.begin("list", "pods", sandbox, None, 10, None, flush=False) for _ in range(20)]
    for one in calls:  # in one piece with the calls: no answer can come before
        tool.cancel(one, flush=False)
    assert tool("version")["reason"] == "OK"
    assert tool("stats")["waiting"] == 0 and tool("stats")["in_flight"] == 0


def test_rate_and_number_are_bounded(kubernetes, open_tool, sandbox):
    slow = open_tool(KUBE_CONFIG=kubernetes.kubeconfig, KUBE_RATE=20, KUBE_BURST=5, KUBE_IN_FLIGHT=2, KUBE_WAITING=40,
                     KUBE_PATIENCE_MS=60000)
    start = time.monotonic()
    calls = [slow.begin("get", "namespaces", None, sandbox) for _ in range(45)]
    told = [slow.end(one) for one in calls]
    done = [one for one in told if one.get("reason") == "OK"]
    refused = [one for one in told if one.get("err") == "limit reached"]
    assert len(done) >= 40 and len(done) + len(refused) == 45
    assert time.monotonic() - start > (len(done) - 5) / 20 * 0.9


def test_rights_are_asked_for(kubernetes, open_tool, tool, sandbox, tmp_path):
    """A service account with one right: what it may, what it may not, and what the refusal says."""
    kubernetes.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "some", "namespace": sandbox}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "some", "namespace": sandbox},
         "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "some", "namespace": sandbox},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some"},
         "subjects": [{"kind": "ServiceAccount", "name": "some", "namespace": sandbox}]})
    token = kubernetes.kubectl("-n", sandbox, "create", "token", "some").strip()
    ca = (kubernetes.state / "pki" / "ca.crt").read_bytes()
    some = open_tool(KUBE_CONFIG=kubeconfig(tmp_path / "some", kubernetes.server, ca, {"token": token}))
    wait_until("the role holds", lambda: some("list", "pods", sandbox, None, 1, None)["reason"] == "OK", 30, 0.1)
    assert some("can", "list", "", "pods", sandbox)["allowed"] is True
    assert some("can", "create", "", "pods", sandbox)["allowed"] is False
    told = some("create", "pods", sandbox, waiting_pod("mine"))
    assert told["reason"] == "FORBIDDEN" and 'cannot create resource "pods"' in told["message"]
    watch = some.watch("pods", sandbox)
    told = watch.event("TROUBLE")
    assert told["reason"] == "FORBIDDEN" and 'cannot watch resource "pods"' in told["message"]
    assert tool("can", "create", "", "pods", sandbox)["allowed"] is True


def test_in_the_cluster_the_token_is_read_again(kubernetes, open_tool, sandbox, tmp_path):
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "ca.crt").write_bytes((kubernetes.state / "pki" / "ca.crt").read_bytes())
    (folder / "namespace").write_text(sandbox)
    (folder / "token").write_text("wrong")
    host = kubernetes.server.removeprefix("https://")
    inside = open_tool(KUBE_SERVICE_ACCOUNT=folder, KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=443)
    assert inside("stats")["ns"] == sandbox
    assert inside("version")["reason"] == "UNAUTHORIZED"
    fresh = folder / "fresh"
    fresh.write_text(kubernetes.kubectl("-n", sandbox, "create", "token", "default"))
    fresh.rename(folder / "token")
    told = inside("list", "pods", sandbox, None, 1, None)  # the refusal of the old one makes it read the new one
    assert told["reason"] == "FORBIDDEN" and told["tries"] <= 2


def test_a_plugin_gives_the_token(kubernetes, open_tool, sandbox, tmp_path):
    plugin, answer = tmp_path / "plugin", tmp_path / "answer"
    plugin.write_text(f"#!/bin/sh\nexec cat {answer}\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    token = kubernetes.kubectl("-n", sandbox, "create", "token", "default").strip()
    answer.write_text(json.dumps({"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": token}}))
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never"}}
    ca = (kubernetes.state / "pki" / "ca.crt").read_bytes()
    config = kubeconfig(tmp_path / "config", kubernetes.server, ca, user)
    assert open_tool(KUBE_CONFIG=config)("version")["reason"] == "OK"
    answer.write_text("nonsense")
    told = open_tool(KUBE_CONFIG=config)("version")
    assert told["reason"] == "CREDENTIALS" and "it printed no JSON object" in told["message"]


def test_who_answers_must_be_the_server(kubernetes, open_tool, sandbox, tmp_path):
    """Another CA, no CA, another name; and what is accepted when it is accepted by name."""
    proxy = KubeProxy(kubernetes, tmp_path)
    ca = (kubernetes.state / "pki" / "ca.crt").read_bytes()
    user = {"token": "any"}
    try:
        good = open_tool(KUBE_CONFIG=proxy.kubeconfig(tmp_path / "good"))
        assert good("version")["reason"] == "OK"
        own, localhost = proxy.certificate.read_bytes(), f"https://localhost:{proxy.port}"
        for n, (server, authority) in enumerate([(proxy.endpoint, ca), (proxy.endpoint, None), (localhost, own)]):
            config = kubeconfig(tmp_path / f"bad-{n}", server, authority, user)
            told = open_tool(KUBE_CONFIG=config, KUBE_PATIENCE_MS=500)("version")
            assert told["reason"] == "NO_ANSWER" and "SSL" in told["message"], told
        named = open_tool(KUBE_CONFIG=kubeconfig(tmp_path / "named", localhost, own, user, **{"tls-server-name": "other.test"}))
        assert named("version")["reason"] == "OK"
        blind = open_tool(KUBE_CONFIG=kubeconfig(tmp_path / "blind", proxy.endpoint, None, user, **{"insecure-skip-tls-verify": True}),
                          KUBE_INSECURE=1)
        assert blind("version")["reason"] == "OK"
    finally:
        proxy.stop()


def test_a_bad_kubeconfig_ends_it_with_a_sentence(tmp_path):
    refused = Tool(KUBE_CONFIG=kubeconfig(tmp_path / "config", "https://h", None, {"username": "x"}))
    assert refused.process.wait(30) == 1
    said = refused.process.stderr.read()
    assert str(tmp_path / "config") in said and "users.0.user.username" in said and "use a token" in said
