"""Diff: what differs from the last delivered state, by key and row. Finds inserts, updates and deletes without a watermark.

One pass: every row is fingerprinted as it would be handed over, looked up in the last state, and goes on at once where it is
new or changed; what was not met is gone. The new state is written beside and holds from the moment in which the platform's
cursor names its batch, which it does when the receipt is complete. A state that is lost, damaged or made under other terms
means that nothing is known: every row comes, and the batch is `complete`, so that the target keeps nothing beyond it.

A row that a check sets aside is not handed over, as in a full run: where it stood at the target, it is deleted.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import KeyNotGranted, SourceKeyNotUnique
from jinqiao.dataplane.pipeline.modes.terms import terms_of
from jinqiao.dataplane.pipeline.orders import keys_of, target_columns
from jinqiao.dataplane.staging.fingerprints import (
    FINGERPRINT,
    FingerprintIndex,
    Fingerprints,
    from_arrow,
    key_fingerprints,
    row_fingerprints,
    to_arrow,
)
from jinqiao.dataplane.staging.state import StateReader, TaskState
from jinqiao.kernel.contracts.exchange import ExchangeOrder

_KEY, _ROW = "#key", "#row"  # no code of an item looks like this


@dataclass(frozen=True, slots=True)
class DiffCounts:
    inserted: int
    updated: int
    deleted: int
    unchanged: int


class DiffSession:
    """One run of a diff. `filter` may be called by several threads at once; the rest by one, after them."""

    def __init__(self, state: TaskState, order: ExchangeOrder) -> None:
        """Reads the state that `order.after` names. Raises KeyNotGranted where nothing tells rows apart."""
        columns, keys = target_columns(order), keys_of(order)
        if not keys:
            raise KeyNotGranted(run=order.run_id, keys=", ".join(order.key_columns))
        self._table, self._algorithms = order.source_table, state.algorithms
        self._keys = pa.schema([field for field in map(arrow_schema(columns).field, keys)])
        self._schema = pa.schema([pa.field(_KEY, FINGERPRINT), pa.field(_ROW, FINGERPRINT), *self._keys])
        self._lock = threading.Lock()
        terms = terms_of(order)
        self._base = state.open(order.after, terms)
        self.complete = self._base is None
        self.lost = self.complete and bool(order.after)
        self._index, self._rows = _loaded(self._base)
        self._met = np.zeros(len(self._index), np.bool_)
        self._hits = self._updated = 0
        self._new: list[Fingerprints] = []
        self._finished = False
        self._writer = state.writer(terms)

    def filter(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Of rows of the target's columns, those that are new or not as they were delivered."""
        keys = batch.select(self._keys.names)
        prints = key_fingerprints(keys, self._algorithms)
        rows = row_fingerprints(batch, self._algorithms)
        kept = pa.RecordBatch.from_arrays([to_arrow(prints), to_arrow(rows), *keys.columns], schema=self._schema)
        place = self._index.find(prints)
        known = place >= 0
        at = place[known]
        changed = ~known
        changed[known] = (self._rows[self._index.order[at]] != rows[known]).any(axis=1)
        new = prints[~known]
        with self._lock:
            self._met[at] = True
            self._hits += len(at)
            self._updated += int(np.count_nonzero(changed)) - len(new)
            if len(new):
                self._new.append(new)
            self._writer.add(kept)
        return batch if changed.all() else batch.filter(pa.array(changed))

    def deletes(self) -> Iterator[pa.RecordBatch]:
        """Keys that were delivered and were not met now, in the types of the target. Raises SourceKeyNotUnique."""
        self._finish()
        if self._base is None:
            return
        gone = np.zeros(len(self._index), np.bool_)
        gone[self._index.order[~self._met]] = True
        start = 0
        for number, rows in enumerate(self._base.sizes):
            wanted = gone[start : start + rows]
            start += rows
            if wanted.any():
                frame = self._base.frame(number).select(self._keys.names)
                yield frame.filter(pa.array(wanted))

    @property
    def counts(self) -> DiffCounts:
        inserted = sum(len(part) for part in self._new)
        gone = len(self._index) - int(np.count_nonzero(self._met))
        return DiffCounts(inserted, self._updated, gone, self._hits - self._updated)

    def save(self, batch_id: str) -> None:
        """Keep what the batch brings, for the run whose cursor names it. Raises SourceKeyNotUnique, SpoolFull."""
        self._finish()
        self._writer.save(batch_id)

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

    def _finish(self) -> None:
        """No key came twice: neither a known one nor a new one."""
        if self._finished:
            return
        twice = self._hits - int(np.count_nonzero(self._met))
        if self._new:
            twice += _repeated(np.concatenate(self._new))
        if twice:
            raise SourceKeyNotUnique(table=self._table, rows=twice)
        self._finished = True


def _loaded(base: StateReader | None) -> tuple[FingerprintIndex, Fingerprints]:
    """Index of the keys, and the rows in the order of the state."""
    count = base.rows if base is not None else 0
    keys, rows = np.empty((count, 2), np.uint64), np.empty((count, 2), np.uint64)
    start = 0
    for frame in base.frames() if base is not None else ():
        end = start + frame.num_rows
        keys[start:end], rows[start:end] = from_arrow(frame.column(_KEY)), from_arrow(frame.column(_ROW))
        start = end
    return FingerprintIndex(keys), rows


def _repeated(prints: Fingerprints) -> int:
    """How many stand there a second time."""
    first = np.sort(prints[:, 0])
    if not (first[1:] == first[:-1]).any():
        return 0
    return len(prints) - len(np.unique(prints, axis=0))
