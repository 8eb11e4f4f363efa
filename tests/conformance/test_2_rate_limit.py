# SPDX-License-Identifier: Apache-2.0
"""What the model is told when the queue is full, by every tool of every version: the seconds come from the body, not the header."""
import re

import httpx
import pytest

from clients import FACTORIES, FIRST_GENERATION, VERSIONS, Client, ToolError, named
from system import System, wait_until

TOOL = {"name": "t", "answer": "echo", "parameters": {"type": "object", "properties": {}}}
CALLS = {"execute_code": lambda client: client.code("py", "print(1)"), "bash_tool": lambda client: client.bash("echo 1"),
         "run_tools_with_code": lambda client: client.programmatic("print(1)", [TOOL]),
         "run_tools_with_bash": lambda client: client.bash_programmatic("echo 1", [TOOL])}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, clients):
    """A system whose one place is taken, and a client of each version on it."""
    system = System(tmp_path_factory.mktemp("crowded"), env={"QUEUE_MAX_JOBS": "1", "QUEUE_MAX_JOBS_PER_TENANT": "1", "MAX_EXECUTION_TIME": "600"})
    http = httpx.Client(base_url=system.url, headers={"x-api-key": system.key}, timeout=60)
    job = http.post("/v1/jobs", json={"lang": "bash", "code": "sleep 600", "timeout_ms": 600000}).json()["job_id"]
    wait_until("the job runs", lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "running")
    made = {version: Client(version, system.url, system.key) for version in VERSIONS}
    yield made, http, job
    for one in made.values():
        one.close()
    http.delete(f"/v1/jobs/{job}")
    assert system.stop() == 0 and system.residue() == []


@pytest.fixture
def client(request, crowded):
    return crowded[0][request.param]


def test_the_body_and_the_header_say_the_seconds(crowded):
    refused = crowded[1].post("/exec", json={"lang": "py", "code": "print(1)"})
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"] == "rate_limited" and refused.json()["retry_after_seconds"] > 0


@pytest.mark.matrix("rate limit")
@pytest.mark.parametrize("client, tool", [(version, tool) for tool in CALLS for version in VERSIONS], indirect=["client"], ids=named)
def test_the_model_is_told_when_to_retry(client, tool, record_property):
    if tool in FACTORIES and FACTORIES[tool] not in client.makes:
        assert client.version == FIRST_GENERATION
        record_property("cell", "no tool")
        return
    with pytest.raises(ToolError) as told:
        CALLS[tool](client)
    if client.version == FIRST_GENERATION:
        assert "HTTP error! status: 429" in str(told.value)
    else:
        assert re.search(r"temporarily rate-limited\. Retry after \d+ seconds?\.", str(told.value))
