# SPDX-License-Identifier: Apache-2.0
"""The attack list, row by row: each in a pod with every defence, with and without privilege; and, where one of ours stops it, with
that one off. After each: nothing is left, and a normal job runs (the fixture looks)."""
import json
import os
import pathlib
import random
import re
import subprocess
import sys

import pytest

import attacks
import attacks_names  # noqa: F401 (its rows are among the others)
import pods as module
from system import proc

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
sys.path.insert(0, str(TESTS / "faults"))
from counts import count  # noqa: E402


def run(place, attack, off=()):
    options = dict(attack.options, off=off, count=attack.count)
    if attack.hold_pods:
        options["hold_pods"] = True
    if attack.kind == "bash":
        facts = place.bash(attack.code, kind="bash", **options)
    elif attack.kind == "cold":
        facts = place.run(module.PYTHON, "-I", "main.py", name="main.py", code=attacks.PRELUDE + attack.code, **options)
    else:
        facts = place.warm(attacks.PRELUDE + attack.code, **options)
    return facts[-1] if attack.count > 1 else facts


@pytest.mark.parametrize("attack", attacks.ROWS, ids=str)
def test_attack(place, attack):
    facts = run(place, attack)
    assert facts["error"] == "" and attack.expect(facts), facts


@pytest.mark.parametrize("attack", [a for a in attacks.ROWS if a.off], ids=str)
def test_control(place, attack):
    facts = run(place, attack, attack.off)
    assert attack.harm(facts), facts


@pytest.mark.parametrize("attack", [a for a in attacks.ROWS if a.outside], ids=str)
def test_outside(tmp_path, attack):
    """What the kernel alone keeps from a pod: on the host, with its rights, the same program does it."""
    done = subprocess.run([module.PYTHON, "-I", "-c", attacks.PRELUDE + attack.code], cwd=tmp_path, capture_output=True, timeout=30)
    assert attack.outside({"stdout": done.stdout, "exit": {"exit_code": done.returncode}}), done


CALLS = """
import ctypes, json, os, signal
libc = ctypes.CDLL(None, use_errno=True)
told = {}
for n in list(range(0, 601)) + [0x7fffffff & ~0x40000000]:
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(2)
        ctypes.set_errno(0)
        got = libc.syscall(n, 0, 0, 0, 0, 0, 0)
        os.write(w, b"EPERM" if got == -1 and ctypes.get_errno() == 1 else b"ENOSYS" if got == -1 and ctypes.get_errno() == 38 else b"through")
        os._exit(0)
    os.close(w)
    if n in WAITS:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    told[n] = os.read(r, 10).decode() or "through"
    os.close(r)
print(json.dumps(told))
"""
WAITS = "{7, 23, 34, 56, 57, 58, 61, 130, 202, 247, 270, 271, 15, 16, 60, 231, 35, 230, 128, 37}"


def test_every_number_is_answered_as_the_golden_table_says(place):
    """A110: which calls are refused, unknown or let through. Through means: the filter let it; what came of it is the kernel's."""
    facts = place.python("WAITS = " + WAITS + CALLS, wall_ms=60000)
    told = json.loads(facts["stdout"])
    golden = HERE / "golden" / "syscalls.x86_64.json"
    if os.environ.get("MILLRACE_RECORD"):
        golden.write_text(json.dumps({w: [int(n) for n in told if told[n] == w] for w in ("EPERM", "ENOSYS")}, indent=None) + "\n")
    want = json.loads(golden.read_text())
    assert {w: [int(n) for n in told if told[n] == w] for w in ("EPERM", "ENOSYS")} == want


def test_without_the_filter_the_numbers_are_answered_otherwise(place):
    facts = place.python("WAITS = " + WAITS + CALLS, wall_ms=60000, off=("seccomp",))
    told = json.loads(facts["stdout"])
    refused = json.loads((HERE / "golden" / "syscalls.x86_64.json").read_text())["EPERM"]
    assert len([n for n in refused if told[str(n)] != "EPERM"]) > 20


