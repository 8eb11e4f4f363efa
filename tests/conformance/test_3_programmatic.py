# SPDX-License-Identifier: Apache-2.0
"""run_tools_with_code and run_tools_with_bash of both later generations: programs that call the client's tools, over several rounds."""
import json

import pytest

from clients import LATER, ToolError, versions

STRINGS = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}, "required": ["city"]}


def tool(name, answer, value=None, parameters=None):
    return {"name": name, "answer": answer, "value": value, "parameters": parameters or STRINGS}


ECHO = tool("echo_back", "echo")
WEATHER = tool("get_weather", "value", {"temp": 7, "exact": 0.1, "large": 2**53})


def out(content):
    assert content.startswith("stdout:\n"), content
    return content.removeprefix("stdout:\n").rstrip("\n")


@versions(*LATER)
@pytest.mark.matrix("run_tools_with_code")
class TestPython:
    def test_one_call(self, client):
        content, artifact = client.programmatic("w = await get_weather(city='Oslo')\nprint(w['temp'], type(w).__name__)", [WEATHER])
        assert out(content) == "7 dict"
        assert len(artifact["session_id"]) == 21

    def test_several_rounds_and_all_output(self, client):
        code = "for i in range(5):\n    r = await echo_back(city=f'c{i}')\n    print(i, r['city'])\nprint('end')"
        assert out(client.programmatic(code, [ECHO])[0]) == "\n".join(f"{i} c{i}" for i in range(5)) + "\nend"

    def test_parallel_calls_are_one_round(self, client):
        code = "import asyncio\nprint(max(await asyncio.gather(*[busy(city=str(i)) for i in range(10)])))"
        assert out(client.programmatic(code, [tool("busy", "concurrency")])[0]) == "10"

    def test_no_more_than_twenty_rounds_are_needed_for_many_calls(self, client):
        code = "rs = await asyncio.gather(*[echo_back(city=str(i)) for i in range(150)])\nprint(sum(int(r['city']) for r in rs))"
        assert out(client.programmatic(code, [ECHO])[0]) == str(sum(range(150)))

    def test_optional_arguments_are_left_out(self, client):
        code = "print(sorted((await echo_back(city='a', unit=None)).items()), await echo_back('b', unit='c'))"
        assert out(client.programmatic(code, [ECHO])[0]) == "[('city', 'a')] {'city': 'b', 'unit': 'c'}"

    def test_errors_are_exceptions(self, client):
        code = "try:\n    await send_mail(city='x')\nexcept Exception as e:\n    print(type(e).__name__, e)"
        assert out(client.programmatic(code, [tool("send_mail", "error", "SMTP down")])[0]) == "ToolExecutionError SMTP down"

    def test_an_error_that_is_not_caught(self, client):
        with pytest.raises(ToolError) as told:
            client.programmatic("print('before')\nawait send_mail(city='x')", [tool("send_mail", "error", "SMTP down")])
        text = str(told.value)
        assert "Execution exited with code 1" in text and "SMTP down" in text and "line 2" in text
        assert "_run_with_tools" not in text

    def test_names(self, client):
        names = {"search_mcp_my-server": "search_mcp_my_server", "a.b c": "ab_c", "2fast": "_2fast", "import": "import_tool"}
        code = "print(" + ", ".join(f"(await {python}(city='x'))['city']" for python in names.values()) + ")"
        assert out(client.programmatic(code, [tool(name, "echo") for name in names])[0]) == "x x x x"

    def test_values_are_exact(self, client):
        code = "r = await get_weather(city='x')\nprint(repr(r['exact']), r['large'])"
        assert out(client.programmatic(code, [WEATHER])[0]) == f"0.1 {2**53}"

    @pytest.mark.parametrize("answer, value, shown", [("text", "plain", "'plain'"), ("text", '{"a": [1]}', "{'a': [1]}"),
                                                      ("none", None, "None"), ("value", [1, None, True], "[1, None, True]")],
                             ids=["text", "json-text", "nothing", "list"])
    def test_shapes_of_results(self, client, answer, value, shown):
        assert out(client.programmatic("print(repr(await t(city='x')))", [tool("t", answer, value)])[0]) == shown

    def test_large_results_and_inputs(self, client):
        code = "r = await echo_back(city='x' * 500000)\nprint(len(r['city']))"
        assert out(client.programmatic(code, [ECHO])[0]) == "500000"

    def test_results_of_megabytes(self, client):
        assert out(client.programmatic("print(len(await t(city='x')))", [tool("t", "value", "y" * 4_000_000)])[0]) == "4000000"

    def test_a_return_at_the_top(self, client):
        assert out(client.programmatic("print(1)\nif True:\n    return\nprint(2)", [ECHO])[0]) == "1"

    def test_only_a_comment_and_lines_of_text(self, client):
        assert out(client.programmatic('x = """a\n  b"""\n# done\nprint(x)', [ECHO])[0]) == "a\n  b"
        assert client.programmatic("# nothing", [ECHO])[0].startswith("stdout: Empty.")

    def test_a_syntax_error(self, client):
        with pytest.raises(ToolError, match="SyntaxError"):
            client.programmatic("def:", [ECHO])

    def test_no_tools_at_all(self, client, record_property):
        if client.version == LATER[0]:
            with pytest.raises(ToolError, match="No toolMap provided"):
                client.programmatic("print('plain')", [])
            record_property("cell", "wants tools")
        else:
            assert out(client.programmatic("print('plain')", [ECHO], tool_manifest=[])[0]) == "plain"

    def test_the_wall_clock_stands_still_while_it_waits(self, client):
        slow = {**tool("busy", "concurrency"), "milliseconds": 3200}
        code = "for i in range(2):\n    await busy(city='x')\nprint('in time')"
        assert out(client.programmatic(code, [slow], timeout=3000)[0]) == "in time"

    def test_time_runs_out(self, client):
        with pytest.raises(ToolError, match="Execution exceeded the time limit"):
            client.programmatic("await echo_back(city='x')\nwhile True: pass", [ECHO], timeout=1500)


