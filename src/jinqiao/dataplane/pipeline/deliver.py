"""Deliver: staged chunks, each verified, into the target exactly once; one visible change; counts that add up.

Killed at any instant and called again, a delivery goes on with the first chunk that the target's own ledger does not name;
once the batch is merged, calling it again only reads the counts back (`connectors.ledger` says how).
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, Target, never
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import ManifestMismatch, RunStopped
from jinqiao.dataplane.pipeline.orders import keys_of, target_columns
from jinqiao.dataplane.pipeline.progress import Reporter, Told
from jinqiao.dataplane.staging.chunks import open_chunk
from jinqiao.dataplane.staging.spool import RunSpool, Spool
from jinqiao.kernel.contracts.exchange import BatchManifest, ChunkManifest, DeliveryCounts, ExchangeOrder, Stage
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.digests import batch_digest

AHEAD = 2  # chunks verified and decrypted while another is loaded


def deliver(
    order: ExchangeOrder,
    manifest: BatchManifest,
    target: Target,
    *,
    spool: Spool,
    identity: Identity,
    progress: Callable[[Told], None] | None = None,
    stop: Callable[[], bool] = never,
) -> DeliveryCounts:
    """Bring the batch into the target; how many rows changed. May be called again after any crash."""
    verify_manifest(order, manifest)
    merged = target.state(manifest.batch_id).merged
    if merged is not None:
        return merged
    plan = DeliveryPlan(
        batch_id=manifest.batch_id,
        run_id=order.run_id,
        table=order.target_table,
        columns=manifest.columns,
        keys=keys_of(order),
        mode=order.mode,
        rows=manifest.rows,
        chunks=len(manifest.chunks),
        create=order.create_target,
        comment=order.grant.entry_code,
    )
    key = identity.unseal(manifest.wrapped_key)
    state = target.prepare(plan)
    if state.merged is not None:
        return state.merged
    reporter = Reporter(order.run_id, progress, rows_total=manifest.rows, chunks_total=len(manifest.chunks))
    missing: list[ChunkManifest] = []
    for chunk in manifest.chunks:
        loaded = state.loaded.get(chunk.number)
        if loaded is None:
            missing.append(chunk)
        elif loaded != chunk.content_digest:
            raise ManifestMismatch(run=order.run_id, reason="ledger")
        else:
            reporter.add(Stage.DELIVER, rows=chunk.rows, size_bytes=chunk.size_bytes, chunks=1)
    _load(missing, _Opener(manifest, spool.incoming(order.run_id), key), plan, target, reporter, stop)
    if stop():
        raise RunStopped(run=order.run_id)
    counts = target.merge(plan)
    reporter.add(Stage.RECONCILE, rows=counts.target_rows, chunks=len(manifest.chunks))
    target.clean(plan)
    return counts


def verify_manifest(order: ExchangeOrder, manifest: BatchManifest) -> None:
    """Does the manifest belong to the order and agree with itself? Raises ManifestMismatch naming what does not."""
    numbers = [chunk.number for chunk in manifest.chunks]
    chained = batch_digest((chunk.content_digest for chunk in manifest.chunks), manifest.suite)
    for reason, holds in (
        ("run", manifest.run_id == order.run_id),
        ("columns", manifest.columns == target_columns(order)),
        ("chunks", numbers == list(range(1, len(numbers) + 1))),
        ("rows", manifest.rows == sum(chunk.rows for chunk in manifest.chunks)),
        ("quarantine", manifest.rows == manifest.rows_read - manifest.rows_quarantined),
        ("digest", manifest.batch_digest == chained),
    ):
        if not holds:
            raise ManifestMismatch(run=order.run_id, reason=reason)


class _Opener:
    """Reads, verifies and decrypts a chunk."""

    def __init__(self, manifest: BatchManifest, incoming: RunSpool, key: bytes) -> None:
        self._manifest, self._incoming, self._key = manifest, incoming, key
        self._schema = arrow_schema(manifest.columns)

    def __call__(self, chunk: ChunkManifest) -> pa.Table:
        return open_chunk(
            self._incoming.read_chunk(chunk.number),
            batch_id=self._manifest.batch_id,
            chunk=chunk,
            key=self._key,
            suite_name=self._manifest.suite,
            schema=self._schema,
        )


def _load(
    chunks: list[ChunkManifest],
    opened: _Opener,
    plan: DeliveryPlan,
    target: Target,
    reporter: Reporter,
    stop: Callable[[], bool],
) -> None:
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="open") as pool:
        waiting: list[tuple[ChunkManifest, Future[pa.Table]]] = []
        rest = iter(chunks)
        try:
            while True:
                while len(waiting) < AHEAD and (chunk := next(rest, None)) is not None:
                    waiting.append((chunk, pool.submit(opened, chunk)))
                if not waiting:
                    return
                if stop():
                    raise RunStopped(run=plan.run_id)
                chunk, rows = waiting.pop(0)
                target.load(plan, chunk, rows.result())
                reporter.add(Stage.DELIVER, rows=chunk.rows, size_bytes=chunk.size_bytes, chunks=1)
        finally:
            for _, future in waiting:
                future.cancel()
