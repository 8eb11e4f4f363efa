# SPDX-License-Identifier: Apache-2.0
"""Set-up fails closed: every call that makes a pod, one after the other, fails once with an error, until a run goes through without one.
No instruction of the user's runs then, the asker is told why, the spawner lives, the next program runs and nothing is left. A call
whose failure is passed over is in the list of set_up.py with its reason; one that is in no list fails here, so a new step
is tried without anybody having thought of it."""
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import place as place_module
import pods
import pytest
import set_up
from system import wait_until

sys.path.insert(0, str(set_up.ROOT / "tests" / "faults"))
from counts import count  # noqa: E402

STEPS_MAX = 1000
POOLED_FDS = 60  # what a handful of idle cgroups and network namespaces more may hold open
WARM = {"template_pod", "forked"}
# What a waiting interpreter is given: its file and its program.
CANARIES = {
    "js": ("main.js", "console.log('canary')"),
    "ts": ("main.ts", "const word: string = 'canary';\nconsole.log(word)"),
    "bash": ("main.sh", "echo canary"),
    "php": ("main.php", "<?php echo 'canary', PHP_EOL;"),
    "r": ("main.r", "cat('canary\\n')"),
    "java": ("Main.java", "class Main { public static void main(String[] a) { System.out.println(\"canary\"); } }"),
}
# Programs of the build; the runner of a container, whose set-up is its engine's; and the libraries of what runs in a pod.
NOT_OURS = re.compile(r"filter_dump|millrace-runner\.dir|/java|/bash|gcda")


