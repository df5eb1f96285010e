"""The worlds of movement, with a relay of their own."""

from pathlib import Path
from typing import Any

import pytest

from tests.exchange.factories import Served, World, make_served, make_world


@pytest.fixture(autouse=True)
def relay(settings: Any, tmp_path: Path) -> Path:
    settings.RELAY_ROOT = tmp_path / "relay"
    return tmp_path / "relay"


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def served(db: None) -> Served:
    return make_served()
