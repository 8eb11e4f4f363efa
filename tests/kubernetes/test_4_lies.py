# SPDX-License-Identifier: Apache-2.0
"""Pods whose runner lies (liar.c), and images that are not as they should be: each run ends with a reason of its own, and the
worker goes on as before."""
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys

import pytest

import kubeimages
from system import BUILD, ROOT

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / part) for part in ("faults", "integration")]
import plant as plants  # noqa: E402
from test_worker_runs import call, events, run  # noqa: E402

NAMESPACE = "lies"
RUNNER = "usr/lib/millrace/millrace-runner"
LIAR, LINKED = "millrace.test/liar:1", "millrace.test/linked:1"
LIES = {"bash": "garbage", "js": "oversized", "go": "out of turn", "php": "silent", "r": "refusing"}
ENV = {
    "POD_BACKEND": "kubernetes", "K8S_NAMESPACE": NAMESPACE, "POD_POOL_PY": "1", "POD_POOL_JS": "0", "POD_POOL_BASH": "0",
    "K8S_IMAGES": ",".join([*(f"{lang}={LIAR}" for lang in LIES), f"c={LINKED}", f"d={kubeimages.reference('bash')}"]),
}


def image(folder, name, program, needs=(), link=False):
    """An archive that holds one static program as the runner."""
    root = folder / name.replace("/", "-").replace(":", "-")
    for path in (RUNNER, *needs):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, root / path)
    (root / "tmp").mkdir()
    (root / "mnt").mkdir()
    if link:
        (root / "elsewhere").mkdir()
        (root / "mnt/data").symlink_to("/elsewhere")
    else:
        (root / "mnt/data").mkdir()
    archive = folder / f"{root.name}.tar"
    subprocess.run([ROOT / "tools" / "oci", "--name", name, "--output", archive, "--entrypoint", f"/{RUNNER}", "--user", "65532:65532", root],
                   check=True, capture_output=True, timeout=120)
    return archive


@pytest.fixture(scope="module")
def plant(kubernetes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lies")
    given = kubeimages.pods_of(kubernetes, tmp_path_factory.mktemp("images"))["env"]
    kubernetes.namespace(NAMESPACE)
    kubernetes.import_images(image(folder, LIAR, BUILD / "kubernetes" / "kube_liar"),
                             image(folder, LINKED, BUILD / "bin" / "millrace-runner", needs=["usr/bin/gcc", "usr/include/stdio.h"], link=True))
    made = plants.Plant(folder / "plant", apis=1, workers=1, env={**given, **ENV})
    ready = made.wait_ready
    made.wait_ready = lambda: ready(120)
    with made:
        yield made
    assert made.crashes == []


@pytest.fixture(scope="module")
def answers(plant):
    """Of one run in every language, side by side: pods that cannot be had are tried again with a growing pause."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        begun = {lang: pool.submit(call, plant, "POST", "/exec", {"lang": lang, "code": "1", "timeout_ms": 2000}, 250) for lang in [*LIES, "c", "d"]}
        return {lang: one.result()[1] for lang, one in begun.items()}


@pytest.mark.parametrize("lang, reason", [
    ("bash", "pod_protocol"), ("js", "pod_protocol"), ("go", "pod_protocol"), ("r", "no_pod"), ("c", "image_unavailable"), ("d", "image_unavailable"),
])
def test_a_run_is_told_why(plant, answers, lang, reason):
    """It is tried again in another pod, and each attempt has its reason: the program had not started."""
    told = events(plant, answers[lang]["job_id"])
    assert answers[lang]["job_status"] in ("dead", "failed") and reason in {event.get("reason") for event in told}, told


@pytest.mark.parametrize("path, why", [("/mnt/data", "is a link in this image"), ("/usr/bin/ldc2", "is missing in this image")])
def test_an_image_is_refused_by_name(plant, answers, path, why):
    """In the log, which keeps it; /health/kubernetes has what was newest."""
    assert answers and f"{path}: {why}" in plant.of("spawner")[0].log.read_text()


def test_a_silent_pod_has_the_time_of_a_run(answers):
    assert answers["php"]["job_status"] == "timed_out", answers["php"]


def test_the_worker_goes_on(plant, answers):
    worker = plant.of("spawner")[0]
    assert answers and run(plant, "print(1)")["stdout"] == "1\n"
    assert worker.generation == 1 and worker.alive()
