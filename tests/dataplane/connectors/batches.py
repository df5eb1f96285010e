"""Batches for targets: rows and keys to delete, in chunks, brought as a delivery brings them."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.connectors import DeliveryPlan, Target
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.kernel.contracts.exchange import ChunkKind, ChunkManifest, CopyMode, Delivery, DeliveryCounts
from jinqiao.kernel.contracts.tables import Column, LogicalType

COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER, nullable=False, primary_key=True),
    Column(name="代码", type=LogicalType.TEXT, length=20, nullable=False, primary_key=True),
    Column(name="name", type=LogicalType.TEXT),
    Column(name="amount", type=LogicalType.DECIMAL, precision=12, scale=2),
    Column(name="score", type=LogicalType.DOUBLE),
    Column(name="seen", type=LogicalType.DATETIME),
)
KEYS = ("id", "代码")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Batch:
    """`rows` have the values of COLUMNS, `deletes` those of KEYS."""

    rows: Sequence[Row]
    deletes: Sequence[Row] = ()
    mode: CopyMode = CopyMode.FULL
    delivery: Delivery = Delivery.MIRROR
    chunk_rows: int = 3
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    columns: tuple[Column, ...] = COLUMNS
    keys: tuple[str, ...] = KEYS
    is_window: bool = False

    def plan(self, table: str, batch_id: str = "", **changes: Any) -> DeliveryPlan:
        batch_id = batch_id or uuid.uuid4().hex
        plan = DeliveryPlan(
            batch_id=batch_id, run_id=batch_id, table=table, columns=self.columns, keys=self.keys, mode=self.mode,
            rows=len(self.rows), chunks=len(list(self.chunks())), delivery=self.delivery, rows_deleted=len(self.deletes),
            at=self.at, is_window=self.is_window,
        )  # fmt: skip
        return replace(plan, **changes)

    def chunks(self) -> Iterator[tuple[ChunkManifest, pa.Table]]:
        keys = tuple(column for name in self.keys for column in self.columns if column.name == name)
        number = 0
        for kind, columns, rows in (
            (ChunkKind.ROWS, self.columns, self.rows),
            (ChunkKind.DELETES, keys, self.deletes),
        ):
            for start in range(0, len(rows), self.chunk_rows):
                number += 1
                part = rows[start : start + self.chunk_rows]
                yield chunk(number, len(part), kind), as_table(part, columns)


def chunk(number: int, rows: int, kind: ChunkKind = ChunkKind.ROWS) -> ChunkManifest:
    return ChunkManifest(
        number=number, rows=rows, size_bytes=0, digest="0" * 64, content_digest=f"{number:064x}", kind=kind
    )


def as_table(rows: Sequence[Row], columns: Sequence[Column]) -> pa.Table:
    names = [column.name for column in columns]
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], arrow_schema(tuple(columns)))


def bring(target: Target, plan: DeliveryPlan, batch: Batch) -> DeliveryCounts:
    """A whole delivery."""
    state = target.prepare(plan)
    if state.merged is not None:
        return state.merged
    for manifest, rows in batch.chunks():
        if manifest.number not in state.loaded:
            target.load(plan, manifest, rows)
    counts = target.merge(plan)
    target.clean(plan)
    return counts
