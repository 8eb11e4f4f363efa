# SPDX-License-Identifier: Apache-2.0
"""Files and skills of the real clients on a MinIO behind a proxy that cuts, delays, refuses and lies: what can be done again is,
and nobody sees it; a lie is told, and never taken for the file."""
import itertools

import pytest

import test_4_files
import test_5_skills
from clients import VERSIONS, Client, named, versions
from minio import Minio
from proxy import SLOW_DOWN, Proxy, Rule
from system import System
from test_5_skills import bundle  # noqa: F401

WHERE = " on a bad S3"  # of the matrix
OBJECTS = r"^(GET|PUT|HEAD|DELETE) /[^/?]+/[^?]+/"
FAULTS = [("cut_request", {"after": 5}), ("lost_reply", {}), ("answer", {"status": 503, "body": SLOW_DOWN}), ("slow", {"seconds": 0.2}),
          ("cut_answer", {"after": 1})]
LIES = ["wrong_bytes", "short_length", "long_length"]


class BadStore(Proxy):
    """Every second request for an object meets the next fault; a rule of the test goes first."""

    def __init__(self, upstream):
        super().__init__(upstream)
        self.turn, self.met, self.counts = itertools.cycle(FAULTS), {}, itertools.count()
        self.pattern = Rule(OBJECTS, "").pattern

    def take(self, request):
        rule = super().take(request)
        with self.lock:
            if rule or not self.pattern.search(request) or next(self.counts) % 2:
                return rule
            action, more = next(self.turn)
            if action == "cut_answer" and not request.startswith("GET "):
                action, more = "lost_reply", {}
            self.met[action] = self.met.get(action, 0) + 1
            return Rule(".", action, **more)


@pytest.fixture(scope="module")
def stored(tmp_path_factory, clients):
    """Clients of every version on a system whose object store is the bad one."""
    minio = Minio(tmp_path_factory.mktemp("minio"))
    proxy = BadStore(minio.endpoint)
    system = System(tmp_path_factory.mktemp("stored"), env={**minio.settings, "MINIO_ENDPOINT": proxy.endpoint})
    made = {version: Client(version, system.url, system.key) for version in VERSIONS}
    yield made, proxy
    for one in made.values():
        one.close()
    assert system.stop() == 0 and system.residue() == []
    proxy.stop()
    minio.stop()
    assert {action for action, _ in FAULTS} <= set(proxy.met), proxy.met  # all of them were met


@pytest.fixture
def client(request, stored):
    return stored[0][request.param]


class TestFiles(test_4_files.TestFiles):
    pass


class TestFilesOfOtherTools(test_4_files.TestFilesOfOtherTools):
    pass


@pytest.mark.matrix("skills")
@pytest.mark.parametrize("client, tool", [(version, "execute_code-py") for version in VERSIONS], indirect=["client"], ids=named)
def test_a_bundle(client, bundle, tool, record_property):  # noqa: F811
    test_5_skills.test_a_bundle_in_every_tool(client, bundle, tool, record_property)


@pytest.mark.matrix("skills")
@versions()
def test_carried_through_all_tools(client, bundle):  # noqa: F811
    test_5_skills.test_carried_through_all_tools(client, bundle)


@pytest.mark.matrix("lies")
@pytest.mark.parametrize("client, lie", [(version, lie) for lie in LIES for version in VERSIONS], indirect=["client"], ids=named)
def test_a_lie_is_told_and_never_read(client, lie, stored):
    """The program is not started, the model is told of the file; the next call has the right bytes."""
    _, artifact = client.code("py", "open('/mnt/data/a.txt', 'w').write('right' * 1000)")
    read = "print(open('/mnt/data/a.txt').read() == 'right' * 1000)"
    rule = stored[1].rule(r"^GET /[^/?]+/[^?]+/", lie, 10)
    content, _ = test_4_files.again(client, "py", read, artifact)
    stored[1].clear()
    assert rule.hits > 0 and content.startswith("stdout: Empty.") and '"a.txt" is damaged in the store' in content, content
    assert "stdout:\nTrue" in test_4_files.again(client, "py", read, artifact)[0]
