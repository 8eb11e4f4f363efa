# SPDX-License-Identifier: Apache-2.0
"""MinIO behind a proxy that cuts, delays, refuses and lies: nothing wrong is ever taken for right, and what can be done
again is done again."""
import http.client
import re
import threading
import time
import urllib.parse

import pytest
from conftest import s3_env
from minio import Minio
from proxy import SLOW_DOWN, Proxy
from system import wait_until

MIB = 1 << 20
OBJECT = r"/t/s/x(\?|$)"


@pytest.fixture(scope="module")
def proxy(minio):
    made = Proxy(minio.endpoint)
    yield made
    made.stop()


@pytest.fixture
def store(minio, proxy, open_store):
    proxy.clear()
    one = open_store(s3_env(minio, "faults", STORE_ENDPOINT=proxy.endpoint, STORE_TIMEOUT_MS="1000"))
    assert one("check")["err"] == "OK"
    assert one("delete", "t/s/x")["err"] == "OK"
    proxy.clear()
    return one


def uploads_left(store, proxy):
    """Multipart uploads that nobody ended, by what the tool asked for."""
    begun = sum("?uploads=" in line for line in proxy.seen)
    ended = sum(line.startswith("DELETE") and "uploadId=" in line for line in proxy.seen)
    return begun - ended


@pytest.mark.parametrize("status, body", [(503, SLOW_DOWN), (500, b""), (502, b"<html>"), (429, b""), (503, b"\xff\x00<")])
def test_a_store_that_refuses_for_a_while(store, proxy, status, body):
    for method in ("PUT", "HEAD", "GET", "DELETE"):
        proxy.rule(f"^{method} .*{OBJECT}", "answer", 2, status=status, body=body)
    put = store.put("t/s/x", 100000)
    assert put["err"] == "OK"
    assert store("head", "t/s/x")["size"] == 100000
    assert store.get("t/s/x", sha256=put["sha256"])["err"] == "OK"
    assert store("delete", "t/s/x")["err"] == "OK"
    assert all(rule.hits == 2 for rule in proxy.rules)


def test_tries_are_bounded(store, proxy):
    rule = proxy.rule(f"^PUT .*{OBJECT}", "answer", 1000, status=503, body=SLOW_DOWN)
    told = store.put("t/s/x", 10)
    assert told["err"] == "UNAVAILABLE" and "SlowDown" in told["why"]
    assert rule.hits == 6
    proxy.clear()
    assert store.put("t/s/x", 10)["err"] == "OK"


@pytest.mark.parametrize("status, code, err", [
    (403, "AccessDenied", "DENIED"), (403, "SignatureDoesNotMatch", "DENIED"), (507, "XMinioStorageFull", "FULL"),
    (400, "XAmzContentSHA256Mismatch", "CORRUPT"), (400, "Strange", "UNAVAILABLE"), (301, "PermanentRedirect", "UNAVAILABLE"),
    (501, "NotImplemented", "UNSUPPORTED")])
def test_what_refusals_mean(store, proxy, status, code, err):
    proxy.rule(f"^PUT .*{OBJECT}", "answer", 1000, status=status, headers=[("Location", "http://127.0.0.1:1/")],
               body=f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode())
    assert store.put("t/s/x", 10)["err"] == err
    assert store("head", "t/s/x")["err"] == "NOT_FOUND"


def test_cut_connections(store, proxy):
    proxy.rule(f"^PUT .*{OBJECT}", "cut_request", 2, after=100000)
    proxy.rule(f"^PUT .*{OBJECT}", "lost_reply", 1)
    put = store.put("t/s/x", 3 * MIB)
    assert put["err"] == "OK"
    # A get goes on where it was cut, and nothing comes twice.
    for after in (0, 1, 100000, 3 * MIB - 1):
        rule = proxy.rule(f"^GET .*{OBJECT}", "cut_answer", 1, after=after)
        got = store.get("t/s/x", sha256=put["sha256"])
        assert (got["err"], got["got"], got["begun"], rule.hits) == ("OK", 3 * MIB, 1, 1)
    proxy.rule(f"^GET .*{OBJECT}", "cut_answer", 1, after=1000)
    got = store.get("t/s/x", 500000, 2000000)
    assert (got["err"], got["got"]) == ("OK", 2000000)
    proxy.rule(f"^(HEAD|DELETE) .*{OBJECT}", "lost_reply", 2)
    assert store("head", "t/s/x")["err"] == "OK"
    assert store("delete", "t/s/x")["err"] == "OK"


def test_an_object_that_changes_while_it_is_read(store, proxy):
    store.put("t/s/x", 3 * MIB, 1)
    proxy.rule(f"^GET .*{OBJECT}", "cut_answer", 1, after=1000)
    proxy.rule(f"^GET .*{OBJECT}", "answer", 1, status=412, body=b"<Error><Code>PreconditionFailed</Code></Error>")
    assert store.get("t/s/x")["err"] == "CORRUPT"


