"""From a source's batches to rows that may leave: transformed, fitted, checked, masked, and only those that the mode asks for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jinqiao.dataplane.checks.checker import Checker
from jinqiao.dataplane.checks.quarantine import Quarantine
from jinqiao.dataplane.connectors.base import ReadPlan, never
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.masks import mask_array
from jinqiao.dataplane.pipeline.orders import keys_of, target_columns, value_column
from jinqiao.dataplane.pipeline.session import Session
from jinqiao.kernel.contracts.exchange import ExchangeOrder, Finding
from jinqiao.kernel.contracts.tables import RowCondition

READ_ROWS = 25_000


class Reading:
    """What one order asks of its source. Made once for a run; `part` for each split."""

    def __init__(self, order: ExchangeOrder, session: Session) -> None:
        self.order, self.session = order, session
        self.items = order.grant.items
        self.schema = arrow_schema(target_columns(order))
        self.types = [arrow_type(value_column(item)) for item in self.items]
        Checker(order.checks, self.items, keys_of(order))  # a rule that cannot be is refused before anything is read

    def plan(self, *, stop: Callable[[], bool] = never, hold: Callable[[], bool] = never) -> ReadPlan:
        """The reading without a split. Columns come once each, those that only the mode needs last."""
        order = self.order
        wanted = [item.column for item in self.items] + list(self.session.columns)
        conditions: tuple[RowCondition, ...] = (*order.grant.row_filter, *self.session.conditions)
        return ReadPlan(
            table=order.source_table,
            columns=tuple(dict.fromkeys(wanted)),
            row_filter=conditions,
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
        self.checker = Checker(reading.order.checks, reading.items, keys_of(reading.order))
        self.quarantine = Quarantine(reading.items)

    def passed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Those of the rows that go on, as columns of the target."""
        reading = self._reading
        raw = [batch.column(item.column) for item in reading.items]
        fitted = [fit(column, wanted) for column, wanted in zip(raw, reading.types, strict=True)]
        columns = [column.values for column in fitted]
        marks = reading.session.marks(batch)
        first = self.checker.rows_checked + 1
        bad, reasons = self.checker.check(columns, [column.bad for column in fitted])
        if reasons:
            self.quarantine.add(raw, bad, reasons, first)
            good = pa.array(np.flatnonzero(~bad))
            columns = [column.take(good) for column in columns]
            marks = marks.take(good) if marks is not None else None
        shown = [mask_array(column, item.mask) for column, item in zip(columns, reading.items, strict=True)]
        return reading.session.filter(pa.RecordBatch.from_arrays(shown, schema=reading.schema), marks)


@dataclass(slots=True)
class Totals:
    """Counts of all splits, in the order of the splits."""

    rows_read: int = 0
    rows_bad: int = 0
    findings: dict[tuple[Any, ...], Finding] = field(default_factory=dict)

    def add(self, record: dict[str, Any]) -> None:
        """A split's record. Its row numbers move on by the rows of the splits before it."""
        for data in record["findings"]:
            found = Finding.from_json(data)
            key = (found.check, found.item, found.version, found.severity)
            before = self.findings.get(key)
            samples = tuple(row + self.rows_read for row in found.sample_rows)
            if before is not None:
                samples = (*before.sample_rows, *samples)[:10]
            self.findings[key] = Finding(
                check=found.check,
                item=found.item,
                version=found.version,
                severity=found.severity,
                rows=found.rows + (before.rows if before else 0),
                sample_rows=samples,
            )
        self.rows_read += int(record["rows_read"])
        self.rows_bad += int(record["rows_bad"])

    def sorted(self, more: Sequence[Finding] = ()) -> tuple[Finding, ...]:
        """Most rows first."""
        return tuple(sorted([*self.findings.values(), *more], key=lambda one: (-one.rows, one.check, one.item)))
