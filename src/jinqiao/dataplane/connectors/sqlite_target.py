"""SQLite as a target: one file, one writer, everything in ordinary transactions, DDL included."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.ledger import LedgerTarget
from jinqiao.dataplane.connectors.plans import is_history
from jinqiao.dataplane.connectors.sql_target import NewTable, Role
from jinqiao.dataplane.connectors.sqlite import BUSY_TIMEOUT_S, columns_of, keeps_text, quote, telling
from jinqiao.dataplane.connectors.values import arrow_type, plain_decimals
from jinqiao.dataplane.errors import DatabaseMissing, TargetRefused
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

# NUMERIC affinity keeps no more decimal digits than a double
EXACT_NUMERIC_DIGITS = 15
_INSERT_ROWS = 20_000


class SqliteTarget(LedgerTarget):
    engine: ClassVar[Engine] = Engine.SQLITE

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        super().__init__()
        path = Path(connection.database)
        if not path.parent.is_dir():
            raise DatabaseMissing(database=path.name)
        with telling():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA cache_size = -65536")

    def close(self) -> None:
        self.forget_session()
        self._connection.close()

    def test(self) -> str:
        with telling():
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return f"SQLite {sqlite3.sqlite_version}"

    def quoted(self, table: str) -> str:
        return quote(table)

    def session_place(self, table: str) -> str:
        return f"temp.{quote(table)}"

    def quoted_column(self, name: str) -> str:
        return quote(name)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement, values).rowcount

    def fetch(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self, table: str = "") -> Iterator[None]:
        with telling(table):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def existing(self, table: str) -> tuple[Column, ...] | None:
        return columns_of(self._connection, table) or None

    def loose_keys(self, table: str, texts: Sequence[str]) -> list[str]:
        # how a column compares is told nowhere, but values beside it compare as it does
        probe = (
            "WITH given (value) AS (SELECT {0} FROM {1} WHERE 0 UNION ALL SELECT 'a ')"
            " SELECT count(*) FROM given WHERE value = 'A ' OR value = 'a'"
        )
        return [name for name in texts if self.fetch(probe.format(quote(name), quote(table)))[0][0]]

    def required(self, table: str) -> list[str]:
        rows = self.fetch('SELECT name FROM pragma_table_info(?) WHERE "notnull" AND dflt_value IS NULL', (table,))
        return [str(name) for (name,) in rows]

    def create(self, table: NewTable) -> None:
        parts = [
            _declared(column, required=column.name in table.key or not column.nullable) for column in table.columns
        ]
        if table.key:
            parts.append(f"PRIMARY KEY ({', '.join(quote(key) for key in table.key)})")
        # what a column means stands as a comment in the statement, which SQLite keeps with the table
        meaning = "; ".join(f"{column.name} = {column.comment}" for column in table.columns if column.comment)
        comment = f" /* {_comment(table.comment)} {_comment(meaning)} */" if meaning or table.comment else ""
        place = self.session_place(table.name) if table.role is Role.SESSION else quote(table.name)
        self.execute(f"CREATE TABLE {place} ({', '.join(parts)}{comment})")

    def add_columns(self, table: str, columns: Sequence[Column]) -> None:
        for column in columns:
            self.execute(f"ALTER TABLE {quote(table)} ADD COLUMN {_declared(column, required=False)}")

    def run_becomes_table(self, plan: DeliveryPlan, run: str) -> bool:
        if is_history(plan):
            return False
        self.execute(f"ALTER TABLE {quote(run)} RENAME TO {quote(plan.table)}")
        return True

    def create_changes(self, place: str, query: str, *, temporary: bool) -> None:
        self.execute(f"CREATE TABLE {place} AS {query}")

    def insert(self, place: str, rows: pa.Table) -> None:
        marks = ", ".join("?" * rows.num_columns)
        names = ", ".join(quote(name) for name in rows.schema.names)
        statement = f"INSERT INTO {place} ({names}) VALUES ({marks})"  # noqa: S608 -- quoted names
        for batch in rows.to_batches(max_chunksize=_INSERT_ROWS):
            self._connection.executemany(
                statement, zip(*(_stored(column, place) for column in batch.columns), strict=True)
            )

    def same(self, left: str, right: str, column: Column) -> str:
        collation = " COLLATE BINARY" if column.type is LogicalType.TEXT else ""
        return f"{left}{collation} IS {right}"

    def instant(self, text: str) -> str:
        return f"'{text}'"

    def delete_keys(self, table: str, keys: Sequence[str], place: str) -> str:
        names = ", ".join(keys)
        left = f"({names})" if len(keys) > 1 else names
        return f"DELETE FROM {table} WHERE {left} IN (SELECT {names} FROM {place})"  # noqa: S608 -- quoted names

    def spoils(self, there: Column, wanted: Column, value: str) -> str:
        """A column that is declared as neither text nor anything known (STRING, JSON) makes numbers of texts that look like some:
        compared with a number they are made one too, and what stays text is greater than any."""
        if wanted.type is LogicalType.TEXT and not keeps_text(there.native_type):
            return f"{value} <= CAST(9e999 AS NUMERIC)"
        return ""

    def loses(self, there: Column, wanted: Column) -> bool:
        if wanted.type is not LogicalType.DECIMAL or "TEXT" in there.native_type.upper():
            return False
        return (wanted.precision or EXACT_NUMERIC_DIGITS + 1) > EXACT_NUMERIC_DIGITS


def _comment(text: str) -> str:
    return text.replace("*/", "* /")


def _declared(column: Column, *, required: bool) -> str:
    return f"{quote(column.name)} {_type(column)}{' NOT NULL' if required else ''}"


def _type(column: Column) -> str:
    match column.type:
        case LogicalType.TEXT:
            return f"VARCHAR({column.length})" if column.length else "TEXT"
        case LogicalType.DECIMAL:
            wanted = arrow_type(column)
            return f"DECIMAL_TEXT({wanted.precision}, {wanted.scale})"  # text affinity: every digit stays
        case LogicalType.BINARY:
            return "BLOB"
        case _:
            return column.type.value.upper()


def _stored(values: pa.Array, table: str) -> list[Any]:
    """Python values as SQLite keeps them: dates, times and decimals as text, truth as 0 and 1."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    elif pa.types.is_decimal(values.type):
        values = plain_decimals(values)
    elif pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        values = values.cast(pa.string())
    elif pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
        raise TargetRefused(table=table, state="NaN")  # SQLite would store NULL
    stored: list[Any] = values.to_pylist()
    return stored
