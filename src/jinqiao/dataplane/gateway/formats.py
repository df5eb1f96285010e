"""The forms in which rows are answered: JSON unless the caller's Accept asks for CSV or an Arrow stream."""

import csv
import enum
import io
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pyarrow as pa

from jinqiao.dataplane.gateway.errors import AcceptNotOffered
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.policy import Operation
from jinqiao.kernel.contracts.tables import LogicalType, Mask

KEY_COLUMN = "_key"
"""First column of a batch as CSV or Arrow: which key of the question the row is of, from 1."""
_ROWS = (Operation.QUERY, Operation.BATCH, Operation.LIST)


class Form(enum.StrEnum):
    JSON = "application/json"
    CSV = "text/csv"
    ARROW = "application/vnd.apache.arrow.stream"


@lru_cache(256)
def form_of(accept: str, operation: Operation) -> Form:
    """The form that an Accept header wants most (RFC 9110, 12.5.1); JSON without one. Raises AcceptNotOffered."""
    offered = tuple(Form) if operation in _ROWS else (Form.JSON,)
    if not accept.strip():
        return Form.JSON
    best, most = None, 0.0
    for part in accept[:500].split(","):
        kind, *parameters = (word.strip().lower() for word in part.split(";"))
        wish = _quality(parameters)
        for form in offered:
            if wish > most and kind in (form.value, "*/*", f"{form.value.partition('/')[0]}/*"):
                best, most = form, wish
    if best is None:
        raise AcceptNotOffered(allowed="、".join(offered))
    return best


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


Rows = Sequence[Sequence[Any]]


def csv_bytes(items: Sequence[GrantedItem], rows: Rows, keys: Sequence[int] | None) -> bytes:
    """RFC 4180 in UTF-8, item codes in the first line; a missing value is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([*([KEY_COLUMN] if keys is not None else []), *(item.code for item in items)])
    for at, row in enumerate(rows):
        cells = [_cell(value) for value in row]
        writer.writerow(cells if keys is None else [keys[at], *cells])
    return out.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def arrow_bytes(items: Sequence[GrantedItem], rows: Rows, keys: Sequence[int] | None) -> bytes:
    """An Arrow IPC stream of one batch; a masked item is text."""
    names, arrays = [item.code for item in items], []
    for at, item in enumerate(items):
        arrays.append(_array([row[at] for row in rows], item))
    if keys is not None:
        names, arrays = [KEY_COLUMN, *names], [pa.array(keys, pa.int64()), *arrays]
    batch = pa.RecordBatch.from_arrays(arrays, names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _array(values: list[Any], item: GrantedItem) -> pa.Array:
    if item.mask is not Mask.NONE:
        return pa.array(values, pa.string())
    match item.type:
        case LogicalType.INTEGER:
            return pa.array(values, pa.int64())
        case LogicalType.DECIMAL if item.precision and item.scale is not None:
            decimals = [None if value is None else Decimal(value) for value in values]
            return pa.array(decimals, pa.decimal128(min(item.precision, 38), item.scale))
        case LogicalType.DOUBLE:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        case LogicalType.BOOLEAN:
            return pa.array(values, pa.bool_())
        case LogicalType.DATE:
            return pa.array([None if value is None else date.fromisoformat(value) for value in values], pa.date32())
        case LogicalType.DATETIME:
            moments = [None if value is None else datetime.fromisoformat(value) for value in values]
            return pa.array(moments, pa.timestamp("us"))
        case LogicalType.BINARY:
            return pa.array([None if value is None else bytes.fromhex(value) for value in values], pa.binary())
    return pa.array(values, pa.string())
