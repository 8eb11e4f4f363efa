# SPDX-License-Identifier: Apache-2.0
# Part of template.py (put in at the place that names it when Millrace is built): the namespace of a program, out of its pod
# and into the next one. docs/STATE.md says what is kept. Everything that a program could replace is taken hold of ahead.


from _pickle import PickleBuffer, Pickler


class StateTooLarge(Exception):
    pass


class StateTooSlow(BaseException):  # not an Exception: an object's own `except Exception` must not eat it
    pass


def too_slow(number, frame):
    raise StateTooSlow


class Sink(list):
    """Keeps what is written, up to `left` bytes; with `keep` false only counts."""

    left, keep = 0, True

    def write(self, data):
        # A large array comes as the buffer that it is; its memory is what stands in a pickle, whatever its order and shape.
        data = data.raw() if type(data) is PickleBuffer else bytes(data)
        self.left -= len(data)
        if self.left < 0:
            raise StateTooLarge
        if self.keep:
            self.append(data)
        return len(data)


class MainGlobals:
    """Stands for the dictionary of __main__ in a pickle: functions of the program get the real one as their globals again."""

    def __reduce__(self):
        return vars, (sys.modules["__main__"],)


def state_pickler(cloudpickle, fast):
    class StatePickler(cloudpickle.CloudPickler):
        """cloudpickle gives each set of functions globals of its own; here those of __main__ keep sharing __main__, whose names
        are saved beside them. Whoever makes one sets `main` and `globals_ref`, which __init__ of cloudpickle would do."""

        here, proto = MainGlobals(), 5
        __init__, dump = Pickler.__init__, Pickler.dump

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
    BYTES, WARNING = 1, 2  # records to the worker: frame headers, then the payload
    PIECE = 65536
    WARM_UPS = 70
    WARNINGS_MAX, REASON_MAX, NAME_MAX = 50, 300, 100
    OWN = frozenset("__name__ __doc__ __package__ __loader__ __spec__ __annotations__ __builtins__ __file__ __cached__".split())

    def __init__(self):
        import cloudpickle
        import cloudpickle.cloudpickle_fast as fast
        import functools
        import json
        import pickle
        import struct
        self.cloudpickle, self.Pickler = cloudpickle, state_pickler(cloudpickle, fast)
        self.loads, self.json_loads, self.json_dumps = pickle.loads, json.loads, json.dumps
        self.pack, self.unpack = struct.Struct("<IBxxx").pack, struct.Struct("<I").unpack
        self.write, self.writev = os.write, os.writev
        self.import_module, self.gc, self.modules, self.Module = importlib.import_module, gc, sys.modules, types.ModuleType
        # Of _signal: signal's own functions make enums of all numbers, which copies 67 pages.
        self.set_alarm = functools.partial(_signal.signal, _signal.SIGALRM, too_slow)
        self.work, self.later_modules = "/", tuple  # of the host
        self.python = "%d.%d" % sys.version_info[:2]
        self.warnings, self.submodules, self.broken = [], [], False
        self.plain = self.make_trailer([], [])

    def warm_up(self, alone):
        """In the template: what the first use needs is there in every child, and the interpreter has made up its mind about this code.
        Where there are no children, that costs each pod more than its one program gains; what the first use imports is there."""
        code = compile("def f(): return g\nclass C: pass\no, n, l, d = C(), 1, [1.5, 'a'], {'a': (None, True)}", "", "exec")
        for _ in range(1 if alone else self.WARM_UPS):
            exec(code, space := {"__name__": "__main__"})
            self.restore({}, b"".join(self.capture(space, 1 << 20, 0, ())))
        self.make_trailer([["a", "b"]], [])
        self.cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
        self.cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
        self.gc.disable()

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
            trailer = {} if data.endswith(self.plain) else self.split(data)
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

    def dump(self, main, value, sink):
        pickler = self.Pickler(sink, 5)
        pickler.main, pickler.globals_ref = main, {}
        pickler.dump(value)

    def can_be_saved(self, main, name, value, most):
        sink = Sink()
        sink.left, sink.keep = most, False
        try:
            self.dump(main, value, sink)
        except StateTooLarge:
            self.warn(name, "it alone is larger than the limit of a state")
        except Exception as e:
            self.warn(name, e)
        else:
            return True
        return False

    def dump_some(self, main, names, most):
        """Name by name, to find what cannot be saved."""
        good = {name: value for name, value in names.items() if self.can_be_saved(main, name, value, most)}
        sink = Sink()
        sink.left = most
        self.dump(main, good, sink)
        return sink

    def trailer(self, imports, dotted):
        """`dotted`: what the program's own text imports as `import a.b`."""
        found = [name for name in dotted if name in self.modules]
        return self.make_trailer(imports, list(dict.fromkeys(self.submodules + found)))

    def make_trailer(self, imports, submodules):
        body = self.json_dumps({"python": self.python, "imports": imports, "submodules": submodules}).encode()
        return body + self.pack(len(body), 0)[:4] + self.MAGIC

    def keep_own_modules(self):
        """Of the program's own files: they may not be there in the next run, so what comes from them is saved itself."""
        for module in map(self.modules.get, self.later_modules()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(self.work) and getattr(module, "__name__", "__main__") != "__main__":
                self.cloudpickle.register_pickle_by_value(module)

    def capture(self, main, most, milliseconds, dotted):
        """[bytes, ...], or None: nothing is to be saved. After the program; its end was told before, and its time and memory for this
        are limited. Never raises. One function for what most states need, and one dump, so that aliases stay aliases: each function
        that is called copies pages."""
        imports, names, parts = [], {}, Sink()
        parts.left = most
        try:
            if self.broken:
                return None
            self.gc.disable()
            for name, value in list(main.items()):
                if name in self.OWN or type(name) is not str:
                    continue
                if isinstance(value, self.Module) and self.modules.get(value.__name__) is value:
                    imports.append([name, value.__name__])
                else:
                    names[name] = value
            if next(reversed(self.modules)) != "__main__":
                self.keep_own_modules()
            try:
                pickler = self.Pickler(parts, 5)
                pickler.main, pickler.globals_ref = main, {}
                pickler.dump(names)
            except StateTooLarge:
                raise
            except Exception:
                parts = self.dump_some(main, names, most)
            simple = not (imports or dotted or self.submodules)
            parts.append(self.plain if simple else self.trailer(imports, dotted))
            return parts
        except StateTooLarge:
            self.warn("*", "the state is larger than its limit of %d bytes; the state before it is kept" % most)
        except StateTooSlow:
            self.warn("*", "saving took longer than %d ms; the state before it is kept" % milliseconds)
        except MemoryError:
            self.warn("*", "there was not enough memory to save; the state before it is kept")
        except BaseException as e:
            self.warn("*", e)

    # ---- what is not small is sent from here

    def send(self, fd, kind, payload):
        head = self.pack(len(payload), kind)
        sent = self.writev(fd, (head, payload))
        while sent < len(head):
            sent += self.write(fd, head[sent:])
        data = memoryview(payload)[sent - len(head):]
        while data:
            data = data[self.write(fd, data):]

    def send_parts(self, fd, parts):
        for part in parts:
            view = memoryview(part)
            for at in range(0, len(view), self.PIECE):
                self.send(fd, self.BYTES, view[at:at + self.PIECE])

    def send_warnings(self, fd):
        for warning in self.warnings:
            self.send(fd, self.WARNING, self.json_dumps(warning).encode())
