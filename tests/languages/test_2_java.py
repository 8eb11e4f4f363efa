# SPDX-License-Identifier: Apache-2.0
"""A Java that waits does what javac and java do: each program in a warm pod and in a cold one, byte for byte."""
import httpx
import pytest
from contract import Api
from system import System, wait_until

USUAL_MB = 768
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
    "a static block": "public class Main {\n  static int x = 1 / 0;\n  public static void main(String[] a) { }\n}",
}


@pytest.fixture(scope="module")
def plant(tmp_path_factory, cluster):
    pools = {"POD_POOL_" + name: "0" for name in ("JS", "TS", "R", "PHP", "PY_SCIENCE")}
    made = System(tmp_path_factory.mktemp("java"), cluster=cluster, env={**pools, "POD_POOL_PY": "1", "MAX_EXECUTION_TIME": "60"})
    yield made
    code, left = made.stop(), made.residue()
    assert code == 0 and left == []


def counted(plant, name):
    text = httpx.get(f"http://127.0.0.1:{plant.children('worker')[0]['port']}/metrics", timeout=60).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"millrace_pool_{name}_total") and 'lang="java"' in line)


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
    same = [{key: body[key] for key in ("stdout", "stderr", "exit_code", "signal", "stage", "job_status", "files")} for body in (warm, cold)]
    assert same[0] == same[1]
