# SPDX-License-Identifier: Apache-2.0
"""The Python template: imports once, then forks ready programs into pods (docs/TEMPLATES.md).

Run as `/usr/bin/python3 FILE --lib LIBRARY --set NAME`; descriptor 3 is the control socket. The C half is
worker/templates/python_host.c. What runs between the release of a program and its first line counts twice: it is
latency, and each object that it touches is a page that the child must copy. So the work is done in the template
where it can be, and before the release (prepare) where it cannot.
"""
import sys

del sys.path[0]  # the folder of this file; nothing was imported from it
sys.dont_write_bytecode = True  # a __pycache__ beside a user's module would be an output file

import argparse
import builtins
import gc
import importlib
import importlib.machinery
import importlib.util
import io
import logging
import os
import signal
import struct
import threading
import time
import types
import _signal
import _thread
import atexit
import weakref

CONTROL_FD = 3
FINISH_SLOWLY = 1

# What is imported ahead. A missing module of a set is an error: the set promises it.
BARE = (
    "abc argparse array ast base64 bisect collections collections.abc contextlib copy csv dataclasses datetime "
    "enum errno fractions functools glob heapq io itertools json keyword linecache math numbers operator os os.path "
    "pathlib pickle pprint random re shutil signal stat statistics string struct subprocess sys tempfile textwrap "
    "threading time traceback types typing unicodedata warnings weakref zlib"
).split()
SETS = {
    "bare": BARE,
    "science": BARE + "numpy numpy.random".split(),
    "scipy": BARE + "numpy numpy.random".split(),
}
# Imported too where the package is installed; one that is there but cannot be imported is an error.
PLOTS = "pandas matplotlib matplotlib.pyplot matplotlib.backends.backend_agg".split()
WHERE_INSTALLED = {
    "science": PLOTS,
    "scipy": PLOTS + "scipy scipy.stats".split(),
}

# Run once in the template, so that what these first need (code, caches, pages) is there in every child.
WARM_UP = """
class C:
    x: int = 1
    def f(self, *a, **k):
        return [i * i for i in range(10) if i % 2]
try:
    print(f"{C().f()!r:>20} {3.14:.2f}", {"a": (1, 2)}, {1, 2}, file=sink)
    raise ValueError("x")
except ValueError as e:
    traceback.format_exc()
"""


def standard_streams():
    """Make sys.stdin, stdout and stderr as an interpreter does whose descriptors are pipes; lines go out as they end."""
    reader, writer = os.pipe()

    def stream(fd, name, mode, **how):
        os.dup2(reader if mode == "r" else writer, fd)
        binary = io.open(fd, mode + "b", closefd=False)
        binary.raw.name = name
        text = io.TextIOWrapper(binary, encoding="utf-8", **how)
        text.mode = mode
        return text

    saved = [os.dup(fd) for fd in range(3)]
    errors = sys.stdout.errors
    sys.stdin = sys.__stdin__ = stream(0, "<stdin>", "r", errors=errors, newline="\n")
    sys.stdout = sys.__stdout__ = stream(1, "<stdout>", "w", errors=errors, newline="\n", line_buffering=True)
    sys.stderr = sys.__stderr__ = stream(2, "<stderr>", "w", errors="backslashreplace", newline="\n", line_buffering=True)
    for fd, copy in enumerate(saved):
        os.dup2(copy, fd)
        os.close(copy)
    os.close(reader)
    os.close(writer)


# The state of a Mersenne twister is 624 numbers, and how many of them are used up. The C half writes them in each child: seeding would
# run code whose pages the child must copy (numpy's: a MiB).
MT19937_KEY = 624 * 4


def random_state(random):
    """(address of the numbers, of the count) of the module's generator. CPython has them behind the object's head."""
    import ctypes
    random.seed()
    address = id(random._inst) + object.__basicsize__
    *key, pos = random.getstate()[1]
    wanted = struct.pack("=i624I", pos, *key)
    if ctypes.string_at(address, len(wanted)) != wanted:
        raise RuntimeError("random keeps its state in a way that is not known")
    return address + 4, address


def numpy_random_state(random):
    """The same of numpy's: `uint32_t key[624]; int pos;` where the address says."""
    import ctypes
    random.seed()
    address = random.mtrand._rand._bit_generator.ctypes.state_address
    name, key, pos, *_ = random.get_state()
    wanted = key.tobytes() + pos.to_bytes(4, sys.byteorder)
    if name != "MT19937" or ctypes.string_at(address, MT19937_KEY + 4) != wanted:
        raise RuntimeError("numpy.random keeps its state in a way that is not known")
    return address, address + MT19937_KEY


