# SPDX-License-Identifier: Apache-2.0
"""Execution profiles (CONTRACT 5.1): what a client expects is checked before anything else is done."""
import pytest

from contract import Api

EXPECTED, ACTUAL = "X-CodeAPI-Expected-Profile", "X-CodeAPI-Execution-Profile"
RUN = {"lang": "py", "code": "print(1)"}


@pytest.mark.parametrize("mine, other", [("default", "stateful"), ("stateful", "default")])
def test_a_service_of_one_profile(make_system, mine, other):
    with Api(make_system(env={"EXECUTION_PROFILE": mine})) as api:
        for expected in (None, mine):
            answer = api.post("/exec", json=RUN, headers={EXPECTED: expected} if expected else None)
            assert (answer.status_code, answer.headers[ACTUAL], answer.json()["stdout"]) == (200, mine, "1\n")
        for send in (lambda h: api.post("/exec", json=RUN, headers=h), lambda h: api.post("/upload", files={"file": b"x"}, headers=h)):
            answer = send({EXPECTED: other})
            told = answer.json()
            assert (answer.status_code, told["error"], answer.headers[ACTUAL]) == (409, "execution_profile_mismatch", mine)
            assert told["message"] == f"Expected the {other} execution profile, but reached {mine}"
            assert (told["expected_profile"], told["actual_profile"]) == (other, mine)
        assert api.get("/health").headers[ACTUAL] == mine
        assert api.get("/no/such/path").headers[ACTUAL] == mine


def test_both(api):
    for expected in ("default", "stateful"):
        answer = api.post("/exec", json=RUN, headers={EXPECTED: expected})
        assert (answer.status_code, answer.headers[ACTUAL]) == (200, expected)
    for bad in ([(EXPECTED, "lively")], [(EXPECTED, "default"), (EXPECTED, "stateful")], [(EXPECTED, "")]):
        answer = api.post("/exec", json=RUN, headers=bad)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_execution_profile")
        assert {"message", "expected_profile", "actual_profile"} <= answer.json().keys()


def test_the_key_in_the_body_gets_no_further(make_system):
    system = make_system(env={"EXECUTION_PROFILE": "default"})
    with Api(system, key="wrong-key-0123456789") as api:
        body = {**RUN, "api_key": system.key}
        assert api.post("/exec", json=body).status_code == 200
        assert api.post("/exec", json=body, headers={EXPECTED: "stateful"}).status_code == 409
