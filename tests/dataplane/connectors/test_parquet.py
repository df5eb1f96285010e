"""Parquet as other programs write it: each of its types arrives as ours or is refused value by value."""

import uuid
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jinqiao.dataplane.connectors import ReadPlan, open_source, open_target
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import FileNotReadable, TargetSchemaMismatch
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from tests.dataplane.exchanges import read_table, write_table

K = LogicalType


def parquet_at(folder: Path) -> Connection:
    return Connection(engine=Engine.PARQUET, database=str(folder))


def at(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


KINDS: list[tuple[pa.DataType, Any, LogicalType, Any]] = [
    (pa.int8(), -128, K.INTEGER, -128),
    (pa.uint32(), 2**32 - 1, K.INTEGER, 2**32 - 1),
    (pa.uint64(), 2**64 - 1, K.DECIMAL, Decimal(2**64 - 1)),
    (pa.float16(), 0.5, K.DOUBLE, 0.5),
    (pa.float32(), 0.5, K.DOUBLE, 0.5),
    (pa.decimal128(38, 10), Decimal("-1.0000000001"), K.DECIMAL, Decimal("-1.0000000001")),
    (pa.decimal256(60, 5), Decimal("1" * 40 + ".50000"), K.TEXT, "1" * 40 + ".50000"),
    (pa.date32(), date(1, 1, 1), K.DATE, date(1, 1, 1)),
    (pa.date64(), date(9999, 12, 31), K.DATE, date(9999, 12, 31)),
    (pa.timestamp("ms"), at(2026, 1, 1, 8), K.DATETIME, at(2026, 1, 1, 8)),
    (pa.timestamp("us", "UTC"), at(2026, 1, 1, 16, 0, 0, 1), K.DATETIME, at(2026, 1, 2, 0, 0, 0, 1)),
    (pa.timestamp("ns", "America/New_York"), at(2026, 7, 1), K.DATETIME, at(2026, 7, 1, 8)),
    (pa.time64("us"), time(8, 5), K.TEXT, "08:05:00.000000"),
    (pa.large_string(), "汉", K.TEXT, "汉"),
    (pa.dictionary(pa.int32(), pa.string()), "汉", K.TEXT, "汉"),
    (pa.binary(2), b"\x00\xff", K.BINARY, b"\x00\xff"),
    (pa.large_binary(), b"", K.BINARY, b""),
    (pa.uuid(), uuid.UUID(int=1).bytes, K.TEXT, str(uuid.UUID(int=1))),
    (pa.list_(pa.decimal128(5, 2)), [Decimal("1.50"), None], K.TEXT, '["1.50", null]'),
    (
        pa.struct([("名", pa.string()), ("b", pa.binary())]),
        {"名": "汉", "b": b"\x01"},
        K.TEXT,
        '{"名": "汉", "b": "01"}',
    ),
    (pa.null(), None, K.TEXT, None),
]


@pytest.mark.parametrize(("stored", "value", "kind", "shown"), KINDS, ids=[str(stored) for stored, *_ in KINDS])
def test_every_type_arrives_as_one_of_ours(
    tmp_path: Path, stored: pa.DataType, value: Any, kind: LogicalType, shown: Any
) -> None:
    pq.write_table(pa.table({"a.b": pa.array([value, None], stored)}), tmp_path / "t.parquet", store_schema=True)

    with open_source(parquet_at(tmp_path)) as source:
        schema = source.schema("t")
        found = read_table(source, "t", schema.columns).to_pylist()

    assert (schema.columns[0].type, schema.row_estimate) == (kind, 2)
    assert found == [{"a.b": shown}, {"a.b": None}]


def test_nanoseconds_that_microseconds_cannot_hold_fit_nothing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([1_000, 1_001], pa.timestamp("ns"))}), tmp_path / "t.parquet")
    with open_source(parquet_at(tmp_path)) as source:
        (batch,) = source.read(ReadPlan(table="t", columns=("t",)))

    bad = fit(batch.column("t"), pa.timestamp("us")).bad
    assert bad is not None
    assert bad.tolist() == [False, True]


def test_a_damaged_file_and_equal_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), tmp_path / "b.parquet")
    for name, state in (("a", "parquet"), ("b", "header")):
        with open_source(parquet_at(tmp_path)) as source, pytest.raises(FileNotReadable) as caught:
            source.schema(name)
        assert caught.value.details["state"] == state


def test_what_the_columns_mean_stands_in_the_file(tmp_path: Path) -> None:
    columns = (
        Column(name="id", type=K.INTEGER, nullable=False, primary_key=True, comment="编号"),
        Column(name="name", type=K.TEXT, length=20, comment="姓名"),
        Column(name="money", type=K.DECIMAL, precision=12, scale=2),
    )
    rows = pa.table({"id": [1], "name": ["张三"], "money": pa.array([Decimal("1.50")], pa.decimal128(12, 2))})
    with open_target(parquet_at(tmp_path)) as target, open_source(parquet_at(tmp_path)) as source:
        write_table(target, "t", columns, ["id"], rows)
        made = source.schema("t").columns
        with pytest.raises(TargetSchemaMismatch):
            write_table(target, "t", columns[:2], ["id"], rows.select(["id", "name"]), batch_id="t.2")

    assert [(c.name, c.type, c.length, c.precision, c.scale, c.primary_key, c.comment, c.nullable) for c in made] == [
        (c.name, c.type, c.length, c.precision, c.scale, c.primary_key, c.comment, c.nullable) for c in columns
    ]
