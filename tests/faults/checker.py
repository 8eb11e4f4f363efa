# SPDX-License-Identifier: Apache-2.0
"""The offline checker: reads a history file and says what it proves wrong.

A history has one JSON object a line, one line per operation that a client finished:

    {"t": seconds, "p": process, "op": name, "key": text, "value": ..., "r": "ok" | "fail" | "info"}

`ok` happened, `fail` certainly did not happen, `info`: nobody knows (no answer, or 503). The operations:

    intent   key = idempotency key   value = {"expect": stdout}       what is about to be asked for; a run that is to leave its
             mark in the state of a session has "effect": {"token", "session"} beside it (session null: a new one)
    submit   key = idempotency key   value = {"job": id} when ok      POST /v1/jobs or POST /exec; ok = accepted
    result   key = job               value = {"status", "stdout", "exit_code", ...}, a result as some reader saw it
    event    key = job               value = the event object, as reader `p` was given it, in that order
    end      key = job               reader `p` was told that nothing follows
    list     key = job               value = {"status"}, from GET /v1/jobs after the drain
    versions key = session           value = [{"version", "base"}], those that it keeps, after all its runs
    kill     key = kind of process   value = {"pid", "counted", ...}
    cont     key = kind of process   a stopped process was let go on
    strange  key = request           value = {"status", "body"}: an answer that no fault excuses
    gave_up  key = request           a client got no good answer within its deadline
    residue  value = [what was left]

The reader whose name starts with "final" reads every accepted job from its start after the drain. Each check is a
function over the whole history that yields one sentence per finding; a history is good when no check yields any.
"""
import base64
import collections
import json
import sys

TERMINAL = {"completed", "failed", "timed_out", "cancelled", "dead"}
# What only the owner of an attempt may append.
OWNED = {"started", "output", "file", "state_saved", "usage", "completed", "failed", "timed_out"}
RESULT_FACTS = ("status", "stdout", "stderr", "exit_code", "signal", "reason", "state_version")

CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def event_bytes(event):
    data = event.get("data", "")
    return base64.b64decode(data) if event.get("encoding") == "base64" else data.encode()


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


class History:
    """The lines of one run, indexed the ways the checks ask for."""

    def __init__(self, lines):
        self.lines = list(lines)
        self.expect, self.effects = {}, {}
        self.jobs_of_key = collections.defaultdict(set)
        self.keys_of_job = collections.defaultdict(set)
        self.read = collections.defaultdict(list)  # (reader, job) -> events in the order of delivery
        self.ended = set()
        self.results = collections.defaultdict(list)
        self.listed = {}
        for line in self.lines:
            getattr(self, "_on_" + line["op"], self._ignore)(line)
        self.accepted = set(self.keys_of_job)
        self.finals = {job: events for (reader, job), events in self.read.items() if reader.startswith("final")}

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(json.loads(text) for text in file if text.strip())

    def _ignore(self, line):
        pass

    def _on_intent(self, line):
        self.expect[line["key"]] = line["value"]["expect"]
        if "effect" in line["value"]:
            self.effects[line["key"]] = line["value"]["effect"]

    def _on_submit(self, line):
        if line["r"] == "ok":
            self.jobs_of_key[line["key"]].add(line["value"]["job"])
            self.keys_of_job[line["value"]["job"]].add(line["key"])

    def _on_event(self, line):
        self.read[line["p"], line["key"]].append(line["value"])

    def _on_end(self, line):
        self.ended.add((line["p"], line["key"]))

    def _on_result(self, line):
        self.results[line["key"]].append((line["p"], line["value"]))

    def _on_list(self, line):
        self.listed[line["key"]] = line["value"]["status"]

    def of(self, op):
        return [line for line in self.lines if line["op"] == op]


@check
def nothing_lost(history):
    """accepted - terminal = nothing"""
    for job in sorted(history.accepted):
        events = history.finals.get(job)
        if events is None:
            yield f"job {job}: accepted, and unknown at the end"
        elif not any(event["type"] in TERMINAL for event in events):
            yield f"job {job}: accepted, never terminal (last: {events[-1]['type'] if events else 'no event'})"


@check
def nothing_doubled(history):
    """one terminal event per job, one job per key, no job that nobody asked for"""
    for job, events in sorted(history.finals.items()):
        terminals = [event["type"] for event in events if event["type"] in TERMINAL]
        if len(terminals) > 1:
            yield f"job {job}: {len(terminals)} terminal events: {', '.join(terminals)}"
    for key, jobs in sorted(history.jobs_of_key.items()):
        if len(jobs) > 1:
            yield f"key {key}: {len(jobs)} jobs: {', '.join(sorted(jobs))}"
    for job in sorted(set(history.listed) - history.accepted):
        yield f"job {job}: listed, but no client was told of it (a retry was taken for a new job)"


