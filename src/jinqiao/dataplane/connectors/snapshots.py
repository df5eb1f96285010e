"""One consistent view of a table, read in splits: side by side where the engine can share it, and again after a crash where
it can be found again.

    snapshot = source.open_snapshot(plan, parallel=2, resume=state_of_a_killed_reading)
    with snapshot, snapshot.reader() as reader:          one reader a thread, at most `snapshot.readers` of them
        for split in snapshot.state.splits: reader.read(split)

`snapshot.resumed` says whether it shows exactly what the state given as `resume` showed: then splits that are staged need not
be read again. Engines find that out in two ways: the snapshot itself is still held open for us, or a token of the database's
state (PostgreSQL: the set of transactions that are visible) is the same as it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.base import Closing, ReadPlan, Source

WHOLE = ""  # the split of a table that is read in one piece


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """What must be written down to find a snapshot again. `handle` holds what its engine wants, JSON values without secrets."""

    kind: str  # how it is consistent, as it stands in the manifest
    token: str  # the same token later = the same contents; empty = not known
    splits: tuple[str, ...]
    handle: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "token": self.token, "splits": list(self.splits), "handle": self.handle}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SnapshotState":
        return cls(data["kind"], data["token"], tuple(data["splits"]), data["handle"])


class Reader(Closing, ABC):
    """One connection that sees the snapshot; for one thread."""

    @abstractmethod
    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        """Rows of a split, as `Source.read` gives them."""


@dataclass(slots=True)
class Tuples:
    """Whole rows in the engine's own binary form, one after another.

    Where a mark was asked for: `marks` (int64, NULL where a row has none) as `pipeline.modes.cursors.Scale` has them, and `ends`
    of the rows within `data`, 0 first.
    """

    data: bytes | bytearray
    rows: int
    marks: pa.Array | None = None
    ends: Sequence[int] = ()

    def only(self, chosen: Sequence[int]) -> "Tuples":
        """The rows at these places, in their order, without marks."""
        data, ends = memoryview(self.data), self.ends
        return Tuples(b"".join([data[ends[at] : ends[at + 1]] for at in chosen]), len(chosen))


class RawReader(Closing, ABC):
    """One connection that gives rows in the engine's own binary form."""

    @abstractmethod
    def copy(self, split: str) -> Iterator[Tuples]:
        """The rows of a split, a few MiB at a time."""


class Snapshot(Closing, ABC):
    state: SnapshotState
    resumed: bool = False
    readers: int = 1  # that may work at the same time

    @abstractmethod
    def reader(self) -> Reader: ...

    def keep(self, note: Callable[[SnapshotState], None]) -> None:
        """From now on it is found again after a kill, where its engine can do that. `note` writes a state down, durably; it may be
        called more than once, so that at any instant what is written down finds a snapshot, and knows what must be ended."""
        note(self.state)


class WholeSnapshot(Snapshot):
    """A source that gives its table in one reading: the reading is the snapshot."""

    def __init__(self, source: Source, plan: ReadPlan) -> None:
        self._source, self._plan = source, plan
        self.state = SnapshotState(source.snapshot, "", (WHOLE,))

    def reader(self) -> Reader:
        return _WholeReader(self._source, self._plan)


class _WholeReader(Reader):
    def __init__(self, source: Source, plan: ReadPlan) -> None:
        self._source, self._plan = source, plan

    def read(self, split: str) -> Iterator[pa.RecordBatch]:
        return self._source.read(self._plan)
