"""The log itself: one SQLite file, `synchronous=FULL`, group commit with natural batching, one statement a commit.

Whoever appends while a commit runs, or while the loop has other calls to work, shares the next one; no timer wakes it. A future of `append` is done when its record is on
disk. A batch is one row: its records as canonical JSON lines, their leaves, its Merkle root, its link of the chain. The event
loop puts the row together, a thread of its own does the one INSERT: the interpreter's lock changes hands once per commit, not
once per record.

After any failure the head of the chain is read back from the file, so that a commit of which it is unknown whether it
happened cannot fork the chain.

A record may carry a token (the nonce of a signed call): it becomes durable in the same commit, so that an answered call cannot
be played again after a crash, at no further fsync.
"""

import asyncio
import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from jinqiao.dataplane.evidence.claims import Claim, Claims
from jinqiao.dataplane.evidence.errors import ClaimsUnavailable, EvidenceUnavailable, TokenTaken
from jinqiao.dataplane.evidence.records import Recordable, canonical_record
from jinqiao.dataplane.evidence.writer import WriterThread
from jinqiao.kernel.contracts.evidence import BodiesDeleted, CallRecord, EvidenceBatch
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.batches import LEAF_BYTES, BatchMalformed, StoredBatch, split_leaves

logger = logging.getLogger(__name__)

