"""The worlds of movement, with a relay of their own."""

from pathlib import Path
from typing import Any

import pytest

from tests.exchange.standing import served, standing_service, standing_world, world

__all__ = ["served", "standing_service", "standing_world", "world"]


@pytest.fixture(autouse=True)
def relay(settings: Any, tmp_path: Path) -> Path:
    settings.RELAY_ROOT = tmp_path / "relay"
    return tmp_path / "relay"
