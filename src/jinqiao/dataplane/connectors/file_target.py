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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState
from jinqiao.dataplane.connectors.file_merge import FileChanges, changes_of, marks_of, rows_after
from jinqiao.dataplane.connectors.plans import check_file_plan, matches_rows, refuse_absent
from jinqiao.dataplane.connectors.sql_target import run_table
from jinqiao.dataplane.connectors.staged_target import StagedTarget, file_digest, signed
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.errors import (
    FileNotReadable,
    TargetSchemaMismatch,
    TargetTableFull,
    TargetTableMissing,
)
from jinqiao.kernel.contracts.exchange import ChunkKind, DeliveryCounts
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.keystore import sync_folder


class FileTarget(StagedTarget):
    """A target of data files. Subclasses are the formats."""

    suffix: ClassVar[str]
    other_suffixes: ClassVar[tuple[str, ...]] = ()  # that one file may have which is named itself
    room: ClassVar[int | None] = None  # rows that the format can hold

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__(connection, password)
        place = self._folder
        is_file = place.suffix.lower() in (self.suffix, *self.other_suffixes) and not place.is_dir()
        self._only = place if is_file else None
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
    def write(self, path: Path, rows: Iterator[pa.RecordBatch], plan: DeliveryPlan) -> None:
        """A new file of these rows. Raises TargetRefused where the format cannot hold them exactly."""

    # --- what is common -------------------------------------------------------------------------------------------

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        check_file_plan(plan, self.title)
        self._check_room(plan, plan.rows)
        state = self.state(plan.batch_id)
        path = self._file(plan.table)
        if not path.is_file():
            refuse_absent(plan)
        elif self._header(path, plan) not in ((), tuple(column.name for column in plan.columns)):
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(column.name for column in plan.columns))
        if state.merged is None:
            with self._writing(plan.table):
                self._run(plan.batch_id).mkdir(parents=True, exist_ok=True, mode=0o700)
        return state

    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        with self._writing(plan.table), self._alone():
            state = self._state(plan.batch_id)
            if state.merged is not None:
                return state.merged
            self._check_staged(plan, state)
            keys = plan.keys if matches_rows(plan) else ()
            new, gone, old = (
                marks_of(rows, keys)
                for rows in (self._staged(plan, ChunkKind.ROWS), self._gone(plan, keys), self._old(plan))
            )
            changes = changes_of(old, new, gone, plan)
            self._check_room(plan, changes.target_rows)
            counts = DeliveryCounts(
                received=len(new),
                inserted=changes.inserted,
                updated=changes.updated,
                deleted=changes.deleted,
                unchanged=len(new) - changes.inserted - changes.updated,
                target_rows=changes.target_rows,
            )
            self._put(plan, changes, counts)
        return counts

    def _check_room(self, plan: DeliveryPlan, rows: int) -> None:
        if self.room is not None and rows > self.room:
            raise TargetTableFull(table=plan.table, rows=rows, limit=self.room)

    def _put(self, plan: DeliveryPlan, changes: FileChanges, counts: DeliveryCounts) -> None:
        """The new file into the place of the old one, which stays where nothing changes."""
        path, temporary = self._file(plan.table), self._own / f"{run_table(plan.table)}{self.suffix}"
        changed = not path.is_file() or changes.inserted + changes.updated + changes.deleted > 0
        if changed:
            self.write(temporary, rows_after(self._old(plan), self._staged(plan, ChunkKind.ROWS), changes), plan)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        ledger = self._ledger()
        digest = file_digest(temporary if changed else path)
        self._note(
            ledger, plan.batch_id, {"table": plan.table, "digest": digest, "counts": counts.to_json()} | signed(plan)
        )
        if changed:
            temporary.replace(path)
            sync_folder(self._folder)
        self._done(ledger, plan.batch_id)

    def _gone(self, plan: DeliveryPlan, keys: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        return self._staged(plan, ChunkKind.DELETES) if keys else iter(())

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
        return self._done(ledger, batch_id)

    def _header(self, path: Path, plan: DeliveryPlan) -> tuple[str, ...]:
        try:
            return self.header(path)
        except FileNotReadable:
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(c.name for c in plan.columns)) from None

    def _old(self, plan: DeliveryPlan) -> Iterator[pa.RecordBatch]:
        """The rows that are there, in the plan's types. Raises TargetSchemaMismatch where somebody put others in."""
        path = self._file(plan.table)
        if not path.is_file():
            return
        schema = arrow_schema(plan.columns)
        try:
            for batch in self.current(path, plan):
                fitted = [fit(v, arrow_type(c)) for v, c in zip(batch.columns, plan.columns, strict=True)]
                broken = [c.name for c, f in zip(plan.columns, fitted, strict=True) if f.bad is not None]
                if broken:
                    raise TargetSchemaMismatch(table=plan.table, columns=", ".join(broken))
                yield pa.RecordBatch.from_arrays([f.values for f in fitted], schema=schema)
        except FileNotReadable:
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(c.name for c in plan.columns)) from None
