"""One read transaction of SQLite, read by ranges of the rowid.

The transaction belongs to one connection and dies with it; but as long as no commit touched the file, a new one shows the
same (`SqliteSource.state_token`), and a killed extraction goes on.
"""

import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, select_columns
from jinqiao.dataplane.connectors.protection import OBJECT_ROWS, Throttle, timeout_of
from jinqiao.dataplane.connectors.ranges import bounds_of, key_ranges, window_is_split
from jinqiao.dataplane.connectors.snapshots import WHOLE, Reader, Snapshot, SnapshotState
from jinqiao.dataplane.connectors.sqlite import SqliteSource, array_of, quote, telling, where_clause
from jinqiao.kernel.contracts.tables import TableSchema


def row_number(schema: TableSchema) -> str:
    """A name of the number that SQLite gives each row; empty where columns of the table take all of them."""
    taken = {column.name.lower() for column in schema.columns}
    return next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), "")


class SqliteReader(Reader):
    """Reads over a connection that is somebody else's; the read transaction begins with the first statement."""

    def __init__(self, connection: sqlite3.Connection, plan: ReadPlan, schema: TableSchema) -> None:
        self._connection, self._plan = connection, plan
        self._schema, self._columns = schema, select_columns(schema, plan.columns)
        self._where, self._values = where_clause(plan.row_filter, schema)
        self._throttle = Throttle(plan)
        self._timeout_s = timeout_of(plan, schema.row_estimate)

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        plan, connection = self._plan, self._connection
        deadline = time.monotonic() + self._timeout_s
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        statement, values = self._statement(split)
        names = [column.name for column in self._columns]
        with telling(plan.table):
            if not connection.in_transaction:
                connection.execute("BEGIN")
            cursor = connection.execute(statement, values)
        while True:
            with telling(plan.table):
                rows = cursor.fetchmany(min(self._throttle.batch_rows, OBJECT_ROWS))
            if not rows:
                return
            arrays = [
                array_of(list(given), column)
                for given, column in zip(zip(*rows, strict=True), self._columns, strict=True)
            ]
            batch = pa.RecordBatch.from_arrays(arrays, names=names)
            yield batch
            self._throttle.took(batch)

    def _statement(self, split: str) -> tuple[str, list[Any]]:
        where, values = self._where, list(self._values)
        if split != WHOLE:
            for mark, bound in zip((">=", "<"), bounds_of(split), strict=True):
                if bound is not None:
                    where += f"{' AND' if where else ' WHERE'} {row_number(self._schema)} {mark} ?"
                    values.append(bound)
        order = ", ".join(quote(name) for name in self._plan.order_by)
        return (
            f"SELECT {', '.join(quote(column.name) for column in self._columns)} FROM {quote(self._plan.table)}{where}"  # noqa: S608
            + (f" ORDER BY {order}" if order else ""),
            values,
        )


class SqliteSnapshot(Snapshot):
    """Opens the transaction at once, so that everything read afterwards is of this instant."""

    def __init__(self, source: SqliteSource, plan: ReadPlan, *, resume: SnapshotState | None, chunk_rows: int) -> None:
        self._plan, self._schema = plan, source.schema(plan.table)
        before = source.state_token(plan.table)
        self._connection = source.connect()
        try:
            with telling(plan.table):
                self._connection.execute("BEGIN")
                splits = self._splits(chunk_rows)
            after = source.state_token(plan.table)
        except BaseException:
            self._connection.close()
            raise
        token = before if before is not None and before == after else ""
        self.resumed = resume is not None and bool(token) and resume.token == token
        if resume is not None and self.resumed:
            splits = resume.splits
        self.state = SnapshotState(source.snapshot, token, splits)

    def reader(self) -> SqliteReader:
        return SqliteReader(self._connection, self._plan, self._schema)

    def close(self) -> None:
        self._connection.close()

    def _splits(self, chunk_rows: int) -> tuple[str, ...]:
        """Reads at least once, which fixes the instant. A view, or a table without rowid, is read in one piece."""
        self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        kind = self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = ? AND type = 'table'", (self._plan.table,)
        ).fetchone()
        number = row_number(self._schema)
        if kind is None or self._plan.order_by or not number:
            return (WHOLE,)
        where, values = where_clause(self._plan.row_filter, self._schema) if self._plan.is_window else ("", [])
        try:
            first, last, rows = self._connection.execute(
                f"SELECT min({number}), max({number}), {'count(*)' if where else 0} FROM {quote(self._plan.table)}{where}",  # noqa: S608 -- quoted names
                values,
            ).fetchone()
        except sqlite3.Error:
            return (WHOLE,)
        if not where:
            return key_ranges(first, last, self._schema.row_estimate, chunk_rows)
        if first is None or not window_is_split(rows, last - first + 1, chunk_rows):
            return (WHOLE,)
        return key_ranges(first, last, rows, chunk_rows)
