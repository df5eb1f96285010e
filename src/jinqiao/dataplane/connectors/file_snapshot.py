"""A file that stays the same, read in splits of its rows: a killed extraction goes on with the rows that are not staged yet.

One reader goes through the file once; a split `100000:200000` is the rows from one position to another, in the order of the
reading. The token is the state of the file, looked at before the first row and after the last.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan
from jinqiao.dataplane.connectors.ranges import bounds_of
from jinqiao.dataplane.connectors.snapshots import Reader, Snapshot, SnapshotState
from jinqiao.dataplane.errors import SourceChanged


class FileLike(Protocol):
    """A source whose rows have places that stay as long as its state does."""

    snapshot: str

    def state_token(self, table: str) -> str: ...

    def splits(self, plan: ReadPlan, chunk_rows: int) -> tuple[str, ...]:
        """Ranges of places (`connectors.ranges`), in their order; together they hold every row."""

    def read_from(self, plan: ReadPlan, place: int) -> Iterator[pa.RecordBatch]:
        """As `read`, without the rows before a place."""


class FileSnapshot(Snapshot):
    def __init__(self, source: FileLike, plan: ReadPlan, *, resume: SnapshotState | None, chunk_rows: int) -> None:
        self._source, self._plan = source, plan
        token = source.state_token(plan.table)
        self.resumed = resume is not None and resume.token == token
        splits = resume.splits if resume is not None and self.resumed else source.splits(plan, chunk_rows)
        self.state = SnapshotState(source.snapshot, token, splits)

    def reader(self) -> "FileReader":
        return FileReader(self._source, self._plan, self.state.token)


class FileReader(Reader):
    def __init__(self, source: FileLike, plan: ReadPlan, token: str) -> None:
        self._source, self._plan, self._token = source, plan, token
        self._rows: Iterator[pa.RecordBatch] | None = None
        self._rest: pa.RecordBatch | None = None
        self._place = 0  # of the next row that `_rest` and `_rows` give
        self._ended = False  # there is none: a filter lets fewer rows through than the splits have places

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        since, until = bounds_of(split)
        if self._ended and (since or 0) >= self._place:
            return
        if self._rows is None or self._place != (since or 0):
            self._place, self._rest, self._ended = since or 0, None, False
            self._rows = self._source.read_from(self._plan, self._place)
        while until is None or self._place < until:
            batch = self._rest if self._rest is not None else next(self._rows, None)
            self._rest = None
            if batch is None:
                self._ended = True
                return
            if until is not None and batch.num_rows > until - self._place:
                room = until - self._place
                batch, self._rest = batch.slice(0, room), batch.slice(room)
            self._place += batch.num_rows
            yield batch

    def close(self) -> None:
        if self._rows is not None and hasattr(self._rows, "close"):
            self._rows.close()
        self._rows = None

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and self._source.state_token(self._plan.table) != self._token:
            raise SourceChanged(table=self._plan.table)
