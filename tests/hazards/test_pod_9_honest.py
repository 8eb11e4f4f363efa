# SPDX-License-Identifier: Apache-2.0
"""A154 in pods of a spawner that is nobody. (Through the whole service, with privilege: test_good_programs.py, which runs beside other attacks;
here the host is looked at, so it does not.)"""
import pytest

import good_programs as good
from counts import count


@pytest.mark.timeout(3600)
def test_good_programs_without_privilege(rootless):
    """Every section of the languages that run in a process of their own, and more by chance."""
    most = max(count("good_programs") // 2, sum(len(good.sections(lang)) for lang in good.COMMANDS))
    programs = good.generate(most, good.SEED, list(good.COMMANDS))
    for program in programs:
        command = good.COMMANDS[program.lang]
        options = dict(name=command[1], code=program.code, wall_ms=60000, memory=1 << 30, work_inodes=65536)
        facts = rootless.warm(**options) if program.lang == "py" else rootless.run(*command, kind="cold", **options)
        assert (facts["stdout"], facts["stderr"], facts["exit"]["exit_code"]) == (b"good\n", b"", 0), (program, facts)
        rootless.check()
    print(f"\ngood programs: {len(programs)} without privilege, seed {good.SEED}")
