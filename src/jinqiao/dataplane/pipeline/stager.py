"""Stage: rows of a split into sealed chunks, durable one by one; a split that is whole is written down and never read again.

    rows = stager.split(index)                     for each split, from any thread:
        rows.add(batch) | rows.add_tuples(bytes, rows); rows.finish(record)
    stager.finish()                                chunks in the order of their numbers, without gaps
    stager.announce()                              when the manifest is durable

Killed at any instant, the splits named in `splits.jsonl` are whole and durable; chunks of other splits are dropped and their
numbers used again. So a delivery that begins at once (`on_chunk`) is told of a chunk only when its split is written down, and of
what comes after the splits when the manifest is: the target's ledger never names one that is made again. Where there is one split
only (`is_early`) it is told at once: killed, such an extraction begins a new batch. A number that stays over at the end is filled
with a chunk of no rows.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.snapshots import WHOLE
from jinqiao.dataplane.pipeline.progress import Reporter
from jinqiao.dataplane.staging.chunks import ArrowPayload, Buffer, TuplePayload, seal_payload
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.contracts.exchange import ChunkForm, ChunkKind, ChunkManifest, Stage
from jinqiao.kernel.crypto.suites import suite

CHUNK_BYTES = 32 << 20  # of rows before compression: wide rows make chunks of fewer rows

OnChunk = Callable[[ChunkManifest], None]


def nothing() -> None:
    """Nothing to wait for."""


class Stager:
    """Chunks of one batch. Thread-safe; each split is one thread's."""

    def __init__(
        self,
        out: RunSpool,
        reporter: Reporter,
        *,
        batch_id: str,
        key: bytes,
        suite_name: str,
        schema: pa.Schema,
        form: ChunkForm,
        chunk_rows: int,
        on_chunk: OnChunk | None = None,
        is_early: bool = False,
        before: Callable[[], None] = nothing,
    ) -> None:
        """`before` is called before anything is staged, and may be called again: it waits until that may be, or raises."""
        self.out, self.reporter = out, reporter
        self.batch_id, self.key, self.suite_name, self.form, self.schema = batch_id, key, suite_name, form, schema
        self._chunk_rows, self._on_chunk, self._is_early, self._before = chunk_rows, on_chunk, is_early, before
        self._told: set[int] = set()
        self._lock = threading.Lock()
        self._chunks: dict[int, ChunkManifest] = {}
        self._free: list[int] = []
        self._last = 0
        self.records: dict[int, dict[str, Any]] = {}

    def resume(
        self, records: Iterable[dict[str, Any]], is_known: Callable[[dict[str, Any]], bool] = lambda record: True
    ) -> None:
        """Take over what an earlier process staged. Chunks that belong to no whole split, or are no longer what was staged, are
        dropped, and their splits read again; so are those of which `is_known` says that what belongs to them is lost."""
        there = self.out.chunk_numbers()
        for record in records:
            chunks = [ChunkManifest.from_json(chunk) for chunk in record["chunks"]]
            if all(chunk.number in there and self._is_whole(chunk) for chunk in chunks) and is_known(record):
                self.records[int(record["split"])] = record
                for chunk in chunks:
                    self._chunks[chunk.number] = chunk
        self.out.rewrite_splits([self.records[index] for index in sorted(self.records)])
        for number in there - set(self._chunks):
            self.out.drop_chunk(number)
        self._last = max(self._chunks, default=0)
        self._free = sorted(set(range(1, self._last + 1)) - set(self._chunks), reverse=True)
        for number in sorted(self._chunks):
            chunk = self._chunks[number]
            self.reporter.add(Stage.STAGE, rows=chunk.rows, size_bytes=chunk.size_bytes, chunks=1)
            self._tell(chunk)

    def announce(self) -> None:
        """The manifest is durable: nothing of it is made again."""
        for number in sorted(self._chunks):
            self._tell(self._chunks[number])

    def _tell(self, chunk: ChunkManifest) -> None:
        if self._on_chunk is not None and chunk.number not in self._told:
            self._told.add(chunk.number)
            self._on_chunk(chunk)

    def _is_whole(self, chunk: ChunkManifest) -> bool:
        data = self.out.read_chunk(chunk.number)
        return len(data) == chunk.size_bytes and suite(self.suite_name).digest(data).hex() == chunk.digest

    def split(self, index: int, name: str = WHOLE) -> "SplitStager":
        """`name` of the split: a table read in one piece is cut at exactly `chunk_rows`, a piece of it may run over."""
        return SplitStager(self, index, self._chunk_rows if name == WHOLE else self._chunk_rows * 2)

    def finish(self) -> tuple[ChunkManifest, ...]:
        """All chunks in their order."""
        for number in self._free:
            self.seal(ArrowPayload(self.schema).finish() if self.form is ChunkForm.ARROW else b"", 0, number=number)
        self._free = []
        return tuple(self._chunks[number] for number in sorted(self._chunks))

    def seal(
        self, payload: bytes, rows: int, *, number: int | None = None, kind: ChunkKind = ChunkKind.ROWS
    ) -> ChunkManifest:
        """A payload as a durable chunk."""
        self._before()
        number = self._number() if number is None else number
        sealed = seal_payload(
            payload, rows, batch_id=self.batch_id, number=number, key=self.key, suite_name=self.suite_name, kind=kind
        )
        self.out.write_chunk(number, sealed.data)
        with self._lock:
            self._chunks[number] = sealed.manifest
        self.reporter.add(Stage.STAGE, rows=rows, size_bytes=len(sealed.data), chunks=1)
        if self._is_early and kind is ChunkKind.ROWS:
            self._tell(sealed.manifest)
        return sealed.manifest

    def add_deletes(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
        """Keys that are gone, as chunks of their own; how many there were."""
        count = 0
        payload = ArrowPayload(schema)
        for batch in batches:
            payload.add(batch)
            count += batch.num_rows
            if payload.rows >= self._chunk_rows:
                self.seal(payload.finish(), payload.rows, kind=ChunkKind.DELETES)
                payload = ArrowPayload(schema)
        if payload.rows:
            self.seal(payload.finish(), payload.rows, kind=ChunkKind.DELETES)
        return count

    def note(self, record: dict[str, Any]) -> None:
        with self._lock:
            self.out.note_split(record)
            self.records[int(record["split"])] = record
        for chunk in record["chunks"]:
            self._tell(self._chunks[int(chunk["number"])])

    def _number(self) -> int:
        with self._lock:
            if self._free:
                return self._free.pop()
            self._last += 1
            return self._last


class SplitStager:
    """The chunks of one split, for the thread that reads it."""

    def __init__(self, stager: Stager, index: int, chunk_rows: int) -> None:
        self._stager, self._index, self._chunk_rows = stager, index, chunk_rows
        self._chunks: list[ChunkManifest] = []
        self._payload: ArrowPayload | TuplePayload | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            payload = self._open(ArrowPayload, self._stager.schema)
            piece = batch.slice(0, self._chunk_rows - payload.rows)
            payload.add(piece)
            batch = batch.slice(piece.num_rows)
            self._cut_if_full()

    def add_tuples(self, tuples: Buffer, rows: int) -> None:
        self._open(TuplePayload).add(tuples, rows)
        self._cut_if_full()

    def finish(self, record: dict[str, Any]) -> None:
        """The split is whole: written down with what is to be known of it."""
        if self._payload is not None and self._payload.rows:
            self._cut()
        self._stager.note({**record, "split": self._index, "chunks": [chunk.to_json() for chunk in self._chunks]})

    def _open(self, kind: type[Any], *arguments: Any) -> Any:
        if self._payload is None:
            self._payload = kind(*arguments)
        return self._payload

    def _cut_if_full(self) -> None:
        payload = self._payload
        if payload is not None and (payload.rows >= self._chunk_rows or payload.raw_bytes >= CHUNK_BYTES):
            self._cut()

    def _cut(self) -> None:
        payload, self._payload = self._payload, None
        if payload is not None:
            self._chunks.append(self._stager.seal(payload.finish(), payload.rows))
