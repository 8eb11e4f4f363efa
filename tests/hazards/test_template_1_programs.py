# SPDX-License-Identifier: Apache-2.0
"""A program forked from the template does what the same file does under /usr/bin/python3."""
import os
import re
import subprocess

import pytest

PROGRAMS = {
    "empty": "",
    "print": "print(1)\nprint('grüße', [1, 2.5], {'a': None})\n",
    "no newline at the end": "print(1, end='')",
    "crlf": "print(1)\r\nif True:\r\n    print(2)\r\n",
    "bom": b"\xef\xbb\xbfprint('bom')\n",
    "latin-1 cookie": b"# -*- coding: latin-1 -*-\nprint('\xe9')\n",
    "invalid utf-8": b"print('\xff')\n",
    "one long line": "x = '" + "a" * 1_000_000 + "'\nprint(len(x))\n",
    "stderr": "import sys\nprint('out')\nprint('err', file=sys.stderr)\n",
    "exit 0": "import sys\nsys.exit()\n",
    "exit 3": "import sys\nprint('x')\nsys.exit(3)\n",
    "exit -1": "import sys\nsys.exit(-1)\n",
    "exit 256": "import sys\nsys.exit(256)\n",
    "exit huge": "import sys\nsys.exit(10**30)\n",
    "exit true": "raise SystemExit(True)\n",
    "exit text": "import sys\nsys.exit('the reason')\n",
    "exit tuple": "raise SystemExit((1, 2))\n",
    "os._exit": "import os\nos._exit(7)\n",
    "quit": "quit(4)\n",
    "exception": "def f():\n    raise ValueError('no')\n\nf()\n",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e\n",
    "group": "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])\n",
    "syntax error": "print(1)\nx = = 2\n",
    "tabs": "if 1:\n\tx = 1\n        y = 2\n",
    "recursion": "def f(n):\n    return f(n + 1)\ntry:\n    f(0)\nexcept RecursionError as e:\n    print(e)\n",
    "excepthook": "import sys\nsys.excepthook = lambda t, v, tb: print('hook', t.__name__, v)\n1 / 0\n",
    "keyboard interrupt": "raise KeyboardInterrupt\n",
    "sigint": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n",
    "sigint caught": "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    x = 1\nexcept KeyboardInterrupt:\n    print('caught')\n",
    "sigterm": "import os, signal\nprint('before', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)\n",
    "sigkill": "import os\nprint('x', flush=True)\nos.kill(os.getpid(), 9)\n",
    "abort": "import os\nos.abort()\n",
    "segfault": "import ctypes\nctypes.string_at(0)\n",
    "signal dispositions": "import signal\nprint([(s.name, str(signal.getsignal(s))[:20]) for s in signal.valid_signals() if isinstance(s, signal.Signals)], signal.pthread_sigmask(0, []))\n",
    "atexit": "import atexit\natexit.register(print, 'first')\natexit.register(print, 'second')\nprint('main')\n",
    "atexit raises": "import atexit\ndef f():\n    raise ValueError('in atexit')\natexit.register(f)\n",
    "thread joined": "import threading, time\ndef f():\n    time.sleep(0.1)\n    print('thread')\nthreading.Thread(target=f).start()\nprint('main')\n",
    "daemon thread": "import threading, time\ndef f():\n    while True:\n        time.sleep(0.01)\nthreading.Thread(target=f, daemon=True).start()\nclass D:\n    def __del__(self):\n        print('del')\nd = D()\nprint('main')\n",
    "thread exception": "import threading\ndef f():\n    1 / 0\nt = threading.Thread(target=f)\nt.start()\nt.join()\n",
    "main thread": "import threading\nprint(threading.current_thread() is threading.main_thread(), threading.active_count(), threading.main_thread().is_alive())\n",
    "thread pool": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(3) as e:\n    print(sum(e.map(lambda x: x * x, range(10))))\n",
    "process pool": "from concurrent.futures import ProcessPoolExecutor\ndef f(x):\n    return x * x\nwith ProcessPoolExecutor(2) as e:\n    print(list(e.map(f, range(5))))\n",
    "multiprocessing": "import multiprocessing as m\ndef f(q):\n    q.put('from the child')\nq = m.Queue()\np = m.Process(target=f, args=(q,))\np.start()\nprint(q.get())\np.join()\nprint(p.exitcode)\n",
    "multiprocessing spawn": "import multiprocessing as m\ndef f(x):\n    return x + 1\nif __name__ == '__main__':\n    with m.get_context('spawn').Pool(1) as p:\n        print(p.map(f, [1, 2]))\n",
    "subprocess": "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(5)'], capture_output=True, text=True).stdout)\nprint(subprocess.run('exit 3', shell=True).returncode, sys.executable)\n",
    "os.fork": "import os, sys\npid = os.fork()\nif pid == 0:\n    print('child')\n    sys.exit(5)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n",
    "asyncio": "import asyncio\nasync def main():\n    await asyncio.sleep(0.01)\n    p = await asyncio.create_subprocess_exec('/bin/echo', 'hi', stdout=-1)\n    print((await p.communicate())[0])\nasyncio.run(main())\n",
    "input": "print(input())\nprint(input('prompt> '))\ntry:\n    input()\nexcept EOFError as e:\n    print('EOF', e)\n",
    "stdin binary": "import sys\nd = sys.stdin.buffer.read()\nprint(len(d), d[:5])\n",
    "stdin lines": "import sys\nfor line in sys.stdin:\n    print(repr(line))\n",
    "stdin facts": "import sys\nprint(sys.stdin.seekable(), sys.stdin.isatty(), sys.stdin.encoding, sys.stdin.errors, sys.stdin.name, sys.stdin.mode, sys.stdin.newlines, sys.stdin.fileno())\nprint(sys.stdout.seekable(), sys.stdout.encoding, sys.stdout.errors, sys.stdout.name, sys.stdout.mode, sys.stdout.fileno())\nprint(sys.stderr.encoding, sys.stderr.errors, sys.stderr.name, sys.stderr.line_buffering)\n",
    "os.read of stdin": "import os\nprint(os.read(0, 5))\n",
    "main module": "import sys\nprint(__name__, __file__, __doc__, __package__, __spec__, __loader__.__class__.__name__, __builtins__.__name__, __annotations__, sorted(k for k in globals()), sys.modules['__main__'].__dict__ is globals())\n",
    "docstring and future": "'''doc'''\nfrom __future__ import annotations\nx: unknown = 1\nprint(__doc__, __annotations__)\n",
    "no frames below": "import sys, inspect, traceback\nprint(sys._getframe().f_back, len(inspect.stack()), sys.exc_info())\ntraceback.print_stack()\n",
    "inspect": "import inspect\ndef f():\n    return 1\nprint(inspect.getsource(f))\n",
    "warnings": "import warnings\nwarnings.warn('careful')\n",
    "logging": "import logging\nlogging.warning('w')\nlogging.basicConfig(level=10)\nlogging.info('i')\n",
    "class pickled": "import pickle\nclass C:\n    pass\nprint(type(pickle.loads(pickle.dumps(C()))).__name__)\n",
    "unclosed file": "f = open('left.txt', 'w')\nf.write('x' * 10)\nimport os\ndef g():\n    return f\nos.register = None\n",
    "del at exit": "import sys\nclass D:\n    def __init__(self, n):\n        self.n = n\n    def __del__(self):\n        print('del', self.n, sys is not None)\na = D('a')\n_b = D('b')\ndef f():\n    return a\nc = D('cycle')\nc.me = c\n",
    "weakref finalize": "import weakref\nclass C:\n    pass\nc = C()\nweakref.finalize(c, print, 'finalized')\n",
    "stdout closed": "import sys\nprint('x')\nsys.stdout.close()\n",
    "stdout replaced": "import sys, io\nsys.stdout = io.StringIO()\nprint('lost')\n",
    "stdout none": "import sys\nsys.stdout = None\nprint('lost')\n",
    "stdout to a file": "import sys\nsys.stdout = open('log.txt', 'w')\nprint('kept')\n",
    "fd 1 closed": "import os\nprint('x', flush=True)\nos.close(1)\nimport sys\nsys.stdout.write('y')\n",
    "modules removed": "import sys\nsys.modules.clear()\nprint('still')\n",
    "builtins replaced": "import builtins\nfor n in ('print', 'list', 'getattr', 'isinstance', 'len', 'reversed'):\n    setattr(builtins, n, lambda *a, **k: (_ for _ in ()).throw(Exception('evil')))\n",
    "exit replaced": "import os, sys, atexit\nos._exit = sys.exit = atexit._run_exitfuncs = lambda *a: None\nraise SystemExit(9)\n",
    "recursion limit": "import sys\nprint(sys.getrecursionlimit(), sys.getswitchinterval(), sys.flags, sys.gettrace(), sys.getprofile())\n",
    "gc": "import gc\nprint(gc.isenabled(), gc.get_threshold())\n",
    "locale": "import locale, sys, time\nprint(locale.getlocale(), sys.getfilesystemencoding(), time.strftime('%A', time.gmtime(0)))\n",
    "sqlite": "import sqlite3\nc = sqlite3.connect(':memory:')\nprint(c.execute('select 1 + 1').fetchone())\n",
    "decimal context": "from decimal import *\nprint(getcontext())\n",
    "hashlib": "import hashlib, ssl\nprint(hashlib.sha256(b'x').hexdigest(), len(ssl.RAND_bytes(4)))\n",
    "tempfile": "import tempfile, os\nf = tempfile.NamedTemporaryFile()\nprint(os.path.dirname(f.name))\n",
    "big output": "import sys\nfor i in range(20000):\n    print(i)\nsys.stdout.write('y' * 3_000_000)\n",
}
STDIN = b"first\r\nsecond line\nno newline"


