# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1, server-sent events and WebSocket over asyncio streams: small, and every byte of a break is ours to see."""
import asyncio
import base64
import json
import os
import struct
import urllib.parse

LINE_MAX = 1 << 24


class Broken(Exception):
    """The peer went away, or spoke no HTTP, before the answer was whole. Nothing is known of what it did."""


class Answer:
    def __init__(self, status, headers):
        self.status, self.headers, self.body = status, headers, b""

    def json(self):
        return json.loads(self.body)


class Connection:
    """One connection for one request. Use as `async with Connection(url) as c`."""

    def __init__(self, url, timeout=10.0):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port, self.timeout = parts.hostname, parts.port, timeout

    async def __aenter__(self):
        try:
            self.reader, self.writer = await asyncio.wait_for(
                asyncio.open_connection(self.host, self.port, limit=LINE_MAX), self.timeout)
        except (OSError, asyncio.TimeoutError) as error:
            raise Broken(f"connect: {error!r}") from error
        return self

    async def __aexit__(self, *_):
        self.writer.transport.abort()

    async def _read(self, awaitable, timeout=None):
        try:
            return await asyncio.wait_for(awaitable, timeout or self.timeout)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.LimitOverrunError) as error:
            raise Broken(f"read: {error!r}") from error

    async def send(self, method, path, headers, body=b""):
        head = {"Host": f"{self.host}:{self.port}", "Content-Length": str(len(body)), **headers}
        if not body and method in ("GET", "DELETE"):
            del head["Content-Length"]
        text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in head.items())
        try:
            self.writer.write(text.encode() + b"\r\n" + body)
            await asyncio.wait_for(self.writer.drain(), self.timeout)
        except (OSError, asyncio.TimeoutError) as error:
            raise Broken(f"write: {error!r}") from error

    async def head(self):
        text = await self._read(self.reader.readuntil(b"\r\n\r\n"))
        first, *rest = text.decode("latin-1").split("\r\n")
        try:
            headers = {name.strip().lower(): value.strip() for name, value in
                       (entry.split(":", 1) for entry in rest if entry)}
            return Answer(int(first.split()[1]), headers)
        except (IndexError, ValueError) as error:
            raise Broken(f"no HTTP: {first!r}") from error

    async def _chunk_size(self, timeout):
        line = await self._read(self.reader.readuntil(b"\r\n"), timeout)
        try:
            return int(line.split(b";")[0], 16)
        except ValueError as error:
            raise Broken(f"bad chunk: {line[:40]!r}") from error

    async def pieces(self, answer, timeout=None):
        """The body as it comes, without its chunking."""
        if answer.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := await self._chunk_size(timeout):
                yield await self._read(self.reader.readexactly(size), timeout)
                await self._read(self.reader.readexactly(2))
        elif "content-length" in answer.headers:
            if size := int(answer.headers["content-length"]):
                yield await self._read(self.reader.readexactly(size), timeout)
        else:
            while piece := await self._read(self.reader.read(65536), timeout):
                yield piece

    async def body(self, answer):
        answer.body = b"".join([piece async for piece in self.pieces(answer)])
        return answer

    # ---- WebSocket ------------------------------------------------------------------------------------------------

    async def upgrade(self, path, headers):
        key = base64.b64encode(os.urandom(16)).decode()
        await self.send("GET", path, {**headers, "Upgrade": "websocket", "Connection": "Upgrade",
                                      "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"})
        return await self.head()

    async def ws_send(self, payload, opcode=1):
        payload, mask = payload.encode() if isinstance(payload, str) else payload, os.urandom(4)
        size = len(payload)
        head = (struct.pack("!BB", 0x80 | opcode, 0x80 | size) if size < 126 else
                struct.pack("!BBH", 0x80 | opcode, 0xFE, size) if size < 65536 else
                struct.pack("!BBQ", 0x80 | opcode, 0xFF, size))
        try:
            self.writer.write(head + mask + bytes(byte ^ mask[n & 3] for n, byte in enumerate(payload)))
            await self.writer.drain()
        except OSError as error:
            raise Broken(f"write: {error!r}") from error

    async def _ws_frame(self, timeout):
        first, second = await self._read(self.reader.readexactly(2), timeout)
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack("!H", await self._read(self.reader.readexactly(2)))
        elif size == 127:
            size, = struct.unpack("!Q", await self._read(self.reader.readexactly(8)))
        return first >> 7, first & 15, await self._read(self.reader.readexactly(size))

    async def ws_messages(self, timeout=None):
        """("text", str) for each message and at last ("close", (code, reason))."""
        parts = b""
        while True:
            final, opcode, payload = await self._ws_frame(timeout)
            if opcode == 9:
                await self.ws_send(payload, 10)
            elif opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                yield "close", (code, payload[2:].decode("utf-8", "replace"))
                return
            elif opcode in (0, 1, 2):
                parts += payload
                if final:
                    yield "text", parts.decode()
                    parts = b""


async def request(url, method, path, headers, body=b"", timeout=10.0):
    async with Connection(url, timeout) as connection:
        await connection.send(method, path, {**headers, "Connection": "close"}, body)
        return await connection.body(await connection.head())


async def sse_events(connection, answer, timeout=None):
    """(id, data) of each server-sent event."""
    text, event_id, data = b"", None, []
    async for piece in connection.pieces(answer, timeout):
        text += piece
        while b"\n" in text:
            entry, text = text.split(b"\n", 1)
            name, _, value = entry.rstrip(b"\r").partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if not entry.strip():
                if data:
                    yield event_id, b"\n".join(data).decode()
                data = []
            elif name == b"id":
                event_id = value.decode()
            elif name == b"data":
                data.append(value)