@pytest.fixture(scope="module")
def folder():
    """One that the helper, an ordinary id, comes into as well."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="millrace-set-up-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module", params=["privileged", "rootless"])
def stand(request, build, folder):
    switch = set_up.Switch(build, folder / "switch")
    made = place_module.Place(build, request.param == "privileged", switch.environment)
    yield made, switch
    switch.disarm()
    made.close()


def errors(step):
    """All of them in a soak; else each step has one, and neighbours have different ones."""
    all_of_them = set_up.ERRORS
    return all_of_them if count("set_up_errors") == len(all_of_them) else all_of_them[step % len(all_of_them):][:1]


def one_run(session, scope, at, kind):
    """With limits that no pod had before, so that all are set anew."""
    if scope == "launcher":
        name, code = CANARIES[kind]
        return session.run(["/bin/bash", name] if kind == "bash" else [], kind=kind, name=name, code=code, memory=512 << 20)[0]
    limits = dict(memory=(64 + at % 2 * 64 + at) << 20, pids=100 + at, cpu_millis=1000 + at)
    if scope in WARM:
        return session.run([], kind="py", name="main.py", code="print('canary')", tries=1, **limits)[0]
    return session.run(["/bin/echo", "canary"], kind="cold", **limits)[0]


def ended(made, session):
    """The spawner of this session ended, and left nothing."""
    session.process.stdin.close()
    assert session.process.wait(60) != 0
    session.process.stdout.close()
    made.sessions.clear()
    groups = pods.cgroups_below(made.groups)
    assert not [g for g in groups if pods.name_of(session.state) in g]


def try_step(made, switch, scope, at, error, kind=None):
    """False: there are not so many steps."""
    session = made.session()
    if scope in WARM:
        session.normal()  # a template that was lost is up again
    processes = session.processes()
    every_call = (count("set_up_errors") > 1 and kind is None) or (scope == "first" and made.privileged)  # so each mount
    switch.arm(scope, at, error, once=not every_call)
    try:
        facts = one_run(session, scope, at, kind)
    except (AssertionError, BrokenPipeError):
        assert switch.shared.hit and switch.listed(scope, set_up.ENDS_ALL), (scope, at, error, switch.step(scope))
        ended(made, session)
        return True
    finally:
        switch.disarm()
    what = scope, at, error, facts, *switch.step(scope)
    if not switch.shared.hit or (switch.shared.ran_after_hit and switch.listed(scope, set_up.PASSED_OVER)) or (
            facts["stdout"] and switch.listed(scope, set_up.PASSED_OVER)):
        assert (facts["stdout"], facts["error"], facts["exit"]["exit_code"]) == (b"canary\n", "", 0), what
    else:
        assert not switch.shared.ran_after_hit, what
        assert facts["stdout"] == b"" and facts["error"] and "exit" not in facts, what
    wait_until(f"the end of what was made with {what}", lambda: session.processes() <= processes, 30)
    return bool(switch.shared.hit)


@pytest.mark.parametrize("scope", ["spawner_pod", "helper_pod", "template_pod", "first", "program", "forked"])
def test_no_step_of_a_pod_is_passed_over(stand, scope):
    made, switch = stand
    before = made.session().own()
    for at in itertools.count(1):
        assert at < STEPS_MAX
        tried = [try_step(made, switch, scope, at, error) for error in errors(at)]
        if not any(tried):
            break
    print(f"{scope}: {at - 1} steps")
    assert at > 4
    session = made.session()
    session.normal()
    session.normal("cold")
    after = session.settled()
    assert len(after["processes"]) == len(before["processes"])
    assert after["in cgroups"] == [] and after["net namespaces"] == before["net namespaces"]
    mounts = [sorted(m.count("\n") for m in what["mounts"]) for what in (before, after)]
    assert mounts[0] == mounts[1]
    assert sum(after["descriptors"]) <= sum(before["descriptors"]) + POOLED_FDS


TRIED = set()  # places of the launchers and of a template's start, whatever the kind and the privilege


def places_of(switch, scope, run):
    """Which of its calls are to fail: in a soak each, else those whose place in the code none has tried yet."""
    switch.arm(scope, 0, once=True)
    run()
    sites = list(switch.shared.sites[:switch.shared.sites_n])
    switch.disarm()
    assert len(sites) > 4
    new = [at for at, site in enumerate(sites, 1) if count("set_up_errors") > 1 or (scope, site) not in TRIED]
    TRIED.update((scope, site) for site in sites)
    print(f"{scope}: {len(new)} of {len(sites)} places")
    return new


@pytest.mark.parametrize("kind", CANARIES)
def test_no_step_of_a_launcher_is_passed_over(stand, kind):
    """An interpreter that waits for its program, and the mediator that hands it over; the other kinds work all the while."""
    made, switch = stand

    def run():
        assert one_run(made.session(), "launcher", 0, kind)["stdout"] == b"canary\n"
    for at in places_of(switch, "launcher", run):
        for error in errors(at):
            assert try_step(made, switch, "launcher", at, error, kind)
        made.session().normal("cold")
    made.session().normal()


def kill_template(session):
    os.kill(next(p for p in place_module.descendants(session.process.pid)
                 if "\0--set\0bare\0" in place_module.readable(f"/proc/{p}/cmdline")), signal.SIGKILL)


def test_no_step_of_a_templates_start_is_passed_over(stand):
    """It is killed and started again, each time with another call that fails; then the interpreter does not begin, and the start after that is good."""
    made, switch = stand
    session = made.session()

    def start_again():
        ready = session.told("a template is ready")
        kill_template(session)
        wait_until("a template is ready again", lambda: session.told("a template is ready") > ready, 60)
    session.normal()
    for at in places_of(switch, "template_exec", start_again):
        switch.arm("template_exec", at, errors(at)[0], once=True)
        start_again()
        switch.disarm()
        assert switch.shared.hit
        assert not switch.shared.ran_struck or switch.listed("template_exec", set_up.PASSED_OVER), (at, switch.step("template_exec"))
        session.normal()


def test_a_template_that_cannot_start_is_tried_again_after_a_growing_pause(stand):
    made, switch = stand
    session = made.session()
    session.normal()
    switch.arm("template_exec", set_up.EVERY)
    began = time.monotonic()
    kill_template(session)
    wait_until("it was tried four times", lambda: switch.shared.count >= 4, 60)
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4 + 0.8  # a late look makes it longer only
    facts = session.run([], kind="py", name="main.py", code="print('canary')", tries=1)[0]
    assert "template" in facts["error"] and facts["stdout"] == b""
    session.normal("cold")
    name, code = CANARIES["php"]
    assert session.run([], kind="php", name=name, code=code)[0]["stdout"] == b"canary\n"
    switch.disarm()
    session.normal()


@pytest.fixture
def alone(build, folder):
    """A spawner of its own each time, whose worker is a canary."""
    switch = set_up.Switch(build, folder / "switch")
    state = folder / "spawner"
    state.mkdir()

    def start(kinds="cold", worker=("/bin/echo", "canary")):
        env = dict(os.environ, LOG_FORMAT="json", MILLRACE_TEST_KINDS=kinds, **switch.environment)
        return subprocess.run([build / "bin" / "millrace-spawner", "--state", state, "--", *worker], env=env, capture_output=True,
                              timeout=60)

    yield start, switch
    pods.wait_until_gone(state)
    shutil.rmtree(state)


@pytest.mark.parametrize("scope", ["spawner_start", "helper_exec", "helper_start", "worker"])
def test_no_step_of_the_start_is_passed_over(alone, scope):
    """Each place in the code once: the rows of the root file system are applied by the same few."""
    start, switch = alone
    for at in itertools.count(1):
        assert at < STEPS_MAX
        switch.arm(scope, at, errors(at)[0], once=True)
        done = start()
        what = scope, at, switch.step(scope), done
        if not switch.shared.hit or (done.returncode == 0 and switch.listed(scope, set_up.PASSED_OVER)):
            assert (done.returncode, done.stdout) == (0, b"canary\n"), what
        else:
            assert done.returncode != 0, what
            assert done.stdout == b"" or scope == "spawner_start", what  # whose last steps come behind the worker's start
        if not switch.shared.hit:
            break
    switch.disarm()
    print(f"{scope}: {at - 1} places")
    assert at > 4


def test_every_call_of_the_set_up_is_in_a_list(build):
    """What the objects of our set-up take from outside: wrapped, so that it fails above, or named with its reason."""
    objects = [str(o) for folder in ("worker/spawner", "worker/runner", "worker/templates", "lib/base")
               for o in (build / folder).rglob("*.o") if not NOT_OURS.search(str(o))]
    rows = [line.split() for line in subprocess.run(["nm", *objects], capture_output=True, text=True, check=True).stdout.splitlines()]
    own = {row[2] for row in rows if len(row) == 3}
    taken = {row[1] for row in rows if len(row) == 2 and row[0] in "Uw"} - own
    ours = {name for name in taken if name.startswith(("_Py", "Py", "__real_", "__wrap_", "__ehdr", "_GLOBAL", "__asan", "__ubsan"))}
    named = set(" ".join(set_up.NOT_FAILED.values()).split())
    assert taken - ours - set(set_up.WRAPPED) - named == set()
    assert named.isdisjoint(set_up.WRAPPED)
