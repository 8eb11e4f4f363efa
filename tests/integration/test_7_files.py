# SPDX-License-Identifier: Apache-2.0
"""Files: uploaded, given to runs, taken from runs, listed, downloaded, deleted."""
import concurrent.futures
import datetime
import hashlib
import os
import re

import pytest
import redis
import yaml

from contract import Api
from rawhttp import Raw
from system import wait_until

MIB = 1024 * 1024
STRANGE = ["a.csv", "sälés 'x'.csv", "日本/語.txt", "a b/c d.txt", "-rf", "emoji 🦀.txt", "x" * 255, "a/" * 9 + "z", ".hidden"]
NOWHERE = "aB3dE5gH7jK9mN1pQ3sT5"


def upload(api, name="a.csv", data=b"region,total\n", **fields):
    answer = api.post("/upload", data={"kind": "user", "id": "665f0c2e9b1d4a0012ab34cd", **fields},
                      files={"file": (name, data)})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["message"] == "success" and body["session_id"] == body["storage_session_id"]
    assert body["files"][0]["filename"] == name
    return {"id": body["files"][0]["fileId"], "storage_session_id": body["session_id"], "name": name, "kind": "user",
            "resource_id": body["files"][0]["fileId"]}


def batch(api, files, **fields):
    return api.post("/upload/batch", data={"kind": "skill", "id": "66aa01", "version": "3", **fields},
                    files=[("file", pair) for pair in files])


def place(ref):
    return f"{ref['storage_session_id']}/{ref['id']}"


def download(api, ref, **more):
    return api.get(f"/download/{place(ref)}", **more)


def by_name(body):
    return {file["name"]: file for file in body["files"]}


def refused(body):
    return {file["name"]: file["reason"] for file in body.get("refused_files", [])}


def objects(system):
    """What the directory store holds: paths of objects, but for those that the archiver moves there meanwhile."""
    roots = [system.object_folder(), system.state / "objects"]
    found = (os.path.join(folder, name) for root in roots for folder, _, names in os.walk(root) for name in names)
    return {path for path in found if "/archive." not in path}


def form(*parts, boundary="b"):
    body = b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head, data) for head, data in parts)
    return body + b"--%s--\r\n" % boundary.encode()


def raw_upload(api, body, path="/upload", headers=None):
    return api.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=b", **(headers or {})})


# ---- uploads and what is known of them ----

@pytest.mark.parametrize("name", STRANGE)
def test_names_and_bytes_come_back_as_they_went_in(api, name):
    data = os.urandom(1000)
    ref = upload(api, name, data)
    assert re.fullmatch(r"[A-Za-z0-9_-]{21}", ref["id"]) and re.fullmatch(r"[A-Za-z0-9_-]{21}", ref["storage_session_id"])
    answer = download(api, ref)
    assert answer.content == data
    sent = answer.headers["content-disposition"].split("filename*=UTF-8''")[1]
    from urllib.parse import unquote
    assert unquote(sent) == name
    body = api.exec("py", f"import sys; print(open({name!r}, 'rb').read() == bytes.fromhex('{data.hex()}'))", files=[ref])
    assert body["stdout"] == "True\n", body["stderr"]
    assert body["files"] == [{"id": ref["id"], "name": name, "session_id": ref["storage_session_id"],
                              "storage_session_id": ref["storage_session_id"], "size": 1000, "inherited": True}]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 5 * MIB])
def test_sizes(api, size):
    data = os.urandom(size)
    ref = upload(api, "f.bin", data)
    assert download(api, ref).content == data
    head = api.head(f"/download/{place(ref)}")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
    body = api.exec("bash", "sha256sum f.bin", files=[ref])
    assert body["stdout"].split()[0] == hashlib.sha256(data).hexdigest(), body["stderr"]


def test_a_program_that_left_files_is_waited_for(api):
    """It says that it is over (PROGRAM_IS_OVER) and goes on: without files that would have been its end."""
    over = "import os, struct; os.write(3, struct.pack('=Ii', 0x4D525450, 512 + 7))"
    body = api.exec("py", f"open('a.txt', 'w').write('x')\n{over}\nopen('b.txt', 'w').write('y'); print('whole')")
    assert (body["exit_code"], body["stdout"], sorted(by_name(body))) == (0, "whole\n", ["a.txt", "b.txt"])


def test_the_limit_of_an_upload_is_exact(make_system):
    system = make_system(env={"MAX_UPLOAD_MB": "1"})
    with Api(system) as api:
        assert download(api, upload(api, "f", b"x" * MIB)).content == b"x" * MIB
        before = objects(system)
        answer = api.post("/upload", files={"file": ("f", b"x" * (MIB + 1))})
        assert (answer.status_code, answer.json()["error"]) == (413, "File size limit exceeded")
        answer = batch(api, [("SKILL.md", b"x"), ("big", b"x" * (MIB + 1))])
        assert answer.status_code == 200 and answer.json()["message"] == "partial_success"
        assert answer.json()["files"][1]["error"] == "File size limit exceeded"
        wait_until("the good one is there alone", lambda: len(objects(system) - before) == 1)
        announced = Raw(system.url)
        announced.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                       b"Content-Length: 99999999\r\n\r\n" % system.key.encode())
        assert announced.answer()[0] == 413


