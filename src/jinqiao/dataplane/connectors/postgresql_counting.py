"""Counting the rows of a large table beside a merge that has locked it.

The lock keeps everybody else from writing, and what the merge itself does is seen by nobody before it commits: over another
connection the table stands still, as it was when the lock was taken. Its rows, more those that the merge inserts, less those that it
deletes, are the rows that it shows afterwards. Both numbers are counted, none is estimated.
"""

import threading
from contextlib import closing, suppress
from typing import Any

import psycopg

from jinqiao.dataplane.connectors.base import Closing
from jinqiao.dataplane.connectors.postgresql import Place, statement
from jinqiao.kernel.errors import JinqiaoError

WORTH_BYTES = 32 << 20  # of a table: a smaller one is counted sooner than a connection is made
ALONE_BYTES = 1 << 30  # a smaller one is counted by one process, that leaves the merge the other processors
_LOCK_WAIT_MS = 500  # the merge altered the table: until it commits nobody else may look at it
_AGAIN_S = 0.2

# A trigger or a rule may write other rows than the statements say, a policy may hide some, other tables may belong to it.
PLAIN = """(relkind = 'r' AND NOT relhastriggers AND NOT relhasrules AND NOT relhassubclass AND NOT relispartition AND NOT relrowsecurity)"""
PLAIN_BYTES = f"SELECT pg_relation_size(oid) FROM pg_class WHERE oid = to_regclass(%s) AND {PLAIN}"  # noqa: S608 -- our own text


class CountBeside(Closing):
    """One count, begun at once; `close` ends it early. `alone`: by one process of the server."""

    def __init__(self, place: Place, query: str, *, alone: bool = False) -> None:
        self._place, self._query, self._is_alone = place, query, alone
        self._found: int | None = None
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count, name="count", daemon=True)
        self._thread.start()

    def rows(self) -> int | None:
        """Waits for the count; None where it was not possible (no second connection, the table is closed to it)."""
        self._thread.join()
        return self._found

    def close(self) -> None:
        self._ended.set()
        while self._thread.is_alive():
            connection = self._connection
            if connection is not None:
                with suppress(psycopg.Error):
                    connection.cancel()
            self._thread.join(_AGAIN_S)

    def _count(self) -> None:
        with suppress(psycopg.Error, JinqiaoError), closing(self._place.connect()) as connection:
            self._connection = connection
            connection.execute(statement(f"SET lock_timeout = {_LOCK_WAIT_MS}"))
            if self._is_alone:
                connection.execute("SET max_parallel_workers_per_gather = 0")
            if not self._ended.is_set():
                row = connection.execute(statement(self._query)).fetchone()
                self._found = int(row[0]) if row else None
