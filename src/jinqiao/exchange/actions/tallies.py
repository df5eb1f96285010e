"""Sums of calls by the hour, kept in the transaction that keeps the calls: no call is counted twice, none is missing."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinqiao.exchange.durations import add, step_of
from jinqiao.exchange.models import Call, CallTally, Node

_FIELDS = (
    "hour", "service", "application", "consumer", "provider", "purpose", "environment", "operation", "error_owner",
)  # fmt: skip
_Key = tuple[Any, ...]


@dataclass(slots=True)
class _Sum:
    calls: int = 0
    rows: int = 0
    steps: Counter[int] = field(default_factory=Counter)


def hour_of(at: datetime) -> datetime:
    """The first instant of its hour; China is whole hours away from UTC, so it is one there as well."""
    return at.replace(minute=0, second=0, microsecond=0)


def count_calls(gateway: Node, calls: Iterable[Call]) -> None:
    """Add calls to the sums of their hours. The caller holds the lock on the gateway, so that nobody else adds to them."""
    sums: dict[_Key, _Sum] = {}
    for call in calls:
        one = sums.setdefault(_key(call, hour_of(call.at)), _Sum())
        one.calls += 1
        one.rows += call.rows
        one.steps[step_of(call.duration_us)] += 1
    if not sums:
        return
    known = {
        _key(row, row.hour): row
        for row in CallTally.objects.filter(
            gateway=gateway, hour__in={key[0] for key in sums}, service__in={key[1] for key in sums}
        )
    }
    fresh: list[CallTally] = []
    for key, one in sums.items():
        row = known.get(key)
        if row is None:
            row = CallTally(gateway=gateway, calls=0, rows=0, durations={}, **dict(zip(_FIELDS, key, strict=True)))
            fresh.append(row)
        add(one.steps, row.durations)
        row.calls += one.calls
        row.rows += one.rows
        row.durations = {str(step): count for step, count in sorted(one.steps.items())}
    CallTally.objects.bulk_create(fresh, batch_size=500)
    grown = [known[key] for key in sums if key in known]
    CallTally.objects.bulk_update(grown, ["calls", "rows", "durations"], batch_size=200)


def _key(row: Call | CallTally, hour: datetime) -> _Key:
    return (hour, *(getattr(row, name) for name in _FIELDS[1:]))
