"""Row conditions on values that are here already, with the meaning that they have in the databases."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from jinqiao.dataplane.gateway.values import cursor_text
from jinqiao.kernel.contracts.tables import LogicalType, Operator, RowCondition

_NUMBERS = (LogicalType.INTEGER, LogicalType.DECIMAL, LogicalType.DOUBLE, LogicalType.BOOLEAN)


def meets(condition: RowCondition, value: Any, kind: LogicalType) -> bool:
    """Whether a value meets a condition; a missing one meets none. Raises ValueError, TypeError, ArithmeticError for a value of
    another type."""
    text = cursor_text(value, kind)
    if text is None:
        return False
    if condition.operator is Operator.STARTS_WITH:
        return text.startswith(condition.values[0])
    have, wanted = _comparable(text, kind), [_comparable(given, kind) for given in condition.values]
    match condition.operator:
        case Operator.AT_LEAST:
            return bool(have >= wanted[0])
        case Operator.AT_MOST:
            return bool(have <= wanted[0])
    return have in wanted


def _comparable(text: str, kind: LogicalType) -> Any:
    """Numbers as numbers, instants as instants; texts and dates as they are written."""
    if kind is LogicalType.DATETIME:
        return datetime.fromisoformat(text)
    return Decimal(text) if kind in _NUMBERS else text
