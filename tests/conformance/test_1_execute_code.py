# SPDX-License-Identifier: Apache-2.0
"""execute_code and bash_tool of every client generation: what the model is shown."""
import base64

import pytest

from clients import FIRST_GENERATION, LATER, VERSIONS, Client, ToolError, named, versions

# Each prints "hello 42" and its first argument, on lines of their own.
PROGRAMS = {
    "py": "import sys\nprint('hello', 6 * 7)\nprint(sys.argv[1])",
    "js": "console.log('hello', 6 * 7); console.log(process.argv[2])",
    "ts": "const answer: number = 6 * 7;\nconsole.log('hello', answer); console.log(process.argv[2])",
    "c": "#include <stdio.h>\nint main(int n, char **v) { printf(\"hello %d\\n%s\\n\", 6 * 7, v[1]); return 0; }",
    "cpp": "#include <iostream>\nint main(int n, char **v) { std::cout << \"hello \" << 6 * 7 << \"\\n\" << v[1] << \"\\n\"; }",
    "java": "public class Main { public static void main(String[] a) {\n"
            "System.out.println(\"hello \" + 6 * 7); System.out.println(a[0]); } }",
    "php": "<?php echo 'hello ', 6 * 7, \"\\n\", $argv[1], \"\\n\";",
    "rs": "fn main() { println!(\"hello {}\", 6 * 7); println!(\"{}\", std::env::args().nth(1).unwrap()); }",
    "go": "package main\nimport (\"fmt\"; \"os\")\nfunc main() { fmt.Println(\"hello\", 6*7); fmt.Println(os.Args[1]) }",
    "d": "import std.stdio;\nvoid main(string[] a) { writeln(\"hello \", 6 * 7); writeln(a[1]); }",
    "f90": "program p\ncharacter(20) :: a\ncall get_command_argument(1, a)\nprint '(a,i0)', 'hello ', 6 * 7\n"
           "print '(a)', trim(a)\nend program",
    "r": "cat('hello', 6 * 7, '\\n', sep=' ')\ncat(commandArgs(trailingOnly = TRUE)[1], '\\n')",
    "bash": "echo hello $((6 * 7)); echo \"$1\"",
}


@pytest.mark.matrix("execute_code")
@pytest.mark.parametrize("client, lang", [(version, lang) for lang in PROGRAMS for version in VERSIONS], indirect=["client"], ids=named)
def test_every_language(client, lang, record_property):
    if (client.version, lang) == (FIRST_GENERATION, "bash"):
        with pytest.raises(ToolError, match="did not match expected schema"):
            client.code(lang, PROGRAMS[lang])
        record_property("cell", "not offered")
        return
    content, artifact = client.code(lang, PROGRAMS[lang], args=["x-1"])
    assert [line.strip() for line in content.strip().splitlines()] == ["stdout:", "hello 42", "x-1"]
    assert len(artifact["session_id"]) == 21


@versions(*LATER)
@pytest.mark.matrix("bash_tool")
def test_the_bash_tool(client):
    content, artifact = client.bash("printf '%s\\n' \"$1\" | jq -c .a; python3 -c 'print(1+1)'; pwd", args=['{"a": [1, 2]}'])
    assert content.strip() == "stdout:\n[1,2]\n2\n/mnt/data"
    assert len(artifact["session_id"]) == 21


@versions()
@pytest.mark.matrix("errors of programs")
@pytest.mark.parametrize("lang, code, shows", [
    ("py", "print('before')\nraise ValueError('because')", "ValueError: because"),
    ("py", "import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
    ("py", "def:", "SyntaxError"),
    ("js", "throw new Error('because')", "Error: because"),
    ("c", "int main() { return x; }", "error:"),
], ids=["exception", "import", "syntax", "js", "compiler"])
def test_errors_of_programs_are_told_to_the_model(client, lang, code, shows):
    content, _ = client.code(lang, code)
    assert "stderr:\n" in content and shows in content
    assert ("before" in content) == ("before" in code)


@versions()
@pytest.mark.matrix("limits")
@pytest.mark.parametrize("code, shows", [
    ("print('partial', flush=True)\nwhile True: pass", "[sandbox] Time limit exceeded"),
    ("print('partial', flush=True)\nx = [bytearray(1 << 20) for _ in range(4096)]", "[sandbox] Out of memory|MemoryError"),
    ("print('partial', flush=True)\nwhile True: print('x' * 100000)", "[sandbox] stdout length exceeded"),
], ids=["time", "memory", "output"])
def test_limits_are_told_to_the_model(client, code, shows):
    more = {"timeout": 1500} if "pass" in code else {}
    content, _ = client.code("py", code, **more)
    assert content.startswith("stdout:\npartial") and any(text in content for text in shows.split("|"))


@versions()
@pytest.mark.matrix("empty output")
def test_no_output(client):
    content, _ = client.code("py", "x = 1")
    assert content.startswith("stdout: Empty.")


@versions()
@pytest.mark.matrix("credentials")
def test_wrong_credentials(client):
    wrong = {"apiKey": "wrong"} if client.version == FIRST_GENERATION else {"authHeaders": {"Authorization": "Bearer wrong"}}
    with pytest.raises(ToolError) as told:
        client.code("py", "print(1)", params=wrong)
    expected = "HTTP error! status: 401" if client.version == FIRST_GENERATION else "Code execution is not authorized"
    assert expected in str(told.value)


def printed_at(client, base, params):
    """What a run says below another base URL, which the first generation takes from its environment alone."""
    if client.version != FIRST_GENERATION:
        return client.code("py", "print('in')", params={**params, "baseUrl": base})[0].strip()
    other = Client(client.version, client.url, client.key, base)
    try:
        return other.code("py", "print('in')", params=params)[0].strip()
    finally:
        other.close()


@versions()
@pytest.mark.matrix("credentials in the URL")
def test_credentials_in_the_url(client):
    """What an installation without tokens has: the tools send Basic, without a colon; the first generation a key of its own as well."""
    base = client.url.replace("http://", f"http://{client.key}@") + "/v1"
    assert printed_at(client, base, {"apiKey": "stale"} if client.version == FIRST_GENERATION else {}) == "stdout:\nin"


@versions()
@pytest.mark.matrix("base URL")
@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "//v1//"])
def test_every_form_of_the_base_url(client, end):
    assert printed_at(client, client.url + end, client.params) == "stdout:\nin"


@versions()
@pytest.mark.matrix("what models make up")
def test_what_models_make_up(client):
    """Members that no schema has reach the body; the host's own do as well."""
    content, _ = client.code("py", "print('ran')", params={**client.params, "user_id": "u", "entity_id": "agent_x", "timeout": 1e9})
    assert content.strip() == "stdout:\nran"


@versions()
@pytest.mark.matrix("exact bytes")
def test_text_arrives_as_it_was(client):
    text = "ü – 漢字 🎉\ttab  two  \n\n  end"
    code = f"import base64, sys\nsys.stdout.write(base64.b64decode('{base64.b64encode(text.encode()).decode()}').decode())"
    content, _ = client.code("py", code)
    assert content.strip() == f"stdout:\n{text}"


@versions()
@pytest.mark.matrix("many at a time")
def test_sessions_are_fresh(client):
    answers = [client.code("py", "import os; print(sorted(os.listdir('/mnt/data')))") for _ in range(3)]
    assert len({artifact["session_id"] for _, artifact in answers}) == 3
    assert len({content for content, _ in answers}) == 1
