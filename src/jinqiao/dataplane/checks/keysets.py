"""Sets of values that are remembered for a whole run in ten bytes each: `unique` and `reference`.

A value is remembered by a fingerprint of 80 bits: its octets times random weights drawn for the run, summed modulo 2^64 and
again modulo 2^32 of which the upper half is kept (multilinear hashing, Carter and Wegman). Two different values have the same
fingerprint with a probability below 2^-70, whatever they are: nobody who writes rows knows the weights. Among ten million
values that is one wrong finding in ten million runs. Whole numbers, dates and times of a single column are mapped one to
one and never collide.

Memory: ten bytes for each value, plus a tenth while sets are merged. Beyond MEMORY_VALUES they lie in unlinked temporary
files, which hold nothing that anybody could read values from.
"""

import itertools
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.checks.rows import Rows, texts_of
from jinqiao.dataplane.errors import SpoolFull

MEMORY_VALUES = 16_000_000
_PARTS_BITS = 6
_RECENT_LEAST = 1 << 17
_WEIGHTS_LEAST = 256

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Shorts = np.ndarray[Any, np.dtype[np.uint16]]


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Of the rows whose values are all given: their numbers within the batch, ascending, and their fingerprints."""

    rows: "np.ndarray[Any, np.dtype[np.intp]]"
    first: Hashes
    second: Shorts


class Fingerprinter:
    """Fingerprints of rows of one or several columns. Its weights are drawn at random once and kept."""

    def __init__(self, columns: int = 1) -> None:
        self._random = np.random.Generator(np.random.Philox(int.from_bytes(os.urandom(16), "big")))
        self._flip = self._random.integers(0, 1 << 64, dtype=np.uint64)
        self._weights = [self._drawn(_WEIGHTS_LEAST) for _ in range(columns)]

    def _drawn(self, count: int) -> tuple[Hashes, "np.ndarray[Any, np.dtype[np.uint32]]"]:
        return (
            self._random.integers(0, 1 << 64, count, dtype=np.uint64),
            self._random.integers(0, 1 << 32, count, dtype=np.uint32),
        )

    def __call__(self, columns: Sequence[pa.Array]) -> Fingerprints:
        given = columns[0].is_valid()
        for column in columns[1:]:
            given = pc.and_(given, column.is_valid())
        known = given.to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(known)
        if len(rows) < len(known):
            columns = [column.filter(given) for column in columns]
        if len(columns) == 1 and (whole := _whole_numbers(columns[0])) is not None:
            return Fingerprints(rows, _scattered(whole ^ self._flip), np.zeros(len(rows), np.uint16))
        first, second = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.uint32)
        for place, column in enumerate(columns):
            self._sum(place, texts_of(column), first, second)
        return Fingerprints(rows, first, (second >> np.uint32(16)).astype(np.uint16))

    def _sum(self, place: int, texts: pa.Array, first: Any, second: Any) -> None:
        if len(texts) == 0:
            return
        offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
        data = texts.buffers()[2]
        octets = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.zeros(0, np.uint8)
        offsets = offsets - offsets[0]
        sizes = np.diff(offsets)
        self._extend(place, int(sizes.max()))
        wide, narrow = self._weights[place]
        # an octet counts one more than it is, so that a text and the same text with NUL behind it differ
        if sizes.min() == sizes.max():
            size = int(sizes[0])
            matrix = octets.reshape(len(sizes), size)
            first += (matrix + np.uint64(1)) @ wide[:size]
            second += (matrix + np.uint32(1)) @ narrow[:size]
            return
        places = np.arange(len(octets), dtype=np.int32) - np.repeat(offsets[:-1], sizes)
        first += _segments((octets + np.uint64(1)) * wide[places], offsets)
        second += _segments((octets + np.uint32(1)) * narrow[places], offsets)

    def _extend(self, place: int, size: int) -> None:
        wide, narrow = self._weights[place]
        if size > len(wide):
            more_wide, more_narrow = self._drawn(max(size, 2 * len(wide)) - len(wide))
            self._weights[place] = (np.concatenate([wide, more_wide]), np.concatenate([narrow, more_narrow]))


def _segments(products: Any, offsets: Any) -> Any:
    """Sums between the offsets, each modulo the width of its type."""
    sums = np.empty(len(products) + 1, products.dtype)
    sums[0] = 0
    np.cumsum(products, out=sums[1:], dtype=products.dtype)
    return sums[offsets[1:]] - sums[offsets[:-1]]


def _whole_numbers(values: pa.Array) -> Any | None:
    """Values without NULL as 64 bits each, different for different values; None for other types."""
    type_ = values.type
    if pa.types.is_date32(type_):
        values = values.cast(pa.int32()).cast(pa.int64())
    elif pa.types.is_timestamp(type_):
        values = values.cast(pa.int64())
    elif not pa.types.is_int64(type_):
        return None
    return values.to_numpy(zero_copy_only=False).view(np.uint64)


def _scattered(numbers: Any) -> Any:
    """One to one on 64 bits (the finaliser of splitmix64): neighbours lie far apart."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


