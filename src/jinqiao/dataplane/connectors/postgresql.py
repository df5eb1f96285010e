"""PostgreSQL as a source: its catalogue through psycopg, its rows through ADBC (binary COPY straight into Arrow).

COPY takes no parameters, so the values of a row filter go in as settings of the transaction (`set_config` with bound
parameters) that the statement reads back with `current_setting`: no value is ever part of a statement's text.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, LiteralString

import psycopg
import pyarrow as pa
from psycopg.conninfo import make_conninfo

from jinqiao.dataplane.connectors import base
from jinqiao.dataplane.connectors.base import CONNECT_TIMEOUT_S, ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.protection import Throttle
from jinqiao.dataplane.connectors.snapshots import WHOLE, SnapshotState
from jinqiao.dataplane.connectors.values import MAX_PRECISION, filter_value
from jinqiao.dataplane.errors import (
    AuthenticationFailed,
    ColumnMissing,
    ConnectionLost,
    ConnectionTimedOut,
    DatabaseMissing,
    HostUnreachable,
    PermissionDenied,
    SourceBusy,
    SourceFailed,
    StatementTimedOut,
    TableBusy,
    TableMissing,
    TargetDiskFull,
    TargetKeyNotUnique,
    TargetRefused,
    TlsFailed,
)
from jinqiao.kernel.contracts.exchange import SlotStatus
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition, TableSchema
from jinqiao.kernel.errors import JinqiaoError

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.postgresql_reading import Query
    from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot
    from jinqiao.dataplane.connectors.snapshots import Snapshot
    from jinqiao.dataplane.connectors.watermarks import WatermarkFacts

PORT = 5432
ZONE = "Asia/Shanghai"  # instants are shown as wall-clock time in China
_TYPES = {
    **dict.fromkeys(("int2", "int4", "int8"), LogicalType.INTEGER),
    **dict.fromkeys(("float4", "float8"), LogicalType.DOUBLE),
    **dict.fromkeys(("timestamp", "timestamptz"), LogicalType.DATETIME),
    "numeric": LogicalType.DECIMAL,
    "bool": LogicalType.BOOLEAN,
    "date": LogicalType.DATE,
    "bytea": LogicalType.BINARY,
}
_PLAIN = {"int2", "int4", "int8", "float8", "timestamp", "numeric", "bool", "date", "bytea", "text", "varchar"}
_CATALOGUE = """
SELECT n.nspname, c.relname, greatest(c.reltuples, -1)::bigint, coalesce(obj_description(c.oid, 'pg_class'), ''),
       a.attname, b.typname, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       format_type(a.atttypid, a.atttypmod), a.attnotnull OR t.typnotnull,
       coalesce(col_description(c.oid, a.attnum), ''), coalesce(a.attnum = ANY (i.indkey), false), t.typtype = 'd'
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
  AND has_schema_privilege(n.oid, 'USAGE')
  AND ((%(table)s::text IS NULL AND NOT c.relispartition AND c.relname NOT LIKE 'jinqiao\\_%%')
       OR (n.nspname = %(schema)s AND c.relname = %(table)s))
