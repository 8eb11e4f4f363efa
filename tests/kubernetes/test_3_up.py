# SPDX-License-Identifier: Apache-2.0
"""`millrace up --backend kubernetes` as docs/KUBERNETES.md has it: in the background with its first program, status, env and down; and it says
what it waits for. (tests/system.py starts it in the foreground, ready or not at all.)"""
import json
import os
import signal
import subprocess

import pytest

import kubeimages
from system import BIN, PLAIN_ENV, wait_until

NAMESPACE = "up"


@pytest.fixture(scope="module")
def env(kubernetes, tmp_path_factory):
    given = kubeimages.pods_of(kubernetes, tmp_path_factory.mktemp("images"))["env"]
    kubernetes.namespace(NAMESPACE)
    yield {**PLAIN_ENV, "HOME": str(tmp_path_factory.mktemp("home")), **given, "POD_POOL_PY": "1", "POD_POOL_JS": "0", "POD_POOL_BASH": "1",
           "K8S_NAMESPACE": NAMESPACE}
    kubernetes.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def up(env, *argv, **more):
    return subprocess.run([BIN / "millrace", "up", *argv], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False, **more)


def test_in_the_background(env, kubernetes, tmp_path):
    state = ("--state", tmp_path / "state")
    began = up(env, *state, "--port", "0", "--backend", "kubernetes", "--detach")
    try:
        assert began.returncode == 0 and "Hello from Python" in began.stdout, began
        assert f"`millrace up down --state {tmp_path}/state`" in began.stdout
        told = json.loads(up(env, "status", "--json", *state).stdout)
        assert told["ready"] and {child["part"] for child in told["children"]} == {"redis", "api", "worker", "archiver"}
        script = f'eval "$({BIN}/millrace up env --state {tmp_path}/state)"; echo "echo \\$((6*7))" | millrace run --lang bash -'
        ran = subprocess.run(["/bin/bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stdout) == (0, "42\n"), ran
    finally:
        down = up(env, "down", *state)
    assert down.returncode == 0 and up(env, "status", *state).stdout == "down\n", down
    wait_until("no pod is left", lambda: kubernetes.list("pods", NAMESPACE) == [], 60, 0.2)


def test_it_says_what_it_waits_for(env, tmp_path):
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([BIN / "millrace", "up", "--state", tmp_path / "state", "--port", "0", "--backend", "kubernetes"],
                                   env={**env, "K8S_NAMESPACE": "nowhere"}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until("it says it", lambda: 'worker 1 is not ready yet: ' in (text := (tmp_path / "log").read_text())
                       and 'namespaces "nowhere" not found' in text, 60, 0.1)
        finally:
            os.kill(process.pid, signal.SIGINT)
            process.wait(60)
