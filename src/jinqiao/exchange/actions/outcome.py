"""A node's answer to an order is believed only after it has been verified: manifest, relay, receipt, signature, counts.

"Succeeded" is never said without reconciliation: what the target took is what was sent, and both sides signed the same bytes.
"""

import base64
import binascii
from collections.abc import Collection

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.actions.platform import node_actor, platform_identity, post_to_worker
from jinqiao.exchange.actions.resending import resend_damaged
from jinqiao.exchange.actions.runs import (
    discard,
    fail_run,
    failure_is_over,
    for_consumer,
    move_run,
    problem_of,
    stop_live_run,
)
from jinqiao.exchange.actions.slots import way_of
from jinqiao.exchange.actions.windows import begin_anew
from jinqiao.exchange.connections import place_of
from jinqiao.exchange.enums import CommandState, RunKind, RunState
from jinqiao.exchange.errors import (
    ChunksMissing,
    ColumnsBeyondGrant,
    CountsDiffer,
    ManifestWrong,
    ReceiptSignatureWrong,
    ReceiptWrong,
    TargetChanged,
)
from jinqiao.exchange.models import Binding, ExchangeReceipt, Node, NodeCommand, RelayChunk, Run
from jinqiao.exchange.queries.runs import LIVE, TARGET_RESTORED, order_of
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    ChunkForm,
    ChunkKind,
    CommandKind,
    CommandResult,
    CopyMode,
    Delivery,
    DeliveryCounts,
    ExchangeOrder,
    Problem,
    Receipt,
)
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.digests import batch_digest
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.sharing.actions import mark_provided

_STATE_OF = {
    CommandKind.EXTRACT: RunState.EXTRACTING,
    CommandKind.RESUBMIT: RunState.EXTRACTING,
    CommandKind.DELIVER: RunState.DELIVERING,
}
_PAST_THE_STATE = (RunKind.RELOAD, RunKind.BACKFILL, RunKind.REPLAY)
"""After these the target is no longer what the state of a diff says of it: a row that has been changed back meanwhile would count as
unchanged, and one that is gone again as never delivered."""
_DELIVERING = (CommandKind.DELIVER.value, CommandKind.RESEND.value)


def take_answer(run: Run, command: NodeCommand, result: CommandResult) -> None:
    """Move the run on, or let it fail with what is wrong. The caller holds the locks; late answers change nothing, but for those that
    `came_after_stop`."""
    kind = CommandKind(command.kind)
    if run.state == RunState.STOPPED and kind is CommandKind.DELIVER:
        _delivered_after_all(run, command, result)
        return
    if run.state != _STATE_OF[kind]:
        return
    run.seconds = {**run.seconds, **{name: round(value, 3) for name, value in result.seconds.items()}}
    if result.problem is not None or not result.ok:
        problem = result.problem or Problem(code="exchange.run.answer_wrong", details={"node": command.node.number})
        if problem.code == TARGET_RESTORED:
            _begin_anew(run, command.node)
        if kind is not CommandKind.DELIVER or not resend_damaged(run, problem, at=command.node):
            fail_run(run, problem, at=command.node)
        return
    try:
        if kind is not CommandKind.DELIVER:
            _handed_over(run, command.node, result)
        else:
            _delivered(run, command, result)
    except JinqiaoError as error:
        fail_run(run, problem_of(error), at=command.node)


def came_after_stop(run: Run | None, command: NodeCommand, result: CommandResult) -> bool:
    """Whether a batch was merged before its node heard that the run is stopped: it stands at the target, whatever was wished."""
    if run is None or (run.state, run.attempt) != (RunState.STOPPED, command.attempt):
        return False
    is_cancelled = (command.kind, command.state) == (CommandKind.DELIVER.value, CommandState.CANCELLED)
    return is_cancelled and result.ok and result.problem is None


def _delivered_after_all(run: Run, command: NodeCommand, result: CommandResult) -> None:
    """Reconcile it all the same: who counts it as not delivered delivers it again. A run that has begun meanwhile where that one began
    would append its rows a second time; it is stopped, and begins anew behind them."""
    before = run.task.cursor
    try:
        with transaction.atomic():
            _delivered(run, command, result)
    except JinqiaoError as error:
        trail.record(
            "exchange.run.reconcile",
            by=node_actor(command.node),
            about=trail.subject(run),
            outcome=Outcome.FAILED,
            code=error.code,
        )
        return
    task = run.task
    is_doubled = task.cursor != before and task.delivery == Delivery.APPEND
    if is_doubled and task.runs.filter(state__in=LIVE, kind=RunKind.ORDINARY).exists():
        stop_live_run(task, by=node_actor(command.node), reason=run.number)
        task.is_due, task.due_after = True, None
        task.save(update_fields=["is_due", "due_after"])


