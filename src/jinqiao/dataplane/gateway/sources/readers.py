"""From a permission to the rows that it allows, as their source gives them; and which reader a service has."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinqiao.dataplane.gateway.errors import (
    CursorNotValid,
    FieldNotValid,
    KeyNotValid,
    SourceNotReachable,
    SourceNotUsable,
)
from jinqiao.dataplane.gateway.policy import Permission
from jinqiao.dataplane.gateway.shapes import Shape
from jinqiao.dataplane.gateway.sources.base import LookupSource, Paging, Reading, Row, Statement, column_named
from jinqiao.dataplane.gateway.sources.http_service import HttpLookups, HttpReader
from jinqiao.dataplane.gateway.sources.mariadb import MariadbLookups
from jinqiao.dataplane.gateway.sources.postgresql import PostgresqlLookups
from jinqiao.dataplane.gateway.sources.sqlite import SqliteLookups
from jinqiao.dataplane.gateway.values import key_text
from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

MOST_STATEMENTS = 500


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins: values of the last row given (None: at the first row), and how many alike to it were given."""

    salt: str
    after: tuple[Any, ...] | None = None
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of `permission.shape.read`; `last` and `skip` go on after them, None where there are no more."""

    rows: list[Row]
    last: tuple[Any, ...] | None
    skip: int


class Reader(Protocol):
    """Reads for one service as one policy describes it."""

    service: ServicePolicy

    @property
    def source(self) -> Any:
        """What it reads from; calls that ask the same share its places."""

    @property
    def at_once(self) -> int:
        """How many look-ups of one batch are made side by side."""

    async def look_up(self, permission: Permission, key: Sequence[str]) -> list[Row]:
        """Rows of `permission.shape.read` for one key: the service's row cap and one more at most.

        Raises SourceNotReachable, SourceTooSlow, SourceNotUsable, KeyNotValid; nothing of the source's words is in them.
        """

    async def page(self, permission: Permission, start: Start) -> Page:
        """Rows by filters. Raises the same, and CursorNotValid."""

    async def count(self, permission: Permission) -> int: ...


class ServiceReader:
    """Reads from a database; knows the table's columns and its statements after first use."""

    def __init__(self, service: ServicePolicy, source: LookupSource) -> None:
        self.service = service
        self.source = source
        self._columns: dict[str, Column] | None = None
        self._asking = asyncio.Lock()
        self._statements: dict[Shape, Statement] = {}
        source.readers.add(self)

    @property
    def at_once(self) -> int:
        return self.source.at_once

    async def look_up(self, permission: Permission, key: Sequence[str]) -> list[Row]:
        statement = self._statements.get(permission.shape)
        if statement is None:
            statement = await self._key_statement(permission)
            if len(self._statements) >= MOST_STATEMENTS:
                self._statements.clear()
            self._statements[permission.shape] = statement
        return await self._fetch(statement, permission, key)

    async def page(self, permission: Permission, start: Start) -> Page:
        columns = await self._table()
        paging = self._paging(permission, columns, start)
        size = permission.row_cap
        statement = self._built(
            Reading(
                self.service.table,
                tuple(column_named(columns, item.column) for item in permission.shape.read),
                self._case(columns),
                (*self.service.grant.row_filter, *permission.conditions),
                size + 1,
                paging,
            ),
            columns,
        )
        rows = await self._fetch(statement, permission, ())
        shown, width = rows[:size], len(permission.shape.read)
        if len(rows) <= size or not shown:
            return Page([row[:width] for row in shown], None, 0)
        last, skip = self._mark(shown, width, paging)
        return Page([row[:width] for row in shown], last, skip)

    async def count(self, permission: Permission) -> int:
        columns = await self._table()
        conditions = (*self.service.grant.row_filter, *permission.conditions)
        reading = Reading(self.service.table, (), self._case(columns), conditions, 0, counts=True)
        ((count,),) = await self._fetch(self._built(reading, columns), permission, ())
        return int(count)

    async def _key_statement(self, permission: Permission) -> Statement:
        columns = await self._table()
        reading = Reading(
            self.service.table,
            tuple(column_named(columns, item.column) for item in permission.shape.read),
            (*(column_named(columns, item.column) for item in permission.shape.key_items), *self._case(columns)),
            self.service.grant.row_filter,
            self.service.row_cap + 1,
        )
        return self._built(reading, columns)

    def _case(self, columns: dict[str, Column]) -> tuple[Column, ...]:
        """The column that must equal the case number is one more key."""
        name = self.service.case_column
        return (column_named(columns, name),) if name else ()

    def _paging(self, permission: Permission, columns: dict[str, Column], start: Start) -> Paging:
        """The asked order, then one that is whole: the table's key where the caller may see it, else a digest of it (of
        the whole row where the table has none), for the order of hidden values would tell of them."""
        order = [(column_named(columns, item.column), descending) for item, descending in permission.order]
        key = [column for column in columns.values() if column.primary_key]
        tied: tuple[Column, ...] = ()
        if key and all(column.name in permission.whole_order for column in key):
            given = {column.name for column, _ in order}
            order += [(column, False) for column in key if column.name not in given]
        else:
            tied = tuple(key or (c for c in columns.values() if c.type is not LogicalType.BINARY))
        return Paging(tuple(order), tied, start.salt, start.after, start.skip)

    def _mark(self, rows: list[Row], width: int, paging: Paging) -> tuple[tuple[Any, ...], int]:
        """The order's values of the last row, and how many rows given so far are alike to it."""
        try:
            marks = [
                (
                    *(
                        self.source.sort_value(value, column)
                        for value, (column, _) in zip(row[width:], paging.order, strict=False)
                    ),
                    *((str(row[-1]),) if paging.tied else ()),
                )
                for row in rows
            ]
        except (ValueError, TypeError, ArithmeticError) as problem:
            raise self._unreadable() from problem
        last = marks[-1]
        alike = next((at for at, mark in enumerate(reversed(marks)) if mark != last), len(marks))
        if alike == len(marks) and paging.after is not None and tuple(paging.after) == last:
            alike += paging.skip
        return last, alike

    def _built(self, reading: Reading, columns: dict[str, Column]) -> Statement:
        try:
            return self.source.statement(reading, columns)
        except CursorNotValid:
            raise
        except JinqiaoError as problem:
            self.forget()
            logger.warning("service %s: its row filter does not fit its table: %s", self.service.service, problem.code)
            raise SourceNotUsable from problem

    async def _fetch(self, statement: Statement, permission: Permission, key: Sequence[str]) -> list[Row]:
        if self.service.case_column:
            case = key_text(permission.case_number, statement.key_columns[-1].type)
            if case is None:
                raise FieldNotValid(field="case_number")
            key = (*key, case)
        try:
            return await self.source.fetch(statement, key)
        except SourceNotUsable:
            self.forget()  # the table may have been altered: look again at the next call
            raise
        except KeyNotValid as problem:
            items = permission.shape.key_items or permission.filtered
            kinds = "、".join(dict.fromkeys(item.type.value for item in items))
            raise KeyNotValid(item="、".join(item.code for item in items), type=kinds) from problem

    def _unreadable(self) -> SourceNotUsable:
        logger.warning("service %s: a value is not of its item's type", self.service.service)
        return SourceNotUsable()

    async def _table(self) -> dict[str, Column]:
        async with self._asking:
            if self._columns is None:
                self._columns = await asyncio.to_thread(self._ask_columns)
            return self._columns

    def _ask_columns(self) -> dict[str, Column]:
        try:
            return self.source.columns(self.service.table)
        except JinqiaoError as problem:
            logger.warning("service %s: its source says %s", self.service.service, problem.code)
            raise SourceNotReachable if problem.retryable else SourceNotUsable from problem

    def forget(self) -> None:
        """Look at the table anew before the next statement."""
        self._columns = None
        self._statements.clear()