class KeySet:
    """A growing set of fingerprints. Not for two threads at once."""

    def __init__(self, memory_values: int = MEMORY_VALUES) -> None:
        self._memory_values = memory_values
        nothing = (np.zeros(0, np.uint64), np.zeros(0, np.uint16))
        self._settled: list[tuple[Hashes, Shorts]] = [nothing for _ in range(1 << _PARTS_BITS)]
        self._recent: list[tuple[Hashes, Shorts]] = []
        self._settled_values = 0

    def __len__(self) -> int:
        return self._settled_values + sum(len(first) for first, _ in self._recent)

    def add(self, prints: Fingerprints) -> Rows:
        """Remember them; which of them were there before, or came earlier among themselves."""
        order = np.argsort(prints.first, kind="stable")
        first, second = prints.first[order], prints.second[order]
        twice = np.zeros(len(order), np.bool_)
        twice[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
        known = twice | self._in_sorted(first, second)
        new = ~known
        if new.any():
            self._remember(first[new], second[new])
        result = np.zeros(len(order), np.bool_)
        result[order] = known
        return result

    def has(self, prints: Fingerprints) -> Rows:
        """Which of them are in the set."""
        order = np.argsort(prints.first)
        result = np.zeros(len(order), np.bool_)
        result[order] = self._in_sorted(prints.first[order], prints.second[order])
        return result

    def _in_sorted(self, first: Hashes, second: Shorts) -> Rows:
        known = np.zeros(len(first), np.bool_)
        for level in self._recent:
            known |= _found(level, first, second)
        if self._settled_values:
            for part, (start, end) in enumerate(_bounds(first)):
                if start < end:
                    known[start:end] |= _found(self._settled[part], first[start:end], second[start:end])
        return known

    def _remember(self, first: Hashes, second: Shorts) -> None:
        self._recent.append((first, second))
        while len(self._recent) > 1 and 2 * len(self._recent[-1][0]) > len(self._recent[-2][0]):
            newest, before = self._recent.pop(), self._recent.pop()
            self._recent.append(_merged(before, newest))
        if sum(len(level[0]) for level in self._recent) > max(_RECENT_LEAST, self._settled_values // 16):
            self._settle()

    def _settle(self) -> None:
        """Recent ones go into the parts, one part after another: only one of them is held twice at a time."""
        recent = self._recent[0]
        for level in self._recent[1:]:
            recent = _merged(recent, level)
        self._recent = []
        self._settled_values += len(recent[0])
        on_disk = self._settled_values > self._memory_values
        for part, (start, end) in enumerate(_bounds(recent[0])):
            merged = _merged(self._settled[part], (recent[0][start:end], recent[1][start:end]))
            self._settled[part] = (_on_disk(merged[0]), _on_disk(merged[1])) if on_disk else merged


def _bounds(first: Hashes) -> list[tuple[int, int]]:
    """Where each part begins and ends in sorted fingerprints: parts are their upper bits."""
    edges = np.arange(1, 1 << _PARTS_BITS, dtype=np.uint64) << np.uint64(64 - _PARTS_BITS)
    cuts = [0, *np.searchsorted(first, edges).tolist(), len(first)]
    return list(itertools.pairwise(cuts))


def _merged(one: tuple[Hashes, Shorts], other: tuple[Hashes, Shorts]) -> tuple[Hashes, Shorts]:
    places = np.searchsorted(one[0], other[0])
    return np.insert(one[0], places, other[0]), np.insert(one[1], places, other[1])


def _found(level: tuple[Hashes, Shorts], first: Hashes, second: Shorts) -> Rows:
    kept_first, kept_second = level
    if len(kept_first) == 0:
        return np.zeros(len(first), np.bool_)
    at = np.searchsorted(kept_first, first)
    result = np.zeros(len(first), np.bool_)
    # three values of which two share their first half and not their second do not occur; two may
    for place in (at, at + 1):
        inside = np.minimum(place, len(kept_first) - 1)
        result |= (kept_first[inside] == first) & (kept_second[inside] == second) & (place < len(kept_first))
    return result


def _on_disk(values: Any) -> Any:
    if len(values) == 0:
        return values
    try:
        with tempfile.TemporaryFile() as file:
            file.truncate(values.nbytes)
            kept = np.memmap(file, values.dtype, "r+", shape=values.shape)
            kept[:] = values
            return kept
    except OSError as problem:
        raise SpoolFull from problem
