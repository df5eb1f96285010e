"""Fingerprints are those of the kernel's canonical rows, and an index of them finds each where it stands."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.staging.fingerprints import (
    FingerprintIndex,
    from_arrow,
    key_fingerprints,
    row_fingerprints,
    to_arrow,
)
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.digests import row_bytes

texts = st.one_of(st.none(), st.text(alphabet="张三\\N\x1f\x1e a", max_size=4))


@pytest.mark.parametrize("suite_name", ["international", "guomi"])
@settings(max_examples=40)
@given(rows=st.lists(st.tuples(st.one_of(st.none(), st.integers(-9, 9)), texts), max_size=6))
def test_a_fingerprint_is_the_beginning_of_the_rows_digest(
    suite_name: str, rows: list[tuple[int | None, str | None]]
) -> None:
    batch = pa.RecordBatch.from_pylist(
        [{"number": number, "text": text} for number, text in rows],
        pa.schema([("number", pa.int64()), ("text", pa.string())]),
    )

    made = to_arrow(row_fingerprints(batch, suite(suite_name)))

    kinds = (LogicalType.INTEGER, LogicalType.TEXT)
    # without the mark that ends a row
    assert made.to_pylist() == [suite(suite_name).digest(row_bytes(row, kinds)[:-1])[:16] for row in rows]


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
