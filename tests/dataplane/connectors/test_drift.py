"""A table that is no longer what the exchange was set up for: named before anything changes, adapted where the task says so."""

import uuid
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.connectors.drift import Drift, hold_source, holds_exactly, source_drift, widens_exactly
from jinqiao.dataplane.connectors.ledger import LEDGER
from jinqiao.dataplane.errors import SourceSchemaChanged, TargetRefused, TargetSchemaChanged
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, DriftChoice
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, TableSchema
from tests.dataplane.connectors.batches import COLUMNS, Batch, Row, as_table, bring
from tests.dataplane.connectors.places import place_of
from tests.dataplane.connectors.test_round_trips import both
from tests.dataplane.exchanges import canonical, change, read_table
from tests.servers import Server

pytestmark = pytest.mark.servers
Place = tuple[Connection, str]
ADAPT = DriftChoice.ADAPT
ROW: Row = (1, "甲", "x", Decimal("1.00"), 0.5, datetime(2026, 3, 1, 8))  # noqa: DTZ001 -- wall-clock time
WIDE = (*COLUMNS[:2], replace(COLUMNS[2], length=200), replace(COLUMNS[3], precision=30), *COLUMNS[4:])
NARROW_TYPES = {
    Engine.POSTGRESQL: ("varchar(5)", "integer", "real", "timestamp(0)"),
    Engine.MYSQL: ("varchar(5)", "int", "float", "datetime"),
    Engine.SQLITE: ("varchar(5)", "integer", "double", "datetime"),
}


@pytest.fixture
def table(database: Place, request: pytest.FixtureRequest) -> str:
    """A table of the consumer's own: narrow, without one column, with one that must be filled."""
    name, short, number, real, time = f"d_{uuid.uuid4().hex[:12]}", *NARROW_TYPES[database[0].engine]
    run(
        database, request,
        f"CREATE TABLE {name} (id bigint PRIMARY KEY, 代码 varchar(20), name {short}, amount {number}, score {real}, seen {time})",
        f"INSERT INTO {name} VALUES (9, '乙', 'alt', 7, 0.25, '2026-01-01 00:00:00')",
    )  # fmt: skip
    return name


def run(place: Place, request: pytest.FixtureRequest, *statements: str) -> None:
    if place[0].engine is Engine.SQLITE:
        change(Path(place[0].database), *statements)
        return
    fixture = "postgresql_server" if place[0].engine is Engine.POSTGRESQL else "mariadb_server"
    server: Server = request.getfixturevalue(fixture)
    server.execute(*statements)


def declared(place: Place, table: str) -> TableSchema:
    """The table as a source that is opened now finds it."""
    with open_source(*place) as source:
        return source.schema(table)


def test_what_drifted_is_named_and_nothing_is_changed(
    database: Place, table: str, request: pytest.FixtureRequest
) -> None:
    run(
        database, request,
        f"DELETE FROM {table}", f"ALTER TABLE {table} ADD COLUMN filled varchar(5) NOT NULL DEFAULT 'x'",
    )  # fmt: skip
    required = database[0].engine is not Engine.SQLITE  # which adds no such column
    if required:
        run(database, request, f"ALTER TABLE {table} ADD COLUMN must varchar(5) NOT NULL")
    columns = (*WIDE, Column(name="new", type=LogicalType.TEXT))
    batch = Batch([(*ROW, "neu")], columns=columns)

    with both(database) as (target, source):
        before = declared(database, table)
        with pytest.raises(TargetSchemaChanged) as caught:
            target.prepare(batch.plan(table))

        assert declared(database, table) == before
        assert LEDGER not in {found.name for found in source.tables()}
    details = caught.value.details
    assert details["missing"] == "new"
    assert {"name", "amount"} <= set(details["retyped"].split(", "))
    assert details["extra"] == ("must" if required else "-")


