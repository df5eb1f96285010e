"""Compare contents: read both sides again and say whether the target shows exactly what the grant lets through.

A delivery proves that what was sent arrived; this proves that it still stands there. It costs a full reading of both sides,
so it runs when asked. Rows are compared as a set with multiplicity, by the sum of their digests modulo 2^256: the order in
which an engine gives them does not matter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, never
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.masks import mask_array
from jinqiao.dataplane.pipeline.orders import target_columns, value_column
from jinqiao.dataplane.staging.digests import canonical_rows
from jinqiao.kernel.contracts.exchange import ContentDigest, ExchangeOrder
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.digests import ROW_END

_MODULUS = 1 << 256


@dataclass(frozen=True, slots=True)
class Content:
    """Number of rows, and the digest of them all whatever their order (hex)."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Comparison:
    source: Content
    target: Content

    @property
    def same(self) -> bool:
        return self.source == self.target


def compare(order: ExchangeOrder, source: Source, target: Source, *, stop: Callable[[], bool] = never) -> Comparison:
    """The granted rows of the source, masked as they were sent, against the target's table opened as a source.

    Rows that a full run put into quarantine are rows that differ.
    """
    algorithms = suite(PublicIdentity.from_json(order.consumer_identity).suite)
    return Comparison(
        source=_content(_granted(order, source, stop), algorithms),
        target=_content(_shown(order, target, stop), algorithms),
    )


def content_of(order: ExchangeOrder, opened: Source, side: str, *, stop: Callable[[], bool] = never) -> ContentDigest:
    """One side read again: `side` is "source", or "target" with the target's table opened as a source."""
    algorithms = suite(PublicIdentity.from_json(order.consumer_identity).suite)
    rows = _granted(order, opened, stop) if side == "source" else _shown(order, opened, stop)
    found = _content(rows, algorithms)
    return ContentDigest(rows=found.rows, digest=found.digest)


def _granted(order: ExchangeOrder, source: Source, stop: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
    items = order.grant.items
    plan = ReadPlan(
        table=order.source_table,
        columns=tuple(dict.fromkeys(item.column for item in items)),
        row_filter=order.grant.row_filter,
        rows_per_s=order.rows_per_s,
        statement_timeout_s=order.statement_timeout_s,
        stop=stop,
    )
    schema = arrow_schema(target_columns(order))
    for batch in source.read(plan):
        fitted = [fit(batch.column(item.column), arrow_type(value_column(item))).values for item in items]
        masked = [mask_array(values, item.mask) for values, item in zip(fitted, items, strict=True)]
        yield pa.RecordBatch.from_arrays(masked, schema=schema)


def _shown(order: ExchangeOrder, target: Source, stop: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
    columns = target_columns(order)
    schema = arrow_schema(columns)
    plan = ReadPlan(
        table=order.target_table,
        columns=tuple(column.name for column in columns),
        statement_timeout_s=order.statement_timeout_s,
        stop=stop,
    )
    for batch in target.read(plan):
        fitted = [fit(values, arrow_type(column)).values for values, column in zip(batch.columns, columns, strict=True)]
        yield pa.RecordBatch.from_arrays(fitted, schema=schema)


def _content(batches: Iterator[pa.RecordBatch], algorithms: Suite) -> Content:
    end = ROW_END.encode()
    total, count = 0, 0
    for batch in batches:
        for row in bytes(canonical_rows(batch)).split(end)[:-1]:  # the mark is escaped inside of fields
            total = (total + int.from_bytes(algorithms.digest(row), "big")) % _MODULUS
        count += batch.num_rows
    return Content(count, f"{total:064x}")
