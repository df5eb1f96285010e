"""The checks as functions on a column: each gives a mask of the rows that break it. NULL breaks only `required`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import CheckParametersWrong
from jinqiao.dataplane.staging.digests import canonical_column

Rows = np.ndarray[Any, np.dtype[np.bool_]]
Parameters = Mapping[str, Any]
Check = Callable[[pa.Array, Parameters], Rows]

# GB 11643-1999, 4.3: weights of the first 17 digits, check characters by remainder
_ID_WEIGHTS = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], np.int16)
_ID_CHECK = np.frombuffer(b"10X98765432", np.uint8)
_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87, np.int16)
# GB 32100-2015, 5 and annex: characters by value, weights 3^(i-1) mod 31
_CREDIT_CHARACTERS = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_VALUES = np.full(256, -1, np.int16)
_CREDIT_VALUES[np.frombuffer(_CREDIT_CHARACTERS, np.uint8)] = np.arange(31)
_CREDIT_WEIGHTS = np.array([pow(3, position, 31) for position in range(17)], np.int16)


def _mask(bad: Any) -> Rows:
    """An Arrow truth column as numpy; NULL means not bad."""
    if isinstance(bad, pa.ChunkedArray):
        bad = bad.combine_chunks()
    mask: Rows = bad.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _texts(values: pa.Array) -> pa.Array:
    return values if pa.types.is_string(values.type) else canonical_column(values)


def required(values: pa.Array, parameters: Parameters) -> Rows:
    missing = pc.is_null(values)
    if pa.types.is_string(values.type):
        missing = pc.or_(missing, pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0).fill_null(True))
    return _mask(missing)


def length(values: pa.Array, parameters: Parameters) -> Rows:
    size = pc.utf8_length(_texts(values))
    bad = pc.less(size, _whole(parameters, "min", 0))
    if "max" in parameters:
        bad = pc.or_(bad, pc.greater(size, _whole(parameters, "max", 0)))
    return _mask(bad)


def pattern(values: pa.Array, parameters: Parameters) -> Rows:
    try:
        matched = pc.match_substring_regex(_texts(values), f"^(?:{parameters['pattern']})$")
    except pa.ArrowInvalid:
        raise CheckParametersWrong(check="pattern", parameter="pattern") from None
    return _mask(pc.invert(matched))


def code_list(values: pa.Array, parameters: Parameters) -> Rows:
    codes = pa.array([str(code) for code in parameters["values"]], pa.string())
    return _mask(pc.and_(pc.invert(pc.is_in(_texts(values), codes)), pc.is_valid(values)))


def value_range(values: pa.Array, parameters: Parameters) -> Rows:
    bad = pa.array(np.zeros(len(values), np.bool_))
    for name, breaks in (("min", pc.less), ("max", pc.greater)):
        if name in parameters:
            limit = fit(pa.array([str(parameters[name])]), values.type)
            if limit.bad is not None:
                raise CheckParametersWrong(check="range", parameter=name)
            bad = pc.or_(bad, breaks(values, limit.values[0]).fill_null(False))
    return _mask(bad)


def identity_number(values: pa.Array, parameters: Parameters) -> Rows:
    """Broken: not 18 characters, no such day, wrong check digit."""
    octets, sized, given = _fixed(_texts(values), 18)
    digits = octets[:, :17].astype(np.int16) - 48
    numeric = ((digits >= 0) & (digits <= 9)).all(axis=1)
    digits = np.where(numeric[:, None], digits, 0)
    check = _ID_CHECK[(digits @ _ID_WEIGHTS) % 11] == octets[:, 17]
    year = digits[:, 6] * 1000 + digits[:, 7] * 100 + digits[:, 8] * 10 + digits[:, 9]
    month, day = digits[:, 10] * 10 + digits[:, 11], digits[:, 12] * 10 + digits[:, 13]
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    last = _DAYS[month] + ((month == 2) & leap)
    good = numeric & check & (year >= 1800) & (day >= 1) & (day <= last)
    return _broken(good, sized, given)


def credit_code(values: pa.Array, parameters: Parameters) -> Rows:
    """Broken: not 18 characters of the code's own alphabet, wrong check character."""
    octets, sized, given = _fixed(_texts(values), 18)
    numbers = _CREDIT_VALUES[octets]
    known = (numbers >= 0).all(axis=1)
    division = ((octets[:, 2:8] >= 48) & (octets[:, 2:8] <= 57)).all(axis=1)
    wanted = (31 - (np.where(known[:, None], numbers[:, :17], 0) @ _CREDIT_WEIGHTS) % 31) % 31
    return _broken(known & division & (wanted == numbers[:, 17]), sized, given)


def _fixed(texts: pa.Array, size: int) -> tuple[Any, Rows, Rows]:
    """Octets of the values that have exactly `size` of them, as a matrix; which rows these are; which rows have a value."""
    given = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    sized = pc.equal(pc.binary_length(texts), size).fill_null(False).to_numpy(zero_copy_only=False)
    kept = pc.filter(texts, pa.array(sized))
    if len(kept) == 0:
        return np.zeros((0, size), np.uint8), sized, given
    offsets = np.frombuffer(kept.buffers()[1], np.int32)
    first = int(offsets[kept.offset])
    octets = np.frombuffer(kept.buffers()[2], np.uint8, len(kept) * size, offset=first)
    return octets.reshape(-1, size), sized, given


def _broken(good: Rows, sized: Rows, given: Rows) -> Rows:
    bad = given.copy()
    bad[sized] = ~good
    return bad


def _whole(parameters: Parameters, name: str, default: int) -> int:
    value = parameters.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise CheckParametersWrong(check="length", parameter=name) from None


class Unique:
    """`unique` remembers what came before in the run: about 100 bytes for each different value."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, values: pa.Array, parameters: Parameters) -> Rows:
        bad = np.zeros(len(values), np.bool_)
        seen = self._seen
        for position, text in enumerate(_texts(values).to_pylist()):
            if text is None:
                continue
            if text in seen:
                bad[position] = True
            else:
                seen.add(text)
        return bad


# Checks without a memory of the run; `type` is decided where values are fitted.
CHECKS: dict[str, Check] = {
    "required": required,
    "length": length,
    "pattern": pattern,
    "code_list": code_list,
    "identity_number": identity_number,
    "credit_code": credit_code,
    "range": value_range,
}
