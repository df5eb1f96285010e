"""The delivery to a database: run tables, ledger, merge, so that a batch arrives exactly once.

The ledger `jinqiao_ledger` stands in the target's own database. Chunk n of a batch and its ledger row (chunk = n) commit
together; the merge and the batch's row (chunk = 0, with the counts) commit together. So the ledger is true at any instant:

    killed before a chunk's commit     the chunk is loaded again
    killed after it                    the chunk is skipped
    killed in the merge                rolled back, the run table is still whole: merged again
    killed after the merge             the ledger gives the counts, nothing is written; the run tables are dropped

Rows go to the run table, keys of chunks of deletes to a second one. Nothing that the consumer can see is changed before the
merge, except that an absent table is made, and columns are adapted, where DDL cannot be rolled back (MariaDB).

Rows with the counts are never deleted: a batch that was once delivered and is not there any more tells of a database that was put
back to an earlier state (`has_merged`).

Where the target allows no table of ours (`LedgerPlace.NODE`), rows are staged in temporary tables of one connection, the merge
is still one transaction, and its counts go to a `NodeLedger` afterwards. Killed between the two, or before the merge, the whole
batch is delivered again: at least once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState
from jinqiao.dataplane.connectors.merging import Changes, Merge
from jinqiao.dataplane.connectors.plans import (
    check_plan,
    key_columns,
    matches_rows,
    refuse_absent,
    run_key,
    shows_only,
    table_columns,
    table_key,
)
from jinqiao.dataplane.connectors.sql_target import (
    CHANGES_SUFFIX,
    DELETES_SUFFIX,
    RUN_PREFIX,
    NewTable,
    Role,
    SqlTarget,
    Staged,
    run_table,
)
from jinqiao.dataplane.errors import ManifestMismatch, ReconciliationFailed, TargetKeyLoose, TargetRefused
from jinqiao.kernel.contracts.exchange import (
    ChunkKind,
    ChunkManifest,
    DeliveryCounts,
    DriftChoice,
    Guarantee,
    LedgerPlace,
)
from jinqiao.kernel.contracts.tables import Column, LogicalType
from jinqiao.kernel.moments import now

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.node_ledger import NodeLedger

__all__ = ["LEDGER", "RUN_PREFIX", "LedgerTarget", "run_table"]

LEDGER = "jinqiao_ledger"


class LedgerTarget(SqlTarget):
    """A target whose batches stand in a ledger: its own, or, where `node_ledger` is given and a plan says so, the node's."""

    def __init__(self) -> None:
        self.forget_session()

    def forget_session(self) -> None:
        """The connection is gone, and its temporary tables with it."""
        self._in_session: dict[int, str] = {}  # chunks in the temporary tables of this connection
        self._session_batch = ""

    def state(self, batch_id: str) -> LedgerState:
        merged = self.node_ledger.counts(batch_id) if self.node_ledger is not None else None
        if merged is not None:
            return LedgerState(merged=merged)
        with self.transaction(LEDGER):
            state = self._state(batch_id) if self.has(LEDGER) else LedgerState()
        if state.merged is not None:
            self._sweep(batch_id)
        return state

    def has_merged(self, batch_id: str) -> bool:
        if self.node_ledger is not None and self.node_ledger.counts(batch_id) is not None:
            return True  # the task kept its ledger at the node then
        with self.transaction(LEDGER):
            return self.has(LEDGER) and bool(
                self.fetch(
                    f"SELECT 1 FROM {self.quoted(LEDGER)} WHERE batch_id = {self.placeholder} AND chunk = 0",  # noqa: S608
                    (batch_id,),
                )
            )

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        check_plan(plan)
        at_node = self._at_node(plan)
        if at_node is not None and (merged := at_node.counts(plan.batch_id)) is not None:
            return LedgerState(merged=merged)
        with self.transaction(plan.table):
            there = self.existing(plan.table)
            if there is None:
                refuse_absent(plan)
            if there is not None:
                self.refuse_table(plan.table)
                self.hold_schema(plan, there, adapt=not self.transactional_ddl)
                self._hold_keys(plan)
            if at_node is None:
                self._make_ledger()
                self._make_room_for_approval(plan)
        if at_node is not None:
            self._stage_in_session(plan)
            return LedgerState()
        return self._stage(plan)

    def _hold_keys(self, plan: DeliveryPlan) -> None:
        """Rows are told apart by their keys as they stand there. Raises TargetKeyLoose."""
        texts = [column.name for column in key_columns(plan) if column.type is LogicalType.TEXT]
        if texts and matches_rows(plan) and (loose := self.loose_keys(plan.table, texts)):
            raise TargetKeyLoose(table=plan.table, columns=", ".join(loose))

    def load(self, plan: DeliveryPlan, chunk: ChunkManifest, rows: pa.Table | bytes) -> None:
        staged, at_node = self._staged(plan), self._at_node(plan)
        place = staged.rows if chunk.kind is ChunkKind.ROWS else staged.deletes
        with self._session(plan), self.transaction(plan.table):
            if at_node is None:
                count = chunk.rows if isinstance(rows, bytes) else rows.num_rows
                self._record(plan, chunk.number, count, chunk.content_digest, None)
            if isinstance(rows, bytes):
                columns = plan.columns if chunk.kind is ChunkKind.ROWS else key_columns(plan)
                taken = self.insert_raw(plan, place, [column.name for column in columns], rows)
                if taken != chunk.rows:
                    raise ReconciliationFailed(table=plan.table, sent=chunk.rows, received=taken)
            else:
                self.insert(place, rows if chunk.kind is ChunkKind.ROWS else rows.select(list(plan.keys)))
        if at_node is not None:
            self._in_session[chunk.number] = chunk.content_digest

    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        at_node = self._at_node(plan)
        if at_node is not None and (merged := at_node.counts(plan.batch_id)) is not None:
            return merged
        with self._session(plan), self.transaction(plan.table):
            state = self._state(plan.batch_id) if at_node is None else LedgerState(self._in_session)
            if state.merged is not None:
                return state.merged
            counts = self._merge(plan, len(state.loaded))
            if at_node is None:
                self._record(plan, 0, counts.received, "", counts)
        if at_node is not None:
            at_node.record(plan, counts)
        return counts

    def clean(self, plan: DeliveryPlan) -> None:
        if self._at_node(plan) is None:
            self._drop(plan.batch_id)
        elif self._session_batch == plan.batch_id:
            self._drop_session(plan)

    # --- the merge ------------------------------------------------------------------------------------------------

    def _merge(self, plan: DeliveryPlan, chunks: int) -> DeliveryCounts:
        """Inside the transaction. Raises ReconciliationFailed where anything was not as planned, which rolls back."""
        staged, temporary = self._staged(plan), self._at_node(plan) is not None
        received = self.count(staged.rows)
        gone = self.count(staged.deletes) if plan.rows_deleted else 0
        for sent, arrived in ((plan.rows, received), (plan.rows_deleted, gone), (plan.chunks, chunks)):
            if sent != arrived:
                raise ReconciliationFailed(table=plan.table, sent=sent, received=arrived)
        merge = Merge(self, plan, staged, received, temporary=temporary)
        there = self.existing(plan.table)
        if there is None:
            if temporary or not self.run_becomes_table(plan, run_table(plan.batch_id)):
                self._create_target(plan)
                changes = merge.into_empty()
            else:
                changes = Changes(received, target_rows=received)
        else:
            self.lock(plan.table)
            self.hold_schema(plan, there, adapt=self.transactional_ddl)
            self._hold_values(plan, there, staged.rows)
            changes = self._changed(plan, merge, is_empty=not received and not gone)
        shown = merge.visible_rows() if changes.target_rows is None else changes.target_rows
        unchanged = received - changes.inserted - changes.updated
        short = not matches_rows(plan) and unchanged != 0
        if unchanged < 0 or short or (shows_only(plan) and shown != received):
            raise ReconciliationFailed(table=plan.table, sent=received, received=shown)
        return DeliveryCounts(
            received=received,
            inserted=changes.inserted,
            updated=changes.updated,
            deleted=changes.deleted,
            unchanged=unchanged,
            target_rows=shown,
            guarantee=Guarantee.AT_LEAST_ONCE if temporary else Guarantee.EXACTLY_ONCE,
        )

    def _hold_values(self, plan: DeliveryPlan, there: tuple[Column, ...], place: str) -> None:
        """Every value stands there as it was sent: an engine may cut, pad or read anew what it is given, and say nothing.
        Raises TargetRefused."""
        spoilt = self._spoilt(plan, there)
        if spoilt and plan.drift is DriftChoice.ADAPT:  # columns may be others by now
            spoilt = self._spoilt(plan, self.existing(plan.table) or ())
        if spoilt and self.fetch(f"SELECT 1 FROM {place} AS r WHERE {' OR '.join(spoilt)} LIMIT 1"):  # noqa: S608
            raise TargetRefused(table=plan.table, state="22001")

    def _spoilt(self, plan: DeliveryPlan, there: tuple[Column, ...]) -> list[str]:
        by_name = {column.name: column for column in there}
        given = [(column, f"r.{self.quoted_column(column.name)}") for column in plan.columns if column.name in by_name]
        return [how for column, value in given if (how := self.spoils(by_name[column.name], column, value))]

    def _changed(self, plan: DeliveryPlan, merge: Merge, *, is_empty: bool) -> Changes:
        """The batch into a table that is there and locked."""
        if shows_only(plan):
            return merge.run()
        if is_empty:  # a run that found nothing new compares no row of a table that may be large
            return Changes(0)
        counting = self.count_beside(plan, merge.is_visible())
        if counting is None:
            return merge.run()
        with counting:
            changes = merge.run()
            before = counting.rows()
        return changes if before is None else replace(changes, target_rows=before + changes.inserted - changes.deleted)

    def _create_target(self, plan: DeliveryPlan) -> None:
        self.create(NewTable(plan.table, table_columns(plan), table_key(plan), Role.TARGET, plan.comment))

    # --- run tables -----------------------------------------------------------------------------------------------

    def _staged(self, plan: DeliveryPlan) -> Staged:
        name = run_table(plan.batch_id)
        place = self.quoted if self._at_node(plan) is None else self.session_place
        return Staged(place(name), place(name + DELETES_SUFFIX), place(name + CHANGES_SUFFIX))

    def _run_tables(self, plan: DeliveryPlan, role: Role) -> list[NewTable]:
        name = run_table(plan.batch_id)
        tables = [
            NewTable(name, plan.columns, run_key(plan), role, plan.comment, beside=plan.table, is_small=plan.is_window)
        ]
        if plan.rows_deleted != 0:
            tables.append(NewTable(name + DELETES_SUFFIX, key_columns(plan), plan.keys, role, beside=plan.table))
        return tables

    def _stage(self, plan: DeliveryPlan) -> LedgerState:
        """The run tables, made where they are not there; which chunks are in them."""
        with self.transaction(plan.table):
            state = self._state(plan.batch_id)
        if state.merged is not None:
            self._sweep(plan.batch_id)
            return state
        self._drop_abandoned(plan)
        tables = self._run_tables(plan, Role.RUN)
        with self.transaction(plan.table):
            missing = [table for table in tables if not self.has(table.name)]
            for table in missing:
                self.create(table)
            if not self.transactional_ddl and not self.has(plan.table):
                self._create_target(plan)
        with self.transaction(plan.table):
            # an unlogged run table is emptied when its server crashed: what the ledger says of it is no longer true
            if state.loaded and (
                missing or sum(self.count(self.quoted(t.name)) for t in tables) != self._loaded_rows(plan.batch_id)
            ):
                for table in tables:
                    self.execute(f"DELETE FROM {self.quoted(table.name)}")  # noqa: S608 -- our own name
                self._forget_chunks(plan.batch_id)
                state = LedgerState()
        return state

    def _stage_in_session(self, plan: DeliveryPlan) -> None:
        with self.transaction(plan.table):
            if not self.transactional_ddl and not self.has(plan.table):
                self._create_target(plan)
            for table in self._run_tables(plan, Role.SESSION):
                self.drop_session(self.session_place(table.name))
                self.create(table)
        self._in_session, self._session_batch = {}, plan.batch_id

    @contextmanager
    def _session(self, plan: DeliveryPlan) -> Iterator[None]:
        """Temporary tables live and die with one connection: nothing is loaded or merged without them."""
        if self._at_node(plan) is not None and self._session_batch != plan.batch_id:
            raise ManifestMismatch(run=plan.run_id, reason="session")
        yield

    def _drop_session(self, plan: DeliveryPlan) -> None:
        with self.transaction(plan.table):
            for table in self._run_tables(plan, Role.SESSION):
                self.drop_session(self.session_place(table.name))
        self.forget_session()

    def _drop(self, batch_id: str) -> None:
        name = run_table(batch_id)
        with self.transaction(name):
            for table in (name, name + DELETES_SUFFIX):
                self.execute(f"DROP TABLE IF EXISTS {self.quoted(table)}")

    def _sweep(self, batch_id: str) -> None:
        """Whoever was killed after the merge left the run tables, with the rows in them."""
        name = run_table(batch_id)
        with self.transaction(name):
            left = any(self.has(table) for table in (name, name + DELETES_SUFFIX))
        if left:
            self._drop(batch_id)

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
            self._drop(str(batch_id))
            with self.transaction(plan.table):
                self._forget_chunks(str(batch_id))

    # --- the ledger -----------------------------------------------------------------------------------------------

    def _at_node(self, plan: DeliveryPlan) -> "NodeLedger | None":
        if plan.ledger is LedgerPlace.TARGET:
            return None
        if self.node_ledger is None:
            raise ManifestMismatch(run=plan.run_id, reason="ledger place")
        return self.node_ledger

    def _make_ledger(self) -> None:
        if not self.has(LEDGER):
            counts = ", ".join(
                f"{name} BIGINT" for name in ("inserted", "updated", "deleted", "unchanged", "target_rows")
            )
            self.execute(
                f"CREATE TABLE IF NOT EXISTS {self.quoted(LEDGER)} (batch_id VARCHAR(190) NOT NULL, chunk INTEGER NOT NULL,"
                " run_id VARCHAR(190) NOT NULL, target_table VARCHAR(200) NOT NULL, row_count BIGINT NOT NULL,"
                f" digest VARCHAR(128) NOT NULL, {counts}, recorded_at VARCHAR(40) NOT NULL, approval VARCHAR(200),"
                " PRIMARY KEY (batch_id, chunk))"
            )

    def _make_room_for_approval(self, plan: DeliveryPlan) -> None:
        """Ledgers that were made before sign-offs were kept get their column with the first reload."""
        if plan.approval and "approval" not in {column.name for column in self.existing(LEDGER) or ()}:
            self.execute(f"ALTER TABLE {self.quoted(LEDGER)} ADD COLUMN approval VARCHAR(200)")

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

    def _record(self, plan: DeliveryPlan, chunk: int, rows: int, digest: str, counts: DeliveryCounts | None) -> None:
        approval = (plan.approval,) if counts is not None and plan.approval else ()
        marks = ", ".join([self.placeholder] * (12 + len(approval)))
        numbers = (
            (None,) * 5
            if counts is None
            else (counts.inserted, counts.updated, counts.deleted, counts.unchanged, counts.target_rows)
        )
        written = self.execute(
            f"INSERT INTO {self.quoted(LEDGER)} (batch_id, chunk, run_id, target_table, row_count, digest,"  # noqa: S608
            f" inserted, updated, deleted, unchanged, target_rows, recorded_at{', approval' * len(approval)}) VALUES ({marks})",
            (plan.batch_id, chunk, plan.run_id, plan.table, rows, digest, *numbers, now().isoformat(), *approval),
        )
        if written != 1:
            raise ManifestMismatch(run=plan.run_id, reason="ledger")
