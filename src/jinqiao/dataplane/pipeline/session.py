"""What a mode adds to a reading, in one form for all: which rows, what is remembered, what the next run starts from."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.connectors.snapshots import Snapshot, SnapshotState, Tuples
from jinqiao.dataplane.staging.memory import Memory
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.contracts.exchange import Finding
from jinqiao.kernel.contracts.tables import RowCondition

Notes = list[pa.RecordBatch]
"""What a session is to remember of one split, in batches of one schema of its own; durable before the split counts as staged."""


class Session:
    """A full run: every granted row, nothing remembered. The other modes override what they need."""

    columns: tuple[str, ...] = ()  # of the source, besides those of the items
    mark = ""  # the column of which `filter_raw` wants the values
    conditions: tuple[RowCondition, ...] = ()  # besides those of the grant
    remembers = False  # does `filter` give notes, or need the staged rows again (`recall`)?
    fetches = False  # does `fetch` do anything?
    is_window = False  # is only a part of the table read, which may be small?
    complete = False  # every granted row comes, though the mode asked for changes: delivered as a full batch

    def open_snapshot(
        self, source: Source, plan: ReadPlan, *, parallel: int, resume: SnapshotState | None, chunk_rows: int
    ) -> Snapshot:
        """What is read: as a rule, the source's table as it is now."""
        return source.open_snapshot(plan, parallel=parallel, resume=resume, chunk_rows=chunk_rows)

    def marks(self, batch: pa.RecordBatch) -> pa.Array | None:
        """The values of a batch of the source that `filter` wants back, row by row."""
        return None

    def begun(self) -> dict[str, Any]:
        """What was true when the snapshot was opened and must still be when the reading goes on; JSON values."""
        return {}

    def may_go_on(self, begun: dict[str, Any]) -> bool:
        """Can what a killed process staged be understood? Asked before the snapshot is looked for."""
        return True

    def go_on(self, begun: dict[str, Any]) -> None:
        """The snapshot of a killed process is read on."""

    def fetch(self, snapshot: Snapshot, memory: Memory) -> None:
        """What must be there before the first split is read; may change the snapshot's splits. May be called again after a crash."""

    def has_fetched(self, out: RunSpool) -> bool:
        """Did a killed process leave some of it?"""
        return False

    def recall(self, notes: Notes, rows: Iterator[pa.RecordBatch]) -> None:
        """Of a split that a killed process staged: the notes that `filter` gave, and the rows that it let through."""

    def reached(self, marks: pa.Array) -> tuple[int | None, int, bool]:
        """Of rows with these marks what `told` takes."""
        return None, 0, False

    def told(self, highest: int | None, missing: int, is_beyond: bool = False) -> None:
        """Of a split that a killed process staged: its highest mark that counts, how many rows had none, and whether there were
        marks that lie in the future."""

    def filter(
        self, batch: pa.RecordBatch, marks: pa.Array | None = None, notes: Notes | None = None
    ) -> pa.RecordBatch:
        """Rows in the form of the target, those of them that are handed over. Thread-safe; `notes` are those of the split."""
        return batch

    def filter_raw(self, tuples: Tuples, notes: Notes) -> Tuples:
        """The same for rows in the source's own binary form, with their marks where there is a `mark`."""
        return tuples

    def end_split(self, notes: Notes) -> None:
        """The last row of a split was filtered: the last notes of it."""

    def deletes(self) -> Iterator[pa.RecordBatch]:
        """Keys that are gone at the source, after the last row was read."""
        return iter(())

    def findings(self) -> tuple[Finding, ...]:
        return ()

    def save(self, batch_id: str) -> str:
        """Keep what the next run needs, void until the batch has arrived; the cursor to go on from."""
        return ""

    def close(self) -> None:
        """Give back what it holds; safe to call twice."""
