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
from jinqiao.dataplane.connectors.sqlite import BUSY_TIMEOUT_S, columns_of, quote, telling
from jinqiao.dataplane.connectors.values import arrow_type, plain_decimals
from jinqiao.dataplane.errors import DatabaseMissing, TargetRefused
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

# NUMERIC affinity keeps no more decimal digits than a double
EXACT_NUMERIC_DIGITS = 15
_INSERT_ROWS = 20_000


class SqliteTarget(LedgerTarget):
    engine: ClassVar[Engine] = Engine.SQLITE

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        path = Path(connection.database)
        if not path.parent.is_dir():
            raise DatabaseMissing(database=path.name)
        with telling():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA cache_size = -65536")

    def close(self) -> None:
        self._connection.close()

    def test(self) -> str:
        with telling():
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return f"SQLite {sqlite3.sqlite_version}"

    def quoted(self, table: str) -> str:
        return quote(table)

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

    def create(self, table: str, plan: DeliveryPlan, *, as_run_table: bool) -> None:
        parts = [
            f"{quote(column.name)} {_type(column)}{'' if column.nullable else ' NOT NULL'}" for column in plan.columns
        ]
        if plan.keys:
            parts.append(f"PRIMARY KEY ({', '.join(quote(key) for key in plan.keys)})")
        # what a column means stands as a comment in the statement, which SQLite keeps with the table
        meaning = "; ".join(f"{column.name} = {column.comment}" for column in plan.columns if column.comment)
        comment = f" /* {_comment(plan.comment)} {_comment(meaning)} */" if meaning or plan.comment else ""
        self._connection.execute(f"CREATE TABLE {quote(table)} ({', '.join(parts)}{comment})")

    def run_becomes_table(self, plan: DeliveryPlan, run: str) -> bool:
        self._connection.execute(f"ALTER TABLE {quote(run)} RENAME TO {quote(plan.table)}")
        return True

    def insert(self, table: str, rows: pa.Table) -> None:
        marks = ", ".join("?" * rows.num_columns)
        names = ", ".join(quote(name) for name in rows.schema.names)
        statement = f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})"  # noqa: S608 -- quoted names
        for batch in rows.to_batches(max_chunksize=_INSERT_ROWS):
            self._connection.executemany(
                statement, zip(*(_stored(column, table) for column in batch.columns), strict=True)
            )

    def same(self, left: str, right: str, column: Column) -> str:
        return f"{left} IS {right}"

    def update_statement(self, table: str, run: str, matched: str, changed: str, columns: Sequence[str]) -> str:
        given = ", ".join(f"{name} = r.{name}" for name in columns)
        return f"UPDATE {table} AS t SET {given} FROM {run} AS r WHERE {matched} AND {changed}"  # noqa: S608

    def refuse_column(self, there: Column, wanted: Column) -> bool:
        if wanted.type is not LogicalType.DECIMAL or "TEXT" in there.native_type.upper():
            return False
        return (wanted.precision or EXACT_NUMERIC_DIGITS + 1) > EXACT_NUMERIC_DIGITS


def _comment(text: str) -> str:
    return text.replace("*/", "* /")


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
