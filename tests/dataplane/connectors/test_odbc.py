"""ODBC, with the drivers of PostgreSQL and MariaDB on real servers: every value exact, nothing cut, exactly once."""

import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import DeliveryPlan, ReadPlan, odbc_api, open_source, open_target
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.connectors.odbc_api import OdbcConnection, OdbcFailed
from jinqiao.dataplane.connectors.odbc_strings import extended, parse
from jinqiao.dataplane.connectors.sql_target import SqlTarget
from jinqiao.dataplane.errors import (
    AuthenticationFailed,
    ColumnMissing,
    DatabaseMissing,
    DialectUnknown,
    FilterNotPossible,
    HostUnreachable,
    OdbcDriverMissing,
    OdbcMissing,
    OdbcStringNotValid,
    RunStopped,
    StatementTimedOut,
    TableMissing,
    TargetKeyNotUnique,
    ValueTooWide,
)
from jinqiao.kernel.contracts.exchange import ChunkManifest, CopyMode, Guarantee, LedgerPlace
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition
from jinqiao.kernel.errors import JinqiaoError
from tests.dataplane.connectors.test_round_trips import COLUMNS, NASTY, table_of
from tests.dataplane.exchanges import canonical, read_table, write_table
from tests.servers import Server

pytestmark = pytest.mark.servers
TABLES = {
    Engine.POSTGRESQL: "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
    Engine.MYSQL: "SELECT table_name FROM information_schema.tables WHERE table_schema = 'city'",
}
DRIVERS = {Engine.POSTGRESQL: "PostgreSQL Unicode", Engine.MYSQL: "MariaDB Unicode"}


@dataclass(frozen=True)
class Reached:
    """A server, and the same by ODBC."""

    server: Server

    def connection(self, **changes: Any) -> Connection:
        server = self.server
        database = changes.pop("database", f"Server={server.host};Port={server.port};Database={server.database}")
        driver = changes.pop("driver", DRIVERS[server.engine])
        given = {"database": f"Driver={{{driver}}};{database}", "user": server.user}
        return Connection(engine=Engine.ODBC, **(given | changes))

    def quote(self, name: str) -> str:
        mark = '"' if self.server.engine is Engine.POSTGRESQL else "`"
        return mark + name.replace(mark, mark * 2) + mark

    def table(self, columns: str, *rows: str) -> str:
        name = f"t_{uuid.uuid4().hex[:12]}"
        self.server.execute(f"CREATE TABLE {name} ({columns})", *(f"INSERT INTO {name} VALUES ({row})" for row in rows))
        return name

    def read(self, table: str, *columns: str, **plan: Any) -> list[dict[str, Any]]:
        options = plan.pop("options", {})
        with open_source(self.connection(options=options), self.server.password) as source:
            batches = list(source.read(ReadPlan(table=table, columns=columns, **plan)))
        return [row for batch in batches for row in batch.to_pylist()]


@pytest.fixture(params=["postgresql", "mysql"])
def reached(request: pytest.FixtureRequest) -> Reached:
    name = "postgresql_server" if request.param == "postgresql" else "mariadb_server"
    return Reached(request.getfixturevalue(name))


# --- values -----------------------------------------------------------------------------------------------------------


def test_odbc_and_the_engines_own_driver_see_the_same_table(reached: Reached) -> None:
    native = reached.server.connection(), reached.server.password
    over = reached.connection(), reached.server.password
    for written, read in ((native, over), (over, native)):
        table = f"t_{uuid.uuid4().hex[:12]}"
        with open_target(*written) as target:
            write_table(target, table, COLUMNS, ["编号"], table_of(NASTY))
        with open_source(*read) as source, open_source(*native) as own:
            rows, schema, wanted = read_table(source, table, COLUMNS), source.schema(table), own.schema(table)

        assert canonical(rows, COLUMNS) == canonical(table_of(NASTY), COLUMNS)
        shown = [replace(column, native_type="", comment="") for column in schema.columns]
        assert shown == [replace(column, native_type="", comment="") for column in wanted.columns]