def test_every_level_of_detail(api):
    ref = upload(api, "dir/data.csv", b"1,2\n")
    session, file = ref["storage_session_id"], ref["id"]
    name = f"{session}/{file}.csv"
    listed = {detail: api.get(f"/files/{session}", params={"detail": detail}).json()
              for detail in ("simple", "summary", "full", "normalized")}
    assert listed["simple"] == [name] == api.get(f"/v1/files/{session}").json()
    assert (listed["summary"][0]["name"], listed["summary"][0]["fileId"]) == (name, file)
    full = listed["full"][0]
    assert (full["name"], full["id"], full["storage_session_id"], full["session_id"]) == (name, file, session, session)
    assert full["metadata"]["original-filename"] == "dir/data.csv" and full["contentType"]
    assert (listed["normalized"][0]["id"], listed["normalized"][0]["name"]) == (file, "dir/data.csv")
    known = api.get(f"/sessions/{session}/objects/{file}", params={"kind": "user", "id": "x"}).json()
    assert (known["name"], known["originalFilename"], known["size"], known["readOnly"]) == (name, "dir/data.csv", 4, False)
    when = datetime.datetime.fromisoformat(known["lastModified"].replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()) < 3600
    assert known["etag"] == hashlib.sha256(b"1,2\n").hexdigest()


@pytest.mark.parametrize("wanted,part", [("bytes=0-3", b"0123"), ("bytes=4-", b"456789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89"),
                                         ("bytes=0-9", b"0123456789")])
def test_ranges(api, wanted, part):
    answer = download(api, upload(api, "f", b"0123456789"), headers={"range": wanted})
    assert (answer.status_code, answer.content) == (206, part)
    assert re.fullmatch(r"bytes \d+-\d+/10", answer.headers["content-range"])


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=-"])
def test_what_is_no_range_gets_the_whole(api, wanted):
    answer = download(api, upload(api, "f", b"0123456789"), headers={"range": wanted})
    assert (answer.status_code, answer.content) == (200, b"0123456789")


