"""The connections of one PostgreSQL source: what one step has opened, the next goes on with.

A connection costs more than what most steps ask over it: the server starts a process for it, which reads the catalogue anew. A
source that is asked for its columns, then for its clock, then for a snapshot, asks over one. Of ADBC's driver, whose
database and connection each connect for themselves, one session is opened beside all this (`warm`).
"""

import select
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import psycopg
import pyarrow as pa

from jinqiao.dataplane.connectors.postgresql import Place, telling


class AdbcSession:
    """One connection of the ADBC driver. Raises what connecting raises.

    These are the driver manager's own objects: its DB-API imports pyarrow.dataset, and with it Parquet and S3, for things that are
    not used here, which costs a short run 0.04 s.
    """

    def __init__(self, place: Place) -> None:
        import adbc_driver_manager
        import adbc_driver_postgresql

        self._statement = adbc_driver_manager.AdbcStatement
        self._database: Any = None
        self._connection: Any = None
        try:
            self._database = adbc_driver_postgresql.connect(place.address)
            self._connection = adbc_driver_manager.AdbcConnection(self._database)
        except adbc_driver_manager.Error as problem:
            self.close()
            raise place.refusal(str(problem)) from None

    def begin(self) -> None:
        """A transaction, not before it is needed: as long as one is open the source's clock counts as not settled."""
        self._connection.set_autocommit(False)

    def execute(self, text: str, values: tuple[str, ...] = ()) -> None:
        """A statement whose answer nobody needs; marks of `values` are `$1`, `$2` …"""
        with self._statement(self._connection) as statement:
            statement.set_sql_query(text)
            if not values:
                statement.execute_update()
                return
            statement.prepare()
            statement.bind(pa.RecordBatch.from_pydict({str(at): [value] for at, value in enumerate(values)}))
            with _reader(statement) as reader:  # with values it is run when it is read
                reader.read_all()

    @contextmanager
    def rows(self, text: str, batch_bytes: int) -> "Iterator[pa.RecordBatchReader]":
        """What a query gives, in batches of about so many bytes."""
        with self._statement(self._connection) as statement:
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(batch_bytes)})
            statement.set_sql_query(text)
            with _reader(statement) as reader:
                yield reader

    def close(self) -> None:
        for held in (self._connection, self._database):
            if held is not None:
                with suppress(Exception):  # the server may be gone; nothing was written
                    held.close()
        self._connection = self._database = None


def _reader(statement: Any) -> "pa.RecordBatchReader":
    """The answer of a statement, with the driver's errors as the DB-API gives them."""
    from adbc_driver_manager._reader import AdbcRecordBatchReader

    handle, _ = statement.execute_query()
    return AdbcRecordBatchReader._import_from_c(handle.address)


class Connections:
    """Connections to one place that are open and not in use. Thread-safe; `close` ends those that nobody took."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._kept: psycopg.Connection[tuple[Any, ...]] | None = None
        self._spare: Future[AdbcSession] | None = None

    @contextmanager
    def asking(self, table: str = "") -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
        """An autocommitting connection for some questions; kept for the next ones where none of them failed."""
        connection = self.take()
        try:
            with telling(table):
                yield connection
        except BaseException:
            connection.close()
            raise
        previous, self._kept = self._kept, connection
        if previous is not None:
            previous.close()

    def take(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """An autocommitting connection that is the caller's own from now on."""
        kept, self._kept = self._kept, None
        if kept is not None and _is_open(kept):
            return kept
        if kept is not None:
            kept.close()
        return self.place.connect()

    def warm(self) -> None:
        """A session of ADBC will be wanted: it is opened meanwhile."""
        if self._spare is None:
            spare = self._spare = Future()
            Thread(target=self._open, args=(spare,), name="warm", daemon=True).start()

    def _open(self, spare: "Future[AdbcSession]") -> None:
        try:
            spare.set_result(AdbcSession(self.place))
        except BaseException as problem:  # noqa: BLE001 -- of whoever takes it
            spare.set_exception(problem)

    def adbc(self) -> AdbcSession:
        """A session that is the caller's own from now on. Raises what connecting raises."""
        spare, self._spare = self._spare, None
        return AdbcSession(self.place) if spare is None else spare.result()

    def close(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
        spare, self._spare = self._spare, None
        if spare is not None and spare.exception() is None:
            spare.result().close()


def _is_open(connection: "psycopg.Connection[tuple[Any, ...]]") -> bool:
    """A server says nothing to a session that asks nothing, unless it ends it."""
    if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)