def test_a_value_longer_than_allowed_is_refused_and_never_cut(reached: Reached) -> None:
    binary = "bytea" if reached.server.engine is Engine.POSTGRESQL else "longblob"
    table = reached.table(f"id integer, note text, scan {binary}", "1, 'short', NULL", f"2, '{'长' * 700}', NULL")

    rows = reached.read(table, "id", "note", "scan", options={"max_text_bytes": 2800})
    assert [row["note"] for row in rows] == ["short", "长" * 700]
    with pytest.raises(ValueTooWide) as caught:
        reached.read(table, "id", "note", options={"max_text_bytes": 200})
    assert "长" not in f"{caught.value} {caught.value.details}"
    reached.server.execute(f"UPDATE {table} SET scan = {_blob(reached, 50)}")
    with pytest.raises(ValueTooWide):
        reached.read(table, "id", "scan", options={"max_binary_bytes": 40})
    assert len(reached.read(table, "id", "scan", options={"max_binary_bytes": 64})[0]["scan"]) == 50


def _blob(reached: Reached, size: int) -> str:
    return (
        f"convert_to(repeat('x', {size}), 'UTF8')"
        if reached.server.engine is Engine.POSTGRESQL
        else f"repeat('x', {size})"
    )


def test_numbers_keep_every_digit_that_drivers_would_lose(reached: Reached) -> None:
    is_postgresql = reached.server.engine is Engine.POSTGRESQL
    table = reached.table(
        f"a double precision, b {'real' if is_postgresql else 'float'}, c numeric{'' if is_postgresql else '(60, 2)'}",
        "0.1, 3.14, 123456789012345678901234567890123456789012.25",
    )

    (row,) = reached.read(table, "a", "b", "c")

    assert row == {"a": 0.1, "b": 3.140000104904175, "c": "123456789012345678901234567890123456789012.25"}


def test_a_truth_value_that_is_none_is_seen_as_it_is(reached: Reached) -> None:
    if reached.server.engine is Engine.POSTGRESQL:
        table = reached.table("a boolean", "true", "false", "NULL")
        assert reached.read(table, "a") == [{"a": 1}, {"a": 0}, {"a": None}]
    else:
        table = reached.table("a tinyint(1)", "1", "2", "NULL")
        assert reached.read(table, "a") == [{"a": 1}, {"a": 2}, {"a": None}]


def test_names_are_quoted_whatever_they_hold(reached: Reached) -> None:
    names = ("Abc", "order", "a b", 'x"y', "x`y", "问?", "a;b", "{fn now()}")
    columns = tuple(Column(name=name, type=LogicalType.INTEGER, nullable=name != "Abc") for name in names)
    table = f'T {uuid.uuid4().hex[:8]} "`?'
    rows = pa.table({name: pa.array([at], pa.int64()) for at, name in enumerate(names)})
    place = reached.connection(), reached.server.password

    with open_target(*place) as target, open_source(*place) as source:
        write_table(target, table, columns, ["Abc"], rows)
        read = read_table(source, table, columns)

    assert read.to_pylist() == rows.to_pylist()


# --- filters, order, time ---------------------------------------------------------------------------------------------


def condition(column: str, operator: Operator, *values: str) -> tuple[RowCondition, ...]:
    return (RowCondition(column=column, operator=operator, values=values),)


