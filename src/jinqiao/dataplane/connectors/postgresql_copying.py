"""Reading a PostgreSQL table in its own binary form: the tuples of binary COPY, of which nothing is looked at.

`pq.PGconn.get_copy_data` is asked directly: through `Cursor.copy` each row costs three times as much. It is asked for what is there
already; to wait is left to the socket, during which other threads work. (Where it waits itself it keeps the interpreter's lock.)
"""

import select
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import pq

from jinqiao.dataplane.connectors.postgresql import begin_reading, telling, translated
from jinqiao.dataplane.connectors.postgresql_reading import Query
from jinqiao.dataplane.connectors.protection import Throttle
from jinqiao.dataplane.connectors.snapshots import RawReader, Tuples
from jinqiao.kernel.contracts.tables import Column, LogicalType

WAIT_MS = 100  # then: is the reading to end, and has TLS something that the socket does not show?
_HEADER_BYTES = 19  # signature, flags and extension length of binary COPY
_END_BYTES = 2  # of the mark behind the last tuple; a tuple has more
_NO_VALUE = 0xFF  # last octet of the length -1
_FIRST_DAY = (date.min - date(1970, 1, 1)).days
# types of binary COPY, what a value has to be moved by to count from 1970 (PostgreSQL counts from 2000), and the first of year 1
_MARK_FORMS: dict[LogicalType, tuple[str, int, int]] = {
    LogicalType.INTEGER: (">i8", 0, -(2**63)),
    LogicalType.DATE: (">i4", 10_957, _FIRST_DAY),
    LogicalType.DATETIME: (">i8", 946_684_800_000_000, _FIRST_DAY * 86_400_000_000),
}


class _Marks:
    """Takes the mark, which comes as first value, off each tuple."""

    def __init__(self, column: Column, values: int) -> None:
        """`column` is a whole number, a date or a time; `values` how many belong to the row."""
        form, self._epoch, self._least = _MARK_FORMS[column.type]
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
        # -infinity and infinity stay the ends of the scale
        numbers[(numbers > first) & (numbers < last)] += self._epoch
        # what lies before the year 1, which no cursor can name, is no mark
        missing = numbers < self._least
        missing[self._nulls] = True
        tuples = Tuples(piece, rows, pa.array(numbers, mask=missing), self._ends)
        self.begin()
        return tuples


class _Stream:
    """The tuples of one COPY that has begun."""

    def __init__(self, pgconn: pq.abc.PGconn, marks: _Marks | None, throttle: Throttle) -> None:
        self._pgconn, self._marks, self._throttle = pgconn, marks, throttle
        self._poll = select.poll()
        self._poll.register(pgconn.socket, select.POLLIN)
        self._header = _HEADER_BYTES
        self.ended = False

    def piece(self, most_bytes: int, most_rows: int) -> Tuples:
        """The next tuples, about so many; none at the end. A message of the protocol is one of them. Raises psycopg.Error, RunStopped."""
        get, piece, rows = self._pgconn.get_copy_data, bytearray(), 0
        add = bytearray.__iadd__ if self._marks is None else self._marks.add
        while rows < most_rows and len(piece) < most_bytes:
            size, data = get(1)
            if size > _END_BYTES:
                if self._header:
                    data, self._header = data[self._header :], 0
                    if len(data) == _END_BYTES:
                        continue
                add(piece, data)
                rows += 1
            elif size == 0:
                self._wait()
            elif size < 0:
                self.ended = True
                break
        return Tuples(piece, rows) if self._marks is None else self._marks.told(piece, rows)

    def _wait(self) -> None:
        if not self._poll.poll(WAIT_MS):
            self._throttle.passed(0)
        self._pgconn.consume_input()


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
                begin_reading(self._connection, self._snapshot)
                query.prepare(self._connection)
        return self._connection

    def copy(self, split: str) -> Iterator[Tuples]:
        """Pieces of about PIECE_BYTES, of a window about WINDOW_BYTES."""
        query, pgconn, mark = self._query, self._opened().pgconn, self._mark
        columns = self._columns if mark is None else (mark.name, *self._columns)
        pgconn.send_query(query.raw_statement(columns, split).encode())
        self._expect(pgconn, pq.ExecStatus.COPY_OUT)
        stream = _Stream(pgconn, None if mark is None else _Marks(mark, len(self._columns)), query.throttle)
        try:
            while True:
                with telling(query.plan.table):
                    tuples = stream.piece(query.piece_bytes, query.throttle.batch_rows)
                if stream.ended:
                    self._end(pgconn)
                if tuples.rows:
                    yield tuples
                    query.throttle.passed(tuples.rows, len(tuples.data))
                if stream.ended:
                    return
        finally:
            if not stream.ended:
                self._broken()

    def _end(self, pgconn: pq.abc.PGconn) -> None:
        """Nothing more comes: was that the whole of it?"""
        self._expect(pgconn, pq.ExecStatus.COMMAND_OK)
        if pgconn.get_result() is not None:
            self._broken()

    def _expect(self, pgconn: pq.abc.PGconn, status: int) -> None:
        result = pgconn.get_result()
        if result is None or result.status != status:
            state = result.error_field(pq.DiagnosticField.SQLSTATE) if result is not None else None
            self._broken()
            raise translated(state.decode() if state else None, table=self._query.plan.table)
