"""Look-ups in MariaDB and MySQL.

The driver writes parameters into the statement itself, escaped for a session whose `sql_mode` we set, so that no server
setting (NO_BACKSLASH_ESCAPES) can change what the escapes mean; the character set is utf8mb4 on both sides.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import asyncmy
from asyncmy import errors as driver_errors

from jinqiao.dataplane.connectors.mysql import asks_for_tls, exact
from jinqiao.dataplane.gateway.errors import SourceNotReachable, SourceNotUsable, SourceTooSlow
from jinqiao.dataplane.gateway.sources.base import (
    CONNECT_TIMEOUT_S,
    LOOKUP_TIMEOUT_S,
    MOST_CONNECTIONS,
    Bound,
    LookupSource,
    Row,
    Statement,
    quoted,
)
from jinqiao.kernel.contracts.tables import Column, Connection, LogicalType, Operator, RowCondition

logger = logging.getLogger(__name__)

SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
_TIME_OUTS = (1969, 3024, 1317)  # max_statement_time (MariaDB), max_execution_time (MySQL), query interrupted
_LOST = (2006, 2013, 2055, 1927, 4031)  # gone away, lost in a question, killed, idle for too long
_BROKEN_SETUP = (1044, 1045, 1049, 1054, 1064, 1142, 1143, 1146)  # account, database, column, syntax, rights, table
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")


class MariadbLookups(LookupSource):
    def __init__(self, connection: Connection, password: str, *, timeout_s: float = LOOKUP_TIMEOUT_S) -> None:
        super().__init__(connection, password)
        self._timeout_s = timeout_s
        self._settings: dict[str, Any] = {
            "host": connection.host or "localhost",
            "port": connection.port or 3306,
            "user": connection.user,
            "password": password,
            "db": connection.database,
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_TIMEOUT_S,
            "autocommit": True,
            "ssl": _trust(connection.options),
        }
        self._idle: list[Any] = []
        self._is_closed = False
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)

    def table_name(self, name: str) -> str:
        return _name(name)

    def selected(self, column: Column) -> str:
        name, kind = _name(column.name), _base_type(column)
        if kind == "float":
            return f"CAST({name} AS DOUBLE)"
        if kind == "bit":
            return f"{name} + 0"
        return f"CAST({name} AS CHAR)" if column.type is LogicalType.TEXT and kind not in _TEXTS else name

    def key_mark(self, at: int) -> str:
        return "%s"

    def key_part(self, column: Column, mark: str) -> str:
        return _key_condition(column)

    def condition_part(self, condition: RowCondition, column: Column, bound: Bound) -> str:
        prefix = condition.operator is Operator.STARTS_WITH
        bound.values.extend(text if prefix else _bound(text, column) for text in condition.values)
        return _condition(condition, column)

    def sort_key(self, column: Column) -> str:
        name = _name(column.name)
        by_number = _base_type(column) in ("enum", "set") or (
            column.type is LogicalType.TEXT and _base_type(column) not in _TEXTS
        )
        return f"CAST({name} AS CHAR)" if by_number else name

    def sort_mark(self, column: Column | None, value: Any, bound: Bound) -> str:
        bound.values.append(_bound(value, column) if column is not None else str(value))
        return "%s"

    def tie(self, columns: tuple[Column, ...], salt: str) -> str:
        texts = ", ".join(f"COALESCE(CAST({_name(column.name)} AS BINARY), X'1E')" for column in columns)
        return f"SHA2(CONCAT_WS(CHAR(31), '{salt}', {texts}), 256)"

    async def fetch(self, statement: Statement, keys: Sequence[str]) -> list[Row]:
        bound: list[Any] = []
        for text, column in zip(keys, statement.key_columns, strict=True):
            value = _bound(text, column)
            bound.extend([value, value] if column.type is LogicalType.TEXT else [value])
        try:
            async with asyncio.timeout(self._timeout_s + CONNECT_TIMEOUT_S), self._places:
                parameters = (*bound, *statement.fixed)
                while self._idle:
                    try:
                        return await self._ask(self._idle.pop(), statement.sql, parameters)
                    except (driver_errors.MySQLError, OSError, EOFError, RuntimeError) as problem:
                        if not _is_lost(problem):
                            raise
                        # the server ended it while it was idle, and says so to who asks next: nothing was answered
                return await self._ask(await self._connect(), statement.sql, parameters)
        except TimeoutError as problem:
            raise SourceTooSlow from problem
        except driver_errors.MySQLError as problem:
            number = problem.args[0] if problem.args and isinstance(problem.args[0], int) else 0
            logger.warning("a look-up failed: error %d", number)
            if number in _TIME_OUTS:
                raise SourceTooSlow from problem
            raise SourceNotUsable if number in _BROKEN_SETUP else SourceNotReachable from problem
        except (OSError, EOFError, ValueError, RuntimeError) as problem:
            logger.warning("a look-up failed: %s", type(problem).__name__)
            raise SourceNotReachable from problem

    async def _ask(self, connection: Any, sql: str, parameters: tuple[Any, ...]) -> list[Row]:
        try:
            async with asyncio.timeout(self._timeout_s):
                async with connection.cursor() as cursor:
                    await cursor.execute(sql, parameters)
                    rows: list[Row] = list(await cursor.fetchall())
        except BaseException:
            connection.close()
            raise
        if self._is_closed:  # while this look-up was under way
            connection.close()
        else:
            self._idle.append(connection)
        return rows

    async def close(self) -> None:
        idle, self._idle, self._is_closed = self._idle, [], True
        for connection in idle:
            with contextlib.suppress(Exception):
                await connection.ensure_closed()

    async def _connect(self) -> Any:
        connection = await asyncmy.connect(**self._settings)
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(f"SET SESSION sql_mode = '{SQL_MODE}', SESSION time_zone = '+08:00'")
                await cursor.execute("SET SESSION TRANSACTION READ ONLY")
                await cursor.execute("SELECT VERSION()")
                (version,) = await cursor.fetchone()
                if "mariadb" in version.lower():
                    await cursor.execute(f"SET SESSION max_statement_time = {self._timeout_s}")
                else:
                    await cursor.execute(f"SET SESSION max_execution_time = {int(self._timeout_s * 1000)}")
        except BaseException:
            connection.close()
            raise
        return connection


def _is_lost(problem: Exception) -> bool:
    """Is the connection gone? Then a look-up may be asked again on another one."""
    if isinstance(problem, driver_errors.MySQLError):
        return bool(problem.args) and (problem.args[0] in _LOST or problem.args[0] == 0)
    return True


def _trust(options: dict[str, Any]) -> ssl.SSLContext | None:
    """TLS as the connectors read it from the options: `tls` asks for it, `ca` says whom to believe, `cert` who we are."""
    if not asks_for_tls(options):
        return None
    trust = ssl.create_default_context(cafile=options.get("ca"))
    if not options.get("ca"):
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    if options.get("cert"):
        trust.load_cert_chain(options["cert"], options.get("key"))
    return trust


def _name(name: str) -> str:
    return quoted(name, "`").replace("%", "%%")  # the driver formats the statement with %


def _base_type(column: Column) -> str:
    return column.native_type.split("(")[0].split(" ")[0].strip().lower()


def _key_condition(column: Column) -> str:
    """Equality that can use an index; texts also by their bytes, past any collation that folds case, accents or width."""
    name = _name(column.name)
    return (
        f"({name} = %s AND {exact(name)} = CAST(%s AS BINARY))" if column.type is LogicalType.TEXT else f"{name} = %s"
    )


def _condition(condition: RowCondition, column: Column) -> str:
    is_text = column.type is LogicalType.TEXT
    left, mark = (exact(_name(column.name)), "CAST(%s AS BINARY)") if is_text else (_name(column.name), "%s")
    count = len(condition.values)
    if count < 1 or (count > 1 and condition.operator is not Operator.ONE_OF):
        raise SourceNotUsable
    match condition.operator:
        case Operator.EQUAL:
            return f"{left} = {mark}"
        case Operator.ONE_OF:
            return f"{left} IN ({', '.join([mark] * count)})"
        case Operator.AT_LEAST:
            return f"{left} >= {mark}"
        case Operator.AT_MOST:
            return f"{left} <= {mark}"
        case Operator.STARTS_WITH:
            prefix = len(condition.values[0].encode("utf-8"))
            return f"LEFT({exact(_name(column.name))}, {prefix}) = CAST(%s AS BINARY)"


def _bound(text: str, column: Column) -> Any:
    """A canonical text as the driver takes it. Raises SourceNotUsable where the column is of another type than the catalogue
    says."""
    try:
        match column.type:
            case LogicalType.INTEGER | LogicalType.BOOLEAN:
                return int(text)
            case LogicalType.DECIMAL:
                return Decimal(text)
            case LogicalType.DOUBLE:
                return float(text)
            case LogicalType.DATE:
                return date.fromisoformat(text)
            case LogicalType.DATETIME:
                return datetime.fromisoformat(text)
            case LogicalType.BINARY:
                return bytes.fromhex(text)
    except (ValueError, ArithmeticError) as problem:
        raise SourceNotUsable from problem
    return text
