"""A node's answer to an order is believed only after it has been verified: manifest, relay, receipt, signature, counts.

"Succeeded" is never said without reconciliation: what the target took is what was sent, and both sides signed the same bytes.
"""

import base64
import binascii

from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import command_node
from jinqiao.exchange.actions.platform import node_actor, platform_identity, public_identity
from jinqiao.exchange.actions.runs import FAILURE, discard, fail_run, move_run, problem_of
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.errors import (
    ChunksMissing,
    ColumnsBeyondGrant,
    CountsDiffer,
    ManifestWrong,
    ReceiptSignatureWrong,
    ReceiptWrong,
    TargetChanged,
)
from jinqiao.exchange.models import ExchangeReceipt, Node, NodeCommand, RelayChunk, Run
from jinqiao.exchange.queries.runs import order_of
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    CommandKind,
    CommandResult,
    CopyMode,
    DeliveryCounts,
    ExchangeOrder,
    Problem,
    Receipt,
)
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.digests import batch_digest
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing.actions import mark_provided
from jinqiao.workflow import actions as workflow

_STATE_OF = {CommandKind.EXTRACT: RunState.EXTRACTING, CommandKind.DELIVER: RunState.DELIVERING}


def take_answer(run: Run, command: NodeCommand, result: CommandResult) -> None:
    """Move the run on, or let it fail with what is wrong. The caller holds the locks; late answers change nothing."""
    kind = CommandKind(command.kind)
    if run.state != _STATE_OF[kind]:
        return
    run.seconds = {**run.seconds, **{name: round(value, 3) for name, value in result.seconds.items()}}
    if result.problem is not None or not result.ok:
        fail_run(
            run,
            result.problem or Problem(code="exchange.run.answer_wrong", details={"node": command.node.number}),
            at=command.node,
        )
        return
    try:
        if kind is CommandKind.EXTRACT:
            _handed_over(run, command.node, result)
        else:
            _delivered(run, command.node, result)
    except JinqiaoError as error:
        fail_run(run, problem_of(error), at=command.node)


def _handed_over(run: Run, node: Node, result: CommandResult) -> None:
    """The provider's node has staged and uploaded the batch and signed for it: the consumer's node may fetch it."""
    rules.check_is_live(run.task.grant)
    order = order_of(run)
    target = run.task.target
    if target is None or target.node.number != order.consumer_node or run.task.target_table != order.target_table:
        raise TargetChanged(task=run.task.number)
    manifest = result.manifest
    if manifest is None:
        raise ManifestWrong(node=node.number, reason="missing")
    check_manifest(order, manifest, node)
    expected = receipt_of(order, manifest)
    signature = _checked_signature(node, expected, result)
    _check_relay(run, manifest)
    move_run(run, RunState.DELIVERING)
    run.manifest = manifest.to_json()
    run.rows, run.rows_quarantined = manifest.rows, manifest.rows_quarantined
    run.save()
    consumer_node = Node.objects.get(number=order.consumer_node)
    ExchangeReceipt.objects.update_or_create(
        run=run,
        defaults={
            "body": expected.to_json(),
            "batch_digest": manifest.batch_digest,
            "sender": node,
            "sender_key_id": node.key_id,
            "sender_signature": signature,
            "receiver": consumer_node,
            "receiver_key_id": "",
            "receiver_signature": "",
            "completed_at": None,
        },
    )
    command_node(
        consumer_node,
        CommandKind.DELIVER,
        run=run,
        source=target,
        connection=connection(target),
        order=order,
        manifest=manifest,
        sender_signature=signature,
    )
    trail.record(
        "exchange.run.hand_over",
        by=node_actor(node),
        about=trail.subject(run),
        rows=manifest.rows,
        quarantined=manifest.rows_quarantined,
        chunks=len(manifest.chunks),
    )


