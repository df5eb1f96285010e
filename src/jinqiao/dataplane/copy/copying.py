"""One copy: extraction and delivery side by side in one process, over the same staged, sealed chunks as between two nodes.

    <spool>/<source-target-table>/    keystore.json, master.key   the identity that chunks are sealed to
                                      copy.json                   the order that is under way; the cursor of the last one
                                      out/ in/ state/             staged chunks; what the last run delivered

Killed at any instant and called again with the same arguments, a copy goes on: with what is staged, and with what the target's
ledger says is in. Called with other arguments, or after its batch was refused by the target for good, it begins anew; so it does,
at once, where the target's ledger lacks the batch that the cursor names: the database was put back to an earlier state.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from jinqiao.dataplane.connectors import Source, Target, open_source, open_target
from jinqiao.dataplane.connectors.base import Closing, never
from jinqiao.dataplane.connectors.snapshots import Snapshot
from jinqiao.dataplane.copy.places import Place
from jinqiao.dataplane.errors import (
    ChunkDamaged,
    ChunkMissing,
    ColumnMissing,
    CopyStateDamaged,
    CopyUnderWay,
    CopyWouldDouble,
    ManifestMismatch,
    RunStopped,
    TargetRestored,
)
from jinqiao.dataplane.pipeline.compare import Comparison, compare
from jinqiao.dataplane.pipeline.deliver import Loader, deliver, is_final, verify_manifest
from jinqiao.dataplane.pipeline.extract import Extraction, let_go, void
from jinqiao.dataplane.pipeline.progress import Reporter, Told
from jinqiao.dataplane.pipeline.raw import may_go_raw
from jinqiao.dataplane.staging.records import record, value_of
from jinqiao.dataplane.staging.spool import Spool
from jinqiao.dataplane.staging.state import StateStore, state_key
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    CheckRule,
    ChunkManifest,
    CopyMode,
    Delivery,
    DeliveryCounts,
    ExchangeOrder,
    Reconcile,
)
from jinqiao.kernel.contracts.grants import GrantedItem, GrantTerms, SharingMode
from jinqiao.kernel.contracts.tables import Engine, Mask, TableSchema
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.errors import JinqiaoError, Unavailable
from jinqiao.kernel.keystore import KeyStore, write_durably
from jinqiao.kernel.moments import now

_RESTORED, _OVERTAKEN = "restored", "overtaken"
_STATE = "copy.json"
_LOCK = "copy.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """What is to be copied. `masks` and `checks` are by column of the source."""

    source: Place
    target: Place
    table: str
    to: str
    mode: CopyMode = CopyMode.FULL
    delivery: Delivery | None = None  # None: as the mode has it
    keys: tuple[str, ...] = ()  # empty: the primary key of the source
    watermark: str = ""
    overlap_s: int = 300
    parallel: int = 2
    chunk_rows: int = 40_000
    masks: dict[str, Mask] = field(default_factory=dict)
    checks: tuple[CheckRule, ...] = ()
    quarantine_limit: float = 0.01
    rows_per_s: int | None = None
    mb_per_s: float | None = None
    reconcile: Reconcile = Reconcile.COUNTS
    suite: str = "international"
    sign_off: str = ""  # of delivery reload: who allows it, and why

    @property
    def delivered(self) -> Delivery:
        return self.delivery or (Delivery.UPSERT if self.mode is CopyMode.WATERMARK else Delivery.MIRROR)

    def key(self) -> str:
        """Names the folder of this copy in the spool."""
        text = "\n".join((self.source.name, self.target.name, self.table, self.to))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class SideFailed(Exception):
    """Something went wrong at one side; `problem` says what, `side` is `source` or `target`."""

    def __init__(self, side: str, problem: BaseException) -> None:
        super().__init__(side)
        self.side, self.problem = side, problem


@dataclass(frozen=True, slots=True)
class CopyResult:
    manifest: BatchManifest
    counts: DeliveryCounts
    seconds: dict[str, float]
    comparison: Comparison | None = None
    sign_off: str = ""

    @property
    def reconciled(self) -> bool:
        """Delivered and counted; with a comparison of contents, the same on both sides."""
        return self.comparison is None or self.comparison.same

    def to_json(self) -> dict[str, Any]:
        manifest, counts = self.manifest, self.counts
        shown: dict[str, Any] = {
            "rows": {
                "read": manifest.rows_read,
                "sent": manifest.rows,
                "inserted": counts.inserted,
                "updated": counts.updated,
                "deleted": counts.deleted,
                "unchanged": counts.unchanged,
                "quarantined": manifest.rows_quarantined,
                "target": counts.target_rows,
            },
            "bytes": sum(chunk.size_bytes for chunk in manifest.chunks),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "chunks": [
                {"number": chunk.number, "rows": chunk.rows, "bytes": chunk.size_bytes, "digest": chunk.digest}
                for chunk in manifest.chunks
            ],
            "batch": manifest.batch_id,
            "batch_digest": manifest.batch_digest,
            "suite": manifest.suite,
            "form": manifest.form.value,
            "snapshot": manifest.snapshot,
            "readers": manifest.readers,
            "resumed": manifest.resumed,
            "restarted": list(manifest.restarted),
            "findings": [found.to_json() for found in manifest.findings],
            "reconciled": self.reconciled,
            "reconcile": "content" if self.comparison else "counts",
        }
        if self.sign_off:
            shown["sign_off"] = self.sign_off
        if self.comparison is not None:
            shown["content"] = {
                "source": self.comparison.source.to_json(),
                "target": self.comparison.target.to_json(),
            }
        return shown


class Copying:
    """The copies of one request in one spool folder. Raises CopyUnderWay where another process works there."""

    def __init__(self, request: CopyRequest, spool: Path) -> None:
        self._request = request
        self._home = spool / request.key()
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise CopyUnderWay(table=request.table) from None
        keystore = KeyStore(self._home, request.suite)
        self.identity: Identity = keystore.identity(suite=request.suite)
        self.spool = Spool(self._home)
        self.states = StateStore(self._home / "state", state_key(keystore, request.suite), request.suite)

    def close(self) -> None:
        os.close(self._lock)

    def run(self, *, progress: Callable[[Told], None] | None = None, stop: Callable[[], bool] = never) -> CopyResult:
        """Copy, or go on with the copy that was ended. What the disk has damaged is read from the source again, once; everything is,
        where the target was put back to an earlier state.

        Raises SideFailed, RunStopped, CopyWouldDouble.
        """
        self._look_whether_overtaken()
        try:
            return self._run(progress, stop)
        except SideFailed as failure:
            match failure.problem:
                case TargetRestored():
                    self._begin_anew(_RESTORED)
                case ChunkDamaged() | ChunkMissing() | ManifestMismatch():
                    self._reopen(is_void=isinstance(failure.problem, ManifestMismatch))
                case _:
                    raise
            return self._run(progress, stop)

    def _run(self, progress: Callable[[Told], None] | None, stop: Callable[[], bool]) -> CopyResult:
        began = time.monotonic()
        request, seconds = self._request, dict[str, float]()
        with ExitStack() as opened:
            with _at("source"):
                source = opened.enter_context(open_source(request.source.connection, request.source.password))
                if not self._may_go_raw():
                    source.warm()
            with _at("target"):
                target = opened.enter_context(open_target(request.target.connection, request.target.password))
            warming = opened.enter_context(_Warming(target, request.to))
            with _at("source"):
                order = self._order(source)
            snapshot, manifest = None, self.spool.outgoing(order.run_id).manifest()
            try:
                if manifest is None:
                    run = opened.enter_context(_SideBySide(self, order, source, target, warming, progress, stop))
                    manifest, counts = run.run(seconds)
                    snapshot = run.snapshot
                else:
                    let_go(self.spool.outgoing(order.run_id), source)
                    warming.close()
                    with _at("target"), _timed(seconds, "deliver"):
                        self._link(order, manifest.chunks)
                        counts = deliver(
                            order, manifest, target, spool=self.spool, identity=self.identity, progress=progress, stop=stop
                        )  # fmt: skip
            except SideFailed as failure:
                if failure.side == "target" and is_final(failure.problem):
                    self._give_up(order, target)
                raise
            comparison = None
            if request.reconcile is Reconcile.CONTENT:
                with _timed(seconds, "compare"):
                    comparison = self._compared(order, source, snapshot, opened)
        self._finish(order, manifest)
        seconds["total"] = time.monotonic() - began
        return CopyResult(manifest, counts, seconds, comparison, request.sign_off)

    @property
    def anew(self) -> str:
        """Why the copy under way begins from the beginning, where it does so by itself."""
        return str(self._state().get("anew", ""))

    def _may_go_raw(self) -> bool:
        """Before anything is known of the table. Where it cannot, its rows are read as Arrow, for which a source makes ready."""
        request = self._request
        engines = {request.source.connection.engine, request.target.connection.engine}
        is_as_it_is = not request.masks and not request.checks and engines == {Engine.POSTGRESQL}
        return is_as_it_is and may_go_raw(request.mode, request.delivered)

    def _reopen(self, *, is_void: bool) -> None:
        """Take the manifest back: extraction goes on, and reads again what is no longer as it was staged. What is `is_void`
        contradicts the target's ledger, and is made anew as another batch."""
        order = ExchangeOrder.from_json(self._state()["order"])
        self.spool.outgoing(order.run_id).drop_manifest()
        if is_void:
            void(self.spool.outgoing(order.run_id), "ledger")
        self.spool.incoming(order.run_id).purge()

    def _begin_anew(self, reason: str) -> None:
        """Forget how far the copies came, durably and with the reason: whoever goes on tells it."""
        state = self._state()
        self.spool.purge(ExchangeOrder.from_json(state["order"]).run_id)
        kept = {key: value for key, value in state.items() if key not in ("order", "cursor", "terms")}
        self._write_state({**kept, "anew": reason})

    def _give_up(self, order: ExchangeOrder, target: Target) -> None:
        """The target refused the batch, and would again: the next start reads what the source says then."""
        staged = self.spool.outgoing(order.run_id)
        manifest = staged.manifest()
        if manifest is None:
            return
        with contextlib.suppress(JinqiaoError):  # it cannot say whether the batch is in: it is asked at the next start
            if target.state(manifest.batch_id).merged is None:
                void(staged, "target")
                self.spool.incoming(order.run_id).purge()

    def _look_whether_overtaken(self) -> None:
        """A copy of the full mode came after the cursor: the target has rows beyond it, and is no longer what a diff remembers of it.
        Merged they come to the same; an append would add them again, a diff would take for unchanged what it is not."""
        request, state = self._request, self._state()
        if not state.get(_OVERTAKEN) or request.mode is CopyMode.FULL or state.get("terms") != self._terms():
            return
        if request.delivered is Delivery.APPEND:
            raise CopyWouldDouble(table=request.table)
        if request.mode is CopyMode.DIFF:
            kept = {key: value for key, value in state.items() if key not in ("cursor", "terms", _OVERTAKEN)}
            self._write_state({**kept, "anew": _OVERTAKEN})

    # -- what one run is

    def _order(self, source: Source) -> ExchangeOrder:
        """The order under way if it was for the same, otherwise a new one."""
        request, state = self._request, self._state()
        schema = source.schema(request.table)
        cursor = str(state.get("cursor", "")) if state.get("terms") == self._terms() else ""
        fresh = self._fresh_order(schema, cursor if request.mode is not CopyMode.FULL else "")
        if state.get("order"):
            before = ExchangeOrder.from_json(state["order"])
            if replace(before, run_id=fresh.run_id) == fresh:
                return before
            let_go(self.spool.outgoing(before.run_id), source)
            self.spool.purge(before.run_id)
        self._write_state({**state, "order": fresh.to_json()})
        return fresh

    def _fresh_order(self, schema: TableSchema, after: str) -> ExchangeOrder:
        request, public = self._request, self.identity.public.to_json()
        known = {column.name for column in schema.columns}
        keys = request.keys or tuple(column.name for column in schema.columns if column.primary_key)
        asked = (*keys, *request.masks, *(rule.item for rule in request.checks))
        asked = (*asked, request.watermark) if request.watermark else asked
        if missing := sorted(set(asked) - known):
            raise ColumnMissing(table=request.table, columns=", ".join(missing))
        items = tuple(
            GrantedItem(
                item=column.name, code=column.name, column=column.name, type=column.type, length=column.length,
                precision=column.precision, scale=column.scale, mask=request.masks.get(column.name, Mask.NONE),
            )
            for column in schema.columns
        )  # fmt: skip
        grant = GrantTerms(
            grant_id="copy", entry_code=request.table, provider="source", provider_name="source", consumer="target",
            consumer_name="target", mode=SharingMode.BATCH, items=items, valid_from=date.min, valid_until=date.max,
        )  # fmt: skip
        return ExchangeOrder(
            run_id=f"COPY-{now():%Y%m%d%H%M%S}-{secrets.token_hex(3)}",
            task_id="copy",
            grant=grant,
            mode=request.mode,
            provider_node="source",
            consumer_node="target",
            consumer_identity=public,
            provider_identity=public,
            source_table=request.table,
            key_columns=keys,
            watermark_column=request.watermark,
            after=after,
            overlap_s=request.overlap_s if request.mode is CopyMode.WATERMARK else 0,
            target_table=request.to,
            chunk_rows=request.chunk_rows,
            rows_per_s=request.rows_per_s,
            mb_per_s=request.mb_per_s,
            checks=request.checks,
            quarantine_limit=request.quarantine_limit,
            delivery=request.delivered,
            target_engine=request.target.connection.engine,
            reconcile=request.reconcile,
            reload_approval=request.sign_off,
            parallel=request.parallel,
        )

    def _terms(self) -> str:
        """What a cursor belongs to: another mode, key or watermark begins from the beginning."""
        request = self._request
        return json.dumps([request.mode.value, request.keys, request.watermark, sorted(request.masks)])

    def _state(self) -> dict[str, Any]:
        """What is written down of this copy; nothing where the disk has changed it: then it begins from the beginning.

        Raises CopyStateDamaged for an append, which would add rows again that are there already.
        """
        try:
            state = value_of((self._home / _STATE).read_bytes())
        except FileNotFoundError:
            return {}
        if state is not None:
            return dict(state)
        if self._request.delivery is Delivery.APPEND:
            raise CopyStateDamaged(table=self._request.table)
        for run_id in self.spool.runs():
            self.spool.purge(run_id)
        return {}

    def _write_state(self, state: dict[str, Any]) -> None:
        write_durably(self._home / _STATE, record(state))

    def _finish(self, order: ExchangeOrder, manifest: BatchManifest) -> None:
        """The batch has arrived: the cursor moves on, then what was staged goes."""
        kept = {key: value for key, value in self._state().items() if key not in ("order", "anew")}
        if order.mode is CopyMode.FULL:
            kept |= {_OVERTAKEN: True} if "cursor" in kept else {}
        elif manifest.new_cursor:
            kept.pop(_OVERTAKEN, None)
            kept |= {"cursor": manifest.new_cursor, "terms": self._terms()}
        self._write_state(kept)
        self.spool.purge(order.run_id)

    # -- chunks from one side to the other

    def _link(self, order: ExchangeOrder, chunks: tuple[ChunkManifest, ...]) -> None:
        """Give staged files to the receiving side, without copying them."""
        sent, taken = self.spool.outgoing(order.run_id), self.spool.incoming(order.run_id)
        taken.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for chunk in chunks:
            taken.drop_chunk(chunk.number)
            try:
                os.link(sent.chunk_path(chunk.number), taken.chunk_path(chunk.number))
            except FileNotFoundError:
                raise ChunkMissing(chunk=chunk.number, run=order.run_id) from None

    def _compared(
        self, order: ExchangeOrder, source: Source, snapshot: Snapshot | None, opened: ExitStack
    ) -> Comparison:
        request = self._request
        with _at("target"):
            landed = opened.enter_context(open_source(request.target.connection, request.target.password))
        with _at("source"):
            return compare(order, source, landed, snapshot=snapshot)


