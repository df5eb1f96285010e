"""Reading a MariaDB or MySQL table: streamed rows, by ranges of the key, by several readers where one instant can be had.

Two transactions with a consistent snapshot are two snapshots. They show the same only if nobody could commit between them: for
the moment in which the readers open theirs the table is locked (`LOCK TABLES … READ`, which the account must be allowed);
where it may not be, or the lock is not had at once, one reader reads.
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.cursors import SSCursor

from jinqiao.dataplane.connectors.base import ReadPlan, select_columns
from jinqiao.dataplane.connectors.mysql import Place, array_of, expression, quote, server_version, telling, where_clause
from jinqiao.dataplane.connectors.protection import OBJECT_ROWS, Throttle, timeout_of
from jinqiao.dataplane.connectors.ranges import bounds_of, key_ranges, window_is_split
from jinqiao.dataplane.connectors.snapshots import WHOLE, Reader, Snapshot, SnapshotState
from jinqiao.kernel.contracts.tables import LogicalType, TableSchema
from jinqiao.kernel.errors import JinqiaoError

SINGLE, SHARED = "repeatable read, consistent snapshot", "consistent snapshots opened under a table lock"
LOCK_WAIT_S = 2  # longer, and writers of the source would queue behind us
_SETTLED_S = 2  # a table changed less than this ago may be changed again within the same second


class MysqlReader(Reader):
    """One connection in one read-only transaction with a consistent snapshot, opened at the first reading or by `begin`."""

    def __init__(self, place: Place, plan: ReadPlan, schema: TableSchema, throttle: Throttle | None = None) -> None:
        self._place, self._plan, self._schema = place, plan, schema
        self._columns = select_columns(schema, plan.columns)
        self._where, self._values = where_clause(plan.row_filter, schema)
        self._timeout_s = timeout_of(plan, schema.row_estimate)
        self._throttle = throttle or Throttle(plan)
        self._connection: pymysql.Connection[Any] | None = None

    def begin(self) -> "pymysql.Connection[Any]":
        if self._connection is None:
            connection = self._place.connect(read_timeout_s=self._timeout_s + 30)
            with telling(self._plan.table), connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                if "MariaDB" in server_version(connection):
                    cursor.execute("SET SESSION max_statement_time = %s", (self._timeout_s,))
                else:
                    cursor.execute("SET SESSION max_execution_time = %s", (self._timeout_s * 1000,))
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            self._connection = connection
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(pymysql.Error, OSError):
                self._connection.close()
            self._connection = None

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        connection = self.begin()
        statement, values = self._statement(split)
        names = [column.name for column in self._columns]
        cursor = SSCursor(connection)
        finished = False
        try:
            with telling(self._plan.table):
                cursor.execute(statement, values)
            while True:
                with telling(self._plan.table):
                    rows = cursor.fetchmany(min(self._throttle.batch_rows, OBJECT_ROWS))
                if not rows:
                    finished = True
                    return
                arrays = [
                    array_of(list(given), column)
                    for given, column in zip(zip(*rows, strict=True), self._columns, strict=True)
                ]
                batch = pa.RecordBatch.from_arrays(arrays, names=names)
                yield batch
                self._throttle.took(batch)
        finally:
            if connection.open:
                if not finished:
                    self._abandon(connection)
                with contextlib.suppress(pymysql.Error, OSError):
                    cursor.close()
            else:
                _forget(cursor)

    def _statement(self, split: str) -> tuple[str, tuple[Any, ...]]:
        where, values = self._where, list(self._values)
        if split != WHOLE:
            key = quote(split_key(self._schema))
            for mark, bound in zip((">=", "<"), bounds_of(split), strict=True):
                if bound is not None:
                    where += f"{' AND' if where else ' WHERE'} {key} {mark} %s"
                    values.append(bound)
        chosen = ", ".join(f"{expression(column)} AS {quote(column.name)}" for column in self._columns)
        order = ", ".join(quote(name) for name in self._plan.order_by)
        return (
            f"SELECT {chosen} FROM {quote(self._plan.table)}{where}" + (f" ORDER BY {order}" if order else ""),  # noqa: S608
            tuple(values),
        )

    def _abandon(self, connection: "pymysql.Connection[Any]") -> None:
        """Stop the statement at the server: otherwise closing the cursor would read all that is left of it."""
        with (
            contextlib.suppress(JinqiaoError, pymysql.Error),
            closing(self._place.connect(read_timeout_s=10)) as other,
            other.cursor() as cursor,
        ):
            cursor.execute("KILL QUERY %s", (connection.thread_id(),))


def _forget(cursor: SSCursor) -> None:
    """Let go of a cursor whose connection is gone: closing it would try to read the rest of its rows."""
    result = cursor._result
    if result is not None:
        result.unbuffered_active = False
        result.connection = None
    cursor._result = None


def split_key(schema: TableSchema) -> str:
    """The column by whose ranges a table is read: a primary key of one whole number; empty where there is none."""
    keys = [column for column in schema.columns if column.primary_key]
    return keys[0].name if len(keys) == 1 and keys[0].type is LogicalType.INTEGER else ""


class MysqlSnapshot(Snapshot):
    """Opens the transactions of all its readers at once."""

    def __init__(
        self,
        place: Place,
        plan: ReadPlan,
        schema: TableSchema,
        *,
        parallel: int,
        resume: SnapshotState | None,
        chunk_rows: int,
    ) -> None:
        self._plan, self._schema = plan, schema
        throttle = Throttle(plan)
        self._readers = [MysqlReader(place, plan, schema, throttle)]
        self._lock = threading.Lock()
        try:
            kind = SINGLE
            if parallel > 1 and split_key(schema) and not plan.order_by:
                more = [MysqlReader(place, plan, schema, throttle) for _ in range(parallel - 1)]
                if self._begin_under_lock(place, [*self._readers, *more]):
                    self._readers.extend(more)
                    kind = SHARED
            connection = self._readers[0].begin()
            splits, token = self._splits(connection, chunk_rows), self._token(connection)
        except BaseException:
            self.close()
            raise
        self.resumed = resume is not None and bool(token) and resume.token == token
        if resume is not None and self.resumed:
            splits = resume.splits
        self.readers = min(len(self._readers), len(splits))
        self.state = SnapshotState(kind if self.readers > 1 else SINGLE, token, splits)
        self._free = list(self._readers)

    def reader(self) -> Reader:
        with self._lock:
            return _Lent(self._free.pop(), self._free)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()

    def _begin_under_lock(self, place: Place, readers: list[MysqlReader]) -> bool:
        """All readers see the same; False where the lock is not to be had, and then none has begun."""
        try:
            with closing(place.connect(read_timeout_s=LOCK_WAIT_S + 10)) as locker, locker.cursor() as cursor:
                cursor.execute("SET SESSION lock_wait_timeout = %s", (LOCK_WAIT_S,))
                cursor.execute(f"LOCK TABLES {quote(self._plan.table)} READ", ())
                for reader in readers:
                    reader.begin()
                cursor.execute("UNLOCK TABLES")
        except (pymysql.Error, JinqiaoError):
            for reader in readers:
                reader.close()
            return False
        return True

    def _splits(self, connection: "pymysql.Connection[Any]", chunk_rows: int) -> tuple[str, ...]:
        key = split_key(self._schema)
        if not key or self._plan.order_by:
            return (WHOLE,)
        where, values = where_clause(self._plan.row_filter, self._schema) if self._plan.is_window else ("", ())
        with telling(self._plan.table), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT min({quote(key)}), max({quote(key)}), {'count(*)' if where else 0}"  # noqa: S608 -- quoted names
                f" FROM {quote(self._plan.table)}{where}",
                tuple(values),
            )
            row = cursor.fetchone()
        first, last, rows = (None if value is None else int(value) for value in (row or (None, None, 0)))
        if not where:
            return key_ranges(first, last, self._schema.row_estimate, chunk_rows)
        if first is None or last is None or not window_is_split(rows or 0, last - first + 1, chunk_rows):
            return (WHOLE,)
        return key_ranges(first, last, rows, chunk_rows)

    def _token(self, connection: "pymysql.Connection[Any]") -> str:
        """When the table was last committed to, since the server was started; empty where that is not known or too fresh."""
        with telling(self._plan.table), connection.cursor() as cursor:
            cursor.execute(
                "SELECT t.update_time, t.create_time, t.engine, t.update_time < NOW() - INTERVAL %s SECOND, @@server_id,"
                " DATABASE() FROM information_schema.tables t"
                " WHERE t.table_schema = DATABASE() AND t.table_name = %s",
                (_SETTLED_S, self._plan.table),
            )
            row = cursor.fetchone()
        if row is None or row[0] is None or not int(row[3] or 0):
            return ""
        return "/".join(str(part) for part in (*row[:3], *row[4:]))


class _Lent(Reader):
    """A reader of the snapshot, given back when it is closed: its transaction must outlive the thread that used it."""

    def __init__(self, reader: MysqlReader, free: list[MysqlReader]) -> None:
        self._reader, self._free = reader, free

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        return self._reader.read(split)

    def close(self) -> None:
        if self._reader not in self._free:
            self._free.append(self._reader)
