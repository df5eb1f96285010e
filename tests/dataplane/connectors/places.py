"""Places where a department's data may be: every engine that can be source and target, with room for one test's tables.

A new engine adds itself to PLACES; every test over places then runs over it. `fill` makes the table of `departments.py` with
the engine's own means, never with our own target.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jinqiao.kernel.contracts.tables import Connection, Engine
from tests.dataplane.exchanges import csv_at, sqlite_at
from tests.servers import Server

Place = tuple[Connection, str]  # with its password


@dataclass(frozen=True)
class Kind:
    """An engine as the tests see it."""

    make: Callable[[pytest.FixtureRequest, Path], Place]
    typed: bool = True  # the place itself says the types of its columns


def _server(fixture: str) -> Callable[[pytest.FixtureRequest, Path], Place]:
    def make(request: pytest.FixtureRequest, folder: Path) -> Place:
        server: Server = request.getfixturevalue(fixture)
        return server.connection(), server.password

    return make


def _odbc(fixture: str, driver: str) -> Callable[[pytest.FixtureRequest, Path], Place]:
    def make(request: pytest.FixtureRequest, folder: Path) -> Place:
        server: Server = request.getfixturevalue(fixture)
        string = f"Driver={{{driver}}};Server={server.host};Port={server.port};Database={server.database}"
        return Connection(engine=Engine.ODBC, database=string, user=server.user), server.password

    return make


def _folder(engine: Engine) -> Callable[[pytest.FixtureRequest, Path], Place]:
    def make(request: pytest.FixtureRequest, folder: Path) -> Place:
        place = folder / f"{engine.value} files"
        place.mkdir(exist_ok=True)
        return Connection(engine=engine, database=str(place)), ""

    return make


PLACES: dict[str, Kind] = {
    "sqlite": Kind(lambda request, folder: (sqlite_at(folder / "city.db"), "")),
    "csv": Kind(lambda request, folder: (csv_at(folder / "files"), ""), typed=False),
    "postgresql": Kind(_server("postgresql_server")),
    "mysql": Kind(_server("mariadb_server")),
    "excel": Kind(_folder(Engine.EXCEL), typed=False),
    "jsonl": Kind(_folder(Engine.JSONL), typed=False),
    "parquet": Kind(_folder(Engine.PARQUET)),
    "odbc-postgresql": Kind(_odbc("postgresql_server", "PostgreSQL Unicode")),
    "odbc-mysql": Kind(_odbc("mariadb_server", "MariaDB Unicode")),
}


def place_of(name: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    return PLACES[name].make(request, folder)
