# SPDX-License-Identifier: Apache-2.0
"""`millrace replay --verify` reads archived logs in their packs, and sessions with their files, versions, blobs and objects; and
finds a lie in each."""
import pytest
from archive import settle
from test_2_states import archive, run, session_key

NOBODY = "Anobody0000000000000Z"


@pytest.fixture(scope="module")
def stored(scene):
    """What is stored of one archived job, of a session whose state is in Redis, and of one whose state is archived."""
    scene.announce()
    job, other = scene.run("for i in range(300): print(i)"), scene.run("1/0")
    hot, _, _ = run(scene, "x = 1; open('/mnt/data/f.txt', 'w').write('file')")
    run(scene, "x = 2", hot)
    cold, _, _ = run(scene, "x = 1")
    gone, _, _ = run(scene, "x = 1; open('/mnt/data/f.txt', 'w').write('file')")
    assert scene.call(f"/state/{hot}")[0] == 200
    scene.due(job, other)
    one = scene.archiver()
    settle("the logs are archived", lambda: scene.place(job) and scene.place(other))
    archive(scene, cold)
    key = session_key(scene, gone)
    scene.redis.hset(key, "due", 1)
    scene.redis.zadd(key.split("}:")[0] + "}:sdue", {gone: 1})
    assert one.end() == 0
    two = scene.archiver()
    settle("a session is over", lambda: scene.redis.hget(key, "status") == "gone")
    assert two.end() == 0
    file, = scene.redis.hkeys(session_key(scene, hot, ":files"))
    return {"job": job, "other": other, "hot": hot, "cold": cold, "gone": gone, "file": file}


def test_nothing_differs(scene, stored):
    assert scene.differences() == []


def part(scene, session, name=""):
    return session_key(scene, session, name)


def base(scene, stored):
    return part(scene, stored["hot"]).split("s:")[0]


def event(scene, key, at=-1):
    scene.redis.xdel(key, scene.redis.xrange(key)[at][0])


def other_end(record):
    """The last digit of its MAC is another."""
    return record[:-1] + "0123456789abcdef"[15 - int(record[-1], 16)]


def seal_of_2(scene, stored):
    """Version 1 as it is, but with the whole seal of version 2."""
    one, two = (scene.redis.hget(part(scene, stored["hot"], ":states"), version).split() for version in (1, 2))
    return " ".join(one[:4] + two[4:])


def moved(scene, stored):
    """The job says that its log is where another's is."""
    scene.redis.hset(scene.key(stored["job"]), "arch", scene.place(stored["other"]))


