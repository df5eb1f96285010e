"""What others hold locked is waited for, and not without end; what waits for us does not end us."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import ReadPlan, base, open_source, open_target
from jinqiao.dataplane.connectors.ledger import LedgerTarget
from jinqiao.dataplane.connectors.postgresql import PostgresqlSource
from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot
from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget
from jinqiao.dataplane.connectors.snapshots import WHOLE
from jinqiao.dataplane.errors import ConnectionLost, TableBusy
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType
from tests.dataplane.connectors.batches import Batch, bring
from tests.dataplane.connectors.places import place_of
from tests.servers import Server

pytestmark = pytest.mark.servers
COLUMNS = (Column(name="id", type=LogicalType.INTEGER, nullable=False), Column(name="name", type=LogicalType.TEXT))
ROWS = 2_000
LOCKS = {
    Engine.POSTGRESQL: ("BEGIN", "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"),
    Engine.MYSQL: ("LOCK TABLES {} WRITE",),
}


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LOCK_WAIT_S", 1)


@pytest.fixture(params=["postgresql_server", "mariadb_server"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    """A table of the test's server, in blocks enough for several splits."""
    name = "server" if "server" in request.fixturenames else "postgresql_server"
    server: Server = request.getfixturevalue(name)
    table = f"locked_{uuid.uuid4().hex[:8]}"
    is_postgresql = server.engine is Engine.POSTGRESQL
    numbers = f"generate_series(1, {ROWS}) AS n" if is_postgresql else f"seq_1_to_{ROWS}"
    server.execute(
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text)",
        f"INSERT INTO {table} SELECT {'n' if is_postgresql else 'seq'}, repeat('x', 200) FROM {numbers}",
    )
    yield table
    server.execute(f"DROP TABLE IF EXISTS {table}")


