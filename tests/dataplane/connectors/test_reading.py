"""Reading: one snapshot, exact filters, a source that is protected, changes that are noticed."""

import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import (
    ColumnMissing,
    FilterNotPossible,
    RunStopped,
    SourceChanged,
    StatementTimedOut,
    TableMissing,
)
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition
from tests.dataplane.exchanges import csv_at, people, read_table, sqlite_at, write_table
from tests.servers import Server

pytestmark = pytest.mark.servers
COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER, nullable=False),
    Column(name="code", type=LogicalType.TEXT, length=20),
    Column(name="amount", type=LogicalType.DECIMAL, precision=10, scale=2),
    Column(name="day", type=LogicalType.DATE),
    Column(name="at", type=LogicalType.DATETIME),
    Column(name="yes", type=LogicalType.BOOLEAN),
)
ROWS = [
    (1, "6203", Decimal("9.50"), date(2026, 1, 1), datetime(2026, 1, 1, 8), True),  # noqa: DTZ001
    (2, "620302", Decimal("10.00"), date(2026, 2, 1), datetime(2026, 2, 1, 8, 0, 0, 500000), False),  # noqa: DTZ001
    (3, "a", Decimal("100.00"), date(1899, 1, 1), datetime(2026, 3, 1), None),  # noqa: DTZ001
    (4, "A", None, None, None, None),
    (5, "a ", Decimal("-1.00"), None, None, None),
    (6, "a%_'\\", None, None, None, None),
    (7, None, None, None, None, None),
]
Place = tuple[Connection, str]


def filled(place: Place, rows: Sequence[tuple[Any, ...]] = tuple(ROWS)) -> str:
    """A table of its own at a place; its name."""
    table = f"r_{uuid.uuid4().hex[:12]}"
    schema = arrow_schema(COLUMNS)
    arrays = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
    with open_target(*place) as target:
        write_table(target, table, COLUMNS, ["id"], pa.Table.from_arrays(arrays, schema=schema))
    return table


def ids(place: Place, table: str, *conditions: RowCondition) -> list[int]:
    with open_source(*place) as source:
        return sorted(row["id"] for row in read_table(source, table, COLUMNS[:1], row_filter=conditions).to_pylist())


def condition(column: str, operator: str, *values: str) -> RowCondition:
    return RowCondition(column=column, operator=Operator(operator), values=values)


EXACT = [
    (condition("code", "eq", "a"), [3]),
    (condition("code", "eq", "a%_'\\"), [6]),
    (condition("code", "in", "a", "6203"), [1, 3]),
    (condition("code", "prefix", "6203"), [1, 2]),
    (condition("code", "prefix", "a%"), [6]),
    (condition("code", "eq", "' OR '1'='1"), []),
]
TYPED = [
    (condition("id", "ge", "3"), [3, 4, 5, 6, 7]),
    (condition("id", "in", "1", "5"), [1, 5]),
    (condition("amount", "ge", "10"), [2, 3]),
    (condition("amount", "eq", "9.5"), [1]),
    (condition("amount", "le", "9.50"), [1, 5]),
    (condition("day", "ge", "2026-01-01"), [1, 2]),
    (condition("day", "le", "1899-01-01"), [3]),
    (condition("at", "ge", "2026-02-01T08:00:00.500000"), [2, 3]),
    (condition("at", "ge", "2026-02-01T08:00:00.500001"), [3]),
    (condition("yes", "eq", "1"), [1]),
    (condition("yes", "eq", "0"), [2]),
]


def test_a_text_condition_lets_exactly_its_text_through(place: Place) -> None:
    table = filled(place)

    assert [ids(place, table, asked) for asked, _ in EXACT] == [found for _, found in EXACT]


def test_conditions_compare_by_type(database: Place) -> None:
    table = filled(database)

    assert [ids(database, table, asked) for asked, _ in TYPED] == [found for _, found in TYPED]
    assert ids(database, table, condition("id", "ge", "2"), condition("code", "prefix", "62")) == [2]
    with pytest.raises(FilterNotPossible):
        ids(database, table, condition("id", "eq", "1 OR 1=1"))
    with pytest.raises(ColumnMissing):
        ids(database, table, condition("id; --", "eq", "1"))


def test_what_is_not_there_is_named(place: Place) -> None:
    table = filled(place)
    with open_source(*place) as source:
        with pytest.raises(TableMissing):
            list(source.read(ReadPlan(table="no_such_table", columns=("id",))))
        with pytest.raises(ColumnMissing) as caught:
            list(source.read(ReadPlan(table=table, columns=("id", "gone", "lost"))))
    assert caught.value.details == {"table": table, "columns": "gone, lost"}


def test_batches_keep_the_plan_and_the_order(database: Place) -> None:
    table = filled(database, [(number, "x", None, None, None, None) for number in range(500, 0, -1)])
    with open_source(*database) as source:
        batches = list(source.read(ReadPlan(table=table, columns=("code", "id"), order_by=("id",), batch_rows=120)))

    assert [batch.num_rows for batch in batches][:4] == [120] * 4
    assert all(batch.schema.names == ["code", "id"] for batch in batches)
    numbers = [int(value) for batch in batches for value in batch.column("id").to_pylist()]
    assert numbers == list(range(1, 501))


