# SPDX-License-Identifier: Apache-2.0
"""How often and how long: tests/counts.json has the counts of `tools/check` and of `tools/soak` side by side. MILLRACE_COUNTS names the
column, and single counts behind it: `soak,good_programs=50`."""
import json
import os
import pathlib

TABLE = json.loads((pathlib.Path(__file__).parent.parent / "counts.json").read_text())
COLUMN, *SINGLE = os.environ.get("MILLRACE_COUNTS", "check").split(",")
SINGLE = dict(one.split("=") for one in SINGLE)


def count(name):
    return int(SINGLE.get(name, TABLE[name][COLUMN]))