# Everything here that the template has loaded is made different in each child. OpenSSL takes its seed from the kernel at the first
# use, and the template uses it never.
GENERATORS = {"random": random_state, "numpy.random": numpy_random_state}


def forget_tempfile(tempfile):
    tempfile._name_sequence = None
    tempfile.tempdir = None


def forget_uuid(uuid):
    uuid._last_timestamp = None


# Once, after the template's own last use.
FORGET = {"tempfile": forget_tempfile, "uuid": forget_uuid}


def loaded(table):
    return [f(sys.modules[name]) for name, f in table.items() if name in sys.modules]


def authentication_keys():
    """What the C half writes over with random bytes."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return []
    key = process._current_process._config["authkey"] = process.AuthenticationString(bytes(32))
    return [key]


def clear_names(names):
    """As the interpreter does with a module: private names first, the builtins last."""
    for private in (True, False):
        for key in list(names):
            if key != "__builtins__" and key.startswith("_") == private:
                names[key] = None


def fork_hooks():
    """The interpreter's own lists of what os.register_at_fork() was given. The C half has them empty for the template's forks.

    The hooks remake locks and idents after a fork from among threads. The template has one thread, holds no lock and keeps its ident;
    and running them costs each child more pages than anything else. `random` is reseeded by us. Where a list is not found,
    its hooks simply run."""
    found = {}
    for hook in (threading._after_fork, logging._acquireLock, logging._releaseLock):
        for hooks in gc.get_referrers(hook):
            if type(hooks) is list and all(map(callable, hooks)):
                found[id(hooks)] = hooks
    return list(found.values())


def take_exits():
    """The exit functions of what the template imported, each with what tells that it has something to do; latest first."""
    def logged(handlers=logging._handlerList, count=len(logging._handlerList)):
        return len(handlers) != count

    taken = []
    if util := sys.modules.get("multiprocessing.util"):
        children = sys.modules["multiprocessing.process"]._children
        taken.append((lambda: util._finalizer_registry or children, util._exit_function))
    taken.append((logged, logging.shutdown))
    for _, function in taken:
        atexit.unregister(function)
    return taken


# INSERT state.py


class Host:
    """What the C half calls in a child. It keeps what it needs: the program may replace any of it."""

    def __init__(self, alone):
        self.modules = sys.modules
        self.main_loader = importlib.machinery.SourceFileLoader("__main__", "")
        self.generators = [address for state in loaded(GENERATORS) for address in state]
        self.keys = authentication_keys()
        self.streams = (sys.stdin, sys.stdout, sys.stderr)
        self.shutdown = threading._shutdown
        self.baseline = None
        self.work = ""
        self.fork_hooks = fork_hooks()
        self.run_exits = atexit._run_exitfuncs
        self.own_exits = take_exits()
        self.exits = atexit._ncallbacks() if len(self.own_exits) == atexit._ncallbacks() else -1
        self.no_threads = self.thread_marks()
        self.collections = 0
        # Where matplotlib found a place to write; a pod has its own /tmp.
        self.folder = os.environb[b"MPLCONFIGDIR"] if "matplotlib" in sys.modules else b""
        self.state = State()
        self.state.warm_up(alone)
        self.state.later_modules = self.later_modules
        self.capture, self.state_warnings, self.set_alarm = self.state.capture, self.state.warnings, self.state.set_alarm

    def prepare(self, work_dir):
        """In the template, for all its children: what a fresh interpreter in `work_dir` has."""
        loaded(FORGET)
        _signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, work_dir)
        self.work = self.state.work = work_dir + "/"
        gc.enable()
        return 0

    def fresh(self):
        """A new __main__; it is made in the child, for the collector never looks at what the template made."""
        self.main = main = types.ModuleType("__main__")
        main.__builtins__ = builtins
        main.__annotations__ = {}
        self.modules.pop("__main__", None)
        self.modules["__main__"] = main  # the last one: see later_modules
        self.collections = gc.get_stats()[1]["collections"]
        return 0

    def begin(self, path, args, env):
        """The program is known: what `python3 PATH ARGS...` would find set."""
        given = path.removeprefix(self.work)  # as if it was named from the folder that the program starts in
        sys.argv = [given] + args
        sys.orig_argv = [sys.executable, given] + args
        environ = os.environ._data
        environ.clear()
        for variable in env:
            name, _, value = variable.partition(b"=")
            environ[name] = value
        if b"TZ" in environ:
            time.tzset()
        main = self.main
        main.__file__ = path
        main.__cached__ = None
        main.__loader__ = self.main_loader
        self.main_loader.path = path
        del self.main
        return main.__dict__

    def restore(self, main, data):
        """Runs that use state: before the program, with what the session holds."""
        self.state.restore(main, data)
        return 0

    def send_state(self, fd, parts):
        """Where there is much to send, or to warn of."""
        self.state.send_parts(fd, parts)
        self.state.send_warnings(fd)
        return 0

    def exit_status(self, exception):
        """The status that sys.exit(x) stands for, as handle_system_exit() of the interpreter has it."""
        code = exception.code
        if code is None:
            return 0
        if isinstance(code, int):
            return int(code) & 0xFF if -(2**63) <= code < 2**63 else 0xFF
        print(code, file=sys.stderr)
        return 1

    def thread_marks(self):
        """What threading._shutdown() would work on: locks of threads not joined, and exit functions."""
        return len(getattr(threading, "_shutdown_locks", ())), len(threading._threading_atexits)

    def finish(self):
        """The program has ended. With daemon threads left only the interpreter itself can end well. What has nothing to do is not
        called: a look costs less than the pages that the call would copy."""
        if _thread._count() or self.thread_marks() != self.no_threads:
            self.shutdown()
            if _thread._count():
                return FINISH_SLOWLY
        if atexit._ncallbacks() != self.exits:
            self.run_exits()
        for needed, run in self.own_exits:
            if needed():
                run()
        return 0

    def later_modules(self):
        """The names that were imported after __main__, and it; a look at every module's name would copy all their pages."""
        names = []
        for name in reversed(self.modules):
            if name == "__main__" or name not in self.baseline:
                names.append(name)
            if name == "__main__":
                break
        return names

    def clear(self):
        """Let go of what the program made, so that files are flushed and finalizers run: its __main__, then the modules that it
        imported. What the template had imported before stays."""
        for name in ("last_type", "last_value", "last_traceback", "ps1", "ps2"):
            sys.__dict__.pop(name, None)
        sys.stdin, sys.stdout, sys.stderr = self.streams
        # The oldest generation is looked at only if something can be in it; a full collection also touches every free list.
        young = gc.get_stats()[1]["collections"] == self.collections
        # Nothing is garbage yet: this puts what refers before what is referred to, or a file in a cycle would be closed
        # before its buffer is flushed. The interpreter has the same effect by the same means.
        gc.collect(0 if young else 2)
        left = []
        for name in self.later_modules():
            module = self.modules.pop(name)
            if isinstance(module, types.ModuleType):
                left.append(weakref.ref(module))
        module = None
        gc.collect(1 if young else 2)
        for ref in left:
            if (module := ref()) is not None:
                clear_names(module.__dict__)
        return 0


