# SPDX-License-Identifier: Apache-2.0
"""The checker is checked: a good history passes, and each kind of damage is found by the check that is for it."""
import copy
import itertools
import json

import checker
import pytest

JOB, KEY = "J" * 21, "k1"


def events(job=JOB):
    """A job that lost its first worker: what a correct log of it looks like."""
    rows = [
        ("submitted", 0, {}), ("queued", 0, {}),
        ("claimed", 1, {"worker": "w1"}), ("started", 1, {}), ("output", 1, {"stream": "stdout", "data": "he"}),
        ("lease_lost", 1, {"worker": "w1"}), ("retried", 1, {"reason": "lease_lost"}),
        ("claimed", 2, {"worker": "w2"}), ("started", 2, {}),
        ("output", 2, {"stream": "stdout", "data": "hello "}),
        ("output", 2, {"stream": "stdout", "data": "d29ybGQK", "encoding": "base64"}),
        ("usage", 2, {}), ("completed", 2, {"exit_code": 0}),
    ]
    return [{"id": f"{1000 + n}-0", "type": kind, "job_id": job, "attempt": attempt, "seq": n + 1, "time": 1000 + n,
             **more} for n, (kind, attempt, more) in enumerate(rows)]


RESULT = {"status": "completed", "stdout": "hello world\n", "stderr": "", "exit_code": 0}


def line(op, key, value=None, r="ok", p="c1"):
    return {"p": p, "op": op, "key": key, "value": value, "r": r}


def good():
    """Lines of a good history, with a lost answer repeated by key and a reader that resumed."""
    lines = [line("intent", KEY, {"expect": "hello world\n"}), line("submit", KEY, None, "info"),
             line("submit", KEY, {"job": JOB}), line("submit", KEY, {"job": JOB}, p="c2"),
             line("kill", "worker", {"pid": 1, "counted": True}, p="killer")]
    for reader in ("sse1", "final"):
        lines += [line("event", JOB, event, p=reader) for event in events()]
        lines.append(line("end", JOB, p=reader))
    lines += [line("result", JOB, {"status": "running"}), line("result", JOB, dict(RESULT)),
              line("result", JOB, dict(RESULT), p="c2"), line("list", JOB, {"status": "completed"}),
              line("residue", "", [])]
    return lines


def run(lines):
    return {name for name, _ in checker.find(checker.History(dict(entry, t=float(n)) for n, entry in enumerate(lines)))}


def log_of(lines, reader="final"):
    return [entry["value"] for entry in lines if entry["op"] == "event" and entry["p"] == reader]


def renumber(lines, log):
    """The same log for every reader, numbered anew: what a store without the precondition would have written."""
    log = [dict(event, seq=n + 1, id=f"{1000 + n}-0", time=1000 + n) for n, event in enumerate(log)]
    readers = [reader for reader, _ in itertools.groupby(entry["p"] for entry in lines if entry["op"] == "event")]
    rest = [entry for entry in lines if entry["op"] != "event"]
    at = next(n for n, entry in enumerate(rest) if entry["op"] == "end")
    return rest[:at] + [line("event", JOB, event, p=reader) for reader in readers for event in log] + rest[at:]


def test_good_history_passes():
    assert run(good()) == set()


def test_load_and_main(tmp_path, capsys):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(dict(entry, t=float(n))) + "\n" for n, entry in enumerate(good())))
    assert checker.main(["checker", str(path)]) == 0
    assert "kills of worker: 1 with a job in flight" in capsys.readouterr().out
    damaged = [entry for entry in good() if not (entry["p"] == "final" and entry["op"] == "event")]
    path.write_text("".join(json.dumps(dict(entry, t=float(n))) + "\n" for n, entry in enumerate(damaged)))
    assert checker.main(["checker", str(path)]) == 1
    assert "FOUND nothing_lost" in capsys.readouterr().out


# ---- damage: each function turns the good history into one that the named check has to find ----

def lost_job(lines):
    return [entry for entry in lines if entry["p"] != "final"]


def lost_terminal(lines):
    return renumber([e for e in lines if e["op"] != "result"], log_of(lines)[:-1])


def second_terminal(lines):
    return renumber(lines, log_of(lines) + [events()[-1]])


def other_terminal(lines):
    return renumber(lines, log_of(lines) + [dict(events()[-1], type="dead")])


def retry_made_a_job(lines):
    lines[3]["value"] = {"job": "K" * 21}
    return lines


def unseen_second_job(lines):
    return lines + [line("list", "K" * 21, {"status": "completed"})]


def shared_job(lines):
    return lines + [line("submit", "k2", {"job": JOB})]


def id_used_twice(lines):
    for entry in lines:
        if entry["op"] == "event" and entry["value"]["seq"] == 5:
            entry["value"]["id"] = "1003-0"
    return lines


def gap(lines):
    return [e for e in lines if not (e["op"] == "event" and e["p"] == "sse1" and e["value"]["seq"] == 6)]


