"""SQLite as a source: one file, one deferred read transaction, types from the declarations, values as they are stored."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.snapshots import WHOLE, SnapshotState
from jinqiao.dataplane.connectors.values import MAX_PRECISION, arrow_type, filter_value
from jinqiao.dataplane.errors import (
    ColumnMissing,
    ConnectionLost,
    DatabaseMissing,
    FileNotReadable,
    PermissionDenied,
    SourceBusy,
    SourceFailed,
    StatementTimedOut,
    TableMissing,
    TargetDiskFull,
    TargetKeyNotUnique,
    TargetRefused,
)
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition, TableSchema
from jinqiao.kernel.errors import JinqiaoError

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.sqlite_snapshot import SqliteSnapshot

BUSY_TIMEOUT_S = 30
OWN_TABLES = "jinqiao_"
_DECIMAL = re.compile(r"(?:DECIMAL_TEXT|DECIMAL|NUMERIC|DEC|MONEY)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?$")
_LENGTH = re.compile(r"\(\s*(\d+)\s*\)")


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def translated(problem: sqlite3.Error, *, table: str = "") -> JinqiaoError:
    """Our error for one of SQLite's; the message is only looked at, never handed on."""
    text, code = str(problem), getattr(problem, "sqlite_errorcode", None)
    name = str(getattr(problem, "sqlite_errorname", "") or "SQLITE_ERROR")
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL or "disk is full" in text:
        return TargetDiskFull(table=table)
    if primary == sqlite3.SQLITE_IOERR:
        # a file size limit or a full device shows up as a failed write
        return TargetDiskFull(table=table) if "WRITE" in name or "FSYNC" in name else ConnectionLost(state=name)
    if primary == sqlite3.SQLITE_INTERRUPT:
        return StatementTimedOut(table=table)
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SourceBusy(state=name)
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return FileNotReadable(state=name)
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return PermissionDenied(table=table)
    if primary == sqlite3.SQLITE_CANTOPEN:
        return DatabaseMissing()
    if primary == sqlite3.SQLITE_CONSTRAINT:
        if name in ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"):
            return TargetKeyNotUnique(table=table)
        return TargetRefused(table=table, state=name)
    if text.startswith("no such table"):
        return TableMissing(table=table)
    if text.startswith("no such column"):
        return ColumnMissing(table=table, columns="")
    return SourceFailed(state=name)


@contextmanager
def telling(table: str = "") -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as problem:
        raise translated(problem, table=table) from None


def column_of(name: str, declared: str, *, nullable: bool, primary_key: bool) -> Column:
    """A column from its declaration, by the rules of affinity that SQLite itself uses, where no exact type is named."""
    kind = declared.strip().upper()
    base = kind.split("(")[0].strip()
    length = int(found.group(1)) if (found := _LENGTH.search(kind)) else None
    type_, precision, scale = LogicalType.TEXT, None, None
    if (found := _DECIMAL.match(kind)) is not None:
        precision = int(found.group(1)) if found.group(1) else None
        if precision is not None and precision <= MAX_PRECISION:
            type_, scale = LogicalType.DECIMAL, int(found.group(2) or 0)
        else:
            precision = None  # without a declared scale nothing exact can be promised: text
        length = None
    elif base in ("BOOLEAN", "BOOL"):
        type_ = LogicalType.BOOLEAN
    elif base == "DATE":
        type_ = LogicalType.DATE
    elif base in ("DATETIME", "TIMESTAMP"):
        type_, length = LogicalType.DATETIME, None
    elif "INT" in base:
        type_, length = LogicalType.INTEGER, None
    elif "CHAR" in base or "CLOB" in base or "TEXT" in base:
        type_ = LogicalType.TEXT
    elif "BLOB" in base or base in ("BINARY", "VARBINARY", "BYTEA"):
        type_, length = LogicalType.BINARY, None
    elif any(part in base for part in ("REAL", "FLOA", "DOUB")):
        type_, length = LogicalType.DOUBLE, None
    return Column(
        name=name,
        type=type_,
        native_type=declared,
        nullable=nullable,
        length=length if type_ is LogicalType.TEXT else None,
        precision=precision,
        scale=scale,
        primary_key=primary_key,
    )


def keeps_text(declared: str) -> bool:
    """Does a column declared so keep texts as they are? Datatypes In SQLite, Determination Of Column Affinity."""
    kind = declared.upper()
    return not kind or any(part in kind for part in ("CHAR", "CLOB", "TEXT", "BLOB"))


