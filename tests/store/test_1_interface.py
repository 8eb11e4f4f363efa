# SPDX-License-Identifier: Apache-2.0
"""The same promises from every kind of store."""
import pytest
from conftest import s3_env
from minio import Minio

MIB = 1 << 20


def test_walk(store):
    assert store("check")["err"] == "OK"
    assert store("head", "t/s/x")["err"] == "NOT_FOUND"
    assert store.get("t/s/x")["err"] == "NOT_FOUND"
    put = store.put("t/s/x", 1000)
    assert put["err"] == "OK" and put["size"] == 1000
    head = store("head", "t/s/x")
    assert head["size"] == 1000 and head["time"] > 1600000000000
    got = store.get("t/s/x", sha256=put["sha256"])
    assert (got["err"], got["sha256"], got["got"], got["begun"]) == ("OK", put["sha256"], 1000, 1)
    other = store.put("t/s/x", 500, 2)
    assert store.get("t/s/x")["sha256"] == other["sha256"] != put["sha256"]
    for _ in range(2):
        assert store("delete", "t/s/x")["err"] == "OK"
    assert store("head", "t/s/x")["err"] == "NOT_FOUND"


@pytest.mark.parametrize("source", ["bytes", "fd", "spool"])
def test_sizes_and_sources(store, source):
    for size in (0, 1, 262144, 262145, 3 * MIB):
        put = store.put("t/s/x", size, size + 7, source, "hash")
        assert put["err"] == "OK", put
        for flags in ("-", "file"):
            got = store.get("t/s/x", sha256=put["sha256"], flags=flags)
            assert (got["err"], got["sha256"], got["got"], got["size"]) == ("OK", put["sha256"], size, size)


def test_large_ones_go_in_parts(store):
    put = store.put("t/s/x", 23 * MIB + 17, 7, "fd")
    assert put["err"] == "OK", put
    got = store.get("t/s/x", sha256=put["sha256"])
    assert (got["err"], got["got"]) == ("OK", 23 * MIB + 17)
    assert store.put("t/s/y", 23 * MIB, 7, "spool")["err"] == "OK"
    assert store.put("t/s/y", 11 * MIB, 8, "fd", "absent")["err"] == "EXISTS"
    assert store.put("t/s/z", 11 * MIB, 8, "fd", "absent")["err"] == "OK"
    assert store("head", "t/s/y")["size"] == 23 * MIB


def test_pauses_lose_nothing(store):
    put = store.put("t/s/x", 3 * MIB)
    got = store.get("t/s/x", sha256=put["sha256"], flags="pause")
    assert (got["err"], got["got"]) == ("OK", 3 * MIB)
    assert store.get("t/s/x", flags="cancel")["err"] == "CLOSED"
    assert store.get("t/s/x", sha256=put["sha256"])["err"] == "OK"


def test_ranges(store):
    store.put("t/s/x", 1000)
    for start, length, want in [(0, 1, 1), (999, 0, 1), (1000, 0, 0), (1001, 0, None), (10, 100, 100), (990, 100, 10),
                                (1000, 5, 0), (1001, 5, None)]:
        got = store.get("t/s/x", start, length)
        if want is None:
            assert got["err"] == "RANGE"
        else:
            assert (got["err"], got["got"], got["size"], got["begun"]) == ("OK", want, 1000, 1), got


def test_an_empty_object(store):
    store.put("t/s/x", 0)
    assert store.get("t/s/x", 0, 10)["err"] == "OK"
    assert store.get("t/s/x", 1)["err"] == "RANGE"


def test_if_absent(store):
    first = store.put("t/s/x", 10, 1, "bytes", "absent")
    assert first["err"] == "OK"
    assert store.put("t/s/x", 10, 2, "bytes", "absent")["err"] == "EXISTS"
    assert store.get("t/s/x")["sha256"] == first["sha256"]
    assert store("check")["conditional"] is True


