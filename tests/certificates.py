# SPDX-License-Identifier: Apache-2.0
"""A made authority and a server certificate that it signs, for tests with TLS."""
import subprocess


def make_certificates(directory):
    """ca.crt, and private.key with public.crt for 127.0.0.1, localhost, and the usual bucket's name below it."""
    def openssl(*argv):
        subprocess.run(["openssl", *map(str, argv)], cwd=directory, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
            "-subj", "/CN=Test authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "private.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (directory / "extensions").write_text("subjectAltName=DNS:localhost,DNS:millrace-files.localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "public.crt")
