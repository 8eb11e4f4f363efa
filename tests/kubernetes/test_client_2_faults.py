# SPDX-License-Identifier: Apache-2.0
"""The client while the way to the API server, or the server itself, fails: it waits, tries again, and says so."""
import signal
import time

import pytest

from kubeproxy import KubeProxy, status
from kubetool import Tool
from system import wait_until


@pytest.fixture(scope="module")
def sandbox(kubernetes):
    return kubernetes.namespace("client-faults")


@pytest.fixture
def way(kubernetes, tmp_path):
    proxy = KubeProxy(kubernetes, tmp_path)
    yield proxy
    proxy.stop()


@pytest.fixture
def open_tool(way, tmp_path):
    made = []

    def open_one(**settings):
        made.append(Tool(KUBE_CONFIG=way.kubeconfig(tmp_path / f"config-{len(made)}"), **settings))
        return made[-1]
    yield open_one
    for one in made:
        one.close()


@pytest.fixture
def tool(open_tool):
    return open_tool()


def config_map(name, **labels):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


@pytest.mark.parametrize("code,reason,headers", [
    (429, "TooManyRequests", [("Retry-After", "1")]),
    (500, "InternalError", []),
    (503, "ServiceUnavailable", []),
])
def test_refusals_that_pass(way, tool, code, reason, headers):
    way.rule("GET /version", "answer", times=2, status=code, headers=headers, body=status(code, reason))
    start = time.monotonic()
    told = tool("version")
    assert told["reason"] == "OK" and told["tries"] == 3
    assert time.monotonic() - start >= (2.0 if headers else 0.3)


@pytest.mark.parametrize("code,reason", [(500, "SERVER_ERROR"), (503, "UNAVAILABLE"), (429, "BUSY")])
def test_refusals_that_stay(way, open_tool, code, reason):
    tool = open_tool(KUBE_PATIENCE_MS=2000)
    way.rule("GET /version", "answer", times=1000, status=code, body=b"<html>not Kubernetes</html>")
    told = tool("version")
    assert told["reason"] == reason and told["code"] == code and 2 <= told["tries"] <= 8
    assert tool("stats")["last"] == reason


def test_a_pause_that_is_longer_than_the_patience(way, open_tool):
    """Told at once, not after the pause."""
    tool = open_tool(KUBE_PATIENCE_MS=5000)
    way.rule("GET /version", "answer", times=1000, status=429, headers=[("Retry-After", "30")], body=status(429, "TooManyRequests"))
    start = time.monotonic()
    assert tool("version")["reason"] == "BUSY" and time.monotonic() - start < 4
    assert tool("stats")["paused"] > 20000


@pytest.mark.parametrize("action,more", [
    ("lost_reply", {}), ("cut_request", {}), ("cut_answer", {}), ("short_length", {}), ("garbage", {"body": b"\x00\xffnot JSON"}),
    ("garbage", {"body": b"{}"}), ("garbage", {"body": b""}), ("garbage", {"body": b"[" * 100000}),
])
def test_broken_answers(way, tool, sandbox, action, more):
    way.rule(f"GET /api/v1/namespaces/{sandbox}", action, times=1, **more)
    told = tool("get", "namespaces", None, sandbox)
    assert told["reason"] == "OK" and told["object"]["name"] == sandbox


def test_garbage_that_stays(way, open_tool, sandbox):
    tool = open_tool(KUBE_PATIENCE_MS=1500)
    way.rule("GET", "garbage", times=1000, body=b"hello")
    assert tool("get", "namespaces", None, sandbox)["reason"] == "GARBAGE"


def test_an_answer_has_a_longest_size(way, tool, sandbox):
    way.rule("GET", "garbage", times=1, body=b" " * (17 << 20))
    assert tool("get", "namespaces", None, sandbox)["reason"] == "TOO_LONG"


