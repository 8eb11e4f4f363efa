# SPDX-License-Identifier: Apache-2.0
"""kube_tool (kube_tool.c), spoken to: commands run side by side, what they tell is kept by their ids."""
import json
import queue
import subprocess
import threading

from system import BUILD, PLAIN_ENV

TOOL = BUILD / "kubernetes" / "kube_tool"


class Tool:
    def __init__(self, **settings):
        env = {**PLAIN_ENV, **{name: str(value) for name, value in settings.items()}}
        self.process = subprocess.Popen([TOOL], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.told = {}
        self.next = 0
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            told = json.loads(line)
            self.told[told["id"]].put(told)

    def begin(self, *words, flush=True):
        """With flush=False it is sent together with what comes next."""
        self.next += 1
        text = " ".join("-" if word is None else json.dumps(word, separators=(",", ":")) if isinstance(word, dict) else str(word)
                        for word in words)
        name = f"c{self.next}"
        self.told[name] = queue.Queue()  # before the reader can have an answer to put there
        self.process.stdin.write(f"{name} {text}\n")
        if flush:
            self.process.stdin.flush()
        return name

    def cancel(self, name, flush=True):
        self.process.stdin.write(f"{name} cancel\n")
        if flush:
            self.process.stdin.flush()

    def end(self, name, timeout=60):
        return self.told[name].get(timeout=timeout)

    def silent(self, name):
        return self.told[name].empty()

    def __call__(self, *words, timeout=60):
        return self.end(self.begin(*words), timeout)

    def watch(self, what, ns, labels=None, idle_ms=None, close=None):
        return Watch(self, self.begin("watch", what, ns, labels, idle_ms, close))

    def close(self):
        """Nothing may be left open in it."""
        if self.process.poll() is None:
            self.process.stdin.close()
        code, err = self.process.wait(30), self.process.stderr.read()
        self.reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0, err


class Watch:
    """What a watch told, and what follows from it."""

    def __init__(self, tool, name):
        self.tool, self.name, self.known, self.events, self.listed = tool, name, {}, [], None

    def step(self, timeout):
        told = self.tool.end(self.name, timeout)
        self.events.append(told)
        if told["event"] == "LISTING":
            self.listed = set()
        elif told["event"] == "SEEN":
            self.known[told["object"]["name"]] = told["object"]
            if self.listed is not None:
                self.listed.add(told["object"]["name"])
        elif told["event"] == "GONE":
            self.known.pop(told["object"]["name"], None)
        elif told["event"] == "SYNCED" and self.listed is not None:
            self.known = {name: value for name, value in self.known.items() if name in self.listed}
            self.listed = None
        return told

    def until(self, condition, timeout=60):
        """The first event that makes it true."""
        while True:
            told = self.step(timeout)
            if condition(told):
                return told

    def event(self, kind, timeout=60):
        return self.until(lambda told: told["event"] == kind, timeout)

    def count(self, kind):
        return sum(told["event"] == kind for told in self.events)