def test_another_content_than_said_is_refused(store):
    for size in (10, 11 * MIB):
        for source in ("bytes", "fd") if size < MIB else ("fd",):
            assert store.put("t/s/x", size, 1, source, "badhash")["err"] == "CORRUPT"
    assert store("head", "t/s/x")["err"] == "NOT_FOUND"
    store.put("t/s/x", 10)
    assert store.get("t/s/x", sha256="0" * 64)["err"] == "CORRUPT"
    assert store.get("t/s/x", sha256="0" * 64, flags="file")["err"] == "CORRUPT"


KEYS = ["a-b/x", "a.c", "a/bc", "a0", "b/1/x", "b/1/y", "b/10/x", "b/2/x", "b-1", "c/d/e"]


def test_lists(store):
    for key in KEYS:
        assert store.put(key)["err"] == "OK"
    # "/" is 0x2f: the order of the bytes, not of the words.
    wanted = sorted(KEYS, key=str.encode)
    for limit in (1, 2, 3, 5, 100):
        keys, cursor = [], "-"
        while cursor:
            page = store.list("-", cursor, limit)
            assert page["err"] == "OK" and len(page["keys"]) <= limit
            keys += [key for key, _, _ in page["keys"]]
            cursor = page["next"]
        assert keys == wanted
    assert [key for key, _, _ in store.list("b/1")["keys"]] == ["b/1/x", "b/1/y", "b/10/x"]
    assert [key for key, _, _ in store.list("b/1/")["keys"]] == ["b/1/x", "b/1/y"]
    assert [key for key, _, _ in store.list("b/", "b/1/y")["keys"]] == ["b/10/x", "b/2/x"]
    assert store.list("none/")["keys"] == []
    size, time = store.list("c/d/")["keys"][0][1:]
    assert size == 10 and time > 1600000000000


def test_bad_keys(store):
    for key in ("../x", "a//b", "/a", "a/", "a/./b", "a/\u00e4", "a%2fb", "x" * 129):
        assert store.put(key)["err"] == "INVALID"
        assert store("head", key)["err"] == "INVALID"
        assert store("delete", key)["err"] == "INVALID"


def test_many_at_once(store):
    assert store("puts", "t/many", 100000, 3, 64)["err"] == "OK"
    assert len(store.list("t/many/")["keys"]) == 64


def test_the_bucket_in_the_host_name(minio, open_store):
    store = open_store(s3_env(minio, "by-name", STORE_VIRTUAL_HOST="1", STORE_ENDPOINT=f"localhost:{minio.port}"))
    put = store.put("t/s/x", 1000)
    assert put["err"] == "OK", put
    assert store.get("t/s/x", sha256=put["sha256"])["err"] == "OK"
    assert [key for key, _, _ in store.list("t/")["keys"]] == ["t/s/x"]
    assert (minio.data / "by-name" / "t" / "s" / "x").exists()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """TLS, and another region than the first."""
    server = Minio(tmp_path_factory.mktemp("elsewhere"), tls=True, region="eu-test-1")
    yield server
    server.stop()


@pytest.mark.parametrize("by_name", [False, True], ids=["path", "host"])
def test_another_region_with_tls(elsewhere, open_store, by_name):
    """The bucket is made in it, and parts and conditions are signed for it; one signed for another is refused."""
    place = {"STORE_VIRTUAL_HOST": "1", "STORE_ENDPOINT": f"localhost:{elsewhere.port}"} if by_name else {}
    env = s3_env(elsewhere, "millrace-files", STORE_REGION="eu-test-1", **place)
    store = open_store(env)
    put = store.put("t/s/x", 11 * MIB, 1, "fd")
    assert put["err"] == "OK", put
    assert store.get("t/s/x", sha256=put["sha256"])["err"] == "OK"
    assert store("delete", "t/s/x")["err"] == "OK"
    assert [store.put("t/s/y", 10, n, "bytes", "absent")["err"] for n in (1, 2)] == ["OK", "EXISTS"]
    assert store("delete", "t/s/y")["err"] == "OK"
    assert open_store({**env, "STORE_REGION": "us-east-1"}).put("t/s/z")["err"] == "UNAVAILABLE"


def test_closed_in_the_middle(store_env, open_store):
    store = open_store(store_env)
    assert store("check")["err"] == "OK"
    assert store("putcancel", "t/s/x", 30 * MIB, 1, 0)["err"] == "CLOSED"
