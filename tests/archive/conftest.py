# SPDX-License-Identifier: Apache-2.0
import pytest
from archive import S3Scene, Scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory, cluster):
    made = Scene(tmp_path_factory.mktemp("archive"), cluster=cluster)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory, cluster):
    made = S3Scene(tmp_path_factory.mktemp("s3"), cluster=cluster)
    made.announce()
    yield made
    made.stop()
