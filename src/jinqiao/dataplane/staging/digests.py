"""The canonical bytes of `kernel.digests`, made a column at a time. Both ways give the same digest: a test holds them together."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import plain_decimals
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.digests import ESCAPES, FIELD_END, NULL, ROW_END, canonical_text

_ESCAPED = tuple(plain.encode() for plain, _ in ESCAPES)
# Between these the shortest text of a double has no exponent, in Arrow as in Python.
_PLAIN_FROM, _PLAIN_TO = 1e-4, 1e10


def logical_type(type_: pa.DataType) -> LogicalType:
    """The logical type that travels as this Arrow type."""
    if pa.types.is_decimal(type_):
        return LogicalType.DECIMAL
    for test, kind in (
        (pa.types.is_string, LogicalType.TEXT),
        (pa.types.is_int64, LogicalType.INTEGER),
        (pa.types.is_float64, LogicalType.DOUBLE),
        (pa.types.is_boolean, LogicalType.BOOLEAN),
        (pa.types.is_date32, LogicalType.DATE),
        (pa.types.is_timestamp, LogicalType.DATETIME),
        (pa.types.is_binary, LogicalType.BINARY),
    ):
        if test(type_):
            return kind
    raise TypeError(f"no logical type travels as {type_}")


def canonical_column(values: pa.Array) -> pa.Array:
    """`canonical_text` of every value; NULL stays NULL."""
    match logical_type(values.type):
        case LogicalType.TEXT:
            return values
        case LogicalType.BOOLEAN:
            return values.cast(pa.int8()).cast(pa.string())
        case LogicalType.INTEGER | LogicalType.DATE:
            return values.cast(pa.string())
        case LogicalType.DATETIME:
            return pc.utf8_replace_slice(values.cast(pa.string()), 10, 11, "T")
        case LogicalType.DECIMAL:
            return _decimal_text(values)
        case LogicalType.DOUBLE:
            return _double_text(values)
        case _:
            return pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())


def _decimal_text(values: pa.Array) -> pa.Array:
    text = plain_decimals(values)
    return pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), ".") if values.type.scale > 0 else text


def _double_text(values: pa.Array) -> pa.Array:
    values = pc.add(values, 0.0)  # -0.0 becomes 0.0
    size = pc.abs(values)
    plain = pc.or_(pc.and_(pc.greater_equal(size, _PLAIN_FROM), pc.less(size, _PLAIN_TO)), pc.equal(size, 0.0))
    if not pc.all(plain, min_count=0).as_py():
        return _one_by_one(values, LogicalType.DOUBLE)
    text = values.cast(pa.string())
    whole = pc.equal(pc.find_substring(text, "."), -1)
    if not pc.any(whole).as_py():
        return text
    return pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)


def _one_by_one(values: pa.Array, kind: LogicalType) -> pa.Array:
    return pa.array([canonical_text(value, kind) for value in values.to_pylist()], pa.string())


def _field(values: pa.Array) -> pa.Array:
    text = canonical_column(values)
    if pa.types.is_string(values.type) and _has_escapes(text):
        for plain, written in ESCAPES:
            text = pc.replace_substring(text, plain, written)
    return text.fill_null(NULL) if text.null_count else text


def _has_escapes(text: pa.Array) -> bool:
    octets = bytes(_data(text))
    return any(octet in octets for octet in _ESCAPED)


def canonical_rows(batch: pa.RecordBatch) -> memoryview:
    """The canonical bytes of all rows, one after another."""
    if batch.num_rows == 0:
        return memoryview(b"")
    fields = [_field(column) for column in batch.columns]
    fields[-1] = pc.binary_join_element_wise(fields[-1], ROW_END, "")
    rows = pc.binary_join_element_wise(*fields, FIELD_END) if len(fields) > 1 else fields[0]
    return _data(rows)


def _data(text: pa.Array) -> memoryview:
    """The bytes of all texts of an array, without a copy."""
    data = text.buffers()[2]
    if data is None or len(text) == 0:
        return memoryview(b"")
    offsets = np.frombuffer(text.buffers()[1], np.int32)
    return memoryview(data)[int(offsets[text.offset]) : int(offsets[text.offset + len(text)])]


def scalar_text(value: Any, kind: LogicalType) -> str:
    """Canonical text of a single value that is not NULL, e.g. of a cursor."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    if kind is LogicalType.DECIMAL and not isinstance(value, Decimal):
        value = Decimal(str(value))
    return canonical_text(value, kind) or ""
