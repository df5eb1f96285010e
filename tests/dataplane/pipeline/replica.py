"""What a target shows after batches: rows by key, changed as a delivery changes them. And batches of the table `people`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.pipeline.orders import target_columns
from jinqiao.kernel.contracts.exchange import ExchangeOrder

Row = tuple[Any, ...]


class Replica:
    """Rows by their first column. A complete batch replaces everything.

    A diff deletes only what was delivered; a log also tells of rows that came and went between two runs (`lenient`).
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self._lenient = lenient
        self.rows: dict[Any, Row] = {}

    def take(self, rows: Iterable[pa.RecordBatch], deletes: Iterable[pa.RecordBatch], *, complete: bool) -> None:
        if complete:
            self.rows.clear()
        for batch in deletes:
            for row in batch.to_pylist():
                key = next(iter(row.values()))
                if not self._lenient or key in self.rows:
                    del self.rows[key]
        for batch in rows:
            for row in batch.to_pylist():
                values = tuple(row.values())
                self.rows[values[0]] = values


def batches(order: ExchangeOrder, rows: Iterable[Row], size: int = 3) -> list[pa.RecordBatch]:
    """Rows in the form of the order's target, a few at a time."""
    schema, given = arrow_schema(target_columns(order)), list(rows)
    return [
        pa.RecordBatch.from_pylist(
            [dict(zip(schema.names, row, strict=True)) for row in given[start : start + size]], schema
        )
        for start in range(0, len(given), size)
    ]


def person(number: int, name: str, updated: datetime | None = None) -> Row:
    return (number, name, None, updated)