class _SideBySide(Closing):
    """Extraction in this thread, delivery of what is staged in another. The snapshot stays open until it is closed."""

    def __init__(
        self,
        copying: Copying,
        order: ExchangeOrder,
        source: Source,
        target: Target,
        warming: "_Warming",
        progress: Callable[[Told], None] | None,
        stop: Callable[[], bool],
    ) -> None:
        self._copying, self._order, self._target, self._warming = copying, order, target, warming
        self._progress, self._asked_to_stop = progress, stop
        self._chunks = _Feed()
        self._failed, self._prepared = threading.Event(), threading.Event()
        self._merged: DeliveryCounts | None = None
        self._problem: BaseException | None = None
        self._loaded_s = 0.0
        with _at("source"):
            self._extraction = Extraction(
                order, source, copying.spool.outgoing(order.run_id), identity=copying.identity, states=copying.states,
                progress=progress, stop=self._stop, on_chunk=self._staged, before=self._wait_for_target,
                anew=copying.anew,
            )  # fmt: skip

    @property
    def snapshot(self) -> Snapshot | None:
        return self._extraction.snapshot

    def close(self) -> None:
        self._extraction.close()

    def run(self, seconds: dict[str, float]) -> tuple[BatchManifest, DeliveryCounts]:
        order, extraction = self._order, self._extraction
        with _at("source"):
            extraction.begin()
        reporter = Reporter(order.run_id, self._progress)
        incoming = self._copying.spool.incoming(order.run_id)
        loader = Loader(order, extraction.head(), self._target, incoming, self._copying.identity, reporter, self._stop)
        loading = threading.Thread(target=self._load, args=(loader,), name="load")
        loading.start()
        try:
            with _timed(seconds, "extract"):
                manifest = extraction.run()
        except BaseException as problem:
            self._failed.set()
            self._chunks.end()
            loading.join()
            if self._problem is not None and not isinstance(self._problem, RunStopped):
                if is_final(self._problem):
                    loader.abandon()
                raise SideFailed("target", self._problem) from problem
            if isinstance(problem, RunStopped):
                raise
            if not isinstance(problem, Unavailable):  # what may pass leaves what is loaded for the next start
                loader.abandon()
            raise SideFailed("source", problem) from problem
        self._chunks.end()
        loading.join()
        seconds["load"] = self._loaded_s
        if self._problem is None:
            verify_manifest(order, manifest)
        try:
            if self._problem is not None:
                raise self._problem
            with _timed(seconds, "merge"):
                return manifest, self._merged or loader.merge(manifest)
        except RunStopped:
            raise
        except Exception as problem:
            if is_final(problem):
                loader.abandon()
            raise SideFailed("target", problem) from problem

    def _stop(self) -> bool:
        return self._failed.is_set() or self._asked_to_stop()

    def _wait_for_target(self) -> None:
        """The source is read while the target makes ready, but nothing is staged for one that refuses."""
        self._prepared.wait()
        if self._problem is not None:
            raise RunStopped(run=self._order.run_id)

    def _staged(self, chunk: ChunkManifest) -> None:
        self._copying._link(self._order, (chunk,))
        self._chunks.put(chunk)

    def _load(self, loader: Loader) -> None:
        began = time.monotonic()
        try:
            self._warming.close()
            self._merged = loader.prepare()
            self._prepared.set()
            loader.load(self._chunks)
        except BaseException as problem:  # noqa: BLE001 -- raised again by the thread that waits for this one
            self._problem = problem
            self._failed.set()
        finally:
            self._prepared.set()
        self._loaded_s = time.monotonic() - began


