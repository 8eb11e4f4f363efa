# SPDX-License-Identifier: Apache-2.0
"""The parts of tools/check, run side by side, counted, timed and summed up.

Every part is a row of PARTS. A part that finds no test is a failure, and so is a skipped test, unless
tests/untested.list names it with its reason (what this machine cannot show). When everything ran, that list and
what did not run must be equal.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "check"
PYTHON = ROOT / "build" / "venv" / "bin" / "python"
sys.path.insert(0, str(ROOT / "tests"))
import kubesuite  # noqa: E402

UNTESTED = ROOT / "tests" / "untested.list"
SLOTS = 3  # for two cores: most parts wait more than they compute (integration: 250 s of processor in 600 s and more)


class Result:
    def __init__(self):
        self.passed, self.failed, self.untested, self.seconds = 0, [], [], 0.0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.untested += other.untested


class Part:
    """One row: how to run it, what must have been built before it; `alone`: it measures, so nothing runs beside it."""

    def __init__(self, name, what, run, needs=(), alone=False):
        self.name, self.what, self.run, self.needs, self.alone = name, what, run, needs, alone
        self.log = OUT / f"{name}.log"
        self.result = None


def command(part, argv, env=None):
    """Runs argv with its output in the part's log; True when it exits 0."""
    with open(part.log, "ab") as log:
        log.write(f"$ {' '.join(map(str, argv))}\n".encode())
        log.flush()
        return subprocess.run(argv, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {}))).returncode == 0


def one(name, good):
    result = Result()
    if good:
        result.passed = 1
    else:
        result.failed.append(name)
    return result


def untested_names():
    lines = UNTESTED.read_text().splitlines() if UNTESTED.exists() else []
    return {line.split(":", 1)[0].strip() for line in lines if line.strip() and not line.startswith("#")}


def excuse(skip_text):
    """The row of untested.list that a skip names ("untested: NAME"), or None."""
    text = skip_text or ""
    marker = "untested: "
    if marker not in text:
        return None
    words = text.split(marker, 1)[1].split()
    return words[0] if words and words[0] in untested_names() else None


def read_junit(path, prefix):
    result = Result()
    if not path.exists():
        result.failed.append(f"{prefix}: no result file")
        return result
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{prefix}: {case.get('classname', '')}.{case.get('name')}"
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result.failed.append(name)
        elif skip is not None or case.get("status") not in (None, "run"):
            row = excuse(skip.get("message", "") if skip is not None else "")
            if row:
                result.untested.append(row)
            else:
                result.failed.append(f"{name} (skipped)")
        else:
            result.passed += 1
    return result


def build(preset):
    return lambda part: one(f"build {preset}", command(part, ["tools/build", preset]))


def build_kube(part):
    """What the cluster and the images are made of: minutes on a new machine, then what the cache has."""
    total = one("build the cluster", command(part, ["tests/kube/build"]))
    total.add(one("build the images", command(part, ["tools/images", "--bare", "--build", "build/test", "--output", OUT / "images",
                                                     "service", "py", "js", "bash", "c"])))
    return total