def test_lies(store, proxy):
    put = store.put("t/s/x", 100000)
    for lie in ("wrong_bytes", "short_length", "long_length"):
        rule = proxy.rule(f"^GET .*{OBJECT}", lie, 10)
        assert store.get("t/s/x", sha256=put["sha256"])["err"] == "CORRUPT", lie
        assert store.get("t/s/x", sha256=put["sha256"], flags="file")["err"] == "CORRUPT", lie
        assert rule.hits >= 2
        proxy.clear()
    # A range that is another than was asked for.
    proxy.rule(f"^GET .*{OBJECT}", "answer", 1, status=200, body=b"x" * 10)
    assert store.get("t/s/x", 10, 10)["err"] == "CORRUPT"
    proxy.rule(f"^GET .*{OBJECT}", "answer", 1, status=206, headers=[("Content-Range", "bytes 0-9/100000")], body=b"x" * 10)
    assert store.get("t/s/x", 10, 10)["err"] == "CORRUPT"
    proxy.rule(f"^PUT .*{OBJECT}", "no_etag", 1)
    assert store.put("t/s/x", 10)["err"] == "UNAVAILABLE"


@pytest.mark.parametrize("body", [b"", b"not xml", b"<ListBucketResult>", b"<a/>", b"<!DOCTYPE a><a/>",
                                  b"<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>zzz</Key><LastModified>"
                                  b"2013-05-24T00:00:00Z</LastModified><Size>1</Size></Contents></ListBucketResult>"])
def test_malformed_lists(store, proxy, body):
    proxy.rule(r"^GET .*list-type=2", "answer", 1, status=200, body=body)
    assert store.list("t/")["err"] == "CORRUPT"


def test_a_store_that_stalls(store, proxy):
    store.put("t/s/x", 10)
    proxy.rule(f"^GET .*{OBJECT}", "slow", 1, seconds=4)
    assert store.get("t/s/x")["err"] == "OK"  # the second try
    rule = proxy.rule(f"^HEAD .*{OBJECT}", "slow", 1000, seconds=4)
    assert store("head", "t/s/x")["err"] == "TIMEOUT"
    wait_until("the last try has come", lambda: rule.hits >= 6)
    assert rule.hits == 6


def test_a_conditional_put_whose_answer_is_lost(store, proxy):
    proxy.rule(f"^PUT .*{OBJECT}", "lost_reply", 1)
    put = store.put("t/s/x", 10, 1, "bytes", "absent")
    assert put["err"] == "OK"  # it was us
    proxy.rule(f"^PUT .*{OBJECT}", "lost_reply", 1)
    assert store.put("t/s/x", 10, 2, "bytes", "absent")["err"] == "EXISTS"  # it was another
    assert store.get("t/s/x")["sha256"] == put["sha256"]


def test_parts_under_faults(store, proxy):
    proxy.rule(r"^POST .*uploads=", "lost_reply", 1)
    proxy.rule(r"^PUT .*partNumber=1", "cut_request", 1, after=1000)
    proxy.rule(r"^PUT .*partNumber=2", "answer", 2, status=503, body=SLOW_DOWN)
    proxy.rule(r"^POST .*uploadId=", "lost_reply", 1)
    put = store.put("t/s/x", 11 * MIB, 3, "fd")
    assert put["err"] == "OK", put
    assert store.get("t/s/x", sha256=put["sha256"])["err"] == "OK"


@pytest.mark.parametrize("pattern, more", [
    (r"^PUT .*partNumber=2", {"status": 403, "body": b"<Error><Code>AccessDenied</Code></Error>"}),
    (r"^PUT .*partNumber=2", {"status": 503, "body": SLOW_DOWN}),
    (r"^PUT .*partNumber=2", {"status": 200}),
    (r"^POST .*uploadId=", {"status": 200, "body": b"<Error><Code>InternalError</Code></Error>"}),
    (r"^POST .*uploadId=", {"status": 200, "body": b"nonsense"}),
])
def test_an_upload_that_fails_is_aborted(store, proxy, pattern, more):
    proxy.rule(pattern, "answer", 1000, **more)
    told = store.put("t/s/x", 11 * MIB, 3, "fd")
    assert told["err"] == ("DENIED" if more["status"] == 403 else "UNAVAILABLE"), told
    assert uploads_left(store, proxy) == 0
    assert store("head", "t/s/x")["err"] == "NOT_FOUND"


def test_a_cancelled_upload_is_aborted(store, proxy):
    rule = proxy.rule(r"^PUT .*partNumber=2", "slow", 1, seconds=0.5)
    told = store("putcancel", "t/s/x", 30 * MIB, 1, 400)
    assert told["err"] in ("CLOSED", "OK")
    assert told["err"] == "CLOSED" or rule.hits == 0
    # The abort is an operation of its own; the tool's loop turns with each command.
    wait_until("it is aborted", lambda: store("head", "t/s/x") and uploads_left(store, proxy) == 0)