def run(connection: Any, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_a_source_table_that_somebody_holds_locked_is_told_to_be_busy(
    server: Server, table: str, short_wait: None
) -> None:
    plan = ReadPlan(table=table, columns=("id",))
    with open_source(server.connection(), server.password) as source:
        source.schema(table)
        with closing(server.connect()) as holder:
            run(holder, *(statement.format(table) for statement in LOCKS[server.engine]))
            with pytest.raises(TableBusy) as caught:
                list(source.read(plan))
            with pytest.raises(TableBusy), source.open_snapshot(plan) as snapshot, snapshot.reader() as reader:
                list(reader.read(snapshot.state.splits[0]))
        assert (caught.value.retryable, caught.value.details["table"]) == (True, table)
        assert sum(batch.num_rows for batch in source.read(plan)) == ROWS


def test_a_merge_gives_up_waiting_for_a_writer_who_does_not_commit(
    server: Server, table: str, short_wait: None
) -> None:
    batch = Batch([(1, "new"), (2, "new")], columns=COLUMNS, keys=("id",))
    plan = batch.plan(table)
    with open_target(server.connection(), server.password) as target:
        with closing(server.connect()) as writer:
            run(writer, "BEGIN", f"UPDATE {table} SET name = 'mine' WHERE id = 1")
            with pytest.raises(TableBusy):
                bring(target, plan, batch)
            run(writer, "ROLLBACK")

        counts = bring(target, plan, batch)

    assert (counts.updated, counts.deleted, counts.target_rows) == (2, ROWS - 2, 2)


def test_a_merge_that_waits_lets_other_writers_pass(
    postgresql_server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One writer does not commit; another one, who comes while the merge waits for the first, is done before it."""
    monkeypatch.setattr(base, "LOCK_WAIT_S", 300)
    server, batch = postgresql_server, Batch([(1, "new"), (2, "new")], columns=COLUMNS, keys=("id",))
    merged: list[int] = []

    def merge() -> None:
        with open_target(server.connection(), server.password) as target:
            merged.append(bring(target, batch.plan(table), batch).target_rows)

    merging = threading.Thread(target=merge)
    with closing(server.connect()) as idle:
        run(idle, "BEGIN", f"UPDATE {table} SET name = 'mine' WHERE id = 1")
        merging.start()
        try:
            waits_for_lock(server, "SAVEPOINT jinqiao_lock%")
            server.execute(f"UPDATE {table} SET name = 'other' WHERE id = 2")
            assert server.fetch(f"SELECT name FROM {table} WHERE id = 2") == [("other",)]
            assert not merged
        finally:
            run(idle, "ROLLBACK")
            merging.join()
    assert merged == [2]


def test_a_hash_in_a_snapshot_does_not_wait_behind_who_waits_for_the_snapshot(
    postgresql_server: Server, table: str
) -> None:
    server, plan = postgresql_server, ReadPlan(table=table, columns=("id", "name"))
    with open_source(server.connection(), server.password) as source:
        assert isinstance(source, PostgresqlSource)
        snapshot = source.open_snapshot(plan, parallel=2, chunk_rows=100)
        altering = threading.Thread(target=server.execute, args=(f"ALTER TABLE {table} ADD COLUMN extra int",))
        altering.start()
        try:
            waits_for_lock(server, f"ALTER TABLE {table}%")
            rows, _ = source.record_hash(plan, ("id", "name"), 0, snapshot)
        finally:
            snapshot.close()
            altering.join()
    assert rows == ROWS


def waits_for_lock(server: Server, query: str, within_s: float = 30.0) -> None:
    until = time.monotonic() + within_s
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '{query}'"
    while server.fetch(asked) == [(0,)]:
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.02)


def test_a_server_that_ends_idle_transactions_does_not_end_a_reading(postgresql_server: Server) -> None:
    server, name = postgresql_server, f"idle_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name}")
    server.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '100ms'")
    try:
        server.execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, name text)",
            f"INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, {ROWS}) AS n",
            "ANALYZE t",
            database=name,
        )
        plan = ReadPlan(table="t", columns=("id", "name"))
        with (
            open_source(server.connection(database=name), server.password) as source,
            closing(source.open_snapshot(plan, parallel=2, chunk_rows=100)) as snapshot,
        ):
            assert isinstance(source, PostgresqlSource)
            assert isinstance(snapshot, PostgresqlSnapshot)
            first, *others = snapshot.state.splits
            with closing(snapshot.reader()) as reader, closing(snapshot.raw_reader(plan.columns)) as raw:
                read = sum(batch.num_rows for batch in reader.read(first))
                copied = sum(tuples.rows for tuples in raw.copy(first))
                time.sleep(0.5)  # longer than the server lets others be
                read += sum(batch.num_rows for split in others for batch in reader.read(split))
                copied += sum(tuples.rows for split in others for tuples in raw.copy(split))
            assert read == copied == source.record_hash(plan, plan.columns, 0, snapshot)[0] == ROWS
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("way", ["arrow", "raw", "hash"])
def test_a_snapshot_that_the_server_ended_is_a_connection_that_was_lost(
    postgresql_server: Server, table: str, way: str
) -> None:
    server, plan = postgresql_server, ReadPlan(table=table, columns=("id", "name"))
    with (
        open_source(server.connection(), server.password) as source,
        closing(source.open_snapshot(plan, parallel=2, chunk_rows=100)) as snapshot,
    ):
        assert isinstance(source, PostgresqlSource)
        assert isinstance(snapshot, PostgresqlSnapshot)
        first, *_ = snapshot.state.splits
        assert first != WHOLE
        backend = snapshot.state.handle["backend"]
        server.execute(f"SELECT pg_terminate_backend({backend}, 10000)")

        with pytest.raises(ConnectionLost), snapshot.reader() as reader, closing(snapshot.raw_reader(("id",))) as raw:
            if way == "arrow":
                list(reader.read(first))
            elif way == "raw":
                list(raw.copy(first))
            else:
                source.record_hash(plan, plan.columns, 0, snapshot)


def test_two_first_deliveries_at_once_make_one_ledger(postgresql_server: Server) -> None:
    server, name = postgresql_server, f"fresh_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name}")
    place = server.connection(database=name)
    batch = Batch([(1, "a")], columns=COLUMNS, keys=("id",))
    told: list[Any] = []

    def second() -> None:
        with open_target(place, server.password) as target:
            try:
                told.append(bring(target, batch.plan("second"), batch).inserted)
            except Exception as problem:  # noqa: BLE001 -- told by the assertion
                told.append(problem)

    try:
        with open_target(place, server.password) as target:
            assert isinstance(target, PostgresqlTarget)
            target.test()
            beside = threading.Thread(target=second)
            with target.transaction("first"):
                target._make_ledger()
                beside.start()
                waits_for_lock(server, "%pg_advisory_xact_lock%")
            beside.join()
            assert bring(target, batch.plan("first"), batch).inserted == 1
        assert told == [1]
    finally:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("name", ["odbc-postgresql", "odbc-mysql"])
def test_sessions_over_odbc_wait_as_long_and_no_longer(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    asked = {
        "odbc-postgresql": "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')",
        "odbc-mysql": "SELECT CONCAT(@@lock_wait_timeout, 's'), CONCAT(@@innodb_lock_wait_timeout - 30)",
    }
    with open_target(*place_of(name, request, tmp_path)) as target:
        assert isinstance(target, LedgerTarget)
        with target.transaction():
            assert target.fetch(asked[name]) == [(f"{base.LOCK_WAIT_S}s", "0")]
