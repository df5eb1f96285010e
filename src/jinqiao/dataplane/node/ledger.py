"""What a node was told and what it answered: SQLite, each change on the disk before the next step (synchronous=FULL).

A command is taken in once, by its id. It waits, is worked, and has a result; the result is sent until the platform has
acknowledged it. A process that starts finds commands that were being worked when the last one ended and works them again:
extraction and delivery are built to go on from where they were. Commands of one run are worked in the order in which they
came; a stop reaches those that came before it.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Command, CommandKind, CommandResult

_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    run_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'working', 'done')),
    received_at TEXT NOT NULL,
    body TEXT,
    result TEXT,
    acknowledged INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS command_open ON command (state, acknowledged);
CREATE INDEX IF NOT EXISTS command_run ON command (run_id, seq);
CREATE TABLE IF NOT EXISTS uploaded (
    command_id TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (command_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staged (run_id TEXT PRIMARY KEY, order_digest TEXT NOT NULL) WITHOUT ROWID;
"""
MOVES = (CommandKind.EXTRACT, CommandKind.DELIVER)
KEEP = timedelta(days=30)


def _long_ago() -> str:
    return (moments.now() - KEEP).isoformat()


@dataclass(frozen=True, slots=True)
class Task:
    """A command taken out to be worked. `seq` is its place in the order in which commands came."""

    seq: int
    command: Command


class Ledger:
    """Used from several threads; every method is one transaction."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        """Raises sqlite3.Error where the file cannot be opened or written."""
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            file.chmod(0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute("UPDATE command SET state = 'waiting' WHERE state = 'working'")
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -- commands

    def receive(self, command: Command) -> bool:
        """Take a command in. False where its id is known: then a result that was sent is sent once more."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            known = self._db.execute(
                "UPDATE command SET acknowledged = 0 WHERE id = ? AND state = 'done' AND result IS NOT NULL RETURNING seq",
                (command.id,),
            ).fetchall()
            if known:
                return False
            inserted = self._db.execute(
                "INSERT INTO command (id, kind, run_id, state, received_at, body) VALUES (?, ?, ?, 'waiting', ?, ?)"
                " ON CONFLICT (id) DO NOTHING RETURNING seq",
                (
                    command.id,
                    command.kind.value,
                    command.run_id,
                    moments.now().isoformat(),
                    json.dumps(command.to_json(), ensure_ascii=False),
                ),
            ).fetchall()
            return bool(inserted)

    def claim(self, kinds: Iterable[CommandKind]) -> Task | None:
        """The oldest waiting command of these kinds that is its run's turn; it counts as being worked from now on."""
        wanted = [kind.value for kind in kinds]
        marks = ", ".join("?" * len(wanted))
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute(
                f"SELECT seq, body FROM command AS c WHERE state = 'waiting' AND kind IN ({marks})"  # noqa: S608 -- marks only
                " AND (run_id = '' OR NOT EXISTS (SELECT 1 FROM command AS e WHERE e.run_id = c.run_id AND e.seq < c.seq"
                " AND e.state <> 'done' AND e.kind <> 'stop')) ORDER BY seq LIMIT 1",
                wanted,
            ).fetchone()
            if row is None:
                return None
            self._db.execute("UPDATE command SET state = 'working' WHERE seq = ?", (row[0],))
            return Task(row[0], Command.from_json(json.loads(row[1])))

    def is_stopped(self, task: Task) -> bool:
        """Whether a stop for its run came after it."""
        with self._lock:
            found = self._db.execute(
                "SELECT 1 FROM command WHERE run_id = ? AND kind = 'stop' AND seq > ? LIMIT 1",
                (task.command.run_id, task.seq),
            ).fetchone()
        return found is not None

    def has_newer_move(self, task: Task) -> bool:
        """Whether its run was ordered anew after it."""
        with self._lock:
            found = self._db.execute(
                "SELECT 1 FROM command WHERE run_id = ? AND kind IN ('extract', 'deliver') AND seq > ? LIMIT 1",
                (task.command.run_id, task.seq),
            ).fetchone()
        return found is not None

    def open_runs(self) -> tuple[str, ...]:
        """Runs with a move that is not answered and acknowledged."""
        with self._lock:
            rows = self._db.execute(
                "SELECT DISTINCT run_id FROM command WHERE kind IN ('extract', 'deliver') AND NOT acknowledged ORDER BY 1"
            ).fetchall()
        return tuple(row[0] for row in rows)

    # -- results

    def finish(self, result: CommandResult) -> None:
        """The command is worked; its result waits to be acknowledged."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "UPDATE command SET state = 'done', result = ?, acknowledged = 0 WHERE id = ?",
                (json.dumps(result.to_json(), ensure_ascii=False), result.command_id),
            )
            self._db.execute("DELETE FROM uploaded WHERE command_id = ?", (result.command_id,))

    def unacknowledged(self) -> list[CommandResult]:
        """Results that the platform has not taken yet, the oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT result FROM command WHERE state = 'done' AND NOT acknowledged ORDER BY seq"
            ).fetchall()
        return [CommandResult.from_json(json.loads(row[0])) for row in rows if row[0]]

    def acknowledge(self, command_id: str) -> None:
        with self._lock:
            self._db.execute("UPDATE command SET acknowledged = 1 WHERE id = ?", (command_id,))

    def has_work(self) -> bool:
        with self._lock:
            return self._db.execute("SELECT 1 FROM command WHERE state <> 'done' LIMIT 1").fetchone() is not None

    def forget_bodies(self) -> None:
        """Empty what old, acknowledged commands carried; their ids stay, so that none of them is ever worked again."""
        with self._lock:
            self._db.execute(
                "UPDATE command SET body = NULL, result = NULL WHERE acknowledged AND received_at < ? AND body IS NOT NULL",
                (_long_ago(),),
            )

    def is_forgotten(self, run_id: str) -> bool:
        """Whether nothing was heard of a run for so long that its staged chunks may go, purged or not."""
        with self._lock:
            found = self._db.execute(
                "SELECT 1 FROM command WHERE run_id = ? AND (NOT acknowledged OR received_at >= ?) LIMIT 1",
                (run_id, _long_ago()),
            ).fetchone()
        return found is None

    # -- moves

    def uploaded(self, command_id: str) -> frozenset[int]:
        """Chunks of this command that the platform has taken."""
        with self._lock:
            rows = self._db.execute("SELECT number FROM uploaded WHERE command_id = ?", (command_id,)).fetchall()
        return frozenset(row[0] for row in rows)

    def note_uploaded(self, command_id: str, number: int) -> None:
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO uploaded VALUES (?, ?)", (command_id, number))

    def staged_for(self, run_id: str) -> str | None:
        """Digest of the order that the staged chunks of a run were made for."""
        with self._lock:
            row = self._db.execute("SELECT order_digest FROM staged WHERE run_id = ?", (run_id,)).fetchone()
        return row[0] if row else None

    def note_staging(self, run_id: str, order_digest: str) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO staged VALUES (?, ?)", (run_id, order_digest))

    def forget_staging(self, run_id: str) -> None:
        with self._lock:
            self._db.execute("DELETE FROM staged WHERE run_id = ?", (run_id,))
