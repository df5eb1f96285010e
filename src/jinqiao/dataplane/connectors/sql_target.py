"""What a database gives to deliveries: statements, transactions, tables. The dialects complete it; `merging` and `ledger` use it.

A *place* is a table's name as it stands in a statement, quoted, with its schema where it has one.
"""

import enum
import hashlib
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, Target
from jinqiao.dataplane.connectors.drift import Drift, target_drift, widens_exactly
from jinqiao.dataplane.connectors.plans import VALID_TO, is_history, table_columns
from jinqiao.dataplane.errors import ManifestMismatch, TargetSchemaChanged
from jinqiao.kernel.contracts.exchange import DriftChoice
from jinqiao.kernel.contracts.tables import Column

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.postgresql_counting import CountBeside

RUN_PREFIX = "jinqiao_run_"
DELETES_SUFFIX, CHANGES_SUFFIX = "_d", "_c"


def run_table(batch_id: str) -> str:
    """Name of the run table of a batch; its deletes and its changes have it with a suffix."""
    return RUN_PREFIX + hashlib.sha256(batch_id.encode()).hexdigest()[:16]


class Role(enum.Enum):
    TARGET = enum.auto()
    RUN = enum.auto()  # may be lost when the server crashes: `prepare` notices
    SESSION = enum.auto()  # temporary: nobody else sees it, gone with the connection


