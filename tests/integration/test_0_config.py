# SPDX-License-Identifier: Apache-2.0
"""`millrace config` and the start of every program: settings from all sources, refused by name, secrets never shown."""
import json
import pathlib
import re
import subprocess

import httpx
import pytest

from system import BUILD, wait_until

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = BUILD / "bin"
CANARY = "canary-canary-canary"


def run(folder, *argv, program="millrace", **environment):
    return subprocess.run([BIN / program, *argv], cwd=folder, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", **environment})


def test_defaults_are_good(tmp_path):
    done = run(tmp_path, "config", "validate")
    assert (done.returncode, done.stdout, done.stderr) == (0, "the configuration is good\n", "")


def test_later_sources_win(tmp_path):
    (tmp_path / "m.yaml").write_text("api:\n  api_port: 1001\nredis:\n  redis_db: 1\nLEASE_SECONDS: 11\nWORKER_ID: y\n")
    (tmp_path / ".env").write_text("API_PORT=1002\nREDIS_DB=2\nLEASE_SECONDS=12\n")
    done = run(tmp_path, "config", "summary", "--json", "--config", "m.yaml", "--set", "API_PORT=1004",
               API_PORT="1003", REDIS_DB="3")
    assert done.returncode == 0, done.stderr
    got = {row["name"]: (row["value"], row["source"]) for row in json.loads(done.stdout)}
    assert got["API_PORT"] == ("1004", "command line")
    assert got["REDIS_DB"] == ("3", "environment")
    assert got["LEASE_SECONDS"] == ("12", ".env")
    assert got["WORKER_ID"] == ("y", "configuration file")
    assert got["API_HOST"] == ("0.0.0.0", "default")


@pytest.mark.parametrize("name, value, sentence", [
    ("API_PROT", "1", "API_PROT (environment): there is no such setting; did you mean API_PORT?"),
    ("MAX_SESSIONS_PER_ENTITY", "100", "MAX_SESSIONS_PER_ENTITY (environment): there is no such setting"),
    ("MILLRACE_PROFIL", "x", "did you mean MILLRACE_PROFILE?"),
    ("API_PORT", "70000", 'API_PORT (environment): "70000" is not allowed; give integer, 0 to 65535'),
    ("HEARTBEAT_SECONDS", "9", "HEARTBEAT_SECONDS: twice of it must be less than LEASE_SECONDS"),
    ("API_KEY", "short", "API_KEY (environment): has 5 bytes; must have 16 to 256"),
])
def test_bad_settings_are_refused_by_name(tmp_path, name, value, sentence):
    done = run(tmp_path, "config", "validate", **{name: value})
    assert done.returncode == 1
    assert sentence in done.stdout + done.stderr
    valid = json.loads(run(tmp_path, "config", "validate", "--json", **{name: value}).stdout)
    assert valid["valid"] is False and sentence in valid["problems"][0]


PROGRAMS = pytest.mark.parametrize("program", ["millrace-api", "millrace-worker", "millrace-archiver"])


@PROGRAMS
def test_programs_do_not_start_with_a_bad_setting(tmp_path, program):
    done = run(tmp_path, program=program, API_KEY=CANARY, REDIS_PROT="6379", API_PORT="70000")
    assert done.returncode == 2
    assert 'API_PORT (environment): "70000" is not allowed; give integer, 0 to 65535' in done.stderr  # all of them at once
    assert "REDIS_PROT (environment): there is no such setting; did you mean REDIS_PORT?" in done.stderr
    assert CANARY not in done.stdout + done.stderr


@PROGRAMS
@pytest.mark.parametrize("argv, status, sentence", [
    (["--help"], 0, "--port-file PATH"),
    (["--version"], 0, "0."),
    (["--prot-file", "x"], 2, "--prot-file is unknown, or lacks its value; see --help"),
    (["--port-file"], 2, "--port-file is unknown, or lacks its value; see --help"),
    (["--config"], 2, "--config"),
])
def test_command_line_of_a_program(tmp_path, program, argv, status, sentence):
    done = run(tmp_path, *argv, program=program)
    assert done.returncode == status
    assert program in done.stdout + done.stderr and sentence in done.stdout + done.stderr


def test_the_api_has_no_default_key(tmp_path):
    done = run(tmp_path, program="millrace-api", API_PORT="0")
    assert done.returncode != 0
    assert "API_KEY" in done.stderr


def test_template_uncommented_is_the_default(tmp_path):
    template = run(tmp_path, "config", "template").stdout
    lines = [line[1:] if line[:1] == "#" and line[1:2].isupper() else line for line in template.splitlines()]
    (tmp_path / ".env").write_text("\n".join(lines) + "\n")
    done = run(tmp_path, "config", "summary", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows and all(row["source"] == ".env" for row in rows)


def test_export_gives_the_same_again(tmp_path):
    first = run(tmp_path, "config", "export", WORKER_ID="w-1", REDIS_KEY_PREFIX="it's $x:", API_KEY=CANARY)
    assert first.returncode == 0 and CANARY not in first.stdout
    (tmp_path / ".env").write_text(first.stdout)
    again = json.loads(run(tmp_path, "config", "export", "--json").stdout)
    assert (again["WORKER_ID"], again["REDIS_KEY_PREFIX"]) == ("w-1", "it's $x:")


@pytest.mark.parametrize("view", ["validate", "summary", "template", "export"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_secrets_are_never_shown(tmp_path, view, form):
    done = run(tmp_path, "config", view, *form, API_KEY=CANARY, API_KEYS=f"t:{CANARY}2,{CANARY}3",
               REDIS_URL=f"redis://u:{CANARY}@localhost/0", REDIS_PASSWORD=CANARY, MILLRACE_API_KEY=CANARY)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    refused = run(tmp_path, "config", view, *form, "--set", f"API_KEY={CANARY}")
    assert CANARY not in refused.stdout + refused.stderr
    assert view == "template" or refused.returncode == 1


def test_an_api_without_its_store_says_the_cause_and_not_that_it_was_asked(tmp_path):
    """Whoever asks /ready many times a second fills no log; a client's 503 is told with its route."""
    log, port_file = tmp_path / "log", tmp_path / "port"
    with open(log, "wb") as out, subprocess.Popen(
            [BIN / "millrace-api", "--port-file", port_file], cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=out,
            env={"PATH": "/usr/bin:/bin", "API_KEY": CANARY, "API_HOST": "127.0.0.1", "API_PORT": "0",
                 "REDIS_URL": "redis://127.0.0.1:1"}) as api:
        try:
            wait_until("it listens", lambda: port_file.exists() and port_file.read_text().strip())
            url = f"http://127.0.0.1:{port_file.read_text().strip()}"
            assert {httpx.get(f"{url}/ready").status_code for _ in range(20)} == {503}
            refused = httpx.post(f"{url}/exec", json={"lang": "py", "code": "pass"}, headers={"x-api-key": CANARY}, timeout=60)
            assert refused.status_code == 503 and refused.headers["retry-after"]
        finally:
            api.terminate()
        assert api.wait(60) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("127.0.0.1" in line.get("why", "") or "connect" in line.get("why", "").lower() for line in lines), lines
    assert {line["route"] for line in lines if line["message"] == "answered with an error of ours"} == {"/exec"}


def rows(name):
    """The first text of each row of a table; of scripts.def the name."""
    return re.findall(r'^X\((?:[A-Z0-9_]+, "([a-z_0-9]+)"|([a-z_]+),)', (ROOT / "schema" / name).read_text(), re.M)


@pytest.mark.parametrize("table, form", [("event.def", "`{}`"), ("session_event.def", "`{}`"), ("redis/scripts.def", "**{}**")])
def test_the_protocol_page_has_every_event_and_transition(table, form):
    page = (ROOT / "schema/PROTOCOL.md").read_text()
    names = [event or script for event, script in rows(table)]
    assert len(names) > 10 and [name for name in names if form.format(name) not in page] == []


def test_the_protocol_page_has_every_key():
    page = (ROOT / "schema/PROTOCOL.md").read_text()
    layout = re.findall(r'^    \{"[A-Z0-9]+", "([a-z]+:?)", (PART_[A-Z]+), "(:?[a-z0-9]*)"\}', (ROOT / "lib/queue/keys.c").read_text(), re.M)
    named = {"PART_JOB": "<job>", "PART_SESSION": "<session>", "PART_TENANT": "<tenant>", "PART_CLASS": "<c>", "PART_IDEM": "<sha256>",
             "PART_REQUEST": "<id>", "PART_NONE": ""}
    keys = [(before + named[part], re.sub(r"^:b\d$", ":b<q>", after)) for before, part, after in layout]
    assert len(keys) > 20
    assert [a + b for a, b in keys if f"K{a}{b}`" not in page and f"<prefix>{{p00}}:{a}{b}`" not in page] == []