def test_a_create_that_was_lost_is_found_again(way, tool, sandbox):
    """It worked, its answer was lost, the second try says that it exists: that is ours."""
    way.rule("POST", "lost_reply", times=1)
    told = tool("create", "configmaps", sandbox, config_map("lost", label="mine"))
    assert told["reason"] == "OK" and told["object"]["label"] == "mine"
    assert way.count("POST /") == 2 and way.count("GET /api/v1/namespaces/client-faults/configmaps/lost") == 1
    assert tool("create", "configmaps", sandbox, config_map("lost"))["reason"] == "ALREADY_EXISTS"  # not ours


def test_silence_ends(way, open_tool, sandbox):
    tool = open_tool(KUBE_TRY_MS=500, KUBE_PATIENCE_MS=10000)
    way.rule("GET", "slow", times=1, seconds=3)
    told = tool("get", "namespaces", None, sandbox)
    assert told["reason"] == "OK" and told["tries"] == 2


def test_many_wait_while_it_is_away(way, tool, sandbox):
    """One request at a time asks whether it is back."""
    way.rule("", "answer", times=3, status=503, body=status(503, "ServiceUnavailable"))
    calls = [tool.begin("get", "namespaces", None, sandbox) for _ in range(50)]
    assert {tool.end(one)["reason"] for one in calls} == {"OK"}
    # At most what was in flight at first, then one at a time.
    assert sum("namespaces" in request for request in way.seen) <= 50 + 8


# ---- the watch ----

def begin_watch(tool, sandbox, labels, idle_ms=None):
    watch = tool.watch("configmaps", sandbox, labels, idle_ms)
    watch.event("SYNCED")
    return watch


def make(kubernetes, sandbox, name, **labels):
    kubernetes.apply({**config_map(name, **labels), "metadata": {"name": name, "namespace": sandbox, "labels": labels}})


def test_a_watch_that_is_cut_goes_on_where_it_was(kubernetes, way, tool, sandbox):
    way.rule("watch=1", "cut_watch", times=3, after=1)
    watch = begin_watch(tool, sandbox, "set=cut")
    for i in range(6):
        make(kubernetes, sandbox, f"cut-{i}", set="cut")
    watch.until(lambda _: len(watch.known) == 6)
    assert watch.count("LISTING") == 1 and watch.count("SEEN") == 6  # nothing twice, nothing missed
    assert watch.count("TROUBLE") == 0 and tool("stats")["breaks"] == 3


GONE = b'{"type":"ERROR","object":' + status(410, "Expired", "too old resource version: 1 (2)") + b"}\n"


@pytest.mark.parametrize("rule", [
    {"action": "answer", "status": 410, "body": status(410, "Expired")},
    {"action": "lines", "lines": [GONE]},
])
def test_a_watch_that_is_too_old_lists_again(kubernetes, way, tool, sandbox, rule):
    label = f"gone-{rule['action']}"
    make(kubernetes, sandbox, f"{label}-1", set=label)
    make(kubernetes, sandbox, f"{label}-2", set=label)
    way.rule("watch=1", times=1, **rule)
    watch = begin_watch(tool, sandbox, f"set={label}")
    kubernetes.kubectl("-n", sandbox, "delete", "configmap", f"{label}-1")
    watch.until(lambda _: list(watch.known) == [f"{label}-2"])
    assert watch.count("LISTING") == 2 or watch.count("GONE") == 1


@pytest.mark.parametrize("lines,reason", [
    ([b"not JSON\n"], "GARBAGE"),
    ([b'{"type":"ADDED","object":{}}\n'], "GARBAGE"),
    ([b'{"type":"NEW","object":{"metadata":{"resourceVersion":"1"}}}\n'], "GARBAGE"),
    ([b'{"type":"ERROR","object":' + status(500, "InternalError") + b"}\n"], "SERVER_ERROR"),
    ([b"x" * (1 << 20)] * 5, "TOO_LONG"),
    ([], "UNAVAILABLE"),
])
def test_a_watch_that_says_nonsense(kubernetes, way, tool, sandbox, lines, reason):
    way.rule("watch=1", "lines", times=1, lines=lines)
    label = f"nonsense-{reason.lower().replace('_', '-')}-{len(lines)}-{len(b''.join(lines))}"
    watch = begin_watch(tool, sandbox, f"set={label}")
    assert watch.event("TROUBLE")["reason"] == reason
    watch.event("SYNCED")  # it goes on by itself
    make(kubernetes, sandbox, label, set=label)
    watch.until(lambda _: label in watch.known)


