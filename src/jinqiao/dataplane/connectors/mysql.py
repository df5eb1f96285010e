"""MariaDB and MySQL as a source: rows stream over an unbuffered cursor as text and become Arrow a column at a time.

Times are shown as wall-clock time in China (`time_zone = '+08:00'`); text is compared byte by byte, whatever the collation,
so that a row filter never lets more rows through than the grant names.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pymysql
from pymysql.converters import conversions

from jinqiao.dataplane.connectors import base
from jinqiao.dataplane.connectors.base import CONNECT_TIMEOUT_S, ReadPlan, Source, select_columns
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
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, Operator, RowCondition, TableSchema
from jinqiao.kernel.errors import JinqiaoError

if TYPE_CHECKING:
    from jinqiao.dataplane.connectors.mysql_snapshot import MysqlSnapshot
    from jinqiao.dataplane.connectors.watermarks import WatermarkFacts

PORT = 3306
READ_TIMEOUT_S = 3600
# values arrive as text and bytes: they are read a column at a time, exactly, where Python objects would be built one by one
ENCODERS = {kind: way for kind, way in conversions.items() if not isinstance(kind, int)}
_CODES: Mapping[int, type[JinqiaoError]] = {
    **dict.fromkeys((1045, 1130, 1251, 1698, 2059), AuthenticationFailed),
    **dict.fromkeys((1044, 1142, 1143, 1227, 1370), PermissionDenied),
    **dict.fromkeys((1040, 1203, 1213, 1226), SourceBusy),
    1205: TableBusy,
    **dict.fromkeys((2006, 2013, 2055, 1053, 1927), ConnectionLost),
    **dict.fromkeys((1969, 3024, 1317), StatementTimedOut),
    **dict.fromkeys((3, 1021, 1026, 1114), TargetDiskFull),
    **dict.fromkeys((1062, 1586), TargetKeyNotUnique),
    **dict.fromkeys(
        (1048, 1216, 1217, 1264, 1265, 1292, 1364, 1366, 1406, 1451, 1452, 1264, 3819, 4025), TargetRefused
    ),
    1049: DatabaseMissing,
    1146: TableMissing,
    1054: ColumnMissing,
    **dict.fromkeys((2026, 3159), TlsFailed),
}
_CATALOGUE = """
SELECT t.table_name, t.table_rows, t.table_comment, c.column_name, c.data_type, c.column_type, c.is_nullable,
       c.character_maximum_length, c.numeric_precision, c.numeric_scale, c.column_key, c.column_comment
FROM information_schema.tables t
JOIN information_schema.columns c ON c.table_schema = t.table_schema AND c.table_name = t.table_name
WHERE t.table_schema = DATABASE() AND (%s IS NULL AND t.table_name NOT LIKE 'jinqiao\\_%%' OR t.table_name = %s)
ORDER BY t.table_name, c.ordinal_position
"""
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_SHAPES = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
)
# the most characters that surely fit, where the limit is in bytes; None: more than a chunk could ever carry
_TEXT_LENGTHS = {"tinytext": 63, "text": 16_383, "mediumtext": None, "longtext": None, "json": None}


def asks_for_tls(options: Mapping[str, Any]) -> bool:
    return bool(options.get("tls") or options.get("ca"))


def tls_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The driver's TLS settings. `ca` names the file of the authorities to believe: then certificate and host name are checked;
    with `tls` alone the connection is encrypted but anybody could have answered. `cert` and `key` are the client's own.

    Raises TlsFailed where a file cannot be read.
    """
    given = {name: str(options[name]) for name in ("ca", "cert", "key") if options.get(name)}
    if not all(Path(path).is_file() for path in given.values()):
        raise TlsFailed()
    return given | {"check_hostname": "ca" in given}


