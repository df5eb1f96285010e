"""Data files as targets: the new file is written beside the old one and takes its place in one rename.

    <folder>/<table><suffix>                  the table
    <folder>/.jinqiao/ledger.json             batches that are merged, with their counts
    <folder>/.jinqiao/<run>/chunk-00001-….rows.arrow   chunks of a batch that is not merged yet

A rename and a ledger cannot commit together. So the counts and the digest of the new file are noted first (`pending`), then
it is renamed, then the note becomes the entry: whoever finds a note compares the file and knows on which side of the rename
the process died.
"""

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState
from jinqiao.dataplane.connectors.plans import check_file_plan, deletes_keys
from jinqiao.dataplane.connectors.sql_target import run_table
from jinqiao.dataplane.connectors.staged_target import StagedTarget, file_digest
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.errors import (
    FileNotReadable,
    ReconciliationFailed,
    TargetKeyNotUnique,
    TargetSchemaMismatch,
    TargetTableMissing,
)
from jinqiao.dataplane.staging.digests import canonical_rows
from jinqiao.kernel.contracts.exchange import ChunkKind, CopyMode, Delivery, DeliveryCounts
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.digests import ROW_END
from jinqiao.kernel.keystore import sync_folder


class FileTarget(StagedTarget):
    """A target of data files. Subclasses are the formats."""

    suffix: ClassVar[str]

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__(connection, password)
        place = self._folder
        self._only = place if place.suffix.lower() == self.suffix and not place.is_dir() else None
        if self._only is not None:
            self._folder = place.parent

    # --- what a format gives --------------------------------------------------------------------------------------

    @abstractmethod
    def header(self, path: Path) -> tuple[str, ...]:
        """Names of the columns of a table that is there, none where the file does not say. Raises FileNotReadable."""

    @abstractmethod
    def current(self, path: Path, plan: DeliveryPlan) -> Iterator[pa.RecordBatch]:
        """The rows of a table that is there, columns in the order of the plan, each in whatever type the format gives."""

    @abstractmethod
    def write(self, path: Path, rows: pa.Table, plan: DeliveryPlan) -> None:
        """A new file of these rows. Raises TargetRefused, TargetTableFull where the format cannot hold them exactly."""

    # --- what is common -------------------------------------------------------------------------------------------

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        check_file_plan(plan, self.title)
        state = self.state(plan.batch_id)
        path = self._file(plan.table)
        if not path.is_file():
            if not plan.create:
                raise TargetTableMissing(table=plan.table)
        elif self._header(path, plan) not in ((), tuple(column.name for column in plan.columns)):
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(column.name for column in plan.columns))
        if state.merged is None:
            with self._writing(plan.table):
                self._run(plan.batch_id).mkdir(parents=True, exist_ok=True, mode=0o700)
        return state

    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        state = self.state(plan.batch_id)
        if state.merged is not None:
            return state.merged
        new, gone = self._staged(plan, ChunkKind.ROWS), self._staged(plan, ChunkKind.DELETES)
        if new.num_rows != plan.rows or gone.num_rows != plan.rows_deleted or len(state.loaded) != plan.chunks:
            raise ReconciliationFailed(table=plan.table, sent=plan.rows, received=new.num_rows)
        old = self._old(plan)
        merged, inserted, updated, deleted = merged_rows(old, new, gone, plan)
        counts = DeliveryCounts(
            received=new.num_rows,
            inserted=inserted,
            updated=updated,
            deleted=deleted,
            unchanged=new.num_rows - inserted - updated,
            target_rows=merged.num_rows,
        )
        with self._writing(plan.table):
            path, temporary = self._file(plan.table), self._own / f"{run_table(plan.table)}{self.suffix}"
            changed = old is None or inserted + updated + deleted > 0
            if changed:
                self.write(temporary, merged, plan)
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            digest = file_digest(temporary if changed else path)
            ledger = self._ledger()
            ledger["pending"] = {plan.batch_id: {"table": plan.table, "digest": digest, "counts": counts.to_json()}}
            self._save(ledger)
            if changed:
                temporary.replace(path)
                sync_folder(self._folder)
            self.settled(ledger, plan.batch_id)
        return counts

    def _file(self, table: str) -> Path:
        if self._only is not None:
            if table != self._only.stem:
                raise TargetTableMissing(table=table)
            return self._only
        path = self._folder / f"{table}{self.suffix}"
        if path.parent != self._folder or path.name != f"{table}{self.suffix}" or table.startswith("."):
            raise TargetTableMissing(table=table)
        return path

    def settled(self, ledger: dict[str, Any], batch_id: str) -> dict[str, Any] | None:
        """Turn the note of a batch into its entry, if the file is the one that the note announced."""
        note: dict[str, Any] | None = ledger["pending"].get(batch_id)
        if note is None:
            return None
        path = self._file(note["table"])
        if not path.is_file() or file_digest(path) != note["digest"]:
            return None
        ledger["merged"][batch_id] = note
        ledger["pending"] = {}
        self._save(ledger)
        return note

    def _header(self, path: Path, plan: DeliveryPlan) -> tuple[str, ...]:
        try:
            return self.header(path)
        except FileNotReadable:
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(c.name for c in plan.columns)) from None

    def _old(self, plan: DeliveryPlan) -> pa.Table | None:
        """The rows that are there, in the plan's types. Raises TargetSchemaMismatch where somebody put others in."""
        path = self._file(plan.table)
        if not path.is_file():
            return None
        schema = arrow_schema(plan.columns)
        parts, broken = [], set()
        try:
            for batch in self.current(path, plan):
                fitted = [fit(v, arrow_type(c)) for v, c in zip(batch.columns, plan.columns, strict=True)]
                broken |= {c.name for c, f in zip(plan.columns, fitted, strict=True) if f.bad is not None}
                parts.append(pa.RecordBatch.from_arrays([f.values for f in fitted], schema=schema))
        except FileNotReadable:
            broken = {column.name for column in plan.columns}
        if broken:
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(sorted(broken)))
        return pa.Table.from_batches(parts, schema)


