"""What a batch changes in a data file, found with 32 bytes a row in memory: a digest of the key and one of the whole row.

Digests are BLAKE2b with 128 bits over the canonical bytes of `kernel.digests`: equal values have equal digests whatever the format.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.plans import deletes_keys, matches_rows, replaces_all, shows_only
from jinqiao.dataplane.errors import TargetKeyNotUnique
from jinqiao.dataplane.staging.digests import canonical_rows
from jinqiao.kernel.digests import ROW_END

_DIGEST_BYTES = 16
_ROWS = 20_000
_TYPE = pa.binary(_DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class Marks:
    """Digests of the rows of one side, in their order."""

    keys: pa.Array
    rows: pa.Array

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Rows. `kept` says of each old row whether it stays as it is; None = none of them does."""

    inserted: int
    updated: int
    deleted: int
    kept: pa.BooleanArray | None
    target_rows: int


def marks_of(batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Marks:
    """Without keys only the number of rows counts."""
    key_parts: list[pa.Array] = [pa.array([], _TYPE)]
    row_parts: list[pa.Array] = [pa.array([], _TYPE)]
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            piece = batch.slice(start, _ROWS)
            if not keys:
                row_parts.append(pa.nulls(piece.num_rows, _TYPE))
                continue
            key_parts.append(_digests(piece.select(list(keys))))
            row_parts.append(_digests(piece))
    return Marks(pa.concat_arrays(key_parts), pa.concat_arrays(row_parts))


def _digests(rows: pa.RecordBatch) -> pa.Array:
    texts = bytes(canonical_rows(rows)).split(ROW_END.encode())[:-1]  # the mark is escaped inside of fields
    return pa.array([hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest() for text in texts], _TYPE)


def changes_of(old: Marks, new: Marks, gone: Marks, plan: DeliveryPlan) -> FileChanges:
    """What the batch `new` with the deleted keys `gone` does to the rows `old`. Raises TargetKeyNotUnique."""
    if replaces_all(plan):
        return FileChanges(len(new), 0, len(old), None, len(new))
    if not matches_rows(plan):
        return FileChanges(len(new), 0, 0, pa.array([True] * len(old), pa.bool_()), len(old) + len(new))
    if pc.count_distinct(new.keys).as_py() != len(new):
        raise TargetKeyNotUnique(table=plan.table, keys=", ".join(plan.keys))
    places = pc.index_in(new.keys, value_set=old.keys)
    inserted = places.null_count
    same = pc.sum(pc.equal(new.rows, old.rows.take(places))).as_py() or 0
    brought = pc.is_in(old.keys, value_set=new.keys)
    if shows_only(plan):
        deleted, kept = len(old) - _count(brought), None
    else:
        named = gone.keys if deletes_keys(plan) else pa.array([], _TYPE)
        taken = pc.and_not(pc.is_in(old.keys, value_set=named), brought)
        deleted, kept = _count(taken), pc.invert(pc.or_(brought, taken))
    return FileChanges(
        inserted, len(new) - inserted - same, deleted, kept, len(new) + (0 if kept is None else _count(kept))
    )


def _count(chosen: pa.BooleanArray) -> int:
    return int(pc.sum(chosen).as_py() or 0)


def rows_after(
    old: Iterator[pa.RecordBatch], new: Iterator[pa.RecordBatch], changes: FileChanges
) -> Iterator[pa.RecordBatch]:
    """The rows of the file afterwards: those that stay, then the batch; pieces of at most 20,000."""
    if changes.kept is not None:
        at = 0
        for batch in old:
            yield from _pieces(batch.filter(changes.kept.slice(at, batch.num_rows)))
            at += batch.num_rows
    for batch in new:
        yield from _pieces(batch)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, _ROWS):
        yield batch.slice(start, _ROWS)
