# SPDX-License-Identifier: Apache-2.0
"""A client that does not give up: retries by Idempotency-Key, resumes by event id, tells a history what it saw."""
import asyncio
import collections
import contextlib
import json
import random
import time

import wire
from checker import TERMINAL, RESULT_FACTS


class Recorder:
    """Lines of the history, in memory and in a file."""

    def __init__(self, path):
        self.lines, self.file, self.born = [], open(path, "w", encoding="utf-8"), time.monotonic()

    def add(self, process, op, key, value=None, r="ok"):
        line = {"t": round(time.monotonic() - self.born, 6), "p": process, "op": op, "key": key, "value": value, "r": r}
        self.lines.append(line)
        self.file.write(json.dumps(line) + "\n")

    def close(self):
        self.file.close()


class Flights:
    """How many requests wait at each api process: a kill of it counts only if some do."""

    def __init__(self):
        self.count = collections.Counter()

    @contextlib.contextmanager
    def at(self, url):
        self.count[url] += 1
        try:
            yield
        finally:
            self.count[url] -= 1


class GaveUp(Exception):
    pass


class Client:
    def __init__(self, name, urls, api_key, recorder, flights=None, seed=0, deadline=90.0):
        self.name, self.urls, self.recorder = name, list(urls), recorder
        self.headers = {"x-api-key": api_key}
        self.flights = flights or Flights()
        self.rng = random.Random(f"{seed}-{name}")
        self.turn = self.rng.randrange(len(self.urls))
        self.deadline = deadline

    def url(self):
        self.turn += 1
        return self.urls[self.turn % len(self.urls)]

    async def _pause(self, answer=None):
        wait = 0.05 + self.rng.random() * 0.15
        if answer is not None and answer.status == 429:
            wait = float(answer.headers.get("retry-after", 1)) * self.rng.random()
        await asyncio.sleep(wait)

    async def _retry(self, what, attempt):
        """Calls `attempt(url)` until it returns something other than None, at another api each time."""
        until = time.monotonic() + self.deadline
        last = None
        while time.monotonic() < until:
            url, answer = self.url(), None
            try:
                with self.flights.at(url):
                    done = await attempt(url)
            except wire.Broken as error:
                done, last = None, str(error)
            if isinstance(done, wire.Answer):
                answer, done, last = done, None, f"{done.status} {done.body[:300]!r}"
                self._note_strange(what, answer)
            if done is not None:
                return done
            await self._pause(answer)
        self.recorder.add(self.name, "gave_up", what, last, "fail")
        raise GaveUp(f"{what}: {last}")

    def _note_strange(self, what, answer):
        if answer.status not in (429, 503) or (answer.status == 503 and "retry-after" not in answer.headers):
            self.recorder.add(self.name, "strange", what,
                              {"status": answer.status, "body": answer.body.decode("latin-1")[:500]}, "fail")

    # ---- submissions ----------------------------------------------------------------------------------------------

    async def _post(self, path, key, body, accept, timeout):
        text = json.dumps(body).encode()
        headers = {**self.headers, "Content-Type": "application/json", "Idempotency-Key": key}

        async def attempt(url):
            try:
                answer = await wire.request(url, "POST", path, headers, text, timeout)
            except wire.Broken:
                self.recorder.add(self.name, "submit", key, None, "info")
                raise
            if answer.status != accept:
                self.recorder.add(self.name, "submit", key, None, "fail" if answer.status == 429 else "info")
                return answer
            told = answer.json()
            self.recorder.add(self.name, "submit", key, {"job": told["job_id"]})
            return told
        return await self._retry(f"POST {path} {key}", attempt)

    def _intend(self, key, expect, effect):
        self.recorder.add(self.name, "intent", key, {"expect": expect} | ({"effect": effect} if effect else {}))

    async def submit(self, key, body, expect, effect=None):
        """An accepted job's id."""
        self._intend(key, expect, effect)
        return (await self._post("/v1/jobs", key, body, 202, 10.0))["job_id"]

    async def execute(self, key, body, expect, effect=None, timeout=40.0):
        """The answer of a synchronous run, however many requests it took."""
        self._intend(key, expect, effect)
        told = await self._post("/exec", key, body, 200, timeout)
        told["status"] = told["job_status"]
        self._note_result(told["job_id"], told)
        return told

    def _note_result(self, job, told):
        facts = {name: told.get(name) for name in RESULT_FACTS}
        self.recorder.add(self.name, "result", job, facts)
        return facts

    # ---- readers --------------------------------------------------------------------------------------------------

    async def get(self, path):
        async def attempt(url):
            answer = await wire.request(url, "GET", path, self.headers)
            return answer if answer.status != 200 else (answer.json(),)
        return (await self._retry(f"GET {path}", attempt))[0]

    async def result(self, job):
        told = await self.get(f"/v1/jobs/{job}")
        return self._note_result(job, {**(told.get("result") or {}), "status": told["status"]})

    async def versions(self, session):
        """The versions of a session's state that are kept, as it tells them."""
        told = await self.get(f"/v1/sessions/{session}/versions")
        self.recorder.add(self.name, "versions", session, [{name: row[name] for name in ("version", "base")} for row in told["versions"]])

    async def cancel(self, job):
        async def attempt(url):
            answer = await wire.request(url, "DELETE", f"/v1/jobs/{job}", self.headers)
            return answer if answer.status not in (200, 202) else (answer.json(),)
        return (await self._retry(f"DELETE {job}", attempt))[0]

    async def end_input(self, job):
        """Of an interactive program, which may still wait."""
        async def attempt(url):
            async with wire.Connection(url) as connection:
                answer = await connection.upgrade(f"/v1/jobs/{job}/stream", self.headers)
                if answer.status != 101:
                    return await connection.body(answer)
                await connection.ws_send(json.dumps({"type": "eof"}))
                async for kind, value in connection.ws_messages(40.0):
                    if kind == "text" and json.loads(value)["type"] == "eof":
                        return True
            raise wire.Broken("the socket ended before the input")
        await self._retry(f"eof {job}", attempt)

    async def list_all(self):
        cursor, count = "", 0
        while True:
            page = await self.get("/v1/jobs?limit=100" + (f"&cursor={cursor}" if cursor else ""))
            for job in page["jobs"]:
                self.recorder.add(self.name, "list", job["job_id"], {"status": job["status"]})
            count += len(page["jobs"])
            cursor = page.get("next_cursor") or page.get("cursor") or ""
            if not cursor:
                return count

    async def follow(self, job, how, on_event=None):
        """All events of a job up to its terminal one, over as many connections as it takes."""
        reader = f"{how}/{self.name}"
        seen = []

        def take(event):
            seen.append(event)
            self.recorder.add(reader, "event", job, event)
            if on_event:
                on_event(event)

        async def attempt(url):
            return await READERS[how](self, url, job, seen, take)
        await self._retry(f"{how} {job}", attempt)
        self.recorder.add(reader, "end", job)
        return seen

    async def _poll(self, url, job, seen, take):
        while True:
            after = seen[-1]["id"] if seen else "0"
            answer = await wire.request(url, "GET", f"/v1/jobs/{job}/events?after={after}&wait=5", self.headers)
            if answer.status != 200:
                return answer
            page = answer.json()
            for event in page["events"]:
                take(event)
            if page["done"]:
                return True

    async def _sse(self, url, job, seen, take):
        headers = {**self.headers, "Accept": "text/event-stream"}
        if seen:
            headers["Last-Event-ID"] = seen[-1]["id"]
        async with wire.Connection(url) as connection:
            await connection.send("GET", f"/v1/jobs/{job}/events", headers)
            answer = await connection.head()
            if answer.status == 204:
                return True
            if answer.status != 200:
                return await connection.body(answer)
            async for event_id, data in wire.sse_events(connection, answer, 40.0):
                event = json.loads(data)
                if event_id != event["id"]:
                    self.recorder.add(self.name, "strange", job, {"status": f"SSE id {event_id}", "body": data}, "fail")
                take(event)
                if event["type"] in TERMINAL:
                    return True
        raise wire.Broken("the stream ended before the job")

    async def _ws(self, url, job, seen, take):
        after = f"?after={seen[-1]['id']}" if seen else ""
        async with wire.Connection(url) as connection:
            answer = await connection.upgrade(f"/v1/jobs/{job}/stream{after}", self.headers)
            if answer.status != 101:
                return await connection.body(answer)
            async for kind, value in connection.ws_messages(40.0):
                if kind == "text":
                    take(json.loads(value))
                elif value[0] == 1000 and seen and seen[-1]["type"] in TERMINAL:
                    return True
                elif value[0] not in (1001, 1006, 1011, 1012, 1013):
                    self.recorder.add(self.name, "strange", job, {"status": f"close {value}", "body": ""}, "fail")
        raise wire.Broken("the socket ended before the job")


READERS = {"poll": Client._poll, "sse": Client._sse, "ws": Client._ws, "final": Client._poll}
