"""One view of a table: split by split each row once, the same for every reader, found again after a crash or not at all."""

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import ReadPlan, Source, open_source
from jinqiao.dataplane.connectors import postgresql_snapshot as pg
from jinqiao.dataplane.connectors.mysql_snapshot import SHARED, SINGLE
from jinqiao.dataplane.connectors.ranges import bounds_of, key_ranges
from jinqiao.dataplane.connectors.snapshots import WHOLE, Snapshot, SnapshotState
from jinqiao.kernel.contracts.tables import Connection, Engine, Operator, RowCondition
from tests.servers import Server

ROWS = 2_000


class Table:
    """A table of whole numbers on an engine, with a connection that writes to it."""

    def __init__(self, source: Source, name: str, write: Any) -> None:
        self.source, self.name, self.write = source, name, write
        self.plan = ReadPlan(table=name, columns=("id",))

    def open(self, resume: SnapshotState | None = None, parallel: int = 1, **plan: Any) -> Snapshot:
        return self.source.open_snapshot(replace(self.plan, **plan), parallel=parallel, resume=resume, chunk_rows=100)


@pytest.fixture
def on_postgresql(postgresql_server: Server) -> Iterator[Table]:
    name = f"snap_{uuid.uuid4().hex[:8]}"
    postgresql_server.execute(
        f"CREATE TABLE {name} (id int PRIMARY KEY, filler text)",
        f"INSERT INTO {name} SELECT i, repeat('x', 200) FROM generate_series(1, {ROWS}) AS i",
        f"ANALYZE {name}",
    )
    with open_source(postgresql_server.connection(), postgresql_server.password) as source:
        yield Table(source, name, lambda *statements: postgresql_server.execute(*statements))
    postgresql_server.execute(f"DROP TABLE {name}")


@pytest.fixture
def on_mariadb(mariadb_server: Server) -> Iterator[Table]:
    name = f"snap_{uuid.uuid4().hex[:8]}"
    mariadb_server.execute(
        f"CREATE TABLE {name} (id int PRIMARY KEY, filler text)",
        f"INSERT INTO {name} SELECT seq, 'x' FROM seq_1_to_{ROWS}",
        f"ANALYZE TABLE {name}",
    )
    with open_source(mariadb_server.connection(), mariadb_server.password) as source:
        yield Table(source, name, lambda *statements: mariadb_server.execute(*statements))
    mariadb_server.execute(f"DROP TABLE {name}")


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[Table]:
    path = tmp_path / "a.db"

    def write(*statements: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    write(
        "PRAGMA journal_mode = WAL",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT)",
        f"INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i, 'x' FROM n",
    )
    with open_source(Connection(engine=Engine.SQLITE, database=str(path))) as source:
        yield Table(source, "t", write)


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def table(request: pytest.FixtureRequest) -> Table:
    found: Table = request.getfixturevalue(f"on_{request.param}")
    return found


def ids(snapshot: Snapshot) -> list[int]:
    """What all splits hold, read over one reader."""
    with snapshot.reader() as reader:
        return [
            int(value)
            for split in snapshot.state.splits
            for batch in reader.read(split)
            for value in batch.column(0).to_pylist()
        ]


def test_the_splits_hold_every_row_once(table: Table) -> None:
    with table.open() as snapshot:
        found = ids(snapshot)

    assert len(snapshot.state.splits) > 5
    assert sorted(found) == list(range(1, ROWS + 1))


def test_what_is_committed_later_is_not_seen_by_any_split(table: Table) -> None:
    with table.open() as snapshot:
        table.write(f"DELETE FROM {table.name} WHERE id < 500", f"INSERT INTO {table.name} VALUES (99999, 'late')")
        found = ids(snapshot)

    assert sorted(found) == list(range(1, ROWS + 1))


def test_a_row_filter_holds_in_every_split(table: Table) -> None:
    small = RowCondition(column="id", operator=Operator.AT_MOST, values=("1234",))
    with table.open(row_filter=(small,)) as snapshot:
        found = ids(snapshot)

    assert sorted(found) == list(range(1, 1235))


