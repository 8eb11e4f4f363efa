# SPDX-License-Identifier: Apache-2.0
"""A MinIO server for tests, as tools/install put it into the cache: on a free port, in a folder of its own, with TLS if
wanted (a made authority signs it)."""
import http.client
import os
import pathlib
import secrets
import ssl
import subprocess

from certificates import make_certificates
from system import ROOT, files_below, free_port, wait_until


def binary():
    told = subprocess.run([ROOT / "tools" / "minio"], stdout=subprocess.PIPE, text=True, check=True)
    return told.stdout.strip()


class Minio:
    def __init__(self, directory, tls=False, region="us-east-1", **env):
        self.directory, self.env = pathlib.Path(directory), env
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        self.access_key, self.secret_key = "test-" + secrets.token_hex(4), secrets.token_hex(16)
        self.region = region
        self.tls, self.certificates = tls, self.directory / "certs"
        self.certificates.mkdir()
        if tls:
            make_certificates(self.certificates)
        self.ca_file = str(self.certificates / "ca.crt") if tls else ""
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        self.log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(
            [binary(), "server", str(self.data), "--quiet", "--address", self.endpoint, "--console-address", "127.0.0.1:0",
             "--certs-dir", str(self.certificates)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), "MINIO_ROOT_USER": self.access_key,
                 "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_BROWSER": "off", "MINIO_SITE_REGION": self.region,
                 "MINIO_DOMAIN": "localhost", "GOMAXPROCS": "2", **self.env},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until("MinIO is ready", self.is_ready, 60, 0.05)

    def is_ready(self):
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            if self.tls:
                connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2,
                                                         context=ssl.create_default_context(cafile=self.ca_file))
            else:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", "/minio/health/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def parts(self):
        """Of uploads that have not ended."""
        return [path for path in files_below(self.data / ".minio.sys" / "multipart") if path.name.startswith("part.")]

    @property
    def settings(self):
        """What Millrace's programs are given."""
        return {"OBJECT_STORE": "s3", "MINIO_ENDPOINT": self.endpoint, "MINIO_ACCESS_KEY": self.access_key,
                "MINIO_SECRET_KEY": self.secret_key, "MINIO_SECURE": "true" if self.tls else "false",
                "MINIO_CA_FILE": self.ca_file}

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
            self.log.close()
        self.process = None
