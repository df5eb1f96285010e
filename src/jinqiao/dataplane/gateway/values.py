"""Values on their way in (look-up keys) and on their way out (JSON by logical type, masked)."""

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from jinqiao.dataplane.gateway.errors import KeyNotValid
from jinqiao.dataplane.masks import mask_text, masker
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType, Mask, Operator
from jinqiao.kernel.moments import CHINA

KEY_CHARACTERS = 200
_TEXT = LogicalType.TEXT  # to read a member off its class costs a call as much as its masks do (Python 3.11)
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
DECIMAL = re.compile(r"-?[0-9]{1,38}(\.[0-9]{1,38})?", re.ASCII)
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", re.ASCII)
_DATE_CHARACTERS = len("2026-01-31")
_NOT_PLAIN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
BINARY = re.compile(r"([0-9a-f]{2}){1,100}", re.ASCII)


def key_value(value: Any, item: GrantedItem) -> str:
    """A look-up value as canonical text of the item's type (`kernel.digests`). Raises KeyNotValid.

    Numbers and dates are taken in ASCII only; texts are compared as they are, code point by code point.
    """
    kind = item.type
    if kind is _TEXT and type(value) is str and 0 < len(value) <= KEY_CHARACTERS and value.isprintable():
        return value
    text = _key_text(value, kind)
    if text is None:
        raise KeyNotValid(item=item.code, type=kind.value)
    return text


def _key_text(value: Any, kind: LogicalType) -> str | None:
    if kind is LogicalType.BOOLEAN:
        return str(int(value)) if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    if not text or len(text) > KEY_CHARACTERS:
        return None
    match kind:
        case LogicalType.TEXT:
            return text if isinstance(value, str) and is_plain(text) else None
        case LogicalType.INTEGER:
            return text if INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63 else None
        case LogicalType.DECIMAL:
            return f"{Decimal(text):f}" if DECIMAL.fullmatch(text) else None
        case LogicalType.DATE:
            return text if DATE.fullmatch(text) and _is_date(text) else None
        case LogicalType.DATETIME:
            return _written_datetime(text) if DATETIME.fullmatch(text) else None
        case LogicalType.BINARY:
            return text if BINARY.fullmatch(text) else None
    return None  # doubles are not looked up by equality


def filter_text(value: Any, operator: Operator, kind: LogicalType) -> str | None:
    """The value of a filter as canonical text; None where operator or value do not fit the type."""
    if operator is Operator.STARTS_WITH:
        return _key_text(value, kind) if kind is LogicalType.TEXT else None
    if operator in (Operator.AT_LEAST, Operator.AT_MOST):
        if kind in (LogicalType.BOOLEAN, LogicalType.BINARY):
            return None
        if kind is LogicalType.DOUBLE:
            return _double_text(value)
    return _key_text(value, kind)


def _double_text(value: Any) -> str | None:
    if isinstance(value, bool) or not (isinstance(value, int | float) or DECIMAL.fullmatch(str(value))):
        return None
    return repr(float(value)) if abs(value if not isinstance(value, str) else float(value)) < 1e308 else None


def key_text(text: str, kind: LogicalType) -> str | None:
    """A text (a case number, a cell of a file) as canonical text of a type; None where it is none."""
    if kind is LogicalType.BOOLEAN:
        return {"true": "1", "false": "0"}.get(text)
    return _key_text(text, kind)


def agrees(claimed: str, value: Any, item: GrantedItem) -> bool:
    """Whether a claimed value (canonical text) is that of the source.

    Of a masked item only what its mask shows is compared: a verification tells nothing that a query would not.
    Raises what `json_value` raises.
    """
    shown = json_value(value, item)
    if shown is None:
        return False
    if item.mask is not Mask.NONE:
        return mask_text(claimed, item.mask if item.type is LogicalType.TEXT else Mask.HIDDEN) == shown
    if item.type is LogicalType.DECIMAL:
        return Decimal(claimed) == Decimal(str(shown))
    if item.type is LogicalType.BOOLEAN:
        return (claimed == "1") is shown
    return claimed == str(shown)


def cursor_text(value: Any, kind: LogicalType) -> str | None:
    """A value of the source as canonical text, to go on after it in a list. Raises what `json_value` raises."""
    if value is None:
        return None
    match kind:
        case LogicalType.TEXT:
            return _text(value)
        case LogicalType.INTEGER:
            return str(_integer(value))
        case LogicalType.DECIMAL:
            return _decimal(value, None)
        case LogicalType.DOUBLE:
            return repr(float(value))
        case LogicalType.BOOLEAN:
            return str(int(_boolean(value)))
        case LogicalType.DATE:
            return _date_text(value)
        case LogicalType.DATETIME:
            return _datetime_text(value)
    return _hex(value)


def is_plain(text: str) -> bool:
    """No control characters, no half surrogates: nothing that a database or a log would read otherwise than it looks."""
    # what Python finds printable is plain; beyond that a few blanks are, such as the ideographic one
    return text.isprintable() or _NOT_PLAIN.search(text) is None


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _written_datetime(text: str) -> str | None:
    try:
        return datetime.fromisoformat(text).isoformat(timespec="microseconds")
    except ValueError:
        return None


Told = str | int | float | bool | None


def json_value(value: Any, item: GrantedItem) -> Told:
    """A value of the source as the consumer gets it: masked, decimals as text to their scale, dates ISO 8601, bytes as hex.

    A mask on anything but a text hides it whole, as in an exchange. Raises ValueError, TypeError or ArithmeticError where the
    source holds something else than the catalogue says.
    """
    return None if value is None else teller(item)(value)


def teller(item: GrantedItem) -> Callable[[Any], Told]:
    """`json_value` of one item for values that are there, to be kept where many values of it are told."""
    if item.mask is not Mask.NONE:
        return masker(item.mask if item.type is LogicalType.TEXT else Mask.HIDDEN)
    if item.type is LogicalType.DECIMAL:
        return partial(_decimal, scale=item.scale)
    return _TELLERS[item.type]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _loose_text(value)


def _loose_text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8")
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)


def _integer(value: Any) -> int:
    number = int(value)
    if isinstance(value, float | Decimal) and number != value:
        raise ValueError("not a whole number")
    return number


def _decimal(value: Any, scale: int | None) -> str:
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        return str(number)
    if scale is not None and number == (rounded := number.quantize(Decimal(1).scaleb(-scale))):
        number = rounded
    return f"{number:f}"


def _boolean(value: Any) -> bool:
    if value in (0, 1):
        return bool(value)
    raise ValueError("neither true nor false")


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(value)


def _datetime(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment.astimezone(CHINA).replace(tzinfo=None) if moment.tzinfo is not None else moment


def _double(value: Any) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _date_text(value: Any) -> str:
    day = _date(value)
    # as SQLite has it, it is written already; fromisoformat reads weeks and dates without hyphens, too
    return value if type(value) is str and len(value) == _DATE_CHARACTERS and value[7] == "-" else day.isoformat()


def _datetime_text(value: Any) -> str:
    return _datetime(value).isoformat(timespec="microseconds")


def _hex(value: Any) -> str:
    return bytes(value).hex()


_TELLERS: dict[LogicalType, Callable[[Any], Told]] = {
    LogicalType.TEXT: _text,
    LogicalType.INTEGER: _integer,
    LogicalType.DOUBLE: _double,
    LogicalType.BOOLEAN: _boolean,
    LogicalType.DATE: _date_text,
    LogicalType.DATETIME: _datetime_text,
    LogicalType.BINARY: _hex,
}