def test_a_range_behind_the_end(api):
    answer = download(api, upload(api, "f", b"0123456789"), headers={"range": "bytes=10-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10")


@pytest.mark.parametrize("path", ["/files/{0}/{1}", "/v1/sessions/{0}/objects/{1}"])
def test_delete_is_final_and_can_be_repeated(api, system, path):
    ref = upload(api)
    before = objects(system)
    where = path.format(ref["storage_session_id"], ref["id"])
    answer = api.delete(where, params={"kind": "user", "id": "x"})
    assert (answer.status_code, answer.json()["message"]) == (200, "File deleted successfully")
    assert [api.delete(where).status_code, download(api, ref).status_code] == [404, 404]
    wait_until("the object is gone", lambda: len(objects(system)) < len(before))
    assert api.exec("py", "print(1)", files=[ref])["reason"] == "input_missing"


@pytest.mark.parametrize("session,file", [(NOWHERE, NOWHERE), ("short", NOWHERE), (NOWHERE, "a" * 22), ("a%20b", NOWHERE)])
def test_unknown_and_impossible_ids_are_404(api, session, file):
    for path in (f"/download/{session}/{file}", f"/files/{session}", f"/sessions/{session}/objects/{file}"):
        assert api.get(path).status_code == 404
    assert api.delete(f"/files/{session}/{file}").status_code == 404


@pytest.mark.parametrize("id", ["..%2f..%2f..%2f..%2fetc", "%2e%2e", "..%5c..", "a%00", "a%0d%0aX-Injected:%20y", "%C3%A4" * 10, "." * 21, "*" * 21])
def test_traversal_in_ids_reaches_nothing(api, id):
    """Whatever is made of the path, it is an id that nobody has, or no path of ours."""
    for path in (f"/download/{id}/{NOWHERE}", f"/download/{NOWHERE}/{id}", f"/files/{id}", f"/sessions/{NOWHERE}/objects/{id}"):
        for answer in (api.get(path), api.delete(path)):
            assert answer.status_code in (400, 404, 405) and "x-injected" not in answer.headers
    for ref in ({"id": id, "session_id": NOWHERE, "name": "f"}, {"id": NOWHERE, "session_id": id, "name": "f"}):
        assert api.post("/exec", json={"lang": "py", "code": "1", "files": [ref]}).status_code == 400
    assert api.post("/upload", data={"session_id": id}, files={"file": ("f", b"1")}).status_code == 422


def test_what_has_expired_looks_as_if_it_never_was(api, system):
    ref = upload(api)
    url = yaml.safe_load((system.state / "millrace.yaml").read_text()).get("REDIS_URL") or system.redis.url
    with redis.Redis.from_url(url) as store:
        (key,) = [key for key in store.scan_iter(match=f"*s:{ref['storage_session_id']}", count=1000)]
        store.hset(key, "due", 1)

    def told(ref):
        asked = [api.get(f"/download/{place(ref)}"), api.get(f"/files/{ref['storage_session_id']}"), api.delete(f"/files/{place(ref)}"),
                 api.get(f"/sessions/{ref['storage_session_id']}/objects/{ref['id']}"),
                 api.post("/upload", data={"session_id": ref["storage_session_id"]}, files={"file": ("f", b"1")})]
        body = api.exec("py", "print('ran')", files=[ref])
        return [(answer.status_code, {**answer.json(), "request_id": ""}) for answer in asked], body["stdout"], body["stderr"], body["reason"]
    expired = told(ref)
    assert expired == told({**ref, "id": NOWHERE, "storage_session_id": NOWHERE})
    assert [status for status, _ in expired[0]] == [404] * 5 and expired[1] == "" and expired[3] == "input_missing"


def test_slashes_are_collapsed(api):
    answer = api.post("/v1//upload", files={"file": ("f", b"1")})
    assert answer.status_code == 200
    session, file = answer.json()["session_id"], answer.json()["files"][0]["fileId"]
    assert api.get(f"//download//{session}/{file}").content == b"1"


def test_another_tenants_files_are_unknown(make_system):
    system = make_system(env={"API_KEYS": "other:another-key-of-17"})
    with Api(system) as mine, Api(system, key="another-key-of-17") as other:
        ref = upload(mine)
        session = ref["storage_session_id"]
        asked = [other.get(f"/download/{place(ref)}"), other.get(f"/files/{session}"), other.delete(f"/files/{place(ref)}"),
                 other.get(f"/sessions/{session}/objects/{ref['id']}"),
                 other.post("/upload", data={"session_id": session}, files={"file": ("f", b"1")})]
        unknown = other.get(f"/download/{NOWHERE}/{NOWHERE}").json()
        assert [answer.status_code for answer in asked] == [404] * 5
        assert {**asked[0].json(), "request_id": ""} == {**unknown, "request_id": ""}
        body = other.exec("py", "print('ran')", files=[ref])
        assert (body["stdout"], body["reason"]) == ("", "input_missing")
        assert download(mine, ref).status_code == 200
        theirs = other.exec("py", "print(1)", session_id=session)
        assert theirs["session_id"] != session and theirs["stdout"] == "1\n"
        assert other.post("/v1/jobs", json={"lang": "py", "code": "1", "session_id": session}).status_code == 404
        assert mine.post("/v1/jobs", json={"lang": "py", "code": "1", "session_id": session}).status_code == 202


# ---- batches ----

def test_two_hundred_files_in_a_batch_and_in_a_run(api):
    files = [(f"skills/pdf/{i // 20}/f{i}.md", b"" if i % 7 == 0 else b"%d" % i) for i in range(199)]
    answer = batch(api, [("skills/pdf/SKILL.md", b"# pdf")] + files, read_only="true")
    body = answer.json()
    assert (answer.status_code, body["message"], body["succeeded"], body["failed"]) == (200, "success", 200, 0)
    assert [file["filename"] for file in body["files"]] == ["skills/pdf/SKILL.md"] + [name for name, _ in files]
    refs = [{"id": file["fileId"], "storage_session_id": body["session_id"], "name": file["filename"], "kind": "skill",
             "resource_id": "66aa01", "version": 3} for file in body["files"]]
    code = "import os; print(sum(len(f) for a, _, f in os.walk('skills'))); open('skills/pdf/9/f199.md', 'w')"
    run = api.exec("py", code.replace("open(", "os.access('skills/pdf/SKILL.md', os.W_OK) or open("), files=refs)
    assert run["stdout"] == "200\n", run["stderr"]
    assert [file["name"] for file in run["files"] if "inherited" not in file] == ["skills/pdf/9/f199.md"]
    assert download(api, refs[0]).headers["x-read-only"] == "true"


def test_more_files_than_a_batch_takes(api):
    body = batch(api, [(f"f{i}", b"x") for i in range(201)]).json()
    assert (body["succeeded"], body["filesLimitReached"], body["maxFiles"]) == (200, True, 200)


def test_a_batch_tells_of_each_file(api):
    answer = batch(api, [("good", b"1"), ("../bad", b"2"), ("also/good", b"3")])
    body = answer.json()
    assert (answer.status_code, body["message"], body["succeeded"], body["failed"]) == (200, "partial_success", 2, 1)
    assert [file["status"] for file in body["files"]] == ["success", "error", "success"]
    answer = batch(api, [("../bad", b"2")])
    assert (answer.status_code, answer.json()["message"]) == (400, "error")


@pytest.mark.parametrize("path", ["/upload", "/upload/batch"])
def test_an_upload_without_files(api, path):
    answer = raw_upload(api, form((b'Content-Disposition: form-data; name="kind"', b"user"),
                                  (b'Content-Disposition: form-data; name="id"', b"x")), path)
    assert (answer.status_code, answer.json()["error"][:3]) == (400, "No ")


@pytest.mark.parametrize("fields", [{"kind": "group", "id": "x"}, {"kind": "user"}, {"kind": "skill", "id": "x"}, {"kind": "user", "id": "a/b"},
                                    {"kind": "user", "id": "x", "version": "1"}, {"kind": "skill", "id": "x", "version": "one"}])
def test_fields_that_are_not_as_they_have_to_be(api, system, fields):
    before = objects(system)
    answer = api.post("/upload", data=fields, files={"file": ("f", b"1")})
    assert answer.status_code == 400
    wait_until("nothing is left of it", lambda: objects(system) <= before)


# ---- hostile uploads ----

@pytest.mark.parametrize("name", [b"../x", b"/etc/passwd", b"a/../b", b"a//b", b"./a", b"..", b"a/", b"", b"a\\\\b", b"x" * 256, b"a/" * 10 + b"z"])
def test_names_that_are_no_paths_below_the_working_directory(api, system, name):
    before = objects(system)
    answer = raw_upload(api, form((b'Content-Disposition: form-data; name="file"; filename="%s"' % name, b"x")))
    assert answer.status_code == 400, answer.text
    wait_until("nothing is left of it", lambda: objects(system) <= before)


@pytest.mark.parametrize("head", [b'Content-Disposition: form-data; name="file"; filename="a\r\nX: y"', b'Content-Disposition: form-data; name="file"; filename="a\x00b"',
                                  b'Content-Disposition: form-data; name="file"; filename="\xff\xfe"',
                                  b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''a%0d%0ab", b'X-Nothing: 1', b"Content-Disposition: form-data" + b"; x=y" * 4000])
def test_malformed_parts(api, head):
    assert raw_upload(api, form((head, b"x"))).status_code in (400, 413)


@pytest.mark.parametrize("body", [b"", b"--b\r\n", b"nothing", form((b'Content-Disposition: form-data; name="file"; filename="a"', b"x"))[:-4]])
def test_bodies_that_are_cut(api, system, body):
    before = objects(system)
    assert raw_upload(api, body).status_code == 400
    wait_until("nothing is left of it", lambda: objects(system) <= before)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "b" * 71])
def test_what_is_no_form(api, kind):
    assert api.post("/upload", content=b"x", headers={"content-type": kind}).status_code == 400


def test_a_bomb_of_parts(api):
    parts = [(b'Content-Disposition: form-data; name="kind"', b"user")] * 3000
    assert raw_upload(api, form(*parts)).status_code == 413


@pytest.mark.parametrize("parts, path", [
    ([(b'Content-Disposition: form-data; name="kind"', b"u" * (5 * MIB))], "/upload"),
    ([(b'Content-Disposition: form-data; name="kind"', b"user")] * 100 + [(b'Content-Disposition: form-data; name="file"; filename="a"', b"x")] * 3000, "/upload/batch"),
    ([(b'Content-Disposition: form-data; name="file"; filename="a"\r\n' + b"X-A: b\r\n" * 2000, b"x")], "/upload"),
    ([(b'Content-Disposition: form-data; name="' + b"n" * 70000 + b'"', b"x")], "/upload"),
    ([(b'Content-Type: multipart/mixed; boundary=b\r\nContent-Disposition: form-data; name="file"; filename="a"', form((b"X: y", b"x")))] , "/upload")],
    ids=["field", "files", "headers", "name", "nested"])
def test_other_bombs(api, system, parts, path):
    before = objects(system)
    answer = raw_upload(api, form(*parts), path)
    assert answer.status_code in (400, 413), answer.text
    assert api.exec("py", "print(1)")["stdout"] == "1\n"
    wait_until("nothing is left of it", lambda: objects(system) <= before)


def test_two_files_where_one_is_usual(api):
    """Neither is dropped silently."""
    part = b'Content-Disposition: form-data; name="file"; filename="%s"'
    told = raw_upload(api, form((part % b"a", b"1"), (part % b"b", b"2"))).json()
    assert (told["message"], [file["filename"] for file in told["files"]]) == ("success", ["a", "b"])
    assert [api.get(f"/download/{told['session_id']}/{file['fileId']}").content for file in told["files"]] == [b"1", b"2"]


def test_a_lying_length_and_a_client_that_leaves_leave_nothing(api, system):
    before = objects(system)
    whole = form((b'Content-Disposition: form-data; name="file"; filename="a"', b"x" * MIB),
                 (b'Content-Disposition: form-data; name="file"; filename="b"', b"y" * MIB))
    for cut in (100, MIB // 2, MIB + 300, len(whole)):
        with Raw(system.url) as raw:
            raw.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                     b"Content-Length: %d\r\n\r\n" % (system.key.encode(), len(whole) + 7) + whole[:cut])
    assert api.exec("py", "print(1)")["stdout"] == "1\n"
    wait_until("nothing is left of them", lambda: objects(system) <= before)


def test_a_chunked_upload_one_byte_at_a_time(api, system):
    whole = form((b'Content-Disposition: form-data; name="file"; filename="a"', b"x\r\n--xb\r\n--"))
    with Raw(system.url) as raw:
        raw.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                 b"Transfer-Encoding: chunked\r\n\r\n" % system.key.encode())
        raw.send(b"".join(b"1\r\n%c\r\n" % byte for byte in whole) + b"0\r\n\r\n")
        status, _, body = raw.answer()
    import json
    assert status == 200, body
    told = json.loads(body)
    assert api.get(f"/download/{told['session_id']}/{told['files'][0]['fileId']}").content == b"x\r\n--xb\r\n--"


