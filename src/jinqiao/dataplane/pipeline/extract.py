"""Extract: one snapshot of the source, fitted, checked, masked, cut into chunks, sealed to the consumer, staged.

A run is extracted from exactly one snapshot, read in splits, by several readers where the engine can share the snapshot. A
split that is staged is written down and never read again: killed, the extraction goes on with the splits that are left,
provided that the source still shows the same (`connectors.snapshots` says how that is known). What a mode must remember of the rows of a
split is durable with it (`staging.memory`). Where the source shows something else, what was staged is thrown away, and the
manifest says so (`restarted`): completed from another instant it would be a table that never was (a row whose key moved would
come twice or not at all). From the manifest on, nothing is ever read from the source again.
"""

import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.checks.quarantine import Quarantine, open_quarantine
from jinqiao.dataplane.checks.references import learn_references
from jinqiao.dataplane.connectors.base import Closing, Source, never
from jinqiao.dataplane.connectors.drift import hold_source
from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot
from jinqiao.dataplane.connectors.snapshots import RawReader, Reader, Snapshot, SnapshotState
from jinqiao.dataplane.errors import QuarantineExceeded, RunStopped
from jinqiao.dataplane.pipeline.modes.orders import check_delivery
from jinqiao.dataplane.pipeline.orders import is_whole, target_columns, target_keys
from jinqiao.dataplane.pipeline.progress import Reporter, Told
from jinqiao.dataplane.pipeline.raw import can_go_raw
from jinqiao.dataplane.pipeline.reading import Part, Reading
from jinqiao.dataplane.pipeline.sessions import session_of
from jinqiao.dataplane.pipeline.stager import OnChunk, SplitStager, Stager, nothing
from jinqiao.dataplane.staging.chunks import open_chunk
from jinqiao.dataplane.staging.memory import Memory
from jinqiao.dataplane.staging.spool import RunSpool, Spool
from jinqiao.dataplane.staging.state import StateStore
from jinqiao.kernel.contracts.exchange import BatchManifest, ChunkForm, ChunkManifest, ExchangeOrder, Stage
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.digests import batch_digest
from jinqiao.kernel.errors import Unavailable
from jinqiao.kernel.moments import now

if TYPE_CHECKING:
    from jinqiao.dataplane.transforms.tokens import TokenKeys

LITTLE_ROWS = 4_000  # of a chunk
_AHEAD = 2  # batches read while others are worked on, where one reader reads


def extract(
    order: ExchangeOrder,
    source: Source,
    *,
    spool: Spool,
    identity: Identity | None = None,
    states: StateStore | None = None,
    tokens: "TokenKeys | None" = None,
    progress: Callable[[Told], None] | None = None,
    stop: Callable[[], bool] = never,
    hold: Callable[[], bool] = never,
) -> BatchManifest:
    """Stage what the order grants; the manifest of the batch. May be called again after any crash.

    `identity` of the provider's node lets a killed extraction go on; without it, it begins anew. `states` is the node's memory
    of what was delivered, which every mode but a full run needs; `tokens` the keys of pseudonyms. While `hold` says so the
    reading waits.
    """
    staged = spool.outgoing(order.run_id).manifest()
    if staged is not None:
        let_go(spool.outgoing(order.run_id), source)
        return staged
    with Extraction(
        order, source, spool.outgoing(order.run_id), identity=identity, states=states, tokens=tokens, progress=progress,
        stop=stop, hold=hold,
    ) as extraction:  # fmt: skip
        return extraction.run()


def let_go(out: RunSpool, source: Source) -> None:
    """All is staged: a snapshot that a killed process left open at the source is ended."""
    begun = out.begun()
    if begun is not None:
        source.end_snapshot(SnapshotState.from_json(begun["snapshot"]))


def void(out: RunSpool, reason: str) -> None:
    """What is staged can never be delivered: the next extraction begins anew, and its manifest says why."""
    begun = out.begun()
    out.drop_manifest()
    if begun is not None:
        out.write_begun({**begun, "void": reason})


