"""At which hours a service answers."""

from collections.abc import Sequence
from datetime import datetime, time

from jinqiao.kernel.contracts.policy import Hours

_DAYS = "一二三四五六日"
_EVERY_DAY = 7


def is_open(hours: Sequence[Hours], at: datetime) -> bool:
    """`at` is local time. A span whose end is not after its beginning goes over midnight and belongs to the day it begins on."""
    return any(_holds(span, at) for span in hours)


def _holds(span: Hours, at: datetime) -> bool:
    first, last, now, day = _time(span.first), _time(span.last), at.time(), at.isoweekday()
    if first is None or last is None:
        return False
    if first < last:
        return first <= now < last and day in span.weekdays
    before = 7 if day == 1 else day - 1
    return (now >= first and day in span.weekdays) or (now < last and before in span.weekdays)


def _time(text: str) -> time | None:
    """A span that cannot be read opens nothing. 24:00 is the midnight at the end of a day."""
    try:
        return time.fromisoformat("00:00" if text == "24:00" else text)
    except ValueError:
        return None


def in_words(hours: Sequence[Hours]) -> str:
    """The spans for a refusal: 08:30-18:00（周一二三四五）."""
    return "、".join(
        f"{span.first}-{span.last}"
        + (
            ""
            if len(set(span.weekdays)) >= _EVERY_DAY
            else f"（周{''.join(_DAYS[d - 1] for d in sorted(span.weekdays) if 1 <= d <= 7)}）"
        )
        for span in hours
    )