@check
def unique_ids(history):
    """one key per job, no stream id twice in a log"""
    for job, keys in sorted(history.keys_of_job.items()):
        if len(keys) > 1:
            yield f"job {job}: answers {len(keys)} keys: {', '.join(sorted(keys))}"
    for job, events in sorted(history.finals.items()):
        ids = [event["id"] for event in events]
        if len(set(ids)) != len(ids):
            yield f"job {job}: an event id is used twice"


@check
def all_accepted_listed(history):
    """the list after the drain has every accepted job, with a terminal status"""
    if not history.listed:
        return
    for job in sorted(history.accepted - set(history.listed)):
        yield f"job {job}: accepted, not in the list"
    for job, status in sorted(history.listed.items()):
        if status not in TERMINAL:
            yield f"job {job}: the list after the drain says {status}"


def sequence_faults(events):
    """The faults of one reader's view, which has to start with seq 1 and go on without gap or repeat."""
    wanted = 1
    for event in events:
        if event["seq"] != wanted:
            yield f"seq {event['seq']} where {wanted} was due"
            return
        wanted += 1
    for event in events[:-1]:
        if event["type"] in TERMINAL:
            yield f"{event['type']} (seq {event['seq']}) is not the last event"


@check
def readers_miss_nothing(history):
    """seq 1..n without gap or repeat over every reconnect, the terminal event last"""
    for (reader, job), events in sorted(history.read.items()):
        for fault in sequence_faults(events):
            yield f"job {job}, reader {reader}: {fault}"
        if (reader, job) in history.ended and (not events or events[-1]["type"] not in TERMINAL):
            yield f"job {job}, reader {reader}: told that it is done, without a terminal event"


@check
def readers_agree(history):
    """(job, seq) has the same bytes and the same id for every reader at every time"""
    first = {}
    for (reader, job), events in sorted(history.read.items()):
        for event in events:
            other, text = first.setdefault((job, event["seq"]), (reader, canonical(event)))
            if text != canonical(event):
                yield f"job {job}, seq {event['seq']}: {other} saw {text[:200]}, {reader} saw {canonical(event)[:200]}"


def attempt_faults(events):
    """Attempts go 1, 2, 3; after a newer `claimed` nothing of an older one; nothing of one that lost its lease."""
    claimed, over = 0, set()
    started = set()
    for event in events:
        kind, attempt = event["type"], event["attempt"]
        if kind == "claimed":
            if attempt != claimed + 1:
                yield f"attempt {attempt} claimed after attempt {claimed}"
            if claimed and claimed not in over:
                yield f"attempt {attempt} claimed while attempt {claimed} held the job"
            claimed = max(claimed, attempt)
        elif kind in ("lease_lost", "retried"):
            over.add(claimed)
        elif kind in OWNED and attempt != 0 and attempt < claimed:
            yield f"{kind} (seq {event['seq']}) of attempt {attempt} after attempt {claimed} was claimed"
        elif kind in OWNED and attempt in over and kind != "failed":
            yield f"{kind} (seq {event['seq']}) of attempt {attempt}, which had lost its lease"
        elif kind == "output" and claimed == 0:
            yield f"output (seq {event['seq']}) before any attempt"
        if kind == "started":
            if attempt in started:
                yield f"attempt {attempt} started twice"
            started.add(attempt)


@check
def attempts_fenced(history):
    """an attempt that lost its lease has no effect"""
    for job, events in sorted(history.finals.items()):
        for fault in attempt_faults(events):
            yield f"job {job}: {fault}"


@check
def times_monotonic(history):
    """the time of an event is never below that of the event before"""
    for job, events in sorted(history.finals.items()):
        for before, after in zip(events, events[1:]):
            if after["time"] < before["time"]:
                yield f"job {job}, seq {after['seq']}: time goes back"


@check
def one_result(history):
    """a terminal result is immutable: the same facts for every reader at every time"""
    for job, seen in sorted(history.results.items()):
        facts = collections.defaultdict(list)
        for reader, result in seen:
            if result.get("status") in TERMINAL:
                facts[canonical({name: result.get(name) for name in RESULT_FACTS})].append(reader)
        if len(facts) > 1:
            texts = "; ".join(f"{readers[0]}: {text[:160]}" for text, readers in sorted(facts.items()))
            yield f"job {job}: {len(facts)} different results: {texts}"