def test_one_reading_sees_one_instant(database: Place, request: pytest.FixtureRequest) -> None:
    """A row that is added, one that is changed and one that goes away while the table is read are not seen."""
    table = filled(database, [(number, "before" * 3, None, None, None, None) for number in range(30_000)])
    if database[0].engine is Engine.SQLITE:
        change_sqlite(database[0], "PRAGMA journal_mode = WAL")
    statements = [
        f"UPDATE {table} SET code = 'after'",
        f"DELETE FROM {table} WHERE id > 20000",
        f"INSERT INTO {table} (id, code) VALUES (99999, 'after')",
    ]
    codes: list[str] = []
    with open_source(*database) as source:
        for batch in source.read(ReadPlan(table=table, columns=("code",), batch_rows=1000)):
            if not codes:
                run(database[0], request, statements)
            codes.extend(batch.column("code").to_pylist())

    assert (len(codes), set(codes)) == (30_000, {"before" * 3})
    assert len(ids(database, table)) == 20_002


def run(connection: Connection, request: pytest.FixtureRequest, statements: Sequence[str]) -> None:
    if connection.engine is Engine.SQLITE:
        change_sqlite(connection, *statements)
    else:
        name = "postgresql_server" if connection.engine is Engine.POSTGRESQL else "mariadb_server"
        server: Server = request.getfixturevalue(name)
        server.execute(*statements)


def change_sqlite(connection: Connection, *statements: str) -> None:
    import sqlite3

    opened = sqlite3.connect(connection.database, isolation_level=None)
    for statement in statements:
        opened.execute(statement)
    opened.close()


def test_a_throttled_reading_takes_its_time_and_stops_when_told(place: Place) -> None:
    table = filled(place, [(number, "x", None, None, None, None) for number in range(300)])
    began = time.monotonic()
    with open_source(*place) as source:
        read_table(source, table, COLUMNS[:1], rows_per_s=500)
    assert time.monotonic() - began > 0.5

    stopped = threading.Event()
    with open_source(*place) as source, pytest.raises(RunStopped):
        for _ in source.read(ReadPlan(table=table, columns=("id",), rows_per_s=50, stop=stopped.is_set)):
            stopped.set()


def test_a_slow_statement_is_stopped_at_the_source(database: Place, request: pytest.FixtureRequest) -> None:
    view = f"v_{uuid.uuid4().hex[:8]}"
    slow = {
        Engine.SQLITE: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS id FROM n",
        Engine.POSTGRESQL: "SELECT 1 AS id FROM pg_sleep(60)",
        Engine.MYSQL: "SELECT sleep(60) AS id",
    }[database[0].engine]
    filled(database)
    run(database[0], request, [f"CREATE VIEW {view} AS {slow}"])

    began = time.monotonic()
    with open_source(*database) as source, pytest.raises(StatementTimedOut) as caught:
        list(source.read(ReadPlan(table=view, columns=("id",), statement_timeout_s=1)))
    run(database[0], request, [f"DROP VIEW {view}"])

    assert time.monotonic() - began < 20
    assert caught.value.retryable


def test_a_reading_that_is_given_up_leaves_nothing_running(mariadb_server: Server) -> None:
    place = (mariadb_server.connection(), mariadb_server.password)
    table = filled(place, [(number, "x" * 20, None, None, None, None) for number in range(50_000)])

    began = time.monotonic()
    with open_source(*place) as source:
        for _ in source.read(ReadPlan(table=table, columns=("id", "code"), batch_rows=10)):
            break

    assert time.monotonic() - began < 10
    busy = mariadb_server.fetch("SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT `id`%'")
    assert busy == [(0,)]


def test_an_account_that_may_not_read_is_told_so(postgresql_server: Server, mariadb_server: Server) -> None:
    from jinqiao.dataplane.errors import PermissionDenied

    postgresql_server.execute(
        "DROP TABLE IF EXISTS secret_table", "CREATE TABLE secret_table (id int)", "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'pw'",
    )  # fmt: skip
    with open_source(postgresql_server.connection(user="reader"), "pw") as source, pytest.raises(PermissionDenied):
        list(source.read(ReadPlan(table="secret_table", columns=("id",))))
    mariadb_server.execute("CREATE OR REPLACE USER reader@'127.0.0.1' IDENTIFIED BY 'pw'")
    with open_source(mariadb_server.connection(user="reader"), "pw") as source, pytest.raises(PermissionDenied):
        source.tables()


