"""Values are fitted exactly or marked: never rounded, cut or guessed."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.connectors.values import arrow_type, filter_value, fit
from jinqiao.dataplane.errors import FilterNotPossible
from jinqiao.kernel.contracts.tables import Column, LogicalType

NUMBER = pa.decimal128(6, 2)


@pytest.mark.parametrize(
    ("given", "wanted", "fitted", "bad"),
    [
        (["1", "-7", "1.5", "x", "", None], pa.int64(), [1, -7, None, None, None, None], [2, 3, 4]),
        (["9223372036854775807", "9223372036854775808"], pa.int64(), [2**63 - 1, None], [1]),
        (["1.1", "1.10", "1.101", "99999"], NUMBER, [Decimal("1.10"), Decimal("1.10"), None, None], [2, 3]),
        ([1, 12345], NUMBER, [Decimal("1.00"), None], [1]),
        ([0.1, 0.125], NUMBER, [Decimal("0.10"), None], [1]),
        (["nan"], NUMBER, [None], [0]),
        (["0.1", "1e400x"], pa.float64(), [0.1, None], [1]),
        ([1, 2**60 + 1], pa.float64(), [1.0, None], [1]),
        ([1.0, 1.5], pa.int64(), [1, None], [1]),
        ([0, 1, 2, None], pa.bool_(), [False, True, None, None], [2]),
        (["0", "1", "2"], pa.bool_(), [False, True, None], [2]),
        (["Y", "n", "是", "否", "T", "f ", "TRUE", "no", "真", "", "未知", None], pa.bool_(),
         [True, False, True, False, True, False, True, False, True, None, None, None], [9, 10]),
        (["Y ", "2", "N "], pa.bool_(), [True, None, False], [1]),
        (["1899-12-31", "2023-02-29", "0000-00-00"], pa.date32(), [date(1899, 12, 31), None, None], [1, 2]),
        (["2020-01-31 00:00:00", "2020-01-31 10:00:00"], pa.date32(), [date(2020, 1, 31), None], [1]),
        (["2020-01-31T10:00:00.5", "10000-01-01 00:00:00"], pa.timestamp("us"), [datetime(2020, 1, 31, 10, 0, 0, 500000), None], [1]),  # noqa: DTZ001
        ([datetime(2020, 1, 31), datetime(2020, 1, 31, 10)], pa.date32(), [date(2020, 1, 31), None], [1]),  # noqa: DTZ001
        (["00ff", "0g"], pa.binary(), [b"\x00\xff", None], [1]),
        (["a\0b", "𠮷"], pa.string(), [None, "𠮷"], [0]),
        ([b"\xe9\x87\x91", b"\xff"], pa.string(), ["金", None], [1]),
        ([True, False], pa.string(), ["1", "0"], []),
        ([True], pa.int64(), [1], []),
        ([Decimal("0.0000000001")], pa.string(), ["0.0000000001"], []),
        ([1e16, 0.1], pa.string(), ["1e+16", "0.1"], []),
    ],
)  # fmt: skip
def test_a_value_fits_exactly_or_is_marked(
    given: list[Any], wanted: pa.DataType, fitted: list[Any], bad: list[int]
) -> None:
    result = fit(pa.array(given), wanted)

    assert result.values.type == wanted
    assert result.values.to_pylist() == fitted
    assert ([] if result.bad is None else result.bad.nonzero()[0].tolist()) == bad


def test_dates_beyond_the_calendar_are_marked() -> None:
    """PostgreSQL's infinity, and years before Christ, as its driver hands them over."""
    days = pa.array([-2147472692, -735233, 0, 2932897], pa.int32()).cast(pa.date32())

    result = fit(days, pa.date32())

    assert result.bad is not None
    assert result.bad.tolist() == [True, True, False, True]


def test_a_decimal_without_precision_is_as_wide_as_possible() -> None:
    assert arrow_type(Column(name="a", type=LogicalType.DECIMAL)) == pa.decimal128(38, 10)
    assert arrow_type(Column(name="a", type=LogicalType.DECIMAL, precision=9)) == pa.decimal128(9, 0)


@pytest.mark.parametrize("type_", [kind for kind in LogicalType if kind is not LogicalType.TEXT])
def test_a_condition_that_is_no_value_of_its_column_is_refused(type_: LogicalType) -> None:
    with pytest.raises(FilterNotPossible):
        filter_value("'; DROP TABLE people; --", Column(name="a", type=type_))
