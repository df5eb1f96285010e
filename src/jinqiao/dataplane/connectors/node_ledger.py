"""The ledger of batches whose target allows no table of ours: a small SQLite file at the consumer's node.

It cannot commit together with the data. Killed between the two, the batch is delivered again: at least once. What the target
shows is the same then, except for rows that were appended. It holds counts, never a value of a row.

Beside them stands, of each task and target, the last batch that was a part: it moves no cursor, so that nobody else would miss it where
the target is put back to an earlier state (`node.parts`).
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.sqlite import BUSY_TIMEOUT_S, telling
from jinqiao.kernel.contracts.exchange import DeliveryCounts
from jinqiao.kernel.moments import now

_TABLE = (
    "CREATE TABLE IF NOT EXISTS merged (batch_id TEXT PRIMARY KEY, run_id TEXT NOT NULL, target_table TEXT NOT NULL,"
    " counts TEXT NOT NULL, recorded_at TEXT NOT NULL)"
)
_PARTS = (
    "CREATE TABLE IF NOT EXISTS parts (task_id TEXT NOT NULL, place TEXT NOT NULL, batch_id TEXT NOT NULL,"
    " PRIMARY KEY (task_id, place))"
)


class NodeLedger:
    """Batches that were merged, with their counts. May be used by several processes and threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def counts(self, batch_id: str) -> DeliveryCounts | None:
        """Counts of a batch that is merged, None where nothing is known of it."""
        if not self._path.exists():
            return None
        with self._opened() as connection:
            rows = connection.execute("SELECT counts FROM merged WHERE batch_id = ?", (batch_id,)).fetchall()
        return DeliveryCounts.from_json(json.loads(rows[0][0])) if rows else None

    def record(self, plan: DeliveryPlan, counts: DeliveryCounts) -> None:
        """Keep the counts of a batch, durably. What is recorded already stays."""
        with self._opened() as connection:
            connection.execute(
                "INSERT INTO merged VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (plan.batch_id, plan.run_id, plan.table, json.dumps(counts.to_json()), now().isoformat()),
            )

    def part(self, task_id: str, place: str) -> str:
        """The batch that is noted of a task and a target; empty where there is none."""
        if not self._path.exists():
            return ""
        with self._opened() as connection:
            query = "SELECT batch_id FROM parts WHERE task_id = ? AND place = ?"
            rows = connection.execute(query, (task_id, place)).fetchall()
        return str(rows[0][0]) if rows else ""

    def note_part(self, task_id: str, place: str, batch_id: str) -> None:
        """Note a batch instead of the one before, durably."""
        with self._opened() as connection:
            connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", (task_id, place, batch_id))

    def forget_part(self, task_id: str, place: str) -> None:
        with self._opened() as connection:
            connection.execute("DELETE FROM parts WHERE task_id = ? AND place = ?", (task_id, place))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with telling(), closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S)) as connection, connection:
            connection.execute(_TABLE)
            connection.execute(_PARTS)
            yield connection
