# SPDX-License-Identifier: Apache-2.0
"""`millrace up`: the life of a whole system on one machine, and that nothing of it stays."""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest
from contract import Api
from system import BIN, PLAIN_ENV, System, fnv, living, proc, tree, wait_until


def up(*argv, home, **more):
    return subprocess.run([BIN / "millrace", "up", *map(str, argv)], cwd=home, env={**PLAIN_ENV, "HOME": str(home)},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False, **more)


@pytest.fixture
def home(tmp_path):
    """A home of its own; what runs there at the end is stopped."""
    yield tmp_path
    up("down", home=tmp_path)
    shutil.rmtree(f"/var/lib/millrace/up-{fnv(tmp_path / '.local/state/millrace'):016x}", ignore_errors=True)


def test_detached_from_start_to_end(home):
    began = up("--detach", "--port", "0", home=home)
    assert began.returncode == 0, began.stderr
    assert "Hello from Python" in began.stdout and "Millrace is up" in began.stdout
    status = json.loads(up("status", "--json", home=home).stdout)
    assert status["ready"] and {child["part"] for child in status["children"]} == {"redis", "api", "worker", "archiver"}
    assert status["url"] in began.stdout and "up at" in up("status", home=home).stdout
    below = tree(status["pid"])

    exports = dict(shlex.split(line.removeprefix("export "))[0].split("=", 1)
                   for line in up("env", home=home).stdout.splitlines())
    assert exports["MILLRACE_URL"] == status["url"] and exports["PATH"].startswith(str(BIN))
    assert exports["MILLRACE_API_KEY"] in began.stdout
    run = subprocess.run(["bash", "-c", f'eval "$({BIN}/millrace up env)"; echo "print(6*7)" > p.py; millrace run p.py; '
                          'curl -s $MILLRACE_URL/exec -H "x-api-key: $MILLRACE_API_KEY" '
                          '-H "content-type: application/json" -d \'{"lang":"py","code":"print(1)"}\''],
                         cwd=home, env={**PLAIN_ENV, "HOME": str(home)}, stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=60, check=False)
    assert run.stdout.startswith("42\n") and json.loads(run.stdout.split("\n", 1)[1])["stdout"] == "1\n"

    assert up("--detach", home=home).returncode == 0  # it is running already: nothing changes
    assert json.loads(up("status", "--json", home=home).stdout)["pid"] == status["pid"]
    assert up("down", home=home).returncode == 0
    assert up("status", home=home).returncode == 3 and up("env", home=home).returncode == 3
    wait_until("all have ended", lambda: not living(below))


def test_secrets_are_kept_from_others(home):
    assert up("--detach", "--port", "0", "--no-demo", home=home).returncode == 0
    status = json.loads(up("status", "--json", home=home).stdout)
    state = pathlib.Path(status["state"])
    key, redis_key = (state / "api.key").read_text(), (state / "redis.key").read_text()
    assert len(key) == 42 and len(redis_key) == 42
    for name in ("api.key", "redis.key", "millrace.yaml", "redis.conf", "up.json"):
        assert (state / name).stat().st_mode & 0o077 == 0
    for pid in [status["pid"], *(pid for pid, _ in tree(status["pid"]))]:
        for secret in (key, redis_key):
            assert secret.encode() not in proc(pid, "cmdline") + proc(pid, "environ")
    for log in (state / "log").iterdir():
        assert key not in log.read_text() and redis_key not in log.read_text()
    port = next(child["port"] for child in status["children"] if child["part"] == "redis")
    refused = subprocess.run(["/usr/bin/redis-cli", "-p", str(port), "KEYS", "*"], capture_output=True, text=True, check=False)
    assert "NOAUTH" in refused.stdout + refused.stderr


def stopped_with_a_job(home):
    first = System(home / "a", cluster=False)
    with Api(first) as api:
        job = api.submit("py", "print('kept')")
        assert api.wait(job)["result"]["stdout"] == "kept\n"
    assert first.stop() == 0
    return first, job


def started_again(first, home):
    second = System(home / "a", cluster=False, env={"API_KEY": first.key})
    second.key = first.key
    return second


def test_a_second_start_has_the_data(home):
    first, job = stopped_with_a_job(home)
    second = started_again(first, home)
    try:
        with Api(second) as api:
            assert api.job(job)["result"]["stdout"] == "kept\n"
            assert api.exec("py", "print(1)")["stdout"] == "1\n"
    finally:
        assert second.stop() == 0
    assert second.residue() == []


def test_a_damaged_log_of_redis_is_told_with_its_file_and_the_fix(home):
    """Nothing is begun anew over it. What is said is done: the job that was accepted before the damage is there."""
    first, job = stopped_with_a_job(home)
    folder = first.state / "redis" / "appendonlydir"
    log, = folder.glob("*.incr.aof")
    whole = log.read_bytes()
    log.write_bytes(whole + b"*3\r\n$3\r\nSET\r\n$x\r\nnobody was told of this\r\n")
    damaged = log.read_bytes()
    refused = up("--state", first.state, "--port", "0", "--no-demo", home=home)
    fix = f"redis-check-aof --fix {folder}/appendonly.aof.manifest"
    assert refused.returncode == 1 and fix in refused.stderr and "nothing was changed" in refused.stderr
    assert log.read_bytes() == damaged
    done = subprocess.run(fix.split(), input="y\n", capture_output=True, text=True, timeout=60, check=False, env=PLAIN_ENV)
    assert done.returncode == 0, done.stdout
    second = started_again(first, home)
    try:
        with Api(second) as api:
            assert api.job(job)["result"]["stdout"] == "kept\n"
    finally:
        assert second.stop() == 0


