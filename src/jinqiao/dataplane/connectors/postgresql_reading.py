"""Reading a PostgreSQL table: the statement of a plan, split by split, as Arrow (ADBC) or as raw binary COPY.

A split is a range of blocks of the table, `10:20` (from block 10, before block 20) or `20:` (to the end): every row of a
snapshot stands in exactly one block, so the splits of one snapshot hold each row once, whatever keys the table has.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, select_columns
from jinqiao.dataplane.connectors.postgresql import (
    Place,
    quote,
    statement,
    telling_adbc,
    telling_of_snapshot,
    waiting_settings,
    where_clause,
)
from jinqiao.dataplane.connectors.postgresql_connections import AdbcSession, Connections
from jinqiao.dataplane.connectors.protection import Throttle, timeout_of
from jinqiao.dataplane.connectors.snapshots import WHOLE, Reader
from jinqiao.kernel.contracts.tables import LogicalType, TableSchema

PIECE_BYTES = 4 << 20
WINDOW_BYTES = 1 << 20  # few rows in all: those that are here are worked on while the next are on their way


@dataclass(slots=True)
class Query:
    """What one plan asks of one table."""

    connections: Connections
    plan: ReadPlan
    schema: TableSchema
    expressions: dict[str, str]  # column → the expression that reads it exactly
    throttle: Throttle
    where: str = field(init=False)
    settings: list[str] = field(init=False)
    timeout_s: int = field(init=False)

    def __post_init__(self) -> None:
        select_columns(self.schema, self.plan.columns)
        self.where, self.settings = where_clause(self.plan.row_filter, self.schema)
        self.timeout_s = timeout_of(self.plan, self.schema.row_estimate)

    @property
    def piece_bytes(self) -> int:
        """Of rows that are handed on together."""
        return WINDOW_BYTES if self.plan.is_window else PIECE_BYTES

    @property
    def place(self) -> Place:
        return self.connections.place

    def statement(self, split: str = WHOLE) -> str:
        chosen = ", ".join(f"{self.expressions[name]} AS {quote(name)}" for name in self.plan.columns)
        return self._select(chosen, split)

    def raw_statement(self, columns: Sequence[str], split: str = WHOLE) -> str:
        """Binary COPY of `columns` (they may repeat), whole numbers widened to bigint."""
        return f"COPY ({self._select(self._portable(columns), split)}) TO STDOUT (FORMAT binary)"

    def hash_statement(self, columns: Sequence[str], seed: int) -> str:
        """Rows and the sum of their hashes. Values are hashed in the types in which they travel."""
        hashed = f"hash_record_extended(ROW({self._portable(columns)}), {int(seed)})"
        return self._select(f"count(*), coalesce(sum({hashed}), 0)", WHOLE, ordered=False)

    def window_statement(self, chosen: str) -> str:
        """Something about all the rows that the filter lets through."""
        return self._select(chosen, WHOLE, ordered=False)

    def _portable(self, columns: Sequence[str]) -> str:
        whole = {column.name for column in self.schema.columns if column.type is LogicalType.INTEGER}
        return ", ".join(self.expressions[name] + ("::bigint" if name in whole else "") for name in columns)

    def _select(self, chosen: str, split: str, *, ordered: bool = True) -> str:
        where = self.where
        if split != WHOLE:
            first, end = split.split(":")
            bounds = [f"ctid >= '({int(first)},0)'::tid"] + ([f"ctid < '({int(end)},0)'::tid"] if end else [])
            where += (" AND " if where else " WHERE ") + " AND ".join(bounds)
        order = ", ".join(quote(name) for name in self.plan.order_by if ordered)
        return f"SELECT {chosen} FROM {self.place.quoted(self.plan.table)}{where}" + (  # noqa: S608 -- quoted names
            f" ORDER BY {order}" if order else ""
        )

    def bind(self) -> tuple[str, list[str]]:
        """A statement that gives the filter's values to the transaction; empty where there are none. Marks are `$1`, `$2` …"""
        if not self.settings:
            return "", []
        given = ", ".join(f"set_config('jinqiao.p{at}', ${at}, true)" for at in range(1, len(self.settings) + 1))
        return f"SELECT {given}", self.settings

    def prepare(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        """Time limit and values of the filter, in the transaction that has begun."""
        connection.execute(statement(f"SET LOCAL statement_timeout = {self.timeout_s * 1000}"))
        if self.settings:
            marks = ", ".join(f"set_config('jinqiao.p{at}', %s, true)" for at in range(1, len(self.settings) + 1))
            connection.execute(statement(f"SELECT {marks}"), self.settings)


class AdbcReader(Reader):
    """Arrow batches over one connection, in one read-only transaction that sees `snapshot` (or one of its own)."""

    def __init__(self, query: Query, snapshot: str = "") -> None:
        self._query, self._snapshot = query, snapshot
        self._session: AdbcSession | None = None

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _opened(self) -> AdbcSession:
        if self._session is None:
            query, session = self._query, self._query.connections.adbc()
            self._session = session
            with telling_adbc(query.plan.table):
                session.begin()
                session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if self._snapshot:
                    with telling_of_snapshot():
                        session.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
                for setting in waiting_settings():
                    session.execute(setting)
                session.execute(f"SET LOCAL statement_timeout = {query.timeout_s * 1000}")
                binding, values = query.bind()
                if binding:
                    session.execute(binding, tuple(values))
        return self._session

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        query, session = self._query, self._opened()
        deadline = time.monotonic() + query.timeout_s
        with ExitStack() as opened:
            with telling_adbc(query.plan.table, deadline):
                reader = opened.enter_context(session.rows(query.statement(split), query.piece_bytes))
            while True:
                try:
                    with telling_adbc(query.plan.table, deadline):
                        batch = reader.read_next_batch()
                except StopIteration:
                    return
                start = 0
                while start < batch.num_rows:
                    piece = batch.slice(start, query.throttle.batch_rows)
                    start += piece.num_rows
                    yield piece
                    query.throttle.took(piece)
