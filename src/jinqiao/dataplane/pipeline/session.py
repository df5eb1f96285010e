"""What a mode adds to a reading, in one form for all: which rows, what is remembered, what the next run starts from."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source
from jinqiao.dataplane.connectors.snapshots import Snapshot, SnapshotState
from jinqiao.kernel.contracts.exchange import Finding
from jinqiao.kernel.contracts.tables import RowCondition


class Session:
    """A full run: every granted row, nothing remembered. The other modes override what they need."""

    columns: tuple[str, ...] = ()  # of the source, besides those of the items
    conditions: tuple[RowCondition, ...] = ()  # besides those of the grant
    in_splits = True  # may the table be read in splits, side by side?
    can_resume = True  # may a killed extraction go on? not where the session itself holds what the rows told it
    complete = False  # every granted row comes, though the mode asked for changes: delivered as a full batch

    def open_snapshot(
        self, source: Source, plan: ReadPlan, *, parallel: int, resume: SnapshotState | None, chunk_rows: int
    ) -> Snapshot:
        """What is read: as a rule, the source's table as it is now."""
        if not self.in_splits:
            return source.open_snapshot(plan, resume=resume, chunk_rows=0)
        return source.open_snapshot(plan, parallel=parallel, resume=resume, chunk_rows=chunk_rows)

    def marks(self, batch: pa.RecordBatch) -> pa.Array | None:
        """The values of a batch of the source that `filter` wants back, row by row."""
        return None

    def begun(self) -> dict[str, Any]:
        """What was true when the snapshot was opened and must still be when the reading goes on; JSON values."""
        return {}

    def go_on(self, begun: dict[str, Any]) -> None:
        """The snapshot of a killed process is read on."""

    def told(self, highest: int | None, missing: int) -> None:
        """Of a split that a killed process staged: its highest mark, and how many rows had none."""

    def filter(self, batch: pa.RecordBatch, marks: pa.Array | None) -> pa.RecordBatch:
        """Rows in the form of the target, those of them that are handed over. Thread-safe."""
        return batch

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
