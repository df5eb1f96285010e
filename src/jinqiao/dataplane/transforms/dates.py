"""Dates: read by a format, taken apart, turned into an age."""

import re
from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.transforms.making import Asked, Made, Operation, marks, on_text
from jinqiao.kernel import moments

# letters of a format: part, digits at least, digits at most; a letter twice means exactly two digits
_LETTERS = {"yyyy": ("year", 4, 4), "MM": ("month", 2, 2), "M": ("month", 1, 2), "dd": ("day", 2, 2), "d": ("day", 1, 2),
            "HH": ("hour", 2, 2), "H": ("hour", 1, 2), "mm": ("minute", 2, 2), "m": ("minute", 1, 2),
            "ss": ("second", 2, 2), "s": ("second", 1, 2)}  # fmt: skip
_TOKEN = re.compile(r"yyyy|MM?|dd?|HH?|mm?|ss?|[A-Za-z]|[^A-Za-z]")
_LITERAL_LETTERS = {"T", "Z"}
_DAY_US, _HOUR_US, _MINUTE_US, _SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000
_LAST = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def date_format(asked: Asked) -> Operation:
    """The whole text must be of the format and an existing instant; nothing is guessed from two digits of a year."""
    found = _regex(asked.parameters["format"])
    if found is None:
        raise asked.wrong("format")
    regex, parts = found

    def work(given: pa.Array) -> Made:
        matched = pc.extract_regex(given, regex)
        read = marks(matched.is_valid())
        numbers = {
            part: matched.field(place).fill_null("").filter(pa.array(read)).cast(pa.int64()).to_numpy()
            for place, part in enumerate(parts)
        }
        instants, exists = _instants(numbers, int(read.sum()))
        values = np.zeros(len(given), np.int64)
        values[read] = instants
        good = read.copy()
        good[read] = exists
        refused = marks(given.is_valid()) & ~good
        return Made(pa.array(values, pa.timestamp("us"), mask=~good), refused if refused.any() else None)

    return on_text(asked.parameters["column"], work)


def _regex(text: str) -> tuple[str, list[str]] | None:
    """The regular expression of a format with a group for each part; None where it names no whole date, or a part twice."""
    regex, parts = "", []
    for token in _TOKEN.findall(text):
        if token in _LETTERS:
            part, least, most = _LETTERS[token]
            regex += f"(?P<{part}>[0-9]{{{least},{most}}})"
            parts.append(part)
        elif token.isascii() and token.isalpha() and token not in _LITERAL_LETTERS:
            return None
        else:
            regex += re.escape(token)
    if len(set(parts)) != len(parts) or not {"year", "month", "day"} <= set(parts):
        return None
    return f"^{regex}$", parts


def _instants(
    numbers: "dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]", count: int
) -> "tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.bool_]]]":
    """Microseconds since 1970, and which of them exist."""
    nothing = np.zeros(count, np.int64)
    year, month, day = numbers["year"], numbers["month"], numbers["day"]
    hour, minute, second = (numbers.get(part, nothing) for part in ("hour", "minute", "second"))
    good = (year >= 1) & (month >= 1) & (month <= 12)
    month = np.where(good, month, 1)
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    good &= (day >= 1) & (day <= _LAST[month] + ((month == 2) & leap))
    good &= (hour < 24) & (minute < 60) & (second < 60)
    years = year.astype("datetime64[Y]") - np.datetime64(1970, "Y").astype(np.int64)
    days = ((years.astype("datetime64[Y]").astype("datetime64[M]").astype(np.int64) + month - 1)
            .astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1)  # fmt: skip
    return days * _DAY_US + hour * _HOUR_US + minute * _MINUTE_US + second * _SECOND_US, good


_PARTS = {
    "year": pc.year,
    "month": pc.month,
    "day": pc.day,
    "quarter": pc.quarter,
    "weekday": lambda values: pc.day_of_week(values, count_from_zero=False, week_start=1),
    "hour": pc.hour,
}


def date_part(asked: Asked) -> Operation:
    """What is no date or time in the source must read as one."""
    take = _PARTS[asked.parameters["part"]]

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        fitted = fit(columns[0], pa.timestamp("us"))
        return Made(take(fitted.values), fitted.bad)

    return Operation((asked.parameters["column"],), make)


def age(asked: Asked) -> Operation:
    """Full years by month and day. Refused where the birth lies after that day."""
    given = asked.parameters.get("at", "")
    try:
        at = date.fromisoformat(given) if given else moments.today()
    except ValueError:
        raise asked.wrong("at") from None

    def make(columns: Sequence[pa.Array], rows: int) -> Made:
        fitted = fit(columns[0], pa.date32())
        born = fitted.values
        years = pc.subtract(at.year, pc.year(born))
        not_yet = pc.greater(pc.add(pc.multiply(pc.month(born), 100), pc.day(born)), at.month * 100 + at.day)
        years = pc.subtract(years, not_yet.cast(pa.int64()))
        refused = marks(pc.greater(born, pa.scalar(at, pa.date32())))
        if fitted.bad is not None:
            refused |= fitted.bad
        return Made(years, refused if refused.any() else None)

    return Operation((asked.parameters["column"],), make)