@pytest.fixture
def filtered(reached: Reached) -> Callable[..., list[int]]:
    is_postgresql = reached.server.engine is Engine.POSTGRESQL
    table = reached.table(
        "id integer, name varchar(20), paid numeric(12, 2), born date, seen "
        + ("timestamp, scan bytea, ok boolean" if is_postgresql else "datetime(6), scan blob, ok tinyint(1)"),
        "1, 'Ann', 0.10, '1899-12-31', '2020-01-01 00:00:00.000001', "
        + ("'\\x00ff', true" if is_postgresql else "x'00ff', 1"),
        "2, 'ann', 0.20, '2000-01-01', '2020-01-02 00:00:00', NULL, " + ("false" if is_postgresql else "0"),
        "3, 'Ann ', NULL, NULL, NULL, NULL, NULL",
        "4, '𠮷田%_', 10, '2000-01-02', '2020-01-03 00:00:00', NULL, NULL",
    )

    def ids(*conditions: RowCondition) -> list[int]:
        return [row["id"] for row in reached.read(table, "id", row_filter=conditions, order_by=("id",))]

    return ids


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (condition("name", Operator.EQUAL, "Ann"), [1]),
        (condition("name", Operator.ONE_OF, "ann", "𠮷田%_"), [2, 4]),
        (condition("name", Operator.STARTS_WITH, "𠮷田%"), [4]),
        (condition("name", Operator.STARTS_WITH, "A"), [1, 3]),
        (condition("name", Operator.EQUAL, "' OR 1=1 --"), []),
        (condition("paid", Operator.AT_LEAST, "0.10"), [1, 2, 4]),
        (condition("paid", Operator.EQUAL, "0.2"), [2]),
        (condition("born", Operator.AT_MOST, "1999-12-31"), [1]),
        (condition("seen", Operator.AT_LEAST, "2020-01-01T00:00:00.000001"), [1, 2, 4]),
        (condition("seen", Operator.EQUAL, "2020-01-02T00:00:00"), [2]),
        (condition("scan", Operator.EQUAL, "00ff"), [1]),
        (condition("ok", Operator.EQUAL, "0"), [2]),
        (condition("id", Operator.AT_LEAST, "2") + condition("name", Operator.STARTS_WITH, "a"), [2]),
    ],
)  # fmt: skip
def test_a_row_filter_lets_exactly_its_rows_through(
    filtered: Callable[..., list[int]], conditions: tuple[RowCondition, ...], found: list[int]
) -> None:
    assert filtered(*conditions) == found


def test_a_filter_value_of_another_type_is_refused(filtered: Callable[..., list[int]]) -> None:
    with pytest.raises(FilterNotPossible):
        filtered(*condition("id", Operator.EQUAL, "1 OR 1=1"))


def test_batches_keep_the_plan_and_a_reading_stops_when_told(reached: Reached) -> None:
    table = reached.table("id integer", *(str(number) for number in range(50)))
    with open_source(reached.connection(), reached.server.password) as source:
        sizes = [batch.num_rows for batch in source.read(ReadPlan(table=table, columns=("id",), batch_rows=20))]
        with pytest.raises(RunStopped):
            list(source.read(ReadPlan(table=table, columns=("id",), batch_rows=20, stop=lambda: True)))

    assert sizes == [20, 20, 10]


def test_one_reading_sees_one_instant_and_says_how(reached: Reached) -> None:
    table = reached.table("id integer", *(str(number) for number in range(40)))
    with open_source(reached.connection(), reached.server.password) as source:
        reading = source.read(ReadPlan(table=table, columns=("id",), batch_rows=10))
        first = next(iter(reading)).num_rows
        reached.server.execute(f"DELETE FROM {table}")
        rest = sum(batch.num_rows for batch in reading)
        with source.open_snapshot(ReadPlan(table=table, columns=("id",))) as snapshot:
            assert snapshot.state.kind.startswith("repeatable read")

    assert first + rest == 40


def test_a_slow_statement_is_stopped(reached: Reached) -> None:
    view = f"v_{uuid.uuid4().hex[:8]}"
    slow = (
        "SELECT 1 AS id FROM pg_sleep(60)" if reached.server.engine is Engine.POSTGRESQL else "SELECT sleep(60) AS id"
    )
    reached.server.execute(f"CREATE VIEW {view} AS {slow}")

    with pytest.raises(StatementTimedOut):
        reached.read(view, "id", statement_timeout_s=1)


