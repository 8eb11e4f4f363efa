# SPDX-License-Identifier: Apache-2.0
"""Files from call to call, as the hosts of each generation carry them: references in the later ones, the session's id in the first."""
import pytest

from clients import FIRST_GENERATION, LATER, versions


def carried(artifact):
    """What the graph of the later generations puts beside the next call's arguments (CONTRACT 2.1.2)."""
    files = [{"id": file["id"], "resource_id": file["id"], "name": file["name"], "kind": "user",
              "storage_session_id": file["storage_session_id"]} for file in artifact["files"]]
    return {"session_id": artifact["session_id"], "_injected_files": files}


def again(client, lang, code, artifact):
    if client.version == FIRST_GENERATION:
        return client.code(lang, code, session_id=artifact["session_id"])
    return client.code(lang, code, call=carried(artifact))


@versions()
@pytest.mark.matrix("files")
class TestFiles:
    def test_from_call_to_call(self, client):
        _, artifact = client.code("py", "open('/mnt/data/sales ü.csv', 'w').write('region,total\\nn,42\\n')")
        assert [file["name"] for file in artifact["files"]] == ["sales ü.csv"]
        content, _ = again(client, "js", "console.log(require('fs').readFileSync('/mnt/data/sales ü.csv', 'utf8'))", artifact)
        assert "n,42" in content

    def test_a_changed_file_is_a_new_one(self, client):
        _, first = client.code("py", "open('a.txt', 'w').write('one\\n'); open('b.txt', 'w').write('same')")
        _, second = again(client, "py", "open('a.txt', 'a').write('two\\n')", first)
        before = {file["name"]: file["id"] for file in first["files"]}
        after = {file["name"]: file for file in second["files"]}
        assert after["a.txt"]["id"] != before["a.txt"] and "inherited" not in after["a.txt"]
        assert "b.txt" not in after or (after["b.txt"]["id"], after["b.txt"]["inherited"]) == (before["b.txt"], True)


@versions(*LATER)
@pytest.mark.matrix("files of all tools")
class TestFilesOfOtherTools:
    def test_bash_and_programmatic(self, client):
        _, artifact = client.bash("mkdir -p out && echo 7 > out/n.txt")
        assert [file["name"] for file in artifact["files"]] == ["out/n.txt"]
        echo = {"name": "echo_back", "answer": "echo", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
        code = "n = open('/mnt/data/out/n.txt').read().strip()\nr = await echo_back(city=n)\nopen('r.txt', 'w').write(r['city'])\nprint(n)"
        content, made = client.programmatic(code, [echo], call=carried(artifact))
        assert content.startswith("stdout:\n7\n")
        assert "r.txt" in [file["name"] for file in made["files"]]
        content, made = client.bash_programmatic("cat out/n.txt; echo_back '{\"city\":\"b\"}' | jq -r .city > b.txt; cat b.txt", [echo],
                                                 call=carried(artifact))
        assert content.startswith("stdout:\n7\nb\n")
        assert "b.txt" in [file["name"] for file in made["files"]]
