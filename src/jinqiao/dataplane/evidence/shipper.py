"""Ship the log to the centre, batch by batch, in order, from where it stopped. Calls never wait for it.

The cursor is written after the centre has taken a batch: killed in between, the same batch is sent once more, and the centre
takes it as the same (lane and batch number). Trouble of any kind only makes it wait longer.
"""

import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinqiao.dataplane.evidence.errors import BatchesMissingThere
from jinqiao.dataplane.evidence.log import connect_read_only, count_after, lanes, read_batches, time_of
from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.errors import JinqiaoError, Unavailable
from jinqiao.kernel.keystore import write_durably

logger = logging.getLogger(__name__)

BATCHES_AT_ONCE = 50
PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Lag:
    """How far shipping is behind; `waiting_since` and `recorded_at` are times of records."""

    waiting: int
    waiting_since: datetime | None
    recorded_at: datetime | None


class Shipper:
    """`send` hands one batch to the centre and returns when it is taken. Otherwise it raises a JinqiaoError; where that is
    BatchesMissingThere, the cursor goes back to what the centre has."""

    def __init__(self, log: Path, cursor: Path, send: Callable[[EvidenceBatch], None]) -> None:
        self._log = log
        self._cursor = cursor
        self._send = send
        self.last_problem = ""

    def shipped(self) -> dict[str, int]:
        """Last batch taken by the centre, by lane."""
        return shipped_batches(self._cursor)

    def waiting(self) -> int:
        """How many batches the centre has not taken yet."""
        if not self._log.exists():
            return 0
        shipped = self.shipped()
        with contextlib.closing(connect_read_only(self._log)) as db:
            return sum(count_after(db, lane=lane, after=shipped.get(lane, 0)) for lane in lanes(db))

    def lag(self) -> "Lag":
        """What waits, since when, and when something was recorded last. Raises sqlite3.Error, OSError."""
        if not self._log.exists():
            return Lag(0, None, None)
        shipped, waiting = self.shipped(), 0
        oldest: list[datetime] = []
        newest: list[datetime] = []
        with contextlib.closing(connect_read_only(self._log)) as db:
            for lane in lanes(db):
                after = shipped.get(lane, 0)
                waiting += count_after(db, lane=lane, after=after)
                oldest += filter(None, [time_of(db, lane=lane, after=after)])
                newest += filter(None, [time_of(db, lane=lane)])
        return Lag(waiting, min(oldest, default=None), max(newest, default=None))

    def ship_once(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Send what there is, up to `BATCHES_AT_ONCE` of each lane; how many batches were taken. Raises what `send` raises: where
        it is about one lane, after the others were sent."""
        if not self._log.exists():
            return 0
        shipped = self.shipped()
        before = dict(shipped)
        taken, problems = 0, list[JinqiaoError]()
        with contextlib.closing(connect_read_only(self._log)) as db:
            for lane in lanes(db):
                try:
                    for batch in read_batches(db, lane=lane, after=shipped.get(lane, 0), limit=BATCHES_AT_ONCE):
                        if stop():
                            return taken
                        self._send(batch)
                        shipped[lane] = batch.batch
                        taken += 1
                except BatchesMissingThere as gap:
                    shipped[lane] = max(0, min(shipped.get(lane, 0), gap.expected - 1))
                    problems.append(gap)
                except Unavailable:
                    raise
                except JinqiaoError as problem:
                    problems.append(problem)  # of this lane: the others go on
                finally:
                    if shipped != before:
                        write_durably(self._cursor, json.dumps(shipped).encode())
                        before = dict(shipped)
        if problems:
            raise problems[0]
        return taken

    def run(self, stop: threading.Event) -> None:
        """Ship until told to stop."""
        pause = PAUSE_S
        while not stop.is_set():
            try:
                more = self.ship_once(stop.is_set) >= BATCHES_AT_ONCE
                self.last_problem, pause = "", 0.0 if more else PAUSE_S
            except JinqiaoError as problem:
                self._report(problem.code)
                pause = min(max(pause, PAUSE_S) * 2, LONGEST_PAUSE_S)
            except (sqlite3.Error, OSError, ValueError) as problem:
                self._report(type(problem).__name__)
                pause = min(max(pause, PAUSE_S) * 2, LONGEST_PAUSE_S)
            stop.wait(pause)

    def _report(self, problem: str) -> None:
        if problem != self.last_problem:
            logger.warning("evidence cannot be shipped for now: %s", problem)
        self.last_problem = problem


def shipped_batches(cursor: Path) -> dict[str, int]:
    """Last batch taken by the centre, by lane, as the cursor's file has it; empty where it cannot be read."""
    try:
        kept = json.loads(cursor.read_bytes())
        return {str(lane): int(batch) for lane, batch in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # sent again from the beginning; the centre knows what it has