def test_what_is_not_there_is_named(reached: Reached) -> None:
    table = reached.table("id integer")
    with pytest.raises(TableMissing):
        reached.read("no_such_table", "id")
    with pytest.raises(ColumnMissing):
        reached.read(table, "nope")
    with open_source(reached.connection(), reached.server.password) as source:
        assert table in [schema.name for schema in source.tables()]


def test_a_driver_alone_tells_enough_for_the_generic_dialect(reached: Reached) -> None:
    table = reached.table(
        "id integer PRIMARY KEY, name varchar(20), paid numeric(12, 2), born date", "1, 'Ann', 0.10, '1899-12-31'"
    )
    schema = "public" if reached.server.engine is Engine.POSTGRESQL else ""
    options = {"dialect": "generic", "schema": schema}

    with open_source(reached.connection(options=options), reached.server.password) as source:
        columns = source.schema(table).columns
        rows = reached.read(
            table, "id", "name", "paid", "born", options=options, row_filter=condition("name", Operator.EQUAL, "Ann")
        )

    assert [(column.name, column.type, column.primary_key) for column in columns] == [
        ("id", LogicalType.INTEGER, True), ("name", LogicalType.TEXT, False),
        ("paid", LogicalType.DECIMAL, False), ("born", LogicalType.DATE, False),
    ]  # fmt: skip
    assert [(row["id"], str(row["paid"]), str(row["born"])) for row in rows] == [(1, "0.10", "1899-12-31")]


# --- delivery ---------------------------------------------------------------------------------------------------------


def plan_of(table: str, rows: int, **changes: Any) -> DeliveryPlan:
    columns = (
        Column(name="id", type=LogicalType.INTEGER, nullable=False),
        Column(name="name", type=LogicalType.TEXT, length=20),
    )
    given = {
        "batch_id": f"{table}.1", "run_id": table, "table": table, "columns": columns, "keys": ("id",), "mode": CopyMode.FULL,
        "rows": rows, "chunks": 2,
    }  # fmt: skip
    return DeliveryPlan(**(given | changes))


def people(first: int, last: int) -> pa.Table:
    return pa.table({"id": pa.array(range(first, last), pa.int64()), "name": [f"王{n}" for n in range(first, last)]})


def chunk(number: int, rows: int) -> ChunkManifest:
    return ChunkManifest(number=number, rows=rows, size_bytes=0, digest="0" * 64, content_digest=f"{number}" * 64)


def test_a_chunk_and_its_ledger_row_stand_or_fall_together(reached: Reached) -> None:
    table = f"t_{uuid.uuid4().hex[:12]}"
    plan, place = plan_of(table, 20), (reached.connection(), reached.server.password)
    with open_target(*place) as target:
        target.prepare(plan)
        target.load(plan, chunk(1, 10), people(0, 10))
        with pytest.raises(JinqiaoError):  # too long for the column: neither rows nor ledger
            target.load(plan, chunk(2, 10), people(10, 20).set_column(1, "name", [["很" * 300] * 10]))
        with pytest.raises(TargetKeyNotUnique):  # a chunk that is in already
            target.load(plan, chunk(1, 10), people(10, 20))
    with open_target(*place) as again:
        state = again.prepare(plan)
        assert list(state.loaded) == [1]
        again.load(plan, chunk(2, 10), people(10, 20))
        counts = again.merge(plan)
        assert again.merge(plan) == counts
        again.clean(plan)

    assert (counts.inserted, counts.target_rows) == (20, 20)
    assert reached.server.fetch(f"SELECT count(*) FROM {table}") == [(20,)]