@versions(*LATER)
@pytest.mark.matrix("run_tools_with_bash")
class TestBash:
    def test_one_call(self, client):
        code = "a=$(get_weather '{\"city\":\"Oslo\"}')\nprintf '%s\\n' \"$a\" | jq -c .temp"
        assert out(client.bash_programmatic(code, [WEATHER])[0]) == "7"

    def test_several_rounds(self, client):
        code = "for i in 1 2 3; do echo_back \"{\\\"city\\\":\\\"c$i\\\"}\" | jq -r .city; done; echo end"
        assert out(client.bash_programmatic(code, [ECHO])[0]) == "c1\nc2\nc3\nend"

    def test_compact_and_without_a_line_end(self, client):
        code = "echo_back '{ \"city\" : \"ü\" }'; echo '|'; text '{}'; echo '|'; nothing; echo '|'"
        tools = [ECHO, tool("text", "value", "a b"), tool("nothing", "none")]
        assert out(client.bash_programmatic(code, tools)[0]) == '{"city":"ü"}|\n"a b"|\nnull|'

    def test_background_jobs(self, client):
        code = "for i in 1 2 3 4; do echo_back \"{\\\"city\\\":\\\"$i\\\"}\" > out$i & done; wait; cat out?; rm out?"
        assert out(client.bash_programmatic(code, [ECHO])[0]) == "".join(f'{{"city":"{i}"}}' for i in (1, 2, 3, 4))

    def test_a_pipeline(self, client):
        code = "echo '{\"city\":\"p\"}' | { read -r line; echo_back \"$line\"; } | jq -r .city"
        assert out(client.bash_programmatic(code, [ECHO])[0]) == "p"

    def test_errors(self, client):
        failing = tool("send_mail", "error", "SMTP down")
        content, _ = client.bash_programmatic("x=$(send_mail '{}') || echo failed; echo on", [failing])
        assert content.startswith("stdout:\nfailed\non\n") and "SMTP down" in content
        with pytest.raises(ToolError) as told:
            client.bash_programmatic("echo before; send_mail '{}'; echo never", [failing])
        assert "Execution exited with code 1" in str(told.value) and "SMTP down" in str(told.value)

    def test_what_is_no_object(self, client):
        with pytest.raises(ToolError, match="one JSON object"):
            client.bash_programmatic("echo_back '[1]'", [ECHO])

    def test_names(self, client):
        names = {"search_mcp_my-server": "search_mcp_my_server", "a.b": "a_b", "2fast": "_2fast", "case": "case_tool"}
        code = "\n".join(f"{bash} '{{\"city\":\"x\"}}' | jq -r .city" for bash in names.values())
        assert out(client.bash_programmatic(code, [tool(name, "echo") for name in names])[0]) == "x\nx\nx\nx"


