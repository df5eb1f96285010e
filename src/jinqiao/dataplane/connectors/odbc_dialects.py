"""Dialects behind ODBC: where a catalogue stands, how its types are read exactly, how a value of a row filter is cast.

Run against real servers: `postgresql`, `mysql`. Written from documentation and not run: `kingbase` (as PostgreSQL), `oracle`,
`dm`, `sqlserver`. `generic` asks the driver alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jinqiao.dataplane.connectors.base import LOCK_WAIT_S
from jinqiao.dataplane.connectors.values import MAX_PRECISION
from jinqiao.dataplane.errors import DialectUnknown
from jinqiao.kernel.contracts.tables import Column, LogicalType

_ZONE = "Asia/Shanghai"
_INFORMATION_SCHEMA = """
SELECT c.table_schema, c.table_name, c.column_name, {type_}, {full}, c.is_nullable, c.character_maximum_length,
       c.numeric_precision, c.numeric_scale, c.datetime_precision
FROM information_schema.columns c
WHERE c.table_schema {schema} AND (? = '' OR c.table_name = ?)
ORDER BY c.table_schema, c.table_name, c.ordinal_position
"""
_ALL_TAB_COLUMNS = """
SELECT c.owner, c.table_name, c.column_name, lower(c.data_type), lower(c.data_type), CASE c.nullable WHEN 'N' THEN 'NO' ELSE 'YES' END,
       {length}, c.data_precision, c.data_scale, c.data_scale
FROM all_tab_columns c
WHERE c.owner = {schema} AND (? IS NULL OR c.table_name = ?)
ORDER BY c.owner, c.table_name, c.column_id
"""
_CASTS = {
    LogicalType.INTEGER: "CAST(? AS BIGINT)",
    LogicalType.DECIMAL: "CAST(? AS DECIMAL(38, 10))",
    LogicalType.DOUBLE: "CAST(? AS DOUBLE PRECISION)",
    LogicalType.BOOLEAN: "CAST(? AS SMALLINT)",
    LogicalType.DATE: "CAST(? AS DATE)",
    LogicalType.DATETIME: "CAST(? AS TIMESTAMP)",
    LogicalType.TEXT: "?",
}
_POSTGRESQL_CASTS = {
    **_CASTS,
    LogicalType.DECIMAL: "CAST(? AS NUMERIC)",
    LogicalType.BOOLEAN: "CAST(? AS BOOLEAN)",
    LogicalType.TEXT: "CAST(? AS TEXT)",
    LogicalType.BINARY: "decode(?, 'hex')",
}
_ORACLE_CASTS = {
    LogicalType.INTEGER: "TO_NUMBER(?)",
    LogicalType.DECIMAL: "TO_NUMBER(?, '99999999999999999999999999999999999999D99999999999', 'NLS_NUMERIC_CHARACTERS=''.,''')",
    LogicalType.DOUBLE: "TO_BINARY_DOUBLE(?)",
    LogicalType.BOOLEAN: "TO_NUMBER(?)",
    LogicalType.DATE: "TO_DATE(?, 'YYYY-MM-DD')",
    LogicalType.DATETIME: "TO_TIMESTAMP(?, 'YYYY-MM-DD HH24:MI:SS.FF')",
    LogicalType.TEXT: "?",
    LogicalType.BINARY: "HEXTORAW(?)",
}
_INTEGERS = frozenset(
    [
        "tinyint",
        "smallint",
        "mediumint",
        "int",
        "integer",
        "bigint",
        "int2",
        "int4",
        "int8",
        "serial",
        "bigserial",
        "smallserial",
        "byte",
        "year",
        "counter",
    ]
)
_TRUTH = frozenset(("boolean", "bool"))
_DECIMALS = frozenset(("numeric", "decimal", "dec", "number", "money", "smallmoney"))
_DOUBLES = frozenset(
    ("float", "double", "double precision", "real", "float4", "float8", "binary_float", "binary_double")
)
_BINARIES = frozenset(
    ["bytea", "binary", "varbinary", "longvarbinary", "blob", "tinyblob", "mediumblob", "longblob", "image", "raw"]
) | {
    "long raw",
    "long varbinary",
    "binary varying",
    "binary large object",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """`begin` opens a read-only transaction; `{seconds}` and `{milliseconds}` in it are the statement's time-out."""

    name: str
    catalogue: str = ""  # a query over information_schema or all_tab_columns; empty: SQLColumns of the driver
    estimate: str = ""  # number of rows by the statistics
    current_schema: str = ""  # a query; empty: the driver's own default
    begin: tuple[str, ...] = ()
    snapshot: str = "one statement"
    casts: Mapping[LogicalType, str] = field(default_factory=lambda: _CASTS)
    driver_defaults: Mapping[str, str] = field(default_factory=dict)
    streaming: Mapping[str, str] = field(default_factory=dict)  # or the driver would hold a whole table in memory
    compares_exactly: bool = False  # False: texts of a row filter are compared again after reading
    timeout_by_driver: bool = True
    date_has_time: bool = False
    upper_names: bool = False
    kill: tuple[str, str] | None = None  # how a statement that is given up is stopped: who am I, end it


