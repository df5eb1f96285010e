"""What CSV, Excel, JSON lines and Parquet have in common: names, declared types, an unchanged file, deliveries in one rename."""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.staged_target import StagedTarget
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import (
    ConnectionOptionWrong,
    FilterNotPossible,
    SourceChanged,
    TableMissing,
    TargetSchemaMismatch,
    ValueOfAnotherType,
)
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition
from tests.dataplane.exchanges import PEOPLE, exchange, order, read_table, rows_of, sqlite_at, write_table

ENGINES = (Engine.CSV, Engine.EXCEL, Engine.JSONL, Engine.PARQUET)
SUFFIX = {Engine.CSV: "csv", Engine.EXCEL: "xlsx", Engine.JSONL: "jsonl", Engine.PARQUET: "parquet"}
COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER, nullable=False),
    Column(name="code", type=LogicalType.TEXT),
    Column(name="amount", type=LogicalType.DECIMAL, precision=10, scale=2),
    Column(name="day", type=LogicalType.DATE),
    Column(name="at", type=LogicalType.DATETIME),
    Column(name="yes", type=LogicalType.BOOLEAN),
)
TYPES = {"*": {"id": "integer", "amount": "decimal(10, 2)"}, "t": {"day": "date", "at": "datetime", "yes": "boolean"}}
ROWS = [
    (10, "6203", Decimal("9.50"), date(2026, 1, 1), datetime(2026, 1, 1, 8), True),  # noqa: DTZ001
    (9, "620302", Decimal("10.00"), date(2026, 2, 1), datetime(2026, 2, 1, 8, 0, 0, 500000), False),  # noqa: DTZ001
    (100, "a", Decimal("100.00"), date(1899, 1, 1), datetime(2026, 3, 1), None),  # noqa: DTZ001
    (1, "A", None, None, None, None),
]


@pytest.fixture(params=ENGINES, ids=[engine.value for engine in ENGINES])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param  # type: ignore[no-any-return]


def place_at(engine: Engine, folder: Path, **options: Any) -> Connection:
    return Connection(engine=engine, database=str(folder), options=options)


def as_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    schema = arrow_schema(COLUMNS)
    return pa.Table.from_arrays(
        [pa.array([row[at] for row in rows], f.type) for at, f in enumerate(schema)], schema=schema
    )


def filled(engine: Engine, folder: Path, rows: Sequence[tuple[Any, ...]] = tuple(ROWS), table: str = "t") -> Path:
    with open_target(place_at(engine, folder)) as target:
        write_table(target, table, COLUMNS, ["id"], as_table(rows), batch_id=os.urandom(4).hex())
    return folder / f"{table}.{SUFFIX[engine]}"


def ids(place: Connection, *conditions: RowCondition, order_by: tuple[str, ...] = (), **plan: Any) -> list[int]:
    with open_source(place) as source:
        asked = {"row_filter": conditions, "order_by": order_by} | plan
        return [row["id"] for row in read_table(source, "t", COLUMNS[:1], **asked).to_pylist()]


def condition(column: str, operator: str, *values: str) -> RowCondition:
    return RowCondition(column=column, operator=Operator(operator), values=values)


def test_conditions_compare_by_the_type_that_is_declared(engine: Engine, tmp_path: Path) -> None:
    filled(engine, tmp_path)
    place = place_at(engine, tmp_path, types=TYPES)

    for asked, found in [
        (condition("id", "ge", "10"), [10, 100]),
        (condition("id", "in", "9", "1", "5"), [9, 1]),
        (condition("amount", "ge", "10"), [9, 100]),
        (condition("amount", "eq", "9.5"), [10]),
        (condition("amount", "ge", "9.501"), [9, 100]),
        (condition("day", "le", "1899-01-01"), [100]),
        (condition("at", "ge", "2026-02-01T08:00:00.500000"), [9, 100]),
        (condition("yes", "eq", "0"), [9]),
        (condition("code", "prefix", "6203"), [10, 9]),
        (condition("code", "in", "a", "A"), [100, 1]),
    ]:
        assert ids(place, asked) == found, asked
    assert ids(place, condition("id", "ge", "2"), condition("code", "prefix", "62"), condition("yes", "eq", "1")) == [
        10
    ]
    with pytest.raises(FilterNotPossible):
        ids(place, condition("day", "ge", "yesterday"))


