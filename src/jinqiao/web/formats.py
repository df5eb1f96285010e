"""How numbers, dates and instants are written (look.md §5): the same in every table, page and chart."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils.translation import get_language, gettext

from jinqiao.kernel import moments

DASH = "—"
_WEEKDAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS_EN = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def is_english() -> bool:
    return (get_language() or "").startswith("en")


def number(value: Any) -> str:
    """1234567.50 → 1,234,567.5; nothing → —."""
    if value is None or value == "":
        return DASH
    if isinstance(value, Decimal | float):
        text = f"{value:,.4f}".rstrip("0").rstrip(".")
        return text or "0"
    return f"{int(value):,}"


def short_number(value: Any) -> str:
    """For overviews: 3,020,000 → 302万 (3.02M in English). Below ten thousand the exact number."""
    if value is None or value == "":
        return DASH
    figure = Decimal(value)
    steps = ((10**9, "bn"), (10**6, "M")) if is_english() else ((10**8, "亿"), (10**4, "万"))
    for size, word in steps:
        if abs(figure) >= size:
            shown = figure / size
            return f"{shown:,.0f}{word}" if abs(shown) >= 100 else f"{shown:,.1f}".rstrip("0").rstrip(".") + word
    return number(int(figure))


def day(value: date | datetime | None) -> str:
    """In prose: 3月18日, with the year where it is not this one; 18 March in English."""
    if value is None:
        return DASH
    on = _local(value).date() if isinstance(value, datetime) else value
    is_this_year = on.year == moments.today().year
    if is_english():
        return f"{on.day} {_MONTHS_EN[on.month - 1]}" + ("" if is_this_year else f" {on.year}")
    return f"{on.month}月{on.day}日" if is_this_year else f"{on.year}年{on.month}月{on.day}日"


def short_day(value: date, until: date | bool | None = None) -> str:
    """On a ruler: 19日, 21–22日, and 4月1日 where a month begins. In English 19, 21–22, 1 Apr."""
    last = until if isinstance(until, date) and until != value else None
    if is_english():
        text = f"{value.day}–{last.day}" if last else str(value.day)
        return f"{text} {_MONTHS_EN[value.month - 1][:3]}" if value.day == 1 or (last and last.day == 1) else text
    month = f"{value.month}月" if value.day == 1 else ""
    return f"{month}{value.day}–{last.day}日" if last else f"{month}{value.day}日"


def full_day(value: date | datetime | None) -> str:
    """2026年3月18日, in English 18 March 2026."""
    if value is None:
        return DASH
    on = _local(value).date() if isinstance(value, datetime) else value
    return f"{on.day} {_MONTHS_EN[on.month - 1]} {on.year}" if is_english() else f"{on.year}年{on.month}月{on.day}日"


def weekday(value: date) -> str:
    return _WEEKDAYS_EN[value.weekday()] if is_english() else "周" + "一二三四五六日"[value.weekday()]


def iso_day(value: date | datetime | None) -> str:
    """In tables: 2026-03-18, an instant by its day in China."""
    if value is None:
        return DASH
    return (_local(value).date() if isinstance(value, datetime) else value).isoformat()


def moment(value: datetime | None) -> str:
    """In tables: 2026-03-18 09:40, in China's time."""
    return DASH if value is None else f"{_local(value):%Y-%m-%d %H:%M}"


def exact_moment(value: datetime | None) -> str:
    """2026-03-18 09:40:12."""
    return DASH if value is None else f"{_local(value):%Y-%m-%d %H:%M:%S}"


def ago(value: datetime | None) -> str:
    """3小时前, 昨天 17:20, 3月16日: how fresh something is."""
    if value is None:
        return DASH
    passed = moments.now() - value
    local = _local(value)
    days = (moments.today() - local.date()).days
    if timedelta(0) <= passed < timedelta(minutes=1):
        return gettext("刚刚")
    if timedelta(0) <= passed < timedelta(hours=1):
        return gettext("%(count)s分钟前") % {"count": int(passed.total_seconds() // 60)}
    if days == 0 and passed >= timedelta(0):
        return gettext("%(count)s小时前") % {"count": int(passed.total_seconds() // 3600)}
    if days == 1:
        return gettext("昨天 %(time)s") % {"time": f"{local:%H:%M}"}
    return day(value)


def size(value: int | None) -> str:
    """Bytes: 4.1 GB."""
    if value is None:
        return DASH
    amount = Decimal(value)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TB"


def duration(seconds: float | None) -> str:
    """5.6秒, 3分12秒, 2小时5分."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return gettext("%(seconds)s秒") % {"seconds": f"{seconds:.1f}".rstrip("0").rstrip(".")}
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return gettext("%(minutes)s分%(seconds)s秒") % {"minutes": minutes, "seconds": rest}
    return gettext("%(hours)s小时%(minutes)s分") % {"hours": minutes // 60, "minutes": minutes % 60}


def digest(value: str) -> str:
    """A digest in groups of four, so that two can be compared by eye."""
    return " ".join(value[at : at + 4] for at in range(0, len(value), 4))


def percent(part: float | None, whole: float | None) -> str:
    """93.1%; — where there is nothing to take a part of."""
    if part is None or not whole:
        return DASH
    return f"{100 * part / whole:.1f}".removesuffix(".0") + "%"


def _local(value: datetime) -> datetime:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(moments.CHINA)
