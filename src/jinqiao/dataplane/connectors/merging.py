"""The merge: a staged batch into the table, inside of one transaction, in SQL that the dialects complete.

Where rows are matched, one join of the batch with the table finds the keys of rows that are new or differ; only those are
touched, and their number is known before, so that what the statements did is held against what was to be done. Rows are
compared null-safe and byte by byte, never by a collation.
"""

from dataclasses import dataclass

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.plans import (
    VALID_FROM,
    VALID_TO,
    deletes_keys,
    is_history,
    matches_rows,
    replaces_all,
    shows_only,
    version_instant,
)
from jinqiao.dataplane.connectors.sql_target import SqlTarget, Staged
from jinqiao.dataplane.errors import HistoryOutOfOrder, ReconciliationFailed, TargetKeyNotUnique
from jinqiao.kernel.contracts.exchange import Delivery
from jinqiao.kernel.contracts.tables import Column


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows. `target_rows` is None where nobody has counted them."""

    inserted: int
    updated: int = 0
    deleted: int = 0
    target_rows: int | None = None


class Merge:
    """One batch and the table that it goes into; `received` rows are staged."""

    def __init__(
        self, target: SqlTarget, plan: DeliveryPlan, staged: Staged, received: int, *, temporary: bool
    ) -> None:
        self._target, self._plan, self._staged = target, plan, staged
        self._received, self._temporary = received, temporary
        self._table = target.quoted(plan.table)
        self._keys = [target.quoted_column(key) for key in plan.keys]
        self._history = is_history(plan)
        self._from, self._to = target.quoted_column(VALID_FROM), target.quoted_column(VALID_TO)
        self._at = target.instant(version_instant(plan)) if self._history else ""
        self._current = f" AND t.{self._to} IS NULL" if self._history else ""

    def into_empty(self) -> Changes:
        """Every row into a table without any."""
        return Changes(self._insert_all())

    def run(self) -> Changes:
        """Every row into a table that may hold others. Raises TargetKeyNotUnique, HistoryOutOfOrder, ReconciliationFailed."""
        if replaces_all(self._plan):
            deleted = self._target.empty(self._table, reload=self._plan.delivery is Delivery.RELOAD)
            return Changes(self._insert_all(), deleted=deleted)
        if not matches_rows(self._plan):
            return Changes(self._insert_all())
        self._target.before_match(self._plan, self._staged)
        if not self._target.fetch(f"SELECT 1 FROM {self._table} LIMIT 1"):  # noqa: S608 -- nothing there to compare with
            return self.into_empty()
        if self._target.compares_while_updating(self._plan):
            return self._overwrite_at_once()
        new, changed = self._find_changes()
        changes = self._keep_versions(new, changed) if self._history else self._overwrite(new, changed)
        self._target.drop_changes(self._staged.changes)
        return changes

    def visible_rows(self) -> int:
        """Rows that the table shows; of a history the versions that are valid now."""
        return self._target.count(self._table, self.is_visible())

    def is_visible(self) -> str:
        """What is true of the rows that the table shows; empty where it shows all."""
        return f"{self._to} IS NULL" if self._history else ""

    def _overwrite(self, new: int, changed: int) -> Changes:
        target, plan, staged = self._target, self._plan, self._staged
        deleted, before = 0, None
        if shows_only(plan):
            before = self.visible_rows()
            if before != self._received - new:  # otherwise every row of the table has its row in the batch
                absent = f"NOT EXISTS (SELECT 1 FROM {staged.rows} AS r WHERE {self._matched('t', 'r')})"  # noqa: S608
                deleted = target.execute(target.delete_where(self._table, absent))
        elif self._drop_brought_keys():
            deleted = target.execute(target.delete_keys(self._table, self._keys, staged.deletes))
        if changed:
            given = [(target.quoted_column(c.name), f"r.{target.quoted_column(c.name)}") for c in self._compared()]
            where, sources = self._matched("t", "r"), [(staged.rows, "r")]
            if changed < self._received:
                where = f"c.is_new = 0 AND {self._changed('r')} AND {where}"
                sources.insert(0, (staged.changes, "c"))
            self._hold(changed, target.execute(target.update_joined(self._table, sources, where, given)))
        if new:
            if new < self._received:
                self._hold(new, self._insert_changes("c.is_new = 1"))
            else:
                self._insert_all()
        unmoved = before is not None and not new and not deleted
        return Changes(new, changed, deleted, before if unmoved else None)

    def _overwrite_at_once(self) -> Changes:
        """A few rows into a table with many: each is looked up once less, and compared in the very statement that updates it."""
        target, staged = self._target, self._staged
        absent = f"NOT EXISTS (SELECT 1 FROM {self._table} AS t WHERE {self._matched('t', 'r')})"  # noqa: S608 -- quoted names
        given = [(target.quoted_column(c.name), f"r.{target.quoted_column(c.name)}") for c in self._compared()]
        where = f"{self._matched('t', 'r')} AND ({self._differs()})"
        # a table of keys alone has nothing to update
        changed = target.execute(target.update_joined(self._table, [(staged.rows, "r")], where, given)) if given else 0
        new = target.count(f"{staged.rows} AS r", absent) if changed < self._received else 0
        if changed > self._received - new:
            raise ReconciliationFailed(table=self._plan.table, sent=self._received - new, received=changed)
        if new:
            self._hold(new, self._insert(f"{staged.rows} AS r WHERE {absent}"))
        return Changes(new, changed)

    def _differs(self) -> str:
        """What is true of a row that is not the same as the one with its key."""
        target = self._target
        named = [(column, target.quoted_column(column.name)) for column in self._compared()]
        return (
            " OR ".join(f"NOT ({target.same(f't.{name}', f'r.{name}', column)})" for column, name in named) or "1 = 0"
        )

    def _keep_versions(self, new: int, changed: int) -> Changes:
        target, plan, staged = self._target, self._plan, self._staged
        end = [(self._to, self._at)]
        deleted = 0
        if shows_only(plan):
            if self.visible_rows() != self._received - new:
                absent = f"NOT EXISTS (SELECT 1 FROM {staged.rows} AS r WHERE {self._matched('t', 'r')})"  # noqa: S608
                deleted = target.execute(target.update_joined(self._table, [], absent + self._current, end))
        elif self._drop_brought_keys():
            where = self._matched("t", "g") + self._current
            deleted = target.execute(target.update_joined(self._table, [(staged.deletes, "g")], where, end))
        if changed:
            where = f"c.is_new = 0 AND {self._changed('t')}{self._current}"
            self._hold(changed, target.execute(target.update_joined(self._table, [(staged.changes, "c")], where, end)))
        if (deleted or changed) and target.fetch(
            f"SELECT 1 FROM {self._table} AS t WHERE t.{self._to} = {self._at} AND t.{self._from} >= {self._at} LIMIT 1"  # noqa: S608
        ):
            raise HistoryOutOfOrder(table=plan.table)
        if new or changed:
            self._hold(new + changed, self._insert_changes("1 = 1"))
        return Changes(new, changed, deleted)

    def _find_changes(self) -> tuple[int, int]:
        """Put the keys of new and of changed rows aside; how many there are of each. Raises TargetKeyNotUnique."""
        target, staged = self._target, self._staged
        keys = ", ".join(f"r.{key} AS k{at}" for at, key in enumerate(self._keys))
        target.create_changes(
            staged.changes,
            f"SELECT {keys}, CASE WHEN t.{self._keys[0]} IS NULL THEN 1 ELSE 0 END AS is_new FROM {staged.rows} AS r"  # noqa: S608
            f" LEFT JOIN {self._table} AS t ON {self._matched('t', 'r')}{self._current}"
            f" WHERE t.{self._keys[0]} IS NULL OR {self._differs()}",
            temporary=self._temporary,
        )
        found = target.fetch(f"SELECT is_new, count(*) FROM {staged.changes} GROUP BY is_new")  # noqa: S608 -- our own name
        counts = {int(is_new): int(rows) for is_new, rows in found}
        new, changed = counts.get(1, 0), counts.get(0, 0)
        columns = ", ".join(f"k{at}" for at in range(len(self._keys)))
        if changed and target.fetch(
            f"SELECT 1 FROM {staged.changes} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"  # noqa: S608 -- our own name
        ):
            raise TargetKeyNotUnique(table=self._plan.table, keys=", ".join(self._plan.keys))
        return new, changed

    def _compared(self) -> list[Column]:
        """Columns in which a row may differ from the one with its key."""
        keys = self._plan.keys if self._target.keys_compare_exactly else ()
        return [column for column in self._plan.columns if column.name not in keys]

    def _drop_brought_keys(self) -> bool:
        """Are there keys to delete? Those that the batch also brings are not."""
        target, staged = self._target, self._staged
        if not self._plan.rows_deleted or not deletes_keys(self._plan):
            return False
        brought = f"EXISTS (SELECT 1 FROM {staged.rows} AS r WHERE {self._matched('t', 'r')})"  # noqa: S608
        target.execute(target.delete_where(staged.deletes, brought))
        return True

    def _matched(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{key} = {right}.{key}" for key in self._keys)

    def _changed(self, alias: str) -> str:
        return " AND ".join(f"c.k{at} = {alias}.{key}" for at, key in enumerate(self._keys))

    def _insert_all(self) -> int:
        """A trigger or a rule of the table may let rows fall by the wayside without a word: then nothing is delivered."""
        inserted = self._insert(f"{self._staged.rows} AS r")
        self._hold(self._received, inserted)
        return inserted

    def _insert_changes(self, condition: str) -> int:
        return self._insert(
            f"{self._staged.changes} AS c, {self._staged.rows} AS r WHERE {self._changed('r')} AND {condition}"
        )

    def _insert(self, source: str) -> int:
        columns = self._plan.columns
        names, given = self._target.names(columns), self._target.names(columns, "r.")
        if self._history:
            names, given = f"{names}, {self._from}", f"{given}, {self._at}"
        return self._target.execute(f"INSERT INTO {self._table} ({names}) SELECT {given} FROM {source}")  # noqa: S608 -- quoted names

    def _hold(self, planned: int, done: int) -> None:
        if planned != done:
            raise ReconciliationFailed(table=self._plan.table, sent=planned, received=done)
