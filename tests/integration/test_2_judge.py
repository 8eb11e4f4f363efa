# SPDX-License-Identifier: Apache-2.0
"""Judged runs: what a program writes is held against what was expected of it, with limits for each case."""
import json

import pytest

SUM = "print(sum(map(int, input().split())))"
C_SUM = "#include <stdio.h>\nint main(void) { int a, b; if (scanf(\"%d %d\", &a, &b) != 2) return 3; printf(\"%d \\n\", a + b); }"
ENDS = {
    "accepted": (SUM, {"stdin": "1 2\n", "expected_output": "3"}),
    "wrong_answer": (SUM, {"stdin": "1 2\n", "expected_output": "4"}),
    "runtime_error": (SUM, {"stdin": "x\n", "expected_output": "3"}),
    "time_limit": ("print(3, flush=True)\nwhile True: pass", {"expected_output": "3", "timeout_ms": 300}),
    "memory_limit": ("print(3, flush=True)\nx = bytearray(1 << 30)", {"expected_output": "3", "memory_mb": 64}),
    "output_limit": ("while True: print(3)", {"expected_output": "3", "max_output_bytes": 1000}),
}


@pytest.mark.parametrize("verdict", ENDS)
def test_verdicts(api, verdict):
    code, more = ENDS[verdict]
    assert api.exec("py", code, state=False, **more)["verdict"] == verdict


@pytest.mark.parametrize("compare,written,right", [
    (None, "a  \\nb\\n\\n", True), ("lines", "a\\n b", False), ("tokens", " a\\n\\n b ", True), ("tokens", "ab", False),
    ("exact", "a\\nb", True), ("exact", "a\\nb\\n", False)])
def test_comparisons(api, compare, written, right):
    body = api.exec("py", f"print('{written}', end='')", state=False, expected_output="a\nb", **({"compare": compare} if compare else {}))
    assert body["verdict"] == ("accepted" if right else "wrong_answer")


def test_who_expects_nothing_is_not_judged(api):
    assert "verdict" not in api.exec("py", "print(1)", compare="exact")
    assert api.exec("py", "pass", expected_output="")["verdict"] == "accepted"


def test_a_program_is_compiled_once_for_all_its_cases(api):
    """What its compiler says is no output of it; the log and the job tell the same verdict."""
    verdicts = [api.exec("c", C_SUM, stdin=f"{n} 1", expected_output=str(n + 1))["verdict"] for n in range(3)]
    assert verdicts == ["accepted"] * 3
    assert api.exec("c", "int main(void) { return x; }", expected_output="")["verdict"] == "compile_error"


def test_the_verdict_of_a_job_is_in_its_log(system, api):
    job = api.post("/v1/jobs", json={"lang": "py", "code": "print(1)\nprint(2)", "state": False, "expected_output": "1\n2\n"}).json()["job_id"]
    events = api.get(f"/v1/jobs/{job}/events", params={"wait": 20}).json()["events"]
    while events[-1]["type"] != "completed":
        events += api.get(f"/v1/jobs/{job}/events", params={"after": events[-1]["id"], "wait": 20}).json()["events"]
    assert events[-1]["verdict"] == api.get(f"/v1/jobs/{job}").json()["result"]["verdict"] == "accepted"


@pytest.mark.parametrize("field,value", [("expected_output", 5), ("compare", "words")])
def test_bad_fields_are_named(api, field, value):
    answer = api.post("/exec", json={"lang": "py", "code": "1", "expected_output": "", field: value})
    assert answer.status_code == 422 and field in answer.text


def test_the_command_judges_case_by_case(system, tmp_path):
    program, cases = tmp_path / "sum.py", tmp_path / "cases.json"
    program.write_text(SUM)
    good = [{"name": "small", "stdin": "1 2", "expected_output": "3"}, {"stdin": "5 6", "expected_output": "11"}]
    cases.write_text(json.dumps(good))
    done = system.millrace("judge", program, cases)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [line[:2] for line in lines[:2]] == [["1", "accepted"], ["2", "accepted"]]
    assert lines[0][3] == "small" and lines[2] == ["2 of 2 accepted"]
    cases.write_text(json.dumps([*good, {"stdin": "1 1", "expected_output": "3"}]))
    done = system.millrace("judge", "--json", program, cases)
    assert done.returncode == 1 and [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["accepted", "accepted", "wrong_answer"]
    cases.write_text('[{"stdin": "1"}]')
    done = system.millrace("judge", program, cases)
    assert done.returncode == 125 and "case 1: expected_output" in done.stderr
