"""Values between engines: the Arrow type of every logical type, and the exact fitting of what a source gives to it.

    TEXT string · INTEGER int64 · DECIMAL decimal128(p, s) · DOUBLE float64 · BOOLEAN bool · DATE date32
    DATETIME timestamp[us] without zone · BINARY binary

Fitting never rounds, truncates or guesses: a value that the wanted type cannot hold exactly is marked as bad.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.errors import FilterNotPossible
from jinqiao.kernel.contracts.tables import Column, LogicalType

MAX_PRECISION = 38  # decimal128; wider numbers travel as text
DEFAULT_PRECISION, DEFAULT_SCALE = 38, 10
_SIMPLE = {
    LogicalType.TEXT: pa.string(),
    LogicalType.INTEGER: pa.int64(),
    LogicalType.DOUBLE: pa.float64(),
    LogicalType.BOOLEAN: pa.bool_(),
    LogicalType.DATE: pa.date32(),
    LogicalType.DATETIME: pa.timestamp("us"),
    LogicalType.BINARY: pa.binary(),
}
TRUTH_WORDS = (("1", "0"), ("true", "false"), ("t", "f"), ("y", "n"), ("yes", "no"), ("是", "否"), ("真", "假"))
_DAY_US = 86_400_000_000
_YEARS = {
    pa.date32(): (-719_162, 2_932_896),
    pa.timestamp("us"): (-719_162 * _DAY_US, 2_932_897 * _DAY_US - 1),
}
_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A column of the wanted type. `bad` marks rows whose value did not fit (they hold NULL); None where all did."""

    values: pa.Array
    bad: "np.ndarray[Any, np.dtype[np.bool_]] | None" = None


def arrow_type(column: Column) -> pa.DataType:
    """The one Arrow type in which values of this column travel."""
    if column.type is LogicalType.DECIMAL:
        precision = column.precision or DEFAULT_PRECISION
        scale = column.scale if column.scale is not None else (DEFAULT_SCALE if column.precision is None else 0)
        return pa.decimal128(min(precision, MAX_PRECISION), scale)
    return _SIMPLE[column.type]


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    return pa.schema([pa.field(column.name, arrow_type(column)) for column in columns])


