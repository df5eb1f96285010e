"""A place of each engine, with room for one test's tables."""

from pathlib import Path

import pytest

from jinqiao.kernel.contracts.tables import Connection
from tests.dataplane.connectors.test_round_trips import ENGINES, place_of


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Connection, str]:
    """A connection with its password, for every engine."""
    return place_of(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Connection, str]:
    """A connection with its password, for every engine with transactions."""
    return place_of(request.param, request, tmp_path)