ORDER BY n.nspname, c.relname, a.attnum
"""
_NO_SNAPSHOT = ("22023", "42704", "58P01")  # earlier servers', later ones', and of a file of snapshots that is gone
# What a server says at the door has no error code in libpq; servers in China often say it in Chinese.
_DOOR: tuple[tuple[str, type[JinqiaoError]], ...] = (
    (r"no encryption|SSL off|没有加密|SSL 关闭", TlsFailed),  # the server takes encrypted connections only
    (r"authentication failed|no pg_hba\.conf entry|no password supplied|role .* does not exist|认证失败|没有.*pg_hba|角色.*不存在", AuthenticationFailed),
    (r"database .* does not exist|数据库.*不存在", DatabaseMissing),
    (r"permission denied for database|没有.*权限|权限不够", PermissionDenied),
    (r"too many (clients|connections)|remaining connection slots|starting up|连接数|正在启动", SourceBusy),
    (r"timeout expired|timed out|超时", ConnectionTimedOut),
    (r"SSL|TLS|certificate|证书", TlsFailed),
    (r"refused|resolve|translate host name|No route|unreachable|Name or service|拒绝", HostUnreachable),
)  # fmt: skip


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Place:
    """Where a PostgreSQL is and as whom; never shows its password."""

    def __init__(self, connection: Connection, password: str | None) -> None:
        options = connection.options
        self.schema = str(options.get("schema", "public"))
        self.host, self.port = connection.host or "localhost", connection.port or PORT
        self.user, self.database = connection.user, connection.database
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "dbname": self.database,
            "user": self.user or None,
            "password": password or None,
            "connect_timeout": int(options.get("connect_timeout_s", CONNECT_TIMEOUT_S)),
            "application_name": "jinqiao",
            "client_encoding": "UTF8",  # a database may hold EUC_CN: its server converts, for every driver and every COPY
            "keepalives_idle": 30,
        }
        given |= {name: options[name] for name in ("sslmode", "sslrootcert", "sslcert", "sslkey") if name in options}
        self.address = make_conninfo(**{name: value for name, value in given.items() if value is not None})
        self.timeout_s = int(given["connect_timeout"])

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """An autocommitting connection, or the cause why there is none."""
        try:
            return psycopg.connect(self.address, autocommit=True)
        except psycopg.Error as problem:
            raise self.refusal(str(problem)) from None

    def refusal(self, text: str) -> JinqiaoError:
        for pattern, kind in _DOOR:
            if re.search(pattern, text, re.IGNORECASE):
                return kind(
                    host=self.host,
                    port=self.port,
                    user=self.user,
                    database=self.database,
                    table=self.database,
                    seconds=self.timeout_s,
                    state="connect",
                )
        return HostUnreachable(host=self.host, port=self.port)

    def split(self, table: str) -> tuple[str, str]:
        """Schema and table: `schema.table`, or a table of the default schema."""
        schema, dot, name = table.partition(".")
        return (schema, name) if dot else (self.schema, table)

    def quoted(self, table: str) -> str:
        schema, name = self.split(table)
        return f"{quote(schema)}.{quote(name)}"


def translated(state: str | None, *, table: str, text: str = "") -> JinqiaoError:
    """Our error for a SQLSTATE; `text` is only looked at."""
    code = state or ""
    match code[:5]:
        case "53100":
            return TargetDiskFull(table=table)
        case "23505":
            return TargetKeyNotUnique(table=table)
        case "42501":
            return PermissionDenied(table=table)
        case "42P01" | "3F000":
            return TableMissing(table=table)
        case "42703":
            return ColumnMissing(table=table, columns="")
        case "57014":
            return StatementTimedOut(table=table)
        case "55P03":
            return TableBusy(table=table)
        case "53300" | "40001" | "40P01" | "55006":
            return SourceBusy(state=code)
    if code[:2] in ("23", "22"):
        return TargetRefused(table=table, state=code)
    if code[:2] in ("08", "57") or not code:
        return TargetDiskFull(table=table) if "No space left" in text else ConnectionLost()
    if code[:2] == "53" or code == "58030":
        return TargetDiskFull(table=table)
    return SourceFailed(state=code)


def waiting_settings(scope: str = "LOCAL ") -> tuple[str, str]:
    """Statements after which nothing waits without end for a lock, and the server does not end a transaction that waits for us."""
    return (
        f"SET {scope}lock_timeout = '{base.LOCK_WAIT_S}s'",
        f"SET {scope}idle_in_transaction_session_timeout = 0",  # chunks are staged, or wait for their rate, meanwhile
    )


def begin_reading(connection: "psycopg.Connection[tuple[Any, ...]]", snapshot: str = "") -> None:
    """A transaction that reads one instant: that of `snapshot`, where one is named. Raises ConnectionLost where that is gone."""
    settings = "; ".join(waiting_settings())
    connection.execute(statement(f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {settings}"))
    if snapshot:
        with telling_of_snapshot():
            connection.execute(statement(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))


@contextmanager
def telling_of_snapshot() -> Iterator[None]:
    """A snapshot is gone with the session that exported it."""
    try:
        yield
    except Exception as problem:  # psycopg's or ADBC's, which is not imported for this alone
        if getattr(problem, "sqlstate", None) in _NO_SNAPSHOT:
            raise ConnectionLost() from None
        raise


@contextmanager
def telling(table: str = "") -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except psycopg.Error as problem:
        raise translated(problem.sqlstate, table=table, text=str(problem)) from None


@contextmanager
def telling_adbc(table: str, deadline: float | None = None) -> Iterator[None]:
    """Turn ADBC's errors into ours; those of a stream come as Arrow's without a code, and their text may quote values."""
    import adbc_driver_manager

    try:
        yield
    except adbc_driver_manager.Error as problem:
        raise translated(problem.sqlstate, table=table, text=str(problem)) from None
    except OSError as problem:
        text = str(problem)
        if "57014" in text or "statement timeout" in text or (deadline is not None and time.monotonic() >= deadline):
            raise StatementTimedOut(table=table) from None
        raise ConnectionLost() from None
    except pa.ArrowException:
        raise SourceFailed(state="PGRES_FATAL_ERROR") from None


def column_of(row: Sequence[Any]) -> Column:
    name, base, modifier, native, required, comment, primary_key = row
    kind, length, precision, scale = _TYPES.get(base, LogicalType.TEXT), None, None, None
    if base in ("varchar", "bpchar") and modifier > 4:
        length = modifier - 4
    if base == "numeric":
        digits, places = ((modifier - 4) >> 16) & 0xFFFF, (modifier - 4) & 0x7FF
        if modifier < 4 or digits > MAX_PRECISION or places > digits:
            kind = LogicalType.TEXT  # without bounds, or wider than Arrow's decimals: as text every digit stays
        else:
            precision, scale = digits, places
    return Column(
        name=name,
        type=kind,
        native_type=native,
        nullable=not required,
        length=length,
        precision=precision,
        scale=scale,
        primary_key=primary_key,
        comment=comment,
    )


def read_catalogue(
    connection: "psycopg.Connection[tuple[Any, ...]]", place: Place, table: str | None = None
) -> tuple[tuple[TableSchema, dict[str, str]], ...]:
    """Tables with, for each column, the expression that reads it exactly."""
    schema, name = place.split(table) if table is not None else (place.schema, None)
    with telling(table or ""):
        rows = connection.execute(_CATALOGUE, {"schema": schema, "table": name}).fetchall()
    tables: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        full = row[1] if row[0] == place.schema and "." not in row[1] else f"{row[0]}.{row[1]}"
        tables.setdefault(full, []).append(row)
    found = []
    for full, members in tables.items():
        estimate, comment = members[0][2], members[0][3]
        columns = tuple(column_of(member[4:11]) for member in members)
        reading = {
            column.name: _expression(column, member[5], bool(member[11]))
            for column, member in zip(columns, members, strict=True)
        }
        schema_ = TableSchema(
            name=full, columns=columns, comment=comment, row_estimate=estimate if estimate >= 0 else None
        )
        found.append((schema_, reading))
    return tuple(found)


def _expression(column: Column, base: str, is_domain: bool) -> str:
    name = quote(column.name)
    if base == "timestamptz":
        return f"({name} AT TIME ZONE '{ZONE}')"
    if base == "float4":
        return f"{name}::float8"
    # a number that travels as text is text already when it leaves: in its own binary form no text column takes it
    if base in _PLAIN and (base != "numeric" or column.type is LogicalType.DECIMAL):
        return f"{name}::{base}" if is_domain else name
    return f"{name}::text"


class PostgresqlSource(Source):
    engine: ClassVar[Engine] = Engine.POSTGRESQL
    snapshot = "repeatable read, read only"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        from jinqiao.dataplane.connectors.postgresql_connections import Connections

        self._place = Place(connection, password)
        self._connections = Connections(self._place)
        self._known: dict[str, tuple[TableSchema, dict[str, str]]] = {}

    def close(self) -> None:
        self._connections.close()

    def warm(self) -> None:
        self._connections.warm()

    def test(self) -> str:
        with self._connections.asking() as connection:
            row = connection.execute("SELECT current_setting('server_version')").fetchone()
        return f"PostgreSQL {row[0] if row else ''}"

    def tables(self) -> tuple[TableSchema, ...]:
        with self._connections.asking() as connection:
            return tuple(schema for schema, _ in read_catalogue(connection, self._place))

    def schema(self, table: str) -> TableSchema:
        return self._table(table)[0]

    def _table(self, table: str) -> tuple[TableSchema, dict[str, str]]:
        """The catalogue's word on a table, asked once: a source is opened for one command."""
        if table not in self._known:
            with self._connections.asking(table) as connection:
                found = read_catalogue(connection, self._place, table)
            if not found:
                raise TableMissing(table=table)
            self._known[table] = found[0]
        return self._known[table]

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        from jinqiao.dataplane.connectors.postgresql_reading import AdbcReader

        with AdbcReader(self.query(plan)) as reader:
            yield from reader.read(WHOLE)

    def query(self, plan: ReadPlan) -> "Query":
        """The plan with what the catalogue says of its table. Raises TableMissing, ColumnMissing, FilterNotPossible."""
        from jinqiao.dataplane.connectors.postgresql_reading import Query

        schema, expressions = self._table(plan.table)
        return Query(self._connections, plan, schema, expressions, Throttle(plan))

    @property
    def place(self) -> Place:
        return self._place

    def slots(self) -> tuple[SlotStatus, ...]:
        from jinqiao.dataplane.connectors.postgresql_slots import slot_status

        return slot_status(self._place)

    def drop_slot(self, name: str) -> bool:
        from jinqiao.dataplane.connectors.postgresql_slots import drop_slot

        return drop_slot(self._place, name)

    def end_snapshot(self, state: SnapshotState) -> None:
        from jinqiao.dataplane.connectors.postgresql_snapshot import end_other

        end_other(self._place, state.handle)

    def major_version(self) -> int:
        with closing(self._place.connect()) as connection:
            return connection.info.server_version // 10_000

    def record_hash(
        self, plan: ReadPlan, columns: Sequence[str], seed: int, snapshot: "Snapshot | None" = None
    ) -> tuple[int, str]:
        """Number of rows, and the sum of their hashes (hex, modulo 2^128), computed in the database."""
        from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot

        query = self.query(plan)
        shared = snapshot if isinstance(snapshot, PostgresqlSnapshot) and snapshot.id else None
        with ExitStack() as opened, telling(plan.table):
            # the snapshot's own session has its lock already: another one would wait behind whoever waits for that lock to go
            connection = shared.lent() if shared is not None else None
            if connection is None:
                connection = opened.enter_context(closing(self._place.connect()))
                begin_reading(connection, shared.id if shared is not None else "")
            query.prepare(connection)
            row = connection.execute(statement(query.hash_statement(columns, seed))).fetchone()
        rows, total = (int(row[0]), int(row[1])) if row else (0, 0)
        return rows, f"{total % (1 << 128):032x}"

    def watermark_facts(self, plan: ReadPlan, column: Column) -> "WatermarkFacts":
        from jinqiao.dataplane.connectors.watermarks import postgresql_facts

        return postgresql_facts(self.query(plan), column)

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: SnapshotState | None = None, chunk_rows: int = 100_000
    ) -> "PostgresqlSnapshot":
        from jinqiao.dataplane.connectors.postgresql_snapshot import PostgresqlSnapshot

        return PostgresqlSnapshot(self.query(plan), parallel=parallel, resume=resume, chunk_rows=chunk_rows)


