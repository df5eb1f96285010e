"""Extract: one snapshot of the source, fitted, checked, masked, cut into chunks, sealed to the consumer, staged.

A run is extracted from exactly one snapshot. When the process dies before the manifest is written, the snapshot is gone with
it: what was staged cannot be completed from another instant without showing a table that never was (a row whose key moved
would come twice or not at all), and its data key was never written down. So the restart throws it away and reads a new
snapshot. From the manifest on, nothing is ever read from the source again: `extract` then returns the staged manifest.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.checks.quarantine import Quarantine
from jinqiao.dataplane.connectors.base import ReadPlan, Source, never
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.errors import QuarantineExceeded, RunStopped
from jinqiao.dataplane.masks import mask_array
from jinqiao.dataplane.pipeline.orders import keys_of, target_columns, value_column, watermark_floor, watermark_of
from jinqiao.dataplane.pipeline.progress import Reporter, Told
from jinqiao.dataplane.staging.chunks import seal_chunk
from jinqiao.dataplane.staging.digests import scalar_text
from jinqiao.dataplane.staging.spool import RunSpool, Spool
from jinqiao.kernel.contracts.exchange import BatchManifest, ChunkManifest, ExchangeOrder, Stage
from jinqiao.kernel.contracts.tables import Column, TableSchema
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.digests import batch_digest
from jinqiao.kernel.moments import now

SEALERS = 2  # threads that digest, compress, encrypt and write while the next chunk is read
_READ_ROWS = 25_000


def extract(
    order: ExchangeOrder,
    source: Source,
    *,
    spool: Spool,
    progress: Callable[[Told], None] | None = None,
    stop: Callable[[], bool] = never,
) -> BatchManifest:
    """Stage what the order grants; the manifest of the batch. May be called again after any crash."""
    out = spool.outgoing(order.run_id)
    staged = out.manifest()
    if staged is not None:
        return staged
    out.purge()
    schema = source.schema(order.source_table)
    reading = _Reading(order, schema)
    reporter = Reporter(order.run_id, progress, rows_total=schema.row_estimate)
    try:
        with _Stager(order, out, reporter) as stager:
            for rows in reading.rows(source, stop, reporter):
                stager.add(rows)
            stager.finish()
        reading.settle(out)
        if stop():
            raise RunStopped(run=order.run_id)
    except BaseException:
        for path in out.folder.glob("chunk-*"):
            path.unlink(missing_ok=True)
        raise
    checker = reading.checker
    manifest = BatchManifest(
        run_id=order.run_id,
        batch_id=stager.batch_id,
        suite=stager.suite_name,
        columns=target_columns(order),
        chunks=tuple(stager.chunks),
        rows=sum(chunk.rows for chunk in stager.chunks),
        rows_read=checker.rows_checked,
        rows_quarantined=checker.rows_bad,
        findings=checker.findings(),
        batch_digest=batch_digest((chunk.content_digest for chunk in stager.chunks), stager.suite_name),
        snapshot=source.snapshot,
        new_cursor=reading.cursor(),
        wrapped_key=stager.wrapped_key,
        extracted_at=now(),
    )
    out.write_manifest(manifest)
    return manifest


@dataclass(slots=True)
class _Marks:
    """The highest watermark seen."""

    column: Column
    highest: Any = None

    def see(self, values: pa.Array) -> None:
        most = pc.max(fit(values, arrow_type(self.column)).values).as_py()
        if most is not None and (self.highest is None or most > self.highest):
            self.highest = most


class _Reading:
    """From the source's batches to rows that may leave: fitted, checked, masked."""

    def __init__(self, order: ExchangeOrder, schema: TableSchema) -> None:
        self._order = order
        self._items = order.grant.items
        self._schema = arrow_schema(target_columns(order))
        self.checker = Checker(order.checks, self._items, keys_of(order))
        self.quarantine = Quarantine(self._items)
        watermark = watermark_of(order, schema)
        self._marks = _Marks(watermark) if watermark else None
        floor = watermark_floor(order.after, watermark, order.overlap_s) if watermark else None
        wanted = [item.column for item in self._items] + ([watermark.name] if watermark else [])
        self._plan = ReadPlan(
            table=order.source_table,
            columns=tuple(dict.fromkeys(wanted)),
            row_filter=(*order.grant.row_filter, *([floor] if floor else [])),
            order_by=(watermark.name, *order.key_columns) if watermark else (),
            batch_rows=min(_READ_ROWS, order.chunk_rows),
            rows_per_s=order.rows_per_s,
            statement_timeout_s=order.statement_timeout_s,
        )

    def rows(self, source: Source, stop: Callable[[], bool], reporter: Reporter) -> Iterator[pa.RecordBatch]:
        plan = ReadPlan(**{name: getattr(self._plan, name) for name in ReadPlan.__slots__ if name != "stop"}, stop=stop)
        with closing(source.read(plan)) as batches:  # type: ignore[type-var]
            for batch in batches:
                reporter.add(Stage.EXTRACT, rows=batch.num_rows)
                yield self._passed(batch)
                reporter.add(Stage.CHECK, rows=batch.num_rows)

    def _passed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        raw = [batch.column(item.column) for item in self._items]
        if self._marks is not None:
            self._marks.see(batch.column(self._marks.column.name))
        fitted = [fit(column, arrow_type(value_column(item))) for column, item in zip(raw, self._items, strict=True)]
        columns = [column.values for column in fitted]
        first = self.checker.rows_checked + 1
        bad, reasons = self.checker.check(columns, [column.bad for column in fitted])
        if reasons:
            self.quarantine.add(raw, bad, reasons, first)
            good = pa.array(np.flatnonzero(~bad))
            columns = [column.take(good) for column in columns]
        shown = [mask_array(column, item.mask) for column, item in zip(columns, self._items, strict=True)]
        return pa.RecordBatch.from_arrays(shown, schema=self._schema)

    def cursor(self) -> str:
        """Where the next watermark run begins: never before where this one did."""
        if self._marks is None:
            return ""
        highest, kind = self._marks.highest, self._marks.column.type
        if highest is None:
            return self._order.after
        text = scalar_text(highest, kind)
        if not self._order.after:
            return text
        before = fit(pa.array([self._order.after]), arrow_type(self._marks.column)).values[0].as_py()
        return text if before is None or highest > before else self._order.after

    def settle(self, out: RunSpool) -> None:
        """Keep the bad rows for the provider; stop the run where they are too many."""
        checker, order = self.checker, self._order
        if checker.rows_bad == 0:
            return
        provider = PublicIdentity.from_json(order.provider_identity)
        out.write_quarantine(self.quarantine.sealed(provider, order.run_id))
        if checker.rows_bad > order.quarantine_limit * checker.rows_checked:
            raise QuarantineExceeded(
                run=order.run_id,
                quarantined=checker.rows_bad,
                read=checker.rows_checked,
                limit=f"{order.quarantine_limit:.2%}",
                findings="；".join(f"{found.item}/{found.check}: {found.rows}" for found in checker.findings()[:5]),
            )