def test_rows_are_ordered_by_type_with_null_last_and_ties_as_they_stand(engine: Engine, tmp_path: Path) -> None:
    filled(engine, tmp_path, [*ROWS, (3, "A", None, None, datetime(2026, 1, 1, 8), True)])  # noqa: DTZ001
    place = place_at(engine, tmp_path, types=TYPES)

    assert ids(place, order_by=("id",)) == [1, 3, 9, 10, 100]
    assert ids(place, order_by=("at", "id")) == [3, 10, 9, 100, 1]
    assert ids(place, order_by=("at",)) == [10, 3, 9, 100, 1]
    assert ids(place, order_by=("amount",), batch_rows=2) == [10, 9, 100, 1, 3]
    with open_source(place) as source:
        sizes = [b.num_rows for b in source.read(ReadPlan(table="t", columns=("id",), order_by=("id",), batch_rows=2))]
    assert sizes == [2, 2, 1]


def test_a_value_that_is_none_of_its_declared_type_stops_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,at\n1,2026-01-01\n2,昨天\n3,\n", encoding="utf-8")
    place = place_at(Engine.CSV, tmp_path, types=TYPES)

    assert ids(place) == [1, 2, 3]
    with pytest.raises(ValueOfAnotherType) as caught:
        ids(place, condition("at", "ge", "2025-01-01T00:00:00"))
    assert caught.value.details == {"table": "t", "column": "at", "type": "datetime", "rows": 1}


@pytest.mark.parametrize("types", [{"t": {"id": "number"}}, {"t": {"id": ""}}, {"t": "integer"}, ["t"]])
def test_a_declaration_that_names_no_type_is_refused(engine: Engine, types: Any, tmp_path: Path) -> None:
    with pytest.raises(ConnectionOptionWrong) as caught:
        open_source(place_at(engine, tmp_path, types=types))

    assert caught.value.details == {"option": "types"}


def test_a_connection_may_name_one_file(engine: Engine, tmp_path: Path) -> None:
    path = filled(engine, tmp_path)
    filled(engine, tmp_path, table="other")
    with open_source(place_at(engine, path)) as source:
        assert [table.name for table in source.tables()] == ["t"]
        assert read_table(source, "t", COLUMNS).num_rows == len(ROWS)
        with pytest.raises(TableMissing):
            source.schema("other")
    with open_target(place_at(engine, path)) as target:
        counts = write_table(target, "t", COLUMNS, ["id"], as_table(ROWS[:1]))
    assert (counts.deleted, counts.target_rows) == (len(ROWS) - 1, 1)


