"""Checks of a value: each is built from its parameters for one item, and gives a mask of the rows that break it.

NULL breaks only `required`. Building raises CheckParametersWrong; what is built raises nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import arrow_type, fit
from jinqiao.dataplane.errors import CheckParametersWrong
from jinqiao.dataplane.staging.digests import canonical_column
from jinqiao.kernel.code_tables import codes_of, has_column
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import Column, LogicalType

Rows = np.ndarray[Any, np.dtype[np.bool_]]
Parameters = Mapping[str, Any]
ValueCheck = Callable[[pa.Array], Rows]
Build = Callable[[GrantedItem, Parameters], ValueCheck]

# GB 11643-1999, 4.3: weights of the first 17 digits, check characters by remainder
_ID_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], np.int16)
_ID_CHECK = np.frombuffer(b"10X98765432", np.uint8)
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87, np.int16)
# GB 32100-2015, 5 and annex: characters by value, weights 3^(i-1) mod 31
_CREDIT_CHARACTERS = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_VALUES = np.full(256, -1, np.int16)
_CREDIT_VALUES[np.frombuffer(_CREDIT_CHARACTERS, np.uint8)] = np.arange(31)
_CREDIT_WEIGHTS = np.array([pow(3, position, 31) for position in range(17)], np.int16)
# GB 11714-1997, 4.2: digits and letters by value, check characters by -sum mod 11
_BODY_VALUES = np.full(256, -1, np.int16)
_BODY_VALUES[np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)] = np.arange(36)
_BODY_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2], np.int16)
_BODY_CHECK = np.frombuffer(b"0123456789X", np.uint8)


def mask_of(bad: Any) -> Rows:
    """An Arrow truth column as numpy; NULL means not bad."""
    if isinstance(bad, pa.ChunkedArray):
        bad = bad.combine_chunks()
    mask: Rows = bad.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def texts_of(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else canonical_column(values)


def value_type(item: GrantedItem) -> pa.DataType:
    """The Arrow type that the item's values have before they are masked."""
    return arrow_type(Column(name=item.code, type=item.type, precision=item.precision, scale=item.scale))


def missing(values: pa.Array) -> pa.Array:
    """NULL, and of texts the empty and the blank."""
    absent = pc.is_null(values)
    if pa.types.is_string(values.type):
        absent = pc.or_(absent, pc.equal(pc.binary_length(pc.utf8_trim_whitespace(values)), 0).fill_null(True))
    return absent


def codes_as(values: list[Any] | tuple[Any, ...], type_: pa.DataType, check: str, name: str) -> pa.Array:
    """Listed values in the type of the item that they are compared with. Raises CheckParametersWrong."""
    fitted = fit(pa.array([str(value) for value in values], pa.string()), type_)
    if fitted.bad is not None and fitted.bad.any():
        raise CheckParametersWrong(check=check, parameter=name)
    return fitted.values


