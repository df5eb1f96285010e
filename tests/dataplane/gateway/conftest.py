"""A prepared gateway for each test, with a policy on its disk."""

from pathlib import Path

import pytest

from tests.dataplane.gateway.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    prepared = make_world(tmp_path)
    prepared.publish()
    return prepared
