"""Checks over several items of a row. Each is built from its parameters and gives a mask of the rows that break it."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.checks.rows import (
    Parameters,
    Rows,
    codes_as,
    fixed,
    mask_of,
    missing,
    texts_from,
    texts_of,
    value_type,
)
from jinqiao.dataplane.errors import CheckParametersWrong
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType

RowCheck = Callable[[Sequence[pa.Array]], Rows]

_COMPARE = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}
_NUMBERS = (LogicalType.INTEGER, LogicalType.DECIMAL, LogicalType.DOUBLE)
_TIMES = (LogicalType.DATE, LogicalType.DATETIME)
_WIDEST = 75  # digits of decimal256 less the one that an addition may need


def position_of(items: Sequence[GrantedItem], name: str, check: str) -> int:
    """Where the item of that name or code stands. Raises CheckParametersWrong."""
    for at, item in enumerate(items):
        if name in (item.item, item.code):
            return at
    raise CheckParametersWrong(check=check, parameter=name)


def cross_column(items: Sequence[GrantedItem], at: int, parameters: Parameters) -> RowCheck:
    """Both of one type, or both numbers, or both dates and times: a date is its first instant."""
    other = position_of(items, parameters["other"], "cross_column")
    wanted = _common(items[at], items[other])
    keeps = _COMPARE[parameters["operator"]]

    def check(columns: Sequence[pa.Array]) -> Rows:
        left, right = columns[at], columns[other]
        if wanted is not None:
            left, right = left.cast(wanted), right.cast(wanted)
        return mask_of(pc.invert(keeps(left, right)))

    return check


def _common(one: GrantedItem, other: GrantedItem) -> pa.DataType | None:
    if one.type is other.type and one.type is not LogicalType.DECIMAL:
        return None
    kinds = {one.type, other.type}
    if kinds <= set(_TIMES):
        return pa.timestamp("us")
    if kinds <= set(_NUMBERS):
        return pa.float64() if LogicalType.DOUBLE in kinds else _exact("cross_column", one, other)
    raise CheckParametersWrong(check="cross_column", parameter="other")


def _exact(check: str, *items: GrantedItem, scale: int = 0) -> pa.DataType:
    """A decimal type that holds the values of all the items and sums of them. Raises CheckParametersWrong where none does."""
    types = [value_type(item) for item in items]
    decimals = [type_ for type_ in types if pa.types.is_decimal(type_)]
    scale = max([scale, *(type_.scale for type_ in decimals)])
    whole = max([19, *(type_.precision - type_.scale for type_ in decimals)])
    if whole + 3 + scale > _WIDEST:
        raise CheckParametersWrong(check=check, parameter=items[-1].item)
    return pa.decimal256(_WIDEST, scale)


def _when(items: Sequence[GrantedItem], parameters: Parameters, check: str) -> Callable[[Sequence[pa.Array]], Any]:
    """Rows in which the item of the condition has one of the values."""
    place = position_of(items, parameters["when"], check)
    values = codes_as(parameters["values"], value_type(items[place]), check, "values")
    return lambda columns: pc.and_(pc.is_in(columns[place], values), pc.is_valid(columns[place]))


def required_if(items: Sequence[GrantedItem], at: int, parameters: Parameters) -> RowCheck:
    applies = _when(items, parameters, "required_if")
    return lambda columns: mask_of(pc.and_(applies(columns), missing(columns[at])))


def empty_if(items: Sequence[GrantedItem], at: int, parameters: Parameters) -> RowCheck:
    applies = _when(items, parameters, "empty_if")
    return lambda columns: mask_of(pc.and_(applies(columns), pc.invert(missing(columns[at]))))


def sum_of(items: Sequence[GrantedItem], at: int, parameters: Parameters) -> RowCheck:
    """Exact where no part is a double. Values beyond 38 digits do not occur: `decimal128` holds no more."""
    parts = [position_of(items, name, "sum_of") for name in parameters["items"]]
    concerned = [items[place] for place in (at, *parts)]
    if any(item.type not in _NUMBERS for item in concerned):
        raise CheckParametersWrong(check="sum_of", parameter="items")
    if any(item.type is LogicalType.DOUBLE for item in concerned):
        kind, tolerance = pa.float64(), pa.scalar(float(parameters.get("tolerance", 0)))
    else:
        allowed = Decimal(str(parameters.get("tolerance", 0)))
        kind = _exact("sum_of", *concerned, scale=-min(0, int(allowed.as_tuple().exponent)))
        tolerance = pa.scalar(allowed, kind)

    def check(columns: Sequence[pa.Array]) -> Rows:
        # the sum keeps the type: Arrow widens a decimal by a digit for each addition
        total = columns[parts[0]].cast(kind)
        for place in parts[1:]:
            total = pc.add(total, columns[place].cast(kind)).cast(kind)
        difference = pc.abs(pc.subtract(total, columns[at].cast(kind)))
        return mask_of(pc.greater(difference, tolerance))

    return check


def identity_agrees(items: Sequence[GrantedItem], at: int, parameters: Parameters) -> RowCheck:
    """Date of birth, or sex by the codes and words of GB/T 2261.1. A sex not known (0, 9) agrees with every number."""
    number = position_of(items, parameters["number"], "identity_agrees")
    if items[number].type is not LogicalType.TEXT:
        raise CheckParametersWrong(check="identity_agrees", parameter="number")
    birth = parameters["part"] == "birth_date"
    if birth != (items[at].type in _TIMES) and not (birth and items[at].type is LogicalType.TEXT):
        raise CheckParametersWrong(check="identity_agrees", parameter="part")
    judge = _birth_differs if birth else _sex_differs

    def check(columns: Sequence[pa.Array]) -> Rows:
        octets, sized, _ = fixed(columns[number], 18)
        numeric = ((octets[:, :17] >= 48) & (octets[:, :17] <= 57)).all(axis=1)
        bad = np.zeros(len(columns[at]), np.bool_)
        rows = np.flatnonzero(sized)[numeric]
        if len(rows):
            bad[rows] = judge(octets[numeric], columns[at].take(pa.array(rows)))
        return bad

    return check


def _birth_differs(octets: Any, values: pa.Array) -> Rows:
    """Compared as eight digits, so that a number with no such day differs."""
    texts = values if pa.types.is_string(values.type) else values.cast(pa.date32()).cast(pa.string())
    return mask_of(pc.not_equal(pc.replace_substring(texts, "-", ""), texts_from(octets[:, 6:14])))


def _sex_differs(octets: Any, values: pa.Array) -> Rows:
    texts = texts_of(values)
    male = pc.is_in(texts, pa.array(["1", "男", "男性", "M"]))
    female = pc.is_in(texts, pa.array(["2", "女", "女性", "F"]))
    odd = pa.array((octets[:, 16] & 1).astype(np.bool_))
    return mask_of(pc.or_(pc.and_(male, pc.invert(odd)), pc.and_(female, odd)))


CROSS_CHECKS: Mapping[str, Callable[[Sequence[GrantedItem], int, Parameters], RowCheck]] = {
    "cross_column": cross_column,
    "required_if": required_if,
    "empty_if": empty_if,
    "sum_of": sum_of,
    "identity_agrees": identity_agrees,
}