def test_a_missing_column_is_added_and_what_can_be_widened_is(
    database: Place, table: str, request: pytest.FixtureRequest
) -> None:
    widens = database[0].engine is not Engine.SQLITE
    columns = (*(WIDE if widens else COLUMNS[:1]), Column(name="neu", type=LogicalType.TEXT, length=9, comment="新的"))
    seen = datetime(2026, 3, 1, 8, 0, 0, 1)  # noqa: DTZ001
    values = (*ROW[:2], "long enough", Decimal("12345678.25"), 0.1, seen) if widens else (1,)
    batch = Batch([(*values, "neu")], columns=columns, delivery=Delivery.UPSERT, keys=("id",))

    with both(database) as (target, source):
        plan = batch.plan(table, drift=ADAPT)
        before = declared(database, table)
        target.prepare(plan)
        if database[0].engine is not Engine.MYSQL:
            assert declared(database, table) == before  # nothing to be seen before the merge
        bring(target, plan, batch)

        old = (9, "乙", "alt", Decimal(7), 0.25, datetime(2026, 1, 1)) if widens else (9,)  # noqa: DTZ001
        expected = as_table([(*old, None), *batch.rows], columns)
        assert canonical(read_table(source, table, columns), columns) == canonical(expected, columns)
        again = bring(target, batch.plan(table), batch)  # nothing is left to adapt
        assert again.unchanged == 1


@pytest.mark.parametrize(
    "columns",
    [
        (*COLUMNS[:2], replace(COLUMNS[2], type=LogicalType.DATE), *COLUMNS[3:]),  # text does not become a date
        (*COLUMNS, Column(name="new", type=LogicalType.TEXT, nullable=False)),  # what would older rows have there?
    ],
)
def test_what_cannot_be_adapted_exactly_is_refused(database: Place, columns: tuple[Column, ...]) -> None:
    table, first = f"d_{uuid.uuid4().hex[:12]}", Batch([ROW])
    with open_target(*database) as target:
        bring(target, first.plan(table), first)
        before = declared(database, table)
        with pytest.raises(TargetSchemaChanged):
            target.prepare(Batch([], columns=columns).plan(table, drift=ADAPT))

        assert declared(database, table) == before


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_whole_numbers_get_64_bits_where_the_task_adapts(engine: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("postgresql_server" if engine == "postgresql" else "mariadb_server")
    table = f"d_{uuid.uuid4().hex[:12]}"
    server.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, amount smallint NOT NULL)")
    columns = (COLUMNS[0], Column(name="amount", type=LogicalType.INTEGER))
    batch = Batch([(1, 2**60)], columns=columns, keys=("id",))
    with both((server.connection(), server.password)) as (target, source):
        with pytest.raises(TargetRefused):
            bring(target, batch.plan(table), batch)
        bring(target, batch.plan(table, drift=ADAPT), batch)

        assert read_table(source, table, columns).column("amount").to_pylist() == [2**60]
        assert [column.nullable for column in source.schema(table).columns] == [False, False]


def test_a_column_with_a_default_of_its_own_is_not_declared_anew(mariadb_server: Server) -> None:
    table = f"d_{uuid.uuid4().hex[:12]}"
    mariadb_server.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, name varchar(5) DEFAULT '无')")
    columns = (COLUMNS[0], replace(COLUMNS[2], length=40))
    place = (mariadb_server.connection(), mariadb_server.password)
    with both(place) as (target, _), pytest.raises(TargetSchemaChanged):
        target.prepare(Batch([], columns=columns, keys=("id",)).plan(table, drift=ADAPT))


@pytest.mark.parametrize("native", ["uuid", "jsonb", "numeric", "text[]", "time", "name", '"char"'])
def test_what_takes_no_text_is_named_before_anything_changes(postgresql_server: Server, native: str) -> None:
    table = f"d_{uuid.uuid4().hex[:12]}"
    postgresql_server.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, name {native})")
    place = (postgresql_server.connection(), postgresql_server.password)
    with both(place) as (target, _), pytest.raises(TargetSchemaChanged) as caught:
        target.prepare(Batch([], columns=(COLUMNS[0], COLUMNS[2]), keys=("id",)).plan(table))

    assert caught.value.details["retyped"] == "name"


