"""The session of an order's mode."""

from collections.abc import Iterator

import pyarrow as pa

from jinqiao.dataplane.connectors.base import Source
from jinqiao.dataplane.errors import OrderNotPossible
from jinqiao.dataplane.pipeline.modes.diff import DiffSession
from jinqiao.dataplane.pipeline.session import Session
from jinqiao.dataplane.staging.state import StateStore
from jinqiao.kernel.contracts.exchange import CopyMode, ExchangeOrder


def session_of(order: ExchangeOrder, source: Source, states: StateStore | None) -> Session:
    """What the mode adds to the reading. Raises what the mode does; OrderNotPossible where it needs a memory and has none."""
    if order.mode is CopyMode.FULL:
        return Session()
    if states is None:
        raise OrderNotPossible(run=order.run_id)
    state = states.task(order.task_id)
    match order.mode:
        case CopyMode.DIFF:
            return _Diff(DiffSession(state, order))
        case _:
            raise OrderNotPossible(run=order.run_id)


class _Diff(Session):
    """Rows met are remembered in memory, so that a killed run reads again; only what changed was staged."""

    can_resume = False

    def __init__(self, diff: DiffSession) -> None:
        self._diff = diff
        self.complete = diff.complete

    def filter(self, batch: pa.RecordBatch, marks: pa.Array | None) -> pa.RecordBatch:
        return self._diff.filter(batch)

    def deletes(self) -> Iterator[pa.RecordBatch]:
        return self._diff.deletes()

    def save(self, batch_id: str) -> str:
        self._diff.save(batch_id)
        return batch_id

    def close(self) -> None:
        self._diff.close()
