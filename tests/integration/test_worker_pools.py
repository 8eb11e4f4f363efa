# SPDX-License-Identifier: Apache-2.0
"""The pools of ready pods: a damaged package set, idle pods that die, sizes of 0, what a program finds imported."""
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import urllib.request

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / folder) for folder in ("faults", "hazards")]
import plant as plants  # noqa: E402
import set_up  # noqa: E402
from test_worker_runs import run  # noqa: E402

NUMPY = pathlib.Path("/usr/lib/python3/dist-packages/numpy/__init__.py")
SHOWN, LARGE = pathlib.Path("/usr/lib/os-release"), 24 << 20
DAMAGED = "raise RuntimeError('damaged by a test')\n"


def start(folder, command=None, **env):
    made = plants.Plant(folder, apis=1, workers=1, env=env)
    if command:
        made.of("spawner")[0].command[:0] = command
    return made


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    """A worker in whose file system numpy is another file, which can be damaged and repaired."""
    folder = tmp_path_factory.mktemp("pools")
    own, large = folder / "numpy.py", folder / "large"
    own.write_text(DAMAGED)
    large.write_bytes(bytes(LARGE))
    shown = f'mount --bind {own} {NUMPY} && mount --bind {large} {SHOWN} && exec "$@"'
    with start(folder / "plant", ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", shown, "sh"],
               POD_POOL_PY="2", POD_POOL_PY_SCIENCE="1", POD_POOL_JS="1") as made:
        made.numpy, made.large = own, large
        yield made
    assert made.residue() == []
    assert made.crashes == []


def worker(plant):
    return plant.of("spawner")[0]


def health(plant):
    with urllib.request.urlopen(worker(plant).url + "/health", timeout=60) as answer:
        return json.loads(answer.read())["pools"]


def metric(plant, name, lang="py"):
    return plants.metric(worker(plant), f'millrace_{name}{{lang="{lang}"}}') or 0


def test_1_a_damaged_package_set_is_told_and_the_others_work(plant):
    told = plants.wait_until("the failure is told", lambda: "damaged" in (now := health(plant)["py-science"])["why"] and now)
    assert told["ready"] == 0 and told["failures"] > 0 and told["why"] == "RuntimeError: damaged by a test"
    assert metric(plant, "pool_failing") == 1 and metric(plant, "pool_failing", "js") == 0
    lost = [r for r in plants.log_records(worker(plant)) if r.get("kind") == "py-science" and "template" in r["message"]]
    assert lost and "damaged by a test" in lost[0]["why"]
    assert run(plant, "print(1)")["stdout"] == "1\n"
    assert run(plant, "console.log(2)", "js")["stdout"] == "2\n"
    assert run(plant, "echo 3", "bash")["stdout"] == "3\n"
    fallbacks = metric(plant, "pool_fallbacks_total")
    body = run(plant, "import sys\nprint(4)\nimport numpy")
    assert body["stdout"] == "4\n" and body["stderr"].endswith("RuntimeError: damaged by a test\n")
    assert body["job_status"] == "completed" and body["exit_code"] == 1
    assert metric(plant, "pool_fallbacks_total") == fallbacks + 1


def test_2_what_was_repaired_comes_back(plant):
    plant.numpy.write_text(NUMPY.read_text())
    plants.wait_until("the package set is ready", lambda: health(plant)["py-science"]["ready"] == 1, 60)
    assert health(plant)["py-science"]["why"] == "" and metric(plant, "pool_failing") == 0
    fallbacks = metric(plant, "pool_fallbacks_total")
    assert run(plant, "import numpy\nprint(int(numpy.ones(5).sum()))")["stdout"] == "5\n"
    assert metric(plant, "pool_fallbacks_total") == fallbacks


def test_3_the_packages_are_there_only_where_they_are_imported(plant):
    loaded = "import sys\nprint('numpy' in sys.modules)\n"
    assert run(plant, loaded)["stdout"] == "False\n"
    plants.wait_until("a pod is ready", lambda: health(plant)["py-science"]["ready"] == 1)
    assert run(plant, loaded + "if 0: import pandas\n")["stdout"] == "True\n"


def test_4_randomness_is_each_programs_own(plant):
    code = "import numpy, random, uuid, tempfile\nprint(numpy.random.rand(), random.random(), uuid.uuid1(), tempfile.mktemp())"
    drawn = [run(plant, code)["stdout"].split() for _ in range(4)]
    assert all(len(set(column)) == 4 for column in zip(*drawn))