@check
def results_never_go_back(history):
    """once a reader saw a job terminal, it stays so"""
    for job, seen in sorted(history.results.items()):
        terminal = {}
        for reader, result in seen:
            if terminal.get(reader) and result["status"] != terminal[reader]:
                yield f"job {job}, reader {reader}: {terminal[reader]}, then {result['status']}"
            if result["status"] in TERMINAL:
                terminal[reader] = result["status"]


def output_of_last_attempt(events, stream="stdout"):
    last = max((event["attempt"] for event in events if event["type"] == "claimed"), default=0)
    return b"".join(event_bytes(event) for event in events
                    if event["type"] == "output" and event["attempt"] == last and event["stream"] == stream)


@check
def own_output_once(history):
    """a completed job has printed what it was asked to print, once: in its log and in its result"""
    for job, keys in sorted(history.keys_of_job.items()):
        expect = history.expect.get(min(keys))
        if expect is None:
            continue
        events = history.finals.get(job, [])
        if events and events[-1]["type"] == "completed" and output_of_last_attempt(events) != expect.encode():
            yield f"job {job}: its log has {output_of_last_attempt(events)[:80]!r} in place of {expect[:80]!r}"
        for reader, result in history.results.get(job, []):
            if result["status"] == "completed" and result["stdout"] != expect:
                yield f"job {job}, reader {reader}: result has {result['stdout'][:80]!r} in place of {expect[:80]!r}"


@check
def result_is_of_the_log(history):
    """the status of a result is the type of the log's terminal event"""
    for job, seen in sorted(history.results.items()):
        events = history.finals.get(job)
        if not events or events[-1]["type"] not in TERMINAL:
            continue
        for reader, result in seen:
            if result["status"] in TERMINAL and result["status"] != events[-1]["type"]:
                yield f"job {job}, reader {reader}: result {result['status']}, log {events[-1]['type']}"


class Effect:
    """A run that appends its token to a list in its session's state and counts there, and prints both as it found them."""

    def __init__(self, job, effect, events, results):
        self.job, self.events, self.results = job, events, results
        self.token, self.asked = effect["token"], effect["session"]
        self.session = events[0].get("session_id")
        self.completed = events[-1]["type"] == "completed"
        self.saved = [event for event in events if event["type"] == "state_saved"]
        self.kept = [event for event in events if event["type"] == "state_kept"]

    def found(self):
        """(counter, list) as its program printed them, or None."""
        try:
            told = json.loads(output_of_last_attempt(self.events))
            return told["counter"], told["done"]
        except (ValueError, KeyError, TypeError):
            return None


def effects_of(history):
    """session -> its runs with an effect, whatever became of them"""
    runs = collections.defaultdict(list)
    for key, effect in sorted(history.effects.items()):
        for job in sorted(history.jobs_of_key[key]):
            if history.finals.get(job):
                run = Effect(job, effect, history.finals[job], history.results[job])
                runs[run.session].append(run)
    return runs


def versions_of(runs):
    """version -> the runs that made it, with the event that says so"""
    made = collections.defaultdict(list)
    for run in runs:
        for event in run.saved:
            made[event["version"]].append((run, event))
    return made


@check
def states_are_a_chain(history):
    """the versions of a session's state are 1, 2, 3, ..., each made once, from the one before, by a run that completed"""
    for session, runs in sorted(effects_of(history).items()):
        made, time = versions_of(runs), 0
        for version in range(1, max(made, default=0) + 1):
            if len(made[version]) != 1:
                jobs = ", ".join(run.job for run, _ in made[version])
                yield f"session {session}: version {version} was made {len(made[version])} times ({jobs})"
            for run, event in made[version]:
                if event["base"] != version - 1:
                    yield f"session {session}: version {version} (job {run.job}) was made from version {event['base']}"
                if event["time"] < time:
                    yield f"session {session}: version {version} (job {run.job}) is older than the one before it"
                if not run.completed:
                    yield f"session {session}: version {version} is of job {run.job}, which ended as {run.events[-1]['type']}"
                time = event["time"]
    for line in history.of("versions"):
        told = [row["version"] for row in line["value"]]
        if told != list(range(max(told, default=0), min(told, default=1) - 1, -1)):
            yield f"session {line['key']}: it keeps versions {told}"
        for row in line["value"]:
            if row["base"] != row["version"] - 1:
                yield f"session {line['key']}: it keeps version {row['version']}, which was made from version {row['base']}"


