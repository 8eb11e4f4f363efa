# SPDX-License-Identifier: Apache-2.0
# Runs CODE with TOOLS, [[identifier, name, [parameter, ...]], ...], as async functions. Both are set before this.
def _run_with_tools(tools, code, names):
    import ast, asyncio, inspect, json, linecache, os, re, socket, struct, sys, traceback, typing

    class ToolExecutionError(Exception):
        """A tool failed; the text is what it said."""
    ToolExecutionError.__module__, ToolExecutionError.__qualname__ = "builtins", "ToolExecutionError"

    class Channel:
        """One for each event loop: calls made while anything else can go on are sent together."""

        def __init__(self, loop):
            self.loop, self.count, self.waiting, self.fresh, self.got = loop, 0, {}, [], b""
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect("/tmp/.tools")

        def call(self, name, given):
            self.count += 1
            self.waiting[self.count] = future = self.loop.create_future()
            self.fresh.append({"id": self.count, "name": name, "input": given})
            if len(self.fresh) == 1:
                self.loop.call_soon(self.send, 0)
            return future

        def send(self, turns):
            if getattr(self.loop, "_ready", None) and turns < 1000:
                self.loop.call_soon(self.send, turns + 1)
                return
            fresh, self.fresh = self.fresh, []
            while fresh:
                part, fresh = fresh[:100], fresh[100:]
                data = json.dumps({"calls": part, **({"more": True} if fresh else {})}, allow_nan=False).encode()
                self.socket.sendall(struct.pack("<I", len(data)) + data)
            self.loop.add_reader(self.socket, self.read)

        def read(self):
            more = self.socket.recv(1 << 20)
            if not more:
                self.loop.remove_reader(self.socket)
                for future in self.waiting.values():
                    future.cancelled() or future.set_exception(ToolExecutionError("the call was too large, or not understood"))
                return
            self.got += more
            while len(self.got) >= 4 and len(self.got) >= 4 + (size := struct.unpack("<I", self.got[:4])[0]):
                told, self.got = json.loads(self.got[4:4 + size]), self.got[4 + size:]
                future = self.waiting.pop(told["id"], None)
                if future is None or future.done():
                    continue
                if "error" in told:
                    future.set_exception(ToolExecutionError(told["error"]))
                else:
                    future.set_result(told["result"])
            if not self.waiting:
                self.loop.remove_reader(self.socket)

    channels = {}

    def make(identifier, name, parameters):
        async def tool(*values, **given):
            if len(values) > len(parameters):
                raise TypeError(f"{identifier}() takes {len(parameters)} positional arguments but {len(values)} were given")
            placed = dict(zip(parameters, values))
            if twice := placed.keys() & given.keys():
                raise TypeError(f"{identifier}() got multiple values for argument '{min(twice)}'")
            given = {**placed, **given}
            loop = asyncio.get_running_loop()
            if channels.get("loop") is not loop:
                channels.update(loop=loop, channel=Channel(loop))
            return await channels["channel"].call(name, {key: value for key, value in given.items() if value is not None})
        tool.__name__ = tool.__qualname__ = identifier
        return tool

    def compiled():
        """Top-level await as in a notebook; a `return` makes a function of it all."""
        try:
            return compile(code, "main.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError as error:
            if "outside function" not in (error.msg or ""):
                raise
        tree = ast.parse(code, "main.py")
        whole = ast.parse("async def __main__(): pass")
        whole.body[0].body = tree.body or whole.body[0].body
        exec(compile(whole, "main.py", "exec", dont_inherit=True), names)
        return names.pop("__main__")

    def run():
        program = compiled()
        result = program() if inspect.isfunction(program) else eval(program, names)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    lines = code.splitlines(keepends=True)
    linecache.cache["main.py"] = (len(code), None, lines, "main.py")
    names.update(json=json, sys=sys, os=os, asyncio=asyncio, typing=typing, ToolExecutionError=ToolExecutionError)
    if re.search(r"\bpd\.", code):
        try:
            names["pd"] = __import__("pandas")
        except ImportError:
            pass
    names.update({identifier: make(identifier, name, parameters) for identifier, name, parameters in tools})
    try:
        run()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        frame = error.__traceback__
        while frame and frame.tb_frame.f_code.co_filename != "main.py":
            frame = frame.tb_next
        sys.stdout.flush()
        traceback.print_exception(type(error), error, frame)
        sys.exit(1)


def _start_with_tools():
    import sys
    names = sys.modules["__main__"].__dict__
    tools, code, run = names.pop("TOOLS"), names.pop("CODE"), names.pop("_run_with_tools")
    del names["_start_with_tools"]
    run(tools, code, names)


_start_with_tools()