def test_a_csv_file_of_the_old_national_encoding_is_read(tmp_path: Path) -> None:
    place = csv_at(tmp_path / "files")
    folder = Path(place.database)
    (folder / "户籍.csv").write_bytes('姓名,备注\n𠮷田,"多行\n文本"\n李四,\n王五,""\n'.encode("gb18030"))
    (folder / "bom.csv").write_bytes("\ufeff姓名\n张三\n".encode())
    (folder / "empty.csv").write_bytes(b"a,b\n")
    (folder / "note.txt").write_text("no table", encoding="utf-8")
    text = (Column(name="姓名", type=LogicalType.TEXT), Column(name="备注", type=LogicalType.TEXT))

    with open_source(place) as source:
        tables = {table.name: [column.name for column in table.columns] for table in source.tables()}

        assert tables == {"户籍": ["姓名", "备注"], "bom": ["姓名"], "empty": ["a", "b"]}
        assert [tuple(row.values()) for row in read_table(source, "户籍", text).to_pylist()] == [
            ("𠮷田", "多行\n文本"),
            ("李四", None),
            ("王五", ""),
        ]
        assert read_table(source, "bom", text[:1]).to_pylist() == [{"姓名": "张三"}]
        assert list(source.read(ReadPlan(table="empty", columns=("a",)))) == []


@pytest.mark.parametrize(
    ("content", "state"),
    [(b"", "header"), (b"a,a\n1,2\n", "header"), (b"a,b\n1\n", "row"), (b"a\n\xff\xff\x81\n", "encoding")],
)
def test_a_file_that_is_no_table_is_not_readable(tmp_path: Path, content: bytes, state: str) -> None:
    from jinqiao.dataplane.errors import FileNotReadable

    place = csv_at(tmp_path / "files")
    (Path(place.database) / "t.csv").write_bytes(content)

    with open_source(place) as source, pytest.raises(FileNotReadable) as caught:
        list(source.read(ReadPlan(table="t", columns=("a",))))

    assert caught.value.details["state"] == state


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path: Path) -> None:
    place = csv_at(tmp_path / "files")
    path = Path(place.database) / "t.csv"
    path.write_text("a\n" + "1\n" * 10_000, encoding="utf-8")

    with open_source(place) as source, pytest.raises(SourceChanged):
        for batch in source.read(ReadPlan(table="t", columns=("a",), batch_rows=9_000)):
            if batch.num_rows == 9_000:
                path.write_text("a\n2\n", encoding="utf-8")


def test_text_that_is_no_utf8_in_sqlite_is_handed_on_as_bytes(tmp_path: Path) -> None:
    place = sqlite_at(tmp_path / "a.db")
    change_sqlite(
        place, "CREATE TABLE t (a TEXT)", "INSERT INTO t VALUES (CAST(x'ff41' AS TEXT)), ('好'), (x'e5a5bd'), (7)"
    )

    with open_source(place) as source:
        (batch,) = source.read(ReadPlan(table="t", columns=("a",)))

    assert batch.column("a").to_pylist() == [b"\xffA", "好".encode(), "好".encode(), b"7"]


@pytest.mark.parametrize("written", ["2026-03-01 08:00:00", "2026-03-01T08:00:00", "2026-03-01 08:00:00.000000"])
@pytest.mark.parametrize("operator", [Operator.AT_LEAST, Operator.AT_MOST])
def test_both_ends_of_a_range_of_times_are_within_it_however_they_are_written(
    tmp_path: Path, written: str, operator: Operator
) -> None:
    people(tmp_path / "a.db", [(1, "a", None, written)])
    condition = RowCondition(column="updated", operator=operator, values=("2026-03-01T08:00:00.000000",))
    plan = ReadPlan(table="people", columns=("id",), row_filter=(condition,))

    with open_source(sqlite_at(tmp_path / "a.db")) as source:
        assert sum(batch.num_rows for batch in source.read(plan)) == 1


@pytest.mark.parametrize(
    ("bound", "ways"),
    [
        ("2026-01-31 00:00:00", ("2026-01-31", "2026-01-31 00:00", "2026-01-31T00:00:00", "2026-01-31 00:00:00.000")),
        (
            "2026-01-31 08:00:00",
            ("2026-01-31 08:00", "2026-01-31T08:00", "2026-01-31 08:00:00", "2026-01-31 08:00:00.0"),
        ),
        ("2026-01-31 08:00:00.500000", ("2026-01-31 08:00:00.5", "2026-01-31T08:00:00.500")),
    ],
)
def test_an_instant_of_sqlite_is_within_its_bounds_however_it_is_written(
    tmp_path: Path, bound: str, ways: tuple[str, ...]
) -> None:
    place = people(tmp_path / "a.db", [(number, "x", None, way) for number, way in enumerate(ways)])
    with closing(sqlite3.connect(tmp_path / "a.db")) as file, file:
        file.execute("INSERT INTO people VALUES (100, 'x', NULL, '2026-01-30 23:59:59.999999'), (101, 'x', NULL, NULL)")

    def within(operator: Operator) -> list[int]:
        return ids((place, ""), "people", RowCondition(column="updated", operator=operator, values=(bound,)))

    assert within(Operator.AT_LEAST) == list(range(len(ways)))
    assert within(Operator.AT_MOST) == [*range(len(ways)), 100]