def check_manifest(order: ExchangeOrder, manifest: BatchManifest, node: Node) -> None:
    """Raises ManifestWrong, or ColumnsBeyondGrant where the batch has other columns than were granted."""

    def wrong(reason: str) -> ManifestWrong:
        return ManifestWrong(node=node.number, reason=reason)

    if manifest.run_id != order.run_id:
        raise wrong("run_id")
    if manifest.suite != platform_identity().suite:
        raise wrong("suite")
    granted = {item.code for item in order.grant.items}
    if beyond := {column.name for column in manifest.columns} ^ granted:
        raise ColumnsBeyondGrant(columns=", ".join(sorted(beyond)))
    if [chunk.number for chunk in manifest.chunks] != list(range(1, len(manifest.chunks) + 1)):
        raise wrong("chunk numbers")
    if sum(chunk.rows for chunk in manifest.chunks) != manifest.rows:
        raise wrong("rows")
    if manifest.rows_read != manifest.rows + manifest.rows_quarantined:
        raise wrong("rows_read")
    if manifest.rows_quarantined > order.quarantine_limit * manifest.rows_read:
        raise wrong("quarantine")
    if batch_digest((chunk.content_digest for chunk in manifest.chunks), manifest.suite) != manifest.batch_digest:
        raise wrong("batch_digest")


def receipt_of(order: ExchangeOrder, manifest: BatchManifest) -> Receipt:
    """What both sides have to sign."""
    return Receipt(
        run_id=order.run_id,
        batch_id=manifest.batch_id,
        grant_id=order.grant.grant_id,
        provider_node=order.provider_node,
        consumer_node=order.consumer_node,
        rows=manifest.rows,
        batch_digest=manifest.batch_digest,
    )


def _checked_signature(node: Node, expected: Receipt, result: CommandResult) -> str:
    """The node's signature over exactly the expected bytes, as text."""
    if result.receipt is None:
        raise ReceiptWrong(node=node.number, field="receipt")
    told, wanted = result.receipt.to_json(), expected.to_json()
    for name in wanted:
        if told[name] != wanted[name]:
            raise ReceiptWrong(node=node.number, field=name)
    try:
        public_identity(node).verify(expected.canonical(), base64.b64decode(result.receipt_signature, validate=True))
    except (SignatureInvalid, binascii.Error, ValueError) as problem:
        raise ReceiptSignatureWrong(node=node.number) from problem
    return result.receipt_signature


def _check_relay(run: Run, manifest: BatchManifest) -> None:
    """Every chunk of the manifest lies in the relay as it was digested; strays are dropped."""
    there = {chunk.number: (chunk.size_bytes, chunk.digest) for chunk in RelayChunk.objects.filter(run=run)}
    missing = [
        chunk.number for chunk in manifest.chunks if there.get(chunk.number) != (chunk.size_bytes, chunk.digest.lower())
    ]
    if missing:
        raise ChunksMissing(count=len(missing))


def _delivered(run: Run, node: Node, result: CommandResult) -> None:
    """The consumer's node has taken the batch, counted and countersigned: reconcile, complete the receipt, move the cursor."""
    order = order_of(run)
    manifest = BatchManifest.from_json(run.manifest)
    if result.counts is None:
        raise ReceiptWrong(node=node.number, field="counts")
    check_counts(order, manifest, result.counts, node)
    receipt = ExchangeReceipt.objects.select_for_update(of=("self",)).get(run=run)
    signature = _checked_signature(node, Receipt.from_json(receipt.body), result)
    now = moments.now()
    receipt.receiver_key_id, receipt.receiver_signature, receipt.completed_at = node.key_id, signature, now
    receipt.save(update_fields=["receiver_key_id", "receiver_signature", "completed_at"])
    move_run(run, RunState.RECONCILED)
    run.counts = result.counts.to_json()
    run.finished_at = now
    run.save()
    task = run.task
    if order.mode is CopyMode.WATERMARK and manifest.new_cursor:
        task.cursor = manifest.new_cursor
        task.save(update_fields=["cursor"])
    workflow.finish_todos(trail.subject(task), by=None, kinds=[FAILURE])
    mark_provided(task.grant)
    discard(run)
    trail.record(
        "exchange.run.reconcile",
        by=node_actor(node),
        about=trail.subject(run),
        rows=manifest.rows,
        inserted=result.counts.inserted,
        updated=result.counts.updated,
        deleted=result.counts.deleted,
        batch_digest=manifest.batch_digest,
    )


def check_counts(order: ExchangeOrder, manifest: BatchManifest, counts: DeliveryCounts, node: Node) -> None:
    """What the target took is what was sent; after a full copy it holds exactly that. Raises CountsDiffer."""
    taken = counts.inserted + counts.updated + counts.unchanged
    is_whole = order.mode is not CopyMode.FULL or counts.target_rows == manifest.rows
    if counts.received != manifest.rows or taken != manifest.rows or not is_whole:
        raise CountsDiffer(sent=manifest.rows, received=min(counts.received, taken), node=node.number)
