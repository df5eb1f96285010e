"""The delivery to a database: run table, ledger and merge, in SQL that the dialects complete.

The ledger `jinqiao_ledger` stands in the target's own database. Chunk n of a batch and its ledger row (chunk = n) commit
together; the merge and the batch's row (chunk = 0, with the counts) commit together. So the ledger is true at any instant:

    killed before a chunk's commit     the chunk is loaded again
    killed after it                    the chunk is skipped
    killed in the merge                rolled back, the run table is still whole: merged again
    killed after the merge             the ledger gives the counts, nothing is written

Nothing that the consumer can see is changed before the merge, except that an absent table is made where DDL cannot be
rolled back (MariaDB). Rows are compared null-safe and byte by byte, never by a collation.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState, Target
from jinqiao.dataplane.errors import (
    ManifestMismatch,
    ReconciliationFailed,
    TargetKeyNotUnique,
    TargetSchemaMismatch,
    TargetTableMissing,
)
from jinqiao.kernel.contracts.exchange import ChunkManifest, CopyMode, DeliveryCounts
from jinqiao.kernel.contracts.tables import Column, LogicalType
from jinqiao.kernel.moments import now

LEDGER = "jinqiao_ledger"
RUN_PREFIX = "jinqiao_run_"
_WIDER = {
    LogicalType.INTEGER: (LogicalType.INTEGER,),
    LogicalType.DOUBLE: (LogicalType.DOUBLE,),
    LogicalType.BOOLEAN: (LogicalType.BOOLEAN, LogicalType.INTEGER),
    LogicalType.DATE: (LogicalType.DATE,),
    LogicalType.DATETIME: (LogicalType.DATETIME,),
    LogicalType.BINARY: (LogicalType.BINARY,),
    LogicalType.TEXT: (LogicalType.TEXT,),
}


def run_table(batch_id: str) -> str:
    """Name of the run table of a batch."""
    return RUN_PREFIX + hashlib.sha256(batch_id.encode()).hexdigest()[:16]


def holds_exactly(there: Column, wanted: Column) -> bool:
    """Can a target's column take every value of the wanted one, unchanged?"""
    if wanted.type is LogicalType.DECIMAL:
        if there.type is not LogicalType.DECIMAL:
            return False
        if there.precision is None or wanted.precision is None:
            return there.precision is None
        scale, wanted_scale = there.scale or 0, wanted.scale or 0
        return scale >= wanted_scale and there.precision - scale >= wanted.precision - wanted_scale
    if there.type not in _WIDER[wanted.type]:
        return False
    if wanted.type is LogicalType.TEXT and there.length is not None and wanted.length is not None:
        return there.length >= wanted.length
    return True


