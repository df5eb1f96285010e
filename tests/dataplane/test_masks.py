"""Masks of one value and of a column give the same, and never show more than their window."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.masks import HIDDEN, mask_array, mask_text
from jinqiao.kernel.contracts.tables import Mask

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=24)


@pytest.mark.parametrize(
    ("mask", "value", "shown"),
    [
        (Mask.NONE, "张小明", "张小明"),
        (Mask.NAME, "张小明", "张**"),
        (Mask.NAME, "张", "*"),
        (Mask.NAME, "", ""),
        (Mask.NAME, "𠮷田", "𠮷*"),
        (Mask.PHONE, "13812345678", "138****5678"),
        (Mask.PHONE, "8212345", HIDDEN),
        (Mask.IDENTITY_NUMBER, "620302199001010015", "620302********0015"),
        (Mask.IDENTITY_NUMBER, "6203021990", HIDDEN),
        (Mask.HIDDEN, "x", HIDDEN),
    ],
)
def test_a_value_is_shown_through_its_window(mask: Mask, value: str, shown: str) -> None:
    assert mask_text(value, mask) == shown


@given(values=st.lists(TEXTS), mask=st.sampled_from(list(Mask)))
def test_a_column_is_masked_as_its_values_are(values: list[str | None], mask: Mask) -> None:
    masked = mask_array(pa.array(values, pa.string()), mask)

    assert masked.to_pylist() == [mask_text(value, mask) for value in values]


@pytest.mark.parametrize("mask", [mask for mask in Mask if mask is not Mask.NONE])
def test_what_is_no_text_is_hidden_whole(mask: Mask) -> None:
    assert mask_array(pa.array([19900101, None], pa.int64()), mask).to_pylist() == [HIDDEN, None]


@given(
    values=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("张é𠮷a"), max_size=6), max_size=8
    ),
    skipped=st.integers(0, 3),
)
def test_a_column_of_names_without_gaps_is_masked_as_its_values_are(values: list[str], skipped: int) -> None:
    column = pa.array(values, pa.string()).slice(skipped)
    masked = mask_array(column, Mask.NAME)

    masked.validate(full=True)
    assert masked.to_pylist() == [mask_text(value, Mask.NAME) for value in values[skipped:]]


@given(
    values=st.integers(0, 20).flatmap(
        lambda size: st.lists(st.text("0123456789Xé五", min_size=size, max_size=size), max_size=6)
    ),
    mask=st.sampled_from(list(Mask)),
    skipped=st.integers(0, 3),
)
def test_a_column_of_values_of_one_length_is_masked_as_its_values_are(
    values: list[str], mask: Mask, skipped: int
) -> None:
    column = pa.array(values, pa.string()).slice(skipped)

    assert mask_array(column, mask).to_pylist() == [mask_text(value, mask) for value in values[skipped:]]
