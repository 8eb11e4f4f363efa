# SPDX-License-Identifier: Apache-2.0
"""A proxy between a program and the real API server that cuts, delays, refuses and lies, by rules that a test sets. It
logs in as the administrator, so what is said through it is allowed."""
import base64
import http.client
import json
import ssl
import subprocess
import threading
import urllib.parse

import proxy

STATUS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}


def status(code, reason, message="said by the test", **more):
    return json.dumps({**STATUS, "code": code, "reason": reason, "message": message, **more}).encode()


class Handler(proxy.Handler):
    do_PATCH = proxy.Handler.handle_one

    def do_GET(self):
        if "watch=1" in self.path:
            self.watch()
        else:
            self.handle_one()

    def silent(self, *_):
        """Says nothing until the test is over."""
        self.server.owner.over.wait(120)
        self.cut()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def watch(self):
        """A watch goes through line by line. Its rules: "answer" as for others; "lines": what is said in place of the server's
        (then the stream ends, or with hang=True stays silent); "cut_watch": after so many lines (and a torn one) the
        connection is cut."""
        owner = self.server.owner
        rule = owner.take(f"GET {self.path}")
        if rule and rule.action == "answer":
            return self.answer(rule.more["status"], rule.more.get("headers", []), rule.more.get("body", b""))
        if rule and rule.action == "silent":
            return self.silent()
        connection = owner.connect()
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            if answer.status != 200:
                return self.answer(answer.status, answer.getheaders(), answer.read())
            self.send_response_only(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.flush()
            with owner.lock:
                owner.streams.append(self)
            self.pass_lines(rule, connection, answer)
        finally:
            connection.close()

    def pass_lines(self, rule, connection, answer):
        if rule and rule.action == "lines":
            for line in rule.more["lines"]:
                self.chunk(line)
            if rule.more.get("hang"):
                return self.silent()
            return self.chunk(b"")
        count = 0
        connection.sock.settimeout(120)
        while line := answer.readline():
            if rule and rule.action == "cut_watch" and count == rule.more["after"]:
                self.chunk(line[:len(line) // 2])
                return self.cut()
            if rule and rule.action == "deaf":
                continue
            self.chunk(line)
            count += 1
        return self.chunk(b"")

    def garbage(self, rule, code, headers, body):
        self.answer(code, [], rule.more["body"])


class Server(proxy.Server):
    """Every connection speaks TLS, and its handshake is its own thread's."""

    def get_request(self):
        sock, address = super().get_request()
        return self.owner.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), address


class KubeProxy(proxy.Proxy):
    def __init__(self, kubernetes, directory):
        self.rules, self.seen, self.streams, self.lock = [], [], [], threading.Lock()
        self.answered = []  # (method, path, status, object's name) of each request that was passed on; no watches
        self.over = threading.Event()
        pki = kubernetes.state / "pki"
        self.host = urllib.parse.urlsplit(kubernetes.server).hostname
        self.upstream_tls = ssl.create_default_context(cafile=pki / "ca.crt")
        self.upstream_tls.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self.key, self.certificate = directory / "proxy.key", directory / "proxy.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=proxy", "-addext", "subjectAltName=IP:127.0.0.1,DNS:other.test",
                        "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.certificate, self.key)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.owner = self
        self.port = self.server.server_address[1]
        self.endpoint = f"https://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def connect(self):
        return http.client.HTTPSConnection(self.host, 443, context=self.upstream_tls, timeout=60)

    def forward(self, method, path, headers, body):
        connection = self.connect()
        try:
            kept = {name: value for name, value in headers.items() if name.lower() in ("content-type", "accept")}
            connection.request(method, path, body or None, kept)
            answer = connection.getresponse()
            name = json.loads(body).get("metadata", {}).get("name", "") if method == "POST" else path.split("?")[0].rsplit("/", 1)[-1]
            with self.lock:
                self.answered.append((method, path, answer.status, name))
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def kubeconfig(self, path, user=None, **cluster):
        """A kubeconfig (JSON is YAML) whose server is this proxy."""
        return kubeconfig(path, self.endpoint, self.certificate.read_bytes(), user or {"token": "any"}, **cluster)

    def count(self, pattern):
        with self.lock:
            return sum(pattern in request for request in self.seen)

    def stop(self):
        self.over.set()
        super().stop()


def kubeconfig(path, server, ca, user, **cluster):
    cluster = {"server": server, **({"certificate-authority-data": base64.b64encode(ca).decode()} if ca else {}), **cluster}
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "sandbox"}}],
        "clusters": [{"name": "k", "cluster": cluster}], "users": [{"name": "u", "user": user}]}))
    return path