def test_concurrent_uploads_into_one_session(api, system):
    first = upload(api, "f0", b"0")
    session = first["storage_session_id"]

    def one(i):
        with Api(system) as client:
            return client.post("/upload", data={"session_id": session}, files={"file": (f"f{i}", b"%d" % i)}).json()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(1, 30)))
    assert {answer["session_id"] for answer in answers} == {session}
    listed = api.get(f"/files/{session}", params={"detail": "normalized"}).json()
    assert sorted(file["name"] for file in listed) == sorted(f"f{i}" for i in range(30))
    # The 50 files of a session are its limit.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = [("files" in answer) for answer in pool.map(one, range(30, 60))]
    assert sum(codes) == 20


# ---- runs ----

def test_outputs_are_stored_whole_and_in_their_folders(api):
    code = """
        import os
        open('a.bin', 'wb').write(bytes(range(256)) * 4000)
        os.makedirs('d/e'); open('d/e/é 🦀.txt', 'w').write('x'); open('empty', 'w'); os.mkdir('nothing')
        os.makedirs('.cache/x'); open('.cache/x/y', 'w'); open('.env', 'w').write('A=1')
    """
    import textwrap
    body = api.exec("py", textwrap.dedent(code))
    assert sorted(by_name(body)) == [".env", "a.bin", "d/e/é 🦀.txt", "empty"], body
    assert all(file["storage_session_id"] == body["session_id"] for file in body["files"])
    assert download(api, by_name(body)["a.bin"]).content == bytes(range(256)) * 4000
    assert download(api, by_name(body)["empty"]).content == b""
    assert len(api.get(f"/files/{body['session_id']}").json()) == 4


