"""Deliver: staged chunks, each verified, into the target exactly once; one visible change; counts that add up.

Killed at any instant and called again, a delivery goes on with the first chunk that the target's own ledger does not name;
once the batch is merged, calling it again only reads the counts back (`connectors.ledger` says how). Chunks may be brought
while the batch is still being extracted (`Loader`): nothing of them is visible before the merge.

Before anything is changed the ledger is asked for the batch that the order's cursor names. A database that was put back to an
earlier state lacks it, and with it rows that no later run would bring (`TargetRestored`).
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa

from jinqiao.dataplane.connectors.base import Closing, DeliveryPlan, Target, never
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import (
    AppendTargetRestored,
    ChunkDamaged,
    ChunkMissing,
    ManifestMismatch,
    RunStopped,
    TargetRestored,
)
from jinqiao.dataplane.pipeline.orders import delivery_of, goes_on, is_whole, last_batch, target_columns, target_keys
from jinqiao.dataplane.pipeline.progress import Reporter, Told
from jinqiao.dataplane.staging.chunks import open_chunk, open_tuples
from jinqiao.dataplane.staging.spool import RunSpool, Spool
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    ChunkForm,
    ChunkKind,
    ChunkManifest,
    CopyMode,
    Delivery,
    DeliveryCounts,
    ExchangeOrder,
    LedgerPlace,
    Stage,
)
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.digests import batch_digest
from jinqiao.kernel.errors import JinqiaoError

AHEAD = 2  # chunks verified and decrypted while another is loaded
_Opened = tuple[ChunkManifest, "Future[pa.Table | bytes]"]


def deliver(
    order: ExchangeOrder,
    manifest: BatchManifest,
    target: Target,
    *,
    spool: Spool,
    identity: Identity,
    progress: Callable[[Told], None] | None = None,
    stop: Callable[[], bool] = never,
    part: str = "",
) -> DeliveryCounts:
    """Bring the batch into the target; how many rows changed. May be called again after any crash.

    `part` is a batch that was brought to the same table beside those that the cursor knows of: a run that goes on must find it there.
    """
    verify_manifest(order, manifest)
    merged = target.state(manifest.batch_id).merged
    if merged is not None:
        return merged
    reporter = Reporter(order.run_id, progress, rows_total=manifest.rows, chunks_total=len(manifest.chunks))
    loader = Loader(order, manifest, target, spool.incoming(order.run_id), identity, reporter, stop, part)
    merged = loader.prepare()
    if merged is not None:
        return merged
    try:
        loader.load(manifest.chunks)
        return loader.merge(manifest)
    except JinqiaoError as problem:
        if is_final(problem):
            loader.abandon()
        raise


def is_final(problem: BaseException) -> bool:
    """Would the target refuse the same batch again? What is damaged on the way is brought again, what may pass is tried again."""
    may_be_mended = RunStopped, ChunkDamaged, ChunkMissing, ManifestMismatch
    return isinstance(problem, JinqiaoError) and not problem.retryable and not isinstance(problem, may_be_mended)


def verify_manifest(order: ExchangeOrder, manifest: BatchManifest) -> None:
    """Does the manifest belong to the order and agree with itself? Raises ManifestMismatch naming what does not."""
    numbers = [chunk.number for chunk in manifest.chunks]
    chained = batch_digest((chunk.content_digest for chunk in manifest.chunks), manifest.suite)
    deleted = sum(chunk.rows for chunk in manifest.chunks if chunk.kind is ChunkKind.DELETES)
    given = sum(chunk.rows for chunk in manifest.chunks) - deleted
    left_out = manifest.rows_read - manifest.rows_quarantined
    for reason, holds in (
        ("run", manifest.run_id == order.run_id),
        ("columns", manifest.columns == target_columns(order)),
        ("chunks", numbers == list(range(1, len(numbers) + 1))),
        ("rows", manifest.rows == given and manifest.rows_deleted == deleted),
        ("quarantine", manifest.rows == left_out if is_whole(order) else manifest.rows <= left_out),
        ("digest", manifest.batch_digest == chained),
    ):
        if not holds:
            raise ManifestMismatch(run=order.run_id, reason=reason)


class Loader:
    """The way of one batch's chunks into the target.

    `head` is the manifest, or what is known of it before extraction has ended: run, batch, suite, columns, form and key.
    """

    def __init__(
        self,
        order: ExchangeOrder,
        head: BatchManifest,
        target: Target,
        incoming: RunSpool,
        identity: Identity,
        reporter: Reporter,
        stop: Callable[[], bool] = never,
        part: str = "",
    ) -> None:
        self._part = part if goes_on(order) and order.delivery is not Delivery.APPEND else ""
        self._order, self._head, self._target, self._incoming = order, head, target, incoming
        self._reporter, self._stop = reporter, stop
        self._key = identity.unseal(head.wrapped_key)
        is_open = not head.chunks and not head.batch_digest
        may_delete = order.mode in (CopyMode.DIFF, CopyMode.LOG)
        self._plan = replace(self._plan_of(head), rows_deleted=None) if is_open and may_delete else self._plan_of(head)
        self._loaded: dict[int, str] = {}
        keys = set(self._plan.keys)
        self._schema = arrow_schema(head.columns)
        self._keys_schema = arrow_schema(tuple(column for column in head.columns if column.name in keys))

    def prepare(self) -> DeliveryCounts | None:
        """Make ready, and learn what is in already; the counts where the whole batch is. Raises TargetRestored, AppendTargetRestored."""
        self._hold_last()
        state = self._target.prepare(self._plan)
        self._loaded = dict(state.loaded)
        return state.merged

    def _hold_last(self) -> None:
        """What this run builds on is there: otherwise all that came between the target's earlier state and now would be missing for ever."""
        plan, target, wanted = self._plan, self._target, (last_batch(self._order), self._part)
        if plan.ledger is LedgerPlace.NODE:
            return
        missing = [batch for batch in wanted if batch and not target.has_merged(batch)]
        if missing and not target.has_merged(plan.batch_id):
            problem = AppendTargetRestored if plan.delivery is Delivery.APPEND else TargetRestored
            raise problem(table=plan.table, batch=missing[0])

    def load(self, chunks: Iterable[ChunkManifest]) -> None:
        """Bring the chunks that are not in, in the order given.

        `chunks` may wait for the next one; then its `is_slow()` says whether asking it would wait now.
        """
        is_slow = getattr(chunks, "is_slow", never)
        with ThreadPoolExecutor(1, thread_name_prefix="open") as pool, _Beside(self._target, self._plan) as beside:
            waiting: list[_Opened] = []
            rest = iter(chunks)
            try:
                while True:
                    while (
                        len(waiting) < AHEAD * beside.at_once
                        and not (waiting and is_slow())
                        and (chunk := next(rest, None)) is not None
                    ):
                        if self._is_in(chunk):
                            self._told(chunk)
                        else:
                            waiting.append((chunk, pool.submit(self._open, chunk)))
                    if not waiting:
                        return
                    if self._stop():
                        raise RunStopped(run=self._plan.run_id)
                    together = [waiting.pop(0)]
                    if waiting and beside.is_there():
                        together.append(waiting.pop(0))
                    beside.load(together)
                    for chunk, _ in together:
                        self._told(chunk)
            finally:
                for _, future in waiting:
                    future.cancel()

    def merge(self, manifest: BatchManifest) -> DeliveryCounts:
        """Make the batch visible, when every chunk of the manifest is in."""
        if self._stop():
            raise RunStopped(run=self._plan.run_id)
        plan = self._plan_of(manifest)
        counts = self._target.merge(plan)
        self._reporter.add(Stage.RECONCILE, rows=counts.target_rows, chunks=len(manifest.chunks))
        self._target.clean(plan)
        return counts

    def abandon(self) -> None:
        """The batch will never be merged: nothing of it stays at the target, as far as that can still be asked."""
        with suppress(JinqiaoError):
            self._target.clean(self._plan)

    def _plan_of(self, manifest: BatchManifest) -> DeliveryPlan:
        order = self._order
        mode, delivery = delivery_of(order, manifest)
        return DeliveryPlan(
            batch_id=manifest.batch_id,
            run_id=order.run_id,
            table=order.target_table,
            columns=manifest.columns,
            keys=target_keys(order),
            mode=mode,
            rows=manifest.rows,
            chunks=len(manifest.chunks),
            create=order.create_target,
            comment=order.grant.entry_code,
            delivery=delivery,
            form=manifest.form,
            rows_deleted=manifest.rows_deleted,
            drift=order.drift,
            ledger=order.ledger,
            at=manifest.extracted_at,
            approval=order.reload_approval if delivery is Delivery.RELOAD else "",
            is_window=order.mode is CopyMode.WATERMARK and bool(order.after),
        )

    def _is_in(self, chunk: ChunkManifest) -> bool:
        digest = self._loaded.get(chunk.number)
        if digest is not None and digest != chunk.content_digest:
            raise ManifestMismatch(run=self._order.run_id, reason="ledger")
        return digest is not None

    def _told(self, chunk: ChunkManifest) -> None:
        self._reporter.add(Stage.DELIVER, rows=chunk.rows, size_bytes=chunk.size_bytes, chunks=1)

    def _open(self, chunk: ChunkManifest) -> pa.Table | bytes:
        """Read, verify and decrypt a chunk. Raises ChunkDamaged, ChunkMissing."""
        head, data = self._head, self._incoming.read_chunk(chunk.number)
        if head.form is ChunkForm.PGCOPY and chunk.kind is ChunkKind.ROWS:
            return open_tuples(data, batch_id=head.batch_id, chunk=chunk, key=self._key, suite_name=head.suite)
        return open_chunk(
            data,
            batch_id=head.batch_id,
            chunk=chunk,
            key=self._key,
            suite_name=head.suite,
            schema=self._schema if chunk.kind is ChunkKind.ROWS else self._keys_schema,
        )


