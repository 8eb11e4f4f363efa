# SPDX-License-Identifier: Apache-2.0
"""The attack list in pods of a cluster: rows of hazards/attacks.py, unchanged, through the api; and, where defences of our runner stop
one, the same with those off, which must do harm although the cluster's own are on. attacks_there.py says which rows and why."""
import attacks_there as there
import pytest
from conftest import finish
from contract import Api
from system import System


def run(api, attack):
    for _ in range(attack.count):
        facts = there.run(api, attack)
    return facts


@pytest.mark.parametrize("attack", there.ROWS, ids=str)
def test_attack(api, attack):
    facts = run(api, attack)
    assert attack.expect(facts), facts


@pytest.fixture(scope="module")
def bare(tmp_path_factory, cluster):
    made = System(tmp_path_factory.mktemp("bare"), cluster=cluster,
                  env={"MILLRACE_TEST_OFF": ",".join(sorted(there.OURS)), "POD_POOL_PY": "3", "POD_POOL_JS": "0", "POD_POOL_BASH": "0"})
    with Api(made) as api:
        yield api
    finish(made)


@pytest.mark.parametrize("attack", there.CONTROLS, ids=str)
def test_control(bare, attack):
    facts = run(bare, attack)
    assert attack.harm(facts), facts


def test_the_next_program_is_served(api):
    assert [api.exec(lang, code)["stdout"] for lang, code in (("py", "print(1)"), ("bash", "echo 1"))] == ["1\n", "1\n"]


def test_every_row_is_there_or_has_its_reason():
    assert {*there.DIFFERENT, *there.STOPPED_TWICE} <= {str(attack) for attack in there.attacks.ROWS}
