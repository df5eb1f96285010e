"""Parquet files as a source: types are those of the file's own schema.

    int*, uint8–32 INTEGER · uint64 DECIMAL(20, 0) · decimal up to 38 digits DECIMAL, wider TEXT · float*, double DOUBLE
    date DATE · timestamp DATETIME; with a zone: wall-clock time in China, as every connector shows instants; nanoseconds that
    microseconds cannot hold do not fit · binary BINARY · string, dictionary, UUID, time TEXT · list, struct, map TEXT as JSON

Trap: timestamps without a zone are taken as they stand; some programs (Spark with INT96) mean UTC by them.
"""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jinqiao.dataplane.connectors.file_source import FileSource, FileTable
from jinqiao.dataplane.connectors.values import MAX_PRECISION
from jinqiao.dataplane.errors import FileNotReadable
from jinqiao.kernel.contracts.tables import Column, Engine, LogicalType

ZONE = "Asia/Shanghai"
COMMENT, KEY, LENGTH = b"comment", b"jinqiao.key", b"jinqiao.length"  # of a field, in files that we wrote
UUID = "arrow.uuid"
_UINT64_DIGITS = 20
_TESTS = (
    (pa.types.is_boolean, LogicalType.BOOLEAN),
    (pa.types.is_integer, LogicalType.INTEGER),
    (pa.types.is_floating, LogicalType.DOUBLE),
    (pa.types.is_date, LogicalType.DATE),
    (pa.types.is_timestamp, LogicalType.DATETIME),
    (pa.types.is_binary, LogicalType.BINARY),
    (pa.types.is_large_binary, LogicalType.BINARY),
    (pa.types.is_fixed_size_binary, LogicalType.BINARY),
)


def column_of(field: pa.Field) -> Column:
    """A field of the file's schema as a column."""
    type_, about = field.type, field.metadata or {}
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if isinstance(type_, pa.BaseExtensionType) and type_.extension_name != UUID:
        type_ = type_.storage_type
    kind, precision, scale = LogicalType.TEXT, None, None
    if pa.types.is_uint64(type_):
        kind, precision, scale = LogicalType.DECIMAL, _UINT64_DIGITS, 0
    elif pa.types.is_decimal(type_):
        if type_.precision <= MAX_PRECISION and 0 <= type_.scale <= type_.precision:
            kind, precision, scale = LogicalType.DECIMAL, type_.precision, type_.scale
    else:
        kind = next((kind for test, kind in _TESTS if test(type_)), LogicalType.TEXT)
    length = about.get(LENGTH, b"").decode()
    return Column(
        name=field.name,
        type=kind,
        native_type=str(field.type),
        nullable=field.nullable,
        length=int(length) if length.isdigit() else None,
        precision=precision,
        scale=scale,
        primary_key=KEY in about,
        comment=about.get(COMMENT, b"").decode("utf-8", "replace"),
    )


class ParquetSource(FileSource):
    engine: ClassVar[Engine] = Engine.PARQUET
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    title: ClassVar[str] = "Parquet"

    def columns(self, table: FileTable) -> tuple[Column, ...]:
        with _opened(table) as file:
            return columns_of(file, table)

    def row_estimate(self, table: FileTable) -> int | None:
        with _opened(table) as file:
            return int(file.metadata.num_rows)

    def batches(self, table: FileTable, columns: tuple[Column, ...], rows: int) -> Iterator[pa.RecordBatch]:
        names = [column.name for column in columns]
        with _opened(table) as file:
            try:
                for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                    arrays = [plain(batch.column(name)) for name in names]
                    yield pa.RecordBatch.from_arrays(arrays, names=names)
            except (pa.ArrowInvalid, OSError):
                raise FileNotReadable(state="row", table=table.name) from None


def _opened(table: FileTable) -> Any:
    try:
        return pq.ParquetFile(table.path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise FileNotReadable(state="parquet", table=table.name) from None


def columns_of(file: Any, table: FileTable) -> tuple[Column, ...]:
    names = file.schema_arrow.names
    if not names or len(set(names)) != len(names) or not all(names):
        raise FileNotReadable(state="header", table=table.name)
    return tuple(column_of(field) for field in file.schema_arrow)


def plain(values: pa.Array) -> pa.Array:
    """Values in a type that `values.fit` takes."""
    type_ = values.type
    if isinstance(values, pa.ExtensionArray):
        return _texts(values, str) if type_.extension_name == UUID else plain(values.storage)
    if pa.types.is_dictionary(type_):
        return plain(values.dictionary_decode())
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return pc.local_timestamp(values.cast(pa.timestamp(type_.unit, ZONE)))
    if pa.types.is_uint64(type_):
        return values.cast(pa.decimal128(_UINT64_DIGITS, 0))
    if pa.types.is_float16(type_):
        return values.cast(pa.float32())
    if pa.types.is_date64(type_):
        return values.cast(pa.timestamp("ms"))
    if pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return values.cast(pa.binary())
    if pa.types.is_nested(type_) or pa.types.is_duration(type_):
        return _texts(values, _json)
    if pa.types.is_decimal(type_) and type_.precision > MAX_PRECISION:
        return values.cast(pa.string())
    return values


def _texts(values: pa.Array, shown: Callable[[Any], str]) -> pa.Array:
    return pa.array([None if value is None else shown(value) for value in values.to_pylist()], pa.string())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_shown)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