@pytest.mark.parametrize("lang,code", [("bash", "true"), ("js", "1"), ("py", "print(1)")])
def test_a_run_that_writes_nothing_has_no_files_and_no_session(api, lang, code):
    body = api.exec(lang, code, state=False) if lang == "py" else api.exec(lang, code)
    assert body["files"] == [] and "refused_files" not in body
    assert api.get(f"/files/{body['session_id']}").status_code == 404


@pytest.mark.parametrize("end,expected", [("import os; os._exit(3)", 3), ("raise SystemExit(1)", 1)])
def test_a_program_that_fails_gives_its_files_too(api, end, expected):
    body = api.exec("py", f"open('f', 'w').write('x')\n{end}")
    assert body["exit_code"] == expected and list(by_name(body)) == ["f"]


def test_a_program_that_is_ended_gives_its_files_too(api):
    body = api.exec("py", "open('f', 'w').write('x')\nwhile True: pass", timeout_ms=2000)
    assert body["timed_out"] and list(by_name(body)) == ["f"]


def test_what_is_not_given_back_is_listed_with_its_reason(api):
    body = api.exec("bash", """
        ln -s /etc/passwd link; ln -s /dev/urandom endless; ln -s loop loop; mkfifo pipe; echo x > one; ln one two
        printf x > $'new\\nline'; printf x > 'back\\slash'; mkdir -p 1/2/3/4/5/6/7/8/9/10/11; touch 1/2/3/4/5/6/7/8/9/10/11/f
        printf x > $'\\xff\\xfe'; echo good > good; mkdir locked; echo hidden > locked/f; chmod 0 locked; echo secret > unreadable; chmod 0 unreadable
        perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("sock")) or die'
    """)
    assert refused(body) == {"link": "symlink", "endless": "symlink", "loop": "symlink", "pipe": "special", "sock": "special",
                             "one": "hard_link", "two": "hard_link", "new\nline": "bad_name",
                             "back\\slash": "bad_name", "1/2/3/4/5/6/7/8/9/10": "too_deep", "��": "bad_name"}, body
    assert sorted(by_name(body)) == ["good", "locked/f", "unreadable"], body
    assert download(api, by_name(body)["unreadable"]).content == b"secret\n"


@pytest.mark.parametrize("count", [10, 11, 101, 10001])
def test_too_many_outputs_are_counted(api, count):
    body = api.exec("py", f"for i in range({count}): open(f'f{{i:05}}', 'w').close()")
    assert [file["name"] for file in body["files"]] == [f"f{i:05}" for i in range(10)]
    left = body.get("refused_files", [])
    assert sum(file.get("count", 1) for file in left) == count - 10
    assert {file["reason"] for file in left} <= {"too_many"} and len(left) <= 65


