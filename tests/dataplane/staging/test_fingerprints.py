"""Fingerprints tell rows apart as the kernel's canonical rows do, and an index of them finds each where it stands."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.staging.digests import logical_type
from jinqiao.dataplane.staging.fingerprints import (
    FingerprintIndex,
    from_arrow,
    key_fingerprints,
    row_fingerprints,
    row_octets,
    to_arrow,
)
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.digests import row_bytes

SCHEMA = pa.schema(
    [
        ("number", pa.int64()), ("text", pa.string()), ("more", pa.string()), ("octets", pa.binary()), ("share", pa.float64()),
        ("amount", pa.decimal128(6, 2)), ("is_open", pa.bool_()), ("day", pa.date32()), ("at", pa.timestamp("us")),
    ]
)  # fmt: skip
# so few values that rows meet, and such that one could be taken for another
texts = st.text(alphabet="张\\N\x1f\x1e\x00", max_size=2)
values = st.tuples(
    st.integers(-1, 1), texts, texts, st.binary(max_size=1), st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]),
    st.sampled_from([Decimal("0.00"), Decimal("-1.50"), Decimal("1.50")]), st.booleans(),
    st.sampled_from([date(1970, 1, 1), date(1899, 12, 31)]),
    st.sampled_from([datetime(1970, 1, 1), datetime(2101, 2, 3, 4, 5, 6, 7)]),  # noqa: DTZ001 -- wall-clock time
)  # fmt: skip
rows_of = st.tuples(values, st.sets(st.integers(0, 8))).map(
    lambda made: tuple(None if at in made[1] else value for at, value in enumerate(made[0]))
)


def batch_of(rows: list[tuple[object, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


@given(rows=st.lists(rows_of, min_size=1, max_size=8), changed=st.integers(0, 8))
def test_two_rows_have_one_fingerprint_exactly_where_their_canonical_bytes_are_the_same(
    rows: list[tuple[object, ...]], changed: int
) -> None:
    rows = [*rows, *(tuple(None if at == changed else value for at, value in enumerate(row)) for row in rows)]
    batch = batch_of(rows)
    kinds = tuple(logical_type(field.type) for field in SCHEMA)
    canonical = [row_bytes(row, kinds) for row in rows]

    prints = to_arrow(row_fingerprints(batch, suite("international"))).to_pylist()

    assert [prints.index(one) for one in prints] == [canonical.index(one) for one in canonical]


@pytest.mark.parametrize("suite_name", ["international", "guomi"])
@settings(max_examples=30)
@given(rows=st.lists(rows_of, min_size=1, max_size=8), data=st.data())
def test_a_rows_fingerprint_is_its_own_whatever_stands_around_it(
    suite_name: str, rows: list[tuple[object, ...]], data: st.DataObject
) -> None:
    at, algorithms = data.draw(st.integers(0, len(rows) - 1)), suite(suite_name)
    whole = row_fingerprints(batch_of(rows), algorithms)

    assert (row_fingerprints(batch_of(rows).slice(at, 1), algorithms) == whole[at : at + 1]).all()
    assert (row_fingerprints(batch_of(rows[at : at + 1]), algorithms) == whole[at : at + 1]).all()


def test_a_fingerprint_is_the_beginning_of_the_digest_of_a_rows_octets() -> None:
    batch = batch_of([(1, "张", None, b"", 0.5, Decimal("1.50"), True, date(2026, 1, 2), None)] * 2)
    octets, ends = row_octets(batch)

    made = to_arrow(row_fingerprints(batch, suite("guomi"))).to_pylist()

    assert made == [suite("guomi").digest(octets[: ends[1]])[:16]] * 2


def test_more_rows_than_are_worked_at_a_time_keep_their_order() -> None:
    algorithms, batch = suite("international"), pa.record_batch({"text": [f"王{number}" for number in range(10_000)]})
    whole = row_fingerprints(batch, algorithms)

    assert (whole[9_000:9_010] == row_fingerprints(batch.slice(9_000, 10), algorithms)).all()
    assert len(np.unique(whole, axis=0)) == 10_000


def test_a_whole_number_as_a_key_is_its_own_fingerprint_and_null_is_no_number() -> None:
    keys = pa.record_batch({"id": pa.array([0, None, -1, 1 << 62], pa.int64())})

    made = key_fingerprints(keys, suite("international"))

    assert len(np.unique(made, axis=0)) == 4
    assert (from_arrow(to_arrow(made)) == made).all()


halves = st.integers(0, 3)  # so few that the first halves meet often
pairs = st.lists(st.tuples(halves, halves), max_size=30)


@given(known=st.lists(st.tuples(halves, halves), max_size=16, unique=True), wanted=pairs)
def test_an_index_finds_what_is_there_and_nothing_else(
    known: list[tuple[int, int]], wanted: list[tuple[int, int]]
) -> None:
    index = FingerprintIndex(np.array(known, np.uint64).reshape(-1, 2))

    found = index.find(np.array(wanted, np.uint64).reshape(-1, 2))

    assert [None if place < 0 else known[index.order[place]] for place in found] == [
        one if one in known else None for one in wanted
    ]


@given(pairs)
def test_an_index_counts_what_stands_there_again(given_: list[tuple[int, int]]) -> None:
    assert FingerprintIndex(np.array(given_, np.uint64).reshape(-1, 2)).repeated() == len(given_) - len(set(given_))
