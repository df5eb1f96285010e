"""What an order means for the rows: columns of the target, keys, where a watermark run begins. Same on both sides."""

from jinqiao.dataplane.connectors.base import select_columns
from jinqiao.dataplane.errors import KeyNotGranted, OrderNotPossible, WatermarkNotUsable
from jinqiao.kernel.contracts.exchange import BatchManifest, CopyMode, Delivery, ExchangeOrder, TransformKind
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, LogicalType, Mask, TableSchema

MARK = "#"
WATERMARKS = (LogicalType.INTEGER, LogicalType.DATE, LogicalType.DATETIME)
_HIDDEN_LENGTH = 3


def item_column(item: GrantedItem, *, key: bool = False, name: str = "") -> Column:
    """A granted item as a column of the target, `name` where the consumer calls it otherwise. What is masked is text."""
    masked = item.mask is not Mask.NONE
    length = item.length if item.type is LogicalType.TEXT else None
    return Column(
        name=name or item.code,
        type=LogicalType.TEXT if masked else item.type,
        nullable=not key,
        length=max(length, _HIDDEN_LENGTH) if masked and length else length,
        precision=None if masked else item.precision,
        scale=None if masked else item.scale,
        primary_key=key,
        comment=item.item,
    )


def value_column(item: GrantedItem) -> Column:
    """A granted item before it is masked: the type that its values must fit."""
    return Column(name=item.code, type=item.type, precision=item.precision, scale=item.scale)


def keys_of(order: ExchangeOrder) -> tuple[str, ...]:
    """Codes of the items that match rows at the target, in the order of the key.

    Empty when the key is not granted whole, or masked, or made into something else (a token still tells rows apart): then
    nothing in the target tells rows apart, and a full run replaces them all. Raises KeyNotGranted for a watermark run without a key.
    """
    made = {transform.item for transform in order.transforms if transform.kind is not TransformKind.TOKEN}
    by_column = {
        item.column: item.code
        for item in reversed(order.grant.items)
        if item.mask is Mask.NONE and not made & {item.code, item.item}
    }
    keys = tuple(by_column[column] for column in order.key_columns if column in by_column)
    if len(keys) != len(order.key_columns):
        keys = ()
    if order.mode is CopyMode.WATERMARK and not keys:
        raise KeyNotGranted(run=order.run_id, keys=", ".join(order.key_columns))
    return keys


def target_columns(order: ExchangeOrder) -> tuple[Column, ...]:
    """Columns of the target table. Raises OrderNotPossible where two items have the same code, or there is none."""
    codes = [item.code for item in order.grant.items]
    names = [order.target_names.get(code, code) for code in codes]
    if not codes or len(set(codes)) != len(codes) or len(set(names)) != len(names):
        raise OrderNotPossible(run=order.run_id)
    keys = keys_of(order)
    return tuple(
        item_column(item, key=item.code in keys, name=name) for item, name in zip(order.grant.items, names, strict=True)
    )


def target_keys(order: ExchangeOrder) -> tuple[str, ...]:
    """Columns of the target by which rows are matched, in the order of the key."""
    return tuple(order.target_names.get(code, code) for code in keys_of(order))


def is_whole(order: ExchangeOrder) -> bool:
    """Does every batch of this order hold all the granted rows?"""
    return order.mode is CopyMode.FULL


def delivery_of(order: ExchangeOrder, manifest: BatchManifest) -> tuple[CopyMode, Delivery]:
    """As what the target takes the batch: one that is complete as a full one; a watermark run never deletes."""
    if order.mode is CopyMode.WATERMARK and order.delivery is Delivery.MIRROR:
        return order.mode, Delivery.UPSERT
    return (CopyMode.FULL if manifest.complete else order.mode), order.delivery


def split_cursor(after: str) -> tuple[str, str]:
    """How far a watermark or log run came, and the id of its batch, empty where the cursor does not say."""
    value, _, batch_id = after.partition(MARK)
    return value, batch_id


def join_cursor(value: str, batch_id: str) -> str:
    return f"{value}{MARK}{batch_id}" if value else ""


def last_batch(order: ExchangeOrder) -> str:
    """The batch whose delivery the order's cursor proves; empty where it begins from the beginning, or does not say."""
    return order.after if order.mode is CopyMode.DIFF else split_cursor(order.after)[1]


def goes_on(order: ExchangeOrder) -> bool:
    """Does the batch bring only what is new since the cursor, and rely on all that was delivered before?"""
    return bool(order.after) and not order.until and not is_whole(order)


def watermark_of(order: ExchangeOrder, schema: TableSchema) -> Column | None:
    """The source's watermark column, None in a full run. Raises WatermarkNotUsable where it cannot order rows."""
    if order.mode is not CopyMode.WATERMARK:
        return None
    if not order.watermark_column:
        raise WatermarkNotUsable(run=order.run_id, column="")
    (column,) = select_columns(schema, (order.watermark_column,))
    if column.type not in WATERMARKS:
        raise WatermarkNotUsable(run=order.run_id, column=column.name)
    return column
