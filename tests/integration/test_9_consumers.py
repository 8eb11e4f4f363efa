# SPDX-License-Identifier: Apache-2.0
"""Those who use /exec without a model: LibreChat's own readers and writers of files, its image windows, its tool search, the
prewarming of a sandbox, and skills. Each request is the one that they send, each assertion is on what they parse."""
import base64
import json
import os
import shlex

import httpx
import pytest

from contract import Api

AGENT = {"User-Agent": "LibreChat/1.0"}
SKILL = "66aa00000000000000000001"
PATIENCE = 60  # LibreChat gives its helpers 15 s, on a machine that does nothing else


def carried(body):
    return [{"id": file["id"], "resource_id": file["id"], "name": file["name"], "kind": "user",
             "storage_session_id": file["storage_session_id"]} for file in body["files"]]


def helper(api, code, lang="bash", files=None, session=None, **more):
    """One request of LibreChat's helpers: 2xx, or they give up."""
    body = {"lang": lang, "code": code, **({"session_id": session} if session else {}), **({"files": files} if files else {}), **more}
    answer = api.post("/v1/exec", json=body, headers=AGENT, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()


# ---- 6.1: reading ----

def read(api, path, **more):
    """stdout, or the error that the model is shown."""
    body = helper(api, f"cat {shlex.quote(path)}", **more)
    if body["stderr"] and not body["stdout"]:
        return None, body["stderr"]
    return body["stdout"], None


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n\n\n", "one\r\ntwo\r\n", "  spaces \t\n", "ünï 漢字 🎉\n", "$HOME `id` 'q' \"d\" \\n\n", "x" * 300000 + "\n"],
                         ids=["empty", "line", "no end", "ends", "crlf", "spaces", "unicode", "shell", "long"])
def test_a_file_is_read_byte_for_byte(api, text):
    made = api.post("/upload", data={"kind": "user", "id": "u"}, files={"file": ("dir/it's.txt", text.encode())}).json()
    file = {"id": made["files"][0]["fileId"], "resource_id": "u", "name": "dir/it's.txt", "kind": "user",
            "storage_session_id": made["storage_session_id"]}
    assert read(api, "/mnt/data/dir/it's.txt", files=[file]) == (text, None)


@pytest.mark.parametrize("path", ["/mnt/data/none.txt", "/mnt/data/no/folder.txt", "none"])
def test_a_missing_file_is_recognised_by_its_words(api, path):
    text, error = read(api, path)
    assert text is None
    assert any(words in error.lower() for words in ("no such file or directory", "cannot access", "cannot find the path", "enoent"))


def test_an_expired_reference_is_told_and_not_an_empty_file(api):
    text, error = read(api, "/mnt/data/f", files=[{"id": "a" * 21, "resource_id": "a" * 21, "name": "f", "kind": "user", "storage_session_id": "b" * 21}])
    assert text is None and '"f"' in error


# ---- 6.2: writing ----

def write(api, path, data, **more):
    code = f"""python3 - <<'PY'
import base64, os
path = {json.dumps(path)}
data = base64.b64decode("{base64.b64encode(data).decode()}")
folder = os.path.dirname(path)
if folder:
    os.makedirs(folder, exist_ok=True)
with open(path, "wb") as f:
    f.write(data)
print(f"WROTE {{len(data)}} bytes to {{path}}")
PY"""
    body = helper(api, code, **more)
    assert body["stdout"] == f"WROTE {len(data)} bytes to {path}\n" and body["stderr"] == "", body
    return body


@pytest.mark.parametrize("size", [0, 1, 100000, 3 << 20], ids=str)
def test_a_file_is_written_and_seen_by_the_next_tool(api, size):
    data = os.urandom(size)
    body = write(api, "/mnt/data/reports/out.bin", data)
    assert [file["name"] for file in body["files"]] == ["reports/out.bin"] and len(body["session_id"]) == 21
    file = body["files"][0]
    assert api.get(f"/download/{file['storage_session_id']}/{file['id']}", params={"kind": "user", "id": "u"}).content == data
    seen = helper(api, "stat -c %s /mnt/data/reports/out.bin", files=carried(body), session=body["session_id"])
    assert seen["stdout"] == f"{size}\n"


