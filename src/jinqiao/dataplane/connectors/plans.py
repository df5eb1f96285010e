"""What a delivery plan means for its target, whatever the engine: what it does to the table, which columns and key that has.

A watermark run never deletes. A key that a batch both brings and deletes is brought.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.errors import (
    AppendMayDouble,
    DeliveryKeyMissing,
    DeliveryNotPossible,
    HistoryColumnTaken,
    ManifestMismatch,
    TargetCannot,
    TargetTableGone,
    TargetTableMissing,
)
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, LedgerPlace
from jinqiao.kernel.contracts.tables import Column, LogicalType

VALID_FROM, VALID_TO = "valid_from", "valid_to"
HISTORY_COLUMNS = (
    Column(name=VALID_FROM, type=LogicalType.DATETIME, nullable=False, comment="本版本起始时间"),
    Column(name=VALID_TO, type=LogicalType.DATETIME, comment="本版本截止时间，空为现行"),
)
_ZONE = ZoneInfo("Asia/Shanghai")  # instants are shown as wall-clock time in China


def delivery_of(plan: DeliveryPlan) -> Delivery:
    """What the batch does to the table: orders of watermark runs may still say mirror."""
    if plan.mode is CopyMode.WATERMARK and plan.delivery is Delivery.MIRROR:
        return Delivery.UPSERT
    return plan.delivery


def replaces_all(plan: DeliveryPlan) -> bool:
    """Does the table hold the batch and nothing else afterwards, without a row being matched?"""
    delivery = delivery_of(plan)
    return delivery is Delivery.RELOAD or (delivery is Delivery.MIRROR and not plan.keys)


def matches_rows(plan: DeliveryPlan) -> bool:
    """Are rows of the batch matched with those of the table by key?"""
    return delivery_of(plan) is not Delivery.APPEND and not replaces_all(plan)


def shows_only(plan: DeliveryPlan) -> bool:
    """Does what the table shows equal the batch afterwards (in a history: the versions that are valid now)?"""
    return plan.mode is CopyMode.FULL and delivery_of(plan) in (Delivery.MIRROR, Delivery.RELOAD, Delivery.HISTORY)


def deletes_keys(plan: DeliveryPlan) -> bool:
    """Are the keys in the chunks of deletes taken out of the table?"""
    return plan.mode in (CopyMode.DIFF, CopyMode.LOG) and delivery_of(plan) in (Delivery.MIRROR, Delivery.HISTORY)


def needs_table(plan: DeliveryPlan) -> bool:
    """Are these changes to what earlier batches have brought? Then a table made for them would lack all the rest."""
    return plan.is_window or plan.mode in (CopyMode.DIFF, CopyMode.LOG)


def refuse_absent(plan: DeliveryPlan) -> None:
    """Of a table that is not there. Raises TargetTableGone, TargetTableMissing, where the plan does not make one."""
    if not plan.create:
        raise TargetTableMissing(table=plan.table)
    if needs_table(plan):
        raise TargetTableGone(table=plan.table)


def is_history(plan: DeliveryPlan) -> bool:
    return plan.delivery is Delivery.HISTORY


def table_columns(plan: DeliveryPlan) -> tuple[Column, ...]:
    """Columns of the target table that the plan needs."""
    return plan.columns + HISTORY_COLUMNS if is_history(plan) else plan.columns


def table_key(plan: DeliveryPlan) -> tuple[str, ...]:
    """Primary key of a target table that is made for the plan. What is appended may come again: no key."""
    if plan.delivery is Delivery.APPEND:
        return ()
    return (*plan.keys, VALID_FROM) if is_history(plan) else plan.keys


def run_key(plan: DeliveryPlan) -> tuple[str, ...]:
    """Columns that tell the rows of the batch apart."""
    return () if plan.delivery is Delivery.APPEND else plan.keys


def key_columns(plan: DeliveryPlan) -> tuple[Column, ...]:
    """Columns of a chunk of deletes, in the order of the key."""
    by_name = {column.name: column for column in plan.columns}
    return tuple(by_name[name] for name in plan.keys)


def version_instant(plan: DeliveryPlan) -> str:
    """Where the versions of this batch begin and older ones end: wall-clock time in China, microseconds."""
    if plan.at is None:
        raise ManifestMismatch(run=plan.run_id, reason="at")
    at: datetime = plan.at.astimezone(_ZONE) if plan.at.tzinfo is not None else plan.at
    return at.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def check_plan(plan: DeliveryPlan) -> None:
    """Raise where the plan contradicts itself: DeliveryNotPossible, DeliveryKeyMissing, HistoryColumnTaken, AppendMayDouble."""
    delivery = delivery_of(plan)
    if delivery is Delivery.RELOAD and plan.mode is not CopyMode.FULL:
        raise DeliveryNotPossible(mode=plan.mode.value, delivery=delivery.value, run=plan.run_id)
    needs_key = delivery in (Delivery.UPSERT, Delivery.HISTORY) or plan.mode is not CopyMode.FULL
    if needs_key and delivery is not Delivery.APPEND and not plan.keys:
        raise DeliveryKeyMissing(delivery=delivery.value, table=plan.table)
    if plan.rows_deleted and not plan.keys:
        raise DeliveryKeyMissing(delivery=delivery.value, table=plan.table)
    if delivery is Delivery.HISTORY:
        version_instant(plan)
        taken = [column.name for column in plan.columns if column.name.lower() in (VALID_FROM, VALID_TO)]
        if taken:
            raise HistoryColumnTaken(table=plan.table, columns=", ".join(taken))
    if delivery is Delivery.APPEND and plan.ledger is LedgerPlace.NODE and not plan.accept_doubles:
        raise AppendMayDouble(table=plan.table)


def check_file_plan(plan: DeliveryPlan, engine: str) -> None:
    """As `check_plan`, for targets that keep no versions and always have their ledger beside the data. Raises TargetCannot."""
    check_plan(plan)
    if is_history(plan):
        raise TargetCannot(engine=engine, delivery=plan.delivery.value)
    if plan.ledger is LedgerPlace.NODE:
        raise TargetCannot(engine=engine, delivery=f"ledger={plan.ledger.value}")