def test_uploads_that_a_crash_left_are_swept(minio, proxy, store, open_store):
    crashed = open_store(s3_env(minio, "faults", STORE_ENDPOINT=proxy.endpoint))
    assert crashed("check")["err"] == "OK"
    proxy.rule(r"^PUT .*partNumber=2", "slow", 1, seconds=5)
    crashed.tell("put", "t/s/x", 11 * MIB, 1, "fd", "-")
    wait_until("the second part is under way", lambda: any("partNumber=2" in line for line in proxy.seen))
    crashed.process.kill()
    upload = next(re.search("uploadId=([^& ]*)", line).group(1) for line in proxy.seen if "partNumber=2" in line)
    # MinIO does not list uploads without their key: the list is the test's, the upload and its end are real.
    for age, gone in ((3600 * 1000, 0), (0, 1)):
        proxy.rule(r"^GET /faults\?uploads=", "answer", 1, status=200, body=(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><Upload><Key>t/s/x</Key><UploadId>"
            f"{urllib.parse.unquote(upload)}</UploadId><Initiated>{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - 60))}"
            "</Initiated></Upload></ListMultipartUploadsResult>").encode())
        told = store("sweep", age)
        assert (told["err"], told["size"]) == ("OK", gone)
    assert f"DELETE /faults/t/s/x?uploadId={upload}" in proxy.seen
    assert not minio.parts()


def test_minio_ends_by_itself_the_uploads_that_a_crash_left(tmp_path, open_store):
    """What the sweep cannot list there. MinIO's defaults are a day, looked for every six hours; here two seconds."""
    server = Minio(tmp_path / "minio", MINIO_API_STALE_UPLOADS_EXPIRY="2s", MINIO_API_STALE_UPLOADS_CLEANUP_INTERVAL="1s")
    proxy = Proxy(server.endpoint)
    try:
        crashed = open_store(s3_env(server, "expiry", STORE_ENDPOINT=proxy.endpoint))
        assert crashed("check")["err"] == "OK"
        hold = proxy.rule(r"^PUT .*partNumber=2", "hold", 1, reached=threading.Event(), go=threading.Event()).more
        crashed.tell("put", "t/s/x", 11 * MIB, 1, "fd", "-")
        assert hold["reached"].wait(60)
        crashed.process.kill()
        hold["go"].set()
        wait_until("it is ended", lambda: not server.parts(), 60)
        after = open_store(s3_env(server, "expiry"))
        assert after("head", "t/s/x")["err"] == "NOT_FOUND" and after.put("t/s/x")["err"] == "OK"
    finally:
        proxy.stop()
        server.stop()


def test_a_bucket_that_goes_away_is_made_again(minio, proxy, open_store):
    proxy.clear()
    store = open_store(s3_env(minio, "fleeting", STORE_ENDPOINT=proxy.endpoint))
    assert store.put("t/s/x", 10)["err"] == "OK"
    proxy.rule(f"^PUT .*{OBJECT}", "answer", 1, status=404, body=b"<Error><Code>NoSuchBucket</Code></Error>")
    assert store.put("t/s/x", 10)["err"] == "OK"
    assert sum(line.startswith("HEAD /fleeting") and "/t/" not in line for line in proxy.seen) == 2


def test_a_store_without_conditional_writes(minio, proxy, open_store):
    proxy.clear()
    proxy.rule(r"^PUT .*/millrace-probe/", "answer", 1, status=501, body=b"<Error><Code>NotImplemented</Code></Error>")
    store = open_store(s3_env(minio, "unconditional", STORE_ENDPOINT=proxy.endpoint))
    told = store("check")
    assert told["err"] == "OK" and told["conditional"] is False
    assert store.put("t/s/x", 10, 1, "bytes", "absent")["err"] == "UNSUPPORTED"
    assert store.put("t/s/x", 10)["err"] == "OK"


def test_wrong_keys_and_nobody_there(minio, open_store):
    store = open_store(s3_env(minio, "denied", STORE_SECRET_KEY="0" * 32))
    told = store("check")
    assert told["err"] == "DENIED"
    assert minio.secret_key not in told["why"]
    nobody = open_store(s3_env(minio, "nobody", STORE_ENDPOINT="127.0.0.1:1"))
    assert nobody.put("t/s/x")["err"] == "UNAVAILABLE"


def test_tls_is_checked(minio_tls, open_store):
    store = open_store(s3_env(minio_tls, "untrusted", STORE_CA_FILE=""))
    told = store("check")
    assert told["err"] == "UNAVAILABLE" and "certificate" in told["why"].lower()


def test_the_proxy_itself(minio, proxy):
    """Without a rule it changes nothing."""
    proxy.clear()
    connection = http.client.HTTPConnection(proxy.endpoint, timeout=10)
    connection.request("GET", "/minio/health/ready")
    assert connection.getresponse().status == 200
    connection.close()
