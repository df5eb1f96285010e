"""A prepared gateway for each test, with a policy on its disk."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from jinqiao.kernel.contracts.tables import Connection, Engine
from tests import servers
from tests.dataplane.gateway.engines import COLUMNS, rows_sql, table_of
from tests.dataplane.gateway.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    prepared = make_world(tmp_path)
    prepared.publish()
    return prepared


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.servers),
        pytest.param("mariadb", marks=pytest.mark.servers),
    ]
)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Connection, str, Callable[[str], None]]:
    """A connection, its password, and a way to run statements as the owner."""
    if request.param == "sqlite":
        path = tmp_path / "source.db"

        def run(sql: str) -> None:
            with sqlite3.connect(path) as db:
                db.executescript(sql)
            db.close()

        engine, connection, password = Engine.SQLITE, Connection(engine=Engine.SQLITE, database=str(path)), ""
    else:
        server: servers.Server = request.getfixturevalue(f"{request.param}_server")
        engine, connection, password, run = server.engine, server.connection(), server.password, server.execute
    run(f"DROP TABLE IF EXISTS {table_of(engine)}")
    run(f"CREATE TABLE {table_of(engine)} ({COLUMNS[engine]})")
    run(rows_sql(engine))
    return connection, password, run
