"""Tokens shared by several processes that write lanes of one gateway's evidence: the first has the token.

A process knows the tokens that it has taken itself; those of the others it meets here, before a record is durable. Nothing is
answered before that, so of two calls with the same token exactly one is answered, whatever process got them and whenever it died.

Workers of one home claim in the file of the log (`FileClaims`), replicas on several machines in a table that all of them reach
(`evidence.shared_claims`).
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

SCHEMA = """
CREATE TABLE IF NOT EXISTS claim (token BLOB PRIMARY KEY, forget_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claim_forget_at ON claim (forget_at);
"""

Claim = tuple[bytes, int]
"""A token of 16 bytes, and the Unix second until which it is to be remembered."""


class Claims(Protocol):
    """Where tokens are claimed. All but `turn` is called by the thread that writes the log."""

    def turn(self) -> AbstractContextManager[None]:
        """While nobody else writes into the file of the log."""

    def prepare(self, db: sqlite3.Connection, remembered: Callable[[], Iterator[Claim]]) -> None:
        """The log was opened, within a turn; `remembered` are the tokens of its own records, to be claimed first of all."""

    def write(
        self, db: sqlite3.Connection, claims: Sequence[Claim], now: int, insert: Callable[[], object]
    ) -> frozenset[bytes]:
        """Claim tokens and `insert` their records, or neither: then the tokens that somebody had already.

        Raises ClaimsUnavailable where it cannot be told: nothing was inserted. `insert` is called within a turn.
        """

    def close(self) -> None: ...


class FileClaims:
    """In the log's own file, in the very transaction of the records: an entry in a B-tree a token and no further fsync.

    `turn_file` is locked while a process writes: waiting for it is woken at once, where SQLite would sleep and try again.
    """

    def __init__(self, turn_file: Path) -> None:
        self._turn_file = turn_file

    def turn(self) -> AbstractContextManager[None]:
        return turn_of(self._turn_file)

    def prepare(self, db: sqlite3.Connection, remembered: Callable[[], Iterator[Claim]]) -> None:
        """Make the table, and claim what was taken while one process had the log for itself."""
        db.executescript(SCHEMA)
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR IGNORE INTO claim VALUES (?, ?)", remembered())
        db.execute("COMMIT")

    def write(
        self, db: sqlite3.Connection, claims: Sequence[Claim], now: int, insert: Callable[[], object]
    ) -> frozenset[bytes]:
        with self.turn():
            db.execute("BEGIN IMMEDIATE")
            try:
                taken = self._take(db, claims, now)
                if not taken:
                    insert()
                db.execute("ROLLBACK" if taken else "COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        return taken

    def _take(self, db: sqlite3.Connection, claims: Sequence[Claim], now: int) -> frozenset[bytes]:
        """Which of them somebody had already; the others are claimed. Those whose time is over are forgotten."""
        db.execute("DELETE FROM claim WHERE forget_at < ?", (now,))
        had = set()
        for token, forget_at in claims:
            if db.execute("INSERT OR IGNORE INTO claim VALUES (?, ?)", (token, forget_at)).rowcount == 0:
                had.add(token)
        return frozenset(had)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def turn_of(file: Path) -> Iterator[None]:
    """While nobody else has the lock of this file. It ends with its holder, also when that is killed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
