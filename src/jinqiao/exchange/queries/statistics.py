"""Sums of calls, from what is counted by the hour: fast whatever their number, and every figure names the calls that it counts."""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.exchange.durations import add, percentile_us
from jinqiao.exchange.models import CallTally
from jinqiao.exchange.queries.calls import CallsWanted, midnight
from jinqiao.exchange.queries.visible import sees_all
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.kernel.moments import CHINA

DIMENSIONS = ("provider", "consumer", "service", "application", "purpose", "operation", "owner", "day", "hour")
"""By what calls are counted. By hour: of the last day of the period."""

_COLUMNS = {"owner": "error_owner"}


@dataclass(frozen=True, slots=True)
class Line:
    """Calls that agree in one thing. `key` is its value: text, a day, or the first instant of an hour."""

    key: Any
    calls: int
    answered: int
    rows: int
    p50_us: float | None
    p95_us: float | None

    @property
    def refused(self) -> int:
        return self.calls - self.answered


def tallies(post: Post, wanted: CallsWanted) -> QuerySet[CallTally]:
    """What the post may see of the sums; of `wanted` only what sums are kept by, days and hour narrow as they do calls."""
    found = CallTally.objects.exclude(operation=RECEIPT)
    if not sees_all(post):
        code = post.organisation.credit_code
        own = Q(consumer=code)
        found = found.filter(own if post.role == Role.DEVELOPER else own | Q(provider=code))
    exact = {
        "service": wanted.service, "application": wanted.application, "provider": wanted.provider, "consumer": wanted.consumer,
        "purpose": wanted.purpose, "environment": wanted.environment, "operation": wanted.operation, "error_owner": wanted.owner,
    }  # fmt: skip
    found = found.filter(**{name: value for name, value in exact.items() if value})
    if wanted.outcome == "ok":
        found = found.filter(error_owner="")
    elif wanted.outcome == "refused":
        found = found.exclude(error_owner="")
    if wanted.since:
        found = found.filter(hour__gte=midnight(wanted.since))
    if wanted.until:
        found = found.filter(hour__lt=midnight(wanted.until) + timedelta(days=1))
    return found


def total(post: Post, wanted: CallsWanted) -> Line:
    """All calls of the period as one line."""
    lines = _lines(tallies(post, wanted), lambda _row: "", ("error_owner",))
    return lines[0] if lines else Line("", 0, 0, 0, None, None)


def by(post: Post, wanted: CallsWanted, dimension: str) -> list[Line]:
    """Lines by one of `DIMENSIONS`: days and hours in order, all else most calls first."""
    if dimension == "day":
        return sorted(
            _lines(tallies(post, wanted), lambda row: _day(row["hour"]), ("hour",)), key=lambda line: line.key
        )
    if dimension == "hour":
        last = replace(wanted, since=wanted.until) if wanted.until else wanted
        return sorted(_lines(tallies(post, last), lambda row: row["hour"], ("hour",)), key=lambda line: line.key)
    column = _COLUMNS.get(dimension, dimension)
    found = tallies(post, wanted)
    if dimension == "owner":
        found = found.exclude(error_owner="")
    lines = _lines(found, lambda row: row[column], (column,))
    return sorted(lines, key=lambda line: (-line.calls, str(line.key)))


def _day(hour: datetime) -> date:
    return hour.astimezone(CHINA).date()


def _lines(found: QuerySet[CallTally], key_of: Any, columns: tuple[str, ...]) -> list[Line]:
    calls: Counter[Any] = Counter()
    answered: Counter[Any] = Counter()
    rows: Counter[Any] = Counter()
    steps: dict[Any, Counter[int]] = defaultdict(Counter)
    names = dict.fromkeys((*columns, "error_owner", "calls", "rows", "durations"))
    for row in found.order_by().values(*names).iterator(chunk_size=5000):
        key = key_of(row)
        calls[key] += row["calls"]
        rows[key] += row["rows"]
        answered[key] += 0 if row["error_owner"] else row["calls"]
        add(steps[key], row["durations"])
    return [
        Line(key, calls[key], answered[key], rows[key], percentile_us(steps[key], 0.5), percentile_us(steps[key], 0.95))
        for key in calls
    ]


@dataclass(frozen=True, slots=True)
class DayCount:
    on: date
    answered: int
    refused: int


def daily(post: Post, wanted: CallsWanted) -> list[DayCount]:
    """Calls answered and refused, for every day of the period (both its ends are needed)."""
    if wanted.since is None or wanted.until is None:
        return []
    sums = (
        tallies(post, wanted)
        .order_by()
        .annotate(on=TruncDate("hour", tzinfo=CHINA))
        .values("on")
        .annotate(answered=Sum("calls", filter=Q(error_owner="")), refused=Sum("calls", filter=~Q(error_owner="")))
    )
    known: dict[date, Any] = {row["on"]: row for row in sums}
    days = [wanted.since + timedelta(days=at) for at in range((wanted.until - wanted.since).days + 1)]
    return [DayCount(on, known.get(on, {}).get("answered") or 0, known.get(on, {}).get("refused") or 0) for on in days]
