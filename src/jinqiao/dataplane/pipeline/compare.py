"""Compare contents: read both sides again and say whether the target shows exactly what the grant lets through.

A delivery proves that what was sent arrived; this proves that it still stands there. Rows are compared as a set with
multiplicity, by the sum of their digests: the order in which an engine gives them does not matter. Two methods:

    canonical                the canonical bytes of `kernel.digests`, SHA-256 or SM3, modulo 2^256; between any engines
    hash_record_extended     PostgreSQL's own 64-bit hash of the row under a random seed, summed in the databases, modulo 2^128;
                             between two servers of the same major version, where nothing changed the rows on the way
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, never
from jinqiao.dataplane.connectors.plans import VALID_TO
from jinqiao.dataplane.connectors.postgresql import PostgresqlSource
from jinqiao.dataplane.connectors.snapshots import WHOLE, Snapshot
from jinqiao.dataplane.connectors.values import arrow_schema, arrow_type, fit
from jinqiao.dataplane.pipeline.orders import target_columns
from jinqiao.dataplane.pipeline.raw import can_go_raw
from jinqiao.dataplane.pipeline.reading import Reading
from jinqiao.dataplane.pipeline.session import Session
from jinqiao.dataplane.staging.digests import canonical_rows
from jinqiao.kernel.contracts.exchange import ContentDigest, Delivery, ExchangeOrder
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.digests import ROW_END

if TYPE_CHECKING:
    from jinqiao.dataplane.transforms.tokens import TokenKeys

_MODULUS = 1 << 256
CANONICAL, RECORD_HASH = "canonical", "hash_record_extended"


@dataclass(frozen=True, slots=True)
class Comparison:
    source: ContentDigest
    target: ContentDigest

    @property
    def same(self) -> bool:
        return self.source == self.target


def compare(
    order: ExchangeOrder,
    source: Source,
    target: Source,
    *,
    snapshot: Snapshot | None = None,
    stop: Callable[[], bool] = never,
) -> Comparison:
    """The granted rows of the source, as they were sent, against the target's table opened as a source.

    `snapshot` of the extraction, while it is open, lets the source be read as it was then. Rows that went into quarantine are
    rows that differ. Both sides are read at the same time.
    """
    seed = secrets.randbits(63) if _hash_in_databases(order, source, target) else None
    with ThreadPoolExecutor(2, thread_name_prefix="compare") as pool:
        sent = pool.submit(source_content, order, source, seed=seed, snapshot=snapshot, stop=stop)
        shown = pool.submit(target_content, order, target, seed=seed, stop=stop)
        return Comparison(source=sent.result(), target=shown.result())


def content_of(
    order: ExchangeOrder,
    opened: Source,
    side: str,
    *,
    tokens: "TokenKeys | None" = None,
    stop: Callable[[], bool] = never,
) -> ContentDigest:
    """One side read again: `side` is "source", or "target" with the target's table opened as a source."""
    if side == "source":
        return source_content(order, opened, tokens=tokens, stop=stop)
    return target_content(order, opened, stop=stop)


def source_content(
    order: ExchangeOrder,
    source: Source,
    *,
    seed: int | None = None,
    snapshot: Snapshot | None = None,
    tokens: "TokenKeys | None" = None,
    stop: Callable[[], bool] = never,
) -> ContentDigest:
    """Contents of the provider's side: the granted rows, transformed and masked as they are sent."""
    reading = Reading(order, Session(), tokens)
    plan = reading.plan(stop=stop)
    if seed is not None and isinstance(source, PostgresqlSource):
        columns = tuple(item.column for item in order.grant.items)
        rows, total = source.record_hash(plan, columns, seed, snapshot)
        return ContentDigest(rows=rows, digest=total, method=RECORD_HASH)
    part = reading.part()
    if snapshot is not None:
        with snapshot.reader() as reader:
            whole = snapshot.state.splits == (WHOLE,) or isinstance(source, PostgresqlSource)
            splits = (WHOLE,) if whole else snapshot.state.splits
            batches = (part.passed(batch) for split in splits for batch in reader.read(split))
            return _content(batches, _algorithms(order))
    return _content((part.passed(batch) for batch in source.read(plan)), _algorithms(order))


def target_content(
    order: ExchangeOrder, target: Source, *, seed: int | None = None, stop: Callable[[], bool] = never
) -> ContentDigest:
    """Contents of the consumer's side: the columns of the grant, as they stand in the table; of a history what is valid now."""
    columns = target_columns(order)
    until = (VALID_TO,) if order.delivery is Delivery.HISTORY else ()
    plan = ReadPlan(
        table=order.target_table,
        columns=(*(column.name for column in columns), *until),
        statement_timeout_s=order.statement_timeout_s,
        stop=stop,
    )
    if seed is not None and isinstance(target, PostgresqlSource):
        rows, total = target.record_hash(plan, plan.columns, seed)
        return ContentDigest(rows=rows, digest=total, method=RECORD_HASH)
    schema = arrow_schema(columns)

    def shown() -> Iterator[pa.RecordBatch]:
        for batch in target.read(plan):
            if until:
                batch = batch.filter(batch.column(VALID_TO).is_null())
            given = zip(batch.columns[: len(columns)], columns, strict=True)
            fitted = [fit(values, arrow_type(column)).values for values, column in given]
            yield pa.RecordBatch.from_arrays(fitted, schema=schema)

    return _content(shown(), _algorithms(order))


def _hash_in_databases(order: ExchangeOrder, source: Source, target: Source) -> bool:
    if not (isinstance(source, PostgresqlSource) and isinstance(target, PostgresqlSource)):
        return False
    if order.delivery is Delivery.HISTORY:
        return False
    schema = source.schema(order.source_table)
    return can_go_raw(order, source.engine, schema) and source.major_version() == target.major_version()


def _algorithms(order: ExchangeOrder) -> Suite:
    return suite(PublicIdentity.from_json(order.consumer_identity).suite)


def _content(batches: Iterator[pa.RecordBatch], algorithms: Suite) -> ContentDigest:
    end = ROW_END.encode()
    total, count = 0, 0
    for batch in batches:
        for row in bytes(canonical_rows(batch)).split(end)[:-1]:  # the mark is escaped inside of fields
            total = (total + int.from_bytes(algorithms.digest(row), "big")) % _MODULUS
        count += batch.num_rows
    return ContentDigest(rows=count, digest=f"{total:064x}", method=CANONICAL)