def quote(name: str) -> str:
    """A name as it stands in a statement that drivers also search for `%s`."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def translated(problem: pymysql.Error, *, table: str, place: "Place | None" = None) -> JinqiaoError:
    """Our error for one of the server's or the driver's; the message is only looked at."""
    code = problem.args[0] if problem.args and isinstance(problem.args[0], int) else 0
    text = str(problem.args[1]) if len(problem.args) > 1 else ""
    where: dict[str, Any] = {
        "host": place.host if place else "",
        "port": place.port if place else "",
        "user": place.user if place else "",
        "database": place.database if place else "",
        "seconds": CONNECT_TIMEOUT_S,
    }
    if code == 2003 and isinstance(getattr(problem, "original_exception", None), ssl.SSLError):
        return TlsFailed(**where)  # the driver takes a certificate that is not believed for a host that is not reached
    if code in (2002, 2003, 2005) or (code == 2013 and place is not None):
        return (ConnectionTimedOut if "timed out" in text else HostUnreachable)(**where)
    if code in (1030, 1296) and re.search(r"\b28\b", text):
        return TargetDiskFull(table=table)
    if code == 0 and isinstance(problem, pymysql.InterfaceError):
        return ConnectionLost()
    kind = _CODES.get(code, SourceFailed)
    return kind(table=table or where["database"], state=str(code), columns="", **where)


# a connection that breaks while rows are sent loses its socket, and the driver then asks nothing for its time-out
_OF_A_SOCKET = ("settimeout", "sendall", "read")


@contextmanager
def telling(table: str = "", place: "Place | None" = None) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except ssl.SSLError:
        raise TlsFailed() from None
    except pymysql.Error as problem:
        raise translated(problem, table=table, place=place) from None
    except AttributeError as problem:
        if problem.obj is None and problem.name in _OF_A_SOCKET:
            raise ConnectionLost() from None
        raise


class Place:
    """Where a MariaDB or MySQL is and as whom; never shows its password."""

    def __init__(self, connection: Connection, password: str | None) -> None:
        self.host, self.port = connection.host or "localhost", connection.port or PORT
        self.user, self.database = connection.user, connection.database
        self._password, self._options = password or "", connection.options

    def connect(self, kind: type[Any] = pymysql.Connection, *, read_timeout_s: int = READ_TIMEOUT_S) -> Any:
        """An autocommitting connection in UTF-8 and China's time, or the cause why there is none."""
        secure = {"ssl": tls_of(self._options)} if asks_for_tls(self._options) else {}
        timeout_s = int(self._options.get("connect_timeout_s", CONNECT_TIMEOUT_S))
        with telling(place=self):
            connection = kind(
                host=self.host,
                port=self.port,
                user=self.user,
                password=self._password.encode(),  # the driver would take a text for Latin-1
                database=self.database,
                charset="utf8mb4",
                connect_timeout=timeout_s,
                read_timeout=timeout_s,  # of the handshake, which the connect time-out does not cover
                write_timeout=READ_TIMEOUT_S,
                autocommit=True,
                local_infile=kind is not pymysql.Connection,
                conv=ENCODERS,
                init_command="SET time_zone = '+08:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO',"
                f" lock_wait_timeout = {base.LOCK_WAIT_S}, innodb_lock_wait_timeout = {base.LOCK_WAIT_S}",
                **secure,
            )
        connection._read_timeout = read_timeout_s
        return connection


def server_version(connection: "pymysql.Connection[Any]") -> str:
    """`MariaDB 10.11.6` or `MySQL 8.0.36`."""
    given = str(connection.get_server_info())
    number = re.search(r"\d+\.\d+\.\d+", given.removeprefix("5.5.5-"))
    return f"{'MariaDB' if 'MariaDB' in given else 'MySQL'} {number.group() if number else given}"


def column_of(row: tuple[Any, ...]) -> Column:
    """A column from one row of the catalogue query, from `column_name` on. All values are texts or None."""
    name, data_type, column_type, nullable, characters, digits, places, key, comment = row
    kind, length, precision, scale = LogicalType.TEXT, None, None, None
    if data_type == "bigint" and "unsigned" in column_type:
        kind, precision, scale = LogicalType.DECIMAL, 20, 0  # beyond 64 bits with a sign
    elif column_type.startswith("tinyint(1)") or column_type == "bit(1)":
        kind = LogicalType.BOOLEAN
    elif data_type in _INTEGERS or data_type == "bit":
        kind = LogicalType.INTEGER
    elif data_type == "decimal":
        if int(digits) <= MAX_PRECISION:
            kind, precision, scale = LogicalType.DECIMAL, int(digits), int(places)
    elif data_type in ("float", "double"):
        kind = LogicalType.DOUBLE
    elif data_type == "date":
        kind = LogicalType.DATE
    elif data_type in ("datetime", "timestamp"):
        kind = LogicalType.DATETIME
    elif data_type in _BINARY:
        kind = LogicalType.BINARY
    elif characters is not None:
        length = _TEXT_LENGTHS[data_type] if data_type in _TEXT_LENGTHS else int(characters)
    return Column(
        name=name,
        type=kind,
        native_type=column_type,
        nullable=nullable == "YES",
        length=length,
        precision=precision,
        scale=scale,
        primary_key=key == "PRI",
        comment=comment,
    )


