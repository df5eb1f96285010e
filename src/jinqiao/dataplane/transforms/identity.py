"""What an identity number says: GB 11643-1999, and the 15 digits that it replaced."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.checks.rows import fixed, good_identity_numbers, identity_check_signs, texts_from
from jinqiao.dataplane.transforms.making import Asked, Made, Operation, marks, on_text
from jinqiao.dataplane.transforms.texts import cleaned
from jinqiao.kernel.contracts.tables import LogicalType

_CENTURY = np.frombuffer(b"19", np.uint8)  # all numbers of 15 digits were given before 1999
_ZERO = ord("0")
_FITTING = {
    "number": (LogicalType.TEXT,),
    "division": (LogicalType.TEXT, LogicalType.INTEGER),
    "sex": (LogicalType.TEXT, LogicalType.INTEGER),
    "birth_date": (LogicalType.DATE, LogicalType.TEXT),
}


def identity_part(asked: Asked) -> Operation:
    """Refused: no identity number by its length, its day or its check digit. Width, case and blanks do not matter."""
    part = asked.parameters["part"]
    if asked.item.type not in _FITTING[part]:
        raise asked.wrong("part")

    def work(given: pa.Array) -> Made:
        octets, good = eighteen(cleaned(given, blanks=True, case="upper"))
        values = _taken(octets, part)
        values = values if good.all() else pc.if_else(pa.array(good), values, pa.scalar(None, values.type))
        refused = marks(given.is_valid()) & ~good
        return Made(values, refused if refused.any() else None)

    return on_text(asked.parameters["column"], work)


def eighteen(numbers: pa.Array) -> tuple[Any, "np.ndarray[Any, np.dtype[np.bool_]]"]:
    """A matrix of 18 octets a row (zeros where there is no number), and which rows are identity numbers."""
    octets = np.full((len(numbers), 18), _ZERO, np.uint8)
    given, sized, _ = fixed(numbers, 18)
    octets[sized] = given
    old, old_sized, _ = fixed(numbers, 15)
    if old_sized.any():
        digits = (old >= _ZERO) & (old <= _ZERO + 9)
        numeric = digits.all(axis=1)
        body = np.concatenate([old[:, :6], np.broadcast_to(_CENTURY, (len(old), 2)), old[:, 6:]], axis=1)
        body[~numeric] = _ZERO
        signs = identity_check_signs(body - _ZERO)
        octets[old_sized] = np.concatenate([body, signs[:, None]], axis=1)
    return octets, (sized | old_sized) & good_identity_numbers(octets)


def _taken(octets: Any, part: str) -> pa.Array:
    if part == "number":
        return texts_from(octets)
    if part == "division":
        return texts_from(octets[:, :6])
    if part == "sex":  # GB/T 2261.1: 1 male, 2 female
        return texts_from(np.where(octets[:, 16] & 1, _ZERO + 1, _ZERO + 2).astype(np.uint8)[:, None])
    dashes = np.full((len(octets), 1), ord("-"), np.uint8)
    return texts_from(np.concatenate([octets[:, 6:10], dashes, octets[:, 10:12], dashes, octets[:, 12:14]], axis=1))
