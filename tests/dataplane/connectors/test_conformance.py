"""Conformance of all connectors: what departments keep crosses exactly, or is refused and set aside in the open.

Every source goes to SQLite and SQLite to every target, through the whole pipeline; the two servers into each other.
"""

import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import QuarantineExceeded, TargetRefused
from jinqiao.dataplane.pipeline import Spool, compare
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType
from tests.dataplane.connectors.departments import COLUMNS, FILL, ITEMS, ROWS, expected, item
from tests.dataplane.connectors.places import PLACES, Place, place_of
from tests.dataplane.exchanges import canonical, exchange, order, read_table, sqlite_at, write_table

pytestmark = pytest.mark.servers
WAYS = [(name, "sqlite") for name in FILL] + [("sqlite", name) for name in PLACES if name != "sqlite"]
WAYS += [("postgresql", "mysql"), ("mysql", "postgresql")]


def table_named(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:10]}"


def rows_as_table(rows: list[dict[str, Any]], columns: tuple[Column, ...] = COLUMNS) -> pa.Table:
    return pa.Table.from_pylist(rows, arrow_schema(columns))


@pytest.mark.parametrize(("source_name", "target_name"), WAYS)
def test_everything_that_departments_keep_crosses_exactly(
    source_name: str, target_name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    source = place_of(source_name, request, tmp_path / "a")
    target = place_of(target_name, request, tmp_path / "b")
    table, copied = table_named("kept"), table_named("got")
    FILL[source_name](request, source[0], table)
    asked = order(table_named("RUN"), ITEMS, source_table=table, target_table=copied)

    manifest, counts = exchange(asked, source[0], target[0], Spool(tmp_path / "spool"), (source[1], target[1]))

    assert (manifest.rows, manifest.rows_quarantined, manifest.findings) == (len(ROWS), 0, ())
    assert (counts.inserted, counts.target_rows) == (len(ROWS), len(ROWS))
    with open_source(*source) as given, open_source(*target) as delivered:
        assert compare(asked, given, delivered).same
        shown = canonical(read_table(delivered, copied, COLUMNS), COLUMNS)
    assert shown == canonical(rows_as_table(expected(source_name)), COLUMNS)


@pytest.mark.parametrize("name", [name for name, kind in PLACES.items() if kind.typed])
def test_a_target_that_declares_types_declares_those_of_the_items(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place, table = place_of(name, request, tmp_path), table_named("typed")
    with open_target(*place) as target, open_source(*place) as source:
        write_table(target, table, COLUMNS, ["id"], rows_as_table(list(ROWS)))
        made = source.schema(table)

    assert [(c.name, c.type) for c in made.columns] == [(c.name, c.type) for c in COLUMNS]
    assert [(c.precision, c.scale) for c in made.columns if c.type is LogicalType.DECIMAL] == [(38, 10), (12, 2)]


NUMBERED = Column(name="id", type=LogicalType.INTEGER, nullable=False, primary_key=True)
REFUSED: list[tuple[str, Column, Any]] = [
    ("excel", Column(name="value", type=LogicalType.TEXT), "x" * 32_768),
    ("excel", Column(name="value", type=LogicalType.TEXT), "𠮷" * 16_384),
    ("excel", Column(name="value", type=LogicalType.TEXT), "\uffff"),
    ("excel", Column(name="value", type=LogicalType.BINARY), bytes(16_384)),
    ("jsonl", Column(name="value", type=LogicalType.DOUBLE), float("nan")),
    ("jsonl", Column(name="value", type=LogicalType.DOUBLE), float("-inf")),
    ("sqlite", Column(name="value", type=LogicalType.DOUBLE), float("nan")),
    ("mysql", Column(name="value", type=LogicalType.DOUBLE), float("nan")),
    ("mysql", Column(name="value", type=LogicalType.DOUBLE), float("inf")),
    ("odbc-mysql", Column(name="value", type=LogicalType.DOUBLE), float("nan")),
]


@pytest.mark.parametrize(
    ("name", "column", "value"),
    REFUSED,
    ids=[f"{name}-{column.type}-{at}" for at, (name, column, _) in enumerate(REFUSED)],
)
def test_what_an_engine_cannot_hold_is_refused_and_changes_nothing(
    name: str, column: Column, value: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place, table, columns = place_of(name, request, tmp_path), table_named("refused"), (NUMBERED, column)
    good = rows_as_table([{"id": 1, "value": None}], columns)
    with open_target(*place) as target:
        write_table(target, table, columns, ["id"], good)
        with pytest.raises(TargetRefused):
            write_table(
                target,
                table,
                columns,
                ["id"],
                rows_as_table([{"id": 2, "value": value}], columns),
                batch_id=table_named("b"),
            )
    with open_source(*place) as source:
        assert read_table(source, table, columns).to_pylist() == good.to_pylist()


@pytest.mark.parametrize(
    "name", [name for name in PLACES if name not in ("jsonl", "sqlite", "mysql", "excel", "odbc-mysql")]
)
def test_numbers_that_are_none_stay_what_they_are_where_they_can_be_held(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    columns = (NUMBERED, Column(name="value", type=LogicalType.DOUBLE))
    rows = rows_as_table([{"id": 1, "value": float("nan")}, {"id": 2, "value": float("-inf")}], columns)
    place, table = place_of(name, request, tmp_path), table_named("nan")
    with open_target(*place) as target, open_source(*place) as source:
        write_table(target, table, columns, ["id"], rows)

        assert canonical(read_table(source, table, columns), columns) == canonical(rows, columns)


def _nul_sqlite(place: Place, request: pytest.FixtureRequest) -> None:
    import sqlite3

    opened = sqlite3.connect(place[0].database)
    with opened:
        opened.execute("CREATE TABLE nul (id INTEGER, value TEXT)")
        opened.execute("INSERT INTO nul VALUES (1, ?), (2, '好')", ("a\0b",))
    opened.close()


def _nul_mariadb(place: Place, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("mariadb_server").execute(
        "CREATE OR REPLACE TABLE nul (id INTEGER, value TEXT) CHARACTER SET utf8mb4",
        "INSERT INTO nul VALUES (1, CONCAT('a', CHAR(0), 'b')), (2, '好')",
    )


def _nul_file(name: str, content: bytes) -> Any:
    def write(place: Place, request: pytest.FixtureRequest) -> None:
        Path(place[0].database, name).write_bytes(content)

    return write


NUL = {
    "sqlite": _nul_sqlite,
    "mysql": _nul_mariadb,
    "csv": _nul_file("nul.csv", "id,value\n1,a\0b\n2,好\n".encode()),
    "jsonl": _nul_file("nul.jsonl", '{"id": 1, "value": "a\\u0000b"}\n{"id": 2, "value": "好"}\n'.encode()),
}


@pytest.mark.parametrize("name", list(NUL))
def test_a_text_with_a_nul_character_is_set_aside_wherever_it_comes_from(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = place_of(name, request, tmp_path)
    NUL[name](place, request)
    items = [item("id", LogicalType.INTEGER), item("value", LogicalType.TEXT)]
    asked = order("RUN-NUL", items, source_table="nul", quarantine_limit=0.5)
    target = sqlite_at(tmp_path / "got.db")

    manifest, _ = exchange(asked, place[0], target, Spool(tmp_path / "spool"), (place[1], ""))
    with pytest.raises(QuarantineExceeded):
        exchange(
            replace(asked, run_id="RUN-STRICT", quarantine_limit=0.0),
            place[0],
            target,
            Spool(tmp_path / "two"),
            (place[1], ""),
        )

    assert (manifest.rows, manifest.rows_quarantined) == (1, 1)
    assert [(finding.item, finding.rows) for finding in manifest.findings] == [("value", 1)]
    with open_source(target) as delivered:
        assert read_table(delivered, "residents", (NUMBERED,)).to_pylist() == [{"id": 2}]


def test_a_decimal_that_is_too_wide_or_too_fine_is_set_aside_from_every_text_format(tmp_path: Path) -> None:
    items = [item("id", LogicalType.INTEGER), item("value", LogicalType.DECIMAL, precision=6, scale=2)]
    contents = {
        Engine.CSV: ("t.csv", "id,value\n1,1.005\n2,12345.00\n3,-9999.90\n"),
        Engine.JSONL: ("t.jsonl", '{"id":1,"value":1.005}\n{"id":2,"value":12345}\n{"id":3,"value":-9999.90}\n'),
    }
    for engine, (file, content) in contents.items():
        folder = tmp_path / engine.value
        folder.mkdir()
        (folder / file).write_text(content, encoding="utf-8")
        asked = order(f"RUN-{engine}", items, source_table="t", quarantine_limit=1.0)
        place = replace(sqlite_at(folder), engine=engine)
        target = sqlite_at(folder / "got.db")

        manifest, _ = exchange(asked, place, target, Spool(folder / "spool"))

        assert (manifest.rows, manifest.rows_quarantined) == (1, 2)
        with open_source(target) as delivered:
            (row,) = read_table(
                delivered, "residents", tuple(replace(c, name=c.name) for c in _columns(items))
            ).to_pylist()
        assert row == {"id": 3, "value": Decimal("-9999.90")}


def _columns(items: list[Any]) -> tuple[Column, ...]:
    return tuple(Column(name=i.code, type=i.type, precision=i.precision, scale=i.scale) for i in items)