def warm_up():
    import traceback
    exec(compile(WARM_UP, "<warm-up>", "exec"), {"sink": io.StringIO(), "traceback": traceback})


def import_set(name):
    for module in SETS[name]:
        importlib.import_module(module)
    for module in WHERE_INSTALLED.get(name, ()):
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            importlib.import_module(module)


def assert_one_thread():
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        raise RuntimeError(f"{len(threads)} threads after the imports, must be 1")


def tell_failed(why):
    """A struct template_reply of type TEMPLATE_FAILED: the spawner reports the text and tries again later."""
    line = " ".join(f"{type(why).__name__}: {why}".split())
    if "--alone" in sys.argv:  # a struct program_ready: the runner reports it
        os.write(CONTROL_FD, struct.pack("=Iii116s", 0x4D525450, os.getpid(), 71, line.encode()[:115]))
        return
    os.write(CONTROL_FD, struct.pack("=IIQii256s", 0x4D525450, 66, 0, 0, 0, line.encode()[:255]))


def start():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lib", required=True)
    parser.add_argument("--set", choices=sorted(SETS), default="bare")
    parser.add_argument("--alone", metavar="DIR", help="be the one program of this container, which works in DIR")
    options = parser.parse_args()
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes = importlib.import_module("ctypes")
    library = ctypes.PyDLL(options.lib)
    import_set(options.set)
    standard_streams()
    warm_up()
    host = Host(bool(options.alone))
    serve, alone = library.millrace_serve, library.millrace_alone
    serve.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.py_object]
    alone.argtypes = [ctypes.c_char_p, ctypes.py_object]
    os.closerange(CONTROL_FD + 1, 64)
    assert_one_thread()
    versions = f"python {sys.version.split()[0]}; set {options.set}"
    host.baseline = frozenset(sys.modules)
    gc.collect()
    gc.freeze()
    if options.alone:
        host.folder = b""  # it is in the /tmp where matplotlib made it
        return lambda: alone(options.alone.encode(), host)
    return lambda: serve(CONTROL_FD, versions.encode(), host)


def main():
    try:
        serve = start()
    except Exception as why:
        tell_failed(why)
        return 1
    return serve()


sys.exit(main())
