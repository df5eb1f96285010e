r"""The canonical form of rows and their digest: the same on every engine, wherever contents are compared.

A value becomes text by its logical type:

    text        as it is                        decimal    plain, no exponent, no trailing zeros, no "-0"
    integer     decimal digits                  double     shortest text that reads back as the same number (Python's repr)
    boolean     1 or 0                          date       2026-03-18
    binary      lower-case hex                  datetime   2026-03-18T09:30:00.000000 (always six digits, no zone)

A row is its fields in order, joined by U+001F and ended by U+001E, in UTF-8. In a field `\` is written `\\`, U+001F `\1`,
U+001E `\2`; NULL is `\N`, so that it differs from an empty text. Content digests of a chunk cover its rows one after
another; a batch digest chains the chunks: h(0) = H(""), h(i) = H(h(i-1) ‖ digest(i)).
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.crypto.suites import Suite, suite

FIELD_END = "\x1f"
ROW_END = "\x1e"
NULL = "\\N"
ESCAPES = (("\\", "\\\\"), (FIELD_END, "\\1"), (ROW_END, "\\2"))  # in this order


def _whole(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"an integer is wanted, not {type(value).__name__}")
    return str(value)


def _decimal(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"a decimal is wanted, not {type(value).__name__}")
    number = Decimal(value)
    if number.is_nan() or number.is_infinite():
        return str(number).lower()
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _double(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a double is wanted, not {type(value).__name__}")
    return repr(float(value) + 0.0)  # -0.0 + 0.0 is 0.0


def _boolean(value: Any) -> str:
    if value not in (0, 1):  # SQLite and MariaDB hold booleans as numbers
        raise TypeError(f"a boolean is wanted, not {type(value).__name__}")
    return "1" if value else "0"


def _date(value: Any) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise TypeError(f"a date is wanted, not {type(value).__name__}")
    return value.isoformat()


def _datetime(value: Any) -> str:
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise TypeError("a wall-clock time without zone is wanted")
    return value.isoformat(timespec="microseconds")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text is wanted, not {type(value).__name__}")
    return value


def _binary(value: Any) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"bytes are wanted, not {type(value).__name__}")
    return bytes(value).hex()


_FORMS = {
    LogicalType.TEXT: _text,
    LogicalType.INTEGER: _whole,
    LogicalType.DECIMAL: _decimal,
    LogicalType.DOUBLE: _double,
    LogicalType.BOOLEAN: _boolean,
    LogicalType.DATE: _date,
    LogicalType.DATETIME: _datetime,
    LogicalType.BINARY: _binary,
}


def canonical_text(value: Any, kind: LogicalType) -> str | None:
    """The text of a value, None for NULL. Raises TypeError where the value is not of that type."""
    return None if value is None else _FORMS[kind](value)


def escaped(text: str | None) -> str:
    """A field as it stands in a row's bytes."""
    if text is None:
        return NULL
    for plain, written in ESCAPES:
        text = text.replace(plain, written)
    return text


def row_bytes(values: Sequence[Any], types: Sequence[LogicalType]) -> bytes:
    """The bytes of one row that digests cover."""
    fields = (escaped(canonical_text(value, kind)) for value, kind in zip(values, types, strict=True))
    return (FIELD_END.join(fields) + ROW_END).encode("utf-8")


def row_digest(values: Sequence[Any], types: Sequence[LogicalType], suite_name: str | Suite = "international") -> str:
    """Hex digest of one row."""
    return _suite(suite_name).digest(row_bytes(values, types)).hex()


class ContentDigest:
    """Digest of many rows in their order: fed row by row, or with bytes of rows that were put in form elsewhere."""

    def __init__(self, suite_name: str | Suite = "international") -> None:
        self._hasher = _suite(suite_name).hasher()
        self.rows = 0

    def add(self, values: Sequence[Any], types: Sequence[LogicalType]) -> None:
        self._hasher.update(row_bytes(values, types))
        self.rows += 1

    def update(self, data: bytes, rows: int = 0) -> None:
        """`data` holds whole or partial rows in canonical bytes; `rows` of them end in it."""
        self._hasher.update(data)
        self.rows += rows

    def hexdigest(self) -> str:
        return self._hasher.hexdigest()


def batch_digest(content_digests: Iterable[str], suite_name: str | Suite = "international") -> str:
    """The chain over the content digests of a batch's chunks (hex) in their order."""
    algorithms = _suite(suite_name)
    link = algorithms.digest(b"")
    for content_digest in content_digests:
        link = algorithms.digest(link + bytes.fromhex(content_digest))
    return link.hex()


def _suite(name: str | Suite) -> Suite:
    return suite(name) if isinstance(name, str) else name