BATCH_RECORDS = 256
WAITING_LIMIT = 20_000
GATHER_WITHIN_S, QUIET_S = 0.025, 0.002
QUIET_TURNS = 4  # of the loop: from the bytes of a call to its record it takes three where its source answers at once
COMMIT_WITHIN_S = 10.0
TOKEN_BYTES = 16
_STAMPED = TOKEN_BYTES + 8
_NO_END = 2**63 - 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (
  lane TEXT NOT NULL,
  batch INTEGER NOT NULL,        -- from 1
  first_number INTEGER NOT NULL, -- of its records
  records INTEGER NOT NULL,
  merkle_root BLOB NOT NULL,
  previous BLOB NOT NULL,
  chain BLOB NOT NULL,
  leaves BLOB NOT NULL,          -- 32 bytes each
  tokens BLOB NOT NULL,          -- token and the second until which it is remembered, 24 bytes each
  tokens_until INTEGER NOT NULL, -- the latest of these
  bodies TEXT,                   -- canonical records, one a line; NULL once they were deleted after their time
  PRIMARY KEY (lane, batch)
);
CREATE INDEX IF NOT EXISTS batch_tokens_until ON batch (tokens_until);
CREATE TABLE IF NOT EXISTS kept_line ( -- lines that stay where the bodies of their batch were deleted
  lane TEXT NOT NULL, number INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (lane, number)
) WITHOUT ROWID;
"""
INSERT = "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LANES = """WITH RECURSIVE found (lane) AS (
  SELECT min(lane) FROM batch UNION ALL SELECT (SELECT min(lane) FROM batch WHERE lane > found.lane) FROM found WHERE lane NOT NULL
) SELECT lane FROM found WHERE lane NOT NULL"""
HEAD = "SELECT batch, first_number + records - 1, chain FROM batch WHERE lane = ? ORDER BY batch DESC LIMIT 1"

Row = tuple[str, int, int, int, bytes, bytes, bytes, bytes, bytes, int, str]


class Token(Struct, gc=False):
    """Something of 16 bytes to be remembered with a record until `forget_at` (Unix seconds)."""

    value: bytes
    forget_at: int


_Waiting = tuple[CallRecord | Recordable | BodiesDeleted, Token | None, "asyncio.Future[None]"]


class EvidenceLog:
    """One lane of evidence. Belongs to the event loop that called `start`."""

    def __init__(self, path: Path, *, lane: str, suite_name: str, claims: Claims | None = None) -> None:
        """With `claims` other processes write other lanes, and no token is recorded twice among them."""
        self._claims = claims
        self.path = path
        self.lane = lane
        self.suite: Suite = suite(suite_name)
        self.healthy = False
        self.commits = 0
        self.commit_seconds = 0.0
        self._waiting: list[_Waiting] = []
        self._committing: list[_Waiting] = []
        self._hangs = False
        self._wall = 0.0  # the clock's time of the beginning of monotonic time
        self._thread: WriterThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[None] | None = None
        self._db: sqlite3.Connection | None = None
        self._head: tuple[int, int, bytes] = (0, 0, merkle.GENESIS)  # batch, number, chain

    def start(self) -> None:
        """Open the file. Raises EvidenceUnavailable where it cannot be opened or is of another suite."""
        try:
            self._open()
        except (sqlite3.Error, OSError) as problem:
            raise EvidenceUnavailable(reason=type(problem).__name__) from problem
        self._loop = asyncio.get_running_loop()
        self._thread = WriterThread("evidence-writer")

    async def stop(self) -> None:
        """Write what waits, then close."""
        while self._waiting or (self._work is not None and not self._work.done()):
            await asyncio.wait([self._working(asyncio.get_running_loop())])
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        self._close()
        if self._claims is not None:
            self._claims.close()
        self.healthy = False

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return len(self._waiting) + len(self._committing)

    def append(
        self, record: CallRecord | Recordable | BodiesDeleted, token: Token | None = None
    ) -> "asyncio.Future[None]":
        """Take a record; lane and number are filled in here. The future is done when it is durable, or fails with
        EvidenceUnavailable. Raises EvidenceUnavailable at once when too many wait."""
        if self._loop is None or self._thread is None or self._hangs or len(self._waiting) >= WAITING_LIMIT:
            raise EvidenceUnavailable
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((record, token, done))
        self._working(self._loop)
        return done

    def _working(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Task[None]":
        """The task that commits what waits; begun anew where there is none, or none any more."""
        work = self._work
        if work is None or work.done():
            work = self._work = loop.create_task(self._commit_all())
        return work

    def tokens(self, after: int) -> Iterator[Token]:
        """Tokens that are still to be remembered at `after` (Unix seconds); read at start."""
        with contextlib.closing(connect_read_only(self.path)) as db:
            for (stamped,) in db.execute("SELECT tokens FROM batch WHERE tokens_until >= ?", (after,)):
                for at in range(0, len(stamped), _STAMPED):
                    forget_at = int.from_bytes(stamped[at + TOKEN_BYTES : at + _STAMPED], "big")
                    if forget_at >= after:
                        yield Token(stamped[at : at + TOKEN_BYTES], forget_at)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                self._committing, self._waiting = self._waiting[:BATCH_RECORDS], self._waiting[BATCH_RECORDS:]
                await self._commit(self._committing)
                self._committing = []
        finally:
            self._work = None

    async def _gather(self) -> None:
        """Let the loop turn as long as it brings records: calls that are being worked share the commit of who came first.

        A commit that begins at once gets half of them, and the other half waits for its end: twice as many commits, and a thread
        that wants the interpreter's lock while calls do. A lone record waits for as many turns as nothing comes of, some twenty
        microseconds; a turn that is long of other work ends it, and nobody waits longer than `GATHER_WITHIN_S`.
        """
        quiet, count, now = 0, len(self._waiting), time.monotonic()
        until, came = now + GATHER_WITHIN_S, now
        while quiet < QUIET_TURNS and count < BATCH_RECORDS and now < until and now - came < QUIET_S:
            await asyncio.sleep(0)
            before, count, now = count, len(self._waiting), time.monotonic()
            if count == before:
                quiet += 1
            else:
                quiet, came = 0, now

    async def _commit(self, batch: list[_Waiting]) -> None:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            _fail(batch, "closed")
            return
        # a disk that hangs keeps the thread, but not the callers
        self._hangs = False
        watch = loop.call_later(COMMIT_WITHIN_S, self._give_up)
        try:
            if not self.healthy:
                await thread.do(self._open)
            began = loop.time()
            while batch:
                row = self._row(batch)
                try:
                    taken = await thread.do(self._insert, row)
                except ClaimsUnavailable:  # records without a token, refusals among them, are written all the same
                    batch = _without(batch, lambda _: True, ClaimsUnavailable)
                    continue
                if not taken:
                    break
                batch = _without(batch, taken.__contains__, TokenTaken)
            if not batch:
                return
        except Exception as problem:  # noqa: BLE001 -- whatever it was, nobody may be answered and the log must go on
            self.healthy = False
            logger.error("evidence of %d calls could not be written: %s", len(batch), type(problem).__name__)
            _fail(batch, type(problem).__name__)
            return
        finally:
            watch.cancel()
            self._hangs = False
        self.commits += 1
        self.commit_seconds += loop.time() - began
        self._head = (row[1], row[2] + row[3] - 1, row[6])
        for _, _, done in batch:
            if not done.done():
                done.set_result(None)

    def _give_up(self) -> None:
        logger.error("a commit of evidence takes longer than %d s", COMMIT_WITHIN_S)
        self._hangs = True  # until it ends: who comes now would wait as long
        waiting, self._waiting = self._waiting, []
        _fail([*self._committing, *waiting], "TimeoutError")

    def _row(self, batch: list[_Waiting]) -> Row:
        digest, (number, last, previous) = self.suite.digest, self._head
        bodies = [
            canonical_record(record, lane=self.lane, number=at) for at, (record, _, _) in enumerate(batch, last + 1)
        ]
        leaves = [merkle.leaf(digest, body) for body in bodies]
        root = merkle.root(digest, leaves)
        tokens = [token for _, token, _ in batch if token is not None]
        return (
            self.lane,
            number + 1,
            last + 1,
            len(batch),
            root,
            previous,
            merkle.link(digest, previous, root),
            b"".join(leaves),
            b"".join([token.value + token.forget_at.to_bytes(8, "big") for token in tokens]),
            max((token.forget_at for token in tokens), default=0),
            b"\n".join(bodies).decode("utf-8"),
        )

    # ── writer thread ──

    def _open(self) -> None:
        self._close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._claims.turn() if self._claims is not None else contextlib.nullcontext():
            self._open_file()

    def _open_file(self) -> None:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=COMMIT_WITHIN_S)
        self._db = db
        self._wall = time.time() - time.monotonic()
        self.path.chmod(0o600)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA wal_autocheckpoint=4000")
        db.executescript(SCHEMA)
        db.execute("INSERT OR IGNORE INTO about (name, value) VALUES ('suite', ?)", (self.suite.name,))
        (name,) = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
        if name != self.suite.name:
            raise EvidenceUnavailable(reason=f"suite {name}")
        if self._claims is not None:
            self._claims.prepare(db, self._remembered)
        self._head = db.execute(HEAD, (self.lane,)).fetchone() or (0, 0, merkle.GENESIS)
        self.healthy = True

    def _remembered(self) -> Iterator[Claim]:
        return ((token.value, token.forget_at) for token in self.tokens(int(time.time())))

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _insert(self, row: Row) -> frozenset[bytes]:
        """Write a batch, or nothing: then tokens of it that another process had before. Raises ClaimsUnavailable, sqlite3.Error."""
        db = self._db
        if db is None:
            raise EvidenceUnavailable
        if self._claims is None:
            db.execute(INSERT, row)
            return frozenset()
        stamped = row[8]
        tokens = [
            (stamped[at : at + TOKEN_BYTES], int.from_bytes(stamped[at + TOKEN_BYTES : at + _STAMPED], "big"))
            for at in range(0, len(stamped), _STAMPED)
        ]
        # a clock that jumps ahead for a moment must not have claims forgotten that it will meet again
        now = min(time.time(), self._wall + time.monotonic())
        return self._claims.write(db, tokens, int(now), lambda: db.execute(INSERT, row))


def _fail(batch: list[_Waiting], reason: str) -> None:
    for _, _, done in batch:
        if not done.done():
            done.set_exception(EvidenceUnavailable(reason=reason))


def _without(
    batch: list[_Waiting], refused: Callable[[bytes], bool], problem: type[ClaimsUnavailable | TokenTaken]
) -> list[_Waiting]:
    left = []
    for entry in batch:
        _, token, done = entry
        if token is None or not refused(token.value):
            left.append(entry)
        elif not done.done():
            done.set_exception(problem())
    return left


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A reader's connection to a log; raises sqlite3.OperationalError where there is none."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None)


def lanes(db: sqlite3.Connection) -> list[str]:
    """Lanes that there are, in order: from one to the next by the index, past the batches, of which there are millions."""
    return [lane for (lane,) in db.execute(LANES)]


def read_batches(db: sqlite3.Connection, *, lane: str, after: int, limit: int = 50) -> list[EvidenceBatch]:
    """Batches of a lane after a number, oldest first, with their records as they were written; without those whose bodies
    were deleted."""
    return [
        EvidenceBatch(
            lane=lane,
            batch=number,
            lines=tuple(bodies.split("\n")),
            merkle_root=root.hex(),
            previous=previous.hex(),
            chain=chain.hex(),
        )
        for number, root, previous, chain, bodies in db.execute(
            "SELECT batch, merkle_root, previous, chain, bodies FROM batch"
            " WHERE lane = ? AND batch > ? AND bodies IS NOT NULL ORDER BY batch LIMIT ?",
            (lane, after, limit),
        )
    ]


def stored_batches(
    db: sqlite3.Connection, *, lane: str, first: int = 1, last: int | None = None
) -> Iterator[StoredBatch]:
    """Batches of a lane as they lie there, oldest first. Raises BatchMalformed."""
    for batch, number, records, root, previous, chain, leaves, bodies in db.execute(
        "SELECT batch, first_number, records, merkle_root, previous, chain, leaves, bodies FROM batch"
        " WHERE lane = ? AND batch >= ? AND batch <= ? ORDER BY batch",
        (lane, first, _NO_END if last is None else last),
    ):
        if not all(isinstance(part, bytes) for part in (root, previous, chain, leaves)):
            raise BatchMalformed(lane, batch, "type")
        if len(leaves) != records * LEAF_BYTES:
            raise BatchMalformed(lane, batch, "leaves")
        parts = split_leaves(leaves)
        kept = {}
        if bodies is None:
            kept = dict(
                db.execute(
                    "SELECT number, line FROM kept_line WHERE lane = ? AND number >= ? AND number < ?",
                    (lane, number, number + len(parts)),
                )
            )
        lines = None if bodies is None else tuple(bodies.split("\n"))
        yield StoredBatch(batch, number, root, previous, chain, parts, lines, kept)


def time_of(db: sqlite3.Connection, *, lane: str, after: int | None = None) -> datetime | None:
    """When the first record after a batch was made, or without `after` the last of the lane; None where there is none, or where its
    body was deleted."""
    if after is None:
        place, found = -1, db.execute("SELECT bodies FROM batch WHERE lane = ? ORDER BY batch DESC LIMIT 1", (lane,))
    else:
        first = "SELECT bodies FROM batch WHERE lane = ? AND batch > ? ORDER BY batch LIMIT 1"
        place, found = 0, db.execute(first, (lane, after))
    row = found.fetchone()
    if row is None or not row[0]:
        return None
    try:
        return datetime.fromisoformat(json.loads(row[0].split("\n")[place])["at"])
    except (ValueError, KeyError, TypeError):  # what is broken here is found by who verifies
        return None


def count_after(db: sqlite3.Connection, *, lane: str, after: int) -> int:
    """How many batches of a lane follow a number."""
    (count,) = db.execute("SELECT count(*) FROM batch WHERE lane = ? AND batch > ?", (lane, after)).fetchone()
    return int(count)


def delete_bodies(path: Path, *, lane: str, up_to: int, first: int = 1, keep: Sequence[tuple[int, str]] = ()) -> int:
    """Delete the records of batches `first` to `up_to`, after their time of keeping; leaves and chain stay, so that the rest of
    the log still verifies, and so do the lines in `keep` (number, line). How many batches were emptied."""
    with contextlib.closing(sqlite3.connect(path, timeout=COMMIT_WITHIN_S, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR IGNORE INTO kept_line VALUES (?, ?, ?)", [(lane, *entry) for entry in keep])
        emptied = db.execute(
            "UPDATE batch SET bodies = NULL"
            " WHERE lane = ? AND batch >= ? AND batch <= ? AND bodies IS NOT NULL AND tokens_until < ?",
            (lane, first, up_to, int(time.time())),
        ).rowcount
        db.execute("COMMIT")
        return emptied
