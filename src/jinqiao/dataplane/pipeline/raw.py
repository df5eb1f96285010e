"""The raw path: between two PostgreSQL servers rows that nothing changes travel as they are, in binary COPY.

It is taken where it cannot be told from the other by what arrives: no mask, no transform, no check beside keys that the source
itself holds to be there, every column of the source of a type and size that the granted one holds exactly. But for values that
PostgreSQL alone knows (NaN in a numeric(p,s), infinite dates and times, years before Christ): here they arrive as they are, while
through Arrow, which has no place for them, their rows are set aside.

A watermark run knows delivered rows by the fingerprints of what travels. Where its way changes, what was delivered counts as
unknown, and the rows of one window come once more: that may be where rows are matched by key, and not where they are appended.
"""

from jinqiao.dataplane.connectors.drift import holds_exactly
from jinqiao.dataplane.pipeline.orders import keys_of, value_column
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, ExchangeOrder
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType, Mask, TableSchema


def can_go_raw(order: ExchangeOrder, engine: Engine, schema: TableSchema) -> bool:
    """May the rows of this order travel in the source's own binary form?"""
    if engine is not Engine.POSTGRESQL or order.target_engine is not Engine.POSTGRESQL:
        return False
    if not may_go_raw(order.mode, order.delivery) or order.checks or order.transforms:
        return False
    by_name = {column.name: column for column in schema.columns}
    keys = set(keys_of(order))
    for item in order.grant.items:
        there = by_name.get(item.column)
        if there is None or item.mask is not Mask.NONE or not _same(value_column(item), item.length, there):
            return False
        if item.code in keys and there.nullable:
            return False
    return True


def may_go_raw(mode: CopyMode, delivery: Delivery) -> bool:
    """Is the way of the rows free in this mode?"""
    return mode is CopyMode.FULL or (mode is CopyMode.WATERMARK and delivery is not Delivery.APPEND)


def _same(wanted: Column, length: int | None, there: Column) -> bool:
    if wanted.type is not there.type:
        return False
    if wanted.type is LogicalType.TEXT and length is not None and (there.length is None or there.length > length):
        return False
    return wanted.type is not LogicalType.DECIMAL or holds_exactly(wanted, there)
