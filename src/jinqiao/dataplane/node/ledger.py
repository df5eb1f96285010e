"""What a node was told and what it answered: SQLite, each change on the disk before the next step (synchronous=FULL).

A command is taken in once, by its id. It waits, is worked, and has a result; the result is sent until the platform has
acknowledged it. A process that starts finds commands that were being worked when the last one ended and works them again:
extraction and delivery are built to go on from where they were. Commands of one run are worked in the order in which they
came; a stop reaches those that came before it, a pause holds a run until it is resumed. A move that has to wait is put back
with the instant from which it may be tried.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
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
CREATE TABLE IF NOT EXISTS announced (run_id TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (run_id TEXT PRIMARY KEY, since TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bundle (
    direction TEXT NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (direction, sequence)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS carried (
    sequence INTEGER NOT NULL, command_id TEXT NOT NULL, PRIMARY KEY (sequence, command_id)
) WITHOUT ROWID;
"""
_LATER_COLUMNS = (("command", "not_before", "TEXT"), ("uploaded", "direct", "INTEGER NOT NULL DEFAULT 0"))
MOVES = (CommandKind.EXTRACT, CommandKind.DELIVER)
AT_ONCE = (CommandKind.STOP, CommandKind.PAUSE, CommandKind.RESUME)
"""Commands that work by standing in the ledger; they wait for nothing and hold nothing up."""
_AT_ONCE = ", ".join(f"'{kind.value}'" for kind in AT_ONCE)
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
            for table, column, kind in _LATER_COLUMNS:  # a ledger of an earlier version
                if column not in {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}:
                    self._db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
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
            if inserted and command.kind in (CommandKind.RESUME, CommandKind.STOP):
                self._db.execute("UPDATE command SET not_before = NULL WHERE run_id = ?", (command.run_id,))
            return bool(inserted)

    def claim(self, kinds: Iterable[CommandKind]) -> Task | None:
        """The oldest waiting command of these kinds that is its run's turn; it counts as being worked from now on."""
        wanted = [kind.value for kind in kinds]
        marks = ", ".join("?" * len(wanted))
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            row = self._db.execute(
                f"SELECT seq, body FROM command AS c WHERE state = 'waiting' AND kind IN ({marks})"  # noqa: S608 -- marks only
                f" AND (run_id = '' OR kind IN ({_AT_ONCE}) OR NOT EXISTS (SELECT 1 FROM command AS e"
                " WHERE e.run_id = c.run_id AND e.seq < c.seq"
                f" AND e.state <> 'done' AND e.kind NOT IN ({_AT_ONCE})))"
                " AND (not_before IS NULL OR not_before <= ?) ORDER BY seq LIMIT 1",
                (*wanted, moments.now().isoformat()),
            ).fetchone()
            if row is None:
                return None
            self._db.execute("UPDATE command SET state = 'working' WHERE seq = ?", (row[0],))
            return Task(row[0], Command.from_json(json.loads(row[1])))

    def put_back(self, task: Task, until: datetime) -> None:
        """The command has to wait until that instant; a resume or a stop of its run ends the waiting."""
        with self._lock:
            self._db.execute(
                "UPDATE command SET state = 'waiting', not_before = ? WHERE seq = ?", (until.isoformat(), task.seq)
            )

    def is_held(self, run_id: str) -> bool:
        """Whether the run was paused and not resumed since."""
        with self._lock:
            last = self._db.execute(
                "SELECT kind FROM command WHERE run_id = ? AND kind IN ('pause', 'resume') ORDER BY seq DESC LIMIT 1",
                (run_id,),
            ).fetchone()
        return last is not None and last[0] == CommandKind.PAUSE

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
                "SELECT 1 FROM command WHERE run_id = ? AND (NOT acknowledged OR received_at >= ?)"
                " UNION SELECT 1 FROM announced WHERE run_id = ? AND at >= ? LIMIT 1",
                (run_id, _long_ago(), run_id, _long_ago()),
            ).fetchone()
        return found is None

    # -- direct transfers

    def note_announced(self, run_id: str) -> None:
        """Another node brings chunks of this run before the platform says a word of it."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO announced VALUES (?, ?)", (run_id, moments.now().isoformat()))

    def is_over(self, run_id: str) -> bool:
        """Whether the run was purged here: nothing of it is taken any more."""
        with self._lock:
            found = self._db.execute(
                "SELECT 1 FROM command WHERE run_id = ? AND kind = 'purge' LIMIT 1", (run_id,)
            ).fetchone()
        return found is not None

    # -- moves

    def uploaded(self, command_id: str) -> frozenset[int]:
        """Chunks of this command that the platform has taken."""
        with self._lock:
            rows = self._db.execute("SELECT number FROM uploaded WHERE command_id = ?", (command_id,)).fetchall()
        return frozenset(row[0] for row in rows)

    def note_uploaded(self, command_id: str, number: int, *, direct: bool = False) -> None:
        """`direct`: the consumer's node took it itself, the platform never saw it."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO uploaded VALUES (?, ?, ?)", (command_id, number, direct))

    def sent_directly(self, command_id: str) -> tuple[int, ...]:
        """Chunks of this command that the consumer's node took itself."""
        with self._lock:
            rows = self._db.execute(
                "SELECT number FROM uploaded WHERE command_id = ? AND direct ORDER BY number", (command_id,)
            ).fetchall()
        return tuple(row[0] for row in rows)

    def staged_for(self, run_id: str) -> str | None:
        """Digest of the order that the staged chunks of a run were made for."""
        with self._lock:
            row = self._db.execute("SELECT order_digest FROM staged WHERE run_id = ?", (run_id,)).fetchone()
        return row[0] if row else None

    def note_staging(self, run_id: str, order_digest: str) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO staged VALUES (?, ?)", (run_id, order_digest))

    def forget_staging(self, run_id: str) -> None:
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM staged WHERE run_id = ?", (run_id,))
            self._db.execute("DELETE FROM kept WHERE run_id = ?", (run_id,))
            self._db.execute("DELETE FROM announced WHERE run_id = ?", (run_id,))

    def note_kept(self, run_id: str) -> None:
        """The receipt of this run is complete: its chunks are only kept for a while."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (run_id, moments.now().isoformat()))

    def kept(self, before: datetime | None = None) -> tuple[str, ...]:
        """Runs whose chunks may go, the oldest first; with `before` those that have been kept since an earlier instant."""
        limit = before.isoformat() if before is not None else "~"
        with self._lock:
            rows = self._db.execute("SELECT run_id FROM kept WHERE since <= ? ORDER BY since", (limit,)).fetchall()
        return tuple(row[0] for row in rows)

    # -- bundles (of a node without a network to its platform)

    def last_bundle(self, direction: str) -> int:
        """The highest sequence number that was made (up) or taken (down); 0 before the first."""
        with self._lock:
            row = self._db.execute("SELECT max(sequence) FROM bundle WHERE direction = ?", (direction,)).fetchone()
        return int(row[0] or 0)

    def bundle_digest(self, direction: str, sequence: int) -> str:
        with self._lock:
            row = self._db.execute(
                "SELECT digest FROM bundle WHERE direction = ? AND sequence = ?", (direction, sequence)
            ).fetchone()
        return row[0] if row else ""

    def note_bundle(self, direction: str, sequence: int, digest: str, command_ids: Iterable[str] = ()) -> None:
        """A bundle was made with the results of these commands, or taken."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR REPLACE INTO bundle VALUES (?, ?, ?)", (direction, sequence, digest))
            self._db.executemany(
                "INSERT OR IGNORE INTO carried VALUES (?, ?)", [(sequence, one) for one in command_ids]
            )

    def acknowledge_bundle(self, sequence: int) -> None:
        """The platform has taken every bundle up to this one: what was in them is acknowledged."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "UPDATE command SET acknowledged = 1 WHERE state = 'done' AND id IN"
                " (SELECT command_id FROM carried WHERE sequence <= ?)",
                (sequence,),
            )
            self._db.execute("DELETE FROM carried WHERE sequence <= ?", (sequence,))

    def command(self, command_id: str) -> Command | None:
        """A command as it came, unless it was forgotten."""
        with self._lock:
            row = self._db.execute("SELECT body FROM command WHERE id = ?", (command_id,)).fetchone()
        return Command.from_json(json.loads(row[0])) if row and row[0] else None