def required(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    return lambda values: mask_of(missing(values))


def length(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    least, most = int(parameters.get("min", 0)), int(parameters.get("max", 2**31))
    if not 0 <= least <= most:
        raise CheckParametersWrong(check="length", parameter="max" if "max" in parameters else "min")

    def check(values: pa.Array) -> Rows:
        size = pc.utf8_length(texts_of(values))
        bad = pc.greater(size, most)
        return mask_of(pc.or_(bad, pc.less(size, least)) if least else bad)

    return check


def pattern(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    wanted = f"^(?:{parameters['pattern']})$"
    try:  # an array without values would not be looked at
        pc.match_substring_regex(pa.array([""]), wanted)
    except pa.ArrowInvalid:
        raise CheckParametersWrong(check="pattern", parameter="pattern") from None
    return lambda values: mask_of(pc.invert(pc.match_substring_regex(texts_of(values), wanted)))


def code_list(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    if "table" in parameters:
        table, column = parameters["table"], parameters.get("column", "code")
        if "values" in parameters or not has_column(table, column) or item.type is not LogicalType.TEXT:
            raise CheckParametersWrong(check="code_list", parameter="table")
        codes = pa.array(sorted(codes_of(table, column)), pa.string())
    else:
        if "column" in parameters:
            raise CheckParametersWrong(check="code_list", parameter="column")
        codes = codes_as(parameters["values"], value_type(item), "code_list", "values")
    return lambda values: mask_of(pc.and_(pc.invert(pc.is_in(values, codes)), pc.is_valid(values)))


def value_range(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    if item.type in (LogicalType.BOOLEAN, LogicalType.BINARY):
        raise CheckParametersWrong(check="range", parameter="min" if "min" in parameters else "max")
    limits = [
        (breaks, codes_as([parameters[name]], value_type(item), "range", name)[0])
        for name, breaks in (("min", pc.less), ("max", pc.greater))
        if name in parameters
    ]

    def check(values: pa.Array) -> Rows:
        masks = [mask_of(breaks(values, limit)) for breaks, limit in limits]
        return masks[0] if len(masks) == 1 else masks[0] | masks[1]

    return check


def identity_number(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    """Broken: not 18 characters, no such day, wrong check digit."""

    def check(values: pa.Array) -> Rows:
        octets, sized, given = fixed(texts_of(values), 18)
        return _broken(good_identity_numbers(octets), sized, given)

    return check


def good_identity_numbers(octets: Any) -> Rows:
    """Of a matrix of 18 octets a row: which are identity numbers with an existing day and the right check digit."""
    digits = octets[:, :17].astype(np.int16) - 48
    numeric = ((digits >= 0) & (digits <= 9)).all(axis=1)
    digits = np.where(numeric[:, None], digits, 0)
    good: Rows = numeric & (_ID_CHECK[(digits @ _ID_WEIGHTS) % 11] == octets[:, 17]) & days_exist(digits[:, 6:14])
    return good


def days_exist(digits: Any) -> Rows:
    """Of a matrix of eight digits a row, year, month and day: which are days from 1800 on."""
    year = digits[:, 0] * 1000 + digits[:, 1] * 100 + digits[:, 2] * 10 + digits[:, 3]
    month, day = digits[:, 4] * 10 + digits[:, 5], digits[:, 6] * 10 + digits[:, 7]
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    exist: Rows = (year >= 1800) & (day >= 1) & (day <= _DAYS[month] + ((month == 2) & leap))
    return exist


def identity_check_signs(digits: Any) -> Any:
    """The check signs (octets) of a matrix of 17 digits a row."""
    return _ID_CHECK[(digits.astype(np.int16) @ _ID_WEIGHTS) % 11]


def credit_code(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    """Broken: not 18 characters of the code's own alphabet, wrong check character."""

    def check(values: pa.Array) -> Rows:
        octets, sized, given = fixed(texts_of(values), 18)
        numbers = _CREDIT_VALUES[octets]
        known = (numbers >= 0).all(axis=1)
        division = ((octets[:, 2:8] >= 48) & (octets[:, 2:8] <= 57)).all(axis=1)
        wanted = (31 - (np.where(known[:, None], numbers[:, :17], 0) @ _CREDIT_WEIGHTS) % 31) % 31
        return _broken(known & division & (wanted == numbers[:, 17]), sized, given)

    return check


def organisation_code(item: GrantedItem, parameters: Parameters) -> ValueCheck:
    """Broken: not nine digits and capitals, wrong check character. A hyphen before the last is how the code is printed."""

    def check(values: pa.Array) -> Rows:
        texts = texts_of(values)
        texts = pc.replace_substring_regex(texts, r"^(.{8})-(.)$", r"\1\2")
        octets, sized, given = fixed(texts, 9)
        numbers = _BODY_VALUES[octets[:, :8]]
        known = (numbers >= 0).all(axis=1)
        wanted = _BODY_CHECK[-(np.where(known[:, None], numbers, 0) @ _BODY_WEIGHTS) % 11]
        return _broken(known & (wanted == octets[:, 8]), sized, given)

    return check


def fixed(texts: pa.Array, size: int) -> tuple[Any, Rows, Rows]:
    """Octets of the values that have exactly `size` of them, as a matrix; which rows these are; which rows have a value."""
    given = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    sized = pc.equal(pc.binary_length(texts), size).fill_null(False).to_numpy(zero_copy_only=False)
    kept = texts if sized.all() else pc.filter(texts, pa.array(sized))
    if len(kept) == 0:
        return np.zeros((0, size), np.uint8), sized, given
    offsets = np.frombuffer(kept.buffers()[1], np.int32)
    first = int(offsets[kept.offset])
    octets = np.frombuffer(kept.buffers()[2], np.uint8, len(kept) * size, offset=first)
    return octets.reshape(-1, size), sized, given


def texts_from(octets: Any) -> pa.Array:
    """A matrix of octets, ASCII, as texts of one length."""
    rows, size = octets.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * size
    data = np.ascontiguousarray(octets)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))


def _broken(good: Rows, sized: Rows, given: Rows) -> Rows:
    bad = given.copy()
    bad[sized] = ~good
    return bad


VALUE_CHECKS: Mapping[str, Build] = {
    "required": required,
    "length": length,
    "pattern": pattern,
    "code_list": code_list,
    "identity_number": identity_number,
    "credit_code": credit_code,
    "organisation_code": organisation_code,
    "range": value_range,
}
