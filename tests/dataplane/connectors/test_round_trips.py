"""What is written to an engine comes back from it unchanged: every type, every nasty value, on real servers."""

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import Source, Target, open_source, open_target
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import ChunkForm
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from tests.dataplane.connectors.places import place_of
from tests.dataplane.exchanges import canonical, exchange, order, read_table, write_table
from tests.servers import Server

ENGINES = ("sqlite", "csv", "postgresql", "mysql")
COLUMNS = (
    Column(name="编号", type=LogicalType.INTEGER, nullable=False, primary_key=True),
    Column(name="text", type=LogicalType.TEXT),
    Column(name="varchar", type=LogicalType.TEXT, length=40, comment="有长度的 'text'"),
    Column(name="integer", type=LogicalType.INTEGER),
    Column(name="decimal", type=LogicalType.DECIMAL, precision=38, scale=10),
    Column(name="money", type=LogicalType.DECIMAL, precision=12, scale=2),
    Column(name="double", type=LogicalType.DOUBLE),
    Column(name="boolean", type=LogicalType.BOOLEAN),
    Column(name="date", type=LogicalType.DATE),
    Column(name="datetime", type=LogicalType.DATETIME),
    Column(name="binary", type=LogicalType.BINARY),
)
_LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.one_of(
    st.text(_LETTERS, max_size=40),
    st.sampled_from(
        [
            "",
            " ",
            "  末尾空格 ",
            "\\N",
            "\\",
            "NULL",
            "a\tb\nc\r\nd",
            '"引号",逗号',
            "𠮷𡈽",
            "Ａ",
            "a\x1fb\x1ec",
            "%s",
            "'",
        ]
    ),
)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda digits: Decimal(f"{digits}E-{scale}"))


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "varchar": TEXTS,
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": decimals(38, 10),
    "money": decimals(12, 2),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
    "datetime": st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)),  # noqa: DTZ001
    "binary": st.binary(max_size=40),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), max_size=30)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    numbered = [{"编号": number, **row} for number, row in enumerate(rows, start=1)]
    return pa.Table.from_pylist(numbered, arrow_schema(COLUMNS))


@contextmanager
def both(place: tuple[Connection, str]) -> Iterator[tuple[Target, Source]]:
    with open_target(*place) as target, open_source(*place) as source:
        yield target, source


@pytest.mark.servers
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=ROWS)
def test_every_value_comes_back_as_it_was(place: tuple[Connection, str], rows: list[dict[str, Any]]) -> None:
    table, written = f"t_{uuid.uuid4().hex[:12]}", table_of(rows)

    with both(place) as (target, source):
        counts = write_table(target, table, COLUMNS, ["编号"], written)
        read = read_table(source, table, COLUMNS)

    assert counts.inserted == len(rows)
    assert canonical(read, COLUMNS) == canonical(written, COLUMNS)


@pytest.mark.servers
@pytest.mark.parametrize("form", [ChunkForm.ARROW, ChunkForm.PGCOPY])
def test_a_database_in_gb2312_is_read_and_written_as_what_it_says(
    form: ChunkForm, postgresql_server: Server, tmp_path: Path
) -> None:
    server, name = postgresql_server, f"gb_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {name} ENCODING 'EUC_CN' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    place = server.connection(database=name)
    columns = (COLUMNS[0], COLUMNS[1])
    written = pa.Table.from_pylist([{"编号": 1, "text": "模"}, {"编号": 2, "text": "中文"}], arrow_schema(columns))
    try:
        with both((place, server.password)) as (target, source):
            write_table(target, "人口", columns, ["编号"], written)
            assert canonical(read_table(source, "人口", columns), columns) == canonical(written, columns)

        items = [GrantedItem(item=c.name, code=c.name, column=c.name, type=c.type) for c in columns]
        asked = order(
            "RUN", items, source_table="人口", target_table=name, key_columns=("编号",),
            target_engine=Engine.POSTGRESQL if form is ChunkForm.PGCOPY else None,
        )  # fmt: skip
        secrets = (server.password, server.password)
        manifest, _ = exchange(asked, place, server.connection(), Spool(tmp_path / "spool"), secrets)

        assert manifest.form is form
        assert server.fetch(f"SELECT * FROM {name} ORDER BY 1") == [(1, "模"), (2, "中文")]
    finally:
        server.execute(f"DROP TABLE IF EXISTS {name}", f"DROP DATABASE {name} WITH (FORCE)")


NASTY = [
    dict.fromkeys(VALUES),
    {
        "text": "", "varchar": "", "integer": 0, "decimal": Decimal("1E-10"), "money": Decimal("-0.10"), "double": 0.1,
        "boolean": False, "date": date(1, 1, 1), "datetime": datetime(1, 1, 1), "binary": b"",  # noqa: DTZ001
    },
    {
        "text": "𠮷\t\\\"',\r\n%s" * 50, "varchar": "Ａa ", "integer": -(2**63), "decimal": Decimal("-" + "9" * 28 + "." + "9" * 10),
        "money": Decimal("9999999999.99"), "double": math.nextafter(1e16, 0), "boolean": True, "date": date(1899, 12, 31),
        "datetime": datetime(1969, 12, 31, 23, 59, 59, 999999), "binary": bytes(range(256)),  # noqa: DTZ001
    },
]  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize("target_engine", ENGINES)
@pytest.mark.parametrize("source_engine", ENGINES)
def test_a_table_moves_unchanged_between_any_two_engines(
    source_engine: str, target_engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    source = place_of(source_engine, request, tmp_path / "a")
    target = place_of(target_engine, request, tmp_path / "b")
    table, copied, run = (f"{name}_{uuid.uuid4().hex[:8]}" for name in ("s", "t", "RUN"))
    with open_target(*source) as filled:
        write_table(filled, table, COLUMNS, ["编号"], table_of(NASTY))
    items = [
        GrantedItem(
            item=column.name, code=column.name, column=column.name, type=column.type, length=column.length,
            precision=column.precision, scale=column.scale,
        )
        for column in COLUMNS
    ]  # fmt: skip
    asked = order(run, items, source_table=table, target_table=copied, key_columns=("编号",))

    manifest, counts = exchange(asked, source[0], target[0], Spool(tmp_path / "spool"), (source[1], target[1]))

    assert (manifest.rows, manifest.rows_quarantined, counts.inserted) == (len(NASTY), 0, len(NASTY))
    with open_source(*target) as delivered:
        assert canonical(read_table(delivered, copied, COLUMNS), COLUMNS) == canonical(table_of(NASTY), COLUMNS)


@pytest.mark.servers
def test_a_table_made_by_a_delivery_has_portable_types_and_its_comments(place: tuple[Connection, str]) -> None:
    table = f"t_{uuid.uuid4().hex[:12]}"

    with both(place) as (target, source):
        write_table(target, table, COLUMNS, ["编号"], table_of(NASTY))
        made = source.schema(table)

    assert [column.name for column in made.columns] == [column.name for column in COLUMNS]
    if place[0].engine.value not in ("csv", "excel", "jsonl"):
        assert [column.type for column in made.columns] == [column.type for column in COLUMNS]
        assert [column.name for column in made.columns if column.primary_key] == ["编号"]
        assert [(column.precision, column.scale) for column in made.columns if column.type is LogicalType.DECIMAL] == [
            (38, 10),
            (12, 2),
        ]
    if place[0].engine.value in ("postgresql", "mysql"):
        assert {column.name: column.comment for column in made.columns}["varchar"] == "有长度的 'text'"
