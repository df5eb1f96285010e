"""Which modes and deliveries go together, and what an order of each mode must name."""

from jinqiao.dataplane.errors import DeliveryNotPossible, KeyNotGranted, ReloadNotApproved
from jinqiao.dataplane.pipeline.orders import keys_of
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, ExchangeOrder

POSSIBLE: dict[CopyMode, frozenset[Delivery]] = {
    CopyMode.FULL: frozenset(Delivery),
    # a mirror would delete what was only not read; an order that says so is delivered as an upsert
    CopyMode.WATERMARK: frozenset(Delivery) - {Delivery.RELOAD},
    CopyMode.DIFF: frozenset(Delivery) - {Delivery.RELOAD},
    CopyMode.LOG: frozenset(Delivery) - {Delivery.RELOAD},
}
"""RELOAD empties the table: that is right only where every row is on its way."""

_MATCHING = (Delivery.UPSERT, Delivery.HISTORY)


def check_delivery(order: ExchangeOrder) -> None:
    """May this order be carried out?

    Raises DeliveryNotPossible where mode and delivery contradict each other, ReloadNotApproved where a table would be emptied
    without a sign-off, KeyNotGranted where rows have to be matched and nothing granted tells them apart.
    """
    is_possible = order.delivery in POSSIBLE[order.mode]
    if order.until:
        # a window again: what was appended once would stand there twice
        is_possible = is_possible and order.mode is CopyMode.WATERMARK and order.delivery is not Delivery.APPEND
    if not is_possible:
        raise DeliveryNotPossible(run=order.run_id, mode=order.mode.value, delivery=order.delivery.value)
    if order.delivery is Delivery.RELOAD and not order.reload_approval.strip():
        raise ReloadNotApproved(run=order.run_id)
    keys = keys_of(order)
    needs_key = order.mode is not CopyMode.FULL or order.delivery in _MATCHING
    # the log gives keys as the source has them
    made = order.mode is CopyMode.LOG and any(transform.item in keys for transform in order.transforms)
    if made or (needs_key and not keys):
        raise KeyNotGranted(run=order.run_id, keys=", ".join(order.key_columns))
