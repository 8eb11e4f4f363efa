# SPDX-License-Identifier: Apache-2.0
"""The attacks of hazards/attacks.py through the api, so that they run in pods of a cluster: what an answer says, as their facts."""
import base64
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "hazards"))
import attacks  # noqa: E402

ENDS = {"oom": "memory", "output_limit": "output", "pids_limit": "pids"}
LIMITS = {"wall_ms": "timeout_ms", "cpu_ms": "cpu_ms", "pids": "max_pids", "output": "max_output_bytes", "nofile": "max_open_files",
          "stdin": "stdin"}


def end_of(body):
    if body["job_status"] == "completed":
        return "own"
    return ENDS.get(body["reason"], body["reason"]) if body["job_status"] == "failed" else body["limit"]


def stream(body, name):
    exact = body.get(f"{name}_base64")
    return base64.b64decode(exact) if exact else body[name].encode()


def facts(body):
    return {"stdout": stream(body, "stdout"), "stderr": stream(body, "stderr"), "error": "", "done": True,
            "exit": {"end": end_of(body), "exit_code": body["exit_code"] if body["exit_code"] is not None else -1,
                     "signal": signal.Signals[body["signal"]].value if body["signal"] else 0},
            "usage": {"oom_kills": int(body["oom"])}}


def run(api, attack):
    lang, code = ("bash", attack.code) if attack.kind == "bash" else ("py", attacks.PRELUDE + attack.code)
    more = {LIMITS[name]: value for name, value in attack.options.items() if name in LIMITS}
    return facts(api.exec(lang, code, **({"state": False} if lang == "py" else {}), **more))


COUNTED = "processes are counted: the run ends as pids_limit, no fork fails (test_4_differences.py)"
THE_PODS = "memory of a run is the pod's (test_4_differences.py)"
SIZES = "volumes of a pod have a size and no number of files, and the size is the setting's"
FILES = "integration/test_7_files.py runs there"
DIFFERENT = {
    **{str(attack): FILES for attack in attacks.ROWS if attack.options.get("collect")},
    "A17-a tree of 1,000 levels": "integration/test_7_files.py has one",
    "A18-100,000 empty files": SIZES,
    "A18-10,000 folders": SIZES,
    "A32-a bomb that the guest unpacks": SIZES,
    "A34-the quota exactly full and a byte more": SIZES,
    "A36-both streams at once from two threads": "an answer has more than the program's bytes when they are cut",
    "A52-children that write on after the deadline": "more output than a request may ask for",
    "A56-a thread bomb": COUNTED,
    "A56-a fork bomb": COUNTED,
    "A56-clone with CLONE_PARENT": COUNTED,
    "A57-a daemon, twice forked": "asks a counter that only local pods have; integration/test_1_walk.py has one",
    "A64-the inside of PID 1": "its names are seen, its inside is closed (test_4_differences.py)",
    "A66-zombies that nobody waits for": COUNTED,
    "A77-into another cgroup": "the cluster shows the pod's own, read-only",
    "A80-memory for ever": THE_PODS,
    "A81-a child out of memory": THE_PODS,
    "A84-what the last one left in memory": THE_PODS,
    "A85-memory files": THE_PODS,
    "A86-shared memory left behind": THE_PODS,
    "A92-names that are not there": THE_PODS,
    "A94-a stack without end": THE_PODS,
    "A98-half as much again as there is": THE_PODS,
    "A122-release_agent": "the cluster shows the pod's own, read-only",
    "A126-code from /tmp and /dev/shm": "a volume of a pod cannot be made so that nothing of it is executed",
    "A126-a library ahead of all others": "a volume of a pod cannot be made so that nothing of it is executed",
    "A129-tokens and sockets of the host": "lists /run, which is the image's and empty; no token is there (the row's other lines)",
}
# Without ours the engine's own profile and limits still stop these: no control of ours shows anything.
STOPPED_TWICE = {"A78-the clock", "A118-kernel settings", "A88-descriptors in unread sockets", "A88-a thousand pipes", "A89-watches and timers without end", "A100-nested user namespaces", "A101-clone3, and threads all the same",
                 "A102-into a namespace", "A104-handles instead of names", "A106-a key for the next one",
                 "A126-a program without a file has no more rights than its maker"}
OURS = {"seccomp", "landlock", "rlimits"}
# What the check has time for besides those that have a control; --whole runs all.
ALWAYS = {"A37", "A50", "A58", "A60", "A65", "A68", "A118", "A146", "A150"}


ROWS = [attack for attack in attacks.ROWS if str(attack) not in DIFFERENT]
CONTROLS = [attack for attack in ROWS if OURS & {*attack.off} and str(attack) not in STOPPED_TWICE]


def is_checked(attack):
    return attack in CONTROLS or attack.id in ALWAYS
