"""Anchors of a gateway: its signed word on the head of each lane, kept beside the log, with what others signed about them.

A file of its own, so that nothing here ever holds up a commit of records: `anchors.db` in the home.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from jinqiao.dataplane.evidence.log import connect_read_only, lanes
from jinqiao.kernel.contracts.evidence import Anchor, Countersignature, KnownIdentity
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, open_message, sign_message
from jinqiao.kernel.crypto.suites import suite

SCHEMA = """
CREATE TABLE IF NOT EXISTS anchor (
  digest TEXT PRIMARY KEY,       -- of the message's canonical bytes, hex
  lane TEXT NOT NULL,
  batch INTEGER NOT NULL,
  at TEXT NOT NULL,
  message TEXT NOT NULL,         -- SignedMessage of an Anchor
  shipped INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS anchor_lane ON anchor (lane, batch);
CREATE INDEX IF NOT EXISTS anchor_at ON anchor (at);
CREATE INDEX IF NOT EXISTS anchor_waiting ON anchor (shipped) WHERE shipped = 0;
CREATE TABLE IF NOT EXISTS countersignature (
  anchor TEXT NOT NULL, witness TEXT NOT NULL, message TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (anchor, witness)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS identity (key_id TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID;
"""
LAST_OF_BATCH = "SELECT batch, first_number + records - 1, chain FROM batch WHERE lane = ? ORDER BY batch DESC LIMIT 1"
SHIP_AT_ONCE = 100
WITNESS_WAIT = timedelta(hours=24)
"""So long the gateway asks for the countersignature of a witness; a later anchor covers the earlier ones anyway."""


@dataclass(frozen=True, slots=True)
class LaneHead:
    lane: str
    batch: int
    number: int
    chain: str


def heads(log: Path) -> list[LaneHead]:
    """The last batch of each lane of a log; nothing where there is no log yet. Raises sqlite3.Error."""
    if not log.exists():
        return []
    with contextlib.closing(connect_read_only(log)) as db:
        found = []
        for lane in lanes(db):
            batch, number, chain = db.execute(LAST_OF_BATCH, (lane,)).fetchone()
            found.append(LaneHead(lane, batch, number, chain.hex()))
        return found


def anchor_digest(message: SignedMessage) -> str:
    """By what an anchor is named: the digest of its message, hex."""
    return suite(message.suite).digest(message.canonical()).hex()


class AnchorStore:
    """Used from one thread at a time; each method is one transaction. Raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        try:
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def anchor(self, head: LaneHead, *, gateway: str, identity: Identity, at: datetime) -> bool:
        """Sign a lane's head, where it has moved since the last anchor; whether it has."""
        last = self._db.execute("SELECT max(batch) FROM anchor WHERE lane = ?", (head.lane,)).fetchone()[0]
        if last is not None and last >= head.batch:
            return False
        word = Anchor(gateway=gateway, lane=head.lane, batch=head.batch, number=head.number, chain=head.chain, at=at)
        message = sign_message(word, identity)
        self._db.execute(
            "INSERT INTO anchor (digest, lane, batch, at, message) VALUES (?, ?, ?, ?, ?)",
            (anchor_digest(message), head.lane, head.batch, at.isoformat(), message.canonical().decode()),
        )
        return True

    def unshipped(self, shipped: dict[str, int]) -> dict[str, list[SignedMessage]]:
        """Anchors that the centre has not, of batches that it has (`shipped`: lane → batch), by lane; in the order in which they were
        made, whatever the clock said."""
        rows = self._db.execute("SELECT lane, batch, message FROM anchor WHERE shipped = 0 ORDER BY rowid").fetchall()
        ready: dict[str, list[SignedMessage]] = {}
        for lane, batch, text in rows:
            if batch <= shipped.get(lane, 0) and len(ready.get(lane, ())) < SHIP_AT_ONCE:
                ready.setdefault(lane, []).append(_message(text))
        return ready

    def mark_shipped(self, messages: Iterable[SignedMessage]) -> None:
        self._db.executemany(
            "UPDATE anchor SET shipped = 1 WHERE digest = ?", [(anchor_digest(message),) for message in messages]
        )

    def ship_again(self) -> None:
        """The centre lost some: everything is offered once more; it knows what it has."""
        self._db.execute("UPDATE anchor SET shipped = 0")

    def unwitnessed(self, now: datetime) -> list[str]:
        """Digests of shipped anchors of the last hours, newest first, that no other department's node has countersigned."""
        rows = self._db.execute(
            "SELECT digest FROM anchor AS a WHERE shipped = 1 AND at > ? AND NOT EXISTS (SELECT 1 FROM countersignature AS c"
            " WHERE c.anchor = a.digest AND c.witness <> 'platform') ORDER BY at DESC LIMIT ?",
            ((now - WITNESS_WAIT).isoformat(), SHIP_AT_ONCE),
        )
        return [digest for (digest,) in rows]

    def take(
        self, countersignatures: Iterable[SignedMessage], identities: Sequence[KnownIdentity], now: datetime
    ) -> None:
        """Keep countersignatures of anchors that lie here. Raises SignatureInvalid, ContractBroken, IdentityBroken."""
        known = {str(entry.identity.get("key_id")): entry for entry in identities}
        for message in countersignatures:
            entry = known.get(message.key_id)
            if entry is None:
                continue
            word = open_message(message, PublicIdentity.from_json(entry.identity), Countersignature)
            digest = anchor_digest(SignedMessage.from_json(word.anchor))
            if word.witness != entry.node or not self._has(digest):
                continue
            self._db.execute(
                "INSERT OR REPLACE INTO identity VALUES (?, ?)", (message.key_id, entry.canonical().decode())
            )
            self._db.execute(
                "INSERT OR IGNORE INTO countersignature VALUES (?, ?, ?, ?)",
                (digest, word.witness, message.canonical().decode(), now.isoformat()),
            )

    def _has(self, digest: str) -> bool:
        return self._db.execute("SELECT 1 FROM anchor WHERE digest = ?", (digest,)).fetchone() is not None

    # -- reading

    def lanes(self) -> list[str]:
        return [lane for (lane,) in self._db.execute("SELECT DISTINCT lane FROM anchor ORDER BY lane")]

    def messages(self, lane: str, *, first: int = 0, last: int | None = None) -> Iterator[SignedMessage]:
        """Anchors of a lane from batch `first` to `last`, oldest first."""
        rows = self._db.execute(
            "SELECT message FROM anchor WHERE lane = ? AND batch >= ? AND batch <= ? ORDER BY batch, at",
            (lane, first, 2**63 - 1 if last is None else last),
        )
        return (_message(text) for (text,) in rows.fetchall())

    def countersignatures(self, lane: str, *, first: int = 0, last: int | None = None) -> Iterator[SignedMessage]:
        rows = self._db.execute(
            "SELECT c.message FROM countersignature AS c JOIN anchor AS a ON a.digest = c.anchor"
            " WHERE a.lane = ? AND a.batch >= ? AND a.batch <= ? ORDER BY a.batch, a.at, c.witness",
            (lane, first, 2**63 - 1 if last is None else last),
        )
        return (_message(text) for (text,) in rows.fetchall())

    def identities(self) -> list[KnownIdentity]:
        """Of those who countersigned."""
        rows = self._db.execute("SELECT entry FROM identity ORDER BY key_id").fetchall()
        return [KnownIdentity.from_json(json.loads(entry)) for (entry,) in rows]

    def last_at(self) -> str:
        """When the last anchor was signed, ISO; empty where there is none."""
        return str(self._db.execute("SELECT coalesce(max(at), '') FROM anchor").fetchone()[0])

    def last_witnessed_at(self) -> str:
        """When the newest anchor that a node of another department countersigned was signed, ISO; empty where there is none."""
        row = self._db.execute(
            "SELECT coalesce(max(a.at), '') FROM anchor AS a JOIN countersignature AS c ON c.anchor = a.digest"
            " WHERE c.witness <> 'platform'"
        ).fetchone()
        return str(row[0])


def _message(text: str) -> SignedMessage:
    return SignedMessage.from_json(json.loads(text))
