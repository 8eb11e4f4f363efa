# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the fault tests. At the end of each the checker judges the history, and nothing may be left."""
import pytest
from scene import Scene


@pytest.fixture
def make_scene(tmp_path):
    scenes = []

    def make(**options):
        scene = Scene(tmp_path, **options)
        scene.plant.__enter__()
        scenes.append(scene)
        return scene
    yield make
    for scene in scenes:
        assert scene.finish() == []


@pytest.fixture
def scene(make_scene):
    return make_scene()