def plain(program, folder, args=(), stdin=STDIN):
    """The same under the interpreter itself, made comparable."""
    (folder / "main.py").write_bytes(program if isinstance(program, bytes) else program.encode())
    done = subprocess.run(["/usr/bin/python3", "main.py", *args], input=stdin, capture_output=True, cwd=folder, timeout=60,
                          env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "TMPDIR": "/tmp"})
    path = str(folder).encode()
    return done.returncode, done.stdout.replace(path, b"/mnt/data"), done.stderr.replace(path, b"/mnt/data")


def same_addresses(text):
    return re.sub(rb"0x[0-9a-f]+", b"0x", text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_the_interpreter(host, tmp_path, name):
    program = PROGRAMS[name]
    ours = host.run(program, stdin=STDIN, env=["LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TMPDIR=/tmp"])
    theirs = plain(program, tmp_path)
    assert tuple(map(same_addresses, ours[1:])) == tuple(map(same_addresses, theirs[1:]))
    assert ours[0] == theirs[0]


def test_arguments_and_environment(host):
    program = "import sys, os, subprocess\nprint(sys.argv, sys.orig_argv, sys.path[0], os.getcwd())\nprint(dict(os.environ))\n" \
              "print(subprocess.run(['/usr/bin/env'], capture_output=True, text=True).stdout)\nprint(os.environ.get('NO'), os.environb[b'A'])\n"
    code, out, err = host.run(program, name="prog.py", args=["a", "", "-x y", "ü"], env=["A=1", "B=x=y", "C="])
    assert (code, err) == (0, b"")
    lines = out.decode().splitlines()
    assert lines[0] == ("['prog.py', 'a', '', '-x y', 'ü'] ['/usr/bin/python3', 'prog.py', 'a', '', '-x y', 'ü'] "
                        "/mnt/data /mnt/data")
    assert lines[1] == "{'A': '1', 'B': 'x=y', 'C': ''}"
    assert sorted(lines[2:5]) == ["A=1", "B=x=y", "C="]
    assert lines[-1] == "None b'1'"


def test_time_zone(host):
    code, out, _ = host.run("import time\nprint(time.localtime(0).tm_hour)\n", env=["TZ=Asia/Tokyo"])
    assert (code, out) == (0, b"9\n")


def test_user_modules(host):
    """Modules in the working folder are importable, shadow nothing that is loaded (A144), and leave no cache beside them."""
    program = """import os
for name in ("helper", "json", "site", "sitecustomize", "usercustomize", "pickle", "encodings", "conftest"):
    with open(f"/mnt/data/{name}.py", "w") as f:
        f.write(f"print('running {name}')\\nvalue = 42\\n")
import helper, json, pickle
print(helper.value, json.dumps([1]), pickle.loads(pickle.dumps(2)), sorted(os.listdir("/mnt/data"))[:2], "__pycache__" in os.listdir("/mnt/data"))
"""
    assert host.run(program) == (0, b"running helper\n42 [1] 2 ['conftest.py', 'encodings.py'] False\n", b"")


def test_source_is_where_it_says(host):
    assert host.run("import os\nprint(os.listdir('.'), __file__, open(__file__).read()[:9])\n") == (
        0, b"['main.py'] /mnt/data/main.py import os\n", b"")


def test_large_stdin_and_stdout(host):
    data = os.urandom(1 << 20) * 8
    code, out, err = host.run("import sys, shutil\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)\n", stdin=data)
    assert (code, err) == (0, b"") and out == data


def test_output_arrives_line_by_line(host):
    """A line is there while the program waits for its input."""
    program = host.program()
    program.release("print('ready')\nprint('got', input())\n")
    assert os.read(program.stdout, 100) == b"ready\n"
    assert program.finish(b"x\n") == (0, b"got x\n", b"")


def test_files_left_open_are_written(host):
    program = """import os
pid = os.fork()
if pid == 0:
    f = open("a.txt", "w"); f.write("a")
    def g(): return f
    import sys
    sys.exit(0)
os.waitpid(pid, 0)
print(open("a.txt").read())
"""
    assert host.run(program) == (0, b"a\n", b"")


def test_broken_pipe_at_exit(host):
    """As the interpreter: 120 when what is left cannot be written."""
    code, _, err = host.run("import os, sys\nsys.stdout.write('x')\nr, w = os.pipe()\nos.dup2(w, 1)\nos.close(w)\nos.close(r)\n")
    assert code == 120 and b"BrokenPipeError" in err


def test_file_left_open_in_a_cycle_is_written(host):
    """Only a look at the working folder after the end can tell; a child that outlives the program has it."""
    program = """import os, sys, time
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent:
        time.sleep(0.001)
    print(repr(open("left.txt").read()), flush=True)
    os._exit(0)
class Keeper:
    pass
keeper = Keeper()
keeper.me, keeper.file = keeper, open("left.txt", "w")
keeper.file.write("kept")
"""
    running = host.program()
    running.release(program)
    assert os.read(running.stdout, 100) == b"'kept'\n"
    running.finish()