def test_a_table_is_found_by_its_name_only(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    filled(engine, tmp_path, table="outside")
    filled(engine, tmp_path / "in")
    (tmp_path / "in" / f".hidden.{SUFFIX[engine]}").write_bytes(b"")
    with open_source(place_at(engine, tmp_path / "in")) as source:
        assert [table.name for table in source.tables()] == ["t"]
        for name in ("../outside", ".hidden", "", ".", f"t.{SUFFIX[engine]}", "T"):
            with pytest.raises(TableMissing):
                source.schema(name)


def test_the_token_is_the_same_as_long_as_the_file_is(engine: Engine, tmp_path: Path) -> None:
    path = filled(engine, tmp_path)
    with open_source(place_at(engine, tmp_path)) as source:
        seen = {source.state_token("t"), source.state_token("t")}
        assert len(seen) == 1
        state = path.stat()
        content = path.read_bytes()
        path.write_bytes(content)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # content, size and time as before: who can tell?
        seen.add(source.state_token("t"))
        copy = tmp_path / "copy"
        copy.write_bytes(content)
        copy.replace(path)
        seen.add(source.state_token("t"))
    assert len(seen) == 3


def test_a_file_that_is_replaced_while_it_is_read_is_refused(engine: Engine, tmp_path: Path) -> None:
    rows = [(number, "x" * 50, None, None, None, None) for number in range(2_000)]
    filled(engine, tmp_path, rows)
    with open_source(place_at(engine, tmp_path)) as source, pytest.raises(SourceChanged) as caught:
        for number, _ in enumerate(source.read(ReadPlan(table="t", columns=("id", "code"), batch_rows=500))):
            if number == 1:
                filled(engine, tmp_path, rows[1:])
    assert caught.value.retryable


def test_a_watermark_run_takes_what_is_newer(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    columns = tuple(Column(name=i.code, type=i.type, nullable=i.code != "id") for i in PEOPLE)

    def put(batch_id: str, *rows: tuple[int, str, datetime]) -> None:
        given = pa.Table.from_pylist(
            [{"id": number, "name": name, "updated": at} for number, name, at in rows], arrow_schema(columns)
        )
        with open_target(place_at(engine, folder)) as target:
            write_table(target, "people", columns, ["id"], given, batch_id=batch_id)

    moments = [datetime(2026, 1, day, 8) for day in range(1, 5)]  # noqa: DTZ001
    source = place_at(engine, folder, types={"people": {"id": "integer", "updated": "datetime"}})
    asked = order(mode=CopyMode.WATERMARK, watermark_column="updated", delivery=Delivery.UPSERT)
    put("1", (3, "丙", moments[2]), (1, "甲", moments[0]), (2, "乙", moments[1]))
    first, _ = exchange(asked, source, sqlite_at(tmp_path / "got.db"), Spool(tmp_path / "s1"))
    put("2", (3, "丙", moments[2]), (1, "甲甲", moments[3]), (2, "乙", moments[1]))
    again = replace(asked, run_id="RUN-2", after=first.new_cursor)
    second, counts = exchange(again, source, sqlite_at(tmp_path / "got.db"), Spool(tmp_path / "s2"))

    assert (first.rows, first.new_cursor.partition("#")[0]) == (3, "2026-01-03T08:00:00.000000")
    assert second.new_cursor.startswith("2026-01-04T08:00:00.000000")
    assert (counts.inserted, counts.updated, counts.target_rows) == (0, 1, 3)
    assert second.rows <= 2
    assert [row[:2] for row in rows_of(tmp_path / "got.db", "residents")] == [(1, "甲甲"), (2, "乙"), (3, "丙")]


def test_a_batch_that_changes_nothing_leaves_the_file_alone(engine: Engine, tmp_path: Path) -> None:
    path = filled(engine, tmp_path)
    before = path.stat()
    with open_target(place_at(engine, tmp_path)) as target:
        counts = write_table(target, "t", COLUMNS, ["id"], as_table(ROWS[::-1]), batch_id="again")

    assert (counts.inserted, counts.updated, counts.deleted, counts.unchanged) == (0, 0, 0, len(ROWS))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_upsert_and_append_keep_what_is_there(engine: Engine, tmp_path: Path) -> None:
    filled(engine, tmp_path)
    changed = as_table([(9, "new", None, None, None, None), (11, "added", None, None, None, None)])
    with open_target(place_at(engine, tmp_path)) as target:
        first = write_table(target, "t", COLUMNS, ["id"], changed, batch_id="u", delivery=Delivery.UPSERT)
        second = write_table(target, "t", COLUMNS, [], changed, batch_id="a", delivery=Delivery.APPEND)

    assert (first.inserted, first.updated, first.deleted, first.target_rows) == (1, 1, 0, 5)
    assert (second.inserted, second.target_rows) == (2, 7)
    assert sorted(ids(place_at(engine, tmp_path))) == [1, 9, 9, 10, 11, 11, 100]


def test_a_batch_that_was_killed_behind_its_rename_is_not_appended_again_after_another(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(batch_id: str, number: int) -> None:
        rows = as_table([(number, None, None, None, None, None)])
        with open_target(place_at(engine, tmp_path)) as target:
            write_table(target, "t", COLUMNS, [], rows, batch_id=batch_id, delivery=Delivery.APPEND)

    with monkeypatch.context() as patch:
        patch.setattr(StagedTarget, "_done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            append("first", 1)
    append("second", 2)  # another task's, into the same file
    append("first", 1)

    assert sorted(ids(place_at(engine, tmp_path))) == [1, 2]


def test_a_target_that_somebody_spoiled_is_not_overwritten(engine: Engine, tmp_path: Path) -> None:
    path = filled(engine, tmp_path)
    spoiled = {
        Engine.CSV: b"id,code,amount,day,at,yes\n1,a,viel,,,\n",
        Engine.JSONL: b'{"id":1,"code":"a","amount":"viel","day":null,"at":null,"yes":null}\n',
    }.get(engine, b"no table at all")
    path.write_bytes(spoiled)
    with open_target(place_at(engine, tmp_path)) as target, pytest.raises(TargetSchemaMismatch):
        write_table(target, "t", COLUMNS, ["id"], as_table(ROWS), batch_id="next")

    assert path.read_bytes() == spoiled


CSV_COLUMNS = (Column(name="姓名", type=LogicalType.TEXT), Column(name="备注", type=LogicalType.TEXT))


@pytest.mark.parametrize(
    ("options", "begins"),
    [
        ({}, '"姓名","备注"'.encode()),
        ({"bom": True}, "\ufeff".encode()),
        ({"encoding": "gb18030"}, '"姓名","备注"'.encode("gb18030")),
        ({"encoding": "gb18030", "bom": True, "delimiter": "\t"}, '\ufeff"姓名"\t"备注"'.encode("gb18030")),
        ({"delimiter": "|"}, '"姓名"|"备注"'.encode()),
    ],
)
def test_csv_is_written_and_read_as_its_options_say(options: dict[str, Any], begins: bytes, tmp_path: Path) -> None:
    rows = pa.table({"姓名": ["𠮷田", "", None, "𰻝"], "备注": ['a"b,c|d\te', "多行\r\n文本", "\ufeff", "👨‍👩‍👧"]})
    place = place_at(Engine.CSV, tmp_path, **options)
    with open_target(place) as target, open_source(place) as source:
        write_table(target, "t", CSV_COLUMNS, [], rows)
        counts = write_table(target, "t", CSV_COLUMNS, ["备注"], rows, batch_id="again", delivery=Delivery.UPSERT)

        assert read_table(source, "t", CSV_COLUMNS).to_pylist() == rows.to_pylist()
    assert (counts.unchanged, counts.target_rows) == (4, 4)
    assert (tmp_path / "t.csv").read_bytes().startswith(begins)


@pytest.mark.parametrize(
    "options", [{"encoding": "utf-16"}, {"delimiter": ""}, {"delimiter": '"'}, {"delimiter": "，"}]
)
def test_an_option_of_csv_that_makes_no_sense_is_named(options: dict[str, Any], tmp_path: Path) -> None:
    for opened in (open_source, open_target):
        with pytest.raises(ConnectionOptionWrong) as caught:
            opened(place_at(Engine.CSV, tmp_path, **options))
        assert caught.value.details == {"option": next(iter(options))}


def test_a_file_that_is_not_in_the_encoding_that_was_named_is_refused(tmp_path: Path) -> None:
    from jinqiao.dataplane.errors import FileNotReadable

    (tmp_path / "t.csv").write_bytes("姓名\n张三\n".encode("gb18030"))
    with open_source(place_at(Engine.CSV, tmp_path, encoding="utf-8")) as source, pytest.raises(FileNotReadable):
        source.schema("t")


def test_truth_in_the_words_of_departments_arrives_as_truth(tmp_path: Path) -> None:
    words = ["Y", "n", "是", "否", "T", "F", "1", "0", "真", "假", "yes", "NO"]
    (tmp_path / "t.csv").write_text(
        "id,yes\n" + "".join(f"{at},{word}\n" for at, word in enumerate(words)), encoding="utf-8"
    )
    with open_source(place_at(Engine.CSV, tmp_path)) as source:
        found = read_table(source, "t", (COLUMNS[0], COLUMNS[5])).column("yes").to_pylist()

    assert found == [True, False] * 6
