# SPDX-License-Identifier: Apache-2.0
"""A proxy before a Redis that answers every command with an error, while a test says so. What is subscribed goes on."""
import socket
import threading


class Closed(Exception):
    pass


class Stream:
    """Whole commands or replies of RESP2, as bytes."""

    def __init__(self, sock):
        self.sock, self.got = sock, b""

    def _more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise Closed
        self.got += data

    def _line(self, at):
        while (end := self.got.find(b"\r\n", at)) < 0:
            self._more()
        return self.got[at:end], end + 2

    def _end(self, at):
        """Where the value ends that begins here."""
        line, after = self._line(at)
        kind, count = line[:1], line[1:]
        if kind == b"$" and int(count) >= 0:
            after += int(count) + 2
            while len(self.got) < after:
                self._more()
        elif kind == b"*":
            for _ in range(int(count)):
                after = self._end(after)
        return after

    def value(self):
        end = self._end(0)
        taken, self.got = self.got[:end], self.got[end:]
        return taken


def pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class RefusingRedis:
    def __init__(self):
        self.upstream, self.error, self.told = None, None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()

    def _accept(self):
        try:
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()
        except OSError:
            return

    def _serve(self, client):
        with client:
            try:
                with socket.create_connection(("127.0.0.1", self.upstream)) as server:
                    self._talk(client, server)
            except (OSError, Closed):
                pass

    def _talk(self, client, server):
        commands, replies = Stream(client), Stream(server)
        while True:
            command = commands.value()
            if b"SUBSCRIBE\r\n" in command.upper()[:40]:
                server.sendall(command + commands.got)
                threading.Thread(target=pump, args=(client, server), daemon=True).start()
                pump(server, client)
                return
            if self.error is not None:
                self.told += 1
                client.sendall(f"-{self.error}\r\n".encode())
                continue
            server.sendall(command)
            client.sendall(replies.value())