def _information_schema(schema: str, *, type_: str = "c.data_type", full: str = "c.data_type") -> str:
    return _INFORMATION_SCHEMA.format(schema=schema, type_=type_, full=full)


POSTGRESQL = Dialect(
    "postgresql",
    catalogue=_information_schema("= ?", type_="lower(c.udt_name)"),
    estimate="SELECT CAST(greatest(c.reltuples, -1) AS bigint) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = ? AND c.relname = ?",
    current_schema="SELECT current_schema()",
    begin=(
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET LOCAL statement_timeout = {milliseconds}",
        f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
    ),
    snapshot="repeatable read, read only",
    casts=_POSTGRESQL_CASTS,
    driver_defaults={"BoolsAsChar": "0", "UnknownSizes": "2"},
    streaming={"UseDeclareFetch": "1", "Fetch": "5000"},
    compares_exactly=True,
)
DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("generic"),
        POSTGRESQL,
        Dialect(
            **{
                **{name: getattr(POSTGRESQL, name) for name in Dialect.__slots__},
                "name": "kingbase",
                "compares_exactly": False,  # its modes and collations differ from installation to installation
            }
        ),
        Dialect(
            "mysql",
            catalogue=_information_schema("= ?", full="c.column_type"),
            estimate="SELECT table_rows FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
            current_schema="SELECT DATABASE()",
            begin=(
                f"SET SESSION time_zone = '+08:00', lock_wait_timeout = {LOCK_WAIT_S}",
                "{timeout}",
                "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            ),
            snapshot="repeatable read, consistent snapshot",
            casts={
                **_CASTS,
                LogicalType.INTEGER: "CAST(? AS SIGNED)",
                LogicalType.DECIMAL: "CAST(? AS DECIMAL(65, 30))",
                LogicalType.DOUBLE: "CAST(? AS DOUBLE)",
                LogicalType.BOOLEAN: "CAST(? AS SIGNED)",
                LogicalType.DATETIME: "CAST(? AS DATETIME(6))",
                LogicalType.BINARY: "UNHEX(?)",
            },
            driver_defaults={"charset": "utf8mb4"},
            streaming={"FORWARDONLY": "1", "NO_CACHE": "1"},
            timeout_by_driver=False,
            kill=("SELECT CONNECTION_ID()", "KILL QUERY {id}"),
        ),
        Dialect(
            "oracle",
            catalogue=_ALL_TAB_COLUMNS.format(length="c.char_length", schema="?"),
            estimate="SELECT num_rows FROM all_tables WHERE owner = ? AND table_name = ?",
            current_schema="SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM dual",
            begin=("SET TRANSACTION READ ONLY",),
            snapshot="read only transaction",
            casts=_ORACLE_CASTS,
            compares_exactly=True,
            date_has_time=True,
            upper_names=True,
        ),
        Dialect(
            "dm",
            catalogue=_ALL_TAB_COLUMNS.format(length="c.data_length", schema="?"),
            estimate="SELECT num_rows FROM all_tables WHERE owner = ? AND table_name = ?",
            current_schema="SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM dual",
            begin=("SET TRANSACTION READ ONLY",),
            snapshot="read only transaction",
            casts=_ORACLE_CASTS | {LogicalType.INTEGER: "CAST(? AS BIGINT)", LogicalType.DOUBLE: "CAST(? AS DOUBLE)"},
            upper_names=True,
        ),
        Dialect(
            "sqlserver",
            catalogue=_information_schema("= ?"),
            current_schema="SELECT SCHEMA_NAME()",
            casts={
                **_CASTS,
                LogicalType.DOUBLE: "CAST(? AS FLOAT)",
                LogicalType.BOOLEAN: "CAST(? AS BIT)",
                LogicalType.DATETIME: "CAST(? AS DATETIME2(7))",
                LogicalType.BINARY: "CONVERT(VARBINARY(MAX), ?, 2)",
            },
        ),
    )
}
_BY_PRODUCT = (
    ("mariadb", "mysql"), ("mysql", "mysql"), ("kingbase", "kingbase"), ("postgresql", "postgresql"), ("oracle", "oracle"),
    ("dm", "dm"), ("microsoft sql server", "sqlserver"),
)  # fmt: skip
TARGETS = ("postgresql", "kingbase", "mysql")


def dialect_of(wanted: str, product: str) -> Dialect:
    """The dialect that the options name, or the one of a server that calls itself so. Raises DialectUnknown."""
    if wanted:
        if wanted not in DIALECTS:
            raise unknown(wanted)
        return DIALECTS[wanted]
    named = product.lower()
    return DIALECTS[next((dialect for start, dialect in _BY_PRODUCT if named.startswith(start)), "generic")]


