"""The scene of pull sources."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pull_scene import PullScene


@pytest.fixture
def scene(database_url, tmp_path):
    """A dataset and a puller that may reach the loopback."""
    scene = PullScene(database_url, tmp_path)
    yield scene
    scene.close()
