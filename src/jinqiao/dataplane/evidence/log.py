"""The log itself: one SQLite file, `synchronous=FULL`, one writer thread, group commit with natural batching.

Whoever appends while a commit runs shares the next one; there is no timer. A future of `append` is done when its record is on
disk. After any failure the writer reads the head of the chain back from the file, so that a commit of which it is unknown
whether it happened cannot fork the chain.

A record may carry a token (the nonce of a signed call): it becomes durable in the same commit, so that an answered call cannot
be played again after a crash, at no further fsync.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinqiao.dataplane.evidence import merkle
from jinqiao.dataplane.evidence.errors import EvidenceUnavailable
from jinqiao.dataplane.evidence.records import canonical_record, record_from
from jinqiao.kernel.contracts.evidence import CallRecord, EvidenceBatch
from jinqiao.kernel.crypto.suites import Suite, suite

logger = logging.getLogger(__name__)

BATCH_RECORDS = 1024
WAITING_LIMIT = 20_000
FORGET_EVERY_S = 60.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
  lane TEXT NOT NULL, batch INTEGER NOT NULL, first_number INTEGER NOT NULL, records INTEGER NOT NULL,
  merkle_root BLOB NOT NULL, previous BLOB NOT NULL, chain BLOB NOT NULL,
  PRIMARY KEY (lane, batch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
  lane TEXT NOT NULL, number INTEGER NOT NULL, leaf BLOB NOT NULL, body TEXT,
  PRIMARY KEY (lane, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS token (token BLOB PRIMARY KEY, forget_at INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Token:
    """Something to be remembered with a record until `forget_at` (Unix seconds)."""

    value: bytes
    forget_at: int


@dataclass(slots=True)
class _Waiting:
    record: CallRecord
    token: Token | None
    done: "asyncio.Future[None]"


class EvidenceLog:
    """One lane of evidence. `append` belongs to the event loop that called `start`; all writing to the writer thread."""

    def __init__(self, path: Path, *, lane: str, suite_name: str) -> None:
        self.path = path
        self.lane = lane
        self.suite: Suite = suite(suite_name)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._db: sqlite3.Connection | None = None
        self._batch = 0
        self._number = 0
        self._chain = merkle.GENESIS
        self._forgot_at = 0.0
        self.healthy = False

    def start(self) -> None:
        """Open the file and begin writing. Raises EvidenceUnavailable where the file cannot be opened or is of another suite."""
        try:
            self._open()
        except (sqlite3.Error, OSError) as problem:
            raise EvidenceUnavailable(reason=type(problem).__name__) from problem
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_forever, name="evidence-writer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what waits, then close."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._close()

    def append(self, record: CallRecord, token: Token | None = None) -> "asyncio.Future[None]":
        """Hand a record to the writer; lane and number are filled in by it. The future is done when it is durable, or fails
        with EvidenceUnavailable. Raises EvidenceUnavailable at once when too many wait."""
        if self._loop is None or self._thread is None or self._waiting >= WAITING_LIMIT:
            raise EvidenceUnavailable
        self._waiting += 1
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Waiting(record, token, done))
        return done

    def tokens(self, after: int) -> Iterator[Token]:
        """Tokens that are still to be remembered at `after` (Unix seconds); read at start."""
        with contextlib.closing(connect_read_only(self.path)) as db:
            for value, forget_at in db.execute("SELECT token, forget_at FROM token WHERE forget_at >= ?", (after,)):
                yield Token(value, forget_at)

    # ── writer thread ──

    def _open(self) -> None:
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        self._db = db
        self.path.chmod(0o600)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=4000")
        db.executescript(SCHEMA)
        db.execute("INSERT OR IGNORE INTO about (name, value) VALUES ('suite', ?)", (self.suite.name,))
        (name,) = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
        if name != self.suite.name:
            raise EvidenceUnavailable(reason=f"suite {name}")
        head = db.execute(
            "SELECT batch, first_number + records - 1, chain FROM batch WHERE lane = ? ORDER BY batch DESC LIMIT 1",
            (self.lane,),
        ).fetchone()
        self._batch, self._number, self._chain = head or (0, 0, merkle.GENESIS)
        self.healthy = True

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _write_forever(self) -> None:
        ending = False
        while not ending:
            batch: list[_Waiting] = []
            entry = self._queue.get()
            while entry is not None:
                batch.append(entry)
                if len(batch) >= BATCH_RECORDS:
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                ending = True
            if batch:
                self._settle(batch, self._write(batch))

    def _write(self, batch: list[_Waiting]) -> EvidenceUnavailable | None:
        try:
            if self._db is None:
                self._open()
            self._commit(batch)
        except Exception as problem:  # noqa: BLE001 -- whatever it was, nobody may be answered and the thread must go on
            self.healthy = False
            logger.error("evidence of %d calls could not be written: %s", len(batch), type(problem).__name__)
            self._close()
            return EvidenceUnavailable(reason=type(problem).__name__)
        self.healthy = True
        return None

    def _commit(self, batch: list[_Waiting]) -> None:
        db = self._db
        if db is None:
            raise EvidenceUnavailable
        digest, lane, first = self.suite.digest, self.lane, self._number + 1
        rows: list[tuple[str, int, bytes, str]] = []
        leaves: list[bytes] = []
        for number, entry in enumerate(batch, first):
            body = canonical_record(entry.record, lane=lane, number=number)
            leaf = merkle.leaf(digest, body)
            leaves.append(leaf)
            rows.append((lane, number, leaf, body.decode("utf-8")))
        root = merkle.root(digest, leaves)
        chain = merkle.link(digest, self._chain, root)
        tokens = [(entry.token.value, entry.token.forget_at) for entry in batch if entry.token is not None]
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "INSERT INTO batch (lane, batch, first_number, records, merkle_root, previous, chain) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (lane, self._batch + 1, first, len(batch), root, self._chain, chain),
        )
        db.executemany("INSERT INTO record (lane, number, leaf, body) VALUES (?, ?, ?, ?)", rows)
        if tokens:
            db.executemany("INSERT OR IGNORE INTO token (token, forget_at) VALUES (?, ?)", tokens)
        if time.monotonic() - self._forgot_at > FORGET_EVERY_S:
            db.execute("DELETE FROM token WHERE forget_at < ?", (int(time.time()),))
            self._forgot_at = time.monotonic()
        db.execute("COMMIT")
        self._batch, self._number, self._chain = self._batch + 1, self._number + len(batch), chain

    def _settle(self, batch: list[_Waiting], problem: EvidenceUnavailable | None) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake, batch, problem)

    def _wake(self, batch: list[_Waiting], problem: EvidenceUnavailable | None) -> None:
        self._waiting -= len(batch)
        for entry in batch:
            if entry.done.done():
                continue
            if problem is None:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(problem)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A reader's connection to a log; raises sqlite3.OperationalError where there is none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None)


def lanes(db: sqlite3.Connection) -> list[str]:
    return [lane for (lane,) in db.execute("SELECT DISTINCT lane FROM batch ORDER BY lane")]


def read_batches(db: sqlite3.Connection, *, lane: str, after: int, limit: int = 50) -> list[EvidenceBatch]:
    """Batches of a lane after a number, oldest first, with their records. A batch whose bodies were deleted has fewer records
    than it had."""
    batches = []
    for number, first, records, root, previous, chain in db.execute(
        "SELECT batch, first_number, records, merkle_root, previous, chain FROM batch"
        " WHERE lane = ? AND batch > ? ORDER BY batch LIMIT ?",
        (lane, after, limit),
    ).fetchall():
        bodies = db.execute(
            "SELECT body FROM record WHERE lane = ? AND number >= ? AND number < ? AND body IS NOT NULL ORDER BY number",
            (lane, first, first + records),
        )
        batches.append(
            EvidenceBatch(
                lane=lane,
                batch=number,
                records=tuple(record_from(body) for (body,) in bodies),
                merkle_root=root.hex(),
                previous=previous.hex(),
                chain=chain.hex(),
            )
        )
    return batches


def count_after(db: sqlite3.Connection, *, lane: str, after: int) -> int:
    """How many batches of a lane follow a number."""
    (count,) = db.execute("SELECT count(*) FROM batch WHERE lane = ? AND batch > ?", (lane, after)).fetchone()
    return int(count)
