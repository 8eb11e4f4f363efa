# SPDX-License-Identifier: Apache-2.0
"""A154: honest programs of every language through the whole service: none is killed, refused or told EPERM. What they covered is
printed and held against the floors of tests/counts.json, so that a corpus that shrinks fails. (System calls are counted with strace, of
the same programs outside a pod: what they need does not depend on where they run.)"""
import collections
import concurrent.futures
import pathlib
import re
import subprocess
import sys

import pytest

import good_programs as good

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "faults"))
from counts import TABLE, count  # noqa: E402

FLOORS = TABLE["good_floors"]
# What tight pods elsewhere have been known to kill.
NAMED = {"threads", "many threads", "multiprocessing", "process pool", "subprocess", "sqlite", "temporary files", "numpy", "pandas", "matplotlib", "scipy",
         "learning"}
# What strace needs besides: the programs find their own names below /tmp and are not in each other's way, nor, with semaphores and
# queues, in that of others who look for what pods left on this host.
TRACE = ('mount -t tmpfs tmpfs /tmp && exec strace -f -qq --seccomp-bpf -o "$0" timeout 60 "$@"')


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    from system import System
    made = System(tmp_path_factory.mktemp("good"), env={"MAX_EXECUTION_TIME": "60"})
    yield made
    code, left = made.stop(), made.residue()
    assert code == 0 and left == []


def ask(api, program):
    answer = api.post("/exec", json={"lang": program.lang, "code": program.code})
    return program, answer.status_code, answer.json()


def fault(program, status, body):
    """What was not as it should be, or None."""
    if status != 200:
        return f"{program.lang} {program.sections}: {status} {body}"
    ended = (body["job_status"], body["exit_code"], body["stdout"], body["stderr"])
    return None if ended == ("completed", 0, "good\n", "") else f"{program.lang} {program.sections}: {ended}\n{program.code}"


@pytest.mark.timeout(3600)
def test_good_programs(service):
    from contract import Api
    programs = good.generate(count("good_programs"), good.SEED)
    with concurrent.futures.ThreadPoolExecutor(2) as two, Api(service) as api:
        results = list(two.map(lambda p: ask(api, p), programs))
    faults = [f for f in (fault(*result) for result in results) if f]
    imports = set().union(*(good.imports(p) for p in programs))
    languages = collections.Counter(p.lang for p in programs)
    print(f"\ngood programs: {len(programs)} distinct, seed {good.SEED}; languages {len(languages)} "
          f"({' '.join(f'{l} {n}' for l, n in languages.most_common())}; floor {FLOORS['languages']}); "
          f"imports {len(imports)} (floor {FLOORS['imports']}); false kills {len(faults)}")
    assert not faults, f"{len(faults)} of {len(programs)} (seed {good.SEED}):\n" + "\n".join(faults[:5])
    assert len({p.code for p in programs}) == len(programs)
    assert len(languages) >= FLOORS["languages"] and len(imports) >= FLOORS["imports"]
    assert set().union(*(p.sections for p in programs if p.lang == "py")) >= NAMED


def traced(folder, program, number):
    home = folder / str(number)
    home.mkdir()
    (home / good.COMMANDS[program.lang][1]).write_text(program.code)
    log = home / "trace"
    done = subprocess.run(["unshare", "-m", "-i", "/bin/sh", "-c", TRACE, str(log), *good.COMMANDS[program.lang]], cwd=home,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert log.exists(), done.stderr
    return set(re.findall(r"^\d+ +([a-z_0-9]+)\(", log.read_text(errors="replace"), re.M))


def test_system_calls_that_they_need():
    """One of each section of the languages that run in a process of their own."""
    import tempfile
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, concurrent.futures.ThreadPoolExecutor(2) as two:
        programs = [p for p in good.generate(sum(len(good.sections(l)) for l in good.COMMANDS), good.SEED, list(good.COMMANDS))]
        calls = set().union(*two.map(lambda numbered: traced(pathlib.Path(name), numbered[1], numbered[0]), enumerate(programs)))
    print(f"\ngood programs: {len(programs)} traced, {len(calls)} distinct system calls (floor {FLOORS['system_calls']})")
    assert len(calls) >= FLOORS["system_calls"], sorted(calls)
