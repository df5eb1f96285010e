"""Watermark: rows whose watermark is at least the cursor less the overlap, without those that were delivered as they are.

    cursor     highest watermark read, but never beyond the source's clock, and never back
    ties       rows with exactly the cursor's watermark are read again: some of them may have been committed since
    late rows  read again where their watermark lies within the overlap; on PostgreSQL the cursor waits for transactions that
               are still open (`connectors.watermarks`), so that what the server itself stamps is never missed
    future     rows stamped after the source's own clock are handed over; they are read again until their time has come
    NULL       rows without a watermark come with the first run only; they are counted in every run (finding `watermark`)
    unchanged  rows of the window that were delivered are known by their fingerprints and not sent again

The first run reads everything. Its cursor is bounded by the clock as it was before the snapshot was opened: what is committed
while it reads has a later watermark, or lies within the overlap.

`order.until` makes a backfill: the rows of a window, both ends included, whatever was delivered; the cursor and what is
remembered stay as they are.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.connectors.snapshots import Snapshot, SnapshotState, Tuples
from jinqiao.dataplane.connectors.watermarks import WatermarkFacts
from jinqiao.dataplane.errors import StateLost, WatermarkNotUsable
from jinqiao.dataplane.pipeline.modes.cursors import Marks, Scale, highest_of
from jinqiao.dataplane.pipeline.modes.terms import terms_of
from jinqiao.dataplane.pipeline.orders import join_cursor, split_cursor, watermark_of
from jinqiao.dataplane.pipeline.session import Notes, Session
from jinqiao.dataplane.staging.fingerprints import (
    FINGERPRINT,
    FingerprintIndex,
    Fingerprints,
    fingerprints_of,
    from_arrow,
    none_of,
    row_fingerprints,
    to_arrow,
)
from jinqiao.dataplane.staging.state import TaskState
from jinqiao.kernel.contracts.exchange import Delivery, ExchangeOrder, Finding, Severity
from jinqiao.kernel.contracts.tables import TableSchema
from jinqiao.kernel.crypto.errors import SealBroken

NO_WATERMARK = "watermark"  # the check of the finding
_ROW = "#row"
_SCHEMA = pa.schema([pa.field(_ROW, FINGERPRINT)])
_NOTES = pa.schema([pa.field(_ROW, FINGERPRINT), pa.field("#mark", pa.int64())])
_PRUNE_ROWS = 500_000

Places = np.ndarray[Any, np.dtype[np.int64]]


def _taken(batch: pa.RecordBatch, rows: "Places | None") -> pa.RecordBatch:
    return batch if rows is None else batch.take(pa.array(rows))


class WatermarkSession(Session):
    """One watermark run. `marks` and `filter` may be called by several threads at once; the rest by one, after them."""

    remembers = True

    def __init__(
        self,
        state: TaskState,
        order: ExchangeOrder,
        schema: TableSchema,
        facts: WatermarkFacts,
        *,
        is_raw: bool = False,
    ) -> None:
        """`facts` were asked before the snapshot is opened; without `null_rows` those are counted that are read. `is_raw`: rows
        come in the source's own binary form, and are known by it.

        Raises WatermarkNotUsable, CursorNotUsable, KeyNotGranted; StateLost where rows would be appended a second time.
        """
        column = watermark_of(order, schema)
        if column is None:
            raise WatermarkNotUsable(run=order.run_id, column=order.watermark_column)
        self._scale, self._order, self._state = Scale(column), order, state
        self._terms = terms_of(order, is_raw=is_raw)
        self.columns, self.mark = (column.name,), column.name
        self._ceiling = self._scale.ceiling(facts.ceiling)
        self._nulls_given, self._nulls_seen = facts.null_rows, 0
        self._highest: int | None = None  # of those that are not beyond the ceiling
        self._is_beyond = False  # was there a mark beyond it?
        self._lock = threading.Lock()
        self._prints: list[Fingerprints] = []
        self._marks: list[Marks] = []
        self._waiting = 0
        self._known = FingerprintIndex(none_of())
        value, batch_id = split_cursor(order.after)
        self._after = self._scale.number(value) if value else None
        self._is_backfill = bool(order.until)
        self.is_window = self._after is not None
        conditions = []
        if self._is_backfill:
            if self._after is not None:
                conditions.append(self._scale.at_least(self._after))
            conditions.append(self._scale.at_most(self._scale.number(order.until)))
        elif self._after is not None:
            conditions.append(self._scale.at_least(self._scale.back(self._after, order.overlap_s)))
            self._load(batch_id)
        else:
            state.forget()  # of an earlier beginning
        self.conditions = tuple(conditions)

    def _load(self, batch_id: str) -> None:
        """What was delivered of the window. Where that is lost, it is sent again, which only an append would notice."""
        base = self._state.open(batch_id, self._terms)
        if base is not None:
            with suppress(SealBroken), closing(base):
                parts = [from_arrow(frame.column(_ROW)) for frame in base.frames()]
                self._known = FingerprintIndex(np.concatenate(parts) if parts else none_of())
                return
        if self._order.delivery is Delivery.APPEND:
            raise StateLost(task=self._order.task_id)

    def marks(self, batch: pa.RecordBatch) -> pa.Array:
        """Watermarks of the rows as numbers (`Scale`); every row read counts, also one that a check sets aside."""
        numbers = self._scale.numbers(batch.column(self._scale.column.name))
        self.told(*self.reached(numbers))
        return numbers

    def reached(self, marks: pa.Array) -> tuple[int | None, int, bool]:
        highest = highest_of(marks)
        is_beyond = highest is not None and self._ceiling is not None and highest > self._ceiling
        if is_beyond:
            # a row from the future says nothing of how far the others are
            highest = highest_of(marks.filter(pc.less_equal(marks, self._ceiling)))
        return highest, marks.null_count, is_beyond

    def begun(self) -> dict[str, Any]:
        """The clock as it was before the snapshot: read later it would let the cursor run ahead of late commits."""
        return {"ceiling": self._ceiling, "known": len(self._known)}

    def may_go_on(self, begun: dict[str, Any]) -> bool:
        """Not where what was delivered before is no longer known as it was: other rows would be let through."""
        return bool(begun.get("known") == len(self._known))

    def recall(self, notes: Notes, rows: Iterator[pa.RecordBatch]) -> None:
        for batch in notes:
            self._keep(from_arrow(batch.column(0)), batch.column(1).to_numpy())

    def open_snapshot(
        self, source: Source, plan: ReadPlan, *, parallel: int, resume: SnapshotState | None, chunk_rows: int
    ) -> Snapshot:
        """Only the first run reads the whole table: what is newer is found by an index, if there is one."""
        asked = replace(plan, is_window=True) if self.is_window else plan
        return source.open_snapshot(asked, parallel=parallel, resume=resume, chunk_rows=chunk_rows)

    def go_on(self, begun: dict[str, Any]) -> None:
        self._ceiling = begun["ceiling"]

    def told(self, highest: int | None, missing: int, is_beyond: bool = False) -> None:
        with self._lock:
            self._nulls_seen += missing
            if highest is not None and self._ceiling is not None and highest > self._ceiling:
                highest, is_beyond = None, True
            self._is_beyond |= is_beyond
            if highest is not None and (self._highest is None or highest > self._highest):
                self._highest = highest

    def filter(
        self, batch: pa.RecordBatch, marks: pa.Array | None = None, notes: Notes | None = None
    ) -> pa.RecordBatch:
        """Of rows of the target's columns, those that were not delivered as they are."""
        if self._is_backfill or batch.num_rows == 0 or marks is None:
            return batch
        new = self._new(marks, lambda rows: row_fingerprints(_taken(batch, rows), self._state.algorithms), notes)
        return batch if new is None else batch.filter(pa.array(new))

    def filter_raw(self, tuples: Tuples, notes: Notes) -> Tuples:
        if tuples.marks is None or tuples.rows == 0:
            return tuples
        self.told(*self.reached(tuples.marks))
        if self._is_backfill:
            return tuples
        new = self._new(tuples.marks, lambda rows: self._prints_of(tuples, rows), notes)
        return tuples if new is None else tuples.only(np.flatnonzero(new).tolist())

    def _prints_of(self, tuples: Tuples, rows: "Places | None") -> Fingerprints:
        if rows is not None:
            ends = np.array(tuples.ends)
            tuples = replace(tuples.only(rows.tolist()), ends=[0, *np.cumsum(np.diff(ends)[rows]).tolist()])
        return fingerprints_of(bytes(tuples.data), tuples.ends, self._state.algorithms)

    def _new(
        self, marks: pa.Array, prints_of: "Callable[[Places | None], Fingerprints]", notes: Notes | None
    ) -> "np.ndarray[Any, np.dtype[np.bool_]] | None":
        """Which rows were not delivered as they are; None where that is all of them. `prints_of` those at some places, or all."""
        numbers = marks.fill_null(np.iinfo(np.int64).min).to_numpy()
        if len(self._known):
            prints = prints_of(None)
            new = self._known.find(prints) < 0
            self._keep(prints, numbers, notes)
            return None if new.all() else new
        # only what the next run will read again has to be known
        floor = self._floor()
        again = np.arange(len(numbers)) if floor is None else np.flatnonzero(numbers >= floor)
        if len(again):
            self._keep(prints_of(again), numbers[again], notes)
        return None

    def findings(self) -> tuple[Finding, ...]:
        rows = max(
            self._nulls_seen, self._nulls_given or 0
        )  # some are none to the database, but none that has a place in a cursor
        if not rows:
            return ()
        name = self._scale.column.name
        items = [item.code for item in self._order.grant.items if item.column == name]
        return (Finding(check=NO_WATERMARK, item=items[0] if items else name, rows=rows, severity=Severity.WARN),)

    def save(self, batch_id: str) -> str:
        """The new cursor, after what belongs to it is durable; empty for a backfill, and before any watermark was seen."""
        cursor = self._cursor()
        if cursor is None and self._is_beyond:
            cursor = self._ceiling  # every row is from the future
        if self._is_backfill or cursor is None:
            return ""
        self._prune()
        with self._state.writer(self._terms) as writer:
            for prints in self._prints:
                writer.add(pa.RecordBatch.from_arrays([to_arrow(prints)], schema=_SCHEMA))
            writer.save(batch_id)
        return join_cursor(self._scale.text(cursor), batch_id)

    def close(self) -> None:
        """Nothing is open between calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the window of the next run

    def _cursor(self) -> int | None:
        """Where the next run goes on: it only grows while this one reads. None where nothing is known yet."""
        reached = self._highest
        if reached is None or (self._after is not None and reached < self._after):
            return self._after
        return reached

    def _floor(self) -> int | None:
        cursor = self._cursor()
        return None if cursor is None else self._scale.back(cursor, self._order.overlap_s)

    def _keep(self, prints: Fingerprints, numbers: Marks, notes: Notes | None = None) -> None:
        if notes is not None:
            notes.append(pa.RecordBatch.from_arrays([to_arrow(prints), pa.array(numbers)], schema=_NOTES))
        with self._lock:
            self._prints.append(prints)
            self._marks.append(numbers)
            self._waiting += len(prints)
            if self._waiting > _PRUNE_ROWS:
                self._prune()

    def _prune(self) -> None:
        """Forget rows that fell out of the next run's window."""
        floor = self._floor()
        if floor is None or not self._prints:
            return
        prints, numbers = np.concatenate(self._prints), np.concatenate(self._marks)
        within = numbers >= floor
        self._prints, self._marks = [prints[within]], [numbers[within]]
        self._waiting = 0
