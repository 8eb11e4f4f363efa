# SPDX-License-Identifier: Apache-2.0
"""Skills: bundles in folders that the host uploads in one batch, read-only, and carries through every tool from call to call."""
import httpx
import pytest

from clients import FIRST_GENERATION, VERSIONS, named, versions

SKILL = "66aa00000000000000000001"
BUNDLE = {"SKILL.md": b"---\nname: pdf\n---\n", "scripts/__init__.py": b"", "scripts/lib/deep/tool.py": b"def run(): return 'ran'\n",
          "scripts/run.sh": b"echo from $1\n", "assets/logo é.png": bytes(range(256))}
ECHO = {"name": "echo_back", "answer": "echo", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
PYTHON = "import sys; sys.path.insert(0, 'skills/pdf'); import scripts.lib.deep.tool as t; print(t.run(), len(open('skills/pdf/assets/logo é.png', 'rb').read()))"
BASH = "cd skills/pdf && PYTHONPATH=. python3 -c 'import scripts.lib.deep.tool as t; print(t.run())' && wc -c < 'assets/logo é.png'; echo x > SKILL.md; true"


@pytest.fixture
def bundle(client):
    """References of the batch as the host makes them."""
    told = httpx.post(f"{client.url}/v1/upload/batch", data={"kind": "skill", "id": SKILL, "version": "7", "read_only": "true"},
                      headers={"x-api-key": client.key, "User-Agent": "LibreChat/1.0", "User-Id": "u"}, timeout=60,
                      files=[("file", (f"skills/pdf/{name}", data, "application/octet-stream")) for name, data in BUNDLE.items()]).json()
    assert (told["message"], told["succeeded"]) == ("success", len(BUNDLE))
    return [{"id": file["fileId"], "resource_id": SKILL, "name": file["filename"], "storage_session_id": told["storage_session_id"],
             "kind": "skill", "version": 7} for file in told["files"]]


def carried(files, artifact):
    """The graph's memory: what is answered replaces what has its name; a known file keeps its kind and version."""
    known = {(file["storage_session_id"], file["id"]): file for file in files}
    by_name = {file["name"]: file for file in files}
    for file in artifact.get("files") or []:
        same = known.get((file["storage_session_id"], file["id"]))
        by_name[file["name"]] = same or {"id": file["id"], "resource_id": file["id"], "name": file["name"], "kind": "user",
                                         "storage_session_id": file["storage_session_id"]}
    return list(by_name.values())


def shown(content):
    """The lines of standard output, where both ways of telling the size are one."""
    assert content.startswith("stdout:\n"), content
    return content.replace("\n256", " 256").splitlines()[1:]


def call(files, session=None):
    return {"session_id": session or files[0]["storage_session_id"], "_injected_files": files}


TOOLS = {
    "execute_code-py": lambda client, files: client.code("py", PYTHON, call=call(files)),
    "execute_code-bash": lambda client, files: client.code("bash", BASH, call=call(files)),
    "bash_tool": lambda client, files: client.bash(BASH, call=call(files)),
    "run_tools_with_code": lambda client, files: client.programmatic(PYTHON + "\nprint((await echo_back(city='on'))['city'])", [ECHO], call=call(files)),
    "run_tools_with_bash": lambda client, files: client.bash_programmatic(BASH + "; echo_back '{\"city\":\"on\"}' | jq -r .city", [ECHO], call=call(files)),
}


@pytest.mark.matrix("skills")
@pytest.mark.parametrize("client, tool", [(version, tool) for tool in TOOLS for version in VERSIONS], indirect=["client"], ids=named)
def test_a_bundle_in_every_tool(client, bundle, tool, record_property):
    """In its folders, whole, and as it was when the program is through with it."""
    if client.version == FIRST_GENERATION:  # it knows a bucket only, and takes all that lies in it
        if tool != "execute_code-py":
            record_property("cell", "no tool")
            assert client.makes == ["createCodeExecutionTool"]
            return
        content, _ = client.code("py", PYTHON, session_id=bundle[0]["storage_session_id"])
        assert shown(content)[0] == "ran 256"
        return
    content, artifact = TOOLS[tool](client, bundle)
    assert shown(content)[0] == "ran 256" and ("run_tools" not in tool or shown(content)[1] == "on"), content
    echoed = {file["name"]: file for file in artifact["files"]}
    assert all(echoed[file["name"]]["id"] == file["id"] and echoed[file["name"]]["inherited"] is True for file in bundle), artifact


@pytest.mark.matrix("skills")
@versions()
def test_carried_through_all_tools(client, bundle):
    if client.version == FIRST_GENERATION:
        for _ in range(2):
            assert shown(client.code("py", PYTHON, session_id=bundle[0]["storage_session_id"])[0])[0] == "ran 256"
        return
    files = bundle
    for tool in [*TOOLS.values(), TOOLS["execute_code-py"]]:
        content, artifact = tool(client, files)
        assert shown(content)[0] == "ran 256", content
        files = carried(files, artifact)
    _, artifact = client.bash("cat skills/pdf/SKILL.md > copy.md", call=call(files))
    files = carried(files, artifact)
    content, _ = client.code("py", "print(open('copy.md').read() == open('skills/pdf/SKILL.md').read())", call=call(files, artifact["session_id"]))
    assert shown(content)[0] == "True"
    assert [file["kind"] for file in files] == ["skill"] * len(bundle) + ["user"]
