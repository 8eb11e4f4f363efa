# SPDX-License-Identifier: Apache-2.0
import pytest
from archive import Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    made = Scene(tmp_path_factory.mktemp("archive"), cluster=cluster)
    yield made
    made.stop()