def columns_of(connection: sqlite3.Connection, table: str) -> tuple[Column, ...]:
    rows = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)).fetchall()
    return tuple(
        column_of(_text(name), _text(declared), nullable=not notnull and not pk, primary_key=bool(pk))
        for name, declared, notnull, pk in rows
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


class SqliteSource(Source):
    engine: ClassVar[Engine] = Engine.SQLITE
    snapshot = "read transaction"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._path = Path(connection.database)

    def connect(self) -> sqlite3.Connection:
        if not self._path.is_file():
            raise DatabaseMissing(database=self._path.name)
        with telling():
            connection = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
        connection.text_factory = bytes  # decoded, and checked, a column at a time
        return connection

    def test(self) -> str:
        with closing(self.connect()) as connection, telling():
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return f"SQLite {sqlite3.sqlite_version}"

    def tables(self) -> tuple[TableSchema, ...]:
        with closing(self.connect()) as connection, telling():
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " ORDER BY name"
            ).fetchall()
            return tuple(
                self._schema(connection, _text(name)) for (name,) in names if not _text(name).startswith(OWN_TABLES)
            )

    def schema(self, table: str) -> TableSchema:
        with closing(self.connect()) as connection, telling(table):
            schema = self._schema(connection, table)
        if not schema.columns:
            raise TableMissing(table=table)
        return schema

    def _schema(self, connection: sqlite3.Connection, table: str) -> TableSchema:
        estimate = None
        row = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone()
        if row is not None:
            stat = connection.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = ? LIMIT 1", (table,)).fetchone()
            estimate = int(_text(stat[0]).split()[0]) if stat and _text(stat[0]) else None
        kind = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table'", (table,)).fetchone()
        if estimate is None and kind is not None:
            # the largest rowid bounds the number of rows and costs one step in the tree (a view would be run as a whole)
            try:
                last = connection.execute(f"SELECT max(rowid) FROM {quote(table)}").fetchone()  # noqa: S608 -- quoted name
                estimate = int(last[0]) if last and isinstance(last[0], int) else 0
            except sqlite3.Error:
                estimate = None
        return TableSchema(name=table, columns=columns_of(connection, table), row_estimate=estimate)

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        from jinqiao.dataplane.connectors.sqlite_snapshot import SqliteReader

        with closing(self.connect()) as connection:
            yield from SqliteReader(connection, plan, self.schema(plan.table)).read(WHOLE)

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: SnapshotState | None = None, chunk_rows: int = 100_000
    ) -> "SqliteSnapshot":
        from jinqiao.dataplane.connectors.sqlite_snapshot import SqliteSnapshot

        return SqliteSnapshot(self, plan, resume=resume, chunk_rows=chunk_rows)

    def state_token(self, table: str) -> str | None:
        """The marks of the file, its journal and the index of its journal: any commit changes one of them."""
        marks: list[str] = []
        for suffix in ("", "-journal", "-wal", "-shm"):
            path = self._path.with_name(self._path.name + suffix)
            try:
                state = path.stat()
                with path.open("rb") as file:
                    head = file.read(136 if suffix == "-shm" else 100)
            except FileNotFoundError:
                marks.append("-")
                continue
            except OSError:
                return None
            # of the journal's index only its header tells of commits; readers write their marks behind it
            facts = (0, 0, 0) if suffix == "-shm" else (state.st_ino, state.st_size, state.st_mtime_ns)
            marks.append(f"{facts}{hashlib.sha256(head[:96]).hexdigest()[:16]}")
        return "/".join(marks)


def array_of(values: list[Any], column: Column) -> pa.Array:
    """Stored values as an array: of the column's own type where all fit at once, else as text for `values.fit`.

    SQLite lets any column hold any kind of value; a BLOB in a text column is taken as the text it encodes.
    """
    type_ = column.type
    try:
        if type_ in (LogicalType.TEXT, LogicalType.DATE, LogicalType.DATETIME):
            raw = pa.array(values, pa.binary())
            try:
                return raw.cast(pa.string())
            except pa.ArrowInvalid:
                return raw
        if type_ in (LogicalType.INTEGER, LogicalType.BOOLEAN):
            if not any(isinstance(value, float) for value in values):
                return pa.array(values, pa.int64())
        elif type_ is not LogicalType.DECIMAL:
            return pa.array(values, arrow_type(column))
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError):
        pass
    return pa.array([_as_bytes(value) for value in values], pa.binary())


def _as_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return repr(value).encode("ascii")  # the shortest text that reads back as the same number


def where_clause(conditions: tuple[RowCondition, ...], schema: TableSchema) -> tuple[str, list[Any]]:
    """` WHERE …` with its parameters, empty without conditions."""
    parts: list[str] = []
    values: list[Any] = []
    for condition in conditions:
        (column,) = select_columns(schema, (condition.column,))
        left, mark = quote(column.name), "?"
        if column.type is LogicalType.DECIMAL:
            left, mark = f"CAST({left} AS NUMERIC)", "CAST(? AS NUMERIC)"
        elif column.type is LogicalType.DATETIME:
            left = f"replace({left}, 'T', ' ')"
        given = [_bound(text, column, condition.operator) for text in condition.values]
        match condition.operator:
            case Operator.EQUAL:
                parts.append(f"{left} = {mark}")
            case Operator.ONE_OF:
                parts.append(f"{left} IN ({', '.join([mark] * len(given))})")
            case Operator.AT_LEAST:
                parts.append(f"{left} >= {mark}")
            case Operator.AT_MOST:
                parts.append(f"{left} <= {mark}")
            case Operator.STARTS_WITH:
                parts.append(f"substr({left}, 1, length(?)) = ?")
                given = [condition.values[0]] * 2
        values.extend(given)
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def _bound(text: str, column: Column, operator: Operator) -> Any:
    """The value as it is compared."""
    value = filter_value(text, column)
    match column.type:
        case LogicalType.DATE | LogicalType.DECIMAL:
            return str(value)
        case LogicalType.DATETIME:
            # as the beginning of a range as short as it can be written, so that every way of writing the same instant compares
            # as at least it; as the end of one with all six digits, so that every way of writing it is still within
            if operator is Operator.AT_MOST and isinstance(value, datetime):
                return value.isoformat(sep=" ", timespec="microseconds")
            shown = str(value)
            if "." in shown:
                return shown.rstrip("0")
            return shown.removesuffix(":00").removesuffix(" 00:00") if operator is Operator.AT_LEAST else shown
        case LogicalType.BOOLEAN:
            return int(bool(value))
        case _:
            return value
