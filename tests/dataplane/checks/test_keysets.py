"""A set of ten bytes a value answers as a Python set does, whatever the type, the batches and where it is kept."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.checks import keysets
from jinqiao.dataplane.checks.keysets import Fingerprinter, KeySet

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["", "\0", "\0\0", "a", "a\0", "张三"]
)


def expected(batches: list[list[Any]]) -> list[list[bool]]:
    seen: set[Any] = set()
    found = []
    for batch in batches:
        marks = []
        for value in batch:
            marks.append(value is not None and value in seen)
            seen.add(value)
        found.append(marks)
    return found


def answers(batches: list[list[Any]], type_: pa.DataType, memory_values: int = 100) -> list[list[bool]]:
    prints, seen = Fingerprinter(), KeySet(memory_values)
    found = []
    for batch in batches:
        marks = np.zeros(len(batch), np.bool_)
        made = prints([pa.array([None, *batch], type_).slice(1)])
        marks[made.rows] = seen.add(made)
        assert seen.has(made).all()
        found.append(marks.tolist())
    return found


@given(st.lists(st.lists(st.none() | KEYS, max_size=12), max_size=6))
@settings(max_examples=60)
def test_texts_are_told_apart_as_python_does(batches: list[list[str | None]]) -> None:
    assert answers(batches, pa.string()) == expected(batches)


@given(st.lists(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3), max_size=12), max_size=6))
@settings(max_examples=40)
def test_whole_numbers_are_told_apart_as_python_does(batches: list[list[int | None]]) -> None:
    assert answers(batches, pa.int64()) == expected(batches)


@pytest.mark.parametrize("memory_values", [1, 10**9])
def test_many_values_are_settled_and_still_known(monkeypatch: pytest.MonkeyPatch, memory_values: int) -> None:
    monkeypatch.setattr(keysets, "_RECENT_LEAST", 500)
    prints, seen = Fingerprinter(), KeySet(memory_values)
    numbers = np.random.default_rng(7).permutation(20_000)
    for start in range(0, len(numbers), 700):
        assert not seen.add(prints([pa.array(numbers[start : start + 700])])).any()

    assert len(seen) == 20_000
    assert seen.has(prints([pa.array(numbers)])).all()
    assert not seen.has(prints([pa.array(numbers + 20_000)])).any()
    assert seen.add(prints([pa.array(numbers[:50])])).all()


def test_values_together_are_one_key_and_a_null_leaves_the_row_out() -> None:
    prints, seen = Fingerprinter(2), KeySet()
    made = prints([pa.array(["a", "ab", "a", "a", None]), pa.array(["bc", "c", "bc", None, "bc"])])

    assert made.rows.tolist() == [0, 1, 2]
    assert seen.add(made).tolist() == [False, False, True]


def test_very_long_texts_are_keys_too() -> None:
    prints, seen = Fingerprinter(), KeySet()
    long = "长" * 5_000

    assert seen.add(prints([pa.array([long + "a", long + "b", long + "a"])])).tolist() == [False, False, True]