def effect_faults(run, order):
    """What one completed run says of the state that it began with; `order` has the tokens of all versions."""
    said = run.saved + run.kept
    if len(said) != 1:
        yield f"tells {len(said)} times what became of its state"
        return
    base = said[0]["base"] if run.saved else said[0]["version"]
    if run.found() != (base, order[:base]):
        yield f"began with version {base}, and found {run.found()} in place of {(base, order[:base])}"
    if run.kept and said[0]["reason"] in ("conflict", "session_gone"):
        yield f"its effect was refused ({said[0]['reason']}) in a session that nobody else changes"
    for reader, result in run.results:
        if result["status"] == "completed" and result["state_version"] != said[0]["version"]:
            yield f"reader {reader} was told of version {result['state_version']}, its log says {said[0]['version']}"


@check
def effects_once(history):
    """a run sees the effects of all that were committed in its session before it, once and in their order, and no others"""
    for session, runs in sorted(effects_of(history).items()):
        made = versions_of(runs)
        order = [made[version][0][0].token for version in sorted(made)]
        for run in runs:
            if run.asked not in (None, session):
                yield f"job {run.job}: asked for session {run.asked}, and ran in {session}"
            for fault in effect_faults(run, order) if run.completed else ():
                yield f"session {session}, job {run.job}: {fault}"
            if run.events[-1].get("reason") == "state_invalid":
                yield f"session {session}, job {run.job}: the state that it was to begin with cannot be read"


@check
def honest_answers(history):
    """in trouble the answer is 503 or 429 with Retry-After, and it ends: nothing else, and not for ever"""
    for line in history.of("strange"):
        yield f"{line['key']}: answered {line['value']['status']} {line['value']['body'][:200]}"
    for line in history.of("gave_up"):
        yield f"{line['key']}: no good answer in time (last: {line['value']})"


@check
def nothing_left(history):
    """no pod, cgroup, mount, process or key is left"""
    for line in history.of("residue"):
        for what in line["value"]:
            yield f"left behind: {what}"


def find(history, names=None):
    """All findings as (check, sentence)."""
    return [(name, sentence) for name in (names or CHECKS) for sentence in CHECKS[name](history)]


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def recovery_times(history):
    """Seconds from each kill to the next operation that a client saw succeed, by kind."""
    waiting, times = [], collections.defaultdict(list)
    for line in sorted(history.lines, key=lambda line: line["t"]):
        if line["op"] == "kill":
            waiting.append((line["key"], line["t"]))
        elif line["op"] in ("submit", "result") and line["r"] == "ok":
            for kind, since in waiting:
                times[kind].append(line["t"] - since)
            waiting = []
    return times


def summary(history):
    """What the run did, for people."""
    ends = collections.Counter(events[-1]["type"] if events else "nothing" for events in history.finals.values())
    retried = sum(any(event["type"] == "retried" for event in events) for events in history.finals.values())
    unknown = sum(line["r"] == "info" for line in history.of("submit"))
    yield (f"jobs: {len(history.accepted)} accepted, {', '.join(f'{n} {name}' for name, n in sorted(ends.items()))}; "
           f"{retried} retried; {unknown} submissions without an answer, repeated by key")
    sessions = effects_of(history)
    yield (f"states: {sum(len(versions_of(runs)) for runs in sessions.values())} versions in {len(sessions)} sessions, by "
           f"{sum(len(runs) for runs in sessions.values())} runs")
    yield f"events read: {sum(map(len, history.read.values()))} by {len(history.read)} readers"
    kills = collections.defaultdict(lambda: [0, 0])
    for line in history.of("kill"):
        kills[line["key"]][bool(line["value"].get("counted"))] += 1
    for kind, (idle, counted) in sorted(kills.items()):
        yield f"kills of {kind}: {counted} with a job in flight there ({idle} without, not counted)"
    for kind, times in sorted(recovery_times(history).items()):
        yield (f"recovery after {kind}: p50 {percentile(times, .5):.2f} s, "
               f"p90 {percentile(times, .9):.2f} s, max {max(times):.2f} s")


def main(arguments):
    history = History.load(arguments[1])
    for text in summary(history):
        print(text)
    findings = find(history)
    for name, sentence in findings:
        print(f"FOUND {name}: {sentence}")
    print(f"{len(findings)} findings in {len(history.lines)} operations")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
