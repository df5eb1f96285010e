"""What the rules of anomalies find in the calls of one day. Each function takes a day and its rule and gives findings: counts, never data.

Persons are counted by their commitments: the same person has the same one at every gateway, and nobody can read a number from it.
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from jinqiao.exchange.enums import AnomalyKind
from jinqiao.exchange.models import Call, CallSubject, CallTally
from jinqiao.exchange.queries.anomalies import AnomalyRule
from jinqiao.exchange.queries.calls import midnight
from jinqiao.kernel.contracts.evidence import RECEIPT
from jinqiao.kernel.moments import CHINA
from jinqiao.workflow import queries as workflow

MAD_TO_SIGMA = 1.4826
"""A median absolute deviation, times this, is the standard deviation of a normal distribution."""
_PARTIES = ("provider", "consumer", "service", "application")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an anomaly is made of: what its calls have in common, and its figures. Departments by credit code."""

    kind: AnomalyKind
    day: date
    provider: str = ""
    consumer: str = ""
    service: str = ""
    application: str = ""
    end_user: str = ""
    case_number: str = ""
    subject: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def since(self) -> datetime:
        return midnight(self.day)

    @property
    def until(self) -> datetime:
        return self.since + timedelta(days=1)


def findings_of(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    """What a rule finds in the production calls of a day of China."""
    return _LOOKS[rule.kind](day, rule)


def _calls(day: date) -> QuerySet[Call]:
    """Production calls of the day but receipts."""
    begins = midnight(day)
    calls = Call.objects.filter(at__gte=begins, at__lt=begins + timedelta(days=1), environment="production")
    return calls.exclude(operation=RECEIPT).order_by()


def _answered(day: date) -> QuerySet[Call]:
    return _calls(day).filter(outcome="ok")


def _off_hours(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    """Before `until_hour` and from `from_hour` on; all day where the day is off. A day that no calendar knows is judged by its hours."""
    begins = midnight(day)
    calendar = workflow.calendar()
    is_off = day.year in calendar.years and not calendar.is_working_day(day)
    calls = _answered(day)
    if not is_off:
        early = Q(at__lt=begins + timedelta(hours=rule.number("until_hour")))
        calls = calls.filter(early | Q(at__gte=begins + timedelta(hours=rule.number("from_hour"))))
    for row in calls.values(*_PARTIES).annotate(n=Count("pk"), sum=Sum("rows")):
        if row["n"] >= rule.number("least_calls"):
            figures = {
                "calls": row["n"], "rows": row["sum"] or 0, "is_day_off": is_off, "limit": rule.number("least_calls"),
            }  # fmt: skip
            yield Finding(kind=rule.kind, day=day, figures=figures, **_of(row))


def _of(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _PARTIES}


def _volume(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    begins = midnight(day)
    sums: dict[tuple[str, str], dict[date, int]] = defaultdict(dict)
    rows = (
        CallTally.objects.filter(
            hour__gte=begins - timedelta(days=rule.number("history_days")),
            hour__lt=begins + timedelta(days=1),
            environment="production",
            error_owner="",
        )
        .exclude(operation=RECEIPT)
        .order_by()
        .annotate(on=TruncDate("hour", tzinfo=CHINA))
        .values("provider", "service", "on")
        .annotate(n=Sum("calls"))
    )
    for row in rows:
        sums[row["provider"], row["service"]][row["on"]] = row["n"]
    for (provider, service), days in sums.items():
        now = days.pop(day, 0)
        if now < rule.number("least_calls") or len(days) < rule.number("least_history"):
            continue
        median = statistics.median(days.values())
        deviation = MAD_TO_SIGMA * statistics.median(abs(count - median) for count in days.values())
        most = median + max(rule.number("factor") * deviation, rule.number("least_share") * median)
        if now > most:
            figures = {"calls": now, "usual": median, "limit": round(most), "days": len(days)}
            yield Finding(kind=rule.kind, day=day, provider=provider, service=service, figures=figures)


def _enumeration(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    rows = (
        _answered(day).values(*_PARTIES).annotate(n=Count("pk"), empty=Count("pk", filter=Q(rows=0)), asked=Sum("keys"))
    )
    persons = {
        tuple(row[f"call__{name}"] for name in _PARTIES): row["n"]
        for row in _subjects(day).values(*(f"call__{name}" for name in _PARTIES)).annotate(
            n=Count("commitment", distinct=True)
        )
    }  # fmt: skip
    for row in rows:
        known = persons.get(tuple(row[name] for name in _PARTIES), 0)
        share = row["empty"] / row["n"]
        many = known > rule.number("most_persons")
        blind = row["n"] >= rule.number("least_calls") and share >= rule.number("empty_share")
        if many or blind:
            figures = {
                "calls": row["n"], "keys": row["asked"], "persons": known, "empty": row["empty"],
                "empty_share": round(share, 3), "limit": rule.number("most_persons"),
                "share_limit": rule.number("empty_share"),
            }  # fmt: skip
            yield Finding(kind=rule.kind, day=day, figures=figures, **_of(row))


def _subjects(day: date) -> QuerySet[CallSubject]:
    begins = midnight(day)
    return (
        CallSubject.objects.filter(at__gte=begins, at__lt=begins + timedelta(days=1), call__environment="production")
        .exclude(call__operation=RECEIPT)
        .order_by()
    )


def _same_person(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    """Across providers: who is asked for everywhere is seen nowhere else."""
    rows = (
        _subjects(day)
        .values("commitment")
        .annotate(
            applications=Count("call__application", distinct=True, filter=~Q(call__application="")),
            users=Count("call__end_user", distinct=True, filter=~Q(call__end_user="")),
            n=Count("pk"),
            providers=Count("call__provider", distinct=True),
        )
        .filter(Q(applications__gt=rule.number("most_applications")) | Q(users__gt=rule.number("most_end_users")))
    )
    for row in rows:
        provider = ""
        if row["providers"] == 1:
            provider = _subjects(day).filter(commitment=row["commitment"]).values_list("call__provider", flat=True)[0]
        figures = {
            "calls": row["n"], "applications": row["applications"], "end_users": row["users"],
            "limit_applications": rule.number("most_applications"), "limit_end_users": rule.number("most_end_users"),
        }  # fmt: skip
        yield Finding(kind=rule.kind, day=day, provider=provider, subject=row["commitment"], figures=figures)


def _persons_by(day: date, rule: AnomalyRule, *names: str) -> Iterator[Finding]:
    """The last name is what must not stand for many persons, and is not empty."""
    wanted = [f"call__{name}" for name in names]
    rows = (
        _subjects(day)
        .exclude(**{wanted[-1]: ""})
        .values(*wanted)
        .annotate(persons=Count("commitment", distinct=True), n=Count("call", distinct=True))
        .filter(persons__gt=rule.number("most_persons"))
    )
    for row in rows:
        parties: dict[str, Any] = {name: row[f"call__{name}"] for name in names}
        figures = {"calls": row["n"], "persons": row["persons"], "limit": rule.number("most_persons")}
        yield Finding(kind=rule.kind, day=day, figures=figures, **parties)


def _busy_user(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    return _persons_by(day, rule, "provider", "consumer", "application", "end_user")


def _shared_case(day: date, rule: AnomalyRule) -> Iterator[Finding]:
    return _persons_by(day, rule, "provider", "consumer", "case_number")


_LOOKS: Mapping[AnomalyKind, Callable[[date, AnomalyRule], Iterator[Finding]]] = {
    AnomalyKind.OFF_HOURS: _off_hours,
    AnomalyKind.VOLUME: _volume,
    AnomalyKind.ENUMERATION: _enumeration,
    AnomalyKind.SAME_PERSON: _same_person,
    AnomalyKind.BUSY_USER: _busy_user,
    AnomalyKind.SHARED_CASE: _shared_case,
}