def test_ephemeral_leaves_no_folder(home):
    system = System(home / "e", cluster=False, options=["--ephemeral"])
    assert system.state.exists()
    assert system.stop() == 0
    assert system.residue() == [] and not system.state.exists()


def test_what_dies_is_started_again(make_system):
    system = make_system(cluster=False)
    for part in ("api", "worker", "archiver", "redis"):
        before = system.children(part)[0]["pid"]
        os.kill(before, signal.SIGKILL)
        wait_until(f"{part} is there again", lambda part=part, before=before: system.children(part)[0]["pid"] not in (0, before))
        wait_until("all are ready", lambda: all(child["ready"] for child in system.told()["children"]), 30)
        with Api(system) as api:
            assert wait_until("a run works", lambda api=api: api.post("/exec", json={"lang": "py", "code": "print(1)"})
                              .json().get("stdout"), 30) == "1\n"
    assert [child["restarts"] for child in system.told()["children"]] == [1, 1, 1, 1]


def test_a_killed_supervisor_takes_all_with_it(home):
    system = System(home / "k", cluster=False)
    below = tree(system.process.pid)
    assert {os.path.basename(line.split()[0]) for line in below.values()} >= {"millrace-api", "millrace-spawner", "millrace-worker"}
    system.kill()  # waits until all of them have ended
    assert living(below) == {}
    system.log.close()


def test_a_given_redis_is_used_and_left(make_system, home):
    from system import ClusterRedis
    store = ClusterRedis(home)
    try:
        system = make_system(cluster=False, options=["--redis-url", store.url])
        assert [child["part"] for child in system.told()["children"]] == ["api", "worker", "archiver"]
        with Api(system) as api:
            assert api.exec("py", "print(1)")["stdout"] == "1\n"
        assert system.stop() == 0
        assert store.told("PING").startswith("PONG") and int(store.told("DBSIZE")) > 0
    finally:
        store.stop()


def test_a_taken_port_is_told_by_name(make_system, home):
    system = make_system(cluster=False)
    port = system.children("api")[0]["port"]
    done = up("--port", port, "--state", home / "other", home=home)
    assert done.returncode == 1 and str(port) in done.stderr and "taken" in done.stderr


def test_bad_settings_are_told_and_nothing_starts(home):
    done = subprocess.run([BIN / "millrace", "up", "--port", "0"], cwd=home, stdin=subprocess.DEVNULL, capture_output=True,
                          env={**PLAIN_ENV, "HOME": str(home), "WORKER_SLOTS": "many"}, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "WORKER_SLOTS" in done.stderr
    assert up("status", home=home).returncode == 3


def test_down_without_a_system_is_no_failure(home):
    assert up("down", home=home).returncode == 0


def test_a_clone_that_only_its_owner_may_enter(home):
    """As in /root: a worker without privilege is started from there, and settings of .env reach it."""
    private = home / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(BIN, private / "bin")
    (private / ".env").write_text("WORKER_SLOTS=3\nPOD_POOL_PY=2\nAPI_KEY='key with \" and $'\n")
    system = System(private / "run", cluster=False, binaries=private / "bin", cwd=private, env={"API_KEY": None})
    try:
        system.key = 'key with " and $'
        with Api(system) as api:
            assert api.exec("py", "print(1)")["stdout"] == "1\n"
        assert re.findall(r'"slots":(\d+)', system.log_of("worker"))[0] == "3"
    finally:
        assert system.stop() == 0
    assert system.residue() == []


# An api that ends when somebody has its port, and is the real one after that.
LATE = """#!/bin/bash
cd "$(dirname "$0")/.."
if [ ! -e taken ]; then
  echo "$API_PORT" >port.tmp && mv port.tmp port
  while [ ! -e taken ]; do sleep 0.05; done
  exit 1
fi
exec bin/millrace-api.real "$@"
"""


def test_a_port_that_was_taken_since_is_left_to_who_has_it(home):
    """Where any would do and nobody was told of it yet."""
    shutil.copytree(BIN, home / "bin")
    (home / "bin/millrace-api").rename(home / "bin/millrace-api.real")
    (home / "bin/millrace-api").write_text(LATE)
    (home / "bin/millrace-api").chmod(0o755)
    listener = socket.socket()

    def take():
        wait_until("the api was told its port", (home / "port").exists, 60)
        listener.bind(("127.0.0.1", int((home / "port").read_text())))
        listener.listen()
        (home / "taken").touch()
    with listener, concurrent.futures.ThreadPoolExecutor() as threads:
        done = threads.submit(take)
        system = System(home / "a", cluster=False, binaries=home / "bin")
        try:
            done.result()
            assert int((home / "port").read_text()) != int(system.url.rpartition(":")[2])
            with Api(system) as api:
                assert api.exec("py", "print(1)")["stdout"] == "1\n"
        finally:
            assert system.stop() == 0


SUDO = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* As sudo: root for what follows, and nothing of the caller's environment. */
int main(int argc, char **argv)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-' && strcmp(argv[at], "--"))
        at++;
    at += at < argc && !strcmp(argv[at], "--");
    clearenv();
    if (setgid(0) || setuid(0) || at >= argc)
        return 1;
    execvp(argv[at], argv + at);
    return 127;
}
"""


@pytest.fixture
def open_folder():
    """A folder that every user may enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="millrace-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def owner(pid):
    """The effective user of a process; None once it has ended."""
    found = re.search(rb"^Uid:\s+\d+\s+(\d+)", proc(pid, "status"), re.M)
    return found and found[1]