def merged_rows(
    old: pa.Table | None, new: pa.Table, gone: pa.Table, plan: DeliveryPlan
) -> tuple[pa.Table, int, int, int]:
    """The table afterwards; rows inserted, updated, deleted. `gone` holds keys of rows to delete."""
    there = old if old is not None else new.slice(0, 0)
    if plan.delivery is Delivery.APPEND:
        return pa.concat_tables([there, new]), new.num_rows, 0, 0
    replace_all = plan.mode is CopyMode.FULL and plan.delivery in (Delivery.MIRROR, Delivery.RELOAD)
    if not plan.keys or plan.delivery is Delivery.RELOAD:
        return new, new.num_rows, 0, there.num_rows
    new_rows = dict(zip(row_texts(new, plan.keys), row_texts(new, new.column_names), strict=True))
    if len(new_rows) != new.num_rows:
        raise TargetKeyNotUnique(table=plan.table, keys=", ".join(plan.keys))
    old_keys = row_texts(there, plan.keys)
    old_rows = dict(zip(old_keys, row_texts(there, new.column_names), strict=True))
    gone_keys = set(row_texts(gone, plan.keys)) - set(new_rows) if deletes_keys(plan) else set()
    inserted = sum(key not in old_rows for key in new_rows)
    updated = sum(key in old_rows and old_rows[key] != row for key, row in new_rows.items())
    if replace_all:
        return new, inserted, updated, sum(key not in new_rows for key in old_keys)
    keep = [key not in new_rows and key not in gone_keys for key in old_keys]
    kept = there.filter(pa.array(keep, pa.bool_()))
    return pa.concat_tables([kept, new]), inserted, updated, sum(key in gone_keys for key in old_keys)


def row_texts(rows: pa.Table, names: Sequence[str]) -> list[bytes]:
    """The canonical bytes (kernel.digests) of these columns of each row: equal for equal values only."""
    end = ROW_END.encode()
    texts: list[bytes] = []
    for batch in rows.select(list(names)).to_batches(max_chunksize=20_000):
        texts.extend(bytes(canonical_rows(batch)).split(end)[:-1])
    return texts
