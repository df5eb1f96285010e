"""The canonical bytes made a column at a time are those that the kernel defines row by row."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings

from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.staging.digests import canonical_rows
from jinqiao.kernel.digests import ContentDigest, row_bytes
from tests.dataplane.connectors.test_round_trips import COLUMNS, NASTY, ROWS, table_of

TYPES = [column.type for column in COLUMNS]


def by_row(rows: pa.Table) -> bytes:
    return b"".join(row_bytes([row[column.name] for column in COLUMNS], TYPES) for row in rows.to_pylist())


def digest_of(rows: pa.Table, suite: str) -> str:
    """As the comparison of contents feeds it, a batch at a time."""
    digest = ContentDigest(suite)
    for batch in rows.to_batches():
        digest.update(bytes(canonical_rows(batch)), batch.num_rows)
    return digest.hexdigest()


@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_both_ways_give_the_same_bytes(rows: list[dict[str, Any]]) -> None:
    table = table_of(rows)

    assert b"".join(bytes(canonical_rows(batch)) for batch in table.to_batches()) == by_row(table)


@pytest.mark.parametrize("suite", ["international", "guomi"])
def test_the_digest_is_that_of_the_kernel_however_the_rows_are_sliced(suite: str) -> None:
    table = table_of(NASTY * 5)
    digest = ContentDigest(suite)
    for row in table.to_pylist():
        digest.add([row[column.name] for column in COLUMNS], TYPES)
    sliced = pa.concat_tables([table.slice(0, 4), table.slice(4, 1), table.slice(5)])

    assert digest_of(table, suite) == digest_of(sliced, suite) == digest.hexdigest()


@pytest.mark.parametrize(
    "number", [1e15, 123456789.0, 1e-4, 9.9e-5, -0.0, 5e-324, 0.1, 1 / 3, 1e22, 100.0, 999999999999999.9]
)
def test_doubles_are_written_as_python_writes_them(number: float) -> None:
    table = pa.Table.from_pylist([{"编号": 1, "double": number}], arrow_schema(COLUMNS))

    assert by_row(table) == bytes(canonical_rows(table.to_batches()[0]))


def test_an_empty_text_is_not_null() -> None:
    schema = arrow_schema(COLUMNS)
    null = pa.Table.from_pylist([{"编号": 1}], schema)
    empty = pa.Table.from_pylist([{"编号": 1, "text": ""}], schema)

    assert digest_of(null, "international") != digest_of(empty, "international")
