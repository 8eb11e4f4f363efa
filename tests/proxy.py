# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy between a program and its S3 that cuts, delays, refuses and lies, by rules that a test sets."""
import http.client
import http.server
import re
import threading
import time

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"


class Rule:
    """For the next `times` requests whose "METHOD path?query" matches `pattern`: what happens to them."""

    def __init__(self, pattern, action, times=1, **more):
        self.pattern, self.action, self.times, self.more = re.compile(pattern), action, times, more
        self.hits = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *_):
        pass

    def handle_one(self):
        proxy = self.server.owner
        length = int(self.headers.get("Content-Length", 0))
        rule = proxy.take(f"{self.command} {self.path}")
        if rule and rule.action == "cut_request":
            self.rfile.read(min(length, rule.more.get("after", 0)))
            return self.cut()
        body = self.rfile.read(length)
        if len(body) < length:
            return self.cut()
        if rule and rule.action == "answer":
            return self.answer(rule.more["status"], rule.more.get("headers", []), rule.more.get("body", b""))
        status, headers, answer = proxy.forward(self.command, self.path, self.headers, body)
        if rule:
            return getattr(self, rule.action)(rule, status, headers, answer)
        return self.answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

    def cut(self):
        self.close_connection = True

    def answer(self, status, headers, body, said=None):
        self.send_response_only(status)
        length = [value for name, value in headers if name.lower() == "content-length"] or [len(body)]
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(length[0] if self.command == "HEAD" else len(body) if said is None else said))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # ---- lies about what the store answered ----

    def lost_reply(self, *_):
        self.cut()

    def cut_answer(self, rule, status, headers, body):
        self.answer(status, headers, body[:rule.more.get("after", len(body) // 2)], said=len(body))
        self.cut()

    def short_length(self, rule, status, headers, body):
        cut = len(body) // 2
        self.answer(status, headers, body[:cut])

    def long_length(self, rule, status, headers, body):
        self.answer(status, headers, body + b"x" * 100)

    def wrong_bytes(self, rule, status, headers, body):
        middle = len(body) // 2
        self.answer(status, headers, body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1:])

    def slow(self, rule, status, headers, body):
        time.sleep(rule.more["seconds"])
        self.answer(status, headers, body)

    def hold(self, rule, status, headers, body):
        """The store has done it; nobody is told before `go`. `reached` says that it has."""
        rule.more["reached"].set()
        rule.more["go"].wait(60)
        self.cut()

    def no_etag(self, rule, status, headers, body):
        self.answer(status, [h for h in headers if h[0].lower() != "etag"], body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # the client went away: that is what is tested


class Proxy:
    def __init__(self, upstream):
        self.upstream, self.rules, self.seen, self.lock = upstream, [], [], threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.owner = self
        self.endpoint = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def rule(self, pattern, action, times=1, **more):
        with self.lock:
            self.rules.append(Rule(pattern, action, times, **more))
            return self.rules[-1]

    def clear(self):
        with self.lock:
            self.rules, self.seen = [], []

    def take(self, request):
        with self.lock:
            self.seen.append(request)
            for rule in self.rules:
                if rule.pattern.search(request) and rule.hits < rule.times:
                    rule.hits += 1
                    return rule
        return None

    def forward(self, method, path, headers, body):
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() != "connection":
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
