# SPDX-License-Identifier: Apache-2.0
"""What the model is told when the queue is full: the seconds come from the body, not the header."""
import re

import httpx
import pytest

from clients import FIRST_GENERATION, VERSIONS, Client, ToolError
from system import wait_until


def test_the_model_is_told_when_to_retry(make_system):
    system = make_system(env={"QUEUE_MAX_JOBS": "1", "QUEUE_MAX_JOBS_PER_TENANT": "1"})
    http = httpx.Client(base_url=system.url, headers={"x-api-key": system.key})
    job = http.post("/v1/jobs", json={"lang": "bash", "code": "sleep 60"}).json()["job_id"]
    wait_until("the job runs", lambda: http.get(f"/v1/jobs/{job}").json()["status"] == "running")
    refused = http.post("/exec", json={"lang": "py", "code": "print(1)"})
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
    assert refused.json()["error"] == "rate_limited" and refused.json()["retry_after_seconds"] > 0
    for version in VERSIONS:
        client = Client(version, system.url, system.key)
        with pytest.raises(ToolError) as told:
            client.code("py", "print(1)")
        if version == FIRST_GENERATION:
            assert "HTTP error! status: 429" in str(told.value)
        else:
            assert re.search(r"temporarily rate-limited\. Retry after \d+ seconds\.", str(told.value))
        client.close()
    http.delete(f"/v1/jobs/{job}")
