"""The order of one run: what a live grant, a binding and a configured target of the consumer's own amount to."""

from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import public_identity
from jinqiao.exchange.enums import NodeState
from jinqiao.exchange.errors import (
    KeyNotGranted,
    NodeNotActive,
    NodeOfAnotherOrganisation,
    TargetNotWritable,
    TargetOfAnotherOrganisation,
    TaskNotReady,
    WatermarkMissing,
)
from jinqiao.exchange.models import ExchangeTask, Node
from jinqiao.exchange.queries.terms import BoundTable, binding_of, grant_terms
from jinqiao.kernel.contracts.exchange import CheckRule, CopyMode, ExchangeOrder
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.sharing.models import Grant


def merge_keys(grant: Grant, table: BoundTable, mode: CopyMode) -> tuple[str, ...]:
    """Key columns of the source that the consumer's table can be merged by: all of them granted and shown unmasked.

    A full copy does without them. Raises WatermarkMissing, KeyNotGranted where an incremental copy cannot.
    """
    binding = table.binding
    shown = {
        table.column(str(item["code"])).name
        for item in grant.items
        if (item.get("mask") or Mask.NONE.value) == Mask.NONE.value
    }
    keys = tuple(binding.key_columns)
    if mode is CopyMode.WATERMARK:
        if not binding.watermark_column or not keys:
            raise WatermarkMissing
        for column in keys:
            if column not in shown:
                raise KeyNotGranted(column=column)
        return keys
    return keys if all(column in shown for column in keys) else ()


def _usable(node: Node) -> Node:
    if node.state not in (NodeState.ACTIVE, NodeState.SUSPENDED):
        raise NodeNotActive(node=node.number)
    return node


def build_order(task: ExchangeTask, run_number: str) -> ExchangeOrder:
    """Everything is looked up anew for each run; nothing that is not granted now gets in.

    Raises GrantNotLive, BindingMissing, TaskNotReady, TargetOfAnotherOrganisation and what `merge_keys` and `grant_terms` do.
    """
    grant = task.grant
    rules.check_is_live(grant)
    binding = binding_of(grant)
    if binding.source.organisation_id != grant.provider_id or binding.source.node.organisation_id != grant.provider_id:
        raise NodeOfAnotherOrganisation(node=binding.source.node.number)
    target = task.target
    if target is None or not task.target_table:
        raise TaskNotReady(task=task.number)
    if target.organisation_id != grant.consumer_id or target.node.organisation_id != grant.consumer_id:
        raise TargetOfAnotherOrganisation(source=target.number)
    if not target.is_writable:
        raise TargetNotWritable(source=target.number)
    table = BoundTable.of(binding)
    terms = grant_terms(grant, table)
    mode = CopyMode(task.mode)
    codes = {item.code for item in terms.items}
    provider_node, consumer_node = _usable(binding.source.node), _usable(target.node)
    return ExchangeOrder(
        run_id=run_number,
        task_id=task.number,
        grant=terms,
        mode=mode,
        provider_node=provider_node.number,
        consumer_node=consumer_node.number,
        provider_identity=public_identity(provider_node).to_json(),
        consumer_identity=public_identity(consumer_node).to_json(),
        source_table=binding.table,
        key_columns=merge_keys(grant, table, mode),
        watermark_column=binding.watermark_column if mode is CopyMode.WATERMARK else "",
        after=task.cursor if mode is CopyMode.WATERMARK else "",
        overlap_s=task.overlap_s if mode is CopyMode.WATERMARK else 0,
        target_table=task.target_table,
        chunk_rows=task.chunk_rows,
        rows_per_s=task.rows_per_s,
        checks=tuple(rule for rule in map(CheckRule.from_json, task.checks) if rule.item in codes),
    )
