# SPDX-License-Identifier: Apache-2.0
"""A node that waited for its program does what `node main.js` does. Here it waits in a plain process, not in a pod."""
import os
import re
import socket
import struct
import subprocess

import forkpod
import pytest

NODE = "/usr/bin/node"
PROGRAMS = {
    "print": "console.log(1, 'grüße', {a: [1, 2]})",
    "main": "console.log(require.main === module, module.id, __filename, __dirname, module.children.length, typeof exports)",
    "process": "console.log(process.argv, process.execArgv, process.env, process.title, Object.keys(require.cache))",
    "globals": "console.log(Object.getOwnPropertyNames(globalThis).sort().join(), typeof fs)",
    "stack": "function f() { throw new TypeError('no') }\nf()",
    "syntax error": "let x = = 1",
    "rejection": "Promise.reject(new Error('r'))",
    "exit code": "process.exitCode = 4",
    "exit": "process.on('exit', (c) => console.log('exit', c)); process.exit(3)",
    "abort": "process.kill(process.pid, 'SIGKILL')",
    "order": "setTimeout(() => console.log('t'), 1); Promise.resolve().then(() => console.log('p')); process.nextTick(() => console.log('n')); console.log('m')",
    "esm": "import fs from 'fs';\nconsole.log(import.meta.url, await 3, typeof require)",
    "require": "console.log(require('./other').x, require('fs').readdirSync('.').sort())",
    "stdin": "process.stdin.setEncoding('utf8').on('data', (d) => console.log(JSON.stringify(d)))",
    "stdin sync": "console.log(require('fs').readFileSync(0, 'utf8').length)",
    "child": "console.log(require('child_process').execFileSync(process.execPath, ['-p', '1 + 1']).toString())",
    "fork": "const cp = require('child_process');\nif (process.send) process.send('up'); else cp.fork(__filename).on('message', (m) => console.log(m))",
    "worker": "const w = require('worker_threads');\nif (w.isMainThread) new w.Worker(__filename); else console.log('worker')",
    "descriptors": "const fs = require('fs'); console.log(fs.openSync('/dev/null') > 2, fs.readdirSync('/proc/self/fd').map((n) => { try { return fs.readlinkSync('/proc/self/fd/' + n) } catch (e) { return '' } }).filter((l) => /memfd|socket/.test(l)))",
    "big output": "for (let i = 0; i < 20000; i++) console.log(i); process.stdout.write('y'.repeat(3000000))",
}
ENV = ["PATH=/usr/bin:/bin", "HOME=/nonexistent", "A=1"]


class Waiting:
    """A started launcher: its runner is this test."""

    def __init__(self, folder):
        (folder / "other.js").write_text("exports.x = 42")
        self.go, far = socket.socketpair()
        launcher = os.open(os.path.join(os.path.dirname(__file__), "../../worker/templates/node/launcher.js"), os.O_RDONLY)
        keep = [os.dup(launcher) for _ in range(6)]  # so that 3 and 5 are free to be overwritten in the child

        def place():
            os.dup2(far.fileno(), 60)
            os.dup2(launcher, 61)
            os.dup2(60, 3)
            os.dup2(61, 5)
            os.set_inheritable(3, True)
            os.set_inheritable(5, True)
            os.close(4)
            os.closerange(6, 70)

        self.process = subprocess.Popen([NODE, "--preserve-symlinks-main", "/proc/self/fd/5"], cwd=folder, env={}, close_fds=False,
                                        preexec_fn=place, stdin=-1, stdout=-1, stderr=-1)
        for fd in (launcher, *keep):
            os.close(fd)
        far.close()
        message = self.go.recv(128, socket.MSG_WAITALL)
        magic, self.pid, error, _ = struct.unpack("<Iii116s", message)
        assert (magic, self.pid, error) == (forkpod.MAGIC, self.process.pid, 0)

    def finish(self, stdin=b""):
        out, err = self.process.communicate(stdin, timeout=30)
        self.go.close()
        return self.process.returncode, out, err


def comparable(text, folder):
    """Below a program's own frames node's differ: ours was started by a tick, and no frame of ours is among them."""
    text = text.replace(str(folder).encode(), b"/work")
    assert b"launcher" not in text and b"/proc/self/fd" not in text
    return b"\n".join(l for l in text.split(b"\n") if not re.match(rb"    at .*\(?node:internal", l))


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_node(tmp_path, name):
    ours_dir, theirs_dir = tmp_path / "ours", tmp_path / "them"
    for d in (ours_dir, theirs_dir):
        d.mkdir()
    waiting = Waiting(ours_dir)
    waiting.go.sendall(forkpod.go_message(PROGRAMS[name], name="main.js", args=["a", "-b"], env=ENV))
    ours = waiting.finish(b"line\n")
    (theirs_dir / "other.js").write_text("exports.x = 42")
    (theirs_dir / "main.js").write_text(PROGRAMS[name])
    done = subprocess.run([NODE, "main.js", "a", "-b"], cwd=theirs_dir, env=dict(e.split("=") for e in ENV), input=b"line\n",
                          capture_output=True, timeout=60)
    assert comparable(ours[1], ours_dir) == comparable(done.stdout, theirs_dir)
    assert comparable(ours[2], ours_dir) == comparable(done.stderr, theirs_dir)
    assert ours[0] == done.returncode


def test_no_job_means_a_quiet_end(tmp_path):
    waiting = Waiting(tmp_path)
    waiting.go.shutdown(socket.SHUT_WR)
    assert waiting.finish() == (0, b"", b"")


@pytest.mark.parametrize("bytes_", [struct.pack("<II", 1, 0), struct.pack("<II", forkpod.MAGIC, 1 << 30),
                                    struct.pack("<II", forkpod.MAGIC, 8) + struct.pack("<HHI", 99, 0, 0),
                                    struct.pack("<II", forkpod.MAGIC, 8) + struct.pack("<HHI", 4, 0, 9)])
def test_damaged_specification(tmp_path, bytes_):
    waiting = Waiting(tmp_path)
    waiting.go.sendall(bytes_)
    code, out, err = waiting.finish()
    assert (code, out) == (125, b"") and err.startswith(b"could not start: ")
