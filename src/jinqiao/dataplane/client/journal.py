"""An application's own record of its calls, and the receipts that it sends of them.

The journal keeps digests and salts, never an answer: with the answer, which the application keeps where its law says, it proves
later what was disclosed; and the receipts put the application's word into the gateway's chain, beside the gateway's own.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import suite

RECEIPTS_PATH = "/gateway/v1/receipts"
AT_ONCE = 100
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
  call_id TEXT PRIMARY KEY, at TEXT NOT NULL, service TEXT NOT NULL, request_digest TEXT NOT NULL,
  answer_digest TEXT NOT NULL, answer_commitment TEXT NOT NULL, salt TEXT NOT NULL, sent_at TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_unsent ON entry (at) WHERE sent_at IS NULL;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call as its application remembers it; digests and the commitment in hex."""

    call_id: str
    at: str
    service: str
    request_digest: str
    answer_digest: str
    answer_commitment: str
    salt: str
    sent_at: str | None


class Journal:
    """A SQLite file of the application's own. `suite_name` is the gateway's suite. Used from one thread at a time."""

    def __init__(self, path: Path, suite_name: str = "international") -> None:
        self._suite = suite(suite_name)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def note(self, *, call_id: str, service: str, request: bytes, answer: bytes, salt: str) -> None:
        """Write down an answered call: the bytes of request and answer as they went, and the salt of the answer's header (hex)."""
        digest = self._suite.digest
        commitment = self._suite.hmac(bytes.fromhex(salt), answer).hex()
        fields = (digest(request).hex(), digest(answer).hex(), commitment, salt)
        self._db.execute(
            "INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (call_id, moments.now().isoformat(), service, *fields),
        )

    def entry(self, call_id: str) -> Entry | None:
        row = self._db.execute("SELECT * FROM entry WHERE call_id = ?", (call_id,)).fetchone()
        return Entry(*row) if row else None

    def unsent(self, limit: int = AT_ONCE) -> list[Entry]:
        """Calls of which no receipt was sent yet, oldest first."""
        rows = self._db.execute("SELECT * FROM entry WHERE sent_at IS NULL ORDER BY at LIMIT ?", (limit,))
        return [Entry(*row) for row in rows]

    def send_receipts(self, post: Callable[[bytes], object]) -> int:
        """Hand receipts of all calls that have none to `post`, as bodies for `RECEIPTS_PATH`; how many were recorded.

        What `post` raises ends it; sent again after any trouble: the same receipt twice says the same.
        """
        sent = 0
        while entries := self.unsent():
            receipts = [{"call_id": one.call_id, "answer_commitment": one.answer_commitment} for one in entries]
            post(json.dumps({"receipts": receipts}).encode())
            now = moments.now().isoformat()
            self._db.executemany(
                "UPDATE entry SET sent_at = ? WHERE call_id = ?", [(now, entry.call_id) for entry in entries]
            )
            sent += len(entries)
        return sent