def repeat(lines):
    at = next(n for n, e in enumerate(lines) if e["op"] == "event" and e["value"]["seq"] == 6)
    return lines[:at] + [copy.deepcopy(lines[at])] + lines[at:]


def late_start(lines):
    return [e for e in lines if not (e["op"] == "event" and e["p"] == "sse1" and e["value"]["seq"] == 1)]


def event_after_the_end(lines):
    return renumber(lines, log_of(lines) + [dict(events()[9])])


def ended_early(lines):
    return [e for e in lines if not (e["op"] == "event" and e["p"] == "sse1" and e["value"]["seq"] >= 9)]


def readers_differ(lines):
    for entry in lines:
        if entry["op"] == "event" and entry["p"] == "sse1" and entry["value"]["seq"] == 10:
            entry["value"]["data"] = "hellO "
    return lines


def zombie_output(lines):
    log = log_of(lines)
    return renumber(lines, log[:10] + [dict(log[4], data="llo")] + log[10:])


def zombie_output_before_the_claim(lines):
    log = log_of(lines)
    return renumber(lines, log[:7] + [dict(log[4], data="llo")] + log[7:])


def zombie_finish(lines):
    log = log_of(lines)
    return renumber(lines, log[:9] + [dict(log[-1], attempt=1)])


def claimed_twice(lines):
    log = log_of(lines)
    return renumber(lines, log[:5] + log[7:])


def attempt_not_raised(lines):
    return renumber(lines, [dict(event, attempt=min(event["attempt"], 1)) for event in log_of(lines)])


def started_twice(lines):
    log = log_of(lines)
    return renumber(lines, log[:9] + [log[8]] + log[9:])


def time_goes_back(lines):
    for entry in lines:
        if entry["op"] == "event" and entry["value"]["seq"] == 8:
            entry["value"]["time"] = 900
    return lines


def results_differ(lines):
    return lines + [line("result", JOB, dict(RESULT, exit_code=1), p="c3")]


def result_vanishes(lines):
    return lines + [line("result", JOB, {"status": "queued"})]


def output_of_both_attempts(lines):
    return lines + [line("result", JOB, dict(RESULT, stdout="hehello world\n"), p="c3")]


def log_lacks_output(lines):
    log = log_of(lines)
    return renumber(lines, log[:10] + log[11:])


def status_not_of_the_log(lines):
    return [dict(e, value=dict(e["value"], status="failed")) if e["op"] == "result" and e["p"] == "c2" else e
            for e in lines]


def not_listed(lines):
    return [e for e in lines if e["op"] != "list"] + [line("list", "L" * 21, {"status": "completed"})]


def listed_as_running(lines):
    return [dict(e, value={"status": "running"}) if e["op"] == "list" else e for e in lines]


def internal_error(lines):
    return lines + [line("strange", "POST /exec k1", {"status": 500, "body": ""}, "fail")]


def gave_up(lines):
    return lines + [line("gave_up", "POST /exec k1", "503", "fail")]


def residue(lines):
    return lines + [line("residue", "", ["cgroup millrace/p1"])]


# ---- states: three runs in one session and one that the store's refusal left without a trace, then damage to them ----

SESSION = "S" * 21


def effect_job(number, end, found, asked=SESSION):
    """The lines of one run: `end` is the event that says what became of its state."""
    job, key, token = f"E{number}" * 10, f"e{number}", f"t{number}"
    rows = [("submitted", 0, {"session_id": SESSION}), ("queued", 0, {}), ("claimed", 1, {"worker": "w1"}), ("started", 1, {}),
            ("output", 1, {"stream": "stdout", "data": json.dumps({"counter": len(found), "done": found})}), end, ("completed", 1, {})]
    log = [{"id": f"{2000 + 10 * number + n}-0", "type": kind, "job_id": job, "attempt": attempt, "seq": n + 1,
            "time": 2000 + 10 * number + n, **more} for n, (kind, attempt, more) in enumerate(rows)]
    return [line("intent", key, {"expect": None, "effect": {"token": token, "session": asked}}), line("submit", key, {"job": job}),
            *[line("event", job, event, p="final") for event in log], line("end", job, p="final"),
            line("result", job, {"status": "completed", "state_version": end[2]["version"]}), line("list", job, {"status": "completed"})]


def saved(version):
    return "state_saved", 1, {"version": version, "base": version - 1}


KEPT = "state_kept", 1, {"version": 1, "reason": "not_saved"}


def good_states():
    return [*effect_job(1, saved(1), [], None), *effect_job(2, KEPT, ["t1"]), *effect_job(3, saved(2), ["t1"]),
            *effect_job(4, saved(3), ["t1", "t3"]),
            line("versions", SESSION, [{"version": version, "base": version - 1} for version in (3, 2, 1)])]


def change(lines, number, kind, **more):
    """The event of this type of one of the runs, with other fields."""
    for entry in lines:
        if entry["op"] == "event" and entry["key"] == f"E{number}" * 10 and entry["value"]["type"] == kind:
            entry["value"].update(more)
    return lines


