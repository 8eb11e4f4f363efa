# SPDX-License-Identifier: Apache-2.0
"""How often and how long: tests/counts.json has the counts of `tools/check` and of `tools/soak` side by side."""
import json
import os
import pathlib

TABLE = json.loads((pathlib.Path(__file__).parent.parent / "counts.json").read_text())
COLUMN = os.environ.get("MILLRACE_COUNTS", "check")


def count(name):
    return TABLE[name][COLUMN]
