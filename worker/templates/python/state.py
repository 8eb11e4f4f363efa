# SPDX-License-Identifier: Apache-2.0
# Part of template.py (put in at the place that names it when Millrace is built): the namespace of a program, out of its pod
# and into the next one. docs/STATE.md says what is kept. Everything that a program could replace is taken hold of ahead.


from _pickle import PickleBuffer


class StateTooLarge(Exception):
    pass


class StateTooSlow(BaseException):  # not an Exception: an object's own `except Exception` must not eat it
    pass


class Sink:
    """Keeps what is written, up to a bound; with `keep` false only counts."""

    def __init__(self, most, keep=True):
        self.left, self.parts, self.keep = most, [], keep

    def write(self, data):
        # A large array comes as the buffer that it is; its memory is what stands in a pickle, whatever its order and shape.
        data = data.raw() if type(data) is PickleBuffer else bytes(data)
        self.left -= len(data)
        if self.left < 0:
            raise StateTooLarge
        if self.keep:
            self.parts.append(data)
        return len(data)


class MainGlobals:
    """Stands for the dictionary of __main__ in a pickle: functions of the program get the real one as their globals again."""

    def __reduce__(self):
        return vars, (sys.modules["__main__"],)


def state_pickler(cloudpickle, fast):
    class StatePickler(cloudpickle.CloudPickler):
        """cloudpickle gives each set of functions globals of its own; here those of __main__ keep sharing __main__, whose names
        are saved beside them."""

        here = MainGlobals()

        def _dynamic_function_reduce(self, func):
            if func.__globals__ is not self.main:
                return super()._dynamic_function_reduce(func)
            code, _, name, defaults, closure = self._function_getnewargs(func)
            state, slots = fast._function_getstate(func)
            slots["__globals__"] = {}
            return fast._make_function, (code, self.here, name, defaults, closure), (state, slots), None, None, fast._function_setstate

    return StatePickler


