"""From a permission to the rows that it allows, in the form the consumer gets."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from jinqiao.dataplane.gateway.errors import SourceNotReachable, SourceNotUsable
from jinqiao.dataplane.gateway.policy import Permission
from jinqiao.dataplane.gateway.sources.base import LookupSource, Statement, column_named
from jinqiao.dataplane.gateway.sources.mariadb import MariadbLookups
from jinqiao.dataplane.gateway.sources.postgresql import PostgresqlLookups
from jinqiao.dataplane.gateway.sources.sqlite import SqliteLookups
from jinqiao.dataplane.gateway.values import json_value
from jinqiao.kernel.contracts.policy import ServicePolicy
from jinqiao.kernel.contracts.tables import Column, Connection, Engine
from jinqiao.kernel.errors import JinqiaoError

logger = logging.getLogger(__name__)

JsonRow = dict[str, Any]

_KINDS: dict[Engine, Callable[[Connection, str], LookupSource]] = {
    Engine.SQLITE: SqliteLookups,
    Engine.POSTGRESQL: PostgresqlLookups,
    Engine.MYSQL: MariadbLookups,
}


class ServiceReader:
    """Reads for one service as one policy describes it; knows the table's columns and its statements after first use."""

    def __init__(self, service: ServicePolicy, source: LookupSource) -> None:
        self.service = service
        self.source = source
        self._columns: dict[str, Column] | None = None
        self._asking = asyncio.Lock()
        self._statements: dict[tuple[str, ...], Statement] = {}

    async def read(self, permission: Permission) -> tuple[list[JsonRow], bool]:
        """Rows, and whether the row cap left some out.

        Raises SourceNotReachable, SourceTooSlow, SourceNotUsable, KeyNotValid; nothing of the database's words is in them.
        """
        codes = tuple(item.code for item in permission.items)
        statement = self._statements.get(codes)
        if statement is None:
            statement = await self._prepare(permission)
            self._statements[codes] = statement
        try:
            rows = await self.source.fetch(statement, [text for _, text in permission.keys])
        except SourceNotUsable:
            self._forget()  # the table may have been altered: look again at the next call
            raise
        shown = rows[: permission.row_cap]
        try:
            answer = [
                {item.code: json_value(value, item) for item, value in zip(permission.items, row, strict=True)}
                for row in shown
            ]
        except (ValueError, TypeError, ArithmeticError) as problem:
            logger.warning("service %s: a value is not of its item's type", self.service.service)
            raise SourceNotUsable from problem
        return answer, len(rows) > len(shown)

    async def _prepare(self, permission: Permission) -> Statement:
        columns = await self._table()
        keys = tuple(column_named(columns, item.column) for item, _ in permission.keys)
        for item in permission.items:
            column_named(columns, item.column)
        try:
            return self.source.statement(
                self.service.table,
                permission.items,
                keys,
                self.service.grant.row_filter,
                columns,
                permission.row_cap + 1,
            )
        except SourceNotUsable:
            self._forget()
            raise
        except JinqiaoError as problem:
            logger.warning("service %s: its row filter does not fit its table: %s", self.service.service, problem.code)
            raise SourceNotUsable from problem

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

    def _forget(self) -> None:
        self._columns = None
        self._statements.clear()


class Readers:
    """All readers under the policy in force. Sources outlive policies that do not change them."""

    def __init__(self) -> None:
        self._sources: dict[bytes, LookupSource] = {}
        self._readers: dict[str, ServiceReader] = {}

    def reader(self, service: ServicePolicy, passwords: Mapping[str, str]) -> ServiceReader:
        """Raises SourceNotUsable for an engine that cannot be looked up in, or a password that could not be opened."""
        password = passwords.get(service.service)
        if password is None:
            raise SourceNotUsable
        reader = self._readers.get(service.service)
        if reader is None or reader.service is not service:
            if reader is None or reader.service != service or reader.source.password != password:
                reader = ServiceReader(service, self._source(service.connection, password))
            else:
                reader.service = service
            self._readers[service.service] = reader
        return reader

    def _source(self, connection: Connection, password: str) -> LookupSource:
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
        for key in [key for key, source in self._sources.items() if id(source) not in used]:
            await self._sources.pop(key).close()

    async def close(self) -> None:
        self._readers.clear()
        for source in self._sources.values():
            await source.close()
        self._sources.clear()