def found(lines, number, counter, done):
    return change(lines, number, "output", data=json.dumps({"counter": counter, "done": done}))


STATE_DAMAGE = {
    "version_twice": (lambda lines: change(lines, 4, "state_saved", version=2, base=1), "states_are_a_chain"),
    "version_missing": (lambda lines: change(lines, 4, "state_saved", version=4, base=3), "states_are_a_chain"),
    "fork": (lambda lines: change(lines, 4, "state_saved", base=1), "states_are_a_chain"),
    "version_in_the_past": (lambda lines: change(lines, 4, "state_saved", time=1000), "states_are_a_chain"),
    "kept_fork": (lambda lines: lines[:-1] + [line("versions", SESSION, [{"version": 3, "base": 1}, {"version": 2, "base": 1}])], "states_are_a_chain"),
    "kept_with_a_gap": (lambda lines: lines[:-1] + [line("versions", SESSION, [{"version": 3, "base": 2}, {"version": 1, "base": 0}])], "states_are_a_chain"),
    "unreadable": (lambda lines: change(lines, 4, "completed", type="failed", reason="state_invalid"), "effects_once"),
    "state_of_a_failure": (lambda lines: change(lines, 4, "completed", type="failed"), "states_are_a_chain"),
    "effect_lost": (lambda lines: found(lines, 4, 2, ["t3"]), "effects_once"),
    "effect_twice": (lambda lines: found(lines, 4, 2, ["t1", "t3", "t3"]), "effects_once"),
    "effect_of_what_was_not_saved": (lambda lines: found(lines, 4, 2, ["t1", "t2", "t3"]), "effects_once"),
    "effects_in_another_order": (lambda lines: found(lines, 4, 2, ["t3", "t1"]), "effects_once"),
    "count_lost": (lambda lines: found(lines, 4, 1, ["t1", "t3"]), "effects_once"),
    "found_nothing": (lambda lines: change(lines, 4, "output", data=""), "effects_once"),
    "refused": (lambda lines: change(lines, 2, "state_kept", reason="conflict"), "effects_once"),
    "silent": (lambda lines: change(lines, 2, "state_kept", type="usage"), "effects_once"),
    "another_session": (lambda lines: change(lines, 4, "submitted", session_id="T" * 21), "effects_once"),
    "told_of_another_version": (lambda lines: [dict(e, value=dict(e["value"], state_version=7)) if e["op"] == "result" else e for e in lines],
                                "effects_once"),
}


def test_good_states_pass():
    assert run(good_states()) == set()


@pytest.mark.parametrize("damage", STATE_DAMAGE)
def test_damage_of_states_is_found(damage):
    change_it, name = STATE_DAMAGE[damage]
    assert name in run(change_it(good_states()))


DAMAGE = [
    (lost_job, "nothing_lost"), (lost_terminal, "nothing_lost"),
    (second_terminal, "nothing_doubled"), (other_terminal, "nothing_doubled"),
    (retry_made_a_job, "nothing_doubled"), (unseen_second_job, "nothing_doubled"),
    (shared_job, "unique_ids"), (id_used_twice, "unique_ids"),
    (gap, "readers_miss_nothing"), (repeat, "readers_miss_nothing"), (late_start, "readers_miss_nothing"),
    (event_after_the_end, "readers_miss_nothing"), (ended_early, "readers_miss_nothing"),
    (readers_differ, "readers_agree"),
    (zombie_output, "attempts_fenced"), (zombie_output_before_the_claim, "attempts_fenced"),
    (zombie_finish, "attempts_fenced"), (claimed_twice, "attempts_fenced"),
    (attempt_not_raised, "attempts_fenced"), (started_twice, "attempts_fenced"),
    (time_goes_back, "times_monotonic"),
    (results_differ, "one_result"), (result_vanishes, "results_never_go_back"),
    (output_of_both_attempts, "own_output_once"), (log_lacks_output, "own_output_once"),
    (status_not_of_the_log, "result_is_of_the_log"),
    (not_listed, "all_accepted_listed"), (listed_as_running, "all_accepted_listed"),
    (internal_error, "honest_answers"), (gave_up, "honest_answers"), (residue, "nothing_left"),
]


@pytest.mark.parametrize("damage, name", DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
def test_damage_is_found(damage, name):
    assert name in run(damage(good()))


def test_every_check_is_needed():
    assert {name for _, name in [*DAMAGE, *STATE_DAMAGE.values()]} == set(checker.CHECKS)


def test_recovery_times():
    lines = [dict(line("kill", "api", {}), t=1.0), dict(line("kill", "redis", {}), t=2.0),
             dict(line("submit", KEY, None, "info"), t=2.1), dict(line("submit", KEY, {"job": JOB}), t=2.5)]
    times = checker.recovery_times(checker.History(lines))
    assert times["api"] == [1.5] and times["redis"] == [0.5]
