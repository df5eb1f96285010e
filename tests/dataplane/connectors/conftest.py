"""A place of each engine, with room for one test's tables."""

from pathlib import Path

import pytest

from jinqiao.kernel.contracts.tables import Connection
from tests.dataplane.connectors.places import PLACES, place_of


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Connection, str]:
    """A connection with its password, for every engine."""
    return place_of(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Connection, str]:
    """A connection with its password, for every engine with transactions."""
    return place_of(request.param, request, tmp_path)