class _Stager:
    """Collects rows into chunks; threads seal and write them while the source is read on."""

    def __init__(self, order: ExchangeOrder, out: RunSpool, reporter: Reporter) -> None:
        consumer = PublicIdentity.from_json(order.consumer_identity)
        self.suite_name = consumer.suite
        self.batch_id = f"{order.run_id}.{secrets.token_hex(4)}"
        self._key = suite(self.suite_name).new_key()
        self.wrapped_key = consumer.seal(self._key)
        self.chunks: list[ChunkManifest] = []
        self._out, self._reporter, self._chunk_rows = out, reporter, order.chunk_rows
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._number = 0
        self._pool = ThreadPoolExecutor(SEALERS, thread_name_prefix="seal")
        self._pending: list[Future[ChunkManifest]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> "_Stager":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            piece = batch.slice(0, self._chunk_rows - self._rows)
            self._waiting.append(piece)
            self._rows += piece.num_rows
            batch = batch.slice(piece.num_rows)
            if self._rows == self._chunk_rows:
                self._cut()

    def finish(self) -> None:
        """All chunks durable, in their order."""
        if self._rows:
            self._cut()
        self._collect(0)

    def _cut(self) -> None:
        self._number += 1
        rows = pa.Table.from_batches(self._waiting)
        self._waiting, self._rows = [], 0
        self._pending.append(self._pool.submit(self._seal, self._number, rows))
        self._collect(SEALERS)

    def _collect(self, most: int) -> None:
        while len(self._pending) > most:
            self.chunks.append(self._pending.pop(0).result())

    def _seal(self, number: int, rows: pa.Table) -> ChunkManifest:
        chunk = seal_chunk(rows, batch_id=self.batch_id, number=number, key=self._key, suite_name=self.suite_name)
        self._out.write_chunk(number, chunk.data)
        with self._lock:
            self._reporter.add(Stage.STAGE, rows=rows.num_rows, size_bytes=len(chunk.data), chunks=1)
        return chunk.manifest
