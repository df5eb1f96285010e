"""Tables, columns and where they are: how both planes describe a department's data."""

import enum
from dataclasses import dataclass, field
from typing import Any

from jinqiao.kernel.contracts.base import Contract


class LogicalType(enum.StrEnum):
    """Engine-independent type of a value; the data plane maps it to Arrow and to each engine."""

    TEXT = "text"
    INTEGER = "integer"  # 64 bits, signed
    DECIMAL = "decimal"  # precision and scale given
    DOUBLE = "double"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"  # wall-clock time without zone, microseconds
    BINARY = "binary"


class Engine(enum.StrEnum):
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"  # MariaDB and MySQL
    SQLITE = "sqlite"
    ODBC = "odbc"  # whatever has an ODBC driver: 达梦, 人大金仓, Oracle, SQL Server
    CSV = "csv"
    EXCEL = "excel"
    JSONL = "jsonl"
    PARQUET = "parquet"
    FOLDER = "folder"  # arbitrary files: documents, scans
    HTTP = "http"  # a paged JSON interface


class Mask(enum.StrEnum):
    """How a value is shown to a consumer; applied where the value leaves its source's side, never later."""

    NONE = "none"
    IDENTITY_NUMBER = "identity_number"  # 620302********0015
    NAME = "name"  # 张**
    PHONE = "phone"  # 138****5678
    HIDDEN = "hidden"  # ***, whatever it was


class Operator(enum.StrEnum):
    EQUAL = "eq"
    ONE_OF = "in"
    AT_LEAST = "ge"
    AT_MOST = "le"
    STARTS_WITH = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCondition(Contract):
    """One condition of a row filter on a column of the source table; conditions are joined by AND.

    `values` holds texts in the canonical form of `kernel.digests` (ISO dates, plain decimals); the reader casts them.
    """

    column: str
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Contract):
    """A column as the database catalogue declares it (never as inferred from rows)."""

    name: str
    type: LogicalType
    native_type: str = ""
    nullable: bool = True
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    primary_key: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSchema(Contract):
    """`row_estimate` is what the engine's statistics say, not a count."""

    name: str
    columns: tuple[Column, ...]
    comment: str = ""
    row_estimate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Contract):
    """How a node reaches a data source. The password travels sealed to that node's key: nobody else can open it.

    SQLite: `database` is the path of the file as the node sees it; engines of files: the path of their folder, or of one file.
    ODBC: `database` is the connection string without user and password. HTTP: `database` is the root address.
    """

    engine: Engine
    database: str
    host: str = ""
    port: int | None = None
    user: str = ""
    sealed_password: str = ""  # kernel.crypto.sealing text form; empty where none is needed
    options: dict[str, Any] = field(default_factory=dict)
