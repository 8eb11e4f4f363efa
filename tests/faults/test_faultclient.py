# SPDX-License-Identifier: Apache-2.0
"""The client of the fault tests against a server that breaks off at every step: it resumes, and its history is good."""
import asyncio
import base64
import hashlib
import json
import random
import struct

import checker
import faultclient
import pytest

PIECES = ("submitted", "queued", "claimed", "started", "output", "output", "completed")


class Flaky:
    """An api that has one job, tells one event at a time, and breaks a connection whenever its dice say so."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.jobs = {}

    def events(self, job):
        for n, kind in enumerate(PIECES):
            event = {"id": f"{n + 1}-0", "type": kind, "job_id": job, "seq": n + 1, "time": n,
                     "attempt": int(n > 1)}
            yield {**event, "stream": "stdout", "data": f"{n}\n"} if kind == "output" else event

    def breaks(self):
        return self.rng.random() < 0.3

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict((k.lower(), v) for k, v in (entry.split(": ", 1) for entry in head[1:] if entry))
            method, path, _ = head[0].split()
            await reader.readexactly(int(headers.get("content-length", 0)))
            if not self.breaks():
                await self.answer(method, path, headers, writer)
        finally:
            writer.close()

    def reply(self, writer, value, status=200):
        body = json.dumps(value).encode()
        if self.breaks():
            body = body[:len(body) // 2]
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(json.dumps(value))}\r\n\r\n".encode() + body)

    async def answer(self, method, path, headers, writer):
        job, after = "J" * 21, 0
        if "after=" in path:
            after = int(path.split("after=")[1].split("-")[0].split("&")[0])
        if headers.get("last-event-id"):
            after = int(headers["last-event-id"].split("-")[0])
        rest = [event for event in self.events(job) if event["seq"] > after]
        if method == "POST":
            key = headers["idempotency-key"]
            if key not in self.jobs:
                self.jobs[key] = job
            self.reply(writer, {"job_id": self.jobs[key], "status": "queued"}, 202)
        elif "stream" in path:
            accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode()).digest()).decode()
            writer.write(f"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            for event in rest:
                if self.breaks():
                    return
                text = json.dumps(event).encode()
                writer.write(struct.pack("!BBH", 0x81, 126, len(text)) + text if len(text) > 125 else
                             struct.pack("!BB", 0x81, len(text)) + text)
            writer.write(struct.pack("!BBH", 0x88, 2, 1000))
        elif headers.get("accept") == "text/event-stream":
            writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
            for event in rest:
                text = f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
                if self.breaks():
                    return
                writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
            writer.write(b"0\r\n\r\n")
        elif "events" in path:
            some = rest[:2]
            self.reply(writer, {"events": some, "next": "", "done": some[-1:] == rest[-1:]})
        elif path.startswith("/v1/jobs?"):
            self.reply(writer, {"jobs": [{"job_id": j, "status": "completed"} for j in set(self.jobs.values())]})
        else:
            self.reply(writer, {"status": "completed", "result": {"stdout": "4\n5\n", "stderr": "", "exit_code": 0}})


def play(tmp_path, flaky):
    async def run():
        server = await asyncio.start_server(flaky.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        recorder = faultclient.Recorder(tmp_path / "history.jsonl")
        client = faultclient.Client("c", [url], "key", recorder)
        client._pause = lambda answer=None: asyncio.sleep(0)
        job = await client.submit("k", {}, "4\n5\n")
        for how in faultclient.READERS:
            await client.follow(job, how)
        await client.result(job)
        await client.list_all()
        server.close()
        return checker.find(checker.History(recorder.lines))
    return asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_resumes_over_every_break(tmp_path, seed):
    assert play(tmp_path, Flaky(seed)) == []