def fit(values: pa.Array, wanted: pa.DataType) -> Fitted:
    """`values` in the type `wanted`, each exactly; the rest marked as bad."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    try:
        fitted = _in_range(_cast(values, wanted))
    except _REFUSALS:
        pieces: list[pa.Array] = []
        marks: list[bool] = []
        _bisect(values, wanted, pieces, marks)
        fitted = pa.concat_arrays(pieces)
        return _without_nul(Fitted(fitted, np.array(marks, dtype=np.bool_)))
    return _without_nul(Fitted(fitted))


def _bisect(values: pa.Array, wanted: pa.DataType, pieces: list[pa.Array], marks: list[bool]) -> None:
    """Cast halves until only single values fail: few bad values cost few casts."""
    try:
        pieces.append(_in_range(_cast(values, wanted)))
        marks.extend([False] * len(values))
    except _REFUSALS:
        if len(values) == 1:
            pieces.append(pa.nulls(1, wanted))
            marks.append(True)
            return
        middle = len(values) // 2
        _bisect(values.slice(0, middle), wanted, pieces, marks)
        _bisect(values.slice(middle), wanted, pieces, marks)


def _in_range(values: pa.Array) -> pa.Array:
    """Dates and times lie in the years 1 to 9999, as every engine and every program can hold them."""
    if not (pa.types.is_date(values.type) or pa.types.is_timestamp(values.type)) or len(values) == 0:
        return values
    first, last = _YEARS[values.type]
    numbers = values.cast(pa.int32() if pa.types.is_date(values.type) else pa.int64())
    extremes = pc.min_max(numbers).as_py()
    least, most = extremes["min"], extremes["max"]
    if least is not None and (least < first or most > last):
        raise pa.ArrowInvalid("a date outside the years 1 to 9999")
    return values


def _cast(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    given = values.type
    if given == wanted:
        return values
    if pa.types.is_null(given):
        return pa.nulls(len(values), wanted)
    if pa.types.is_large_string(given) or pa.types.is_string_view(given):
        return _cast(values.cast(pa.string()), wanted)
    if pa.types.is_binary(given) or pa.types.is_large_binary(given):
        return _cast(values.cast(pa.string()), wanted)
    if pa.types.is_binary(wanted):
        return _from_hex(values)
    if pa.types.is_boolean(wanted):
        return _truth_of(values) if pa.types.is_string(given) else _to_boolean(values.cast(pa.int64()))
    if pa.types.is_boolean(given):
        return _cast(values.cast(pa.int64()), wanted)
    if pa.types.is_decimal(wanted) and not pa.types.is_decimal(given):
        return (_text_of(values) if not pa.types.is_string(given) else values).cast(wanted)
    if pa.types.is_string(wanted):
        return _text_of(values)
    if pa.types.is_date(wanted) and pa.types.is_string(given):
        return _date_from_text(values)
    if pa.types.is_date(wanted) and pa.types.is_timestamp(given):
        return _date_from_time(values)
    return values.cast(wanted)


def _text_of(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        return pa.array([None if value is None else repr(value) for value in values.to_pylist()], pa.string())
    if pa.types.is_decimal(values.type):
        return plain_decimals(values)
    return values.cast(pa.string())


def plain_decimals(values: pa.Array) -> pa.Array:
    """Decimals as text with all their digits and never an exponent."""
    text = values.cast(pa.string())
    if values.type.scale > 6 and pc.any(pc.match_substring(text, "E")).as_py():
        return pa.array([None if value is None else f"{value:f}" for value in values.to_pylist()], pa.string())
    return text


def _date_from_text(values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.date32())
    except pa.ArrowInvalid:
        # "2020-01-31 00:00:00" is how some engines write a date
        return _date_from_time(values.cast(pa.timestamp("us")))


def _date_from_time(values: pa.Array) -> pa.Array:
    dates = values.cast(pa.date32())
    if not pc.all(pc.equal(dates.cast(values.type), values), min_count=0).as_py():
        raise pa.ArrowInvalid("a time of day that a date cannot hold")
    return dates


def _to_boolean(numbers: pa.Array) -> pa.Array:
    known = pc.all(pc.or_(pc.equal(numbers, 0), pc.equal(numbers, 1)), min_count=0).as_py()
    if not known:
        raise pa.ArrowInvalid("not a truth value")
    return pc.equal(numbers, 1)


def _truth_of(texts: pa.Array) -> pa.Array:
    """The words that departments write for true and false, in upper or lower case, also padded to a CHAR's length."""
    known = pa.array([word for pair in TRUTH_WORDS for word in pair])
    found = pc.index_in(pc.utf8_lower(pc.utf8_rtrim(texts, " ")), known)
    if found.null_count != texts.null_count:
        raise pa.ArrowInvalid("not a truth value")
    return pc.equal(pc.bit_wise_and(found, 1), 0)


def hex_of(values: pa.Array) -> pa.Array:
    """Bytes as lower-case hexadecimal text, the way `fit` reads them back."""
    return pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())


def _from_hex(values: pa.Array) -> pa.Array:
    try:
        return pa.array([None if text is None else bytes.fromhex(text) for text in values.to_pylist()], pa.binary())
    except (ValueError, TypeError) as problem:
        raise pa.ArrowInvalid("not hexadecimal") from problem


def _without_nul(fitted: Fitted) -> Fitted:
    """Texts with a NUL character are no text in PostgreSQL and end early in C: they count as bad everywhere."""
    values = fitted.values
    if not pa.types.is_string(values.type) or len(values) == 0:
        return fitted
    data = values.buffers()[2]
    if data is None or data.size == 0 or np.frombuffer(data, np.uint8).min() != 0:
        return fitted
    nul = pc.match_substring(values, "\0").fill_null(False).to_numpy(zero_copy_only=False)
    if not nul.any():
        return fitted
    cleaned = pc.if_else(pa.array(nul), pa.scalar(None, pa.string()), values)
    return Fitted(cleaned, nul if fitted.bad is None else (fitted.bad | nul))


def filter_value(text: str, column: Column) -> int | str | float | bool | date | datetime | Decimal | bytes:
    """A value of a row condition, from canonical text to what a database driver binds.

    Raises FilterNotPossible where the text is no value of the column's type.
    """
    try:
        match column.type:
            case LogicalType.INTEGER:
                return int(text)
            case LogicalType.DECIMAL:
                return Decimal(text)
            case LogicalType.DOUBLE:
                return float(text)
            case LogicalType.BOOLEAN:
                return {"0": False, "1": True}[text]
            case LogicalType.DATE:
                return date.fromisoformat(text)
            case LogicalType.DATETIME:
                return datetime.fromisoformat(text)
            case LogicalType.BINARY:
                return bytes.fromhex(text)
            case _:
                return text
    except (ValueError, KeyError, InvalidOperation) as problem:
        raise FilterNotPossible(column=column.name, type=column.type.value) from problem
