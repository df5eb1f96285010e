"""Keys are taken in their canonical form only; values leave masked and in the form of their type."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.gateway.errors import KeyNotValid
from jinqiao.dataplane.gateway.values import json_value, key_value
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType, Mask


def item(kind: LogicalType, mask: Mask = Mask.NONE, scale: int | None = None) -> GrantedItem:
    return GrantedItem(item="项", code="x", column="x", type=kind, mask=mask, scale=scale)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (LogicalType.TEXT, "安", "安"),
        (LogicalType.TEXT, "' OR 1=1 --", "' OR 1=1 --"),
        (LogicalType.INTEGER, "42", "42"),
        (LogicalType.INTEGER, 42, "42"),
        (LogicalType.INTEGER, -(2**63), str(-(2**63))),
        (LogicalType.DECIMAL, "12.50", "12.50"),
        (LogicalType.DECIMAL, 12, "12"),
        (LogicalType.BOOLEAN, True, "1"),
        (LogicalType.DATE, "2026-02-28", "2026-02-28"),
        (LogicalType.DATETIME, "2026-02-28T09:30:00", "2026-02-28T09:30:00.000000"),
        (LogicalType.BINARY, "00ff", "00ff"),
    ],
)
def test_a_key_in_order_becomes_canonical_text(kind: LogicalType, value: Any, text: str) -> None:
    assert key_value(value, item(kind)) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LogicalType.TEXT, ""),
        (LogicalType.TEXT, 620302199001010015),
        (LogicalType.TEXT, True),
        (LogicalType.TEXT, "x" * 201),
        (LogicalType.TEXT, "a\x00b"),
        (LogicalType.TEXT, "a\nb"),
        (LogicalType.TEXT, "\ud800"),
        (LogicalType.INTEGER, "４２"),
        (LogicalType.INTEGER, "٤٢"),
        (LogicalType.INTEGER, "042"),
        (LogicalType.INTEGER, " 42"),
        (LogicalType.INTEGER, "4_2"),
        (LogicalType.INTEGER, "+42"),
        (LogicalType.INTEGER, 2**63),
        (LogicalType.INTEGER, "42 OR 1=1"),
        (LogicalType.INTEGER, True),
        (LogicalType.DECIMAL, "1e9"),
        (LogicalType.DECIMAL, "NaN"),
        (LogicalType.DECIMAL, "1."),
        (LogicalType.BOOLEAN, "true"),
        (LogicalType.BOOLEAN, 1),
        (LogicalType.DATE, "2026-02-30"),
        (LogicalType.DATE, "２０２６-02-28"),
        (LogicalType.DATE, "20260228"),
        (LogicalType.DATE, "2026-02-28T00:00:00"),
        (LogicalType.DATETIME, "2026-02-28 09:30:00"),
        (LogicalType.DATETIME, "2026-02-28T25:00:00"),
        (LogicalType.DATETIME, "2026-02-28T09:30:00+08:00"),
        (LogicalType.BINARY, "0"),
        (LogicalType.BINARY, "FF"),
        (LogicalType.DOUBLE, "1.5"),
    ],
)
def test_a_key_of_another_form_is_refused_by_name_not_by_value(kind: LogicalType, value: Any) -> None:
    with pytest.raises(KeyNotValid) as caught:
        key_value(value, item(kind))
    assert caught.value.details == {"item": "x", "type": kind.value}


@pytest.mark.parametrize(
    ("kind", "stored", "shown"),
    [
        (LogicalType.TEXT, "安", "安"),
        (LogicalType.TEXT, b"\xe5\xae\x89", "安"),
        (LogicalType.TEXT, 42, "42"),
        (LogicalType.INTEGER, 42, 42),
        (LogicalType.INTEGER, Decimal(42), 42),
        (LogicalType.INTEGER, "42", 42),
        (LogicalType.DECIMAL, Decimal("12.5"), "12.50"),
        (LogicalType.DECIMAL, 12, "12.00"),
        (LogicalType.DECIMAL, "7.1", "7.10"),
        (LogicalType.DECIMAL, Decimal("7.125"), "7.125"),
        (LogicalType.DECIMAL, Decimal("1E+3"), "1000.00"),
        (LogicalType.DOUBLE, 0.1, 0.1),
        (LogicalType.DOUBLE, float("nan"), "nan"),
        (LogicalType.DOUBLE, float("inf"), "inf"),
        (LogicalType.BOOLEAN, 1, True),
        (LogicalType.BOOLEAN, False, False),
        (LogicalType.DATE, date(2026, 2, 28), "2026-02-28"),
        (LogicalType.DATE, "2026-02-28", "2026-02-28"),
        (LogicalType.DATE, datetime(2026, 2, 28, 9), "2026-02-28"),  # noqa: DTZ001 -- wall-clock time
        (LogicalType.DATETIME, "2026-02-28 09:30:00", "2026-02-28T09:30:00.000000"),
        (LogicalType.DATETIME, datetime(2026, 2, 28, 1, 30, tzinfo=UTC), "2026-02-28T09:30:00.000000"),
        (LogicalType.BINARY, b"\x00\xff", "00ff"),
        (LogicalType.BINARY, memoryview(b"\x01"), "01"),
        *((kind, None, None) for kind in LogicalType),
    ],
)
def test_a_value_leaves_in_the_form_of_its_type(kind: LogicalType, stored: Any, shown: Any) -> None:
    assert json_value(stored, item(kind, scale=2 if kind is LogicalType.DECIMAL else None)) == shown


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (LogicalType.INTEGER, "绝密"),
        (LogicalType.INTEGER, 1.5),
        (LogicalType.DECIMAL, "绝密"),
        (LogicalType.DOUBLE, "绝密"),
        (LogicalType.BOOLEAN, 2),
        (LogicalType.BOOLEAN, "绝密"),
        (LogicalType.DATE, "绝密"),
        (LogicalType.DATETIME, 5),
        (LogicalType.BINARY, "绝密"),
        (LogicalType.TEXT, b"\xff"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_not_shown(kind: LogicalType, stored: Any) -> None:
    with pytest.raises((ValueError, TypeError, ArithmeticError)):
        json_value(stored, item(kind))


@given(
    st.sampled_from(list(LogicalType)), st.text(min_size=1, max_size=30) | st.integers() | st.booleans() | st.dates()
)
def test_hidden_hides_whatever_it_was(kind: LogicalType, stored: Any) -> None:
    assert json_value(stored, item(kind, Mask.HIDDEN)) == "***"


@given(st.text(min_size=2, max_size=40), st.sampled_from([Mask.IDENTITY_NUMBER, Mask.NAME, Mask.PHONE]))
def test_a_masked_text_is_not_the_text(stored: str, mask: Mask) -> None:
    shown = json_value(stored, item(LogicalType.TEXT, mask))
    assert shown != stored or set(stored[1:]) <= {"*"}
