"""The figures of the city dashboard. Each counts rows that a list can show, and names the filter of that list."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from jinqiao.accounts.models import Organisation, Region
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.exchange.enums import RunState, SourceState
from jinqiao.exchange.models import Call, DataSource, Run
from jinqiao.exchange.queries import unused
from jinqiao.kernel.moments import CHINA
from jinqiao.sharing.enums import GrantState, RequestState
from jinqiao.sharing.models import Grant, SharingRequest
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock

DAYS = 30
REPLY_KEY = "request.reply."
REQUEST = "sharing.sharingrequest"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is counted, as of a day: all, the organisations of a region and below, or one organisation as provider."""

    today: date
    region: Region | None = None
    organisation: Organisation | None = None

    @property
    def is_whole(self) -> bool:
        return self.region is None and self.organisation is None

    @property
    def organisations(self) -> QuerySet[Organisation]:
        found = Organisation.objects.all()
        if self.organisation is not None:
            return found.filter(pk=self.organisation.pk)
        if self.region is not None:
            found = found.filter(
                Q(region=self.region) | Q(region__parent=self.region) | Q(region__parent__parent=self.region)
            )
        return found

    def of(self, field: str) -> Q:
        """Condition that an organisation field lies within the scope."""
        return Q() if self.is_whole else Q(**{f"{field}__in": self.organisations})

    @property
    def since(self) -> datetime:
        """Midnight in China, `DAYS` days ago, today included."""
        return datetime.combine(self.today - timedelta(days=DAYS - 1), time(), CHINA)

    @property
    def days(self) -> list[date]:
        return [self.today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]


@dataclass(frozen=True, slots=True)
class Totals:
    """The chain of facts in figures."""

    sources: int
    sources_reachable: int
    entries: int
    entries_in_work: int
    requests: int
    requests_open: int
    grants: int
    grants_unused: int
    runs: int
    runs_failed: int
    rows: int
    calls: int
    calls_refused: int


def totals(scope: Scope) -> Totals:
    sources = DataSource.objects.filter(scope.of("organisation"))
    requests = submitted(scope)
    grants = active_grants(scope)
    runs = recent_runs(scope)
    calls = recent_calls(scope)
    moved = runs.filter(state=RunState.RECONCILED).aggregate(rows=Sum("rows"))["rows"]
    return Totals(
        sources=sources.count(),
        sources_reachable=sources.filter(state=SourceState.REACHABLE).count(),
        entries=published(scope).count(),
        entries_in_work=EntryVersion.objects.filter(
            scope.of("entry__provider"),
            state__in=[VersionState.DEPARTMENT_REVIEW, VersionState.HEAD_SIGNATURE, VersionState.AUTHORITY_REVIEW],
        ).count(),
        requests=requests.count(),
        requests_open=requests.filter(state__in=OPEN_STATES).count(),
        grants=grants.count(),
        grants_unused=unused_grants(scope).count(),
        runs=runs.filter(state=RunState.RECONCILED).count(),
        runs_failed=runs.filter(state=RunState.FAILED).count(),
        rows=moved or 0,
        calls=calls.filter(outcome="ok").count(),
        calls_refused=calls.exclude(outcome="ok").count(),
    )


OPEN_STATES = (
    RequestState.HEAD_APPROVAL,
    RequestState.AWAITING_REPLY,
    RequestState.AWAITING_PAPERS,
    RequestState.REPLY_APPROVAL,
)


def submitted(scope: Scope) -> QuerySet[SharingRequest]:
    """Requests but drafts."""
    return SharingRequest.objects.filter(scope.of("provider")).exclude(state=RequestState.DRAFT)


def active_grants(scope: Scope) -> QuerySet[Grant]:
    return Grant.objects.filter(scope.of("provider"), state=GrantState.ACTIVE)


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Midnight in China, and the next."""
    begins = datetime.combine(day, time(), CHINA)
    return begins, begins + timedelta(days=1)


def published(scope: Scope) -> QuerySet[CatalogueEntry]:
    return CatalogueEntry.objects.filter(
        scope.of("provider"), withdrawn_at__isnull=True, live_version__state=VersionState.PUBLISHED
    )


def recent_runs(scope: Scope) -> QuerySet[Run]:
    """Runs that ended in the last `DAYS` days."""
    return Run.objects.filter(scope.of("task__grant__provider"), finished_at__gte=scope.since)


def recent_calls(scope: Scope) -> QuerySet[Call]:
    found = Call.objects.filter(at__gte=scope.since)
    if not scope.is_whole:
        found = found.filter(provider__in=scope.organisations.values("credit_code"))
    return found


def unused_grants(scope: Scope) -> QuerySet[Grant]:
    """Active for `DAYS` days or more, and in those days neither a reconciled run nor an answered call in production."""
    return unused.unused_grants(scope.since).filter(scope.of("provider"))


@dataclass(frozen=True, slots=True)
class DepartmentCount:
    organisation: Organisation
    count: int


def entries_by_department(scope: Scope, limit: int = 12) -> list[DepartmentCount]:
    """Who has published most, most first."""
    return ranked(published(scope), "provider", limit)


def ranked(rows: QuerySet[Any], field: str, limit: int) -> list[DepartmentCount]:
    counted = list(rows.order_by().values(field).annotate(n=Count("pk")).order_by("-n", field)[:limit])
    bodies = Organisation.objects.in_bulk([line[field] for line in counted])
    return [DepartmentCount(bodies[line[field]], line["n"]) for line in counted]


@dataclass(frozen=True, slots=True)
class StateCount:
    state: str
    label: str
    count: int


def requests_by_state(scope: Scope) -> list[StateCount]:
    """All states but drafts, in the order of a request's course."""
    counts = dict(submitted(scope).order_by().values_list("state").annotate(n=Count("pk")))
    return [
        StateCount(state.value, str(state.label), counts.get(state.value, 0))
        for state in RequestState
        if state != RequestState.DRAFT
    ]


