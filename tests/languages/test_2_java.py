# SPDX-License-Identifier: Apache-2.0
"""A Java that waits does what javac and java do: each program in a warm pod and in a cold one, byte for byte. What it compiled is kept."""
import secrets

import httpx
import pytest
from contract import Api
from system import System, wait_until

USUAL_MB = 768
OTHER = "other-key-0123456789"
PROGRAMS = {
    "all that a program sees": """
import java.util.*;
public class Main {
  static void thrower() { throw new IllegalStateException("x", new RuntimeException("y")); }
  public static void main(String[] args) throws Exception {
    System.out.println(String.join("|", args) + System.getenv("GREETING") + System.getenv("HOME") + new Date(0) + Thread.currentThread().getName());
    new ProcessBuilder("sh", "-c", "echo $GREETING; pwd").inheritIO().start().waitFor();
    System.in.transferTo(System.out);
    List raw = new ArrayList();
    raw.add(Thread.currentThread().getContextClassLoader() == Main.class.getClassLoader());
    System.out.println(raw + " " + System.getProperty("user.dir") + (Runtime.getRuntime().maxMemory() >> 28));
    new Exception("told").printStackTrace();
    new Thread(() -> { try { Thread.sleep(200); } catch (InterruptedException e) { } System.out.println("later"); }).start();
    thrower();
  }
}
""",
    "an error of the compiler": "public class Main {\n  int x = \"text\";\n  int y = z;\n}\n",
    "no main": "class Other { }",
    "the end": """
import java.nio.file.*;
public class Main {
  public static void main(String[] args) throws Exception {
    Files.createFile(Path.of("gone.txt")).toFile().deleteOnExit();
    Files.writeString(Path.of("left.txt"), "x");
    Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { Thread.sleep(100); } catch (InterruptedException e) { } System.out.print("hook"); }));
    new Thread(() -> { throw new IllegalStateException("of another thread"); }, "other").start();
    System.out.print("no line");
  }
}
""",
    "System.exit of another thread": """
public class Main {
  public static void main(String[] args) throws Exception {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
    Thread t = new Thread(() -> System.exit(7), "DestroyJavaVM");
    t.start(); t.join(); System.out.println("never");
  }
}
""",
    "a static block": "public class Main {\n  static int x = 1 / 0;\n  public static void main(String[] a) { }\n}",
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory, cluster):
    pools = {"POD_POOL_" + name: "0" for name in ("JS", "TS", "R", "PHP", "PY_SCIENCE")}
    made = System(tmp_path_factory.mktemp("java"), cluster=cluster, env={**pools, "POD_POOL_PY": "1", "MAX_EXECUTION_TIME": "60",
                                                                               "API_KEYS": "other:" + OTHER})
    yield made
    code, left = made.stop(), made.residue()
    assert code == 0 and left == []


def counted(plant, name, of="pool"):
    text = httpx.get(f"http://127.0.0.1:{plant.children('worker')[0]['port']}/metrics", timeout=60).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"millrace_{of}_{name}_total") and 'lang="java"' in line)


def compiled(plant):
    return counted(plant, "hits", "compile_cache"), counted(plant, "misses", "compile_cache")


def waits(plant):
    pool = httpx.get(f"http://127.0.0.1:{plant.children('worker')[0]['port']}/health", timeout=60).json()["pools"]["java"]
    return pool["ready"] == pool["size"] == 1


@pytest.mark.parametrize("name", PROGRAMS)
def test_warm_and_cold_are_the_same(plant, name):
    with Api(plant) as api:
        wait_until("a Java waits", lambda: waits(plant), 150)
        asked = {"args": ["a b", "\u00fc"], "env": {"GREETING": "hi", "TZ": "Asia/Tokyo"}, "stdin": "in\n"}
        before = counted(plant, "hits"), counted(plant, "fallbacks")
        warm = api.exec("java", PROGRAMS[name], **asked)
        assert (counted(plant, "hits"), counted(plant, "fallbacks")) == (before[0] + 1, before[1])
        cold = api.exec("java", PROGRAMS[name], memory_mb=USUAL_MB - 2, **asked)
    assert facts(warm) == facts(cold)


def facts(body):
    told = {key: body[key] for key in ("stdout", "stderr", "exit_code", "signal", "stage", "job_status")}
    return told | {"files": [file["name"] for file in body["files"]]}


def warm_run(plant, api, code, **more):
    """In the Java that waits, or the test says so."""
    wait_until("a Java waits", lambda: waits(plant), 150)
    before = counted(plant, "hits"), counted(plant, "fallbacks")
    body = api.exec("java", code, **more)
    assert (counted(plant, "hits"), counted(plant, "fallbacks")) == (before[0] + 1, before[1])
    return body