class State:
    """Restore and capture. The bytes: one pickle of {name: value}, then a trailer: JSON, its length (4 bytes), MAGIC. Bytes without
    a trailer (an upload) are the pickle alone."""

    MAGIC = b"MRS1"
    BYTES, WARNING, END = 1, 2, 3  # records to the worker: frame headers, then the payload
    PIECE = 65536
    SOURCE_MAX = 16 << 20
    WARNINGS_MAX, REASON_MAX, NAME_MAX = 50, 300, 100
    OWN = frozenset("__name__ __doc__ __package__ __loader__ __spec__ __annotations__ __builtins__ __file__ __cached__".split())

    def __init__(self):
        import cloudpickle
        import cloudpickle.cloudpickle_fast as fast
        import json
        import pickle
        import re
        import resource
        import struct
        self.cloudpickle, self.Pickler = cloudpickle, state_pickler(cloudpickle, fast)
        self.loads, self.json_loads, self.json_dumps = pickle.loads, json.loads, json.dumps
        self.pack, self.unpack = struct.Struct("<IBxxx").pack, struct.Struct("<I").unpack
        self.open, self.read, self.close, self.write, self.writev = os.open, os.read, os.close, os.write, os.writev
        # Of _signal: signal's own functions make enums of all numbers, which copies 67 pages.
        self.resource, self.signal, self.import_module, self.gc = resource, _signal, importlib.import_module, gc
        self.imported = re.compile(r"(?:^|;)[ \t]*import[ \t]+([^\n;#]+)", re.M)
        self.python = "%d.%d" % sys.version_info[:2]
        self.warnings, self.submodules, self.broken = [], [], False

    def warm_up(self):
        """Once in the template: what the first use needs is there in every child."""
        exec("def f(): return g\nclass C: pass\n", space := {"__name__": "__main__"})
        pickler = self.Pickler(sink := Sink(1 << 20), 5)
        pickler.main = space
        pickler.dump({"f": space["f"], "C": space["C"](), "n": 1, "l": [1.5, "a"]})
        self.json_dumps({"imports": [["a", "b"]]})
        self.cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
        self.cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()

    def warn(self, name, reason):
        if isinstance(reason, BaseException):
            try:
                text = str(reason)
            except BaseException:
                text = ""
            reason = type(reason).__name__ + (": " + text if text else "")
        if len(self.warnings) < self.WARNINGS_MAX:
            self.warnings.append({"name": str(name)[: self.NAME_MAX], "reason": str(reason)[: self.REASON_MAX]})

    # ---- into the pod

    def split(self, data):
        if data[-4:] != self.MAGIC:
            return {}
        (length,) = self.unpack(data[-8:-4])
        return self.json_loads(data[-8 - length:-8])

    def restore(self, main, data):
        """Before the program. What fails is a warning; then nothing is saved at the end, so that the old state stays."""
        self.gc.disable()  # nothing of it is garbage
        try:
            trailer = self.split(data)
            made_by = trailer.get("python", self.python)
            if made_by != self.python:
                raise RuntimeError("the state was made by Python %s, this is %s" % (made_by, self.python))
            for name in trailer.get("submodules", ()):
                self.bring(None, None, name)
            for name, module in trailer.get("imports", ()):
                self.bring(main, name, module)
            names = self.loads(data)
            if type(names) is not dict:
                raise TypeError("the state is not a dictionary of names")
            for name in names.keys() - self.OWN:
                if type(name) is str:
                    main[name] = names[name]
        except BaseException as e:
            self.broken = True
            self.warn("*", e)
        self.gc.enable()
        main["__builtins__"] = builtins  # cloudpickle sets its own

    def bring(self, main, name, module):
        try:
            found = self.import_module(module)
            if main is None:
                self.submodules.append(module)
            else:
                main[name] = found
        except BaseException as e:
            self.warn(name or module, e)

    # ---- out of it

    def send(self, fd, kind, payload):
        head = self.pack(len(payload), kind)
        sent = self.writev(fd, (head, payload))
        while sent < len(head):
            sent += self.write(fd, head[sent:])
        data = memoryview(payload)[sent - len(head):]
        while data:
            data = data[self.write(fd, data):]

    def send_warnings(self, fd):
        for warning in self.warnings:
            self.send(fd, self.WARNING, self.json_dumps(warning).encode())

    def small_file(self, path, most):
        fd = self.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self.read(fd, most)
        finally:
            self.close(fd)

    def limit(self, most, seconds):
        """The budgets: time by an alarm, memory by the size of the address space. PID 1 has a clock of its own behind it."""
        def too_slow(number, frame):
            raise StateTooSlow

        self.signal.signal(self.signal.SIGALRM, too_slow)
        self.signal.pthread_sigmask(self.signal.SIG_UNBLOCK, (self.signal.SIGALRM,))
        self.signal.setitimer(self.signal.ITIMER_REAL, seconds)
        try:
            now = int(self.small_file("/proc/self/statm", 4096).split()[0]) * 4096
            wanted = now + 3 * most + (64 << 20)
            _, hard = self.resource.getrlimit(self.resource.RLIMIT_AS)
            if hard == self.resource.RLIM_INFINITY or wanted < hard:
                self.resource.setrlimit(self.resource.RLIMIT_AS, (wanted, hard))
        except (OSError, ValueError):
            pass  # the pod's own limit still holds

    def relax(self):
        self.signal.setitimer(self.signal.ITIMER_REAL, 0)
        try:
            _, hard = self.resource.getrlimit(self.resource.RLIMIT_AS)
            self.resource.setrlimit(self.resource.RLIMIT_AS, (hard, hard))
        except (OSError, ValueError):
            pass

    def dump(self, main, value, sink):
        pickler = self.Pickler(sink, 5)
        pickler.main = main
        pickler.dump(value)

    def can_be_saved(self, main, name, value, most):
        try:
            self.dump(main, value, Sink(most, keep=False))
        except StateTooLarge:
            self.warn(name, "it alone is larger than the limit of a state")
        except Exception as e:
            self.warn(name, e)
        else:
            return True
        return False

    def pickle(self, main, names, most):
        """One dump, so that aliases stay aliases. Name by name only to find what cannot be saved."""
        try:
            self.dump(main, names, sink := Sink(most))
            return sink.parts
        except StateTooLarge:
            self.warn("*", "the state is larger than its limit of %d bytes; the state before it is kept" % most)
            return None
        except Exception:
            pass
        good = {name: value for name, value in names.items() if self.can_be_saved(main, name, value, most)}
        self.dump(main, good, sink := Sink(most))
        return sink.parts

    def trailer(self, main, imports, source):
        text = ""
        try:
            text = self.small_file(source, self.SOURCE_MAX).decode("utf-8", "replace")
        except (OSError, ValueError):
            pass
        named = [part.split()[0] for names in self.imported.findall(text) for part in names.split(",") if part.strip()]
        found = [name for name in named if "." in name and name in sys.modules]
        content = {"python": self.python, "imports": imports, "submodules": list(dict.fromkeys(self.submodules + found))}
        body = self.json_dumps(content).encode()
        return body + self.pack(len(body), 0)[:4] + self.MAGIC

    def collect(self, main, most, work, modules):
        """[bytes, ...], or None when nothing is to be saved. `modules`: those that the template had not imported."""
        imports, names = [], {}
        for name, value in list(main.items()):
            if name in self.OWN or type(name) is not str:
                continue
            if isinstance(value, types.ModuleType) and sys.modules.get(value.__name__) is value:
                imports.append([name, value.__name__])
            else:
                names[name] = value
        # Of the program's own files: they may not be there in the next run, so what comes from them is saved itself.
        for module in modules:
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(work) and getattr(module, "__name__", "__main__") != "__main__":
                self.cloudpickle.register_pickle_by_value(module)
        parts = self.pickle(main, names, most)
        return parts and parts + [self.trailer(main, imports, main.get("__file__", ""))]

    def capture(self, main, fd, most, milliseconds, work, modules):
        """After the program; its end was told before. Never raises."""
        parts = None
        try:
            if not self.broken:
                self.gc.disable()
                self.limit(most, milliseconds / 1000)
                parts = self.collect(main, most, work, modules)
        except StateTooSlow:
            self.warn("*", "saving took longer than %d ms; the state before it is kept" % milliseconds)
        except MemoryError:
            self.warn("*", "there was not enough memory to save; the state before it is kept")
        except BaseException as e:
            self.warn("*", e)
        try:
            self.relax()
            for part in parts or ():
                view = memoryview(part)
                for at in range(0, len(view), self.PIECE):
                    self.send(fd, self.BYTES, view[at:at + self.PIECE])
            self.send_warnings(fd)
            self.send(fd, self.END, b"\1" if parts else b"\0")
        except BaseException:
            pass  # without its end the worker takes nothing
        return 0
