"""Arithmetic in exact decimals: columns and then numbers, taken in turn.

Operands become `decimal256` no wider than their values need. Where 76 digits are too few for a batch it is computed row by row
with Python's decimals instead; the results are the same.
"""

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.transforms.making import Asked, Made, Operation, either, marks, without

_MOST = 76
_TEXT = pa.decimal128(38, 10)  # in which numbers that come as text are read
_FOLD = {"add": pc.add, "subtract": pc.subtract, "multiply": pc.multiply}
_EXACT = Context(prec=400)
_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


def arithmetic(asked: Asked) -> Operation:
    """`divide` divides the first by the product of the others; by zero is refused, and so is a result with more digits after
    the point than the item's scale, unless it is rounded (half away from zero). NULL makes NULL."""
    operator, rounds = asked.parameters["operator"], asked.flag("round")
    numbers = [Decimal(str(number)) for number in asked.parameters.get("numbers", ())]
    inputs = tuple(asked.parameters["columns"])
    if len(inputs) + len(numbers) < 2:
        raise asked.wrong("numbers")
    for number in numbers:
        digits = number.as_tuple()
        if len(digits.digits) > 38 or not -38 <= int(digits.exponent) <= 38:
            raise asked.wrong("numbers")
        if operator == "divide" and number == 0:
            raise asked.wrong("numbers")
    scale = asked.type.scale if pa.types.is_decimal(asked.type) else 0

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        read = [_exact(column) for column in columns]
        operands = [values for values, _ in read] + [_constant(number, rows) for number in numbers]
        refused = either(*(bad for _, bad in read))
        try:
            if operator == "divide":
                values, more = _divided(operands, scale, rounds)
                refused = either(refused, more)
            else:
                values = operands[0]
                for operand in operands[1:]:
                    values = _narrow(_FOLD[operator](values, operand))
                if rounds and values.type.scale > scale:
                    values = _rounded(values, scale, "half_towards_infinity")
        except _REFUSALS:
            values, more = _row_by_row(operator, operands, scale, rounds)
            refused = either(refused, more)
        return Made(without(values, refused), refused)

    return Operation(inputs, make)


def _exact(values: pa.Array) -> tuple[pa.Array, Any]:
    bad = None
    if not pa.types.is_decimal(values.type):
        whole = pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)
        fitted = fit(values, pa.int64() if whole else _TEXT)
        values, bad = fitted.values, fitted.bad
        if whole:
            values = values.cast(pa.decimal256(19, 0))
    return _narrow(values), bad


def _constant(number: Decimal, rows: int) -> pa.Array:
    if int(number.as_tuple().exponent) > 0:
        number = number.quantize(Decimal(1), context=_EXACT)
    return pa.repeat(pa.scalar(number), rows)


def _narrow(values: pa.Array) -> pa.Array:
    """The same values in the least `decimal256` of their scale that holds them all."""
    extremes = pc.min_max(values).as_py()
    most = max(abs(extremes["min"] or 0), abs(extremes["max"] or 0))
    scale = values.type.scale
    digits = len(str(int(most))) if most >= 1 else 0
    return values.cast(pa.decimal256(min(_MOST, max(digits + scale, scale, 1)), scale))


def _rounded(values: pa.Array, scale: int, mode: str) -> pa.Array:
    wide = values.cast(pa.decimal256(min(_MOST, values.type.precision + 1), values.type.scale))
    rounded = pc.round(wide, ndigits=scale, round_mode=mode)
    return rounded.cast(pa.decimal256(_MOST, scale))


def _divided(operands: list[pa.Array], scale: int, rounds: bool) -> tuple[pa.Array, Any]:
    numerator, denominator = operands[0], operands[1]
    for operand in operands[2:]:
        denominator = _narrow(pc.multiply(denominator, operand))
    by_zero = pc.equal(denominator, pa.scalar(Decimal(0), denominator.type))
    refused = marks(by_zero)
    denominator = without(denominator, refused)
    # a quotient has at least as many digits after the point as its numerator, and one more decides the rounding
    finer = max(numerator.type.scale, scale + 1)
    numerator = numerator.cast(pa.decimal256(numerator.type.precision + finer - numerator.type.scale, finer))
    quotient = pc.divide(numerator, denominator)
    if rounds:
        return _rounded(quotient, scale, "half_towards_infinity"), refused
    values = _narrow(_rounded(quotient, scale, "towards_zero"))
    rest = pc.subtract(numerator, _narrow(pc.multiply(values, denominator)))
    inexact = marks(pc.not_equal(rest, pa.scalar(Decimal(0), rest.type)))
    return values, refused | inexact


def _row_by_row(operator: str, operands: list[pa.Array], scale: int, rounds: bool) -> tuple[pa.Array, Any]:
    results: list[Decimal | None] = []
    refused = np.zeros(len(operands[0]), np.bool_)
    step = Decimal(1).scaleb(-scale)
    with localcontext(_EXACT):
        for row, numbers in enumerate(zip(*(operand.to_pylist() for operand in operands), strict=True)):
            result = None if None in numbers else _one(operator, list(numbers), step, rounds)
            if result is not None and (abs(result) >= Decimal(10) ** (_MOST - scale)):
                result = None
            results.append(result)
            refused[row] = result is None and None not in numbers
    return pa.array(results, pa.decimal256(_MOST, scale)), refused


def _one(operator: str, numbers: list[Decimal], step: Decimal, rounds: bool) -> Decimal | None:
    """None where it is not exact in steps of `step`, or divided by zero."""
    result = numbers[0]
    if operator == "divide":
        divisor = Decimal(1)
        for number in numbers[1:]:
            divisor *= number
        if divisor == 0:
            return None
        quotient = (result / divisor).quantize(step, ROUND_HALF_UP if rounds else ROUND_DOWN)
        return quotient if rounds or quotient * divisor == result else None
    for number in numbers[1:]:
        result = (
            result + number if operator == "add" else result - number if operator == "subtract" else result * number
        )
    rounded = result.quantize(step, ROUND_HALF_UP)
    return rounded if rounds or rounded == result else None
