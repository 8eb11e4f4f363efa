# SPDX-License-Identifier: Apache-2.0
"""Raw HTTP and WebSocket over a socket: what no library would send."""
import base64
import json
import os
import re
import socket
import struct

WAYS = ("whole", "bytes", "halves")


class Raw:
    """One connection. Everything that comes until the peer's FIN, or until nothing came for `patience` seconds."""

    def __init__(self, url, patience=60.0):
        host, port = re.fullmatch(r"http://([^:/]+):(\d+)", url).groups()
        self.sock = socket.create_connection((host, int(port)), timeout=patience)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.closed = False
        self.got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data, way="whole"):
        """`bytes`: one at a time. `halves`: in two parts. False when the peer did not take all of it."""
        parts = {"whole": [data], "bytes": [data[i:i + 1] for i in range(len(data))],
                 "halves": [data[:len(data) // 2], data[len(data) // 2:]]}[way]
        try:
            for part in parts:
                self.sock.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def more(self):
        """False at the end of what comes; `closed` tells the peer's end from that of our patience."""
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        self.closed |= not data
        self.got += data
        return bool(data)

    def ends(self):
        """Whether the peer closes, whatever comes before."""
        while self.more():
            pass
        return self.closed

    def answer(self):
        """(status, headers, body) of the next answer; None at the end."""
        while b"\r\n\r\n" not in self.got:
            if not self.more():
                return None
        head, self.got = self.got.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        while len(self.got) < length and self.more():
            pass
        body, self.got = self.got[:length], self.got[length:]
        return int(lines[0].split()[1]), headers, body

    def answers(self):
        """All of them, until the peer closes."""
        found = []
        while (one := self.answer()) is not None:
            found.append(one)
        return found


def request(method, path, headers=(), body=b"", version="HTTP/1.1"):
    lines = [f"{method} {path} {version}", "Host: millrace.test", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class WebSocket(Raw):
    def __init__(self, url, path, key, headers=(), expect=101, patience=60.0):
        super().__init__(url, patience)
        self.send(request("GET", path, [f"x-api-key: {key}", "Connection: Upgrade", "Upgrade: websocket",
                                        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                                        *headers]))
        status, self.headers, self.body = self.answer()
        assert status == expect, (status, self.body)
        if expect == 101:
            assert self.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    def _take(self, count):
        while len(self.got) < count:
            if not self.more():
                return None
        taken, self.got = self.got[:count], self.got[count:]
        return taken

    def frame(self):
        """(opcode, payload) of the next frame; None at the end."""
        if (start := self._take(2)) is None:
            return None
        first, length = start
        assert first & 0xF0 == 0x80 and length < 0x80, "a whole frame, not masked"
        if length == 126:
            length = struct.unpack(">H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self._take(8))[0]
        return first & 15, self._take(length) if length else b""

    def events(self):
        """(events, close code, reason)."""
        found = []
        while (one := self.frame()) is not None:
            opcode, payload = one
            if opcode == 8:
                return found, struct.unpack(">H", payload[:2])[0] if payload else 1005, payload[2:].decode()
            if opcode == 1:
                found.append(json.loads(payload))
        return found, None, ""

    def say(self, message):
        self.send(client_frame(1, json.dumps(message).encode()))


def client_frame(opcode, payload=b"", fin=True, mask=True, rsv=0, length=None):
    """`length`: the bytes of the length field, instead of the right ones."""
    key = os.urandom(4)
    if length is None:
        n = len(payload)
        length = bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n) if n < 65536 else \
            b"\x7f" + struct.pack(">Q", n)
    head = bytes([fin << 7 | rsv << 4 | opcode, length[0] | mask << 7]) + length[1:]
    if not mask:
        return head + payload
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def jobs_of(api):
    """How many jobs this key's tenant has, at most 100."""
    return len(api.get("/v1/jobs", params={"limit": 100}).json()["jobs"])


def b64(data):
    return base64.b64encode(data).decode()
