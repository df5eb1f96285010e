from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dataplane.node.small_platform import SmallPlatform
from tests.dataplane.node.world import World, make_world


@pytest.fixture
def platform() -> Iterator[SmallPlatform]:
    with SmallPlatform() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, platform: SmallPlatform) -> World:
    return make_world(tmp_path, platform)