def test_a_watch_that_stays_poisoned_lists_again(way, tool, sandbox):
    way.rule("watch=1", "lines", times=3, lines=[b"not JSON\n"])
    watch = begin_watch(tool, sandbox, "set=poison")
    watch.event("LISTING")
    watch.event("SYNCED")
    assert watch.count("TROUBLE") == 3


def test_a_silent_watch_is_begun_again(kubernetes, way, tool, sandbox):
    way.rule("watch=1", "deaf", times=1)
    watch = begin_watch(tool, sandbox, "set=deaf", idle_ms=1000)
    make(kubernetes, sandbox, "deaf", set="deaf")
    watch.until(lambda _: "deaf" in watch.known)
    assert watch.count("LISTING") == 1


def test_a_watch_that_is_never_answered(kubernetes, way, open_tool, sandbox):
    tool = open_tool(KUBE_TRY_MS=500)
    way.rule("watch=1", "silent", times=1)
    watch = begin_watch(tool, sandbox, "set=never")
    assert watch.event("TROUBLE")["reason"] == "NO_ANSWER"
    make(kubernetes, sandbox, "never", set="never")
    watch.until(lambda _: "never" in watch.known)


def test_closing_in_the_middle_of_everything(way, open_tool, sandbox):
    """open_tool's end holds that nothing is left open."""
    way.rule("watch=1", "silent", times=1)
    way.rule("GET /version", "slow", times=1, seconds=2)
    tool = open_tool()
    tool.watch("pods", sandbox)
    begin_watch(tool, sandbox, "set=closing")
    tool.begin("version")
    for _ in range(20):
        tool.begin("list", "pods", sandbox, None, 1, None)
    wait_until("the requests are out", lambda: way.count("watch=1") >= 2 and way.count("GET /version") == 1, 30, 0.05)


# ---- the server itself ----

def test_the_server_is_killed_and_comes_back(kubernetes, way, open_tool, sandbox):
    tool = open_tool(KUBE_PATIENCE_MS=120000)
    make(kubernetes, sandbox, "killed-1", set="killed")
    watch = begin_watch(tool, sandbox, "set=killed")
    kubernetes.signal("kube-apiserver", signal.SIGKILL)
    calls = [tool.begin("get", "namespaces", None, sandbox) for _ in range(20)]
    assert {tool.end(one, 150)["reason"] for one in calls} == {"OK"}
    wait_until("kubectl has it again", lambda: kubernetes.kubectl("get", "--raw", "/readyz", check=False) == "ok", 120, 0.5)
    make(kubernetes, sandbox, "killed-2", set="killed")
    watch.until(lambda _: "killed-2" in watch.known, 120)
    assert set(watch.known) == {"killed-1", "killed-2"}


def test_the_server_is_stopped_for_a_while(kubernetes, open_tool, sandbox):
    """Connections stand, nothing answers: calls end with their patience, and all goes on afterwards."""
    tool = open_tool(KUBE_TRY_MS=1000, KUBE_PATIENCE_MS=4000)
    watch = begin_watch(tool, sandbox, "set=stopped", idle_ms=2000)
    kubernetes.signal("kube-apiserver", signal.SIGSTOP)
    try:
        told = tool("get", "namespaces", None, sandbox)
        assert told["reason"] == "NO_ANSWER" and told["tries"] >= 2
        assert watch.event("TROUBLE")["reason"] == "NO_ANSWER"
        assert tool("stats")["reachable"] is False
    finally:
        kubernetes.signal("kube-apiserver", signal.SIGCONT)
    wait_until("it answers", lambda: tool("get", "namespaces", None, sandbox)["reason"] == "OK", 60, 0.5)
    make(kubernetes, sandbox, "stopped", set="stopped")
    watch.until(lambda _: "stopped" in watch.known, 60)