def test_a_second_batch_updates_deletes_and_counts(reached: Reached) -> None:
    table, place = f"t_{uuid.uuid4().hex[:12]}", (reached.connection(), reached.server.password)
    columns = plan_of(table, 0).columns
    with open_target(*place) as target:
        write_table(target, table, columns, ["id"], people(0, 10))
        changed = pa.table({"id": pa.array([1, 2, 11], pa.int64()), "name": ["王1", "新", "王11"]})
        plan = plan_of(table, 3, batch_id=f"{table}.2", chunks=1)
        target.prepare(plan)
        target.load(plan, chunk(1, 3), changed)
        counts = target.merge(plan)
        target.clean(plan)

    assert (counts.inserted, counts.updated, counts.deleted, counts.unchanged) == (1, 1, 8, 1)


def test_no_other_connection_is_opened_beside_the_one_by_odbc(reached: Reached) -> None:
    """A dialect's own driver would go to the place that stands in no connection string: its default."""
    plan = replace(plan_of("kept", 3), mode=CopyMode.WATERMARK, is_window=True)
    with open_target(reached.connection(), reached.server.password) as target:
        assert target.beside(plan) is None
        assert isinstance(target, SqlTarget)
        assert target.count_beside(plan, "") is None
        assert not target.compares_while_updating(plan)


def test_where_no_ledger_may_be_made_rows_go_through_temporary_tables(reached: Reached, tmp_path: Path) -> None:
    table, place = f"t_{uuid.uuid4().hex[:12]}", (reached.connection(), reached.server.password)
    rows = table_of(NASTY)
    plan = plan_of(
        table, rows.num_rows, columns=COLUMNS, keys=("编号",), chunks=1, ledger=LedgerPlace.NODE, batch_id=f"{table}.1"
    )
    before = {name for (name,) in reached.server.fetch(TABLES[reached.server.engine])}
    with open_target(*place, ledger=NodeLedger(tmp_path / "ledger.db")) as target, open_source(*place) as source:
        target.prepare(plan)
        target.load(plan, chunk(1, rows.num_rows), rows)
        counts = target.merge(plan)
        target.clean(plan)
        read = read_table(source, table, COLUMNS)

    assert counts.guarantee is Guarantee.AT_LEAST_ONCE
    assert canonical(read, COLUMNS) == canonical(rows, COLUMNS)
    after = {name for (name,) in reached.server.fetch(TABLES[reached.server.engine])}
    assert after - before == {table}


# --- the door ---------------------------------------------------------------------------------------------------------


def cause(connection: Connection, password: str) -> JinqiaoError:
    with open_source(connection, password) as source, pytest.raises(JinqiaoError) as caught:
        source.test()
    for language in ("zh", "en"):
        text = caught.value.text(language)
        assert not password or password not in f"{caught.value} {caught.value.details} {text}"
        assert "{" not in text.message.replace("{…}", "")
    assert caught.value.__suppress_context__
    return caught.value


def test_each_cause_has_its_own_error(reached: Reached) -> None:
    server, secret = reached.server, "口令-s3cret"
    where = f"Server={server.host};Port={{port}};Database={{database}}"

    assert type(cause(reached.connection(), secret)) is AuthenticationFailed
    missing = where.format(port=server.port, database="no_such_city")
    assert type(cause(reached.connection(database=missing), server.password)) is DatabaseMissing
    closed = where.format(port=1, database="city")
    assert type(cause(reached.connection(database=closed), secret)) is HostUnreachable
    assert (
        type(cause(reached.connection(driver="No Such Driver", options={"dialect": "mysql"}), secret))
        is OdbcDriverMissing
    )


