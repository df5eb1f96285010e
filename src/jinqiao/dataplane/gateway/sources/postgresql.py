"""Look-ups in PostgreSQL: a list of our own connections (a pool's reset at each release costs more than the query)."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import asyncpg

from jinqiao.dataplane.connectors.postgresql import ZONE, Place
from jinqiao.dataplane.gateway.deadlines import within
from jinqiao.dataplane.gateway.errors import KeyNotValid, SourceNotReachable, SourceNotUsable, SourceTooSlow
from jinqiao.dataplane.gateway.sources.base import (
    CONNECT_TIMEOUT_S,
    LOOKUP_TIMEOUT_S,
    MOST_CONNECTIONS,
    Bound,
    LookupSource,
    Reading,
    Row,
    Statement,
    quoted,
)
from jinqiao.dataplane.gateway.sources.merging import Merger
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType, Operator, RowCondition

logger = logging.getLogger(__name__)

_CASTS = {
    LogicalType.INTEGER: "bigint",
    LogicalType.DECIMAL: "numeric",
    LogicalType.DOUBLE: "double precision",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.DATE: "date",
    LogicalType.DATETIME: "timestamp",
}
_PADDED = ("character", "char", "bpchar")


class PostgresqlLookups(LookupSource):
    at_once = 32  # they are asked together

    def __init__(self, connection: Connection, password: str, *, timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        super().__init__(connection, password)
        self._timeout_s = timeout_s
        self._place = Place(connection, None)
        secure = {name: str(value) for name, value in connection.options.items() if name.startswith("ssl")}
        self._settings: dict[str, Any] = {
            "dsn": f"postgresql:///?{urlencode(secure)}" if secure else None,
            "host": self._place.host,
            "port": self._place.port,
            "user": connection.user or None,
            "password": password or None,
            "database": connection.database,
            "timeout": CONNECT_TIMEOUT_S,
            "statement_cache_size": 256,
            "server_settings": {
                "application_name": "jinqiao gateway",
                "default_transaction_read_only": "on",
                "statement_timeout": str(int(timeout_s * 1000)),
                "timezone": ZONE,
            },
        }
        self._idle: list[asyncpg.Connection] = []
        self._is_closed = False
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._merger = Merger(self.fetch_many, MOST_CONNECTIONS)

    def statement(self, reading: Reading, columns: dict[str, Column]) -> Statement:
        plain = super().statement(reading, columns)
        if not reading.keys or reading.paging is not None or reading.counts:
            return plain
        inner, _ = self.select(reading, columns, lambda at: f"asked.k{at}")
        arrays = ", ".join(f"${at}::text[]" for at in range(1, len(reading.keys) + 1))
        names = ", ".join(f"k{at}" for at in range(1, len(reading.keys) + 1))
        found = ", ".join(f"c{number}" for number in range(len(reading.selected)))
        merged = (
            f"SELECT asked.number, found.* FROM unnest({arrays}) WITH ORDINALITY AS asked({names}, number)"  # noqa: S608 -- names of ours
            f" CROSS JOIN LATERAL ({inner}) AS found({found})"
        )
        return replace(plain, merged=merged)

    def table_name(self, name: str) -> str:
        return self._place.quoted(name)

    def selected(self, column: Column) -> str:
        name = quoted(column.name)
        if column.type is LogicalType.TEXT and _base_type(column) not in ("text", "character varying"):
            return f"{name}::text"
        if _is_instant(column):
            return f"({name} AT TIME ZONE '{ZONE}')"
        return f"{name}::float8" if _base_type(column) == "real" else name

    def key_mark(self, at: int) -> str:
        return f"${at}"

    def key_part(self, column: Column, mark: str) -> str:
        return f"{_left(column)} = {_cast(column, mark)}"

    def condition_part(self, condition: RowCondition, column: Column, bound: Bound) -> str:
        part = _condition(condition, column, bound.place)
        bound.values.extend(condition.values)
        return part

    def sort_key(self, column: Column) -> str:
        return _left(column)

    def sort_mark(self, column: Column | None, value: Any, bound: Bound) -> str:
        mark = f"${bound.place}"
        bound.values.append(str(value))
        return _cast(column, mark) if column is not None else f"{mark}::text"

    def tie(self, columns: tuple[Column, ...], salt: str) -> str:
        texts = "".join(f" || chr(31) || coalesce({quoted(column.name)}::text, chr(30))" for column in columns)
        return f"encode(sha256(convert_to('{salt}'{texts}, 'UTF8')), 'hex')"

    def fetch(self, statement: Statement, keys: Sequence[str]) -> Awaitable[list[Row]]:
        return self._merger.fetch(statement, keys) if statement.merged else self._alone(statement, keys)

    async def _alone(self, statement: Statement, keys: Sequence[str]) -> list[Row]:
        (rows,) = await self.fetch_many(statement, [keys])
        return rows

    async def fetch_many(self, statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
        """The rows of several look-ups, in the order of their keys, in one question. Raises what `fetch` raises."""
        try:
            with within(self._timeout_s + CONNECT_TIMEOUT_S):
                return await self._ask(statement, keys)
        except TimeoutError as problem:
            raise SourceTooSlow from problem

    async def _ask(self, statement: Statement, keys: Sequence[Sequence[str]]) -> list[list[Row]]:
        if len(keys) == 1:
            return [await self._run(statement, statement.sql, keys[0])]
        found: list[list[Row]] = [[] for _ in keys]
        for row in await self._run(statement, statement.merged, list(zip(*keys, strict=True))):
            found[row[0] - 1].append(row[1:])
        return found

    async def _run(self, statement: Statement, sql: str, parameters: Sequence[Any]) -> list[Row]:
        try:
            async with self._places:
                connection = self._idle.pop() if self._idle else None
                if connection is not None and connection.is_closed():
                    connection = None
                if connection is None:
                    connection = await asyncpg.connect(**self._settings)
                try:
                    rows: list[Row] = await connection.fetch(
                        sql, *parameters, *statement.fixed, timeout=self._timeout_s
                    )
                except BaseException:
                    connection.terminate()
                    raise
                if self._is_closed:  # while this look-up was under way
                    connection.terminate()
                else:
                    self._idle.append(connection)
                return rows
        except (TimeoutError, asyncpg.QueryCanceledError) as problem:
            raise SourceTooSlow from problem
        except asyncpg.DataError as problem:  # e.g. a number too large for the column's type
            raise KeyNotValid(item="", type="") from problem
        except asyncpg.PostgresError as problem:
            logger.warning("a look-up failed: SQLSTATE %s", problem.sqlstate)
            broken_setup = (problem.sqlstate or "")[:2] in ("42", "28", "3D", "3F", "0A")
            raise SourceNotUsable if broken_setup else SourceNotReachable from problem
        except ArithmeticError as problem:  # e.g. a year that Python does not have
            logger.warning("a look-up failed: %s", type(problem).__name__)
            raise SourceNotUsable from problem
        except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as problem:
            logger.warning("a look-up failed: %s", type(problem).__name__)
            raise SourceNotReachable from problem

    async def close(self) -> None:
        idle, self._idle, self._is_closed = self._idle, [], True
        for connection in idle:
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)


def _base_type(column: Column) -> str:
    return column.native_type.split("(")[0].strip().lower()


def _is_text(column: Column) -> bool:
    return _base_type(column) in ("text", "character varying", "varchar", "name", "citext", *_PADDED)


def _left(column: Column) -> str:
    """The column as it is compared: as it stands where its index can be used, as text where it has a type of its own."""
    name = quoted(column.name)
    return f"{name}::text" if column.type is LogicalType.TEXT and not _is_text(column) else name


def _is_instant(column: Column) -> bool:
    return column.type is LogicalType.DATETIME and "with time zone" in column.native_type


def _cast(column: Column, value: str) -> str:
    """`value` (a parameter, or a column of texts) in the column's type."""
    if column.type is LogicalType.BINARY:
        return f"decode({value}::text, 'hex')"
    if column.type is LogicalType.TEXT:
        return f"{value}::text::bpchar" if _base_type(column) in _PADDED else f"{value}::text"
    value = f"{value}::text::{_CASTS[column.type]}"
    return f"({value} AT TIME ZONE '{ZONE}')" if _is_instant(column) else value


def _condition(condition: RowCondition, column: Column, first: int) -> str:
    left = _left(column)
    marks = [_cast(column, f"${first + offset}") for offset in range(len(condition.values))]
    if not marks or (len(marks) > 1 and condition.operator is not Operator.ONE_OF):
        raise SourceNotUsable
    match condition.operator:
        case Operator.EQUAL:
            return f"{left} = {marks[0]}"
        case Operator.ONE_OF:
            return f"{left} IN ({', '.join(marks)})"
        case Operator.AT_LEAST:
            return f"{left} >= {marks[0]}"
        case Operator.AT_MOST:
            return f"{left} <= {marks[0]}"
        case Operator.STARTS_WITH:
            return f"starts_with({quoted(column.name)}::text, ${first}::text)"
