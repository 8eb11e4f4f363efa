# SPDX-License-Identifier: Apache-2.0
"""The real clients: every version of tests/conformance/versions in a Node process, driven against a running system."""
import itertools
import json
import pathlib
import subprocess

import pytest

from system import PLAIN_ENV

HERE = pathlib.Path(__file__).resolve().parent
VERSIONS = (HERE / "versions").read_text().split()
FIRST_GENERATION = VERSIONS[0]
LATER = VERSIONS[1:]


# The factories of the package behind the rows of the matrix; a version that lacks one has no such tool. Rows not named here
# are of execute_code, which every version has.
FACTORIES = {"bash_tool": "createBashExecutionTool", "files of all tools": "createBashExecutionTool", "run_tools_with_code": "createProgrammaticToolCallingTool",
             "run_tools_with_bash": "createBashProgrammaticToolCallingTool"}


class ToolError(Exception):
    """What the model is shown when the tool throws."""


class Client:
    def __init__(self, version, url, key, base=None):
        """`base`: what the installation's setting has; else the API below /v1."""
        self.version, self.url, self.key, self.count = version, url, key, itertools.count(1)
        cache = subprocess.run([HERE / "install", "--where"], check=True, capture_output=True, text=True).stdout.strip()
        self.process = subprocess.Popen(
            ["/usr/bin/node", HERE / "driver.cjs", f"{cache}/agents-{version}"], text=True,
            env={**PLAIN_ENV, "LIBRECHAT_CODE_BASEURL": base or f"{url}/v1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            cwd="/tmp")
        self.makes = json.loads(self.process.stdout.readline())["ready"]

    @property
    def params(self):
        """How this generation is told its credentials."""
        if self.version == FIRST_GENERATION:
            return {"apiKey": self.key}
        return {"authHeaders": {"Authorization": f"Bearer {self.key}"}}

    def raw(self, make, args, call=None, tools=None, params=None):
        command = {"id": next(self.count), "make": make, "params": self.params if params is None else params, "args": args,
                   "call": call or {}, "tools": tools or []}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline())
        assert told["id"] == command["id"]
        if "error" in told:
            raise ToolError(told["error"])
        return told["content"], told.get("artifact") or {}

    def code(self, lang, code, call=None, params=None, **more):
        return self.raw("createCodeExecutionTool", {"lang": lang, "code": code, **more}, call, params=params)

    def bash(self, command, call=None, **more):
        return self.raw("createBashExecutionTool", {"command": command, **more}, call)

    def programmatic(self, code, tools, call=None, **more):
        return self.raw("createProgrammaticToolCallingTool", {"code": code, **more}, call, tools)

    def bash_programmatic(self, code, tools, call=None, **more):
        return self.raw("createBashProgrammaticToolCallingTool", {"code": code, **more}, call, tools)

    def close(self):
        self.process.stdin.close()
        try:
            assert self.process.wait(60) == 0
        finally:
            self.process.kill()


def named(value):
    return f"agents-{value}" if value in VERSIONS else str(value)


def versions(*which):
    return pytest.mark.parametrize("client", which or VERSIONS, indirect=True, ids=named)
