"""From a source's batches to rows that may leave: transformed, fitted, checked, masked, and only those that the mode asks for."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.checks.quarantine import Quarantine
from jinqiao.dataplane.connectors.base import ReadPlan, never
from jinqiao.dataplane.connectors.snapshots import Tuples
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.masks import mask_array
from jinqiao.dataplane.pipeline.orders import keys_of, target_columns
from jinqiao.dataplane.pipeline.session import Notes, Session
from jinqiao.dataplane.transforms import Transformer
from jinqiao.kernel.contracts.exchange import ExchangeOrder

if TYPE_CHECKING:
    from jinqiao.dataplane.transforms.tokens import TokenKeys

READ_ROWS = 25_000


class Reading:
    """What one order asks of its source. Made once for a run; `part` for each split.

    Raises what is wrong with checks and transforms before anything is read.
    """

    def __init__(
        self,
        order: ExchangeOrder,
        session: Session,
        tokens: "TokenKeys | None" = None,
        gone: frozenset[str] = frozenset(),
    ) -> None:
        """`gone` are columns that the source no longer has: they arrive as NULL."""
        self.gone = gone
        self.order, self.session = order, session
        self.items = order.grant.items
        self.schema = arrow_schema(target_columns(order))
        self.checker = Checker(order.checks, self.items, keys_of(order))
        self.transformer = Transformer(order.transforms, self.items, tokens)

    def plan(self, *, stop: Callable[[], bool] = never, hold: Callable[[], bool] = never) -> ReadPlan:
        """The reading without a split. Columns come once each, those that only the mode needs last."""
        order = self.order
        wanted = dict.fromkeys((*self.transformer.columns(), *self.session.columns))
        return ReadPlan(
            table=order.source_table,
            columns=tuple(name for name in wanted if name not in self.gone),
            row_filter=(*order.grant.row_filter, *self.session.conditions),
            batch_rows=min(READ_ROWS, order.chunk_rows),
            rows_per_s=order.rows_per_s,
            mb_per_s=order.mb_per_s,
            statement_timeout_s=order.statement_timeout_s,
            stop=stop,
            hold=hold,
        )

    def part(self) -> "Part":
        return Part(self)


class Part:
    """The rows of one split, for one thread: counts of its own, row numbers from 1 within the split."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.checker = reading.checker.part()
        self.quarantine = Quarantine(reading.items)
        self.highest: int | None = None  # mark of the rows read (`Session.reached`)
        self.missing = 0  # rows without a mark
        self.is_beyond = False  # are there marks in the future?
        self.notes: Notes = []  # of the session

    def passed_raw(self, tuples: Tuples) -> Tuples:
        """Those of the rows that go on, of which nothing is changed or checked."""
        self.checker.rows_checked += tuples.rows
        if tuples.marks is not None:
            self._reach(tuples.marks)
        return self._reading.session.filter_raw(tuples, self.notes)

    def _reach(self, marks: pa.Array) -> None:
        highest, missing, is_beyond = self._reading.session.reached(marks)
        self.missing += missing
        self.is_beyond |= is_beyond
        if highest is not None and (self.highest is None or highest > self.highest):
            self.highest = highest

    def passed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Those of the rows that go on, as columns of the target."""
        reading = self._reading
        for name in reading.gone:
            batch = batch.append_column(name, pa.nulls(batch.num_rows))
        applied = reading.transformer.apply(batch)
        columns = applied.columns
        marks = reading.session.marks(batch)
        if marks is not None:
            self._reach(marks)
        first = self.checker.rows_checked + 1
        bad, reasons = self.checker.check(columns, applied.misfits, applied.refusals)
        if reasons:
            self.quarantine.add(applied.raw, bad, reasons, first)
            good = pa.array(np.flatnonzero(~bad))
            columns = [column.take(good) for column in columns]
            marks = marks.take(good) if marks is not None else None
        shown = [mask_array(column, item.mask) for column, item in zip(columns, reading.items, strict=True)]
        return reading.session.filter(pa.RecordBatch.from_arrays(shown, schema=reading.schema), marks, self.notes)
