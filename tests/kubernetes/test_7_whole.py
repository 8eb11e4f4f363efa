# SPDX-License-Identifier: Apache-2.0
"""The canary's positive control: a cluster that enforces everything. Nothing is missing, nothing has to be accepted by name, and the
limit that the canary found holds for programs. (test_4_refusals.py has the ordinary cluster, which lacks two, and who refuses it.)"""
import json
import pathlib
import sys
import urllib.request

import pytest

import kubeimages

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("faults", "integration")]
import plant as plants  # noqa: E402
from test_worker_runs import run  # noqa: E402

NAMESPACE, LIMIT = "whole", 200


@pytest.fixture(scope="module")
def plant(kubernetes, tmp_path_factory):
    given = kubeimages.pods_of(kubernetes, tmp_path_factory.mktemp("images"))["env"]
    kubernetes.namespace(NAMESPACE)
    env = {**given, **{name: "0" for name in kubeimages.POOLS}, "POD_POOL_PY": "1", "POD_BACKEND": "kubernetes", "K8S_NAMESPACE": NAMESPACE,
           "POD_ACCEPT_MISSING": "", "MAX_PIDS": str(2 * LIMIT)}
    made = plants.Plant(tmp_path_factory.mktemp("plant"), apis=1, workers=1, env=env)
    ready = made.wait_ready
    made.wait_ready = lambda: ready(120)
    with kubernetes.kubelet(podPidsLimit=LIMIT), kubernetes.closed_to_pods(), made:
        yield made
    assert made.crashes == []


def told(plant, page):
    with urllib.request.urlopen(plant.of("spawner")[0].url + page, timeout=10) as answer:
        return json.load(answer)


def test_nothing_is_missing(plant):
    canary = told(plant, "/health/kubernetes")["cluster"]["canary"]
    assert (canary["answered"], canary["why"], canary["missing"]) == (True, "", [])
    worker = told(plant, "/health")
    assert (worker["isolation"], worker["accepted_gaps"]) == ("", [])
    assert "accepted_gaps" not in run(plant, "print(1)")


def test_the_kubelets_limit_holds_for_a_program(plant):
    code = "import os, time\nn = 0\ntry:\n  while n < %d:\n    if os.fork() == 0: time.sleep(60)\n    n += 1\n" \
           "except OSError as e: print(e.errno, n < %d)" % (2 * LIMIT, LIMIT)
    assert run(plant, code)["stdout"] == "11 True\n"
