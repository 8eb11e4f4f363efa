# SPDX-License-Identifier: Apache-2.0
"""docs/BENCHMARKS.md: each benchmark writes the section that is its own, the rest stays."""
import os
import pathlib
import platform
import re
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH = ROOT / "docs" / "BENCHMARKS.md"


def machine():
    """To be asked at the start: the load is a part of it. Prints which defences this host has: none of them is off in what is measured."""
    build = ROOT / os.environ.get("MILLRACE_BUILD", "build/release")
    subprocess.run([build / "bin" / "millrace-spawner", "--check"], check=True)
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if "model name" in line), "?")
    return (f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, load average "
            f"{os.getloadavg()[0]:.1f} at the start, load generator included")


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_section(title, command, where, text):
    """The section `## title` anew, or at the end."""
    body = f"## {title}\n\nMade by `{command}` on {time.strftime('%Y-%m-%d')}: {where}.\n\n{text}\n"
    page = PATH.read_text()
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", page, re.M | re.S)
    if found:
        page = page[:found.start()] + body + ("\n" if found.end() < len(page) else "") + page[found.end():]
    else:
        page = page.rstrip("\n") + "\n\n" + body
    PATH.write_text(page)
