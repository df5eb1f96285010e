"""Parquet files as a target (file_target): every logical type as Parquet's own, exactly; meanings and keys with the columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.file_target import FileTarget
from jinqiao.dataplane.connectors.parquet_source import COMMENT, KEY, LENGTH, plain
from jinqiao.dataplane.connectors.values import arrow_type
from jinqiao.dataplane.errors import FileNotReadable
from jinqiao.kernel.contracts.tables import Column, Engine

_GROUP_ROWS = 100_000


class ParquetTarget(FileTarget):
    engine: ClassVar[Engine] = Engine.PARQUET
    suffix: ClassVar[str] = ".parquet"
    title: ClassVar[str] = "Parquet"

    def header(self, path: Path) -> tuple[str, ...]:
        try:
            return tuple(pq.read_schema(path).names)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise FileNotReadable(state="parquet", table=path.stem) from None

    def current(self, path: Path, plan: DeliveryPlan) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_GROUP_ROWS, use_threads=False):
                    yield pa.RecordBatch.from_arrays([plain(c) for c in batch.columns], names=batch.schema.names)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise FileNotReadable(state="parquet", table=plan.table) from None

    def write(self, path: Path, rows: Iterator[pa.RecordBatch], plan: DeliveryPlan) -> None:
        schema = pa.schema([_field(column, column.name in plan.keys) for column in plan.columns])
        with pq.ParquetWriter(path, schema, compression="zstd", store_schema=True) as writer:
            for group in _groups(rows):
                writer.write_table(pa.Table.from_batches(group).cast(schema), row_group_size=_GROUP_ROWS)


def _groups(rows: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches that make a row group together."""
    group: list[pa.RecordBatch] = []
    for batch in rows:
        group.append(batch)
        if sum(piece.num_rows for piece in group) >= _GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def _field(column: Column, key: bool) -> pa.Field:
    about = {COMMENT: column.comment.encode()} if column.comment else {}
    if key:
        about[KEY] = b"1"
    if column.length:
        about[LENGTH] = str(column.length).encode()
    return pa.field(column.name, arrow_type(column), nullable=column.nullable, metadata=about or None)