def test_an_order_is_kept_by_reading_in_one_piece(table: Table) -> None:
    with table.open(order_by=("id",)) as snapshot:
        assert snapshot.state.splits == (WHOLE,)
        assert ids(snapshot) == list(range(1, ROWS + 1))


def test_an_unchanged_table_is_found_again(table: Table) -> None:
    if table.source.engine is Engine.MYSQL:
        time.sleep(3.1)  # its time of last change is told in whole seconds, and must be more than two of them ago
    with table.open() as first:
        state = SnapshotState.from_json(first.state.to_json())
    with table.open(state) as again:
        assert again.resumed
        assert again.state.splits == state.splits
        assert sorted(ids(again)) == list(range(1, ROWS + 1))


def test_a_table_that_was_changed_is_not(table: Table) -> None:
    if table.source.engine is Engine.MYSQL:
        time.sleep(3.1)
    with table.open() as first:
        state = SnapshotState.from_json(first.state.to_json())
    table.write(f"UPDATE {table.name} SET filler = 'y' WHERE id = 7")

    with table.open(state) as again:
        assert not again.resumed


def test_readers_of_postgresql_share_the_snapshot(on_postgresql: Table) -> None:
    with on_postgresql.open(parallel=3) as snapshot:
        on_postgresql.write(f"DELETE FROM {on_postgresql.name}")
        assert snapshot.readers == 3
        assert snapshot.state.kind == "exported snapshot"
        assert sorted(ids(snapshot)) == list(range(1, ROWS + 1))


def test_rows_of_inheriting_tables_are_in_exactly_one_split(on_postgresql: Table) -> None:
    name = on_postgresql.name
    on_postgresql.write(
        f"CREATE TABLE {name}_more () INHERITS ({name})",
        f"INSERT INTO {name}_more SELECT i, repeat('y', 900) FROM generate_series({ROWS + 1}, {3 * ROWS}) AS i",
    )
    try:
        with on_postgresql.open() as snapshot:
            assert sorted(ids(snapshot)) == list(range(1, 3 * ROWS + 1))
    finally:
        on_postgresql.write(f"DROP TABLE {name}_more")


def test_a_view_is_read_in_one_piece(on_postgresql: Table) -> None:
    name = on_postgresql.name
    on_postgresql.write(f"CREATE VIEW {name}_view AS SELECT * FROM {name} WHERE id % 2 = 0")
    try:
        with on_postgresql.open(table=f"{name}_view") as snapshot:
            assert snapshot.state.splits == (WHOLE,)
            assert sorted(ids(snapshot)) == list(range(2, ROWS + 1, 2))
    finally:
        on_postgresql.write(f"DROP VIEW {name}_view")


def test_a_snapshot_outlives_the_connection_that_made_it(on_postgresql: Table) -> None:
    """What a kill does: nobody says goodbye to the server, only the keeper still holds the socket."""
    killed = on_postgresql.open()
    assert isinstance(killed, pg.PostgresqlSnapshot)
    killed.keep(lambda state: None)
    state = SnapshotState.from_json(killed.state.to_json())
    on_postgresql.write(f"DELETE FROM {on_postgresql.name} WHERE id > 10")

    with on_postgresql.open(state) as again:
        assert again.resumed
        assert sorted(ids(again)) == list(range(1, ROWS + 1))
        noted: list[SnapshotState] = []
        again.keep(noted.append)
    keeper = killed._keeper
    assert [sorted({"next", "former"} & state.handle.keys()) for state in noted] == [["next"], ["former"], []]
    assert keeper is not None
    assert keeper.wait(10) != 0  # ended by the one who went on
    killed.close()


def test_a_snapshot_that_nobody_needs_any_more_is_ended_by_whoever_comes_next(
    on_postgresql: Table, postgresql_server: Server
) -> None:
    killed = on_postgresql.open()
    assert isinstance(killed, pg.PostgresqlSnapshot)
    killed.keep(lambda state: None)

    on_postgresql.source.end_snapshot(killed.state)

    with postgresql_server.connect() as connection:
        (left,) = connection.execute(
            "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = %s",
            (on_postgresql.name,),
        ).fetchone()
    keeper = killed._keeper
    assert keeper is not None
    assert (left, keeper.wait(10) != 0) == (0, True)
    killed.close()


