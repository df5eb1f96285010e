"""Fingerprints of rows and keys: 128 bits of the suite's digest over the bytes of a row, many at once.

The bytes of a row are made for speed and for nobody else, a batch at a time: those of its columns that are of one width side by
side, each after an octet that tells NULL from a value, the lengths of its texts likewise, then the texts. Lengths stand before what
they measure, so that no two rows of one schema have the same bytes. Two rows are the same here where their
canonical texts (`kernel.digests`) are the same: a test holds the two together.

They are compared, never shown: whoever holds the values of a person's row could find it by its fingerprint, so that they are
kept encrypted (`staging.state`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.kernel.crypto.suites import Suite

FINGERPRINT = pa.binary(16)
Fingerprints = np.ndarray[Any, np.dtype[np.uint64]]  # shape (rows, 2): the two halves
Fixed = np.ndarray[Any, np.dtype[Any]]

_ROWS = 8_192  # at a time: the bytes and digests of more would fall out of the processor's cache


def row_fingerprints(rows: pa.RecordBatch, algorithms: Suite) -> Fingerprints:
    """Of whole rows, in their order."""
    if rows.num_rows == 0:
        return none_of()
    parts = []
    for start in range(0, rows.num_rows, _ROWS):
        data, ends = row_octets(rows.slice(start, _ROWS))
        parts.append(fingerprints_of(data, ends, algorithms))
    return np.concatenate(parts)


def fingerprints_of(data: bytes, ends: Sequence[int], algorithms: Suite) -> Fingerprints:
    """Of rows whose bytes stand one after another: each goes from one of `ends` to the next."""
    digests = np.frombuffer(algorithms.digest_each(data, ends), np.uint64)
    return digests.reshape(len(ends) - 1, -1)[:, :2]


def row_octets(rows: pa.RecordBatch) -> tuple[bytes, list[int]]:
    """The bytes of all rows, and where they end, 0 first. Equal exactly where all values are, types of the columns being the same."""
    fixed: list[tuple[str, Fixed]] = []
    texts: list[pa.Array] = []
    for at, values in enumerate(rows.columns):
        if values.null_count:
            fixed.append((f"n{at}", values.is_valid().to_numpy(zero_copy_only=False).view(np.uint8)))
        else:
            fixed.append((f"n{at}", np.ones(1, np.uint8)))
        if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
            text = values.cast(pa.binary()) if values.null_count == 0 else pc.fill_null(values.cast(pa.binary()), b"")
            fixed.append(
                (f"l{at}", np.diff(np.frombuffer(text.buffers()[1], np.int32)[text.offset :][: len(text) + 1]))
            )
            texts.append(text)
        else:
            fixed.append((f"v{at}", _fixed(values)))
    made = np.empty(rows.num_rows, [(name, column.dtype) for name, column in fixed])
    for name, column in fixed:
        made[name] = column
    width = made.dtype.itemsize
    places = np.arange(rows.num_rows + 1, dtype=np.int32) * np.int32(width)
    front = pa.Array.from_buffers(pa.binary(), len(made), [None, pa.py_buffer(places), pa.py_buffer(made)])
    whole = pc.binary_join_element_wise(front, *texts, b"") if texts else front
    return whole.buffers()[2].to_pybytes(), np.frombuffer(whole.buffers()[1], np.int32)[: len(whole) + 1].tolist()


def _fixed(values: pa.Array) -> Fixed:
    """Values of one width as numpy has them; 0 where there is none."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.uint8())
    if values.null_count:
        values = pc.fill_null(values, pa.scalar(0, values.type))
    width = values.type.bit_width // 8
    octets = np.frombuffer(values.buffers()[1], np.dtype((np.void, width)))[values.offset :][: len(values)]
    if not pa.types.is_floating(values.type):
        return octets
    numbers = octets.view(np.float64) + 0.0  # -0 is 0
    unknown = np.isnan(numbers)
    if unknown.any():
        numbers[unknown] = np.nan
    return numbers


def key_fingerprints(keys: pa.RecordBatch, algorithms: Suite) -> Fingerprints:
    """Of key columns. A single whole number stands for itself: it is shorter than its fingerprint."""
    if keys.num_columns != 1 or not pa.types.is_int64(keys.column(0).type):
        return row_fingerprints(keys, algorithms)
    column = keys.column(0)
    made = np.zeros((keys.num_rows, 2), np.uint64)
    if column.null_count:
        made[:, 1] = column.is_null().to_numpy(zero_copy_only=False)
        column = pc.fill_null(column, 0)
    made[:, 0] = column.to_numpy().view(np.uint64)
    return made


def none_of() -> Fingerprints:
    return np.empty((0, 2), np.uint64)


def to_arrow(fingerprints: Fingerprints) -> pa.Array:
    """As a column of 16 bytes each, the same on every machine."""
    data = np.ascontiguousarray(fingerprints).astype("<u8", copy=False)
    return pa.Array.from_buffers(FINGERPRINT, len(data), [None, pa.py_buffer(data)])


def from_arrow(column: pa.Array) -> Fingerprints:
    """Back from `to_arrow`; shares its memory."""
    data = np.frombuffer(column.buffers()[1], "<u8").reshape(-1, 2)
    found: Fingerprints = data[column.offset : column.offset + len(column)].astype(np.uint64, copy=False)
    return found


class FingerprintIndex:
    """Where a fingerprint stands among many: sorted by the first half, the second decides."""

    def __init__(self, fingerprints: Fingerprints) -> None:
        first = fingerprints[:, 0]
        # place in the index → place in `fingerprints`
        self.order = np.argsort(first).astype(np.uint32)
        self._first = first[self.order]
        self._second = fingerprints[:, 1][self.order]

    def __len__(self) -> int:
        return len(self._first)

    def repeated(self) -> int:
        """How many of them stand there a second time."""
        doubtful = np.flatnonzero(self._first[1:] == self._first[:-1])
        if not len(doubtful):
            return 0
        # equal in the first half: only among these can two be the same
        at = np.union1d(doubtful, doubtful + 1)
        pairs = np.stack([self._first[at], self._second[at]], axis=1)
        return len(pairs) - len(np.unique(pairs, axis=0))

    def find(self, wanted: Fingerprints) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """For each its place in the index, -1 where it is not there."""
        count = len(self)
        found = np.full(len(wanted), -1, np.int64)
        if count == 0 or len(wanted) == 0:
            return found
        way = np.argsort(wanted[:, 0])  # searched in their order, neighbours are in the cache
        first, second = wanted[way, 0], wanted[way, 1]
        place = np.searchsorted(self._first, first)
        open_ = np.arange(len(way))
        while len(open_):
            at = place[open_]
            inside = at < count
            open_, at = open_[inside], at[inside]
            same = self._first[at] == first[open_]
            open_, at = open_[same], at[same]
            hit = self._second[at] == second[open_]
            found[way[open_[hit]]] = at[hit]
            open_ = open_[~hit]
            place[open_] += 1
        return found
