"""Tokens claimed in a table of PostgreSQL, which replicas of a gateway on several machines share.

One statement for each group commit, before the records are written into the log of the home: whoever inserts a token first has
it. Killed between the two, a token is claimed and no call was answered; its caller signs anew. Where the table is not reached
nothing is answered: `ClaimsUnavailable`.

The table is made at first use. It is no evidence and needs no backup: each replica puts in what its own log remembers when it
meets a table that it does not know yet: when it connects, and when it looks, which a gateway does every few seconds.
"""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from jinqiao.dataplane.evidence.claims import Claim, turn_of
from jinqiao.dataplane.evidence.errors import ClaimsUnavailable
from jinqiao.dataplane.evidence.shared_tables import STATEMENT_WITHIN_MS, address_of, table_number

logger = logging.getLogger(__name__)

TABLE = "jinqiao_gateway_claim"
REST_S = (
    1.0  # so long a table that was not reached is not tried again: calls are refused at once, not one after the other
)
SWEEP_EVERY_S = 2.0
SWEEP_AT_ONCE = 5000
REMEMBER_AT_ONCE = 10_000
MARGIN_S = 600  # by the clock of the database: those of the replicas may differ by so much

SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (token bytea PRIMARY KEY, forget_at bigint NOT NULL, mark bytea NOT NULL)",
    f"CREATE INDEX IF NOT EXISTS {TABLE}_forget_at ON {TABLE} (forget_at)",
)
# in one order, so that two replicas that claim the same tokens never wait for each other in a ring
CLAIM = (
    f"INSERT INTO {TABLE} (token, forget_at, mark) SELECT token, forget_at, %b"  # noqa: S608 -- a name of ours
    " FROM unnest(%b::bytea[], %b::bigint[]) AS given (token, forget_at) ORDER BY token"
    " ON CONFLICT DO NOTHING RETURNING token"
)
MARKED = f"SELECT token FROM {TABLE} WHERE token = ANY (%b::bytea[]) AND mark = %b"  # noqa: S608 -- a name of ours
SWEEP = (
    f"DELETE FROM {TABLE} WHERE token IN (SELECT token FROM {TABLE}"  # noqa: S608 -- a name of ours
    f" WHERE forget_at < extract(epoch FROM clock_timestamp())::bigint - {MARGIN_S}"
    f" LIMIT {SWEEP_AT_ONCE} FOR UPDATE SKIP LOCKED)"
)


