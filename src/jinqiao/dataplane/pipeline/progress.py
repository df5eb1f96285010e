"""How far a run is: counted per stage, told to whoever asked, at most a few times a second."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from jinqiao.kernel.contracts.exchange import Progress, Stage
from jinqiao.kernel.moments import now

Told = Progress
TELL_EVERY_S = 0.2


@dataclass(slots=True)
class _Count:
    rows: int = 0
    size_bytes: int = 0
    chunks: int = 0


class Reporter:
    """Adds up what the stages did, from any thread. `chunks_total` is known in delivery only; `rows_total` of a source is an estimate."""

    def __init__(
        self,
        run_id: str,
        tell: Callable[[Told], None] | None,
        *,
        rows_total: int | None = None,
        chunks_total: int | None = None,
    ) -> None:
        self._run_id, self._tell = run_id, tell
        self._rows_total, self._chunks_total = rows_total, chunks_total
        self._counts: dict[Stage, _Count] = {}
        self._told_at: dict[Stage, float] = {}
        self._lock = threading.Lock()

    def add(self, stage: Stage, *, rows: int = 0, size_bytes: int = 0, chunks: int = 0) -> None:
        with self._lock:
            count = self._counts.setdefault(stage, _Count())
            count.rows += rows
            count.size_bytes += size_bytes
            count.chunks += chunks
            if self._tell is None:
                return
            at = time.monotonic()
            if chunks == 0 and at - self._told_at.get(stage, 0.0) < TELL_EVERY_S:
                return
            self._told_at[stage] = at
            self._tell(
                Progress(
                    run_id=self._run_id,
                    stage=stage,
                    rows_done=count.rows,
                    rows_total=self._rows_total,
                    bytes_done=count.size_bytes,
                    chunks_done=count.chunks,
                    chunks_total=self._chunks_total,
                    at=now(),
                )
            )