def unknown(dialect: str) -> DialectUnknown:
    return DialectUnknown(dialect=dialect[:40], known=", ".join(DIALECTS), targets=", ".join(TARGETS))


def logical_type(
    dialect: Dialect, kind: str, full: str, precision: int | None, scale: int | None
) -> tuple[LogicalType, int | None, int | None]:
    """Logical type, precision and scale of a catalogue's type name; what no logical type holds exactly is text."""
    kind = kind.split("(")[0].strip().removesuffix(" identity")
    if dialect.name == "mysql":
        if kind == "bigint" and "unsigned" in full:
            return LogicalType.DECIMAL, 20, 0
        if full.startswith(("tinyint(1)", "bit(1)")):
            return LogicalType.BOOLEAN, None, None
        if kind == "bit":
            return LogicalType.INTEGER, None, None
    if dialect.name == "oracle" and kind == "float":
        return LogicalType.TEXT, None, None  # a decimal number of up to 126 binary digits
    if kind in _TRUTH or (kind == "bit" and dialect.name in ("sqlserver", "dm", "generic")):
        return LogicalType.BOOLEAN, None, None
    if kind in _INTEGERS:
        return LogicalType.INTEGER, None, None
    if kind in _DECIMALS:
        if dialect.name in ("postgresql", "kingbase") and kind == "money":
            return LogicalType.TEXT, None, None
        places = scale or 0
        if precision is None or not 0 < precision <= MAX_PRECISION or not 0 <= places <= precision:
            return LogicalType.TEXT, None, None
        return LogicalType.DECIMAL, precision, places
    if kind in _DOUBLES:
        return LogicalType.DOUBLE, None, None
    if kind == "date":
        return (LogicalType.DATETIME if dialect.date_has_time else LogicalType.DATE), None, None
    if kind.startswith(("timestamp", "datetime", "smalldatetime")) and not (
        kind == "timestamp" and dialect.name == "sqlserver"
    ):
        # finer than a microsecond: as text nothing is cut
        return (LogicalType.TEXT if (scale or 0) > 6 else LogicalType.DATETIME), None, None
    if kind in _BINARIES or (kind == "timestamp" and dialect.name == "sqlserver"):
        return LogicalType.BINARY, None, None
    return LogicalType.TEXT, None, None


def cast_of(dialect: Dialect, column: Column) -> str | None:
    """What makes a value of the column's type of a bound text; None where a filter on this type is not possible."""
    cast = dialect.casts.get(column.type)
    if cast is None or column.type is not LogicalType.DATETIME or not has_zone(column):
        return cast
    match dialect.name:
        case "postgresql" | "kingbase":
            return f"({cast} AT TIME ZONE '{_ZONE}')"
        case "oracle" | "dm":
            return f"FROM_TZ({cast}, '{_ZONE}')"
        case _:
            return None


def has_zone(column: Column) -> bool:
    return column.native_type.startswith("timestamptz") or "with time zone" in column.native_type


def expression(dialect: Dialect, column: Column, name: str) -> str:
    """What reads a column exactly; `name` is quoted."""
    native = column.native_type
    kind = native.split("(")[0].strip()
    match dialect.name:
        case "postgresql" | "kingbase":
            if column.type is LogicalType.BOOLEAN:
                return f"CASE WHEN {name} THEN 1 WHEN NOT {name} THEN 0 END"
            if has_zone(column):
                return f"({name} AT TIME ZONE '{_ZONE}')"
            if column.type is LogicalType.DOUBLE:
                return f"{name}::float8"  # the driver would take float4 for text of six digits
            if column.type is LogicalType.TEXT and not (kind == "varchar" and column.length):
                return f"{name}::text"
        case "mysql":
            if kind == "float":
                return f"CAST({name} AS DOUBLE)"
            if kind == "bit":
                return f"{name} + 0"
            if kind in ("decimal", "time") and column.type is LogicalType.TEXT:
                return f"CAST({name} AS CHAR)"
        case "oracle" | "dm":
            if has_zone(column):
                return f"CAST({name} AT TIME ZONE '{_ZONE}' AS TIMESTAMP(6))"
            if kind in ("number", "float") and column.type is LogicalType.TEXT:
                return f"TO_CHAR({name}, 'TM9', 'NLS_NUMERIC_CHARACTERS=''.,''')"
        case "sqlserver":
            if kind == "datetimeoffset":
                return f"CONVERT(varchar(27), SWITCHOFFSET({name}, '+08:00'), 121)"
            if kind.startswith("datetime") and column.type is LogicalType.TEXT:
                return f"CONVERT(varchar(27), {name}, 121)"
            if kind == "sql_variant":
                return f"CAST({name} AS nvarchar(4000))"
    return name