def forget(file):
    """The system has nothing of it in memory."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_5_a_run_is_not_told_of_what_earlier_ones_read(plant):
    """What a program reads is charged to who reads it first, and stays so: in cgroups that later pods get."""
    for _ in range(4):
        forget(plant.large)
        body = run(plant, f"cat {SHOWN} | wc -c", "bash")
        assert body["stdout"] == f"{LARGE}\n" and body["usage"]["memory_peak_bytes"] > LARGE
    peaks = [run(plant, f"print({n})")["usage"]["memory_peak_bytes"] for n in range(24)]
    assert max(peaks) < LARGE / 2, peaks


def programs(plant):
    """Pids of programs that wait, by their runner's pid."""
    tree = plants.descendants(worker(plant).pid)
    runners = {pid for pid, (name, _, _) in tree.items() if name.startswith("millrace-runne")}
    return {pid: parent for pid, (_, state, parent) in tree.items() if parent in runners and state != "Z"}


def is_full(plant):
    return all(pool["ready"] == pool["size"] for pool in health(plant).values() if not pool["missing"])


def test_6_idle_pods_that_die_are_made_again(plant):
    plants.wait_until("the pools are full", lambda: is_full(plant), 60)
    killed = programs(plant)
    assert len(killed) >= 4
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    plants.wait_until("they are full again, with others", lambda: is_full(plant) and
                      len(set(programs(plant)) - set(killed)) >= len(killed), 60)
    assert run(plant, "print(5)")["stdout"] == "5\n"


def test_7_a_claimed_pod_that_is_dead_is_replaced(plant):
    """The runners stand still, so that nobody learns that their programs are dead before a run has claimed one."""
    plants.wait_until("the pools are full", lambda: is_full(plant), 60)
    killed = programs(plant)
    hits, replaced = metric(plant, "pool_hits_total"), plants.metric(worker(plant), "millrace_pods_replaced_total") or 0
    for runner in set(killed.values()):
        os.kill(runner, signal.SIGSTOP)
    try:
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(run, plant, "print(6)")
            plants.wait_until("a pod is claimed", lambda: metric(plant, "pool_hits_total") > hits)
            for runner in set(killed.values()):
                os.kill(runner, signal.SIGCONT)
            body = answer.result(60)
    finally:
        for runner in set(killed.values()):
            try:
                os.kill(runner, signal.SIGCONT)
            except ProcessLookupError:
                pass  # its pod was destroyed meanwhile
    assert (body["stdout"], body["stderr"], body["job_status"]) == ("6\n", "", "completed"), body
    assert (plants.metric(worker(plant), "millrace_pods_replaced_total") or 0) > replaced


def test_8_pools_of_size_0_are_made_on_demand(tmp_path):
    sizes = {name: "0" for name in ("POD_POOL_PY", "POD_POOL_PY_SCIENCE", "POD_POOL_JS", "POD_POOL_BASH", "POD_POOL_JAVA")}
    with start(tmp_path / "plant", **sizes) as made:
        assert all(pool["ready"] == 0 for pool in health(made).values() if pool["size"] == 0)
        for lang, code in (("py", "print(7)"), ("py", "import numpy; print(7)"), ("js", "console.log(7)"), ("bash", "echo 7")):
            assert run(made, code, lang)["stdout"] == "7\n"
        assert metric(made, "pool_misses_total") == 2 and metric(made, "pool_hits_total") == 0
        assert metric(made, "pod_wait_seconds_count") == 2 and metric(made, "pod_wait_seconds_count", "js") == 1
    assert made.crashes == []


def test_9_interpreters_that_cannot_be_started_are_told_and_tried_again(tmp_path):
    """Every step of every launcher fails; what needs none of them works meanwhile, and their languages in a cold pod."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="millrace-launchers-"))
    folder.chmod(0o755)  # who is no one in a pod opens it too
    sizes = {name: "0" for name in ("POD_POOL_PY_SCIENCE", "POD_POOL_TS", "POD_POOL_R", "POD_POOL_JAVA")}
    switch = set_up.Switch(plants.ROOT, folder / "switch")
    try:
        switch.arm("launcher", set_up.EVERY)
        with start(tmp_path / "plant", POD_POOL_PHP="1", POD_POOL_JS="1", **sizes, **switch.environment) as made:
            for kind in ("php", "js"):
                told = plants.wait_until("it was tried four times", lambda: (now := health(made)[kind])["failures"] >= 4 and now, 60)
                assert told["ready"] == 0 and "ended before its job" in told["why"], told  # nor could it say why
            plants.wait_until("Python alone is ready", lambda: metric(made, "pool_failing") == 0, 60)
            assert metric(made, "pool_failing", "php") == 1
            for lang, code in (("py", "print(7)"), ("bash", "echo 7"), ("php", "<?php echo 7, PHP_EOL;"), ("js", "console.log(7)")):
                assert run(made, code, lang)["stdout"] == "7\n"
            switch.disarm()
            plants.wait_until("they are ready", lambda: all(health(made)[kind]["ready"] == 1 for kind in ("php", "js")), 120)
            assert run(made, "<?php echo 8, PHP_EOL;", "php")["stdout"] == "8\n"
        assert made.residue() == [] and made.crashes == []
    finally:
        shutil.rmtree(folder)