# --- The source ---------------------------------------------------------------------------------------------------

TEXT = Column(name="name", type=LogicalType.TEXT, length=20)


@pytest.mark.parametrize(
    ("now", "drift"),
    [
        ((COLUMNS[0], TEXT), Drift()),
        ((COLUMNS[0], replace(TEXT, length=10)), Drift()),  # whatever is in it fits
        ((COLUMNS[0],), Drift(missing=("name",))),
        ((COLUMNS[0], replace(TEXT, length=30)), Drift(retyped=("name",))),
        ((COLUMNS[0], replace(TEXT, length=None)), Drift(retyped=("name",))),
        ((COLUMNS[0], replace(TEXT, type=LogicalType.DATE)), Drift(retyped=("name",))),
        ((COLUMNS[0], TEXT, replace(TEXT, name="new")), Drift(added=("new",))),
    ],
)
def test_a_source_drifts_where_a_column_goes_widens_or_comes(now: tuple[Column, ...], drift: Drift) -> None:
    expected = (COLUMNS[0], TEXT)

    assert source_drift(expected, now) == drift
    assert hold_source("people", expected, now, ADAPT) == drift
    assert hold_source("people", (), now, DriftChoice.REFUSE) == Drift()  # not watched
    if drift:
        with pytest.raises(SourceSchemaChanged) as caught:
            hold_source("people", expected, now, DriftChoice.REFUSE)
        assert caught.value.details | drift.named() == caught.value.details


def test_a_source_without_its_key_is_refused_though_the_task_adapts() -> None:
    with pytest.raises(SourceSchemaChanged):
        hold_source("people", (COLUMNS[0], TEXT), (TEXT,), ADAPT, needed=("id",))


def any_column() -> st.SearchStrategy[Column]:
    sizes = st.none() | st.integers(1, 40)
    return st.builds(
        lambda kind, length, digits, places: Column(
            name="x", type=kind, length=length if kind is LogicalType.TEXT else None,
            precision=digits if kind is LogicalType.DECIMAL else None,
            scale=min(digits, places) if kind is LogicalType.DECIMAL else None,
        ),
        st.sampled_from(list(LogicalType)), sizes, st.integers(1, 38), st.integers(0, 10),
    )  # fmt: skip


@given(first=any_column(), second=any_column(), third=any_column())
def test_holding_and_widening_are_orders(first: Column, second: Column, third: Column) -> None:
    assert holds_exactly(first, first)
    assert widens_exactly(first, first)
    assert (
        not (holds_exactly(first, second) and holds_exactly(second, third))
        or holds_exactly(first, third)
        or loose(first, second, third)
    )


def loose(*columns: Column) -> bool:
    """A text without a length fits anywhere: nobody knows how long it is."""
    return any(column.type is LogicalType.TEXT and column.length is None for column in columns)


BINARY = Column(name="name", type=LogicalType.BINARY)


