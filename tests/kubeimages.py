# SPDX-License-Identifier: Apache-2.0
"""The project's images for the cluster of a test: made by tools/images with the programs of the build under test."""
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile

from system import BUILD, ROOT

REGISTRY, TAG = "millrace.test/run", "test"


def reference(name):
    return f"{REGISTRY}-{name}:{TAG}"


def make(folder, *names):
    """{name: archive}, of languages without their libraries: Python with all of them has 1.5 GB."""
    told = subprocess.run([ROOT / "tools" / "images", "--registry", REGISTRY, "--tag", TAG, "--output", folder, "--build", BUILD, "--bare", *names],
                          capture_output=True, text=True, timeout=1800, check=False)
    assert told.returncode == 0, told.stderr[-3000:]
    return {name: pathlib.Path(folder) / f"{name}.tar" for name in names}


MADE = {}  # {name: its folder}, of this session


def make_once(folder, *names):
    """As make(); what this session has made before is linked."""
    new = [name for name in names if name not in MADE]
    if new:
        make(folder, *new)
        MADE.update(dict.fromkeys(new, pathlib.Path(folder)))
    for path in (path for name in names for path in MADE[name].glob(f"{name}.*") if MADE[name] != pathlib.Path(folder) and path.is_file()):
        os.link(path, pathlib.Path(folder) / path.name)
    return {name: pathlib.Path(folder) / f"{name}.tar" for name in names}


class Archive:
    """What an engine would read of it; every digest is held against its bytes."""

    def __init__(self, path):
        self.tar = tarfile.open(path)
        self.index = json.loads(self.read("index.json"))
        self.descriptor = self.index["manifests"][0]
        self.manifest = json.loads(self.blob(self.descriptor))
        self.config = json.loads(self.blob(self.manifest["config"]))

    def read(self, name):
        return self.tar.extractfile(name).read()

    def blob(self, descriptor):
        data = self.read("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))
        assert len(data) == descriptor["size"] and hashlib.sha256(data).hexdigest() == descriptor["digest"][7:]
        return data

    def entries(self):
        """{path: its entry} of all layers together, later ones on top, and the bytes of small files."""
        found = {}
        for layer in self.manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(self.blob(layer))) as tar:
                found.update((member.name, (member, tar.extractfile(member).read() if member.isreg() and member.size < 2**20 else None))
                             for member in tar)
        return found


LANGUAGES = ("py", "js", "bash", "c")
NAMESPACE = "programs"
# What a node of two processors has in time; it promises each little, so that several systems and pods that end have room.
POOLS = {"POD_POOL_PY": "5", "POD_POOL_JS": "1", "POD_POOL_BASH": "2", "POD_POOL_PY_SCIENCE": "0", "POD_POOL_TS": "0",
         "POD_POOL_JAVA": "0", "POD_POOL_PHP": "0", "POD_POOL_R": "0"}

ACCEPTED = "pids_limit"  # what the tests' cluster lacks (worker/canary.def)


def settings(cluster):
    """Of programs whose pods are the cluster's, of the images above; without the sizes of pools."""
    return {"POD_BACKEND": "kubernetes", "KUBECONFIG": str(cluster.kubeconfig), "K8S_NAMESPACE": NAMESPACE, "K8S_IMAGE_REGISTRY": REGISTRY,
            "K8S_IMAGE_TAG": TAG, "K8S_IMAGE_PULL_POLICY": "Never", "K8S_CPU_REQUEST": "10m", "K8S_MEMORY_REQUEST": "24Mi",
            "POD_ACCEPT_MISSING": ACCEPTED}


def pods_of(cluster, folder):
    """Arguments of a System whose programs run in pods of the cluster, in the languages of LANGUAGES."""
    mark = cluster.state / f"images-{hashlib.sha256((BUILD / 'bin' / 'millrace-runner').read_bytes()).hexdigest()}"
    if not mark.exists():  # a cluster that is used again has them
        cluster.import_images(*make_once(folder, *LANGUAGES).values())
        mark.touch()
    cluster.namespace(NAMESPACE)
    return {"options": ["--backend", "kubernetes"], "env": {**settings(cluster), **POOLS}}