class _Beside(Closing):
    """Brings one chunk, or two at the same time: what comes of the source faster than one connection takes it goes over a second one,
    which is opened when the first pair waits."""

    def __init__(self, target: Target, plan: DeliveryPlan) -> None:
        self._target, self._plan = target, plan
        self._second: Target | None = None
        self._was_asked = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="load")

    @property
    def at_once(self) -> int:
        return 1 if self._second is None else 2

    def is_there(self) -> bool:
        if not self._was_asked:
            self._was_asked = True
            self._second = self._target.beside(self._plan)
        return self._second is not None

    def load(self, together: "Sequence[_Opened]") -> None:
        """One chunk, or two where the second connection is there."""
        targets = [target for target in (self._target, self._second) if target is not None]
        (first, *others) = zip(targets, together, strict=False)
        loading = [self._pool.submit(self._load, *other) for other in others]
        try:
            self._load(*first)
        finally:
            wait(loading)
        for future in loading:
            future.result()

    def _load(self, target: Target, opened: _Opened) -> None:
        chunk, rows = opened
        target.load(self._plan, chunk, rows.result())

    def close(self) -> None:
        self._pool.shutdown()
        if self._second is not None:
            self._second.close()


__all__ = ["Loader", "deliver", "is_final", "verify_manifest"]
