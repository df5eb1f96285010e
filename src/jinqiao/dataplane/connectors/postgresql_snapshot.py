"""One exported snapshot of PostgreSQL for several readers, that outlives the process that made it.

The transaction that exported the snapshot stays open; every reader imports it (`SET TRANSACTION SNAPSHOT`), so that all of
them see the same instant. A sleeping process (`_keeper`) holds a copy of that connection's socket: when this process is killed,
the server sees an open connection, keeps the snapshot for KEEP_S, and the restarted process imports it and goes on.
The keeper starts only when it is written down whose transaction it keeps (`keep`): one that nobody knew of would stay open at the
source. When it is gone too, the database may still be as it was: the set of visible transactions (`pg_current_snapshot()`, Chinese
可见事务集) is compared; every transaction that wrote has a number, so equal sets are equal contents.
"""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from jinqiao.dataplane.connectors.postgresql import Place, begin_reading, statement, telling
from jinqiao.dataplane.connectors.postgresql_copying import CopyReader
from jinqiao.dataplane.connectors.postgresql_reading import AdbcReader, Query
from jinqiao.dataplane.connectors.ranges import window_is_split
from jinqiao.dataplane.connectors.snapshots import WHOLE, Snapshot, SnapshotState
from jinqiao.dataplane.errors import ConnectionLost, TableMissing
from jinqiao.kernel.errors import JinqiaoError

KEEP_S = 900
SPLIT_BLOCKS = 4096  # of 8 KiB: most that a split may span
EXPORTED, SINGLE = "exported snapshot", "repeatable read, read only"
_TID_RANGES_FROM = 140000  # earlier servers read the whole table for every range of blocks