def test_outputs_larger_than_all_may_be(api):
    body = api.exec("py", "for i in range(6): open(f'f{i}', 'wb').write(b'x' * 9_000_000)")
    told = {**{name: "" for name in by_name(body)}, **refused(body)}
    assert len(told) == 6 and all(reason in ("", "total", "session_full", "too_large") for reason in told.values()), body


def test_an_input_larger_than_an_output_may_be(api):
    ref = upload(api, "big", b"x" * 12 * MIB)
    body = api.exec("bash", "wc -c < big", files=[ref])
    assert body["stdout"].strip() == str(12 * MIB) and by_name(body)["big"]["inherited"] is True and not refused(body)


def test_inputs_larger_than_the_working_directory(api):
    refs = [upload(api, f"f{i}", b"x" * 15 * MIB) for i in range(4)]
    assert api.exec("bash", "cat f0 f1 f2 | wc -c", files=refs[:3])["stdout"].strip() == str(45 * MIB)
    body = api.exec("bash", "echo ran", files=refs)
    assert (body["stdout"], body["reason"], body["job_status"]) == ("", "input_too_large", "failed")
    assert "larger than the working directory" in body["stderr"]


def test_an_output_at_its_limit_and_a_byte_more(api):
    body = api.exec("bash", f"head -c {10 * MIB} /dev/zero > at; head -c {10 * MIB + 1} /dev/zero > over; echo on", timeout_ms=20000)
    assert body["stdout"] == "on\n" and "File size limit exceeded" in body["stderr"]
    assert {name: file["size"] for name, file in by_name(body).items()} == {"at": 10 * MIB, "over": 10 * MIB}


def test_the_log_of_a_job_tells_of_its_files(api):
    ref = upload(api, "in", b"x")
    job = api.submit("bash", "echo y > out; ln -s / link", files=[ref])
    told = {event["path"]: event for event in api.events(job) if event["type"] == "file"}
    files = by_name(api.job(job)["result"])
    assert told["out"]["file_id"] == files["out"]["id"] and told["out"]["hash"] == hashlib.sha256(b"y\n").hexdigest()
    assert told["in"]["inherited"] is True and told["link"]["refused"] == "symlink"


def test_a_session_that_is_full_takes_no_more_outputs(make_system):
    system = make_system(env={"MAX_FILES_PER_SESSION": "3"})
    with Api(system) as api:
        first = api.exec("bash", "echo 1 > a; echo 1 > b; echo 1 > c")
        session, before = first["session_id"], objects(system)
        full = api.exec("bash", "echo 2 > d", session_id=session)
        assert full["files"] == [] and refused(full) == {"d": "session_full"}
        wait_until("its object is gone", lambda: objects(system) == before)
        # What a run replaces makes room.
        again = api.exec("bash", "echo 2 > a", session_id=session)
        assert list(by_name(again)) == ["a"] and download(api, by_name(again)["a"]).content == b"2\n"
        assert download(api, by_name(first)["a"]).status_code == 404
        assert len(api.get(f"/files/{session}").json()) == 3


def test_a_changed_input_is_a_new_file_of_the_same_name(api):
    ref = upload(api, "d/data.csv", b"1\n")
    body = api.exec("bash", "echo 2 >> d/data.csv; echo new > new.txt", files=[ref])
    changed = by_name(body)["d/data.csv"]
    assert changed["id"] != ref["id"] and changed["storage_session_id"] == body["session_id"] and "inherited" not in changed
    assert changed["modified_from"] == {"id": ref["id"], "storage_session_id": ref["storage_session_id"]}
    assert (download(api, changed).content, download(api, ref).content) == (b"1\n2\n", b"1\n")
    again = api.exec("bash", "cat d/data.csv new.txt", files=[{**file, "kind": "user", "resource_id": file["id"]} for file in body["files"]])
    assert again["stdout"] == "1\n2\nnew\n"
    assert all(file["inherited"] is True for file in again["files"])


def test_a_change_through_a_mapping_and_one_that_hides_its_time_are_seen(api):
    ref = upload(api, "f", b"x" * 5000)
    code = """
        import mmap, os
        st = os.stat('f')
        with open('f', 'r+b') as f, mmap.mmap(f.fileno(), 0) as m: m[4000:4001] = b'y'
        os.utime('f', ns=(st.st_atime_ns, st.st_mtime_ns))
    """
    import textwrap
    body = api.exec("py", textwrap.dedent(code), files=[ref])
    assert "inherited" not in by_name(body)["f"] and b"y" in download(api, by_name(body)["f"]).content


def test_a_touched_input_is_still_the_same(api):
    ref = upload(api, "f", b"x")
    assert by_name(api.exec("bash", "touch f; cp f g; mv g f", files=[ref]))["f"]["id"] == ref["id"]


def test_a_removed_input_is_told(api):
    refs = [upload(api, "gone", b"x"), upload(api, "stays", b"y")]
    body = api.exec("bash", "rm gone", files=refs)
    assert body["deleted_files"] == ["gone"] and list(by_name(body)) == ["stays"]


