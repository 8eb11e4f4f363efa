# SPDX-License-Identifier: Apache-2.0
"""The 25 behaviours of the contract that a server is most likely to miss, in its order, a test each. What clients send and
read is meant literally here; the parts' own tests go into the depth."""
import base64
import datetime
import re
import shlex
import time
import unicodedata

import httpx
import pytest
import redis
import yaml

from conftest import finish
from contract import Api
from system import System, wait_until

ID = re.compile(r"[A-Za-z0-9_-]{21}")
USER = "665f0c2e9b1d4a0012ab34cd"
TOOLS = [{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]


@pytest.fixture(scope="module")
def strict(tmp_path_factory, cluster):
    """Few jobs of a tenant, short waits for tools."""
    made = System(tmp_path_factory.mktemp("strict"), cluster=cluster,
                  env={"QUEUE_MAX_JOBS_PER_TENANT": "1", "PROGRAMMATIC_PAUSE_SECONDS": "1", "API_KEYS": "other:other-key-0123456789"})
    yield made
    finish(made)


@pytest.fixture(scope="module")
def private(tmp_path_factory, cluster):
    """A network of its own, without authentication."""
    made = System(tmp_path_factory.mktemp("private"), cluster=cluster, env={"AUTH_ENABLED": "false"})
    yield made
    finish(made)


def upload(api, name, data, path="/upload", **fields):
    answer = api.post(path, data={"kind": "user", "id": USER, **fields}, files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def batch(api, files, **fields):
    answer = api.post("/upload/batch", data={"kind": "skill", "id": "66aa01", "version": "3", "read_only": "true", **fields},
                      files=[("file", pair) for pair in files])
    assert answer.status_code == 200, answer.text
    return answer.json()


def ref(told, name=None, number=0):
    """What the second generation sends back of an upload's answer."""
    file = told["files"][number]
    return {"id": file["fileId"], "resource_id": USER, "name": name or file["filename"], "kind": "user",
            "storage_session_id": told["storage_session_id"]}


def again(body):
    """What it sends back of an exec's answer."""
    return [{"id": file["id"], "resource_id": file["id"], "name": file["name"], "kind": "user",
             "storage_session_id": file["storage_session_id"]} for file in body["files"]]


def programmatic(api, code, tools=None, **more):
    answer = api.post("/exec/programmatic", json={"code": code, "tools": tools or TOOLS, "timeout": 15000, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def go_on(api, told, *results):
    answer = api.post("/exec/programmatic", json={"continuation_token": told["continuation_token"], "tool_results": list(results)})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("lang, code, more, stderr, status", [
    ("py", "1/0", {}, "ZeroDivisionError", None), ("c", "int main() { return nothing; }", {}, "error:", None),
    ("bash", "kill -9 $$", {}, "", None), ("py", "import nowhere", {}, "ModuleNotFoundError", None),
    ("py", "while True: pass", {"timeout": 500}, "[sandbox] Time limit exceeded", "TO"),
    ("py", "print('x' * (1 << 25))", {}, "[sandbox] stdout length exceeded", "OL")],
    ids=["exception", "compiler", "signal", "import", "time", "output"])
def test_01_failures_of_the_program_are_200_and_told_on_stderr(api, lang, code, more, stderr, status):
    answer = api.post("/exec", json={"lang": lang, "code": code, **more})
    body = answer.json()
    assert answer.status_code == 200 and stderr in body["stderr"] and body["status"] == status, body
    assert body["code"] != 0 and body["session_id"] and body["files"] == []
    if status:
        assert (body["code"], body["signal"]) == (None, "SIGKILL") and body["stderr"].endswith(f"{stderr}\n")


def test_02_every_id_has_21_characters(api):
    one = upload(api, "a.csv", b"1")
    many = batch(api, [("skills/s/SKILL.md", b"x"), ("skills/s/a", b"")])
    body = api.exec("bash", "echo 1 > out.txt", files=[ref(one)])
    paused = programmatic(api, "await get_weather(city='Oslo')")
    go_on(api, paused, {"call_id": "call_001", "result": 1})
    ids = [told[name] for told in (one, many) for name in ("session_id", "storage_session_id")]
    ids += [file["fileId"] for told in (one, many) for file in told["files"]]
    ids += [body["session_id"], paused["session_id"]]
    ids += [file[name] for file in body["files"] for name in ("id", "session_id", "storage_session_id")]
    assert len(body["files"]) == 2 and all(ID.fullmatch(id) for id in ids), ids


def test_03_an_uploads_answer_is_the_one_that_is_compared(api):
    told = upload(api, "data.csv", b"1")
    assert told["message"] == "success" and ID.fullmatch(told["storage_session_id"])
    assert [set(file) for file in told["files"]] == [{"fileId", "filename"}] and told["files"][0]["filename"] == "data.csv"
    told = batch(api, [("skills/s/SKILL.md", b"x")])
    assert told["message"] == "success" and (told["succeeded"], told["failed"]) == (1, 0)
    assert told["files"][0] == {"status": "success", "filename": "skills/s/SKILL.md", "fileId": told["files"][0]["fileId"]}


def test_04_both_names_of_the_session_everywhere(api):
    told = upload(api, "in.txt", b"1")
    body = api.exec("bash", "cat in.txt > out.txt", files=[ref(told)])
    paused = go_on(api, programmatic(api, "open('p.txt', 'w').write('1'); await get_weather(city='x')"), {"call_id": "call_001"})
    listed = api.get(f"/files/{told['session_id']}", params={"detail": "full"}).json()
    places = [told, *batch(api, [("a", b"")], kind="agent", version=None).pop("files", []), *body["files"], *paused["files"], *listed]
    for place in (place for place in places if "status" not in place):
        assert place["session_id"] == place["storage_session_id"], place
    by_name = {file["name"]: file for file in body["files"]}
    assert by_name["out.txt"]["session_id"] == body["session_id"] and by_name["in.txt"]["session_id"] == told["session_id"]
    assert [file["name"] for file in paused["files"]] == ["p.txt"] and paused["files"][0]["session_id"] == paused["session_id"]
    normalized = api.get(f"/files/{told['session_id']}", params={"detail": "normalized"}).json()
    assert normalized[0]["storage_session_id"] == told["session_id"]
    for shape in ({"session_id": told["session_id"]}, {"storage_session_id": told["session_id"]}):
        file = {"id": told["files"][0]["fileId"], "name": "in.txt", **shape}
        assert api.exec("bash", "cat in.txt", files=[file])["stdout"] == "1"


def test_05_files_go_on_by_their_references_alone(api):
    first = api.exec("bash", "echo one > a.txt")
    second = api.exec("bash", "cat a.txt; echo two > b.txt", files=again(first))
    assert second["stdout"] == "one\n" and second["session_id"] != first["session_id"]
    third = api.exec("bash", "cat a.txt b.txt", files=again(second))
    assert third["stdout"] == "one\ntwo\n"
    assert api.exec("bash", "ls -A")["stdout"].split() == ["main.sh"]


@pytest.mark.parametrize("lang, code, more", [("py", "pass", {}), ("py", "raise SystemExit(3)", {}), ("c", "nonsense", {}),
                                              ("py", "while True: pass", {"timeout": 300}),
                                              ("py", "1", {"files": [{"id": "a" * 21, "session_id": "a" * 21, "name": "gone"}]})],
                         ids=["nothing", "failed", "not compiled", "time", "input missing"])
def test_06_the_answer_names_a_session_also_without_files(api, lang, code, more):
    assert ID.fullmatch(api.exec(lang, code, **more)["session_id"])


def test_07_unchanged_inputs_keep_their_id_and_changed_ones_get_another(api):
    told = batch(api, [("same.txt", b"1"), ("changed.txt", b"2")], read_only="false")
    same, changed = refs = [ref(told, number=0), ref(told, number=1)]
    body = api.exec("bash", "cat same.txt; echo 3 >> changed.txt", files=refs)
    by_name = {file["name"]: file for file in body["files"]}
    assert (by_name["same.txt"]["id"], by_name["same.txt"]["inherited"]) == (same["id"], True)
    assert by_name["same.txt"]["storage_session_id"] == same["storage_session_id"]
    assert by_name["changed.txt"]["id"] != changed["id"] and "inherited" not in by_name["changed.txt"]
    assert by_name["changed.txt"]["storage_session_id"] == body["session_id"]
    assert by_name["changed.txt"]["modified_from"] == {"id": changed["id"], "storage_session_id": changed["storage_session_id"]}
    assert api.exec("bash", "cat changed.txt", files=again(body))["stdout"] == "23\n"


def test_08_inherited_is_true_or_absent(api):
    told = batch(api, [("skills/s/SKILL.md", b"1")])
    body = api.exec("bash", "touch skills/s/SKILL.md; echo > new.txt; mkdir d; echo > d/e.txt", files=[ref(told)])
    assert {file["name"]: file.get("inherited", "absent") for file in body["files"]} == {
        "skills/s/SKILL.md": True, "new.txt": "absent", "d/e.txt": "absent"}


@pytest.mark.parametrize("args, told", [
    (["a", 1, 2.5, True, None], "['a', '1', '2.5', 'true', 'null']"), ("one", "['one']"), (7, "['7']"), (None, "[]"), ([], "[]"),
    ([{"a": 1}, ["b"]], """['{"a":1}', '["b"]']"""), ({"a": "b"}, """['{"a":"b"}']""")], ids=range(7))
def test_09_arguments_may_be_anything(api, args, told):
    body = api.exec("py", "import sys; print(sys.argv[1:])", args=args)
    assert body["stdout"].strip() == told


def test_09_unknown_members_are_ignored(api):
    more = {"intent": "count", "user_id": USER, "entity_id": "agent_x", "timeout": 1e12, "apiKey": 7, "language": {"x": []},
            "isolate": True, "workspace_instance_id": "w", "deeply": {"nested": [1, {"more": None}]}}
    assert api.exec("py", "print('ran')", **more)["stdout"] == "ran\n"
    for name in ("/upload", "/upload/batch"):
        assert upload(api, "a", b"1", path=name, unheard_of="x", entity_id="agent_x")["message"] == "success"
    told = upload(api, "a", b"1")
    file = {**ref(told), "size": 3, "metadata": {"x": 1}, "path": "/mnt/data/a", "entity_id": "agent_x"}
    assert api.exec("bash", "cat a", files=[file])["stdout"] == "1"


@pytest.mark.parametrize("name", ["a/b/c.txt", "données/été.csv", "日本/語 テスト.txt", unicodedata.normalize("NFD", "é/ü.txt"), "a'b (1) [2];x=y.txt"])
def test_10_folders_and_utf8_of_file_names_are_kept(api, name):
    head = b'Content-Disposition: form-data; name="file"; filename="%s"\r\nContent-Type: text/plain' % name.encode()
    answer = api.post("/upload", content=b"--b\r\n%s\r\n\r\nx\r\n--b--\r\n" % head, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 200 and answer.json()["files"][0]["filename"] == name
    body = api.exec("bash", f"cat /mnt/data/{shlex.quote(name)}", files=[ref(answer.json())])
    assert (body["stdout"], body["stderr"], body["files"][0]["name"]) == ("x", "", name)


def test_11_a_skill_comes_back_byte_for_byte_and_whole(api):
    names = ["skills/my skill/SKILL.md", "skills/my skill/__init__.py", "skills/my skill/a%20b.txt", "skills/my skill/é.md",
             "skills/my skill/" + unicodedata.normalize("NFD", "é") + ".md", "skills/my skill/.hidden", "skills/my skill/LICENSE",
             "skills/my skill/a+b&c=d.tar.gz", "skills/my skill/UPPER/upper/x.WASM", "skills/my skill/" + "n" * 200 + ".txt"]
    told = batch(api, [(name, name.encode()) for name in names])
    assert (told["message"], told["failed"]) == ("success", 0)
    assert [file["filename"] for file in told["files"]] == names
    refs = [{**ref(told, number=n), "kind": "skill", "resource_id": "66aa01", "version": 3} for n in range(len(names))]
    body = api.exec("py", "import os\nfor a, _, f in os.walk('skills'):\n for n in f:\n  p = os.path.join(a, n)\n  assert open(p).read() == p, p\n"
                          "  print(len(f))", files=refs)
    assert body["stderr"] == "" and all(file["inherited"] for file in body["files"]), body
    assert sorted(file["name"] for file in body["files"]) == sorted(names)


def test_12_empty_files_are_files(api):
    for told in (upload(api, "__init__.py", b""), batch(api, [("__init__.py", b"")])):
        body = api.exec("bash", "stat -c %s __init__.py", files=[ref(told)])
        assert body["stdout"] == "0\n" and body["files"][0]["inherited"] is True
        got = api.get(f"/download/{told['session_id']}/{told['files'][0]['fileId']}")
        assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")
        known = api.get(f"/sessions/{told['session_id']}/objects/{told['files'][0]['fileId']}").json()
        assert known["size"] == 0
    assert [file["size"] for file in api.exec("bash", ": > empty.txt")["files"]] == [0]


@pytest.mark.parametrize("fields", [{"kind": "user"}, {"kind": "agent", "id": "agent_x"}, {"kind": "skill", "id": "66aa01", "version": "3"}],
                         ids=lambda fields: fields["kind"])
def test_13_downloads_say_user_whatever_the_file_was(api, fields):
    told = upload(api, "a.bin", bytes(range(256)), **fields)
    path = f"/download/{told['session_id']}/{told['files'][0]['fileId']}"
    for query in ({"kind": "user", "id": USER}, {}):
        got = api.get(path, params=query)
        assert (got.status_code, got.content) == (200, bytes(range(256)))


def test_14_bytes_outlive_what_last_modified_promises(api, system):
    told = upload(api, "a", b"1")
    path = f"/sessions/{told['session_id']}/objects/{told['files'][0]['fileId']}"
    first = api.get(path, params={"kind": "user", "id": USER}).json()
    modified = datetime.datetime.fromisoformat(first["lastModified"].replace("Z", "+00:00"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", first["lastModified"])
    assert abs(modified.timestamp() - time.time()) < 3600
    api.exec("bash", "cat a", files=[ref(told)])
    api.get(f"/download/{told['session_id']}/{told['files'][0]['fileId']}")
    assert api.get(path).json()["lastModified"] == first["lastModified"]
    url = yaml.safe_load((system.state / "millrace.yaml").read_text()).get("REDIS_URL") or system.redis.url
    with redis.Redis.from_url(url) as store:
        due = [store.zscore(key, told["session_id"]) for key in store.scan_iter(match="*:sdue", count=1000)]
    assert max(filter(None, due)) >= (modified.timestamp() + 24 * 3600) * 1000


def test_15_a_summary_has_the_path_as_its_name_and_the_id(api):
    told = upload(api, "dir/data.csv", b"1,2\n")
    session, file = told["session_id"], told["files"][0]["fileId"]
    (listed,) = api.get(f"/files/{session}", params={"detail": "summary", "kind": "user", "id": USER}).json()
    assert listed["name"].startswith(f"{session}/{file}") and listed["fileId"] == file
    assert listed["size"] == 4 and listed["lastModified"] and listed["etag"]
    (full,) = api.get(f"/files/{session}", params={"detail": "full", "entity_id": "agent_x"}).json()
    assert full["name"].split("/")[1].split(".")[0] == file == full["id"] and full["metadata"]["original-filename"] == "dir/data.csv"
    assert api.get(f"/files/{'z' * 21}", params={"detail": "summary"}).status_code == 404


@pytest.mark.parametrize("path", ["/files/{}/{}", "/v1/files/{}/{}", "/sessions/{}/objects/{}", "/v1/sessions/{}/objects/{}"])
def test_16_files_are_deleted_on_either_path_and_again(api, path):
    told = upload(api, "a", b"1")
    where = path.format(told["session_id"], told["files"][0]["fileId"])
    gone = api.delete(where, params={"kind": "user", "id": USER}, headers={"User-Id": USER})
    assert (gone.status_code, gone.json()["fileId"]) == (200, told["files"][0]["fileId"])
    assert [api.delete(where).status_code for _ in range(2)] == [404, 404]
    assert api.get(f"/download/{told['session_id']}/{told['files'][0]['fileId']}").status_code == 404


@pytest.mark.parametrize("path, more", [("/exec", {"lang": "py"}), ("/exec/programmatic", {"tools": TOOLS})], ids=["exec", "programmatic"])
def test_17_a_full_queue_says_when_in_body_and_header(strict, path, more):
    with Api(strict) as api:
        session = upload(api, "a", b"1")["session_id"]  # one partition's: where there are several, each has its part of the limit
        job = api.submit("bash", "sleep 60", session_id=session)
        wait_until("it runs", lambda: api.job(job)["status"] == "running")
        refused = api.post(path, json={"code": "print(1)", "session_id": session, **more})
        api.delete(f"/v1/jobs/{job}")
        wait_until("it is over", lambda: api.job(job)["status"] == "cancelled")
    body = refused.json()
    assert refused.status_code == 429 and body["error"] == "rate_limited"
    assert isinstance(body["retry_after_seconds"], int) and body["retry_after_seconds"] > 0
    assert int(refused.headers["retry-after"]) == body["retry_after_seconds"] == int(refused.headers["ratelimit-reset"])
    assert refused.headers["ratelimit-remaining"] == "0" and int(refused.headers["ratelimit-limit"]) > 0


def test_18_no_credentials_where_none_are_asked_for(private):
    run = {"lang": "py", "code": "print(1)"}
    for headers in ({}, {"User-Id": USER}, {"x-api-key": "stale"}, {"Authorization": "Bearer a.b.c"}):
        answer = httpx.post(f"{private.url}/v1/exec", json=run, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["stdout"]) == (200, "1\n"), headers


def test_18_credentials_of_the_base_url_and_several_at_once(system):
    """node-fetch sends them without a colon, axios with one; a host may send its key and a token."""
    def status(headers):
        return httpx.post(f"{system.url}/v1/exec", json={"lang": "bash", "code": ":"}, headers=headers, timeout=60).status_code
    for text in (system.key, f"{system.key}:", f":{system.key}", f"user:{system.key}"):
        assert status({"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}) == 200, text
    assert status({"Authorization": "Bearer a.b.c", "x-api-key": system.key}) == 200
    assert status({"Authorization": f"Bearer {system.key}", "x-api-key": "stale"}) == 200
    assert status({"Authorization": "Bearer a.b.c", "x-api-key": "stale"}) == 401
    assert status({}) == 401


@pytest.mark.parametrize("lang, code", [*[(lang, "print(type(await get_weather(city='x')).__name__)") for lang in (None, "python", "py")],
                                        *[(lang, "get_weather '{}' | jq -r type") for lang in ("bash", "sh")]])
def test_19_python_has_no_lang_and_bash_has(api, lang, code):
    told = programmatic(api, code, **({"lang": lang} if lang else {}))
    assert told["status"] == "tool_call_required"
    done = go_on(api, told, {"call_id": told["tool_calls"][0]["id"], "result": {"a": 1}, "is_error": False})
    assert (done["status"], done["stdout"]) == ("completed", "dict\n" if "await" in code else "object\n")


@pytest.mark.parametrize("name, python, bash", [
    ("search_mcp_my-server", "search_mcp_my_server", "search_mcp_my_server"), ("a.b c", "ab_c", "a_b_c"), ("2fast", "_2fast", "_2fast"),
    ("class", "class_tool", "class"), ("done", "done", "done_tool")])
def test_20_calls_have_the_original_name(api, name, python, bash):
    for lang, code in (("python", f"await {python}(city='x')"), ("bash", f"{bash} '{{\"city\":\"x\"}}'")):
        told = programmatic(api, code, [{**TOOLS[0], "name": name}], lang=lang)
        assert [(call["name"], call["input"]) for call in told["tool_calls"]] == [(name, {"city": "x"})], told
        assert go_on(api, told, {"call_id": told["tool_calls"][0]["id"], "result": 1})["status"] == "completed"


def test_21_all_output_at_the_end_and_tracebacks_on_stderr(api):
    told = programmatic(api, "print('a')\nfor i in range(2): print(await get_weather(city=i))\nprint('z')")
    told = go_on(api, told, {"call_id": "call_001", "result": 1})
    assert go_on(api, told, {"call_id": "call_002", "result": 2})["stdout"] == "a\n1\n2\nz\n"
    failed = programmatic(api, "print('a')\nraise ValueError('because')")
    assert failed["status"] == "error" and "ValueError: because" in failed["stderr"] and "because" not in failed["error"]
    assert re.fullmatch(r"Sandbox exited with code -?\d{1,4}", failed["error"])
    assert programmatic(api, "while True: pass", timeout=1000)["error"] == "Time limit exceeded"


def test_22_continuations_carry_token_and_results_and_nothing_more(api):
    told = programmatic(api, "print(await get_weather(city='x'), await get_weather(city='y'))", timeout=3000)
    time.sleep(3.5)  # the client's own tools take longer than the program may: that is not its time
    told = go_on(api, told, {"call_id": "call_001", "is_error": False})
    done = go_on(api, told, {"call_id": "call_002", "result": None, "is_error": False})
    assert (done["status"], done["stdout"]) == ("completed", "None None\n")


def test_22_an_execution_that_nobody_continues_ends(strict):
    with Api(strict) as api:
        programmatic(api, "await get_weather(city='x')")
        job = api.get("/v1/jobs").json()["jobs"][0]["job_id"]
        wait_until("it has ended", lambda: api.job(job)["status"] == "failed")
        assert api.job(job)["result"]["reason"] == "tools_timeout"


def test_23_bash_is_what_the_file_tools_expect(api):
    text = b"one\r\ntwo \t\x0cthree\n\n\n"
    told = upload(api, "f.txt", text)
    body = api.exec("bash", "cat '/mnt/data/f.txt'", files=[ref(told)])
    assert (body["stdout"].encode(), body["stderr"]) == (text, "")
    missing = api.exec("bash", "cat '/mnt/data/none.txt'")
    assert (missing["stdout"], missing["stderr"]) == ("", "cat: /mnt/data/none.txt: No such file or directory\n")
    tools = api.exec("bash", "cat --version | head -1; python3 -c 'print(6*7)'; echo '{\"a\": [1]}' | jq -c .a; pwd; echo $HOME; : & wait \"$!\"")
    assert re.fullmatch(r"cat \(GNU coreutils\) .*\n42\n\[1\]\n/mnt/data\n/mnt/data\n", tools["stdout"]) and tools["stderr"] == ""


def test_24_a_megabyte_of_output_or_the_word_that_it_was_too_much(api):
    body = api.exec("py", f"print('x' * {1 << 20})")
    assert (len(body["stdout"]), body["status"]) == ((1 << 20) + 1, None)
    assert api.exec("py", f"print('x' * {1 << 25})")["status"] == "OL"


def test_25_two_inputs_with_one_name_never_fail_a_run(api):
    refs = [ref(upload(api, "f.txt", b"first")), ref(upload(api, "f.txt", b"second"))]
    body = api.exec("bash", "cat f.txt", files=refs)
    assert (body["stdout"], body["stderr"]) == ("second", "")
    refs = [ref(upload(api, "d", b"file")), ref(upload(api, "d/f.txt", b"folder"))]
    assert api.exec("bash", "cat d/f.txt", files=refs)["stdout"] == "folder"
    assert api.exec("bash", "cat d", files=refs[::-1])["stdout"] == "file"
