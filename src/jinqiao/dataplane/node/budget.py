"""A spool that keeps to a budget: asked before each chunk is written, so that the disk never runs full.

What may go goes first: runs whose receipt is complete and that are only kept for a while, the oldest before the others. Where
that is not enough the move stops with an error that may be tried again; nothing that is staged is lost.
"""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from jinqiao.dataplane.errors import SpoolFull
from jinqiao.dataplane.node.errors import SpoolBudgetReached
from jinqiao.dataplane.staging.spool import RunSpool, Spool

MIN_FREE_BYTES = 256 * 1024**2
MIN_FREE_SHARE = 20  # of a small disk a twentieth is enough


def default_min_free(root: Path) -> int:
    """How much of the disk stays free where nobody says so."""
    return min(MIN_FREE_BYTES, shutil.disk_usage(root).total // MIN_FREE_SHARE)


class Budget:
    """Room for staged chunks. `make_room()` drops one run that may go and says whether there was one."""

    def __init__(
        self, root: Path, *, budget_bytes: int, min_free_bytes: int | None, make_room: Callable[[], bool]
    ) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root, self._budget_bytes, self._make_room = root, budget_bytes, make_room
        self._asked_free_bytes = min_free_bytes
        self._lock = threading.RLock()
        self._used = self._counted()

    def take(self, size_bytes: int) -> None:
        """Count a chunk that is about to be written. Raises SpoolBudgetReached, SpoolFull."""
        with self._lock:
            problem = self._problem(size_bytes)
            if problem is not None:
                self._used = self._counted()
                problem = self._problem(size_bytes)
            while problem is not None and self._make_room():
                self._used = self._counted()
                problem = self._problem(size_bytes)
            if problem is not None:
                raise problem
            self._used += size_bytes

    @property
    def _min_free_bytes(self) -> int:
        """Asked anew each time: another disk may be put in the place of the spool."""
        return default_min_free(self._root) if self._asked_free_bytes is None else self._asked_free_bytes

    def _problem(self, size_bytes: int) -> SpoolFull | None:
        if self._budget_bytes and self._used + size_bytes > self._budget_bytes:
            return SpoolBudgetReached(used_bytes=self._used, budget_bytes=self._budget_bytes, size_bytes=size_bytes)
        if shutil.disk_usage(self._root).free - size_bytes < self._min_free_bytes:
            return SpoolFull(size_bytes=size_bytes)
        return None

    def free_bytes(self) -> int:
        """How much may still be staged. Raises OSError where the disk is gone."""
        with self._lock:
            self._used = self._counted()
            free = max(0, shutil.disk_usage(self._root).free - self._min_free_bytes)
            return min(free, max(0, self._budget_bytes - self._used)) if self._budget_bytes else free

    def _counted(self) -> int:
        total = 0
        for path in self._root.glob("*/*/*"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue  # purged meanwhile
        return total


class BudgetedRunSpool(RunSpool):
    """A run's folder whose chunks are counted before they are written."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        super().__init__(folder)
        self._budget = budget

    def write_chunk(self, number: int, data: bytes) -> None:
        self._budget.take(len(data))
        super().write_chunk(number, data)


class BudgetedSpool(Spool):
    """The spool of a node with its budget."""

    def __init__(self, root: Path, budget: Budget) -> None:
        super().__init__(root)
        self._budget = budget

    def free_bytes(self) -> int:
        return self._budget.free_bytes()

    def _run(self, side: str, run_id: str) -> RunSpool:
        return BudgetedRunSpool(super()._run(side, run_id).folder, self._budget)