def where_clause(conditions: tuple[RowCondition, ...], schema: TableSchema) -> tuple[str, list[str]]:
    """` WHERE …` that reads its values from the settings jinqiao.p1, p2 …, and these values."""
    parts: list[str] = []
    settings: list[str] = []

    def value(text: str, column: Column) -> str:
        filter_value(text, column)  # raises where the text is no value of that type
        settings.append(("\\x" + text) if column.type is LogicalType.BINARY else text)
        setting = f"current_setting('jinqiao.p{len(settings)}')"
        match column.type:
            case LogicalType.INTEGER:
                return f"{setting}::bigint"
            case LogicalType.DECIMAL:
                return f"{setting}::numeric"
            case LogicalType.DOUBLE:
                return f"{setting}::float8"
            case LogicalType.BOOLEAN:
                return f"{setting}::boolean"
            case LogicalType.DATE:
                return f"{setting}::date"
            case LogicalType.DATETIME:
                instant = "with time zone" in column.native_type
                return f"({setting}::timestamp AT TIME ZONE '{ZONE}')" if instant else f"{setting}::timestamp"
            case LogicalType.BINARY:
                return f"{setting}::bytea"
            case _:
                return setting

    for condition in conditions:
        (column,) = select_columns(schema, (condition.column,))
        left = quote(column.name)
        if column.type is LogicalType.TEXT and not column.native_type.startswith(("character varying", "text")):
            left += "::text"
        match condition.operator:
            case Operator.EQUAL:
                parts.append(f"{left} = {value(condition.values[0], column)}")
            case Operator.ONE_OF:
                parts.append(f"{left} IN ({', '.join(value(text, column) for text in condition.values)})")
            case Operator.AT_LEAST:
                parts.append(f"{left} >= {value(condition.values[0], column)}")
            case Operator.AT_MOST:
                parts.append(f"{left} <= {value(condition.values[0], column)}")
            case Operator.STARTS_WITH:
                settings.append(condition.values[0])
                parts.append(f"starts_with({quote(column.name)}::text, current_setting('jinqiao.p{len(settings)}'))")
    return (" WHERE " + " AND ".join(parts) if parts else ""), settings


def statement(text: str) -> LiteralString:
    """A statement built from quoted names and bound values, as psycopg's types want it."""
    return text
