# SPDX-License-Identifier: Apache-2.0
"""Does an API's memory stay flat while many clients move large files? Each uploads its own, all at a time, then downloads it.

    build/venv/bin/python tests/bench/files.py [--clients 100] [--megabytes 50] [--minio]    (MILLRACE_BUILD: default build/test)

Prints the resident memory of the one API before, its peak while files go up and while they come down, and afterwards; exits 1 when
a peak is more than 1 MiB a client above what it was before, however much they move, or when a byte came back wrong.
"""
import argparse
import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import re
import sys
import tempfile
import time
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))

from minio import binary  # noqa: E402
from system import System  # noqa: E402

ALLOWED_MIB = 1  # for each client
HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


class Memory:
    """Of one process, in MiB, from /proc."""

    def __init__(self, pid):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def read(self, name):
        return int(re.search(rf"{name}:\s+(\d+) kB", (self.folder / "status").read_text())[1]) / 1024

    def forget_peak(self):
        (self.folder / "clear_refs").write_text("5")

    @property
    def now(self):
        return self.read("VmRSS")

    @property
    def peak(self):
        return self.read("VmHWM")


class Client:
    def __init__(self, system, data):
        self.system, self.data, self.place = system, data, None

    def connect(self):
        return http.client.HTTPConnection(urllib.parse.urlsplit(self.system.url).netloc, timeout=600)

    def upload(self):
        connection = self.connect()
        connection.putrequest("POST", "/upload")
        for name, value in (("x-api-key", self.system.key), ("Content-Type", "multipart/form-data; boundary=b"),
                            ("Content-Length", str(len(HEAD) + len(self.data) + len(TAIL)))):
            connection.putheader(name, value)
        connection.endheaders()
        for part in (HEAD, self.data, TAIL):
            connection.send(part)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 200, told
        self.place = f"{told['session_id']}/{told['files'][0]['fileId']}"
        connection.close()

    def download(self):
        connection = self.connect()
        connection.request("GET", f"/download/{self.place}", headers={"x-api-key": self.system.key})
        answer, digest = connection.getresponse(), hashlib.sha256()
        assert answer.status == 200
        while piece := answer.read(1 << 18):
            digest.update(piece)
        connection.close()
        assert digest.digest() == hashlib.sha256(self.data).digest()


def phase(name, memory, before, clients, act):
    memory.forget_peak()
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(act, clients))
    seconds, moved = time.monotonic() - begun, sum(len(client.data) for client in clients) / 1e6
    print(f"{name:<10} | {moved:>9.0f} MB | {moved / seconds:>7.0f} MB/s | {memory.peak:>8.1f} MiB | {memory.peak - before:>+8.1f} MiB", flush=True)
    return memory.peak - before


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--minio", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        system = System(folder, options=("--minio", binary()) if options.minio else ())
        try:
            memory = Memory(system.children("api")[0]["pid"])
            data = os.urandom(options.megabytes * 1_000_000)
            clients = [Client(system, data) for _ in range(options.clients)]
            clients[0].upload()  # what is made once
            before = memory.now
            print(f"{options.clients} clients, {options.megabytes} MB each; the API before: {before:.1f} MiB")
            grown = [phase("uploads", memory, before, clients, Client.upload), phase("downloads", memory, before, clients, Client.download)]
            print(f"afterwards: {memory.now:.1f} MiB")
        finally:
            system.stop()
    return 1 if max(grown) > ALLOWED_MIB * options.clients else 0


sys.exit(main())
