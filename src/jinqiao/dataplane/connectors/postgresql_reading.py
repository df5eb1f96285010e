"""Reading a PostgreSQL table: the statement of a plan, split by split, as Arrow (ADBC) or as raw binary COPY.

A split is a range of blocks of the table, `10:20` (from block 10, before block 20) or `20:` (to the end): every row of a
snapshot stands in exactly one block, so the splits of one snapshot hold each row once, whatever keys the table has.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import pq

from jinqiao.dataplane.connectors.base import ReadPlan, select_columns
from jinqiao.dataplane.connectors.postgresql import (
    Place,
    quote,
    statement,
    telling,
    telling_adbc,
    translated,
    where_clause,
)
from jinqiao.dataplane.connectors.postgresql_connections import AdbcSession, Connections
from jinqiao.dataplane.connectors.protection import Throttle, timeout_of
from jinqiao.dataplane.connectors.snapshots import WHOLE, RawReader, Reader, Tuples
from jinqiao.kernel.contracts.tables import Column, LogicalType, TableSchema

PIECE_BYTES = 4 << 20
WINDOW_BYTES = 1 << 20  # few rows in all: those that are here are worked on while the next are on their way
_HEADER_BYTES = 19  # signature, flags and extension length of binary COPY
_END = b"\xff\xff"
_NO_VALUE = 0xFF  # last octet of the length -1
# types of binary COPY, and what a value has to be moved by to count from 1970: PostgreSQL counts from 2000
_MARK_FORMS: dict[LogicalType, tuple[str, int]] = {
    LogicalType.INTEGER: (">i8", 0),
    LogicalType.DATE: (">i4", 10_957),
    LogicalType.DATETIME: (">i8", 946_684_800_000_000),
}


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
                    session.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
                session.execute(f"SET LOCAL statement_timeout = {query.timeout_s * 1000}")
                binding, values = query.bind()
                if binding:
                    session.execute(binding, tuple(values))
        return self._session

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        query, session = self._query, self._opened()
        deadline = time.monotonic() + query.timeout_s
        with ExitStack() as opened:
            piece_bytes = WINDOW_BYTES if query.plan.is_window else PIECE_BYTES
            with telling_adbc(query.plan.table, deadline):
                reader = opened.enter_context(session.rows(query.statement(split), piece_bytes))
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


class _Marks:
    """Takes the mark, which comes as first value, off each tuple."""

    def __init__(self, column: Column, values: int) -> None:
        """`column` is a whole number, a date or a time; `values` how many belong to the row."""
        form, self._epoch = _MARK_FORMS[column.type]
        self._type = np.dtype(form)
        self._head = values.to_bytes(2, "big")
        self._behind = 6 + self._type.itemsize  # number of values, length of the first one, the first one
        self._blank = bytes(self._behind - 6)
        self.begin()

    def begin(self) -> None:
        self._octets, self._nulls, self._ends = bytearray(), list[int](), [0]

    def add(self, piece: bytearray, row: memoryview) -> None:
        piece += self._head
        if row[5] == _NO_VALUE:
            self._nulls.append(len(self._ends) - 1)
            self._octets += self._blank
            piece += row[6:]
        else:
            self._octets += row[6 : self._behind]
            piece += row[self._behind :]
        self._ends.append(len(piece))

    def told(self, piece: bytearray, rows: int) -> Tuples:
        """The rows of a piece, after which the next one begins."""
        numbers = np.frombuffer(self._octets, self._type).astype(np.int64)
        first, last = np.iinfo(self._type).min, np.iinfo(self._type).max
        numbers[(numbers > first) & (numbers < last)] += (
            self._epoch
        )  # -infinity and infinity stay the ends of the scale
        missing = np.zeros(len(numbers), bool)
        missing[self._nulls] = True
        tuples = Tuples(piece, rows, pa.array(numbers, mask=missing), self._ends)
        self.begin()
        return tuples


class CopyReader(RawReader):
    """Tuples of binary COPY over one connection; nothing of a row is looked at, but for its mark where one is wanted."""

    def __init__(
        self,
        query: Query,
        columns: Sequence[str],
        snapshot: str = "",
        *,
        mark: str = "",
        lent: "psycopg.Connection[tuple[Any, ...]] | None" = None,
    ) -> None:
        """`mark` is a column of a whole number, a date or a time. `lent` is a connection in a transaction that sees the snapshot."""
        self._query, self._columns, self._snapshot = query, tuple(columns), snapshot
        self._mark = next((column for column in query.schema.columns if column.name == mark), None)
        self._lent = lent
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        if self._connection is not None and self._connection is not self._lent:
            self._connection.close()
        self._connection = None

    def _broken(self) -> None:
        """In the middle of a COPY nothing else can be asked of a connection, whoever's it is."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> "psycopg.Connection[tuple[Any, ...]]":
        query = self._query
        if self._connection is None and self._lent is not None:
            self._connection = self._lent
            with telling(query.plan.table):
                query.prepare(self._connection)
        elif self._connection is None:
            self._connection = query.place.connect()
            with telling(query.plan.table):
                self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                if self._snapshot:
                    self._connection.execute(statement(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'"))
                query.prepare(self._connection)
        return self._connection

    def copy(self, split: str) -> Iterator[Tuples]:
        """Pieces of about PIECE_BYTES. A message of the protocol is one row, so that rows are counted as they come.

        `pq.PGconn.get_copy_data` is asked directly: through `Cursor.copy` each row costs three times as much.
        """
        query, connection = self._query, self._opened()
        pgconn, mark = connection.pgconn, self._mark
        columns = self._columns if mark is None else (mark.name, *self._columns)
        pgconn.send_query(query.raw_statement(columns, split).encode())
        self._expect(pgconn, pq.ExecStatus.COPY_OUT)
        get, throttle = pgconn.get_copy_data, query.throttle
        marks = None if mark is None else _Marks(mark, len(self._columns))
        add = bytearray.extend if marks is None else marks.add
        piece, rows, header, ended = bytearray(), 0, _HEADER_BYTES, False
        try:
            while True:
                size, data = self._told(pgconn, get)
                if size < 0:
                    break
                if header:
                    data, header = data[header:], 0
                if len(data) == len(_END):
                    continue  # the end mark, which is no row
                add(piece, data)
                rows += 1
                if len(piece) >= PIECE_BYTES or rows >= throttle.batch_rows:
                    yield Tuples(piece, rows) if marks is None else marks.told(piece, rows)
                    throttle.passed(rows, len(piece))
                    piece, rows = bytearray(), 0
            ended = True
        finally:
            if not ended:
                self._broken()
        self._expect(pgconn, pq.ExecStatus.COMMAND_OK)
        if pgconn.get_result() is not None:
            self._broken()
        if rows:
            yield Tuples(piece, rows) if marks is None else marks.told(piece, rows)
            throttle.passed(rows, len(piece))

    def _told(self, pgconn: pq.abc.PGconn, get: Any) -> tuple[int, Any]:
        try:
            return get(0)  # type: ignore[no-any-return]
        except psycopg.Error as problem:
            raise translated(problem.sqlstate, table=self._query.plan.table, text=str(problem)) from None

    def _expect(self, pgconn: pq.abc.PGconn, status: int) -> None:
        result = pgconn.get_result()
        if result is None or result.status != status:
            state = result.error_field(pq.DiagnosticField.SQLSTATE) if result is not None else None
            self._broken()
            raise translated(state.decode() if state else None, table=self._query.plan.table)