def test_read_only_files_are_what_they_were(api):
    told = batch(api, [("skills/a/SKILL.md", b"# a")], read_only="true").json()
    ref = {"id": told["files"][0]["fileId"], "session_id": told["session_id"], "name": "skills/a/SKILL.md"}
    body = api.exec("bash", "echo x >> skills/a/SKILL.md; rm -f skills/a/SKILL.md; echo other > skills/a/SKILL.md", files=[ref])
    assert "Permission denied" in body["stderr"]
    assert by_name(body) == {"skills/a/SKILL.md": {"id": ref["id"], "name": "skills/a/SKILL.md", "session_id": ref["session_id"],
                                                   "storage_session_id": ref["session_id"], "size": 3, "inherited": True}}


def test_of_two_inputs_with_one_name_the_later_wins(api):
    refs = [upload(api, "f", b"first"), upload(api, "f", b"second")]
    body = api.exec("bash", "cat f", files=refs)
    assert body["stdout"] == "second" and by_name(body)["f"]["id"] == refs[1]["id"] and refused(body) == {"f": "same_name"}
    inside = [upload(api, "d", b"file"), upload(api, "d/f", b"folder")]
    assert api.exec("bash", "cat d/f", files=inside)["stdout"] == "folder"


def test_an_input_called_as_the_source_would_be(api):
    ref = upload(api, "main.py", b"print('input')")
    body = api.exec("py", "print(open('main.py').read())", files=[ref])
    assert body["stdout"] == "print('input')\n", body["stderr"]
    assert list(by_name(body)) == ["main.py"] and by_name(body)["main.py"]["inherited"] is True


def test_both_generations_of_references(api):
    ref = upload(api, "f", b"x")
    for shape in ({"id": ref["id"], "session_id": ref["storage_session_id"], "name": "f"},
                  {"id": ref["id"], "storage_session_id": ref["storage_session_id"], "name": "f", "kind": "agent", "resource_id": "a.b:c"},
                  {"id": ref["id"], "storage_session_id": ref["storage_session_id"], "name": "other", "kind": "skill", "resource_id": "1", "version": 1}):
        assert api.exec("bash", f"cat {shape['name']}", files=[shape])["stdout"] == "x"


def test_a_missing_input_is_named_and_nothing_runs(api):
    good = upload(api, "good", b"x")
    body = api.exec("py", "print('ran')", files=[good, {**good, "id": NOWHERE, "name": "one"},
                                                {**good, "storage_session_id": NOWHERE, "name": "two"}])
    assert (body["stdout"], body["job_status"], body["reason"], body["files"]) == ("", "failed", "input_missing", [])
    assert '"one"' in body["stderr"] and '"two"' in body["stderr"] and '"good"' not in body["stderr"]
    job = api.wait(api.submit("py", "print('ran')", files=[{**good, "id": NOWHERE}]))
    assert (job["status"], job["result"]["reason"]) == ("failed", "input_missing")


@pytest.mark.parametrize("files,why", [
    ("x", "files must be an array"), ([1], "files[0] must be an object"), ([{"id": "short"}], "files[0].id is invalid"),
    ([{"id": NOWHERE, "storage_session_id": "x"}], "files[0].storage_session_id is invalid"),
    ([{"id": NOWHERE, "session_id": NOWHERE}], "files[0].name must be a string"),
    ([{"id": NOWHERE, "session_id": NOWHERE, "name": "f", "kind": "x"}], "files[0].kind must be one of: skill, agent, user"),
    ([{"id": NOWHERE, "session_id": NOWHERE, "name": "f", "resource_id": "a b"}], "files[0].resource_id is invalid"),
    ([{"id": NOWHERE, "session_id": NOWHERE, "name": "f", "kind": "skill"}], "files[0].version is required for kind: 'skill'"),
    ([{"id": NOWHERE, "session_id": NOWHERE, "name": "f", "kind": "user", "version": 1}], "files[0].version is only valid for kind: 'skill'"),
    *[([{"id": NOWHERE, "session_id": NOWHERE, "name": name}], why) for name, why in [
        ("", "must not be empty"), ("x" * 256, "must not be longer"), ("a\\b", "invalid path characters"), ("/a", "relative path"),
        ("a/../b", "empty, current, or parent path segments"), ("a/" * 10 + "b", "maximum nesting depth"), ("a\nb", "invalid path characters")]],
    ([{"id": NOWHERE, "session_id": NOWHERE, "name": "f"}] * 257, "more than 256")])
def test_references_that_are_not_as_they_have_to_be(api, files, why):
    answer = api.post("/exec", json={"lang": "py", "code": "1", "files": files})
    assert answer.status_code == 400 and why in answer.json()["error"], answer.text