Source = LookupSource | HttpLookups
_KINDS: dict[Engine, Callable[[Connection, str], Source]] = {
    Engine.SQLITE: SqliteLookups,
    Engine.POSTGRESQL: PostgresqlLookups,
    Engine.MYSQL: MariadbLookups,
    Engine.HTTP: HttpLookups,
}


class Readers:
    """All readers under the policy in force. Sources outlive policies that do not change them."""

    def __init__(self) -> None:
        self._sources: dict[bytes, Source] = {}
        self._readers: dict[str, ServiceReader | HttpReader] = {}

    def reader(self, service: ServicePolicy, passwords: Mapping[str, str]) -> Reader:
        """Raises SourceNotUsable for an engine that cannot be looked up in, or a password that could not be opened."""
        password = passwords.get(service.service)
        if password is None:
            raise SourceNotUsable
        reader = self._readers.get(service.service)
        if reader is None or reader.service is not service:
            if reader is None or reader.service != service or reader.source.password != password:
                source = self._source(service.connection, password)
                reader = (
                    HttpReader(service, source) if isinstance(source, HttpLookups) else ServiceReader(service, source)
                )
            else:
                reader.service = service
            self._readers[service.service] = reader
        return reader

    def _source(self, connection: Connection, password: str) -> Source:
        key = connection.canonical() + b"\x00" + password.encode("utf-8")
        source = self._sources.get(key)
        if source is None:
            make = _KINDS.get(connection.engine)
            if make is None:
                raise SourceNotUsable
            source = self._sources[key] = make(connection, password)
        return source

    async def keep_only(self, services: dict[str, ServicePolicy]) -> None:
        """Close what no service of the policy uses any more."""
        for name in [name for name in self._readers if name not in services]:
            del self._readers[name]
        used = {id(reader.source) for reader in self._readers.values()}
        # out of reach all at once: while one is being closed, a call must not begin with the next one
        gone = [self._sources.pop(key) for key, source in list(self._sources.items()) if id(source) not in used]
        for source in gone:
            await source.close()

    async def close(self) -> None:
        self._readers.clear()
        for source in self._sources.values():
            await source.close()
        self._sources.clear()
