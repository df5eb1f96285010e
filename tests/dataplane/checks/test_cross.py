"""Checks over several items of a row: they compare what has values, exactly."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from jinqiao.dataplane.checks.cross import CROSS_CHECKS
from jinqiao.dataplane.checks.rows import value_type
from jinqiao.dataplane.errors import CheckParametersWrong
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType

T = LogicalType


def item(code: str, type_: LogicalType, precision: int | None = None, scale: int | None = None) -> GrantedItem:
    return GrantedItem(item=f"项{code}", code=code, column=code, type=type_, precision=precision, scale=scale)


def broken(check: str, items: list[GrantedItem], columns: list[list[Any]], /, **parameters: Any) -> list[bool]:
    """The check on the first item."""
    arrays = [pa.array(column, value_type(item)) for column, item in zip(columns, items, strict=True)]
    padded = [pa.concat_arrays([array[:1], array]).slice(1) for array in arrays]
    judge = CROSS_CHECKS[check](items, 0, parameters)
    result: list[bool] = judge(padded).tolist()
    assert result == judge(arrays).tolist()
    return result


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("lt", [0, 1, 1]), ("le", [0, 0, 1]), ("eq", [1, 0, 1]), ("ne", [0, 1, 0]), ("ge", [1, 0, 0]), ("gt", [1, 1, 0])],
)
def test_two_items_are_compared_by_each_operator(operator: str, expected: list[int]) -> None:
    items = [item("a", T.INTEGER), item("b", T.INTEGER)]

    found = broken("cross_column", items, [[1, 2, 3, None, 1], [2, 2, 2, 1, None]], operator=operator, other="b")

    assert found == [bool(bad) for bad in expected] + [False, False]


def test_a_date_is_compared_with_a_time_as_its_first_instant() -> None:
    items = [item("born", T.DATE), item("registered", T.DATETIME)]
    days = [date(1890, 1, 2), date(2020, 1, 2)]
    times = [datetime.fromisoformat(text) for text in ("1890-01-02T00:00", "2020-01-01T23:59")]

    assert broken("cross_column", items, [days, times], operator="le", other="项registered") == [False, True]


def test_numbers_are_compared_exactly_whatever_their_scales() -> None:
    items = [item("a", T.DECIMAL, 38, 0), item("b", T.DECIMAL, 38, 20)]
    columns: list[list[Any]] = [[Decimal(10**37), Decimal(1)], [Decimal("1.00000000000000000001"), Decimal(1)]]

    assert broken("cross_column", items, columns, operator="eq", other="b") == [True, False]


def test_numbers_that_no_decimal_holds_together_are_refused() -> None:
    items = [item("a", T.DECIMAL, 38, 0), item("b", T.DECIMAL, 38, 38)]

    for check, parameters in (("cross_column", {"operator": "eq", "other": "b"}), ("sum_of", {"items": ["b"]})):
        with pytest.raises(CheckParametersWrong):
            broken(check, items, [[], []], **parameters)
    with pytest.raises(CheckParametersWrong):
        broken("sum_of", [items[0], item("c", T.INTEGER)], [[], []], items=["c"], tolerance="1e-50")


@pytest.mark.parametrize("other", [item("b", T.TEXT), item("b", T.DATE), item("c", T.INTEGER)])
def test_what_cannot_be_compared_is_refused(other: GrantedItem) -> None:
    with pytest.raises(CheckParametersWrong):
        broken("cross_column", [item("a", T.INTEGER), other], [[], []], operator="eq", other="b")


def test_an_item_may_be_required_or_forbidden_by_another() -> None:
    items = [item("died", T.DATE), item("state", T.TEXT)]
    day = date(2020, 1, 1)
    columns: list[list[Any]] = [[None, None, day, day, None], ["注销", "在世", "注销", "在世", None]]

    assert broken("required_if", items, columns, when="state", values=["注销"]) == [True, False, False, False, False]
    assert broken("empty_if", items, columns, when="state", values=["在世"]) == [False, False, False, True, False]


def test_a_condition_may_stand_on_numbers() -> None:
    items = [item("note", T.TEXT), item("kind", T.INTEGER)]

    assert broken("required_if", items, [["", "x", None], [1, 1, 2]], when="kind", values=[1]) == [True, False, False]
    with pytest.raises(CheckParametersWrong):
        broken("required_if", items, [[], []], when="kind", values=["one"])


def test_a_sum_is_exact_in_decimals_and_judged_where_all_is_given() -> None:
    items = [item("total", T.DECIMAL, 12, 2), item("a", T.DECIMAL, 38, 2), item("b", T.INTEGER)]
    columns: list[list[Any]] = [
        [Decimal("3.10"), Decimal("3.11"), Decimal(1), None],
        [Decimal("0.10"), Decimal("0.10"), None, Decimal(1)],
        [3, 3, 1, 1],
    ]

    assert broken("sum_of", items, columns, items=["a", "b"]) == [False, True, False, False]
    assert broken("sum_of", items, columns, items=["a", "b"], tolerance="0.01") == [False] * 4
    assert broken("sum_of", items, columns, items=["a", "b"], tolerance="0.009") == [False, True, False, False]


def test_a_sum_of_doubles_has_a_tolerance() -> None:
    items = [item("total", T.DOUBLE), item("a", T.DOUBLE), item("b", T.DOUBLE)]

    assert broken("sum_of", items, [[0.3], [0.1], [0.2]], items=["a", "b"]) == [True]
    assert broken("sum_of", items, [[0.3], [0.1], [0.2]], items=["a", "b"], tolerance=1e-9) == [False]


def test_birth_dates_and_sexes_agree_with_identity_numbers() -> None:
    number = "620302199001010015"  # 1990-01-01, odd sequence: male
    numbers: list[Any] = [number, number, number.replace("0015", "0025"), "620302900101001", None, "abc"]
    born = item("born", T.DATE)
    days = [date(1990, 1, 1), date(1990, 1, 2), None, date(2000, 1, 1), date(2000, 1, 1), date(2000, 1, 1)]

    for kind, shown in ((T.DATE, days), (T.TEXT, [day and f"{day:%Y%m%d}" for day in days])):
        items = [item("born", kind), item("id", T.TEXT)]
        assert broken("identity_agrees", items, [shown, numbers], number="id", part="birth_date") == [
            False, True, False, False, False, False,
        ]  # fmt: skip
    items = [item("sex", T.TEXT), item("id", T.TEXT)]
    sexes = ["1", "女", "男", "2", "2", "2"]
    assert broken("identity_agrees", items, [sexes, numbers], number="id", part="sex") == [
        False, True, True, False, False, False,
    ]  # fmt: skip
    with pytest.raises(CheckParametersWrong):
        broken("identity_agrees", [born, item("id", T.TEXT)], [[], []], number="id", part="sex")