def test_an_object_that_was_damaged_is_never_used(make_system):
    system = make_system()
    with Api(system) as api:
        ref = upload(api, "f", b"x" * 100000)
        (path,) = [path for path in objects(system) if ref["id"] in path]
        with open(path, "r+b") as file:
            file.seek(50000)
            file.write(b"y")
        body = api.exec("py", "print('ran')", files=[ref])
        assert (body["stdout"], body["reason"]) == ("", "input_missing") and "damaged" in body["stderr"]
        with Raw(system.url) as raw:
            raw.send(b"GET /download/%s HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\n\r\n" % (place(ref).encode(), system.key.encode()))
            assert raw.answer()[0] == 404
        os.remove(path)
        assert download(api, ref).status_code == 404
        assert "gone" in api.exec("py", "print('ran')", files=[ref])["stderr"]


def test_a_session_id_on_exec_is_a_hint(api):
    ref = upload(api)
    assert api.exec("bash", "echo", session_id=ref["storage_session_id"])["session_id"] == ref["storage_session_id"]
    assert api.exec("bash", "echo", session_id=NOWHERE)["session_id"] != NOWHERE
    assert api.post("/v1/jobs", json={"lang": "bash", "code": "echo", "session_id": NOWHERE}).status_code == 404


def test_the_memory_of_an_api_stays_flat(make_system):
    """Many clients move many times more than an API may hold; scaled: 24 clients, 20 MB each, up and down."""
    system = make_system()
    pid = system.children("api")[0]["pid"]
    data = os.urandom(20 * MIB)

    def resident():
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) * 1024
    before = resident()

    def one(_):
        with Api(system) as api:
            ref = upload(api, "f", data)
            with api.stream("GET", f"{system.url}/download/{place(ref)}") as answer:
                return hashlib.sha256(b"".join(answer.iter_bytes())).digest() == hashlib.sha256(data).digest()
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        assert all(pool.map(one, range(24)))
    assert resident() - before < 32 * MIB, f"grew by {(resident() - before) / MIB:.0f} MiB"


# ---- hostile programs: what a collector could be made to read, or to wait for ----

def test_a_storm_of_renames_never_shows_what_a_link_points_at(api):
    """A daemon swaps a file for links to others until it is killed; only then anything is read."""
    code = """
        import os, time
        targets = ['/etc/passwd', '/proc/1/environ', '/proc/self/mem', '/dev/zero', '/proc/1/root/etc/passwd', '..', '.']
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for fd in range(3): os.close(fd)
                i = 0
                while True:
                    i += 1
                    open('real', 'w').write('real'); os.rename('real', 'out')
                    os.symlink(targets[i % len(targets)], 'link'); os.rename('link', 'out')
            os._exit(0)
        os.wait()
        time.sleep(0.02)
    """
    import textwrap
    for _ in range(10):
        body = api.exec("py", textwrap.dedent(code), state=False)
        assert body["exit_code"] == 0, body["stderr"]
        for name, file in by_name(body).items():
            assert name in ("out", "real") and download(api, file).content in (b"real", b""), body
        assert set(refused(body).values()) <= {"symlink"}, body


def test_a_tree_deeper_than_any_path(api):
    body = api.exec("py", "import os\nfor i in range(800):\n os.mkdir('d' * 200); os.chdir('d' * 200)\n", state=False)
    assert body["exit_code"] == 0 and body["files"] == [], body["stderr"]
    assert len(body["refused_files"]) == 1 and body["refused_files"][0]["reason"] in ("bad_name", "too_deep")


def test_as_many_names_as_the_working_directory_takes(api):
    code = """
        import os
        made = 0
        try:
            for i in range(200):
                os.mkdir(f'd{i:03}')
                for k in range(100):
                    os.symlink('/etc/passwd', f'd{i:03}/' + f'{k:03}' + 'n' * 240); made += 1
        except OSError: pass
        print(made)
    """
    import textwrap
    body = api.exec("py", textwrap.dedent(code), state=False)
    made = int(body["stdout"])
    assert made > 10000 and body["files"] == []
    assert sum(file.get("count", 1) for file in body["refused_files"]) >= made - 200


def test_links_to_folders_are_not_entered(api):
    body = api.exec("bash", "ln -s / root; ln -s . self; mkdir d; ln -s .. d/up; echo x > d/f; mkdir -p a/b; ln -s ../../d a/b/d")
    assert list(by_name(body)) == ["d/f"]
    assert refused(body) == {"root": "symlink", "self": "symlink", "d/up": "symlink", "a/b/d": "symlink"}


def test_holes_are_zeros_and_counted_by_their_size(api):
    body = api.exec("bash", "truncate -s 10M hole; echo x > f", timeout_ms=20000)
    assert sorted(by_name(body)) == ["f", "hole"] and by_name(body)["hole"]["size"] == 10 * MIB
    assert not any(download(api, by_name(body)["hole"]).content)


def test_what_a_killed_program_still_held_open_is_as_it_left_it(api):
    code = "import os, time\nf = open('f', 'w'); f.write('x' * 100000); f.flush()\nwhile True: time.sleep(1)"
    body = api.exec("py", code, timeout_ms=2000, state=False)
    assert by_name(body)["f"]["size"] == 100000
