"""What an order means: columns, keys and the beginning of a watermark run."""

from dataclasses import replace

import pytest

from jinqiao.dataplane.errors import KeyNotGranted, OrderNotPossible, WatermarkNotUsable
from jinqiao.dataplane.pipeline.orders import item_column, keys_of, target_columns, watermark_of
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, LogicalType, Mask, TableSchema
from tests.dataplane.exchanges import PEOPLE, order


def test_keys_are_items_named_by_their_code() -> None:
    items = [replace(PEOPLE[0], code="bianhao"), *PEOPLE[1:]]

    assert keys_of(order(items=items)) == ("bianhao",)
    assert [column.name for column in target_columns(order(items=items)) if column.primary_key] == ["bianhao"]


@pytest.mark.parametrize("items", [PEOPLE[1:], [replace(PEOPLE[0], mask=Mask.HIDDEN), *PEOPLE[1:]]])
def test_a_key_that_is_not_granted_openly_matches_nothing(items: list[GrantedItem]) -> None:
    assert keys_of(order(items=items)) == ()
    with pytest.raises(KeyNotGranted):
        keys_of(order(items=items, mode=CopyMode.WATERMARK, watermark_column="updated"))


def test_what_is_masked_is_text() -> None:
    item = GrantedItem(item="号码", code="n", column="n", type=LogicalType.INTEGER, mask=Mask.HIDDEN)

    assert item_column(item).type is LogicalType.TEXT
    assert item_column(replace(item, type=LogicalType.TEXT, length=1)).length == 3


def test_two_items_with_one_code_are_refused() -> None:
    with pytest.raises(OrderNotPossible):
        target_columns(order(items=[PEOPLE[0], replace(PEOPLE[1], code="id")]))
    with pytest.raises(OrderNotPossible):
        target_columns(order(items=[], key_columns=()))


@pytest.mark.parametrize(
    ("name", "type_"), [("", LogicalType.DATE), ("w", LogicalType.TEXT), ("w", LogicalType.DOUBLE)]
)
def test_a_watermark_must_order_rows(name: str, type_: LogicalType) -> None:
    schema = TableSchema(name="people", columns=(Column(name="w", type=type_),))

    with pytest.raises(WatermarkNotUsable):
        watermark_of(order(mode=CopyMode.WATERMARK, watermark_column=name), schema)
