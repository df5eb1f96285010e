"""What every kind of source offers, and the statement that it is asked."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinqiao.dataplane.connectors import open_source
from jinqiao.dataplane.gateway.errors import SourceNotUsable
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, Connection, RowCondition

LOOKUP_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
MOST_CONNECTIONS = 8
NAME_CHARACTERS = 128

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SELECT of granted columns. Parameters are the look-up keys in their order, then those of the row filter, then the
    limit; `fixed` are the last two, already in the driver's form. `merged` asks for many look-ups at once, where the engine
    can: its parameters are arrays of keys, its first column the number of the look-up, from 1."""

    sql: str
    key_columns: tuple[Column, ...]
    fixed: tuple[Any, ...]
    merged: str = ""


class LookupSource(ABC):
    """One database. Belongs to the gateway's event loop."""

    def __init__(self, connection: Connection, password: str) -> None:
        self.connection = connection
        self.password = password

    @abstractmethod
    def statement(
        self,
        table: str,
        items: tuple[GrantedItem, ...],
        keys: tuple[Column, ...],
        row_filter: tuple[RowCondition, ...],
        columns: dict[str, Column],
        limit: int,
    ) -> Statement:
        """Build the SELECT. `columns` is the table as the database declares it. Raises SourceNotUsable, FilterNotPossible."""

    @abstractmethod
    async def fetch(self, statement: Statement, keys: Sequence[str]) -> list[Row]:
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