def test_an_ordinary_user_with_sudo(open_folder):
    """The spawner runs as root, the rest as the user; it ends in order, and with a supervisor that is killed."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    shutil.copytree(BIN, open_folder / "bin")
    (open_folder / "sudo.c").write_text(SUDO)
    subprocess.run(["cc", "-o", open_folder / "sudo", open_folder / "sudo.c"], check=True)
    (open_folder / "sudo").chmod(0o4755)
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, 54321, 54321)
    secret = "secret-" + "s" * 20

    def as_user(*argv, **more):
        return subprocess.run(["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", open_folder / "bin/millrace",
                               *argv], cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
                              check=False, env={**PLAIN_ENV, "PATH": f"{open_folder}:/usr/bin:/bin", "HOME": str(home),
                                                "API_KEY": secret, "WORKER_SLOTS": "3", **more})
    try:
        began = as_user("up", "--detach", "--port", "0")
        assert began.returncode == 0 and "Hello from Python" in began.stdout, began.stderr
        status = json.loads(as_user("up", "status", "--json").stdout)
        below = tree(status["pid"])
        # A pod on its way is a child of the spawner that has its name, and another user already.
        owners = {(os.path.basename(line.split()[0]), owner(pid)) for (pid, _), line in below.items()}
        assert owners >= {("millrace-spawner", b"0"), ("millrace-api", b"54321"), ("redis-server", b"54321")}
        assert not owners & {("millrace-api", b"0"), ("redis-server", b"0")}
        for pid, _ in below:
            assert secret.encode() not in proc(pid, "cmdline")
        log = (home / ".local/state/millrace/log/worker-1.log").read_text()
        assert re.findall(r'"slots":(\d+)', log)[0] == "3"
        assert as_user("up", "down").returncode == 0
        wait_until("all have ended", lambda: not living(below))

        assert as_user("up", "--detach", "--port", "0", "--no-demo").returncode == 0
        status = json.loads(as_user("up", "status", "--json").stdout)
        below = tree(status["pid"])
        os.kill(status["pid"], signal.SIGKILL)
        wait_until("all have ended", lambda: not living(below), 60)
    finally:
        as_user("up", "down")


def test_an_ordinary_user_without_sudo_is_told_what_is_missing_once(open_folder):
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    shutil.copytree(BIN, open_folder / "bin")
    (open_folder / "home").mkdir()
    os.chown(open_folder / "home", 54321, 54321)
    # A `sudo` that lets nobody in, whatever the machine has.
    (open_folder / "sudo").symlink_to("/bin/false")
    done = subprocess.run(["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups", open_folder / "bin/millrace", "up",
                           "--port", "0"], cwd=open_folder / "home", stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=90, check=False, env={**PLAIN_ENV, "PATH": f"{open_folder}:/usr/bin:/bin",
                                                        "HOME": str(open_folder / "home")})
    assert done.returncode == 1
    assert done.stderr.count("subordinate_ids    MISSING") == 1, done.stderr
    assert "POD_ACCEPT_MISSING=" in done.stderr


def test_programs_run_the_distributions_interpreters_whatever_is_first_on_path(make_system, tmp_path):
    others, trace = tmp_path / "others", tmp_path / "was-run"
    others.mkdir()
    for name in ("python3", "python", "node", "bash", "sh"):
        (others / name).write_text(f"#!/bin/sh\necho {name} >> {trace}\necho another\n")
        (others / name).chmod(0o755)
    path = f"{others}:{PLAIN_ENV['PATH']}"
    system = make_system(env={"PATH": path})
    for pid in (system.process.pid, *(child["pid"] for child in system.children("worker"))):
        assert f"PATH={path}".encode() in proc(pid, "environ").split(b"\0")
    with Api(system) as api:
        assert api.exec("py", "import sys; print(sys.executable)")["stdout"] == "/usr/bin/python3\n"
        assert api.exec("js", "console.log(process.execPath)")["stdout"] == "/usr/bin/node\n"
        assert api.exec("bash", "type -p python3; type -p node; echo $BASH")["stdout"] == "/usr/bin/python3\n/usr/bin/node\n/bin/bash\n"
    assert not trace.exists(), trace.read_text()