class SharedClaims:
    """`url` is libpq's (it may name several hosts, TLS, a passfile); it is never logged. `turn_file`: where workers of one home
    write the same log. `check` may be called by any thread."""

    def __init__(self, url: str, turn_file: Path | None = None) -> None:
        self._address = address_of(url)
        self._turn_file = turn_file
        self._lock = threading.Lock()
        self._db: psycopg.Connection[Any] | None = None
        self._known: int | None = None  # the table that has what our log remembers
        self._remembered: Callable[[], Iterator[Claim]] = lambda: iter(())
        self._held: frozenset[bytes] = frozenset()  # claimed for a batch that is to be put together anew
        self._rest_until = self._sweep_at = 0.0

    def turn(self) -> AbstractContextManager[None]:
        return turn_of(self._turn_file) if self._turn_file is not None else contextlib.nullcontext()

    def prepare(self, db: sqlite3.Connection, remembered: Callable[[], Iterator[Claim]]) -> None:
        """Claimed at the next connection: not within a turn, and a database that is away stops no start."""
        self._remembered = remembered

    @property
    def is_connected(self) -> bool:
        """As far as is known without asking."""
        return self._db is not None

    def look(self) -> None:
        """Where there is a connection: whether its table is still the one that has what our log remembers. Another replica may have
        made it anew while nobody called here; what we answered could be played to that one again."""
        if self.is_connected:
            self.check()

    def check(self) -> bool:
        """Whether the table is reached now; a connection that is missing is made."""
        with self._lock:
            try:
                self._know_table(self._connected())
            except ClaimsUnavailable:
                return False
            except psycopg.Error as problem:
                self._failed(problem)
                return False
            return True

    def write(
        self,
        db: sqlite3.Connection,
        claims: Sequence[Claim],
        now: int,
        insert: Callable[[], object],
    ) -> frozenset[bytes]:
        held, self._held = self._held, frozenset()
        taken = self._claim([claim for claim in claims if claim[0] not in held])
        if taken:
            self._held = frozenset(token for token, _ in claims) - taken
            return taken
        with self.turn():
            insert()
        return frozenset()

    def close(self) -> None:
        with self._lock:
            self._disconnect()

    def _claim(self, claims: Sequence[Claim]) -> frozenset[bytes]:
        """Which of them somebody had already; all others are ours, durably. Raises ClaimsUnavailable."""
        if not claims:
            return frozenset()
        tokens = {token for token, _ in claims}
        if len(tokens) != len(claims):  # one statement would let both through
            twice = frozenset(token for token in tokens if [entry for entry, _ in claims].count(token) > 1)
            return twice | self._claim([claim for claim in claims if claim[0] not in twice])
        mark = os.urandom(16)
        with self._lock:
            try:
                return frozenset(tokens - self._inserted(self._connected(), claims, mark))
            except psycopg.Error as problem:
                is_lost = self._db is not None and self._db.broken
                self._failed(problem)
                if not is_lost:
                    raise ClaimsUnavailable from None
            # a connection that was cut, perhaps long ago: the statement is said once more on a new one, which knows by the mark
            # what the first one has done
            self._rest_until = 0.0
            try:
                db = self._connected()
                made = self._inserted(db, claims, mark)
                marked = {bytes(token) for (token,) in db.execute(MARKED, (list(tokens), mark))}
            except psycopg.Error as problem:
                self._failed(problem)
                raise ClaimsUnavailable from None
            return frozenset(tokens - made - marked)

    def _inserted(self, db: "psycopg.Connection[Any]", claims: Sequence[Claim], mark: bytes) -> set[bytes]:
        given = (mark, [token for token, _ in claims], [forget_at for _, forget_at in claims])
        made = {bytes(token) for (token,) in db.execute(CLAIM, given)}
        if time.monotonic() >= self._sweep_at:
            self._sweep(db)
        return made

    def _sweep(self, db: "psycopg.Connection[Any]") -> None:
        """Forget what is over: as fast as it comes, and never at a call's cost."""
        self._sweep_at = time.monotonic() + SWEEP_EVERY_S
        try:
            if db.execute(SWEEP).rowcount >= SWEEP_AT_ONCE:
                self._sweep_at = 0.0
        except psycopg.Error as problem:
            logger.warning(
                "claims that are over cannot be removed: %s %s", type(problem).__name__, problem.sqlstate or ""
            )

    def _connected(self) -> "psycopg.Connection[Any]":
        """The connection, made where there is none. Raises ClaimsUnavailable."""
        if self._db is not None and not self._db.closed:
            return self._db
        if time.monotonic() < self._rest_until:
            raise ClaimsUnavailable
        try:
            self._db = db = psycopg.connect(self._address, autocommit=True)
            db.execute(f"SET statement_timeout = {STATEMENT_WITHIN_MS}")
            (durable,) = db.execute("SHOW synchronous_commit").fetchone() or ("",)
            if durable == "off":  # a claim that a crash of the database forgets is none
                db.execute("SET synchronous_commit = on")
            self._know_table(db)
        except psycopg.Error as problem:
            self._failed(problem)
            raise ClaimsUnavailable from None
        logger.info("claims are shared with the other replicas")
        return db

    def _know_table(self, db: "psycopg.Connection[Any]") -> None:
        """See that the table there has what our log remembers. Raises psycopg.Error."""
        table = table_number(db, TABLE, SCHEMA)
        if table != self._known:
            self._remember(db)
            self._known = table

    def _remember(self, db: "psycopg.Connection[Any]") -> None:
        """Claim what our own log remembers: what was answered before the table was shared, or was made anew."""
        claims = self._remembered()
        while some := list(islice(claims, REMEMBER_AT_ONCE)):
            db.execute(CLAIM, (b"", [token for token, _ in some], [forget_at for _, forget_at in some])).fetchall()

    def _failed(self, problem: psycopg.Error) -> None:
        logger.error("claims cannot be shared: %s %s", type(problem).__name__, problem.sqlstate or "")
        self._disconnect()
        self._rest_until = time.monotonic() + REST_S

    def _disconnect(self) -> None:
        if self._db is not None:
            with contextlib.suppress(psycopg.Error):
                self._db.close()
            self._db = None