def test_a_file_is_written_over_and_read_back(api):
    first = write(api, "/mnt/data/a.txt", b"one")
    second = write(api, "/mnt/data/a.txt", b"two\n", files=carried(first), session=first["session_id"])
    assert read(api, "/mnt/data/a.txt", files=carried(second)) == ("two\n", None)
    # A context that was made before still reads what it had.
    if second["session_id"] != first["session_id"]:
        assert read(api, "/mnt/data/a.txt", files=carried(first)) == ("one", None)


def test_edits_that_follow_each_other(api):
    """create_file, then edits of it: each sends what the one before answered (agents issue 274)."""
    body = write(api, "/mnt/data/src/app.py", b"x = 0\n")
    for number in range(1, 4):
        text, _ = read(api, "/mnt/data/src/app.py", files=carried(body))
        body = write(api, "/mnt/data/src/app.py", text.replace(f"x = {number - 1}", f"x = {number}").encode(), files=carried(body))
    assert helper(api, "exec(open('/mnt/data/src/app.py').read()); print(x)", lang="py", files=carried(body))["stdout"] == "3\n"


# ---- 6.3: images in windows ----

def image(api, data, file, window):
    """What process.js does: halves the window when a window cannot be parsed or was cut; 20 runs at most."""
    parts, at, execs = [], 0, 0
    while True:
        assert (execs := execs + 1) <= 20
        code = f"""python3 - <<'PY'
import base64, json
with open("/mnt/data/{file['name']}", "rb") as f:
    f.seek(0, 2); total = f.tell(); f.seek({at}); data = f.read({window})
print(json.dumps({{"total": total, "n": len(data), "b64": base64.b64encode(data).decode()}}))
PY"""
        body = helper(api, code, files=[file])
        lines = [line for line in body["stdout"].splitlines() if line.strip()]
        if body["status"] == "OL":
            window //= 2
            continue
        told = json.loads(lines[-1])
        parts.append(base64.b64decode(told["b64"]))
        at += told["n"]
        if at >= told["total"]:
            assert b"".join(parts) == data
            return execs


def place_image(api, data):
    made = api.post("/upload", data={"kind": "user", "id": "u"}, files={"file": ("plot.png", data)}).json()
    return {"id": made["files"][0]["fileId"], "resource_id": "u", "name": "plot.png", "kind": "user", "storage_session_id": made["session_id"]}


def test_an_image_is_read_in_the_windows_that_the_client_assumes(api):
    data = b"\x89PNG\r\n\x1a\n" + os.urandom(400_000)
    assert image(api, data, place_image(api, data), 45_000) == 9  # 60 KB of base64 each


def test_a_window_that_is_too_large_is_halved(make_system):
    system = make_system(env={"MAX_OUTPUT_MB": "1"})
    with Api(system) as api:
        data = b"\x89PNG\r\n\x1a\n" + os.urandom(2_500_000)
        assert image(api, data, place_image(api, data), 2_500_000) <= 7


# ---- 6.4: tool search ----

def test_tool_search_is_one_document_of_javascript(system):
    """No authentication of its own: credentials reach it through the base URL alone."""
    code = """
const toolData = [{"name": "get_weather", "description": "Weather \\u00fc"}, {"name": "send_mail", "description": "Mail"}];
const pattern = new RegExp("WEATHER", "i");
const found = toolData.filter((t) => pattern.test(t.name)).map((t) => ({tool_name: t.name, match_score: 0.95}));
console.log(JSON.stringify({tool_references: found, total_tools_searched: toolData.length, pattern_used: "WEATHER"}));
"""
    basic = "Basic " + base64.b64encode(system.key.encode()).decode()
    answer = httpx.post(f"{system.url}/v1/exec", json={"lang": "js", "code": code, "timeout": 5000}, timeout=PATIENCE,
                        headers={**AGENT, "Authorization": basic})
    assert answer.status_code == 200 and answer.json()["stderr"] == ""
    assert json.loads(answer.json()["stdout"].strip()) == {
        "tool_references": [{"tool_name": "get_weather", "match_score": 0.95}], "total_tools_searched": 2, "pattern_used": "WEATHER"}


