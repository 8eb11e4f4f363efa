# SPDX-License-Identifier: Apache-2.0
"""A relay between our programs and their Redis that loses what a test names: a command, half of one, or its answer. And a bad
network: it is slow, breaks connections, or lets nothing through any more and tells nobody."""
import random
import socket
import socketserver
import threading
import time

CHUNK = 1 << 16
TAIL = 64  # longer than every word, which may lie across two chunks


class Loss:
    """The next command in which `word` stands. how: "unsent" (Redis never hears of it), "half" (its first bytes come), or
    "answer" (Redis does it, and its answers are withheld until `cut`)."""

    def __init__(self, word, how):
        self.word, self.how = word, how
        self.met = threading.Event()
        self.withheld, self.ends = b"", None

    def cut(self):
        self.ends()


class Weather:
    """What each piece of data meets: a delay of up to `delay` seconds, and with probability `lost` another `again` (what TCP makes of a
    lost packet); with probability `breaks` its connection ends."""

    def __init__(self, delay=0.0, lost=0.0, again=0.3, breaks=0.0, seed=1):
        self.delay, self.lost, self.again, self.breaks, self.random = delay, lost, again, breaks, random.Random(seed)

    def meet(self):
        time.sleep(self.random.random() * self.delay + (self.again if self.random.random() < self.lost else 0))
        if self.random.random() < self.breaks:
            raise ConnectionResetError


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.loss = None
        self.swallowed = self.server.owner.swallowed  # set when this connection is half open
        try:
            self.redis = socket.create_connection(("127.0.0.1", self.server.upstream))
        except OSError:
            return  # Redis is away
        with self.redis:
            answers = threading.Thread(target=self.answers, daemon=True)
            answers.start()
            self.commands()
            self.end()
            answers.join()

    def end(self):
        for side in (self.request, self.redis):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the peer was quicker

    def commands(self):
        tail = b""
        try:
            while chunk := self.request.recv(CHUNK):
                self.server.owner.weather.meet()
                if self.swallowed.is_set():
                    continue
                loss = self.loss or self.server.owner.take(tail + chunk)
                if loss and loss.how != "answer":
                    self.redis.sendall(chunk[:len(chunk) // 2] if loss.how == "half" else b"")
                    loss.met.set()
                    return
                if loss and not self.loss:
                    self.loss, loss.ends = loss, self.end
                self.redis.sendall(chunk)
                if loss:
                    loss.met.set()
                tail = (tail + chunk)[-TAIL:]
        except OSError:
            pass  # one side went away: the other follows

    def answers(self):
        try:
            while chunk := self.redis.recv(CHUNK):
                self.server.owner.weather.meet()
                if self.loss:
                    self.loss.withheld += chunk
                elif not self.swallowed.is_set():
                    self.request.sendall(chunk)
        except OSError:
            pass
        self.end()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 64


class RedisProxy:
    def __init__(self):
        self.losses, self.lock, self.weather, self.swallowed = [], threading.Lock(), Weather(), threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.owner, self.server.upstream = self, None
        self.url = f"redis://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def lose(self, word, how):
        with self.lock:
            self.losses.append(Loss(word, how))
            return self.losses[-1]

    def half_open(self):
        """From now on nothing passes in the connections that there are, and neither side is told; new ones work."""
        self.swallowed.set()
        self.swallowed = threading.Event()

    def take(self, seen):
        with self.lock:
            if self.losses and self.losses[0].word in seen:
                return self.losses.pop(0)
        return None

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