class LedgerTarget(Target):
    """Target with transactions and SQL. Subclasses are the dialects."""

    placeholder = "?"
    transactional_ddl = True
    keys_compare_exactly = True  # False where a collation may call two different keys the same

    # --- what a dialect gives -------------------------------------------------------------------------------------

    @abstractmethod
    def quoted(self, table: str) -> str:
        """A table's name as it stands in a statement; it may carry a schema."""

    @abstractmethod
    def quoted_column(self, name: str) -> str: ...

    @abstractmethod
    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows it changed."""

    @abstractmethod
    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    @contextmanager
    @abstractmethod
    def transaction(self, table: str = "") -> Iterator[None]:
        """Everything inside commits at its end or not at all; the engine's errors come out as ours."""
        yield

    @abstractmethod
    def existing(self, table: str) -> tuple[Column, ...] | None:
        """Columns of a table of the target, None where there is none."""

    @abstractmethod
    def create(self, table: str, plan: DeliveryPlan, *, as_run_table: bool) -> None:
        """Make a table with the plan's columns, in portable types with comments."""

    @abstractmethod
    def insert(self, table: str, rows: pa.Table) -> None: ...

    @abstractmethod
    def same(self, left: str, right: str, column: Column) -> str:
        """SQL that is true where two values are the same, NULL included, byte by byte."""

    @abstractmethod
    def update_statement(self, table: str, run: str, matched: str, changed: str, columns: Sequence[str]) -> str: ...

    def refuse_table(self, table: str) -> None:
        """Raise what makes a table that is there no target (storage engine, kind of object)."""

    def refuse_column(self, there: Column, wanted: Column) -> bool:
        """Does the engine lose something here that the logical types do not show?"""
        return False

    def before_merge(self, plan: DeliveryPlan, run: str) -> None:
        """Inside the transaction of the merge: locks, statistics."""

    def run_becomes_table(self, plan: DeliveryPlan, run: str) -> bool:
        """Inside the merge, the table absent: rename the run table into its place. False where that is not possible."""
        return False

    # --- what is common -------------------------------------------------------------------------------------------

    def state(self, batch_id: str) -> LedgerState:
        with self.transaction(LEDGER):
            if self.existing(LEDGER) is None:
                return LedgerState()
            return self._state(batch_id)

    def _state(self, batch_id: str) -> LedgerState:
        rows = self.fetch(
            "SELECT chunk, digest, row_count, inserted, updated, deleted, unchanged, target_rows"  # noqa: S608
            f" FROM {self.quoted(LEDGER)} WHERE batch_id = {self.placeholder}",
            (batch_id,),
        )
        loaded: dict[int, str] = {}
        merged = None
        for chunk, digest, received, *counts in rows:
            if int(chunk):
                loaded[int(chunk)] = str(digest)
            else:
                inserted, updated, deleted, unchanged, target_rows = (int(count) for count in counts)
                merged = DeliveryCounts(
                    received=int(received),
                    inserted=inserted,
                    updated=updated,
                    deleted=deleted,
                    unchanged=unchanged,
                    target_rows=target_rows,
                )
        return LedgerState(loaded, merged)

    def _make_ledger(self) -> None:
        if self.existing(LEDGER) is None:
            counts = ", ".join(
                f"{name} BIGINT" for name in ("inserted", "updated", "deleted", "unchanged", "target_rows")
            )
            self.execute(
                f"CREATE TABLE IF NOT EXISTS {self.quoted(LEDGER)} (batch_id VARCHAR(190) NOT NULL, chunk INTEGER NOT NULL,"
                " run_id VARCHAR(190) NOT NULL, target_table VARCHAR(200) NOT NULL, row_count BIGINT NOT NULL,"
                f" digest VARCHAR(128) NOT NULL, {counts}, recorded_at VARCHAR(40) NOT NULL, PRIMARY KEY (batch_id, chunk))"
            )

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        with self.transaction(plan.table):
            there = self.existing(plan.table)
            if there is None and not plan.create:
                raise TargetTableMissing(table=plan.table)
            if there is not None:
                self.refuse_table(plan.table)
                self._check_columns(plan, there)
            self._make_ledger()
        with self.transaction(plan.table):
            state = self._state(plan.batch_id)
        if state.merged is not None:
            return state
        run = run_table(plan.batch_id)
        self._drop_abandoned(plan)
        with self.transaction(plan.table):
            if self.existing(run) is None:
                self.create(run, plan, as_run_table=True)
                if state.loaded:
                    self._forget_chunks(plan.batch_id)
                    state = LedgerState()
            if there is None and not self.transactional_ddl:
                self.create(plan.table, plan, as_run_table=False)
        with self.transaction(plan.table):
            if state.loaded and self._count(run) != self._loaded_rows(plan.batch_id):
                # an unlogged run table is emptied when its server crashed: what the ledger says of it is no longer true
                self.execute(f"DELETE FROM {self.quoted(run)}")  # noqa: S608 -- our own name
                self._forget_chunks(plan.batch_id)
                state = LedgerState()
        return state

    def load(self, plan: DeliveryPlan, chunk: ChunkManifest, rows: pa.Table | bytes) -> None:
        if isinstance(rows, bytes):
            raise TypeError("this target takes Arrow")
        with self.transaction(plan.table):
            self._record(plan, chunk.number, rows.num_rows, chunk.content_digest, None)
            self.insert(run_table(plan.batch_id), rows)

    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        run = run_table(plan.batch_id)
        with self.transaction(plan.table):
            state = self._state(plan.batch_id)
            if state.merged is not None:
                return state.merged
            received = self._count(run)
            if received != plan.rows or len(state.loaded) != plan.chunks:
                raise ReconciliationFailed(table=plan.table, sent=plan.rows, received=received)
            self.before_merge(plan, run)
            if self.existing(plan.table) is None:
                if not self.run_becomes_table(plan, run):
                    self.create(plan.table, plan, as_run_table=False)
                    self._insert_new(plan, run)
                counts = (received, 0, 0)
            elif plan.keys:
                counts = self._merge_by_key(plan, run)
            else:
                deleted = self.execute(f"DELETE FROM {self.quoted(plan.table)}")  # noqa: S608 -- quoted name
                counts = (self._insert_new(plan, run), 0, deleted)
            result = self._reconciled(plan, received, *counts)
            self._record(plan, 0, received, "", result)
        return result

    def clean(self, plan: DeliveryPlan) -> None:
        with self.transaction(plan.table):
            self.execute(f"DROP TABLE IF EXISTS {self.quoted(run_table(plan.batch_id))}")

    def _reconciled(
        self, plan: DeliveryPlan, received: int, inserted: int, updated: int, deleted: int
    ) -> DeliveryCounts:
        """The counts, after they were held against what was sent. Raises ReconciliationFailed, which rolls back."""
        target_rows = self._count(plan.table)
        unchanged = received - inserted - updated
        if unchanged < 0 or (plan.mode is CopyMode.FULL and target_rows != received):
            raise ReconciliationFailed(table=plan.table, sent=received, received=target_rows)
        return DeliveryCounts(
            received=received,
            inserted=inserted,
            updated=updated,
            deleted=deleted,
            unchanged=unchanged,
            target_rows=target_rows,
        )

    def _merge_by_key(self, plan: DeliveryPlan, run: str) -> tuple[int, int, int]:
        """(inserted, updated, deleted); only rows that differ are touched."""
        table, staged = self.quoted(plan.table), self.quoted(run)
        keys = [self.quoted_column(key) for key in plan.keys]
        if self.fetch(f"SELECT 1 FROM {staged} GROUP BY {', '.join(keys)} HAVING count(*) > 1 LIMIT 1"):  # noqa: S608
            raise TargetKeyNotUnique(table=plan.table, keys=", ".join(plan.keys))
        if not self.fetch(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608 -- nothing there to compare with
            return self._insert_new(plan, run), 0, 0
        matched = " AND ".join(f"t.{key} = r.{key}" for key in keys)
        deleted = 0
        if plan.mode is CopyMode.FULL:
            deleted = self.execute(self.delete_statement(table, staged, matched))
        rest = [column for column in plan.columns if column.name not in plan.keys or not self.keys_compare_exactly]
        updated = 0
        if rest:
            named = [(self.quoted_column(column.name), column) for column in rest]
            changed = (
                "NOT (" + " AND ".join(self.same(f"t.{name}", f"r.{name}", column) for name, column in named) + ")"
            )
            updated = self.execute(self.update_statement(table, staged, matched, changed, [name for name, _ in named]))
        names = ", ".join(self.quoted_column(column.name) for column in plan.columns)
        given = ", ".join(f"r.{self.quoted_column(column.name)}" for column in plan.columns)
        inserted = self.execute(
            f"INSERT INTO {table} ({names}) SELECT {given} FROM {staged} AS r"  # noqa: S608 -- quoted names
            f" WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {matched})"
        )
        return inserted, updated, deleted

    def delete_statement(self, table: str, run: str, matched: str) -> str:
        return f"DELETE FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM {run} AS r WHERE {matched})"  # noqa: S608

    def _insert_new(self, plan: DeliveryPlan, run: str) -> int:
        names = ", ".join(self.quoted_column(column.name) for column in plan.columns)
        return self.execute(
            f"INSERT INTO {self.quoted(plan.table)} ({names}) SELECT {names} FROM {self.quoted(run)}"  # noqa: S608
        )

    def _check_columns(self, plan: DeliveryPlan, there: tuple[Column, ...]) -> None:
        known = {column.name: column for column in there}
        broken = [
            column.name
            for column in plan.columns
            if column.name not in known
            or not holds_exactly(known[column.name], column)
            or self.refuse_column(known[column.name], column)
        ]
        if broken:
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(broken))

    def _drop_abandoned(self, plan: DeliveryPlan) -> None:
        """Run tables of earlier batches of the same run: it was extracted again, they will never be merged."""
        with self.transaction(plan.table):
            mark = self.placeholder
            rows = self.fetch(
                f"SELECT DISTINCT batch_id FROM {self.quoted(LEDGER)} AS l WHERE run_id = {mark} AND batch_id <> {mark}"  # noqa: S608
                f" AND NOT EXISTS (SELECT 1 FROM {self.quoted(LEDGER)} AS m WHERE m.batch_id = l.batch_id AND m.chunk = 0)",
                (plan.run_id, plan.batch_id),
            )
        for (batch_id,) in rows:
            with self.transaction(plan.table):
                self.execute(f"DROP TABLE IF EXISTS {self.quoted(run_table(str(batch_id)))}")
                self._forget_chunks(str(batch_id))

    def _forget_chunks(self, batch_id: str) -> None:
        self.execute(
            f"DELETE FROM {self.quoted(LEDGER)} WHERE batch_id = {self.placeholder} AND chunk > 0",  # noqa: S608
            (batch_id,),
        )

    def _loaded_rows(self, batch_id: str) -> int:
        rows = self.fetch(
            f"SELECT coalesce(sum(row_count), 0) FROM {self.quoted(LEDGER)} WHERE batch_id = {self.placeholder} AND chunk > 0",  # noqa: S608
            (batch_id,),
        )
        return int(rows[0][0])

    def _count(self, table: str) -> int:
        return int(self.fetch(f"SELECT count(*) FROM {self.quoted(table)}")[0][0])  # noqa: S608 -- quoted name

    def _record(self, plan: DeliveryPlan, chunk: int, rows: int, digest: str, counts: DeliveryCounts | None) -> None:
        marks = ", ".join([self.placeholder] * 12)
        numbers = (
            (None,) * 5
            if counts is None
            else (counts.inserted, counts.updated, counts.deleted, counts.unchanged, counts.target_rows)
        )
        written = self.execute(
            f"INSERT INTO {self.quoted(LEDGER)} (batch_id, chunk, run_id, target_table, row_count, digest,"  # noqa: S608
            f" inserted, updated, deleted, unchanged, target_rows, recorded_at) VALUES ({marks})",
            (plan.batch_id, chunk, plan.run_id, plan.table, rows, digest, *numbers, now().isoformat()),
        )
        if written != 1:
            raise ManifestMismatch(run=plan.run_id, reason="ledger")
