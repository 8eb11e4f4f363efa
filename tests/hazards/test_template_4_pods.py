# SPDX-License-Identifier: Apache-2.0
"""The same programs in warm pods of the spawner, under its filter, Landlock and limits: nothing honest is refused."""
import pytest

import test_template_1_programs as programs
import test_template_3_node as node

PYTHON = ["thread joined", "daemon thread", "process pool", "multiprocessing", "multiprocessing spawn", "subprocess", "os.fork",
          "asyncio", "input", "sqlite", "hashlib", "tempfile", "sigterm", "segfault", "exception", "del at exit", "big output"]
NODE = ["print", "esm", "stack", "child", "fork", "worker", "stdin", "exit code"]
ENV = ["LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TMPDIR=/tmp"]


def ended(facts):
    end = facts["exit"]
    return -end["signal"] if end["signal"] else end["exit_code"]


@pytest.mark.parametrize("name", PYTHON)
def test_python(pods, tmp_path, name):
    facts = pods.run(kind="py", name="main.py", code=programs.PROGRAMS[name], stdin=programs.STDIN.decode(), env=ENV)
    code, out, err = programs.plain(programs.PROGRAMS[name], tmp_path)
    assert programs.same_addresses(facts["stdout"]) == programs.same_addresses(out)
    assert programs.same_addresses(facts["stderr"]) == programs.same_addresses(err)
    assert ended(facts) == code and facts["error"] == ""


@pytest.mark.parametrize("name", NODE)
def test_node(pods, tmp_path, name):
    import subprocess
    facts = pods.run(kind="js", name="main.js", code=node.PROGRAMS[name], stdin="line\n", env=ENV)
    (tmp_path / "main.js").write_text(node.PROGRAMS[name])
    done = subprocess.run([node.NODE, "main.js"], cwd=tmp_path, env=dict(e.split("=") for e in ENV), input=b"line\n",
                          capture_output=True, timeout=60)

    def same(text):
        return node.comparable(text, tmp_path).replace(b"/mnt/data", b"/work")
    assert same(facts["stdout"]) == same(done.stdout)
    assert same(facts["stderr"]) == same(done.stderr)
    assert ended(facts) == done.returncode and facts["error"] == ""
