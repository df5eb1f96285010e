"""Tokens shared by several processes that write lanes of one log: the first commit has the token.

A process knows the tokens that it has taken itself; those of the others it meets here, in the same transaction that makes a
record durable. Nothing is answered before that, so of two calls with the same token exactly one is answered, whatever process
got them and whenever it died. It costs an entry in a B-tree a token and no further fsync.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS claim (token BLOB PRIMARY KEY, forget_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claim_forget_at ON claim (forget_at);
"""


class Claims:
    """`turn_file` is locked while a process writes: waiting for it is woken at once, where SQLite would sleep and try again."""

    def __init__(self, turn_file: Path) -> None:
        self._turn_file = turn_file

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """While nobody else writes. The lock ends with its holder, also when it is killed."""
        descriptor = os.open(self._turn_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def prepare(self, db: sqlite3.Connection, tokens: Iterator[tuple[bytes, int]]) -> None:
        """Make the table, and claim what was taken while one process had the log for itself."""
        db.executescript(SCHEMA)
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR IGNORE INTO claim VALUES (?, ?)", tokens)
        db.execute("COMMIT")

    def take(self, db: sqlite3.Connection, tokens: list[tuple[bytes, int]], now: int) -> frozenset[bytes]:
        """Claim tokens inside of a transaction; which of them somebody had already. Those whose time is over are forgotten."""
        db.execute("DELETE FROM claim WHERE forget_at < ?", (now,))
        had = set()
        for token, forget_at in tokens:
            if db.execute("INSERT OR IGNORE INTO claim VALUES (?, ?)", (token, forget_at)).rowcount == 0:
                had.add(token)
        return frozenset(had)
