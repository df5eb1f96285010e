"""What every kind of source offers, and the statement that it is asked."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinqiao.dataplane.connectors import open_source
from jinqiao.dataplane.gateway.errors import CursorNotValid, SourceNotUsable
from jinqiao.dataplane.gateway.values import cursor_text
from jinqiao.kernel.contracts.tables import Column, Connection, RowCondition

LOOKUP_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
MOST_CONNECTIONS = 8
NAME_CHARACTERS = 128

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT of granted columns. Parameters are the keys in their order, then `fixed`, already in the driver's form.
    `merged` asks for many look-ups at once, where the engine can: its parameters are arrays of keys, its first column the number
    of the look-up, from 1."""

    sql: str
    key_columns: tuple[Column, ...]
    fixed: tuple[Any, ...]
    merged: str = ""


@dataclass(frozen=True, slots=True)
class Paging:
    """How a list is ordered and where it goes on.

    `order`: columns, and whether descending. `tied`: columns whose salted digest decides between rows that are alike in the
    order, so that these come in an order that tells nothing of what stands there; empty where `order` is whole by itself.
    `after`: the values of the last row given (a cursor's; None on the first page), the digest last; `skip`: how many rows alike
    to it were given.
    """

    order: tuple[tuple[Column, bool], ...]
    tied: tuple[Column, ...]
    salt: str
    after: tuple[Any, ...] | None = None
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a statement reads: columns of rows that have the keys and meet the conditions, or how many there are."""

    table: str
    selected: tuple[Column, ...]
    keys: tuple[Column, ...]
    conditions: tuple[RowCondition, ...]
    limit: int
    paging: Paging | None = None
    counts: bool = False


class Bound:
    """Parameters of a statement as they are added; `place` is the number of the next one, counted after the keys."""

    def __init__(self, keys: int) -> None:
        self.values: list[Any] = []
        self._keys = keys

    @property
    def place(self) -> int:
        return self._keys + len(self.values) + 1


class Forgetful(Protocol):
    def forget(self) -> None:
        """Look at the table anew before the next statement."""


class LookupSource(ABC):
    """One database. Belongs to the gateway's event loop. `at_once`: look-ups of one batch that it takes side by side, leaving
    places to others."""

    at_once = 4

    def __init__(self, connection: Connection, password: str) -> None:
        self.connection = connection
        self.password = password
        self.readers: weakref.WeakSet[Forgetful] = weakref.WeakSet()
        """Who remembers columns of it, and is told when they may be others."""

    def statement(self, reading: Reading, columns: dict[str, Column]) -> Statement:
        """Build the SELECT. `columns` is the table as the database declares it. Raises SourceNotUsable, FilterNotPossible.

        Of a list each row ends with the values of its order, and the digest where there is one.
        """
        sql, fixed = self.select(reading, columns, self.key_mark)
        return Statement(sql, reading.keys, fixed)

    def select(
        self, reading: Reading, columns: dict[str, Column], key: Callable[[int], str]
    ) -> tuple[str, tuple[Any, ...]]:
        """The SELECT and its parameters beside the keys, of which `key` gives the place (from 1)."""
        bound = Bound(len(reading.keys))
        parts = [self.key_part(column, key(at)) for at, column in enumerate(reading.keys, 1)]
        parts += [
            self.condition_part(condition, column_named(columns, condition.column), bound)
            for condition in reading.conditions
        ]
        paging, tie = reading.paging, ""
        selected = [self.selected(column) for column in reading.selected]
        if paging is not None:
            tie = self.tie(paging.tied, paging.salt) if paging.tied else ""
            selected += [self.selected(column) for column, _ in paging.order] + ([tie] if tie else [])
            if paging.after is not None:
                parts.append(self._after(paging, paging.after, tie, bound))
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        what = "count(*)" if reading.counts else ", ".join(selected)
        sql = f"SELECT {what} FROM {self.table_name(reading.table)}{where}"  # noqa: S608 -- quoted names, bound values
        if paging is not None:
            sql += f" ORDER BY {', '.join(self._ordering(paging, tie))}"
        if not reading.counts:
            sql += f" LIMIT {int(reading.limit)}"
        if paging is not None and paging.skip:
            sql += f" OFFSET {int(paging.skip)}"
        return sql, tuple(bound.values)

    def _ordering(self, paging: Paging, tie: str) -> list[str]:
        """Rows without a value come last, whatever the engine thinks of it."""
        parts = []
        for column, descending in paging.order:
            key = self.sort_key(column)
            if column.nullable:
                parts.append(f"({key} IS NULL)")
            parts.append(f"{key} DESC" if descending else key)
        return [*parts, tie] if tie else parts

    def _after(self, paging: Paging, after: tuple[Any, ...], tie: str, bound: Bound) -> str:
        """Rows from the last given one on: beyond it in one column and alike in those before, or alike in all."""
        keys: list[tuple[str, Column | None, bool]] = [
            (self.sort_key(column), column, down) for column, down in paging.order
        ]
        if tie:
            keys.append((tie, None, False))
        if len(keys) != len(after):
            raise CursorNotValid
        branches = []
        for at in range(len(keys) + 1):
            if at < len(keys) and after[at] is None:
                continue  # what has no value comes last: nothing is beyond it
            alike = [
                self._alike(key, column, value, bound)
                for (key, column, _), value in zip(keys[:at], after, strict=False)
            ]
            if at == len(keys):
                branches.append(" AND ".join(alike))
            else:
                key, column, descending = keys[at]
                beyond = f"{key} {'<' if descending else '>'} {self.sort_mark(column, after[at], bound)}"
                if column is not None and column.nullable:
                    beyond = f"({beyond} OR {key} IS NULL)"
                branches.append(" AND ".join([*alike, beyond]))
        return "(" + " OR ".join(f"({branch})" for branch in branches) + ")"

    def _alike(self, key: str, column: Column | None, value: Any, bound: Bound) -> str:
        return f"{key} IS NULL" if value is None else f"{key} = {self.sort_mark(column, value, bound)}"

    def sort_value(self, value: Any, column: Column) -> Any:
        """A value of an ordering column for the cursor: what `sort_mark` takes back. Raises what `cursor_text` raises."""
        return cursor_text(value, column.type)

    @abstractmethod
    def table_name(self, name: str) -> str: ...

    @abstractmethod
    def selected(self, column: Column) -> str:
        """What reads the column exactly, as the exchange reads it."""

    @abstractmethod
    def key_mark(self, at: int) -> str:
        """The place of the key that `fetch` is given as number `at` (from 1)."""

    @abstractmethod
    def key_part(self, column: Column, mark: str) -> str:
        """Equality with the key at that place."""

    @abstractmethod
    def condition_part(self, condition: RowCondition, column: Column, bound: Bound) -> str: ...

    @abstractmethod
    def sort_key(self, column: Column) -> str:
        """What a list is ordered by, and compared by to go on."""

    @abstractmethod
    def sort_mark(self, column: Column | None, value: Any, bound: Bound) -> str:
        """The place of a cursor's value; without a column that of a digest."""

    @abstractmethod
    def tie(self, columns: tuple[Column, ...], salt: str) -> str:
        """A digest (hex) of these columns under the salt (hex)."""

    @abstractmethod
    def fetch(self, statement: Statement, keys: Sequence[str]) -> Awaitable[list[Row]]:
        """Rows for these key values (canonical texts). Raises SourceNotReachable, SourceTooSlow, SourceNotUsable."""

    def columns(self, table: str) -> dict[str, Column]:
        """The table's columns as the database declares them; runs in a thread. Raises what the connectors raise."""
        with open_source(self.connection, self.password) as source:
            return {column.name: column for column in source.schema(table).columns}

    @abstractmethod
    async def close(self) -> None: ...


def quoted(name: str, mark: str = '"') -> str:
    """An identifier that cannot end early. Raises SourceNotUsable for names that no table or column has."""
    if not name or len(name) > NAME_CHARACTERS or any(ord(character) < 0x20 for character in name):
        raise SourceNotUsable
    return mark + name.replace(mark, mark * 2) + mark


def column_named(columns: dict[str, Column], name: str) -> Column:
    """Raises SourceNotUsable where the table has no such column (any more)."""
    column = columns.get(name)
    if column is None:
        raise SourceNotUsable
    return column