@dataclass(frozen=True, slots=True)
class NewTable:
    """A table to make, in portable types. `key` is its primary key; `beside` the target's table whose text a run table compares alike;
    `is_small` where few rows are expected."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    role: Role
    comment: str = ""
    beside: str = ""
    is_small: bool = False


@dataclass(frozen=True, slots=True)
class Staged:
    """Places of what belongs to a batch: its rows, keys to delete, and, during the merge, keys of new and changed rows."""

    rows: str
    deletes: str
    changes: str


class SqlTarget(Target):
    """Target with transactions and SQL. Subclasses are the dialects."""

    placeholder = "?"
    transactional_ddl = True
    short_integers: Collection[str] = ()  # native types of whole numbers that hold less than 64 bits
    keys_compare_exactly = True  # False where a collation may call two different keys the same

    @abstractmethod
    def quoted(self, table: str) -> str:
        """The place of a table; its name may carry a schema."""

    @abstractmethod
    def session_place(self, table: str) -> str:
        """The place of a temporary table."""

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

    def has(self, table: str) -> bool:
        """Is there such a table?"""
        return self.existing(table) is not None

    @abstractmethod
    def required(self, table: str) -> Collection[str]:
        """Columns of a table that an INSERT must fill."""

    @abstractmethod
    def create(self, table: NewTable) -> None: ...

    @abstractmethod
    def add_columns(self, table: str, columns: Sequence[Column]) -> None:
        """Nullable columns at the end of a table that is there."""

    def can_widen(self, table: str, names: Sequence[str]) -> bool:
        """Is the engine able to give these columns another type, everything else about them as it was?"""
        return False

    def widen_columns(self, table: str, columns: Sequence[Column]) -> None:
        """Give columns of a table these types."""

    @abstractmethod
    def insert(self, place: str, rows: pa.Table) -> None: ...

    def insert_raw(self, plan: DeliveryPlan, place: str, columns: Sequence[str], tuples: bytes) -> int:
        """Tuples of binary COPY; how many there were."""
        raise ManifestMismatch(run=plan.run_id, reason="form")

    @abstractmethod
    def create_changes(self, place: str, query: str, *, temporary: bool) -> None:
        """A table of what the query gives, for the rest of the transaction."""

    def drop_changes(self, place: str) -> None:
        self.execute(f"DROP TABLE {place}")

    def drop_session(self, place: str) -> None:
        """Drop a temporary table that may not be there."""
        self.execute(f"DROP TABLE IF EXISTS {place}")

    @abstractmethod
    def same(self, left: str, right: str, column: Column) -> str:
        """SQL that is true where two values are the same, NULL included, byte by byte."""

    @abstractmethod
    def instant(self, text: str) -> str:
        """SQL of a wall-clock time `2026-01-31 08:00:00.000000`."""

    def update_joined(
        self, table: str, others: Sequence[tuple[str, str]], where: str, given: Sequence[tuple[str, str]]
    ) -> str:
        """UPDATE of `table` AS t from other places with their aliases; `given` are columns and their expressions."""
        settings = ", ".join(f"{name} = {expression}" for name, expression in given)
        sources = ", ".join(f"{place} AS {alias}" for place, alias in others)
        source = f" FROM {sources}" if others else ""
        return f"UPDATE {table} AS t SET {settings}{source} WHERE {where}"  # noqa: S608 -- quoted names

    def delete_where(self, table: str, where: str) -> str:
        """DELETE from `table` AS t."""
        return f"DELETE FROM {table} AS t WHERE {where}"  # noqa: S608 -- quoted names

    @abstractmethod
    def delete_keys(self, table: str, keys: Sequence[str], place: str) -> str:
        """DELETE from `table` of the rows whose key stands in another place."""

    def empty(self, table: str, *, reload: bool) -> int:
        """Take every row out of a table; how many there were. A reload may do it so that readers wait meanwhile."""
        return self.execute(f"DELETE FROM {table}")  # noqa: S608 -- quoted name

    def refuse_table(self, table: str) -> None:
        """Raise what makes a table that is there no target (storage engine, kind of object)."""

    def loose_keys(self, table: str, texts: Sequence[str]) -> list[str]:
        """Those of these columns of text in which the table takes different values for the same."""
        return []

    def loses(self, there: Column, wanted: Column) -> bool:
        """Does the engine lose something here that the logical types do not show?"""
        return False

    def spoils(self, there: Column, wanted: Column, value: str) -> str:
        """SQL that is true where the column takes a value and changes it without a word; empty where it changes none. `value` is
        SQL of a value as it is staged, in a column that holds the wanted one by its logical type."""
        return ""

    def lock(self, table: str) -> None:
        """Nobody else writes to the table until the batch is visible."""

    def before_match(self, plan: DeliveryPlan, staged: Staged) -> None:
        """The rows of a batch are about to be matched. Raises TargetKeyNotUnique where two have the same key."""

    def compares_while_updating(self, plan: DeliveryPlan) -> bool:
        """Inside the merge, the table locked: may the rows of this batch be compared by the UPDATE itself? Only where few rows are expected, their
        key is unique at the table, and nothing there can keep a statement from doing what it says."""
        return False

    def count_beside(self, plan: DeliveryPlan, where: str) -> "CountBeside | None":
        """Inside the merge, the table locked and nothing changed yet: begin to count its rows over another connection, where that is
        exact and worth it."""
        return None

    def run_becomes_table(self, plan: DeliveryPlan, run: str) -> bool:
        """Inside the merge, the table absent: rename the run table into its place. False where that is not possible."""
        return False

    # --- what is common -------------------------------------------------------------------------------------------

    def count(self, place: str, where: str = "") -> int:
        condition = f" WHERE {where}" if where else ""
        return int(self.fetch(f"SELECT count(*) FROM {place}{condition}")[0][0])  # noqa: S608 -- quoted name

    def names(self, columns: Sequence[Column], alias: str = "") -> str:
        return ", ".join(f"{alias}{self.quoted_column(column.name)}" for column in columns)

    def drift(self, plan: DeliveryPlan, there: tuple[Column, ...]) -> Drift:
        """What the table lacks for the plan."""
        wanted = table_columns(plan)
        found = target_drift(wanted, there, self.required(plan.table), self.loses)
        closed = {column.name: column.nullable for column in there}
        if is_history(plan) and not closed.get(VALID_TO, True) and VALID_TO not in found.retyped:
            return Drift(found.missing, (*found.retyped, VALID_TO), found.extra_required)  # an open version has none
        return found

    def hold_schema(self, plan: DeliveryPlan, there: tuple[Column, ...], *, adapt: bool) -> None:
        """The table can take the plan's rows exactly, or can be made so; with `adapt` it is. Raises TargetSchemaChanged."""
        found = self.drift(plan, there)
        by_name = {column.name: column for column in there}
        wanted = {column.name: column for column in table_columns(plan)}
        new = [wanted[name] for name in found.missing]
        wider = [wanted[name] for name in found.retyped]
        possible = (
            plan.drift is DriftChoice.ADAPT
            and not found.extra_required
            and all(column.nullable and column.name not in plan.keys for column in new)
            and all(widens_exactly(by_name[column.name], column) for column in wider)
            and (not wider or self.can_widen(plan.table, found.retyped))
        )
        if found and not possible:
            columns = ", ".join((*found.missing, *found.retyped, *found.extra_required))
            raise TargetSchemaChanged(table=plan.table, columns=columns, **found.named())
        if not adapt or plan.drift is not DriftChoice.ADAPT:
            return
        wider += [
            wanted[column.name]
            for column in there
            if column.name in wanted
            and column.native_type.split("(")[0] in self.short_integers
            and column.type is wanted[column.name].type
            and self.can_widen(plan.table, (column.name,))
        ]
        if new:
            self.add_columns(plan.table, new)
        if wider:
            self.widen_columns(plan.table, wider)
