# SPDX-License-Identifier: Apache-2.0
"""All images: made, loaded into a Kubernetes, and each language's programs run in a pod of its image.

    images.py [--bare] [--rows all|ROW,...] [--again NAME,...] [--docs] [NAME...]

Of every language: hello, arguments, a file that is written, and an error of syntax or of the compiler (`tests/languages`), or the rows of
its table that --rows names. --again
makes images of these names once more in another folder with an empty cache, and compares the digests. --docs writes the table of docs/KUBERNETES.md.
Needs root; minutes once, and minutes again for what is not in the cache.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "languages")]
import kubeimages  # noqa: E402
from contract import Api  # noqa: E402
from kubecluster import Cluster  # noqa: E402
from system import BUILD, ROOT, System  # noqa: E402
import test_1_languages as languages  # noqa: E402
from test_1_languages import CHECKS, LANGUAGES, request  # noqa: E402

ROWS = ("hello", "args", "file", "broken")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
DOCS = ROOT / "docs" / "KUBERNETES.md"
FENCE = "<!-- made by tests/bench/images.py --docs -->\n"
Made = collections.namedtuple("Made", "digest mib packages")


def make(options, folder, name, cache=CACHE):
    """Makes FOLDER/NAME.tar and says what tools/images says of it."""
    told = subprocess.run(
        [ROOT / "tools" / "images", "--registry", kubeimages.REGISTRY, "--tag", kubeimages.TAG, "--output", folder, "--build", BUILD,
         *(["--bare"] if options.bare else []), name], env={**os.environ, "XDG_CACHE_HOME": str(cache)}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, timeout=3600, check=True).stdout
    return Made(*re.search(r"(sha256:\w+) +([\d.]+) MiB +(\d+) packages", told).groups())


def make_again(options, folder, name):
    """From the same lists of packages, and with nothing of the cache but the first layer."""
    cache = folder / "cache"
    (cache / "millrace" / "images").mkdir(parents=True)
    for part in ("base", "base.lists", "base.tar"):
        subprocess.run(["cp", "-a", CACHE / "millrace" / "images" / part, cache / "millrace" / "images"], check=True)
    digest = make(options, folder, name, cache).digest
    shutil.rmtree(folder)
    return digest


def run_rows(system, lang, rows):
    """What failed of a language's programs."""
    failed = []
    for row in rows:
        with Api(system) as api:
            api.timeout = 300
            body = request(lang, row)
            if "timeout_ms" in body:
                body["timeout_ms"] *= 3  # its pod is made for it, and its compiler read from an image for the first time
            answer = api.post("/exec", json=body)
        try:
            assert answer.status_code == 200, answer.text
            CHECKS[row](lang, answer.json())
        except AssertionError as error:
            failed.append(f"{lang} {row}: {answer.text[:600]} {str(error)[:200]}")
    return failed


def run_all(cluster, folder, names, rows):
    cluster.namespace(kubeimages.NAMESPACE)
    env = {**kubeimages.settings(cluster), "K8S_POD_START_SECONDS": "300", "MAX_EXECUTION_TIME": "60", "POD_POOL_PY_SCIENCE": "0", **{f"POD_POOL_{name.upper()}": "0" for name in LANGUAGES}}
    system = System(folder / "system", env=env, options=["--backend", "kubernetes"])
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as two:
            return sum(two.map(lambda lang: run_rows(system, lang, rows), names), [])
    finally:
        system.stop()


def table(made, bare, rows):
    lines = [f"| image{', `--bare`' if bare else ''} | MiB | Debian packages | programs run in a pod of it |", "|---|---|---|---|"]
    for name, one in made.items():
        ran = "starts (`tests/kubernetes/test_2_images.py`)" if name == "service" else ", ".join(rows)
        lines.append(f"| `{name}` | {one.mib} | {one.packages} | {ran} |")
    return "\n".join(lines) + "\n"


def write_docs(text):
    before, _, rest = DOCS.read_text().partition(FENCE)
    DOCS.write_text(before + FENCE + "\n" + text + FENCE + rest.partition(FENCE)[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", action="store_true", help="without the languages' libraries")
    parser.add_argument("--again", default="", metavar="NAME,...")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rows", default=",".join(ROWS), metavar="all|ROW,...")
    options = parser.parse_args()
    rows = list(languages.ROWS) if options.rows == "all" else options.rows.split(",")
    names, made, failed = options.names or ["service", *LANGUAGES], {}, []
    with tempfile.TemporaryDirectory(prefix="millrace-images-", dir="/var/tmp") as folder:
        folder = pathlib.Path(folder)
        cluster = Cluster(folder)
        try:
            for name in names:
                made[name] = make(options, folder, name)
                cluster.import_images(folder / f"{name}.tar")
                (folder / f"{name}.tar").unlink()
                print(f"{name:<8} {made[name].digest} {made[name].mib:>8} MiB {made[name].packages:>4} packages", flush=True)
            for name in filter(None, options.again.split(",")):
                if make_again(options, folder / "again", name) != made[name].digest:
                    failed.append(f"{name}: made again it has another digest")
                print(f"{name:<8} made again", flush=True)
            failed += run_all(cluster, folder, [name for name in names if name in LANGUAGES], rows)
        finally:
            cluster.stop()
    print("\n".join(failed) or table(made, options.bare, rows))
    if failed:
        sys.exit(1)
    if options.docs:
        write_docs(table(made, options.bare, rows))


if __name__ == "__main__":
    main()
