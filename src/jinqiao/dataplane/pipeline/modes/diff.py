"""Diff: what differs from the last delivered state, by key and row. Finds inserts, updates and deletes without a watermark.

One pass over the source: every row is fingerprinted as it would be handed over and looked up in the last state. A row that is
found there is unchanged, and that is all that is done for it; one that is not goes on at once. Afterwards one pass over the last
state: what was not met is updated where its key was among the rows that went on, and deleted where it was not. The new state is
what was met and what went on; it holds from the moment in which the platform's cursor names its batch, which it does when the
receipt is complete. A state that is lost, damaged or made under other terms means that nothing is known: every row comes, and
the batch is `complete`, so that the target keeps nothing beyond it.

A row that a check sets aside is not handed over, as in a full run: where it stood at the target, it is deleted.

Killed, a run goes on: of each split the places in the last state that were met are durable beside its chunks (4 bytes a row);
the fingerprints of rows that went on are made again from the staged rows themselves.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import KeyNotGranted, SourceKeyNotUnique, StateLost
from jinqiao.dataplane.pipeline.modes.terms import terms_of
from jinqiao.dataplane.pipeline.orders import target_columns, target_keys
from jinqiao.dataplane.pipeline.session import Notes, Session
from jinqiao.dataplane.staging.fingerprints import (
    FINGERPRINT,
    FingerprintIndex,
    Fingerprints,
    from_arrow,
    key_fingerprints,
    none_of,
    row_fingerprints,
    to_arrow,
)
from jinqiao.dataplane.staging.state import StateReader, TaskState
from jinqiao.kernel.contracts.exchange import Delivery, ExchangeOrder
from jinqiao.kernel.crypto.errors import SealBroken

_ROW, _KEY = "#row", "#key"  # no code of an item looks like this
_MET = pa.schema([pa.field("place", pa.uint32())])  # in the order of the state


@dataclass(frozen=True, slots=True)
class DiffCounts:
    inserted: int
    updated: int
    deleted: int
    unchanged: int


class DiffSession(Session):
    """One run of a diff. `filter` may be called by several threads at once; the rest by one, after them."""

    remembers = True

    def __init__(self, state: TaskState, order: ExchangeOrder) -> None:
        """Reads the state that `order.after` names.

        Raises KeyNotGranted where nothing tells rows apart, StateLost where rows would be appended a second time.
        """
        columns, keys = target_columns(order), target_keys(order)
        if not keys:
            raise KeyNotGranted(run=order.run_id, keys=", ".join(order.key_columns))
        self._table, self._algorithms = order.source_table, state.algorithms
        self._keys = pa.schema([field for field in arrow_schema(columns) if field.name in keys])
        self._schema = pa.schema([pa.field(_ROW, FINGERPRINT), pa.field(_KEY, FINGERPRINT), *self._keys])
        self._lock = threading.Lock()
        terms = terms_of(order)
        self._base, self._index = _opened(state, order.after, terms)
        self.complete = self._base is None
        self.lost = self.complete and bool(order.after)
        if self.lost and order.delivery is Delivery.APPEND:
            raise StateLost(task=order.task_id)
        self._met = np.zeros(len(self._index), np.bool_)
        self._hits = 0
        self._places: np.ndarray[Any, np.dtype[np.uint32]] | None = None  # place in the state → in the index
        self._sent: list[Fingerprints] = []  # keys of the rows that went on
        self._gone: list[pa.RecordBatch] = []
        self._counts: DiffCounts | None = None
        self._writer = state.writer(terms)

    def filter(
        self, batch: pa.RecordBatch, marks: pa.Array | None = None, notes: Notes | None = None
    ) -> pa.RecordBatch:
        """Of rows of the target's columns, those that are new or not as they were delivered."""
        rows = row_fingerprints(batch, self._algorithms)
        place = self._index.find(rows)
        known = place >= 0
        at = place[known]
        changed = batch if len(at) == 0 else batch.filter(pa.array(~known))
        self._send(changed, rows[~known])
        with self._lock:
            self._met[at] = True
            self._hits += len(at)
        if notes is not None and len(at):
            notes.append(pa.RecordBatch.from_arrays([pa.array(self._index.order[at])], schema=_MET))
        return changed

    def _send(self, changed: pa.RecordBatch, rows: Fingerprints) -> None:
        """Rows that go on, with their fingerprints, into the new state."""
        keys = changed.select(self._keys.names)
        prints = key_fingerprints(keys, self._algorithms)
        if not len(prints):
            return
        kept = pa.RecordBatch.from_arrays([to_arrow(rows), to_arrow(prints), *keys.columns], schema=self._schema)
        with self._lock:
            self._sent.append(prints)
            self._writer.add(kept)

    def begun(self) -> dict[str, Any]:
        """Places are those of one state: another, or none, and they mean nothing."""
        return {"known": len(self._index)}

    def may_go_on(self, begun: dict[str, Any]) -> bool:
        return bool(begun.get("known") == len(self._index))

    def recall(self, notes: Notes, rows: Iterator[pa.RecordBatch]) -> None:
        for batch in notes:
            if self._places is None:
                self._places = np.empty_like(self._index.order)
                self._places[self._index.order] = np.arange(len(self._index), dtype=np.uint32)
            self._met[self._places[batch.column(0).to_numpy()]] = True
            self._hits += batch.num_rows
        for batch in rows:
            self._send(batch, row_fingerprints(batch, self._algorithms))

    def deletes(self) -> Iterator[pa.RecordBatch]:
        """Keys that were delivered and are gone, in the types of the target. Raises SourceKeyNotUnique."""
        self._settle()
        yield from self._gone

    @property
    def counts(self) -> DiffCounts:
        """What the run found. Raises SourceKeyNotUnique."""
        return self._settle()

    def save(self, batch_id: str) -> str:
        """Keep what the batch brings, for the run whose cursor names it. Raises SourceKeyNotUnique, SpoolFull."""
        self._settle()
        self._writer.save(batch_id)
        return batch_id

    def close(self) -> None:
        self._writer.discard()
        if self._base is not None:
            self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settle(self) -> DiffCounts:
        """The pass over the last state, once: what is unchanged goes into the new one, what is gone is kept to be told."""
        if self._counts is not None:
            return self._counts
        sent = FingerprintIndex(np.concatenate(self._sent) if self._sent else none_of())
        self._sent = []
        updated = deleted = start = 0
        twice = self._hits - int(np.count_nonzero(self._met)) + sent.repeated()
        met = np.empty_like(self._met)
        met[self._index.order] = self._met  # in the order of the state
        self._index = FingerprintIndex(none_of())
        for frame in self._base.frames() if self._base is not None else ():
            here = met[start : start + frame.num_rows]
            start += frame.num_rows
            again = sent.find(from_arrow(frame.column(_KEY))) >= 0
            twice += int(np.count_nonzero(again & here))
            updated += int(np.count_nonzero(again & ~here))
            gone = ~(again | here)
            if gone.any():
                self._gone.append(frame.select(self._keys.names).filter(pa.array(gone)))
                deleted += self._gone[-1].num_rows
            self._writer.add(frame if here.all() else frame.filter(pa.array(here)))
        if twice:
            raise SourceKeyNotUnique(table=self._table, rows=twice)
        self._counts = DiffCounts(len(sent) - updated, updated, deleted, self._hits)
        return self._counts


def _opened(state: TaskState, batch_id: str, terms: str) -> tuple[StateReader | None, FingerprintIndex]:
    """The state with the index of its rows; None and an empty one where there is none that can be read."""
    base = state.open(batch_id, terms)
    if base is None:
        return None, FingerprintIndex(none_of())
    rows = np.empty((base.rows, 2), np.uint64)
    start = 0
    try:
        for frame in base.frames():
            rows[start : start + frame.num_rows] = from_arrow(frame.column(_ROW))
            start += frame.num_rows
    except SealBroken:
        base.close()
        return None, FingerprintIndex(none_of())
    return base, FingerprintIndex(rows)