# A package, inner classes of every sort, a word of the compiler, and the class file that it finds itself in.
KEPT = """
package some.where;
import java.util.*;
import java.util.function.*;
public class Kept {
  record Point(int x, int y) { Point { if (x > 99) throw new IllegalArgumentException("x"); } }
  enum Side { LEFT, RIGHT { String say() { return "r"; } }; String say() { return "l"; } }
  interface Shape { default String name() { return getClass().getName(); } }
  class Inner implements Shape { }
  static class Nested { static List raw = new ArrayList(); static { raw.add("raw"); } }
  public static void main(String[] args) throws Exception {
    Supplier<Shape> made = () -> new Kept().new Inner();
    Shape local = new Shape() { };
    System.out.println(new Point(1, 2) + Side.RIGHT.say() + made.get().name() + local.name() + Nested.raw + Arrays.toString(args)
        + new Scanner(System.in).nextLine() + (Kept.class.getResource("Kept.class") != null));
    System.exit(args.length);
  }
}
"""


def test_the_second_time_nothing_is_compiled(plant):
    with Api(plant) as api:
        hits, misses = compiled(plant)
        first = warm_run(plant, api, KEPT, args=["x", "y"], stdin="in\n")
        assert compiled(plant) == (hits, misses + 1)
        assert first["exit_code"] == 2 and "[raw][x, y]intrue" in first["stdout"] and "unchecked" in first["stderr"], first
        second = warm_run(plant, api, KEPT, args=["x", "y"], stdin="in\n")
        cold = api.exec("java", KEPT, args=["x", "y"], stdin="in\n")  # nothing waits so soon
        assert facts(second) == facts(first) and facts(cold) == facts(first)
        other = warm_run(plant, api, KEPT, stdin="other\n")
        assert other["exit_code"] == 0 and "[]othertrue" in other["stdout"]
        assert compiled(plant) == (hits + 3, misses + 1)


def test_a_large_one_comes_again(plant):
    """As a descriptor, and not in frames, like any program of more than a frame."""
    lines = "".join(f'    out.println("{secrets.token_hex(2000)}");\n' for _ in range(60))
    code = f"""class Main {{ public static void main(String[] a) {{ var out = System.out;
    out.println(new java.io.File("/mnt/data/.program").length() > 65536);
{lines}  }} }}"""
    with Api(plant) as api:
        hits, misses = compiled(plant)
        first = warm_run(plant, api, code)
        assert first["exit_code"] == 0 and first["stdout"].startswith("true\n") and len(first["stdout"].split()) == 61
        assert facts(warm_run(plant, api, code)) == facts(first)
        assert api.exec("java", code)["stdout"] == first["stdout"]  # cold
        assert compiled(plant) == (hits + 2, misses + 1)


def test_another_tenant_and_another_source_are_compiled(plant):
    code = 'class Main { public static void main(String[] a) { System.out.println("%s"); } }'
    with Api(plant) as api, Api(plant, key=OTHER) as other:
        hits, misses = compiled(plant)
        assert warm_run(plant, api, code % "one")["stdout"] == "one\n"
        assert warm_run(plant, other, code % "one")["stdout"] == "one\n"
        assert warm_run(plant, api, code % "two")["stdout"] == "two\n"
        assert compiled(plant) == (hits, misses + 3)


def test_another_file_beside_it_is_compiled_again(plant):
    code = "class Main { public static void main(String[] a) { System.out.println(Beside.text()); } }"
    with Api(plant) as api:
        def run(word):
            beside = f'class Beside {{ static String text() {{ return "{word}"; }} }}'
            sent = api.post("/upload", data={"entity_id": "java"}, files={"files": ("Beside.java", beside.encode())}).json()
            file = {"id": sent["files"][0]["fileId"], "session_id": sent["session_id"], "name": "Beside.java"}
            return warm_run(plant, api, code, files=[file])["stdout"]
        hits, misses = compiled(plant)
        assert [run(word) for word in ("one", "two", "one")] == ["one\n", "two\n", "one\n"]
        assert compiled(plant) == (hits + 1, misses + 2)


def test_a_program_changes_no_entry(plant):
    """Its jar is its own to overwrite; the next run still gets what the compiler made."""
    code = ('import java.nio.file.*;\nclass Main { public static void main(String[] a) throws Exception {\n'
            '  Files.writeString(Path.of("/mnt/data/.program"), "evil"); System.out.println("good"); } }\n')
    with Api(plant) as api:
        hits, misses = compiled(plant)
        for _ in range(3):
            assert warm_run(plant, api, code)["stdout"] == "good\n"
        assert compiled(plant) == (hits + 2, misses + 1)


def test_what_fails_is_not_kept(plant):
    with Api(plant) as api:
        hits, misses = compiled(plant)
        told = [warm_run(plant, api, PROGRAMS["an error of the compiler"]) for _ in range(2)]
        assert told[0]["stage"] == "compile" and told[0]["exit_code"] == 1 and "Main.java:2: error" in told[0]["stderr"]
        assert facts(told[0]) == facts(told[1]) and compiled(plant) == (hits, misses + 2)


def test_a_program_that_is_stopped_is_kept(plant):
    code = "class Main { public static void main(String[] a) throws Exception { System.out.println(\"begun\"); Thread.sleep(60000); } }"
    with Api(plant) as api:
        hits, misses = compiled(plant)
        for _ in range(2):
            body = warm_run(plant, api, code, timeout_ms=8000)
            assert body["job_status"] == "timed_out" and body["stdout"] == "begun\n", body
        assert compiled(plant) == (hits + 1, misses + 1)