class Extraction(Closing):
    """One extraction: `begin` opens the snapshot and fixes form, batch and key; `run` reads. `close` gives the snapshot back."""

    def __init__(
        self,
        order: ExchangeOrder,
        source: Source,
        out: RunSpool,
        *,
        identity: Identity | None = None,
        states: StateStore | None = None,
        tokens: "TokenKeys | None" = None,
        progress: Callable[[Told], None] | None = None,
        stop: Callable[[], bool] = never,
        hold: Callable[[], bool] = never,
        on_chunk: OnChunk | None = None,
        before: Callable[[], None] = nothing,
        anew: str = "",
    ) -> None:
        """`before` is called before anything is staged: it waits until that may be, or raises. `anew`: why the order begins from the
        beginning though its task came further; it stands first in the manifest's `restarted`."""
        check_delivery(order)
        self._order, self._source, self._out, self._identity = order, source, out, identity
        self._stop, self._on_chunk, self._before = stop, on_chunk, before
        self._anew = (anew,) if anew else ()
        self._schema = source.schema(order.source_table)
        self._is_raw = can_go_raw(order, source.engine, self._schema)
        if not self._is_raw:
            source.warm()
        gone = self._gone()
        self._session = session_of(order, source, self._schema, states, is_raw=self._is_raw)
        self._reading = Reading(order, self._session, tokens, gone)
        self._plan = self._reading.plan(stop=self._stopping, hold=hold)
        self._reporter = Reporter(order.run_id, progress, rows_total=self._schema.row_estimate)
        self._failed = threading.Event()
        self.snapshot: Snapshot | None = None
        self.batch_id = self.wrapped_key = ""
        self.suite_name = PublicIdentity.from_json(order.consumer_identity).suite
        self.form = ChunkForm.PGCOPY if self._is_raw else ChunkForm.ARROW
        self._key = b""
        self._resumed = 0
        self._restarted: tuple[str, ...] = ()
        self._records: list[dict[str, Any]] = []
        self._quarantines: dict[int, Quarantine] = {}

    def close(self) -> None:
        self._session.close()
        if self.snapshot is not None:
            self.snapshot.close()
            self.snapshot = None

    def begin(self) -> Snapshot:
        """Open the snapshot: that of a killed extraction where it can be found again, otherwise a new one."""
        if self.snapshot is not None:
            return self.snapshot
        begun, reason = self._begun()
        resume = SnapshotState.from_json(begun["snapshot"]) if begun and not reason else None
        snapshot = self._session.open_snapshot(
            self._source, self._plan, parallel=self._order.parallel, resume=resume, chunk_rows=self._order.chunk_rows
        )
        self.snapshot = snapshot
        self._records = self._out.staged_splits()
        self._restarted = tuple(begun.get("restarted", ())) if begun else self._anew
        has_staged = bool(self._records) or self._session.has_fetched(self._out)
        if begun and resume and snapshot.resumed and has_staged and begun["form"] == self.form.value:
            self._resumed = int(begun["resumed"]) + 1
            self._session.go_on(begun["session"])
            self.batch_id, self.wrapped_key = begun["batch_id"], begun["wrapped_key"]
            self._note_begun(snapshot, begun["own_key"])
            return snapshot
        in_one = begun is not None and len(begun["snapshot"]["splits"]) == 1 and bool(self._out.chunk_numbers())
        if has_staged or in_one:
            seen = "piece" if snapshot.resumed and not has_staged else "snapshot"
            self._restarted = (*self._restarted, reason or (seen if begun else "damaged"))
        if begun and reason:
            self._source.end_snapshot(SnapshotState.from_json(begun["snapshot"]))
        elif begun is None:
            for handle in self._out.damaged_handles():
                # asked by its number and its moment of birth, so that nothing else can be ended, whatever stands there
                with suppress(AttributeError, KeyError, TypeError, ValueError):
                    self._source.end_snapshot(SnapshotState("", "", (), handle))
        self._records = []
        consumer = PublicIdentity.from_json(self._order.consumer_identity)
        provider = PublicIdentity.from_json(self._order.provider_identity)
        self._key = suite(self.suite_name).new_key()
        self.batch_id = f"{self._order.run_id}.{secrets.token_hex(4)}"
        self.wrapped_key = consumer.seal(self._key)
        self._out.forget_staged()
        self._note_begun(snapshot, provider.seal(self._key))
        return snapshot

    def head(self) -> BatchManifest:
        """What is known of the batch before anything is read: for a delivery that begins at once."""
        return BatchManifest(
            run_id=self._order.run_id, batch_id=self.batch_id, suite=self.suite_name, columns=target_columns(self._order),
            chunks=(), rows=0, rows_read=0, rows_quarantined=0, findings=(), batch_digest="", snapshot="", form=self.form,
            complete=self._session.complete, wrapped_key=self.wrapped_key, extracted_at=now(),
        )  # fmt: skip

    def _begun(self) -> tuple[dict[str, Any] | None, str]:
        """What an earlier process wrote down, and why it cannot be gone on with; empty where it can, as far as this node knows."""
        begun = self._out.begun()
        if begun is None:
            return None, ""
        if begun.get("void"):
            return begun, str(begun["void"])
        if begun["order"] != self._order_digest():
            return begun, "order"
        try:
            if self._identity is None:
                return begun, "key"
            self._key = self._identity.unseal(begun["own_key"])
        except SealBroken:
            return begun, "key"
        if self._reading.checker.remembers_rows:
            return begun, "checks"
        return begun, "" if self._session.may_go_on(begun["session"]) else "state"

    def _note_begun(self, snapshot: Snapshot, own_key: str) -> None:
        begun = {
            "order": self._order_digest(),
            "batch_id": self.batch_id,
            "form": self.form.value,
            "wrapped_key": self.wrapped_key,
            "own_key": own_key,
            "resumed": self._resumed,
            "restarted": self._restarted,
            "session": self._session.begun(),
        }
        snapshot.keep(lambda state: self._out.write_begun({**begun, "snapshot": state.to_json()}))

    def _order_digest(self) -> str:
        return suite(self.suite_name).digest(self._order.canonical()).hex()

    def run(self) -> BatchManifest:
        """Read what is not staged yet; the manifest, durable. Errors that may pass leave the staged splits for a restart."""
        snapshot = self.begin()
        self._memory = Memory(self._out, batch_id=self.batch_id, key=self._key, suite_name=self.suite_name)
        self._session.fetch(snapshot, self._memory)
        stager = Stager(
            self._out,
            self._reporter,
            batch_id=self.batch_id,
            key=self._key,
            suite_name=self.suite_name,
            schema=self._reading.schema,
            form=self.form,
            chunk_rows=self._chunk_rows(snapshot),
            on_chunk=self._on_chunk,
            is_early=len(snapshot.state.splits) == 1 and not self._session.fetches,
            before=self._before,
        )
        try:
            stager.resume(self._records, self._recalled)
            learn_references(self._reading.checker, self._source, self._plan)
            self._read_splits(snapshot, stager)
            if self._stop():
                raise RunStopped(run=self._order.run_id)
            return self._finished(snapshot, stager)
        except (Unavailable, RunStopped):
            raise
        except BaseException as problem:
            if not isinstance(problem, KeyboardInterrupt | SystemExit):
                self._out.drop_staged()
            raise

    def _chunk_rows(self, snapshot: Snapshot) -> int:
        """What is read in one piece and is not much comes in smaller chunks: the target takes the first ones meanwhile."""
        is_little = self._session.is_window and len(snapshot.state.splits) == 1
        return min(self._order.chunk_rows, LITTLE_ROWS) if is_little else self._order.chunk_rows

    def _recalled(self, record: dict[str, Any]) -> bool:
        """Tell the session of a split that is staged whole; False where what it must know of it is lost."""
        notes = self._memory.recall_rows(_memory_of(record["split"])) if record.get("memory") else []
        if notes is None:
            return False
        self._session.told(*record.get("marks", (None, 0)))
        if self._session.remembers:
            self._session.recall(notes, self._staged_rows(record))
        return True

    def _staged_rows(self, record: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        for chunk in map(ChunkManifest.from_json, record["chunks"]):
            rows = open_chunk(
                self._out.read_chunk(chunk.number), batch_id=self.batch_id, chunk=chunk, key=self._key,
                suite_name=self.suite_name, schema=self._reading.schema,
            )  # fmt: skip
            yield from rows.to_batches()

    # -- reading

    def _read_splits(self, snapshot: Snapshot, stager: Stager) -> None:
        left: queue.SimpleQueue[int] = queue.SimpleQueue()
        todo = [index for index in range(len(snapshot.state.splits)) if index not in stager.records]
        for index in todo:
            left.put(index)
        readers = max(1, min(snapshot.readers, len(todo)))
        if readers == 1:
            self._work(snapshot, stager, left, alone=True)
            return
        with ThreadPoolExecutor(readers, thread_name_prefix="read") as pool:
            futures = [pool.submit(self._work, snapshot, stager, left, alone=False) for _ in range(readers)]
        problems = [problem for future in futures if (problem := future.exception()) is not None]
        # the first cause, not the RunStopped of those that were told to end because of it
        for problem in sorted(problems, key=lambda one: isinstance(one, RunStopped)):
            raise problem

    def _stopping(self) -> bool:
        return self._failed.is_set() or self._stop()

    def _work(self, snapshot: Snapshot, stager: Stager, left: "queue.SimpleQueue[int]", *, alone: bool) -> None:
        try:
            with _opened(self, snapshot) as reader:
                while True:
                    try:
                        index = left.get_nowait()
                    except queue.Empty:
                        return
                    name = snapshot.state.splits[index]
                    self._read_split(reader, stager, index, name, alone=alone)
        except BaseException:
            self._failed.set()
            raise

    def _read_split(self, reader: Any, stager: Stager, index: int, name: str, *, alone: bool) -> None:
        rows, part = stager.split(index, name), self._reading.part()
        if self._is_raw:
            self._copy(reader, rows, part, name)
        else:
            self._read(reader, rows, part, name, alone=alone)
        if part.checker.rows_bad:
            provider = PublicIdentity.from_json(self._order.provider_identity)
            self._out.write_quarantine(part.quarantine.sealed(provider, self._order.run_id), index)
            self._quarantines[index] = part.quarantine
        self._session.end_split(part.notes)
        if part.notes:
            self._memory.keep_rows(_memory_of(index), part.notes)
        marks = [part.highest, part.missing, part.is_beyond]
        known = {"checked": part.checker.state(), "marks": marks, "memory": bool(part.notes)}
        rows.finish(known)

    def _read(self, reader: Reader, rows: SplitStager, part: Part, name: str, *, alone: bool) -> None:
        batches: Iterator[pa.RecordBatch] = reader.read(name)
        with closing(_ahead(batches) if alone else batches) as given:  # type: ignore[type-var]
            for batch in given:
                self._reporter.add(Stage.EXTRACT, rows=batch.num_rows)
                rows.add(part.passed(batch))
                self._reporter.add(Stage.CHECK, rows=batch.num_rows)

    def _copy(self, reader: RawReader, rows: SplitStager, part: Part, name: str) -> None:
        for tuples in reader.copy(name):
            self._reporter.add(Stage.EXTRACT, rows=tuples.rows)
            passed = part.passed_raw(tuples)
            if passed.rows:
                rows.add_tuples(passed.data, passed.rows)

    # -- the end

    def _finished(self, snapshot: Snapshot, stager: Stager) -> BatchManifest:
        order, checker, at = self._order, self._reading.checker, now()
        for index in range(len(snapshot.state.splits)):
            checker.add(stager.records[index]["checked"])
        self._before()
        self._settle(snapshot, stager, checker)
        checker.finish(at, partial=not is_whole(order))
        deleted = stager.add_deletes(self._session.deletes(), self._deletes_schema())
        chunks = stager.finish()
        manifest = BatchManifest(
            run_id=order.run_id,
            batch_id=self.batch_id,
            suite=self.suite_name,
            columns=target_columns(order),
            chunks=chunks,
            rows=sum(chunk.rows for chunk in chunks) - deleted,
            rows_read=checker.rows_checked,
            rows_quarantined=checker.rows_bad,
            findings=(*checker.findings(), *self._session.findings()),
            batch_digest=batch_digest((chunk.content_digest for chunk in chunks), self.suite_name),
            snapshot=snapshot.state.kind,
            readers=snapshot.readers,
            form=self.form,
            rows_deleted=deleted,
            complete=self._session.complete,
            resumed=self._resumed,
            restarted=self._restarted,
            new_cursor=self._session.save(self.batch_id),
            wrapped_key=self.wrapped_key,
            extracted_at=at,
        )
        self._out.write_manifest(manifest)
        stager.announce()
        return manifest

    def _deletes_schema(self) -> pa.Schema:
        keys = set(target_keys(self._order))
        return pa.schema([field for field in self._reading.schema if field.name in keys])

    def _settle(self, snapshot: Snapshot, stager: Stager, checker: Checker) -> None:
        """Keep the bad rows for the provider; stop the run where they are too many."""
        order = self._order
        if checker.rows_bad == 0:
            return
        whole, first = Quarantine(order.grant.items), 0
        for index in range(len(snapshot.state.splits)):
            if (rows := self._quarantined(index)) is not None:
                whole.extend(rows, first)
            first += int(stager.records[index]["checked"]["checked"])
        self._out.write_quarantine(whole.sealed(PublicIdentity.from_json(order.provider_identity), order.run_id))
        if checker.rows_bad > order.quarantine_limit * checker.rows_checked:
            raise QuarantineExceeded(
                run=order.run_id,
                quarantined=checker.rows_bad,
                read=checker.rows_checked,
                limit=f"{order.quarantine_limit:.2%}",
                findings="；".join(f"{found.item}/{found.check}: {found.rows}" for found in checker.findings()[:5]),
            )

    def _gone(self) -> frozenset[str]:
        """Columns that the source no longer has, where the order goes on without them. Raises SourceSchemaChanged."""
        order = self._order
        needed = {*order.key_columns, order.watermark_column, *(rule.column for rule in order.grant.row_filter)} - {""}
        drift = hold_source(order.source_table, order.expected_columns, self._schema.columns, order.drift, needed)
        return frozenset(drift.missing)

    def _quarantined(self, index: int) -> pa.Table | None:
        """Bad rows of a split: as this process found them, or as the killed one left them."""
        if index in self._quarantines:
            return self._quarantines[index].table()
        data = self._out.quarantine(index)
        return open_quarantine(data, self._identity) if data is not None and self._identity is not None else None


def _memory_of(split: int) -> str:
    return f"{split:05d}"


def _opened(extraction: Extraction, snapshot: Snapshot) -> Reader | RawReader:
    if extraction._is_raw and isinstance(snapshot, PostgresqlSnapshot):
        columns = tuple(item.column for item in extraction._order.grant.items)
        return snapshot.raw_reader(columns, extraction._session.mark)
    return snapshot.reader()


def _ahead(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches, the next ones read in a thread while one is worked on."""
    waiting: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(_AHEAD)
    ended = threading.Event()

    def put(item: pa.RecordBatch | BaseException | None) -> bool:
        while not ended.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    return
            put(None)
        except BaseException as problem:  # noqa: BLE001 -- raised again where the batches are wanted
            put(problem)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=read, name="read", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        ended.set()
        thread.join()