def test_an_account_without_rights_to_the_catalogue_of_the_server_may_resume(
    on_postgresql: Table, postgresql_server: Server
) -> None:
    name = on_postgresql.name
    postgresql_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'klein'", f"GRANT SELECT ON {name} TO {name}")
    try:
        with open_source(postgresql_server.connection(user=name), "klein") as source:
            with source.open_snapshot(on_postgresql.plan, parallel=2, chunk_rows=100) as first:
                assert first.readers == 2
                state = first.state
            with source.open_snapshot(on_postgresql.plan, resume=state, chunk_rows=100) as again:
                assert again.resumed
    finally:
        postgresql_server.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_readers_of_mariadb_share_an_instant_only_under_a_lock(on_mariadb: Table, mariadb_server: Server) -> None:
    name = on_mariadb.name
    mariadb_server.execute(
        f"CREATE USER {name}@'%' IDENTIFIED BY 'klein'",
        f"GRANT SELECT ON {mariadb_server.database}.{name} TO {name}@'%'",
    )
    try:
        with on_mariadb.open(parallel=2) as locked:
            on_mariadb.write(
                f"DELETE FROM {name} WHERE id > 10", f"INSERT INTO {name} SELECT seq, 'x' FROM seq_11_to_{ROWS}"
            )
            assert (locked.readers, locked.state.kind) == (2, SHARED)
            readers = [locked.reader(), locked.reader()]
            seen = [
                {int(v) for s in locked.state.splits for b in r.read(s) for v in b.column(0).to_pylist()}
                for r in readers
            ]
            assert seen[0] == seen[1] == set(range(1, ROWS + 1))
        with (
            open_source(mariadb_server.connection(user=name), "klein") as source,
            source.open_snapshot(on_mariadb.plan, parallel=2, chunk_rows=100) as alone,
        ):
            assert (alone.readers, alone.state.kind) == (1, SINGLE)
    finally:
        mariadb_server.execute(f"DROP USER {name}@'%'")


@pytest.mark.parametrize(
    ("first", "last", "rows", "chunk_rows"),
    [
        (1, 1000, 1000, 100),
        (-50, 49, 100, 10),
        (5, 5, 1, 10),
        (1, 10**12, 50, 10),
        (-(2**63), 2**63 - 1, 10**6, 100),
        (1, 3, 3, 1),
    ],
)
def test_ranges_hold_every_key_once(first: int, last: int, rows: int, chunk_rows: int) -> None:
    splits = key_ranges(first, last, rows, chunk_rows)
    bounds = [bounds_of(split) for split in splits] if splits != (WHOLE,) else [(None, None)]

    assert bounds[0][0] is None
    assert bounds[-1][1] is None
    assert [since for since, _ in bounds[1:]] == [until for _, until in bounds[:-1]]
    assert all(since is None or until is None or since < until for since, until in bounds)


@pytest.mark.parametrize(
    "columns", ["rowid INTEGER", "RowID TEXT, oid INTEGER", "rowid INTEGER, _rowid_ TEXT, oid INTEGER"]
)
def test_a_column_that_is_called_like_the_number_of_a_row_hides_no_rows(tmp_path: Path, columns: str) -> None:
    path = tmp_path / "city.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
        connection.executemany(
            "INSERT INTO t (id, rowid) VALUES (?, ?)", ((n, n if n % 2 else None) for n in range(1, 101))
        )
    plan = ReadPlan(table="t", columns=("id",))
    with (
        open_source(Connection(engine=Engine.SQLITE, database=str(path))) as source,
        source.open_snapshot(plan, chunk_rows=10) as snapshot,
        snapshot.reader() as reader,
    ):
        batches = [batch for split in snapshot.state.splits for batch in reader.read(split)]

    assert sorted(number for batch in batches for number in batch.column(0).to_pylist()) == list(range(1, 101))
