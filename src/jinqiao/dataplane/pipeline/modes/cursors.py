"""Watermarks as numbers that keep their order, and as text."""

import math
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import arrow_type, fit
from jinqiao.dataplane.errors import CursorNotUsable
from jinqiao.dataplane.staging.digests import scalar_text
from jinqiao.kernel.contracts.tables import Column, LogicalType, Operator, RowCondition

_DAY = timedelta(days=1)

Marks = np.ndarray[Any, np.dtype[np.int64]]


class Scale:
    """Values of a watermark column as whole numbers that keep their order: numbers themselves, days, microseconds."""

    def __init__(self, column: Column) -> None:
        """A column of type INTEGER, DATE or DATETIME."""
        self.column = column
        self._type = arrow_type(column)

    def numbers(self, values: pa.Array) -> pa.Array:
        """int64; NULL where there is no watermark, or none that the type can hold."""
        fitted = fit(values, self._type).values
        return fitted.cast(pa.int32()).cast(pa.int64()) if pa.types.is_date(self._type) else fitted.cast(pa.int64())

    def number(self, text: str) -> int:
        """Raises CursorNotUsable."""
        kind = self.column.type
        try:
            if kind is LogicalType.INTEGER:
                value: Any = int(text)
            elif kind is LogicalType.DATE:
                value = date.fromisoformat(text)
            else:
                value = datetime.fromisoformat(text)
                if value.tzinfo is not None:
                    raise ValueError
            (number,) = self.numbers(pa.array([value], self._type)).to_pylist()
        except (ValueError, OverflowError, pa.ArrowInvalid):
            raise CursorNotUsable(cursor=text[:60], column=self.column.name) from None
        if number is None:
            raise CursorNotUsable(cursor=text[:60], column=self.column.name)
        return int(number)

    def ceiling(self, at: datetime) -> int | None:
        """The number of an instant; None for numbers, which have no clock."""
        if self.column.type is LogicalType.INTEGER:
            return None
        value: Any = at.date() if self.column.type is LogicalType.DATE else at
        return int(self.numbers(pa.array([value], self._type))[0].as_py())

    def text(self, number: int) -> str:
        """Canonical text of a number."""
        if self.column.type is LogicalType.INTEGER:
            return str(number)
        whole = pa.array([number], pa.int64())
        value = whole.cast(pa.int32()).cast(self._type) if pa.types.is_date(self._type) else whole.cast(self._type)
        return scalar_text(value[0].as_py(), self.column.type)

    def back(self, number: int, overlap_s: int) -> int:
        """`number` less the overlap: seconds for times, whole days for dates, as many for numbers; never below the first."""
        if self.column.type is LogicalType.INTEGER:
            return max(number - overlap_s, -(1 << 63))
        if self.column.type is LogicalType.DATE:
            return max(number - math.ceil(overlap_s / _DAY.total_seconds()), self._first())
        return max(number - overlap_s * 1_000_000, self._first())

    def _first(self) -> int:
        return self.number(date.min.isoformat())

    def at_least(self, number: int) -> RowCondition:
        return RowCondition(column=self.column.name, operator=Operator.AT_LEAST, values=(self.text(number),))

    def at_most(self, number: int) -> RowCondition:
        return RowCondition(column=self.column.name, operator=Operator.AT_MOST, values=(self.text(number),))


def highest_of(numbers: pa.Array) -> int | None:
    found = pc.max(numbers).as_py()
    return None if found is None else int(found)
