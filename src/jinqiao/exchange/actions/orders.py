"""The order of one run: what a live grant, a binding and a configured target of the consumer's own amount to."""

from collections.abc import Iterable
from typing import Any

from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import public_identity
from jinqiao.exchange.enums import NetworkZone, NodeState, RunKind, SourceState
from jinqiao.exchange.errors import (
    DeliveryNotFitting,
    KeyNotGranted,
    KeysMissing,
    LogNotPossible,
    NodeNotActive,
    NodeOfAnotherOrganisation,
    ReloadNeedsApproval,
    SourceRetired,
    TargetNotWritable,
    TargetOfAnotherOrganisation,
    TaskNotReady,
    WatermarkMissing,
)
from jinqiao.exchange.models import DataSource, ExchangeTask, Node, Run, SourceLimits
from jinqiao.exchange.queries.terms import BoundTable, binding_of, grant_terms
from jinqiao.kernel.contracts.exchange import (
    CheckRule,
    CopyMode,
    Delivery,
    DriftChoice,
    ExchangeOrder,
    LedgerPlace,
    Reconcile,
    Transform,
    TransformKind,
    Window,
)
from jinqiao.kernel.contracts.tables import Column, Engine, Mask
from jinqiao.sharing.models import Grant

FITTING: dict[CopyMode, tuple[Delivery, ...]] = {
    CopyMode.FULL: (Delivery.MIRROR, Delivery.UPSERT, Delivery.APPEND, Delivery.HISTORY),
    CopyMode.WATERMARK: (Delivery.UPSERT, Delivery.APPEND, Delivery.HISTORY),
    CopyMode.DIFF: (Delivery.MIRROR, Delivery.UPSERT, Delivery.APPEND, Delivery.HISTORY),
    CopyMode.LOG: (Delivery.MIRROR, Delivery.UPSERT, Delivery.APPEND, Delivery.HISTORY),
}
"""Deliveries that a task of a mode may choose, the usual one first. Emptying a table is no standing choice."""
_WITH_CURSOR = (CopyMode.WATERMARK, CopyMode.DIFF, CopyMode.LOG)
_LEFT_ALONE = {Delivery.MIRROR: Delivery.UPSERT, Delivery.RELOAD: Delivery.UPSERT}
"""How a part of the rows is delivered where the whole is mirrored: what is not in the part is left alone."""


def usual_delivery(mode: CopyMode) -> Delivery:
    return FITTING[mode][0]


def check_fitting(mode: CopyMode, delivery: Delivery, ledger: LedgerPlace) -> None:
    """Raises ReloadNeedsApproval, DeliveryNotFitting."""
    if delivery is Delivery.RELOAD:
        raise ReloadNeedsApproval
    if delivery not in FITTING[mode] or (delivery is Delivery.APPEND and ledger is LedgerPlace.NODE):
        raise DeliveryNotFitting(mode=mode.value, delivery=delivery.value)


def merge_keys(
    grant: Grant, table: BoundTable, mode: CopyMode, delivery: Delivery = Delivery.MIRROR
) -> tuple[str, ...]:
    """Key columns of the source that the consumer's table can be merged by: all of them granted and shown as they are (a token
    still tells rows apart, other transforms do not).

    A full copy that replaces, or that only adds, does without them. Raises WatermarkMissing, KeysMissing, KeyNotGranted where rows
    have to be told apart and cannot be.
    """
    binding = table.binding
    made = {one["item"] for one in binding.transforms if one["kind"] != TransformKind.TOKEN}
    shown = {
        table.column(str(item["code"])).name
        for item in grant.items
        if (item.get("mask") or Mask.NONE.value) == Mask.NONE.value and str(item["code"]) not in made
    }
    keys = tuple(binding.key_columns)
    if mode is CopyMode.WATERMARK and (not binding.watermark_column or not keys):
        raise WatermarkMissing
    if mode is CopyMode.FULL and delivery not in (Delivery.UPSERT, Delivery.HISTORY):
        return keys if all(column in shown for column in keys) else ()
    if not keys:
        raise KeysMissing
    for column in keys:
        if column not in shown:
            raise KeyNotGranted(column=column)
    return keys


def check_log(source: DataSource) -> None:
    """Raises LogNotPossible: only PostgreSQL has a log that we read."""
    if source.engine != Engine.POSTGRESQL:
        raise LogNotPossible(source=source.number)


def _usable(node: Node) -> Node:
    if node.state not in (NodeState.ACTIVE, NodeState.SUSPENDED):
        raise NodeNotActive(node=node.number)
    return node


def _present(source: DataSource) -> DataSource:
    if source.state == SourceState.RETIRED:
        raise SourceRetired(source=source.number)
    return source


def may_go_directly(provider_node: Node, consumer_node: Node) -> bool:
    """Chunks go from node to node where the consumer's listens and both stand in one network that is not the internet."""
    same = provider_node.zone == consumer_node.zone != NetworkZone.INTERNET
    return bool(same and consumer_node.url and consumer_node.state == NodeState.ACTIVE)