def unit(part):
    total = Result()
    for preset in ("test", "asan"):
        junit = OUT / f"ctest-{preset}.xml"
        junit.unlink(missing_ok=True)
        good = command(part, ["ctest", "--test-dir", f"build/{preset}", "-j2", "--output-on-failure",
                              "--timeout", "400", "--output-junit", junit],
                       {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0"})
        result = read_junit(junit, f"ctest {preset}")
        if not good and not result.failed:
            result.failed.append(f"ctest {preset}: failed as a whole")
        total.add(result)
    return total


def pytest(paths, *options, preset="test"):
    def run(part):
        junit = OUT / f"pytest-{part.name}.xml"
        junit.unlink(missing_ok=True)
        good = command(part, [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-o", "junit_family=xunit2", "-q",
                              "-rs", f"--junitxml={junit}", *options, *paths],
                       {"MILLRACE_BUILD": str(ROOT / "build" / preset)})
        result = read_junit(junit, part.name)
        if not good and not result.failed:
            result.failed.append(f"{part.name}: pytest failed as a whole")
        return result
    return run


def tracked(*suffixes):
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [f for f in files if f.endswith(suffixes) and (ROOT / f).exists()]


def static(part):
    total = one("static: layers", command(part, ["tools/layers"]))
    sources = [f for f in tracked(".c", ".h")]
    total.add(one("static: clang-format", command(part, ["clang-format", "--dry-run", "-Werror", *sources])))
    total.add(one("static: spdx", spdx(part)))
    return total


def spdx(part):
    """The first two lines of every source name the licence."""
    bad = [f for f in tracked(".c", ".h", ".py", ".lua", ".def", ".cmake")
           if "SPDX-License-Identifier: Apache-2.0" not in "".join((ROOT / f).open().readlines()[:2])]
    with open(part.log, "a") as log:
        log.writelines(f"no SPDX line: {f}\n" for f in bad)
    return not bad


def tidy(part):
    return one("clang-tidy", command(part, ["tools/tidy", "build/asan"]))


def fuzz(part):
    """Every target runs its corpus, and a little more."""
    total = Result()
    targets = sorted((ROOT / "build" / "fuzz" / "fuzz").glob("fuzz_*"))
    for target in (t for t in targets if os.access(t, os.X_OK) and t.is_file()):
        corpus = ROOT / "tests" / "fuzz" / "corpus" / target.name.removeprefix("fuzz_")
        fresh = OUT / "fuzz" / target.name
        fresh.mkdir(parents=True, exist_ok=True)
        argv = [target, "-max_total_time=5", "-rss_limit_mb=1024", f"-artifact_prefix={fresh}/", fresh]
        total.add(one(f"fuzz: {target.name}", command(part, argv + ([corpus] if corpus.is_dir() else []))))
    return total


PARTS = [
    Part("build-test", "gcc, release flags with the test switches", build("test")),
    Part("build-kube", "Kubernetes, and our images for it", build_kube, ["build-test"]),
    Part("kubernetes", "on a real Kubernetes of one node: the cluster, our images, and the suite with its pods there",
         pytest(["tests/kubernetes", *kubesuite.modules()], "--backend", "kubernetes", "--timeout", "400"),
         ["build-test", "build-kube"]),
    Part("build-asan", "clang, address and undefined sanitizers", build("asan")),
    Part("static", "layers, format, licence lines", static),
    Part("tidy", "clang-tidy", tidy, ["build-asan"]),
    Part("integration", "the whole system over HTTP, WebSocket and command line", pytest(["tests/integration"]),
         ["build-test"]),
    Part("unit", "cmocka, both builds", unit, ["build-test", "build-asan"]),
    Part("cluster", "integration against a cluster-enabled Redis, 8 partitions",
         pytest(["tests/integration"], "--redis", "cluster"), ["build-test"]),
    Part("languages", "thirteen languages, their libraries and limits", pytest(["tests/languages"]), ["build-test"]),
    Part("conformance", "LibreChat's own clients, three versions of them", pytest(["tests/conformance"]), ["build-test"]),
    Part("hazards", "attacks from inside a pod",
         pytest(["tests/hazards"], "--ignore=tests/hazards/test_good_programs.py"), ["build-test"]),
    Part("programs", "honest programs of every language, none killed", pytest(["tests/hazards/test_good_programs.py"], "-s"),
         ["build-test"]),
    Part("store", "the object store on a directory, on MinIO, and on a MinIO that fails", pytest(["tests/store"]),
         ["build-test"]),
    Part("archive", "logs and state in the object store: races, kills, faults", pytest(["tests/archive"]), ["build-test"]),
    Part("archive-cluster", "mover, restore and sweep against a cluster-enabled Redis, 8 partitions",
         pytest(["tests/archive/test_1_logs.py", "tests/archive/test_2_states.py", "tests/archive/test_4_orphans.py"], "--redis", "cluster",
                "-k", "test_1_logs or leaves_and_comes_back or many_times or not_ours or never_touched"), ["build-test"]),
    Part("faults", "crashes, pauses, chaos",
         pytest(["tests/faults"], "--ignore=tests/faults/test_fairness.py"), ["build-test"]),
    Part("sanitized", "the first walk with the sanitizers' build",
         pytest(["tests/integration/test_1_walk.py", "tests/integration/test_2_jobs.py"], preset="asan"),
         ["build-asan"]),
    Part("build-fuzz", "libFuzzer targets", build("fuzz")),
    Part("fuzz", "the corpus of every fuzz target, and 5 seconds more of each", fuzz, ["build-fuzz"]),
    Part("fairness", "one tenant's crowd beside another's single jobs", pytest(["tests/faults/test_fairness.py"]),
         ["build-test"], alone=True),
]
BY_NAME = {part.name: part for part in PARTS}


class Schedule:
    """Rows in order (the longest of them early), each as soon as what it needs is built and one of SLOTS is free; those that run alone, last."""

    def __init__(self, parts):
        self.waiting, self.running, self.lock = list(parts), [], threading.Condition()

    def may_start(self, part):
        if not all(BY_NAME[need].result for need in part.needs) or any(other.alone for other in self.running):
            return False
        return not part.alone or not (self.running or any(not other.alone for other in self.waiting))

    def next(self):
        with self.lock:
            while self.waiting:
                for part in self.waiting:
                    if self.may_start(part):
                        self.waiting.remove(part)
                        self.running.append(part)
                        return part
                self.lock.wait()
        return None

    def work(self):
        while part := self.next():
            started = time.monotonic()
            result = self.attempt(part)
            result.seconds = time.monotonic() - started
            if not (result.passed or result.failed or result.untested):
                result.failed.append(f"{part.name}: found no test")
            with self.lock:
                part.result = result
                self.running.remove(part)
                self.lock.notify_all()
            verdict = "ok" if not result.failed else "FAILED"
            print(f"check: {part.name:<15} {result.seconds:7.1f} s  {result.passed} passed, "
                  f"{len(result.failed)} failed  {verdict}", flush=True)

    @staticmethod
    def attempt(part):
        broken = [need for need in part.needs if BY_NAME[need].result.failed]
        if broken:
            return one(f"{part.name}: not run, {broken[0]} failed", False)
        try:
            return part.run(part)
        except Exception as error:  # a broken check is a failed check, never a silent one
            return one(f"{part.name}: {type(error).__name__}: {error}", False)


def with_needs(names):
    chosen = set()
    for name in names:
        if name not in BY_NAME:
            sys.exit(f"check: no part '{name}'; there are: {' '.join(p.name for p in PARTS)}")
        chosen |= {name, *BY_NAME[name].needs}
    return [part for part in PARTS if part.name in chosen]


def summary(parts, whole):
    total = Result()
    for part in parts:
        total.add(part.result)
        if part.result.failed and part.log.exists():
            print(f"\n--- {part.name}: the end of {part.log.relative_to(ROOT)}")
            print("\n".join(part.log.read_text(errors="replace").splitlines()[-40:]))
    print("\npart              seconds   passed   failed  what")
    for part in parts:
        print(f"{part.name:<15} {part.result.seconds:9.1f} {part.result.passed:8} {len(part.result.failed):8}  {part.what}")
    for name in total.failed:
        print(f"FAILED {name}")
    did_not_run = set(total.untested)
    for name in sorted(did_not_run):
        print(f"not run here: {name}")
    if whole:
        total.add(one(f"untested.list differs from what did not run: {sorted(untested_names() ^ did_not_run)}",
                      untested_names() == did_not_run))
        if total.failed and total.failed[-1].startswith("untested.list"):
            print(f"FAILED {total.failed[-1]}")
    return total


def main(argv):
    if "--list" in argv:
        for part in PARTS:
            print(f"{part.name:<15} {part.what}")
        return 0
    parts = with_needs(argv) if argv else PARTS
    OUT.mkdir(parents=True, exist_ok=True)
    for part in parts:
        part.log.unlink(missing_ok=True)
    shutil.rmtree(OUT / "fuzz", ignore_errors=True)
    started = time.monotonic()
    schedule = Schedule(parts)
    threads = [threading.Thread(target=schedule.work) for _ in range(SLOTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = summary(parts, whole=not argv)
    print(f"in {time.monotonic() - started:.0f} s")
    print(f"{total.passed} passed, {len(total.failed)} failed")
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
