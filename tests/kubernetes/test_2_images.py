# SPDX-License-Identifier: Apache-2.0
"""The images that tools/images makes: what is in them, that two runs give the same, and that the cluster's pods run them."""
import hashlib
import json
import shutil
import subprocess
import tempfile

import pytest

import kubeimages
from containerengines import Docker, Podman
from kubecluster import hardened_pod
from system import BUILD, ROOT, wait_until

NAMES = ("service", "bash", "c")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    kubeimages.make_once(folder, *NAMES)
    return folder


@pytest.fixture(scope="module", params=NAMES)
def archive(request, made):
    found = kubeimages.Archive(made / f"{request.param}.tar")
    found.name = request.param
    return found


@pytest.fixture(scope="module")
def sandbox(kubernetes, made):
    kubernetes.import_images(*(made / f"{name}.tar" for name in NAMES))
    return kubernetes.namespace("images")


def run(kubernetes, sandbox, name, image, *command):
    """(exit code, output) of a pod's program."""
    pod = hardened_pod(name, kubeimages.reference(image), list(command))
    kubernetes.kubectl("-n", sandbox, "apply", "-f", "-", stdin=json.dumps(pod))

    def end():
        statuses = kubernetes.get("pod", name, sandbox)["status"].get("containerStatuses", [{}])
        return statuses[0].get("state", {}).get("terminated")
    ended = wait_until(f"{name} ended", end, 60, 0.1)
    return ended["exitCode"], kubernetes.kubectl("-n", sandbox, "logs", name)


def test_the_same_inputs_give_the_same_bytes(made, tmp_path):
    kubeimages.make(tmp_path, *NAMES)
    for name in NAMES:
        one, other = (hashlib.sha256((folder / f"{name}.tar").read_bytes()).hexdigest() for folder in (made, tmp_path))
        assert one == other, name


def test_it_can_be_loaded(archive):
    """As OCI archive (containerd, podman), and as Docker's own, whose layers are plain tars under their digests."""
    assert json.loads(archive.read("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    docker = json.loads(archive.read("manifest.json"))[0]
    assert docker["RepoTags"] == [kubeimages.reference(archive.name)] == [archive.descriptor["annotations"]["io.containerd.image.name"]]
    assert json.loads(archive.read(docker["Config"])) == archive.config
    assert [hashlib.sha256(archive.read(layer)).hexdigest() for layer in docker["Layers"]] == \
        [layer.removeprefix("sha256:") for layer in archive.config["rootfs"]["diff_ids"]]


@pytest.mark.parametrize("engine", [Podman, Docker])
def test_an_engine_loads_and_runs_it(made, engine):
    folder = tempfile.mkdtemp(prefix="engine-")  # podman takes no path over 50 bytes
    used = engine(folder)
    try:
        assert kubeimages.reference("bash") in used.load(made / "bash.tar")
        told = used.run(kubeimages.reference("bash"), "/bin/bash", "-c", "id; echo $((6*7)); touch /x; true")
        assert "uid=65532(user) gid=65532(user)" in told and "42\n" in told and "Read-only" in told
        assert "millrace-runner is PID 1 of a pod" in used.run(kubeimages.reference("bash"), code=64)
    finally:
        used.stop()
        shutil.rmtree(folder)


def test_nobody_gains_rights_in_it(archive):
    assert archive.config["config"]["User"] == "65532:65532"
    for path, (member, _) in archive.entries().items():
        assert member.uid == 0 and member.gid == 0 and not member.mode & 0o6000 and not member.isdev(), path
        assert member.issym() or not member.mode & 0o002 or member.mode & 0o1000, f"{path} is everybody's to write"


def test_its_packages_are_listed(archive, made):
    inside = json.loads(archive.entries()["usr/share/millrace/sbom.spdx.json"][1])
    assert inside == json.loads((made / f"{archive.name}.spdx.json").read_text())
    names = [package["name"] for package in inside["packages"]]
    assert names == sorted(set(names)) and "libc6" in names
    if archive.name != "service":
        assert set(names) >= set(table()[archive.name][0])


def table():
    """{language: (packages that it needs in any case, those of its libraries)}."""
    told = subprocess.run([ROOT / "tools" / "install", "--packages"], stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = (line.partition(" +") for line in told.splitlines())
    return {needs.split()[0]: (needs.split()[1:], libraries.split()) for needs, _, libraries in rows}


def test_every_language_has_a_containerfile_of_the_same_table(tmp_path):
    subprocess.run([ROOT / "tools" / "images", "--containerfiles", "--output", tmp_path, "--build", BUILD], check=True, timeout=120)
    assert len(table()) == 13
    for name, (needs, libraries) in table().items():
        text = (tmp_path / f"{name}.Containerfile").read_text()
        assert text.split("--no-install-recommends")[1].split(" && rm ")[0].replace("\\\n", " ").split() == needs + libraries, name
        assert "\nUSER 65532:65532\n" in text and f"\nCOPY {name}.files/ /\n" in text
        assert (tmp_path / f"{name}.files/usr/lib/millrace/millrace-runner").stat().st_mode & 0o777 == 0o755


def test_the_service_has_no_shell(made):
    paths = set(kubeimages.Archive(made / "service.tar").entries())
    shells = {path for path in paths if path.rsplit("/", 1)[-1] in ("sh", "bash", "dash", "busybox", "perl", "python3")}
    assert shells == set()
    assert {path for path in paths if path.startswith("usr/bin/")} == {
        f"usr/bin/{name}" for name in ("millrace", "millrace-api", "millrace-worker", "millrace-archiver")}


@pytest.mark.parametrize("program", ["millrace", "millrace-api", "millrace-worker", "millrace-archiver"])
def test_the_service_runs_in_a_pod(kubernetes, sandbox, program):
    code, output = run(kubernetes, sandbox, f"run-{program}", "service", f"/usr/bin/{program}", "--help")
    assert code == 0 and program in output, output


def test_a_language_runs_in_a_pod(kubernetes, sandbox):
    code, output = run(kubernetes, sandbox, "tools", "bash", "/bin/bash", "-c", "id; echo $((6*7)); touch /x || touch /mnt/data/x && ls /mnt/data")
    assert code == 0 and "uid=65532(user) gid=65532(user)" in output and "42\n" in output and "Read-only" in output and output.endswith("x\n")
    program = 'echo "int main(void) { return 7; }" >/tmp/m.c && gcc -o /tmp/m /tmp/m.c && /tmp/m'
    assert run(kubernetes, sandbox, "compiler", "c", "/bin/sh", "-c", program)[0] == 7


def test_the_runner_is_in_it(kubernetes, sandbox):
    code, output = run(kubernetes, sandbox, "runner", "bash")
    assert code == 64 and "millrace-runner is PID 1 of a pod" in output