def stricter(*wishes: Any) -> Any:
    """The least of the limits that somebody has set; None where nobody has."""
    return min((wish for wish in wishes if wish is not None), default=None)


def run_terms(task: ExchangeTask, run: Run | None) -> tuple[CopyMode, Delivery]:
    """Mode and delivery of a run of this kind: a window and corrected rows are parts, which delete nothing."""
    mode, delivery = CopyMode(task.mode), Delivery(task.delivery)
    kind = RunKind(run.kind) if run else RunKind.ORDINARY
    if kind in (RunKind.BACKFILL, RunKind.REPLAY):
        return CopyMode.WATERMARK, _LEFT_ALONE.get(delivery, delivery)
    if kind is RunKind.RELOAD:
        return CopyMode.FULL, Delivery.RELOAD
    if kind is RunKind.RESUBMIT:
        return CopyMode.FULL, _LEFT_ALONE.get(delivery, delivery)
    return mode, delivery


def build_order(task: ExchangeTask, number: str, run: Run | None = None) -> ExchangeOrder:
    """Everything is looked up anew for each run; nothing that is not granted now gets in.

    `run` tells of a window, a reload, a resubmission; None is an ordinary run, or a comparison of that `number`.
    Raises GrantNotLive, BindingMissing, TaskNotReady, TargetOfAnotherOrganisation, SourceRetired and what `merge_keys` and
    `grant_terms` do.
    """
    grant = task.grant
    rules.check_is_live(grant)
    binding = binding_of(grant)
    source = _present(binding.source)
    if source.organisation_id != grant.provider_id or source.node.organisation_id != grant.provider_id:
        raise NodeOfAnotherOrganisation(node=source.node.number)
    target = task.target
    if target is None or not task.target_table:
        raise TaskNotReady(task=task.number)
    if target.organisation_id != grant.consumer_id or target.node.organisation_id != grant.consumer_id:
        raise TargetOfAnotherOrganisation(source=target.number)
    if not _present(target).is_writable:
        raise TargetNotWritable(source=target.number)
    table = BoundTable.of(binding)
    terms = grant_terms(grant, table)
    mode, delivery = run_terms(task, run)
    if mode is CopyMode.LOG:
        check_log(source)
    codes = {item.code for item in terms.items}
    provider_node, consumer_node = _usable(source.node), _usable(target.node)
    limits = SourceLimits.objects.filter(source=source).first()
    is_window = run is not None and bool(run.window_until)
    after = run.window_since if run is not None and is_window else task.cursor if mode in _WITH_CURSOR else ""
    approval = run.reload_approval if run is not None else None
    return ExchangeOrder(
        run_id=number,
        task_id=task.number,
        grant=terms,
        mode=mode,
        provider_node=provider_node.number,
        consumer_node=consumer_node.number,
        provider_identity=public_identity(provider_node).to_json(),
        consumer_identity=public_identity(consumer_node).to_json(),
        source_table=binding.table,
        key_columns=merge_keys(grant, table, mode, delivery),
        watermark_column=binding.watermark_column if mode is CopyMode.WATERMARK else "",
        after=after,
        overlap_s=task.overlap_s if mode is CopyMode.WATERMARK and not is_window else 0,
        until=run.window_until if run is not None and is_window else "",
        target_table=task.target_table,
        create_target=task.create_target,
        chunk_rows=task.chunk_rows,
        checks=tuple(rule for rule in map(CheckRule.from_json, task.checks) if rule.item in codes),
        quarantine_limit=task.quarantine_limit,
        delivery=delivery,
        transforms=_transforms(binding.transforms, codes),
        target_names={code: name for code, name in task.target_names.items() if code in codes and name != code},
        target_engine=Engine(target.engine),
        drift=DriftChoice(task.drift),
        expected_columns=tuple(map(Column.from_json, task.expected_columns)),
        ledger=LedgerPlace(task.ledger),
        reconcile=Reconcile(task.reconcile),
        reload_approval=approval.number if approval is not None else "",
        slot=task.slot if mode is CopyMode.LOG else "",
        consumer_url=consumer_node.url if may_go_directly(provider_node, consumer_node) else "",
        **_protection(task, limits),
    )


def _transforms(given: Iterable[dict[str, Any]], codes: set[str]) -> tuple[Transform, ...]:
    return tuple(transform for transform in map(Transform.from_json, given) if transform.item in codes)


def _protection(task: ExchangeTask, limits: SourceLimits | None) -> dict[str, Any]:
    """The provider's limits and the consumer's wishes, the stricter of both."""
    if limits is None:
        return {"rows_per_s": task.rows_per_s, "mb_per_s": task.mb_per_s}
    return {
        "rows_per_s": stricter(task.rows_per_s, limits.rows_per_s),
        "mb_per_s": stricter(task.mb_per_s, limits.mb_per_s),
        "windows": tuple(map(Window.from_json, limits.windows)),
        "parallel": limits.parallel,
        "statement_timeout_s": limits.statement_timeout_s,
    }
