# SPDX-License-Identifier: Apache-2.0
"""What a cluster cannot give (the table of docs/KUBERNETES.md), asserted as it is there. kubesuite.py names the tests of the common
suite that these stand for."""
import re

import kubeimages
from system import wait_until


def test_processes_over_the_limit_end_the_run(api):
    """Nothing refuses the fork: the kernel counts by user and node, and the kubelet's limit is none of a run's."""
    body = api.exec("py", "import os, time\nfor _ in range(40):\n  if os.fork() == 0: break\ntime.sleep(60)", max_pids=12)
    assert (body["job_status"], body["reason"]) == ("failed", "pids_limit"), body


def test_memory_of_a_request_is_the_pods(api):
    body = api.exec("py", "x = bytearray(200 << 20); print(len(x))", memory_mb=64)
    assert (body["stdout"], body["exit_code"]) == (f"{200 << 20}\n", 0), body


def test_a_share_of_a_processor_is_the_pods(api, kubernetes):
    """All are made with K8S_CPU_LIMIT, long before a request says anything."""
    job = api.submit("py", "print('began', flush=True)\nimport time; time.sleep(60)", cpu_millis=200)
    wait_until("it runs", lambda: any(event["type"] == "output" for event in api.get(f"/v1/jobs/{job}/events").json()["events"]), 60)
    pods = kubernetes.list("pods", kubeimages.NAMESPACE)
    assert {pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] for pod in pods} == {"1"}
    api.delete(f"/v1/jobs/{job}")
    assert api.wait(job)["status"] == "cancelled"


def test_versions_and_libraries_are_the_images(api):
    wait_until("a worker told", lambda: api.get("/v1/languages").json()["languages"][0]["available"])
    rows = api.get("/v1/languages").json()["languages"]
    assert all(row["available"] and row["why"] is None and row["version"] is None for row in rows), rows


def test_a_program_can_change_its_copy_of_a_read_only_input(api):
    told = api.post("/upload/batch", data={"kind": "skill", "id": "66aa01", "version": "3", "read_only": "true"},
                    files=[("file", ("f", b"# a"))]).json()
    ref = {"id": told["files"][0]["fileId"], "session_id": told["session_id"], "name": "f"}
    body = api.exec("bash", "chmod u+w f; echo x >> f; cat f", files=[ref])
    assert (body["stdout"], body["stderr"]) == ("# ax\n", "")
    assert [(file["id"], file["size"], file["inherited"]) for file in body["files"]] == [(ref["id"], 3, True)]


def test_an_internet_socket_is_refused_when_it_is_opened(api):
    body = api.exec("py", "import socket\ntry: socket.socket()\nexcept OSError as e: print(e.errno)")
    assert body["stdout"] == "1\n"


def test_the_program_has_the_runners_user_and_cannot_look_into_it(api):
    code = "import os\nprint(os.getuid(), open('/proc/1/status').read().split('Uid:')[1].split()[0])\n" \
           "for name in ('mem', 'environ', 'fd'):\n" \
           "  try: os.listdir(f'/proc/1/{name}') if name == 'fd' else open(f'/proc/1/{name}', 'rb').read(1)\n" \
           "  except OSError as e: print(name, type(e).__name__)"
    body = api.exec("py", code)
    assert re.fullmatch(r"65532 65532\nmem PermissionError\nenviron PermissionError\nfd PermissionError\n", body["stdout"]), body