# What is found, and the lie. The connection of the tests reads text; what is no text is cut off.
PLANTED = {
    "status is": lambda s, x: s.redis.hset(s.key(x["job"]), "status", "failed"),
    "seq is": lambda s, x: s.redis.hincrby(s.key(x["job"]), "seq", 1),
    "finished is": lambda s, x: s.redis.hincrby(s.key(x["job"]), "finished", 1),
    "session is": lambda s, x: s.redis.hset(s.key(x["job"]), "session", NOBODY),
    "last is": lambda s, x: s.redis.hset(s.key(x["job"]), "last", "1-1"),
    "there is no pack": lambda s, x: s.redis.zrem(base(s, x) + "packs", s.place(x["job"]).split()[0]),
    "it says no place": lambda s, x: s.redis.hset(s.key(x["job"]), "arch", "nowhere"),
    "eid is": moved,
    "status is 'cold'": lambda s, x: s.redis.hset(part(s, x["hot"]), "status", "cold"),
    "version is": lambda s, x: s.redis.hincrby(part(s, x["hot"]), "version", 1),
    "created is": lambda s, x: s.redis.hset(part(s, x["cold"]), "created", 5),
    "files is": lambda s, x: s.redis.hset(part(s, x["hot"]), "files", 2),
    "bytes is": lambda s, x: s.redis.hincrby(part(s, x["hot"]), "bytes", 1),
    "log: event": lambda s, x: event(s, part(s, x["hot"], ":log"), 1),
    "it has 0 files": lambda s, x: s.redis.hdel(part(s, x["hot"], ":files"), x["file"]),
    "it has 2 files": lambda s, x: s.redis.hset(part(s, x["hot"], ":files"), NOBODY, "{}"),
    "the file": lambda s, x: s.redis.hset(part(s, x["hot"], ":files"), x["file"], s.redis.hget(
        part(s, x["hot"], ":files"), x["file"]).replace("f.txt", "g.txt")),
    "version 2 is not as": lambda s, x: s.redis.hset(part(s, x["hot"], ":states"), 2, "0" + s.redis.hget(
        part(s, x["hot"], ":states"), 2)[1:]),
    "its seal cannot be read": lambda s, x: s.redis.hset(part(s, x["hot"], ":states"), 2, " ".join(s.redis.hget(
        part(s, x["hot"], ":states"), 2).split()[:4])),
    "its seal is not one of this session": lambda s, x: s.redis.hset(part(s, x["hot"], ":states"), 2, other_end(s.redis.hget(
        part(s, x["hot"], ":states"), 2))),
    "version 1: its seal is not one": lambda s, x: s.redis.hset(part(s, x["hot"], ":states"), 1, seal_of_2(s, x)),
    "its bytes are not those": lambda s, x: s.redis.hset(part(s, x["hot"], ":blobs"), 2, "x"),
    "it names 2 blobs in Redis, there are 3": lambda s, x: s.redis.hset(part(s, x["hot"], ":blobs"), 3, "x"),
    "sidle: it is not in it": lambda s, x: s.redis.zrem(base(s, x) + "sidle", x["hot"]),
    "sidle: it is in it": lambda s, x: s.redis.zadd(base(s, x) + "sidle", {x["cold"]: 1}),
    "sdue: it is": lambda s, x: s.redis.zincrby(base(s, x) + "sdue", 1, x["hot"]),
    "status is 'live', the log says 'gone'": lambda s, x: s.redis.hset(part(s, x["gone"]), "status", "live"),
    "names the session": lambda s, x: s.redis.zadd(base(s, x) + "sdue", {NOBODY: 1}),
    "its session does not exist": lambda s, x: s.redis.hset(base(s, x) + f"s:{NOBODY}:files", "a", "b"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_difference_is_found(scene, stored, what):
    raw = scene.redis.__class__.from_url(scene.url)
    before = {key: raw.dump(key) for key in raw.scan_iter(match="*", count=1000) if b":store" not in key}
    PLANTED[what](scene, stored)
    found = scene.differences()
    for key in [key for key in raw.scan_iter(match="*", count=1000) if key not in before and b":store" not in key]:
        raw.delete(key)
    for key, dump in before.items():
        if raw.dump(key) != dump:
            raw.restore(key, 0, dump, replace=True)
    raw.close()
    assert any(what in line for line in found), found


@pytest.mark.parametrize("what", ["pack", "state", "file"])
@pytest.mark.parametrize("lie", ["flipped", "cut", "away"])
def test_an_object_that_is_not_what_was_put_is_found(scene, stored, what, lie):
    name = {"pack": scene.place(stored["job"]).split()[0], "state": stored["cold"], "file": stored["file"]}[what]
    path = next(path for path in scene.objects.rglob("*") if path.is_file() and name in str(path))
    good = path.read_bytes()
    at = int(scene.place(stored["job"]).split()[1]) + 40 if what == "pack" else len(good) // 2
    path.unlink()
    if lie != "away":
        path.write_bytes(good[:at] + (bytes([good[at] ^ 1]) + good[at + 1:] if lie == "flipped" else b""))
    found = scene.differences()
    path.write_bytes(good)
    assert any(("there is none" if lie == "away" else "not") in line and (stored["job"] if what == "pack" else name) in line
               for line in found), found
    assert scene.differences() == []


def test_a_store_that_is_away_is_no_difference(scene, stored):
    away = scene.objects.with_name("away")
    scene.objects.rename(away)
    scene.objects.write_text("no folder")
    found = scene.differences()
    scene.objects.unlink()
    away.rename(scene.objects)
    assert len(found) == 1 and "the object store" in found[0]
    assert stored and scene.differences() == []