@pytest.mark.timeout(36000)
def test_random_order(place):
    """A153: attacks in random order; after all of them nothing is left and nothing has grown. The seed replays the run."""
    seed = int(os.environ.get("MILLRACE_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    order = random.Random(seed)
    quick = [a for a in attacks.ROWS if a.options.get("wall_ms", 0) < 1000 and a.id not in ("A92",)]
    session = place.session()

    def memory():
        helper = next(p for p in place_pids(session) if b"podhelper" in proc(p, "cmdline"))
        return sum(int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{p}/status").read_text())[1])
                   for p in (session.process.pid, helper))
    for attack in order.sample(quick, 10):
        run(place, attack)
    before = memory()
    for _ in range(count("hazards_random")):
        attack = order.choice(quick)
        facts = run(place, attack)
        assert attack.expect(facts), (seed, attack, facts)
    place.check()
    assert memory() - before <= 512 + before // 100, "the spawner and its helper have grown"


def place_pids(session):
    from place import descendants
    return descendants(session.process.pid)


@pytest.mark.parametrize("name", ["json", "site", "sitecustomize", "usercustomize", "pickle", "encodings"])
def test_a_program_with_the_name_of_a_module_is_that_program(place, name):
    """A144: what waits for it imports nothing from its folder."""
    facts = place.warm("import os\nprint(*os.listdir())", name=f"{name}.py")
    assert (facts["stdout"], facts["stderr"], facts["exit"]["exit_code"]) == (f"{name}.py\n".encode(), b"", 0), facts


@pytest.mark.parametrize("kind", ["cold", "py", "bash"])
@pytest.mark.parametrize("name", ["../x.py", "/tmp/x.py", "sub/x.py", "..", "."])
def test_a_name_that_is_a_path_is_none(place, kind, name):
    """A148"""
    command = {"cold": [module.PYTHON, "-c", "print(1)"], "bash": ["/bin/bash", "-c", "echo 1"], "py": []}[kind]
    facts = place.run(*command, kind=kind, name=name, code="print(1)")
    assert facts["error"] and not facts["started"] and facts["stdout"] == b"", facts


def rows_of_readme():
    text = (HERE / "README.md").read_text()
    return re.findall(r"^\| (A\d+) \| (.*?) \| (.*?) \|$", text, re.M)


def test_the_list_is_whole_and_its_references_are_true():
    """Every row of the list names tests that exist, another suite's, or says why it is not for this backend."""
    rows = rows_of_readme()
    numbers = [int(r[0][1:]) for r in rows]
    assert numbers == [n for n in range(1, 155) if n % 4 != 3]  # as HARDENING.md numbers them
    ids = {a.id for a in attacks.ROWS}
    for name, _, where in rows:
        references = re.findall(r"`([\w/.]+)(?:::(\w+))?`", where)
        assert references or where.startswith(("not here: ", "not yet: ")), name
        assert ("`attacks.py`" in where) == (name in ids), f"{name}: attacks.py and this list differ"
        for file, test in references:
            path = next((p for p in (HERE / file, TESTS / file) if p.is_file()), None)
            assert path, f"{name}: no file {file}"
            assert not test or re.search(rf"\b{test}\b", path.read_text()), f"{name}: {file} has no {test}"
    assert ids <= {r[0] for r in rows}


def in_both_places(file, test):
    """test_attack and test_defence take a place, and so does every test that has the parameter; or it has both."""
    path = HERE / file
    return file in ("attacks.py", "test_pod_5_controls.py") or (
        path.is_file() and bool(re.search(rf"^def {test}\((?:place|rootless)\b", path.read_text(), re.M)))


def test_what_touches_a_pod_is_tried_with_privilege_and_without():
    for name, _, where in rows_of_readme():
        apart = where.startswith(("no pod: ", "not here: "))
        assert apart != any(in_both_places(*reference) for reference in re.findall(r"`([\w/.]+)(?:::(\w+))?`", where)), name


def test_every_attack_has_a_control_or_a_reason():
    """By number; no number with a control stands among those without."""
    controlled = {a.id for a in attacks.ROWS if a.off or a.outside}
    shown = {name for name, _, where in rows_of_readme() if "control" in where or "without_the_filter" in where}
    reasons = re.findall(r"A\d+", " ".join(re.findall(r"^\| ((?:A\d+ ?)+) \| [^|]+ \|$", (HERE / "README.md").read_text(), re.M)))
    assert len(reasons) == len(set(reasons))
    without = {name for name, _, _ in rows_of_readme()} - controlled - shown
    assert set(reasons) == without, sorted(set(reasons) ^ without)
