# SPDX-License-Identifier: Apache-2.0
"""Whatever openapi.yaml allows and forbids is sent to a live system: no 5xx, and every answer is one that it describes."""
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks

from system import ROOT

schema = schemathesis.openapi.from_path(ROOT / "schema" / "openapi.yaml")
load_all_checks()
# What a description cannot say (which languages there are, which names of variables) is refused all the same, and fields
# that it does not have are ignored.
NOT_OURS = [CHECKS.get_one(name) for name in ("positive_data_acceptance", "negative_data_rejection")]


@pytest.fixture(scope="module")
def where(system):
    return system


@schema.parametrize()
@hypothesis.settings(max_examples=25, deadline=None, derandomize=True, database=None,
                     suppress_health_check=list(hypothesis.HealthCheck))
def test_the_api_is_what_its_description_says(case, where):
    case.call_and_validate(base_url=where.url, headers={"x-api-key": where.key}, excluded_checks=NOT_OURS, timeout=60)