def test_a_password_may_hold_what_ends_a_value(reached: Reached) -> None:
    user = f"u{uuid.uuid4().hex[:8]}"
    is_postgresql = reached.server.engine is Engine.POSTGRESQL
    named = user if is_postgresql else f"{user}@'127.0.0.1'"
    reached.server.execute(f"CREATE {'ROLE' if is_postgresql else 'USER'} {named}{' LOGIN' if is_postgresql else ''}")
    if not is_postgresql:
        reached.server.execute(f"GRANT ALL ON city.* TO {named}")
    for password in ("a;b", "a}b", "{x}", "a{b}}c;", "a=b", "p'q\"r", "100%41", "密;}码"):
        literal = password.replace("'", "''")
        by = "PASSWORD" if is_postgresql else "IDENTIFIED BY"
        reached.server.execute(f"ALTER {'ROLE' if is_postgresql else 'USER'} {named} {by} '{literal}'")
        with open_source(reached.connection(user=user), password) as source:
            assert source.test(), password


def test_writing_through_the_source_is_refused(reached: Reached) -> None:
    table = reached.table("id integer", "1")
    trap = f"f_{uuid.uuid4().hex[:8]}"
    if reached.server.engine is Engine.POSTGRESQL:
        body = f"$$ BEGIN DELETE FROM {table}; RETURN 1; END $$ LANGUAGE plpgsql"
        reached.server.execute(f"CREATE FUNCTION {trap}() RETURNS integer AS {body}")
    else:
        reached.server.execute(f"CREATE FUNCTION {trap}() RETURNS integer BEGIN DELETE FROM {table}; RETURN 1; END")
    view = f"v_{uuid.uuid4().hex[:8]}"
    reached.server.execute(f"CREATE VIEW {view} AS SELECT {trap}() AS id")

    with pytest.raises(JinqiaoError):
        reached.read(view, "id")
    assert reached.server.fetch(f"SELECT count(*) FROM {table}") == [(1,)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Server=x",
        "Driver={a",
        "Driver={a}b;",
        "Driver={a};UID=x",
        "Driver={a};pwd=x",
        "Driver={a};driver=b",
        "Driver={a};;=x",
        "just text",
    ],
)
def test_a_string_that_is_none_or_holds_a_password_is_refused(text: str) -> None:
    with pytest.raises(OdbcStringNotValid):
        parse(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_no_value_ends_early(value: str) -> None:
    whole = extended("Driver={a}; Server=x", {"server": "y"}, {"Zone": value, "Last": "1"})

    assert parse(whole) == {"Driver": "a", "Server": "x", "Zone": value, "Last": "1"}


def test_dialects_that_nothing_can_be_delivered_in_are_refused() -> None:
    for dialect in ("oracle", "dm", "sqlserver", "generic", "klingon"):
        with pytest.raises(DialectUnknown):
            open_target(Connection(engine=Engine.ODBC, database="DSN=x", options={"dialect": dialect}))


def test_a_machine_without_odbc_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(engine=Engine.ODBC, database="Driver={PostgreSQL Unicode};Server=127.0.0.1")
    with monkeypatch.context() as lacking:
        lacking.setitem(sys.modules, "arrow_odbc", None)  # as where libodbc.so.2 cannot be loaded
        with pytest.raises(OdbcMissing) as caught, open_source(connection) as source:
            source.test()
    assert "unixodbc" in caught.value.text("en").message
    odbc_api._library.cache_clear()
    monkeypatch.setattr(odbc_api, "LIBRARY", "libno-such-odbc.so.2")
    with pytest.raises(OdbcMissing), open_source(connection) as source:
        source.test()
    odbc_api._library.cache_clear()


def test_long_values_and_nulls_pass_the_driver_manager(reached: Reached) -> None:
    connection = reached.connection()
    whole = extended(connection.database, {}, {"UID": reached.server.user, "PWD": reached.server.password})
    with OdbcConnection(whole) as opened:
        for text in (None, "", "短", "𠮷" * 5000):
            cast = "CAST(? AS text)" if reached.server.engine is Engine.POSTGRESQL else "CONCAT(?)"
            assert opened.fetch(f"SELECT {cast}", (text,)) == [(text,)]
        with pytest.raises(OdbcFailed):
            opened.execute("SELECT * FROM no_such_table")