def _begin_anew(run: Run, node: Node) -> None:
    """The target was put back to before the delivery that the cursor proves: the order of the retry, or of the next run, brings
    everything, merged into what is there."""
    task, after = run.task, order_of(run).after
    if run.kind != RunKind.ORDINARY or not after or task.cursor != after:
        return
    begin_anew(task, by=node_actor(node), run=run.number, code=TARGET_RESTORED)


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
    sender = PublicIdentity.from_json(order.provider_identity)
    signature = _checked_signature(node, sender, expected, result)
    _check_relay(run, manifest, result.direct if order.consumer_url else ())
    move_run(run, RunState.DELIVERING)
    _keep_manifest(run, manifest)
    run.save()
    consumer_node = Node.objects.get(number=order.consumer_node)
    ExchangeReceipt.objects.update_or_create(
        run=run,
        defaults={
            "body": expected.to_json(),
            "batch_digest": manifest.batch_digest,
            "sender": node,
            "sender_key_id": sender.key_id,
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
        order=for_consumer(order),
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


def _keep_manifest(run: Run, manifest: BatchManifest) -> None:
    run.manifest = manifest.to_json()
    run.rows, run.rows_read, run.rows_quarantined = manifest.rows, manifest.rows_read, manifest.rows_quarantined
    run.rows_deleted, run.resumed = manifest.rows_deleted, manifest.resumed
    run.bytes = sum(chunk.size_bytes for chunk in manifest.chunks)
    run.snapshot, run.readers = manifest.snapshot[:100], min(manifest.readers, 32767)


def check_manifest(order: ExchangeOrder, manifest: BatchManifest, node: Node) -> None:
    """Raises ManifestWrong, or ColumnsBeyondGrant where the batch has other columns than were granted."""

    def wrong(reason: str) -> ManifestWrong:
        return ManifestWrong(node=node.number, reason=reason)

    if manifest.run_id != order.run_id:
        raise wrong("run_id")
    if manifest.suite != platform_identity().suite:
        raise wrong("suite")
    granted = {order.target_names.get(item.code, item.code) for item in order.grant.items}
    if beyond := {column.name for column in manifest.columns} ^ granted:
        raise ColumnsBeyondGrant(columns=", ".join(sorted(beyond)))
    if [chunk.number for chunk in manifest.chunks] != list(range(1, len(manifest.chunks) + 1)):
        raise wrong("chunk numbers")
    if sum(chunk.rows for chunk in manifest.chunks if chunk.kind is ChunkKind.ROWS) != manifest.rows:
        raise wrong("rows")
    deleted = sum(chunk.rows for chunk in manifest.chunks if chunk.kind is ChunkKind.DELETES)
    if deleted != manifest.rows_deleted or (deleted and order.mode not in (CopyMode.DIFF, CopyMode.LOG)):
        raise wrong("rows_deleted")
    if manifest.complete and order.mode is CopyMode.WATERMARK:
        raise wrong("complete")
    if manifest.form is ChunkForm.PGCOPY and order.target_engine is not Engine.POSTGRESQL:
        raise wrong("form")
    kept = manifest.rows + manifest.rows_quarantined  # other modes also read rows that the target has already
    if manifest.rows_read < kept or (order.mode is CopyMode.FULL and manifest.rows_read != kept):
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


def _checked_signature(node: Node, signer: PublicIdentity, expected: Receipt, result: CommandResult) -> str:
    """The node's signature over exactly the expected bytes, as text; with the key that the order names, also where the node has
    another by now."""
    if result.receipt is None:
        raise ReceiptWrong(node=node.number, field="receipt")
    told, wanted = result.receipt.to_json(), expected.to_json()
    for name in wanted:
        if told[name] != wanted[name]:
            raise ReceiptWrong(node=node.number, field=name)
    try:
        signer.verify(expected.canonical(), base64.b64decode(result.receipt_signature, validate=True))
    except (SignatureInvalid, binascii.Error, ValueError) as problem:
        raise ReceiptSignatureWrong(node=node.number) from problem
    return result.receipt_signature


def _check_relay(run: Run, manifest: BatchManifest, direct: Collection[int]) -> None:
    """Every chunk of the manifest lies in the relay as it was digested, or the consumer's node took it itself (`direct`), which
    verifies it before it delivers."""
    there = {chunk.number: (chunk.size_bytes, chunk.digest) for chunk in RelayChunk.objects.filter(run=run)}
    missing = [
        chunk.number
        for chunk in manifest.chunks
        if chunk.number not in direct and there.get(chunk.number) != (chunk.size_bytes, chunk.digest.lower())
    ]
    if missing:
        raise ChunksMissing(count=len(missing))


def _delivered(run: Run, command: NodeCommand, result: CommandResult) -> None:
    """The consumer's node has taken the batch, counted and countersigned: reconcile, complete the receipt, move the cursor."""
    order, node = order_of(run), command.node
    manifest = BatchManifest.from_json(run.manifest)
    if result.counts is None:
        raise ReceiptWrong(node=node.number, field="counts")
    check_counts(order, manifest, result.counts, node)
    receipt = ExchangeReceipt.objects.select_for_update(of=("self",)).get(run=run)
    receiver = PublicIdentity.from_json(order.consumer_identity)
    signature = _checked_signature(node, receiver, Receipt.from_json(receipt.body), result)
    now = moments.now()
    receipt.receiver_key_id, receipt.receiver_signature, receipt.completed_at = receiver.key_id, signature, now
    receipt.save(update_fields=["receiver_key_id", "receiver_signature", "completed_at"])
    move_run(run, RunState.RECONCILED)
    run.counts = result.counts.to_json()
    run.finished_at = now
    run.save()
    run.commands.filter(state__in=OPEN, kind__in=_DELIVERING).update(state=CommandState.CANCELLED, finished_at=now)
    task = run.task
    if manifest.new_cursor and _goes_on_from(run, order, command):
        task.cursor = manifest.new_cursor
        task.save(update_fields=["cursor"])
    elif run.kind in _PAST_THE_STATE and task.mode == CopyMode.DIFF and task.cursor:
        begin_anew(task, by=node_actor(node), run=run.number)
    failure_is_over(task, by=None, of=None if run.kind == RunKind.RELOAD else RunKind(run.kind))
    mark_provided(task.grant)
    discard(run)
    post_to_worker("run.reconciled", run=run.number)
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


def _goes_on_from(run: Run, order: ExchangeOrder, delivery: NodeCommand) -> bool:
    """Whether the next run may go on where this one ended: only while the task still stands where the order began, and reads
    the same table and fills the same one. Otherwise what lies before the new cursor would never be read."""
    task = run.task
    if run.kind != RunKind.ORDINARY or order.mode is CopyMode.FULL:
        return False
    if (order.mode, order.after, order.target_table) != (task.mode, task.cursor, task.target_table):
        return False
    return delivery.source_id == task.target_id and _reads_as_bound(run, order)


def _reads_as_bound(run: Run, order: ExchangeOrder) -> bool:
    """Whether the table that the order reads is still the one to which the entry is bound, and its source leads where it was read."""
    binding = Binding.objects.select_related("source").filter(entry_id=run.task.grant.entry_id).first()
    read = run.commands.filter(kind=CommandKind.EXTRACT.value, attempt=run.attempt).last()
    if binding is None or read is None or (order.mode is CopyMode.LOG and order.slot != run.task.slot):
        return False
    if place_of(way_of(read), binding.table) != place_of(connection(binding.source), binding.table):
        return False
    watermark = binding.watermark_column if order.mode is CopyMode.WATERMARK else ""
    bound = (binding.source_id, binding.table, watermark)
    return (read.source_id, order.source_table, order.watermark_column) == bound


def check_counts(order: ExchangeOrder, manifest: BatchManifest, counts: DeliveryCounts, node: Node) -> None:
    """What the target took is what was sent; where all rows were sent and mirrored it holds exactly those. Raises CountsDiffer."""
    taken = counts.inserted + counts.updated + counts.unchanged
    is_mirror = order.delivery in (Delivery.MIRROR, Delivery.RELOAD)
    is_all = is_mirror and (order.mode is CopyMode.FULL or manifest.complete)
    is_short = is_all and counts.target_rows != manifest.rows
    if counts.received != manifest.rows or taken != manifest.rows or is_short:
        raise CountsDiffer(sent=manifest.rows, received=min(counts.received, taken), node=node.number)