@pytest.mark.parametrize("is_window", [False, True], ids=["whole", "window"])
@pytest.mark.parametrize(
    ("engine", "native", "value", "is_kept"),
    [
        ("postgresql", "char(3)", "ab", True),
        ("postgresql", "char(3)", "a ", False),
        ("postgresql", "varchar(3)", "a  ", True),
        ("postgresql", "varchar(3)", "abc  ", False),
        ("mysql", "char(3)", "ab", True),
        ("mysql", "char(3)", "a ", False),
        ("mysql", "varchar(3)", "a  ", True),
        ("mysql", "varchar(3)", "abc  ", False),
        ("mysql", "enum('100%','2')", "100%", True),
        ("mysql", "enum('100%','2')", "1", False),  # the first of them
        ("mysql", "enum('A','B')", "b", False),
        ("mysql", "binary(3)", b"abc", True),
        ("mysql", "binary(3)", b"ab", False),
        ("sqlite", "JSON", '{"a": 1}', True),
        ("sqlite", "JSON", "1.50", False),
        ("sqlite", "STRING", "2026-01-01", True),
        ("sqlite", "STRING", "007", False),
        ("sqlite", "VARCHAR", "007", True),
        ("sqlite", "", "007", True),
    ],
)
def test_a_value_that_a_column_would_change_without_a_word_is_refused(
    engine: str, native: str, value: str | bytes, is_kept: bool, is_window: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:  # fmt: skip
    place, table = place_of(engine, request, tmp_path), f"d_{uuid.uuid4().hex[:12]}"
    run(place, request, f"CREATE TABLE {table} (id bigint PRIMARY KEY, name {native})")
    run(place, request, f"INSERT INTO {table} (id) VALUES (9)")
    columns = (COLUMNS[0], BINARY if isinstance(value, bytes) else COLUMNS[2])
    batch = Batch([(1, value)], columns=columns, keys=("id",), mode=CopyMode.WATERMARK, delivery=Delivery.UPSERT, is_window=is_window)  # fmt: skip
    plan = batch.plan(table)
    with both(place) as (target, source):
        if is_kept:
            bring(target, plan, batch)
        else:
            with pytest.raises(TargetRefused):
                bring(target, plan, batch)
        there = read_table(source, table, columns).to_pylist()

    assert [row["name"] for row in there if row["id"] == 1] == ([value] if is_kept else [])


@pytest.mark.parametrize(
    ("base", "value", "is_kept"),
    [("char(3)", "ab", True), ("char(3)", "ab ", False), ("varchar(3)", "ab ", True), ("varchar(3)", "abc ", False)],
)
def test_a_domain_changes_no_value_without_a_word(
    postgresql_server: Server, base: str, value: str, is_kept: bool
) -> None:
    table, columns = f"d_{uuid.uuid4().hex[:12]}", (COLUMNS[0], COLUMNS[2])
    postgresql_server.execute(
        f"CREATE DOMAIN {table}_kind AS {base}",
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, name {table}_kind)",
        f"INSERT INTO {table} VALUES (9)",
    )
    batch = Batch([(1, value)], columns=columns, keys=("id",), mode=CopyMode.WATERMARK, delivery=Delivery.UPSERT)
    with both((postgresql_server.connection(), postgresql_server.password)) as (target, source):
        with nullcontext() if is_kept else pytest.raises(TargetRefused):
            bring(target, batch.plan(table), batch)
        there = read_table(source, table, columns).to_pylist()

    assert [row["name"] for row in there if row["id"] == 1] == ([value] if is_kept else [])


def test_an_hour_that_summer_time_left_out_is_not_moved(postgresql_server: Server) -> None:
    table, columns = f"d_{uuid.uuid4().hex[:12]}", (COLUMNS[0], COLUMNS[5])
    postgresql_server.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, seen timestamptz)")
    postgresql_server.execute(f"INSERT INTO {table} VALUES (9, now())")
    with both((postgresql_server.connection(), postgresql_server.password)) as (target, source):
        for number, (at, is_there) in enumerate(
            ((datetime(1940, 6, 1), False), (datetime(1940, 6, 1, 1), True), (datetime(1986, 8, 1), True)), 1  # noqa: DTZ001
        ):  # fmt: skip
            batch = Batch(
                [(number, at)], columns=columns, keys=("id",), mode=CopyMode.WATERMARK, delivery=Delivery.UPSERT
            )
            with nullcontext() if is_there else pytest.raises(TargetRefused):
                bring(target, batch.plan(table), batch)
        there = {row["id"]: row["seen"] for row in read_table(source, table, columns).to_pylist()}

    assert (there.get(1), there[2], there[3]) == (None, datetime(1940, 6, 1, 1), datetime(1986, 8, 1))  # noqa: DTZ001
