"""PostgreSQL as a target: binary COPY into the run table, DDL and merge in ordinary transactions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.ledger import LedgerTarget
from jinqiao.dataplane.connectors.postgresql import Place, quote, read_catalogue, statement, telling
from jinqiao.dataplane.connectors.values import arrow_type
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType

_COPY_ROWS = 20_000
_TYPES = {
    LogicalType.TEXT: "text",
    LogicalType.INTEGER: "bigint",
    LogicalType.DOUBLE: "double precision",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.DATE: "date",
    LogicalType.DATETIME: "timestamp",
    LogicalType.BINARY: "bytea",
}


class PostgresqlTarget(LedgerTarget):
    engine: ClassVar[Engine] = Engine.POSTGRESQL
    placeholder = "%s"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._place = Place(connection, password)
        self._opened: psycopg.Connection[tuple[Any, ...]] | None = None

    @property
    def _connection(self) -> "psycopg.Connection[tuple[Any, ...]]":
        if self._opened is None:
            self._opened = self._place.connect()
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def test(self) -> str:
        with telling():
            row = self._connection.execute("SELECT current_setting('server_version')").fetchone()
        return f"PostgreSQL {row[0] if row else ''}"

    def quoted(self, table: str) -> str:
        return self._place.quoted(table)

    def quoted_column(self, name: str) -> str:
        return quote(name)

    def execute(self, text: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement(text), values or None).rowcount

    def fetch(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement(text), values or None).fetchall()

    @contextmanager
    def transaction(self, table: str = "") -> Iterator[None]:
        with telling(table), self._connection.transaction():
            yield

    def existing(self, table: str) -> tuple[Column, ...] | None:
        found = read_catalogue(self._connection, self._place, table)
        return found[0][0].columns if found else None

    def create(self, table: str, plan: DeliveryPlan, *, as_run_table: bool) -> None:
        # An unlogged table is emptied when its server crashes; `prepare` notices. One that becomes the target is logged.
        unlogged = "UNLOGGED " if as_run_table and self.existing(plan.table) is not None else ""
        parts = [
            f"{quote(column.name)} {_type(column)}{'' if column.nullable else ' NOT NULL'}" for column in plan.columns
        ]
        if plan.keys and not as_run_table:
            parts.append(f"PRIMARY KEY ({', '.join(quote(key) for key in plan.keys)})")
        name = self.quoted(table)
        self.execute(f"CREATE {unlogged}TABLE {name} ({', '.join(parts)})")
        if plan.comment:
            self.execute(f"COMMENT ON TABLE {name} IS {self._text(plan.comment)}")
        for column in plan.columns:
            if column.comment:
                self.execute(f"COMMENT ON COLUMN {name}.{quote(column.name)} IS {self._text(column.comment)}")

    def _text(self, text: str) -> str:
        return psycopg.sql.Literal(text).as_string(self._connection)

    def run_becomes_table(self, plan: DeliveryPlan, run: str) -> bool:
        schema, name = self._place.split(plan.table)
        if schema != self._place.schema:
            self.execute(f"ALTER TABLE {self.quoted(run)} SET SCHEMA {quote(schema)}")
        self.execute(f"ALTER TABLE {quote(schema)}.{quote(run)} RENAME TO {quote(name)}")
        if plan.keys:
            self.execute(
                f"ALTER TABLE {self.quoted(plan.table)} ADD PRIMARY KEY ({', '.join(quote(key) for key in plan.keys)})"
            )
        return True

    def before_merge(self, plan: DeliveryPlan, run: str) -> None:
        if self.existing(plan.table) is not None:
            # others may read on, nobody else writes until the batch is visible
            self.execute(f"LOCK TABLE {self.quoted(plan.table)} IN SHARE ROW EXCLUSIVE MODE")
            self.execute(f"ANALYZE {self.quoted(run)}")

    def insert(self, table: str, rows: pa.Table) -> None:
        encoder = ArrowToPostgresBinaryEncoder(rows.schema)
        names = ", ".join(quote(name) for name in rows.schema.names)
        copy = f"COPY {self.quoted(table)} ({names}) FROM STDIN (FORMAT binary)"
        with self._connection.cursor() as cursor, cursor.copy(statement(copy)) as stream:
            stream.write(encoder.write_header())
            for batch in rows.to_batches(max_chunksize=_COPY_ROWS):
                stream.write(encoder.write_batch(batch))
            stream.write(encoder.finish())

    def same(self, left: str, right: str, column: Column) -> str:
        return f"{left} IS NOT DISTINCT FROM {right}"

    def update_statement(self, table: str, run: str, matched: str, changed: str, columns: Sequence[str]) -> str:
        given = ", ".join(f"{name} = r.{name}" for name in columns)
        return f"UPDATE {table} AS t SET {given} FROM {run} AS r WHERE {matched} AND {changed}"  # noqa: S608


def _type(column: Column) -> str:
    if column.type is LogicalType.TEXT and column.length:
        return f"varchar({column.length})"
    if column.type is LogicalType.DECIMAL:
        wanted = arrow_type(column)
        return f"numeric({wanted.precision}, {wanted.scale})"
    return _TYPES[column.type]