def test_answers_are_what_the_contract_says(api):
    """The wire itself: tokens, repeats, strangers (CONTRACT 4.2, 4.3)."""
    tools = [{"name": "get_weather", "parameters": STRINGS}]
    first = api.post("/v1/exec/programmatic", json={"code": "print('a')\nprint(await get_weather(city='Oslo'))\nprint(await get_weather(city='x'))",
                                                    "tools": tools, "timeout": 15000})
    told = first.json()
    assert first.status_code == 200 and told["status"] == "tool_call_required" and len(told["session_id"]) == 21
    assert told["tool_calls"] == [{"id": "call_001", "name": "get_weather", "input": {"city": "Oslo"}}]

    def go_on(token, results, client=api):
        return client.post("/exec/programmatic", json={"continuation_token": token, "tool_results": results})
    one = [{"call_id": "call_001", "result": {"temp": 1.50}, "is_error": False}]
    two = go_on(told["continuation_token"], one)
    assert two.json()["tool_calls"][0]["id"] == "call_002"
    assert go_on(told["continuation_token"], one).json() == two.json()  # the same again
    assert go_on(told["continuation_token"], [{**one[0], "result": 2}]).status_code == 409
    assert go_on(told["continuation_token"], [{"call_id": "call_009", "result": 1}]).status_code == 400
    assert go_on(told["continuation_token"], []).status_code == 400
    assert go_on("nonsense", one).status_code == 400
    assert go_on("AAAAAAAAAAAAAAAAAAAAA.1", one).status_code == 404
    last = go_on(two.json()["continuation_token"], [{"call_id": "call_002"}]).json()
    assert (last["status"], last["stdout"], last["stderr"]) == ("completed", "a\n{'temp': 1.5}\nNone\n", "")
    assert last["session_id"] == told["session_id"] and last["files"] == []
    assert go_on(two.json()["continuation_token"], [{"call_id": "call_002"}]).json() == last


@pytest.mark.parametrize("body, says", [
    ({"tools": [{"name": "a"}]}, "Missing required field: code"), ({"code": "1"}, "Missing required field: tools"),
    ({"code": "1", "tools": {}}, "Missing required field: tools"), ({"code": "1", "tools": [{}]}, "tools[0].name"),
    ({"code": "1", "tools": [{"name": "a"}], "lang": "ruby"}, "Unsupported language \"ruby\""),
    ({"code": "1", "tools": [{"name": "a"}], "timeout": -1}, "timeout must be a positive number"),
    ({"code": "1", "lang": "bash", "tools": [{"name": "a-b"}, {"name": "a.b"}]}, "normalize to the same function identifier"),
], ids=range(7))
def test_bad_requests(api, body, says):
    answer = api.post("/exec/programmatic", json=body)
    assert answer.status_code == 400 and says in json.dumps(answer.json()).replace('\\"', '"')


def test_tokens_of_another_tenant_are_not_found(make_system):
    from contract import Api
    system = make_system(env={"API_KEYS": "other:other-key-0123456789"})
    with Api(system) as api, Api(system, key="other-key-0123456789") as other:
        told = api.post("/exec/programmatic", json={"code": "await t()", "tools": [{"name": "t"}]}).json()
        body = {"continuation_token": told["continuation_token"], "tool_results": [{"call_id": "call_001", "result": 1}]}
        assert other.post("/exec/programmatic", json=body).status_code == 404
        assert api.post("/exec/programmatic", json=body).json()["status"] == "completed"