def expression(column: Column) -> str:
    """What reads the column exactly in the text protocol."""
    name, native = quote(column.name), column.native_type
    if native.startswith("float"):
        return f"CAST({name} AS DOUBLE)"  # as it stands it would be rounded to six digits
    if native.startswith("bit"):
        return f"{name} + 0"
    if native in _SHAPES:
        return f"ST_AsText({name})"
    return name


def read_catalogue(connection: "pymysql.Connection[Any]", table: str | None = None) -> tuple[TableSchema, ...]:
    with telling(table or ""), connection.cursor() as cursor:
        cursor.execute(_CATALOGUE, (table, table))
        rows = [tuple(_text(value) for value in row) for row in cursor.fetchall()]
    tables: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        tables.setdefault(str(row[0]), []).append(row)
    return tuple(
        TableSchema(
            name=name,
            columns=tuple(column_of(member[3:]) for member in members),
            comment="" if members[0][2] in ("VIEW", None) else members[0][2],
            row_estimate=int(members[0][1]) if members[0][1] is not None else None,
        )
        for name, members in tables.items()
    )


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class MysqlSource(Source):
    engine: ClassVar[Engine] = Engine.MYSQL
    snapshot = "repeatable read, consistent snapshot"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._place = Place(connection, password)

    def test(self) -> str:
        with closing(self._place.connect()) as connection:
            return server_version(connection)

    def tables(self) -> tuple[TableSchema, ...]:
        with closing(self._place.connect()) as connection:
            return read_catalogue(connection)

    def schema(self, table: str) -> TableSchema:
        with closing(self._place.connect()) as connection:
            found = [schema for schema in read_catalogue(connection, table) if schema.name == table]
        if not found:
            raise TableMissing(table=table)
        return found[0]

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        from jinqiao.dataplane.connectors.mysql_snapshot import MysqlReader

        with MysqlReader(self._place, plan, self.schema(plan.table)) as reader:
            yield from reader.read(WHOLE)

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: SnapshotState | None = None, chunk_rows: int = 100_000
    ) -> "MysqlSnapshot":
        from jinqiao.dataplane.connectors.mysql_snapshot import MysqlSnapshot

        schema = self.schema(plan.table)
        return MysqlSnapshot(self._place, plan, schema, parallel=parallel, resume=resume, chunk_rows=chunk_rows)

    def watermark_facts(self, plan: ReadPlan, column: Column) -> "WatermarkFacts":
        from jinqiao.dataplane.connectors.watermarks import mysql_facts

        return mysql_facts(self._place, plan, self.schema(plan.table), column)


def array_of(values: list[Any], column: Column) -> pa.Array:
    if column.type is LogicalType.BINARY:
        return pa.array(values, pa.binary())
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # some text types come as bytes where their character set is binary
        return pa.array([value.encode() if isinstance(value, str) else value for value in values], pa.binary())


def exact(text: str) -> str:
    """A text expression as its UTF-8 bytes: equal only where every character is."""
    return f"CAST(CONVERT({text} USING utf8mb4) AS BINARY)"


def where_clause(conditions: tuple[RowCondition, ...], schema: TableSchema) -> tuple[str, list[Any]]:
    """` WHERE …` with its parameters; texts are also compared by their bytes, past any collation."""
    parts: list[str] = []
    values: list[Any] = []
    for condition in conditions:
        (column,) = select_columns(schema, (condition.column,))
        left = quote(column.name)
        given = [_bound(text, column) for text in condition.values]
        marks = ", ".join(["%s"] * len(given))
        is_text = column.type is LogicalType.TEXT
        match condition.operator:
            case Operator.EQUAL | Operator.ONE_OF:
                parts.append(f"{left} IN ({marks})")
                values.extend(given)
                if is_text:
                    parts.append(f"{exact(left)} IN ({', '.join(['CAST(%s AS BINARY)'] * len(given))})")
                    values.extend(given)
            case Operator.AT_LEAST:
                parts.append(f"{left} >= %s")
                values.extend(given)
            case Operator.AT_MOST:
                parts.append(f"{left} <= %s")
                values.extend(given)
            case Operator.STARTS_WITH:
                prefix = condition.values[0].encode()
                parts.append(f"LEFT({exact(left)}, {len(prefix)}) = CAST(%s AS BINARY)")
                values.append(condition.values[0])
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def _bound(text: str, column: Column) -> Any:
    value = filter_value(text, column)
    if column.type in (LogicalType.DATE, LogicalType.DATETIME, LogicalType.DECIMAL):
        return str(value)
    return value