def test_prewarming_is_an_ordinary_run(api):
    assert helper(api, "true")["stderr"] == ""


# ---- skills ----

BUNDLE = {"SKILL.md": b"---\nname: pdf\n---\n# PDF\n", "scripts/__init__.py": b"", "scripts/lib/deep/er/tool.py": b"def run(): return 'ran'\n",
          "scripts/run.sh": b"#!/bin/bash\necho from a skill\n", "assets/logo é.png": bytes(range(256)), "LICENSE": b"MIT"}


@pytest.fixture(scope="module")
def skill(system):
    """What skillFiles.ts does: one batch, of which an entry ends with /SKILL.md; the others by their path below the prefix."""
    with Api(system) as api:
        told = api.post("/v1/upload/batch", data={"kind": "skill", "id": SKILL, "version": "7", "read_only": "true"}, headers={**AGENT, "User-Id": "u"},
                        files=[("file", (f"skills/pdf/{name}", data, "application/octet-stream")) for name, data in BUNDLE.items()]).json()
    assert told["message"] == "success" and told["storage_session_id"]
    assert any(file["filename"].endswith("/SKILL.md") for file in told["files"])
    assert {file["filename"].removeprefix("skills/pdf/") for file in told["files"]} == set(BUNDLE)
    return [{"id": file["fileId"], "resource_id": SKILL, "name": file["filename"], "storage_session_id": told["storage_session_id"],
             "kind": "skill", "version": 7} for file in told["files"]]


def test_a_skill_is_there_in_its_folders_and_cannot_be_changed(api, skill):
    body = helper(api, "cd skills/pdf && PYTHONPATH=. python3 -c 'import scripts.lib.deep.er.tool as t; print(t.run())' && bash scripts/run.sh; "
                       "stat -c '%U %a' SKILL.md; echo x > SKILL.md; rm -f LICENSE; echo new > made.txt; ls", files=skill)
    assert body["stdout"].startswith("ran\nfrom a skill\nroot 444\n") and "Permission denied" in body["stderr"]
    made = {file["name"]: file for file in body["files"] if "inherited" not in file}
    assert set(made) == {"skills/pdf/made.txt"}, made
    echoed = {file["name"]: file for file in body["files"] if "inherited" in file}
    assert {name: file["id"] for name, file in echoed.items()} == {file["name"]: file["id"] for file in skill}


def test_a_skill_is_carried_from_call_to_call_and_language_to_language(api, skill):
    files = list(skill)
    for lang, code, says in [
            ("bash", "head -2 skills/pdf/SKILL.md | tail -1; echo 1 > count.txt", "name: pdf\n"),
            ("py", "print(sorted(open('/mnt/data/count.txt'))); print(len(open('/mnt/data/skills/pdf/assets/logo é.png', 'rb').read()))", "['1\\n']\n256\n"),
            ("js", "console.log(require('fs').readdirSync('/mnt/data/skills/pdf').sort().join())", "LICENSE,SKILL.md,assets,scripts\n")]:
        body = helper(api, code, lang=lang, files=files)
        assert (body["stdout"], body["stderr"]) == (says, "")
        # updateCodeSession: what is answered replaces what has its name; an id that is known keeps its kind and version.
        known = {(file["storage_session_id"], file["id"]): file for file in files}
        by_name = {file["name"]: file for file in files}
        for file in carried(body):
            by_name[file["name"]] = {**file, **known.get((file["storage_session_id"], file["id"]), {})}
        files = list(by_name.values())
        assert {file["name"] for file in files if file["kind"] == "skill"} == {file["name"] for file in skill}
    assert len(files) == len(skill) + 1


def test_a_skill_of_one_user_is_read_by_another_of_the_tenant(api, skill):
    for query in ({"kind": "skill", "id": SKILL, "version": "7"}, {"kind": "user", "id": "another"}, {}):
        got = api.get(f"/sessions/{skill[0]['storage_session_id']}/objects/{skill[0]['id']}", params=query)
        assert got.status_code == 200 and got.json()["readOnly"] is True
