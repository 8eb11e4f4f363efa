# SPDX-License-Identifier: Apache-2.0
"""Keys of a role: the addresses that clouds have for them are a small server of the test's; the keys are temporary ones of
the real MinIO, with their session token."""
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import re
import threading
import time

import pytest
from conftest import s3_env
from system import wait_until

BODY = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=900"


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def assume_role(minio):
    """(access key, secret key, session token) from MinIO's own STS, which may come up after the rest."""
    return wait_until("STS answers", lambda: ask_sts(minio))


def ask_sts(minio):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/us-east-1/sts/aws4_request"
    digest = hashlib.sha256(BODY.encode()).hexdigest()
    kind = "application/x-www-form-urlencoded"
    canonical = f"POST\n/\n\ncontent-type:{kind}\nhost:{minio.endpoint}\nx-amz-date:{now}\n\ncontent-type;host;x-amz-date\n{digest}"
    key = ("AWS4" + minio.secret_key).encode()
    for word in (now[:8], "us-east-1", "sts", "aws4_request"):
        key = sign(key, word)
    signature = sign(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}").hex()
    connection = http.client.HTTPConnection(minio.endpoint, timeout=20)
    connection.request("POST", "/", BODY, {
        "Content-Type": kind, "X-Amz-Date": now,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={minio.access_key}/{scope}, SignedHeaders=content-type;host;x-amz-date, "
                         f"Signature={signature}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if "Server not initialized" in text:
        return None
    assert answer.status == 200, text
    return tuple(re.search(f"<{name}>([^<]*)<", text).group(1) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))


class Addresses:
    """Instance metadata, a container's address and an STS at once."""

    def __init__(self):
        self.keys, self.seconds, self.asked, self.fail = [], 3600, [], False
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def reply(self, status, text=""):
                self.send_response_only(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                owner.asked.append(f"{self.command} {self.path}")
                self.reply(*owner.answer(self.command, self.path, self.headers, body))

            do_GET = do_PUT = do_POST = handle_one

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def fetched(self):
        return sum("/role" in line or "/ecs" in line or line.startswith("POST") for line in self.asked)

    def next_keys(self):
        keys = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.seconds)
        return (*keys, until.strftime("%Y-%m-%dT%H:%M:%SZ"))

    def as_json(self):
        access, secret, token, until = self.next_keys()
        return 200, json.dumps({"Code": "Success", "AccessKeyId": access, "SecretAccessKey": secret, "Token": token,
                                "Expiration": until})

    def answer(self, method, path, headers, body):
        if self.fail:
            return 500, ""
        if path == "/latest/api/token":
            return (200, "metadata-token") if method == "PUT" and headers["X-aws-ec2-metadata-token-ttl-seconds"] else (400, "")
        if path.startswith("/latest/") and headers["X-aws-ec2-metadata-token"] != "metadata-token":
            return 401, ""
        if path == "/latest/meta-data/iam/security-credentials/":
            return 200, "role"
        if path == "/latest/meta-data/iam/security-credentials/role":
            return self.as_json()
        if path == "/ecs":
            return self.as_json() if headers["Authorization"] == "container-token" else (401, "")
        if method == "POST" and "Action=AssumeRoleWithWebIdentity" in body and "WebIdentityToken=web.token%2Fx" in body and \
                "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr" in body:
            access, secret, token, until = self.next_keys()
            return 200, ("<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
                         f"<AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
                         f"<SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>"
                         "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")
        return 404, ""


@pytest.fixture
def addresses(minio):
    made = Addresses()
    made.keys = [assume_role(minio)]
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(params=["instance", "container", "container_file", "web_identity"])
def role_env(request, addresses, minio, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text({"web_identity": "web.token/x\n"}.get(request.param, "container-token\n"))
    return s3_env(minio, "roles", STORE_ACCESS_KEY="", STORE_SECRET_KEY="", STORE_USE_IAM="1", **{
        "instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": addresses.url},
        "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": addresses.url + "/ecs",
                      "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container-token"},
        "container_file": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": addresses.url + "/ecs",
                           "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(secret)},
        "web_identity": {"AWS_WEB_IDENTITY_TOKEN_FILE": str(secret), "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
                         "AWS_ENDPOINT_URL_STS": addresses.url},
    }[request.param])


def test_keys_of_a_role(role_env, addresses, open_store):
    store = open_store(role_env)
    put = store.put("t/s/x", 1000)
    assert put["err"] == "OK", put
    assert store.get("t/s/x", sha256=put["sha256"])["err"] == "OK"
    assert addresses.fetched == 1


def instance_env(minio, addresses):
    return s3_env(minio, "roles", STORE_ACCESS_KEY="", STORE_SECRET_KEY="", STORE_USE_IAM="1",
                  AWS_EC2_METADATA_SERVICE_ENDPOINT=addresses.url)


def test_a_token_given_by_hand(minio, open_store):
    access, secret, token = assume_role(minio)
    good = open_store(s3_env(minio, "roles", STORE_ACCESS_KEY=access, STORE_SECRET_KEY=secret, STORE_SESSION_TOKEN=token))
    assert good.put("t/s/x")["err"] == "OK"
    bad = open_store(s3_env(minio, "roles", STORE_ACCESS_KEY=access, STORE_SECRET_KEY=secret))
    assert bad.put("t/s/x")["err"] == "DENIED"


def test_they_are_fetched_again_before_they_expire(minio, addresses, open_store):
    addresses.seconds = 60  # less than the five minutes ahead of which new ones are fetched
    store = open_store(instance_env(minio, addresses))
    until = time.monotonic() + 30
    while addresses.fetched < 2:
        assert store.put("t/s/x")["err"] == "OK"
        assert time.monotonic() < until
    # While they cannot be had, the old ones serve.
    addresses.fail = True
    for _ in range(20):
        assert store.put("t/s/x")["err"] == "OK"


def test_expired_ones_are_not_used(minio, addresses, open_store):
    addresses.seconds = -10
    store = open_store(instance_env(minio, addresses))
    addresses.fail = True
    told = store.put("t/s/x")
    assert told["err"] == "DENIED" and "no credentials" in told["why"]
    addresses.fail, addresses.seconds = False, 3600
    assert store.put("t/s/x")["err"] == "OK"


def test_refused_ones_are_fetched_anew(minio, addresses, open_store):
    good = addresses.keys[0]
    addresses.keys = [("AKIAUNKNOWN", "x" * 40, good[2]), good]
    store = open_store(instance_env(minio, addresses))
    assert store.put("t/s/x")["err"] == "OK"
    assert addresses.fetched == 2