_ABOUT = """
SELECT c.oid::bigint, c.relkind::text, pg_relation_size(c.oid) / current_setting('block_size')::int, pg_current_snapshot()::text,
       (SELECT system_identifier FROM pg_control_system())::text, pg_relation_filenode(c.oid), pg_backend_pid(),
       (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()), pg_is_in_recovery(), current_database()
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""


class PostgresqlSnapshot(Snapshot):
    """Opens a transaction at once; `close` ends it and the keeper. Raises what connecting raises, and TableMissing.

    `of` is an exported snapshot that all readers are to see, instead of a new one.
    """

    def __init__(
        self, query: Query, *, parallel: int, resume: SnapshotState | None, chunk_rows: int, of: str = ""
    ) -> None:
        self._query, self._of = query, of
        self._keeper: subprocess.Popen[bytes] | None = None
        self._former: SnapshotState | None = None
        self._connection, self.id = self._begin(of), ""
        try:
            if resume is not None and resume.handle.get("id"):
                self.resumed = self._import(str(resume.handle["id"]))
            state = self._describe(chunk_rows)
            if resume is not None and not self.resumed:
                self.resumed = bool(resume.token) and resume.token == state.token
            if resume is not None and self.resumed:
                state = SnapshotState(resume.kind, resume.token, resume.splits, state.handle)
                self._former = resume
            elif resume is not None:
                end_other(self._query.place, resume.handle)
            self.state = state
            self.readers = max(1, min(parallel, len(state.splits))) if self.id else 1
        except BaseException:
            self.close()
            raise

    def reader(self) -> AdbcReader:
        return AdbcReader(self._query, self.id)

    def raw_reader(self, columns: tuple[str, ...], mark: str = "") -> CopyReader:
        """Where one reader reads all, over the connection that holds the snapshot: another one costs a short run its tenth part."""
        lent = self._connection if len(self.state.splits) == 1 else None
        return CopyReader(self._query, columns, self.id, mark=mark, lent=lent)

    def lent(self) -> "psycopg.Connection[tuple[Any, ...]] | None":
        """The session that holds the snapshot, when nobody reads over it; None where it was lost."""
        is_there = self._connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        return self._connection if is_there else None

    def keep(self, note: Callable[[SnapshotState], None]) -> None:
        former = self._former
        note(self.state if former is None else replace(former, handle={**former.handle, "next": self.state.handle}))
        if self.id and len(self.state.splits) > 1:
            self._keeper = _keeper(self._connection.fileno())
            keeper = self._keeper.pid if self._keeper else 0
            self.state = replace(self.state, handle={**self.state.handle, "keeper": keeper})
        if former is not None:
            # both are written down until the other one has ended
            note(replace(self.state, handle={**self.state.handle, "former": former.handle}))
            end_other(self._query.place, former.handle)
            self._former = None
        if former is not None or self._keeper is not None:
            note(self.state)

    def close(self) -> None:
        self._connection.close()
        if self._keeper is not None:
            self._keeper.terminate()
            self._keeper.wait()
            self._keeper = None

    def _begin(self, snapshot: str) -> "psycopg.Connection[tuple[Any, ...]]":
        connection = self._query.connections.take()
        try:
            with telling(self._query.plan.table):
                begin_reading(connection, snapshot)
        except BaseException:
            connection.close()
            raise
        return connection

    def _import(self, snapshot: str) -> bool:
        """Go on with the snapshot of the process before us, if the server still has it."""
        if not snapshot.replace("-", "").isalnum():
            return False
        connection = self._query.place.connect()
        try:
            begin_reading(connection, snapshot)
        except (psycopg.Error, ConnectionLost):
            connection.close()
            return False
        self._connection.close()
        self._connection = connection
        return True

    def _describe(self, chunk_rows: int) -> SnapshotState:
        plan, place = self._query.plan, self._query.place
        with telling(plan.table):
            self._connection.execute(
                statement(f"LOCK TABLE {place.quoted(plan.table)} IN ACCESS SHARE MODE")
            ) if self._is_table() else None
            row = self._connection.execute(_ABOUT, place.split(plan.table)).fetchone()
        if row is None:
            raise TableMissing(table=plan.table)
        oid, kind, blocks, visible, system, filenode, backend, since, is_standby, database = row
        splits = self._splits(kind, int(blocks or 0), chunk_rows)
        handle: dict[str, Any] = {}
        if not is_standby:
            with telling(plan.table):
                exported = self._connection.execute("SELECT pg_export_snapshot()").fetchone()
            self.id = str(exported[0]) if exported else ""
            handle = {"id": self.id, "backend": backend, "since": since}
        else:
            splits = (WHOLE,)
        token = "/".join(str(part) for part in (system, database, oid, filenode, visible))
        return SnapshotState(EXPORTED if self.id and len(splits) > 1 else SINGLE, token, splits, handle)

    def _is_table(self) -> bool:
        row = self._connection.execute(
            "SELECT c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            self._query.place.split(self._query.plan.table),
        ).fetchone()
        return row is not None and row[0] in "rp"

    def _splits(self, kind: str, blocks: int, chunk_rows: int) -> tuple[str, ...]:
        """Ranges of blocks with about `chunk_rows` rows each; the last is open, for rows of other tables that inherit."""
        version = self._connection.info.server_version
        if kind not in "rm" or version < _TID_RANGES_FROM or blocks < 2 or chunk_rows < 1 or self._query.plan.order_by:
            return (WHOLE,)
        rows, first = self._query.schema.row_estimate or blocks * 50, 0
        if self._query.plan.is_window:
            window = self._window(rows, blocks, chunk_rows)
            if window is None:
                return (WHOLE,)
            rows, first, blocks = window
        count = min(blocks - first, max(math.ceil(rows / chunk_rows), math.ceil((blocks - first) / SPLIT_BLOCKS)))
        step = math.ceil((blocks - first) / count)
        starts = list(range(first, blocks, step))
        return tuple(
            f"{start}:{following if following is not None else ''}"
            for start, following in zip(starts, [*starts[1:], None], strict=True)
        )

    def _window(self, rows: int, blocks: int, chunk_rows: int) -> tuple[int, int, int] | None:
        """Of the rows that the filter lets through: how many, the first block, the one behind the last; None where they are few.

        The planner is asked first: that costs nothing, and most windows are small.
        """
        query, connection = self._query, self._connection
        with telling(query.plan.table):
            query.prepare(connection)
            row = connection.execute(statement(f"EXPLAIN (FORMAT JSON) {query.window_statement('1')}")).fetchone()
            if row is None or float(row[0][0]["Plan"]["Plan Rows"]) <= 2 * chunk_rows:
                return None
            row = connection.execute(statement(query.window_statement("count(*), min(ctid), max(ctid)"))).fetchone()
        if row is None or not row[0]:
            return None
        count, (first, last) = int(row[0]), (int(str(place).strip("()").split(",")[0]) for place in row[1:])
        among = rows * (last + 1 - first) // max(1, blocks)
        return (count, first, last + 1) if window_is_split(count, among, chunk_rows) else None


def end_other(place: Place, handle: dict[str, Any]) -> None:
    """End the transaction that a killed process left open, and its keeper."""
    for name in ("next", "former"):  # of a process that was killed while it took over
        if handle.get(name):
            end_other(place, handle[name])
    if not handle.get("backend"):
        return
    with contextlib.suppress(psycopg.Error, JinqiaoError), closing(place.connect()) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start::text = %s",
            (handle["backend"], handle["since"]),
        )
    keeper = int(handle.get("keeper") or 0)
    with contextlib.suppress(OSError):
        if keeper and _is_keeper(keeper):
            os.kill(keeper, signal.SIGTERM)


def _keeper(descriptor: int) -> "subprocess.Popen[bytes] | None":
    """A process that does nothing but hold the socket open for KEEP_S, in a session of its own so that it outlives us."""
    sleep = shutil.which("sleep")
    command = [sleep, str(KEEP_S)] if sleep else [sys.executable, "-S", "-c", f"import time; time.sleep({KEEP_S})"]
    try:
        return subprocess.Popen(
            command,
            pass_fds=(descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None


def _is_keeper(process_id: int) -> bool:
    """Is that process still the one that we started, and no other that got its number?"""
    try:
        return str(KEEP_S).encode() in Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return False