class _Warming(Closing):
    """The target is connected to while the source is asked. `close` waits for it, and comes before the target is used."""

    def __init__(self, target: Target, table: str) -> None:
        self._target, self._table = target, table
        self._thread = threading.Thread(target=self._warm, name="warm")
        self._thread.start()

    def close(self) -> None:
        self._thread.join()

    def _warm(self) -> None:
        with contextlib.suppress(Exception):  # it comes again where it is needed, and is told there
            self._target.warm(self._table)


class _Feed:
    """Chunks as they are staged, from the threads that read to the one that loads."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[ChunkManifest | None] = queue.SimpleQueue()

    def put(self, chunk: ChunkManifest) -> None:
        self._queue.put(chunk)

    def end(self) -> None:
        self._queue.put(None)

    def is_slow(self) -> bool:
        return self._queue.empty()

    def __iter__(self) -> Iterator[ChunkManifest]:
        return self

    def __next__(self) -> ChunkManifest:
        chunk = self._queue.get()
        if chunk is None:
            self._queue.put(None)
            raise StopIteration
        return chunk


class _at:
    """Inside, what goes wrong belongs to one side."""

    def __init__(self, side: str) -> None:
        self._side = side

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if problem is None or isinstance(problem, SideFailed | RunStopped | KeyboardInterrupt | SystemExit):
            return
        raise SideFailed(self._side, problem) from problem


class _timed:
    """Adds the seconds of a block under a name."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = self._seconds.get(self._name, 0.0) + time.monotonic() - self._began