@dataclass(frozen=True, slots=True)
class Punctuality:
    """Replies of a department: closed in time, closed late, open and late, open and in time."""

    organisation: Organisation
    on_time: int
    late: int
    open_late: int
    open: int

    @property
    def all(self) -> int:
        return self.on_time + self.late + self.open_late + self.open

    @property
    def judged(self) -> int:
        """Those of which it is known whether they were in time."""
        return self.on_time + self.late + self.open_late


def reply_clocks(scope: Scope) -> QuerySet[Clock]:
    return Clock.objects.filter(scope.of("organisation"), about_type=REQUEST, key__startswith=REPLY_KEY)


def punctuality(scope: Scope, limit: int = 12) -> list[Punctuality]:
    """Departments by replies to requests, the least punctual first, then those with most."""
    stopped = Q(state=ClockState.STOPPED)
    lines = (
        reply_clocks(scope)
        .order_by()
        .values("organisation")
        .annotate(
            on_time=Count("pk", filter=stopped & (Q(due_on__isnull=True) | Q(stopped_on__lte=F("due_on")))),
            late=Count("pk", filter=stopped & Q(stopped_on__gt=F("due_on"))),
            open_late=Count("pk", filter=Q(state=ClockState.RUNNING, due_on__lt=scope.today)),
            open=Count(
                "pk", filter=~stopped & ~Q(state=ClockState.RUNNING, due_on__lt=scope.today, due_on__isnull=False)
            ),
        )
    )
    found = list(lines)
    bodies = Organisation.objects.in_bulk([line["organisation"] for line in found])
    rows = [
        Punctuality(bodies[line["organisation"]], line["on_time"], line["late"], line["open_late"], line["open"])
        for line in found
    ]
    rows.sort(key=lambda row: (-(row.late + row.open_late), -row.all, row.organisation.position))
    return rows[:limit]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a series: two figures that belong together (moved and failed, answered and refused)."""

    on: date
    first: int = 0
    second: int = 0


def rows_per_day(scope: Scope) -> list[Day]:
    """Rows of reconciled runs, and failed runs, by the day they ended, every day of the period."""
    lines: Iterable[Any] = (
        recent_runs(scope)
        .order_by()
        .annotate(on=TruncDate("finished_at", tzinfo=CHINA))
        .values("on")
        .annotate(
            first=Sum("rows", filter=Q(state=RunState.RECONCILED)), second=Count("pk", filter=Q(state=RunState.FAILED))
        )
    )
    return _filled(scope, list(lines))


def calls_per_day(scope: Scope) -> list[Day]:
    """Calls answered and refused, every day of the period."""
    lines: Iterable[Any] = (
        recent_calls(scope)
        .order_by()
        .annotate(on=TruncDate("at", tzinfo=CHINA))
        .values("on")
        .annotate(first=Count("pk", filter=Q(outcome="ok")), second=Count("pk", filter=~Q(outcome="ok")))
    )
    return _filled(scope, list(lines))


def _filled(scope: Scope, lines: Sequence[Mapping[str, Any]]) -> list[Day]:
    known = {line["on"]: line for line in lines}
    return [
        Day(on, (known[on]["first"] or 0) if on in known else 0, (known[on]["second"] or 0) if on in known else 0)
        for on in scope.days
    ]


def late_replies(scope: Scope) -> QuerySet[Clock]:
    """Replies that are due and not given, the longest overdue first."""
    return (
        reply_clocks(scope)
        .filter(state=ClockState.RUNNING, due_on__lt=scope.today)
        .select_related("organisation")
        .order_by("due_on", "pk")
    )


def regions() -> QuerySet[Region]:
    """Regions that have organisations, from the city downwards."""
    return Region.objects.filter(organisations__isnull=False).exclude(level="province").distinct().order_by("code")
