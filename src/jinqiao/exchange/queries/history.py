"""Movement over the last days: by day, and between departments. Every figure counts rows that a function here gives.

Days are those of China on which a run was queued; rows and bytes are those of reconciled runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import TruncDate

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.exchange.enums import RunState, TaskState
from jinqiao.exchange.models import Alert, Call, ExchangeTask, Run
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.queries.visible import SEE_ALL, calls_visible_to, runs_visible_to, tasks_visible_to
from jinqiao.kernel import moments
from jinqiao.kernel.moments import CHINA

DAYS = 30
RECONCILED = Q(state=RunState.RECONCILED)


@dataclass(frozen=True, slots=True)
class DayFigures:
    on: date
    runs: Mapping[str, int]  # RunState → count
    rows: int
    rows_quarantined: int
    bytes: int

    @property
    def count(self) -> int:
        return sum(self.runs.values())


@dataclass(frozen=True, slots=True)
class Edge:
    """What one department supplies another with, over the days. `state`: live, failed, alert, moved, idle."""

    provider: Organisation
    consumer: Organisation
    tasks: int
    runs: int
    failed: int
    rows: int
    bytes: int
    calls: int
    last_run: Run | None
    state: str


@dataclass(frozen=True, slots=True)
class SupplyMap:
    organisations: tuple[Organisation, ...]  # that stand at an end of an edge, by name
    edges: tuple[Edge, ...]  # by rows, most first
    since: date
    until: date


def _since(until: date | None, days: int) -> tuple[date, date, datetime, datetime]:
    last = until or moments.today()
    first = last - timedelta(days=days - 1)
    begin = datetime.combine(first, time(), CHINA)
    return first, last, begin, datetime.combine(last + timedelta(days=1), time(), CHINA)


def daily(
    post: Post, *, task: ExchangeTask | None = None, until: date | None = None, days: int = DAYS
) -> list[DayFigures]:
    """One row for each day, the oldest first; of one task where it is given."""
    first, _last, begin, end = _since(until, days)
    runs = runs_visible_to(post).filter(queued_at__gte=begin, queued_at__lt=end)
    if task is not None:
        runs = runs.filter(task=task)
    found: dict[date, dict[str, Any]] = {}
    grouped = (
        runs.order_by()
        .annotate(on=TruncDate("queued_at", tzinfo=CHINA))
        .values("on", "state")
        .annotate(count=Count("pk"), rows=Sum("rows"), quarantined=Sum("rows_quarantined"), size=Sum("bytes"))
    )
    for row in grouped:
        day = found.setdefault(row["on"], {"runs": {}, "rows": 0, "quarantined": 0, "size": 0})
        day["runs"][row["state"]] = row["count"]
        if row["state"] == RunState.RECONCILED:
            day["rows"], day["quarantined"], day["size"] = row["rows"] or 0, row["quarantined"] or 0, row["size"] or 0
    series = []
    for number in range(days):
        on = first + timedelta(days=number)
        day = found.get(on, {"runs": {}, "rows": 0, "quarantined": 0, "size": 0})
        series.append(DayFigures(on, day["runs"], day["rows"], day["quarantined"], day["size"]))
    return series


def runs_of_day(post: Post, on: date, *, state: str = "", task: ExchangeTask | None = None) -> QuerySet[Run]:
    """The runs that a point of `daily` counts."""
    begin = datetime.combine(on, time(), CHINA)
    runs = runs_visible_to(post).filter(queued_at__gte=begin, queued_at__lt=begin + timedelta(days=1))
    if task is not None:
        runs = runs.filter(task=task)
    return runs.filter(state=state) if state else runs


@dataclass
class _Sums:
    runs: int = 0
    failed: int = 0
    rows: int = 0
    bytes: int = 0
    live: int = 0
    tasks: int = 0
    calls: int = 0
    last: int | None = None
    last_states: set[str] = field(default_factory=set)
    alerts: int = 0


def supply_map(post: Post, *, until: date | None = None, days: int = DAYS) -> SupplyMap:
    """Who supplies whom, as the post may see it: by exchange tasks that are not ended or moved something, and by calls."""
    first, last, begin, end = _since(until, days)
    sums: dict[tuple[int, int], _Sums] = {}
    pair = ("task__grant__provider_id", "task__grant__consumer_id")
    grouped = (
        runs_visible_to(post)
        .filter(queued_at__gte=begin, queued_at__lt=end)
        .order_by()
        .values(*pair)
        .annotate(
            count=Count("pk"),
            broken=Count("pk", filter=Q(state=RunState.FAILED)),
            moved=Sum("rows", filter=RECONCILED),
            size=Sum("bytes", filter=RECONCILED),
            live=Count("pk", filter=Q(state__in=LIVE)),
            newest=Max("pk"),
        )
    )
    for row in grouped:
        edge = sums.setdefault((row[pair[0]], row[pair[1]]), _Sums())
        edge.runs, edge.failed, edge.rows = row["count"], row["broken"], row["moved"] or 0
        edge.bytes, edge.live, edge.last = row["size"] or 0, row["live"], row["newest"]
    _add_tasks(post, sums)
    _add_calls(post, sums, begin, end)
    bodies = Organisation.objects.in_bulk({key for pair_ in sums for key in pair_})
    runs = Run.objects.in_bulk([edge.last for edge in sums.values() if edge.last is not None])
    edges = [
        Edge(
            provider=bodies[provider],
            consumer=bodies[consumer],
            tasks=edge.tasks,
            runs=edge.runs,
            failed=edge.failed,
            rows=edge.rows,
            bytes=edge.bytes,
            calls=edge.calls,
            last_run=runs.get(edge.last) if edge.last is not None else None,
            state=_edge_state(edge),
        )
        for (provider, consumer), edge in sums.items()
        if edge.runs or edge.tasks or edge.calls
    ]
    edges.sort(key=lambda edge: (-edge.rows, -edge.calls, edge.provider.name, edge.consumer.name))
    ends = {edge.provider.pk for edge in edges} | {edge.consumer.pk for edge in edges}
    organisations = tuple(sorted((bodies[key] for key in ends), key=lambda body: body.name))
    return SupplyMap(organisations, tuple(edges), first, last)


def _add_tasks(post: Post, sums: dict[tuple[int, int], _Sums]) -> None:
    last = Run.objects.filter(task=OuterRef("pk")).order_by("-id").values("state")[:1]
    tasks = ExchangeTask.objects.exclude(state=TaskState.ENDED).filter(pk__in=tasks_visible_to(post).values("pk"))
    alarmed = set(Alert.objects.filter(closed_at=None, task__isnull=False).values_list("task_id", flat=True))
    rows = tasks.annotate(newest=Subquery(last)).order_by("pk")
    for pk, provider, consumer, newest in rows.values_list("pk", "grant__provider_id", "grant__consumer_id", "newest"):
        edge = sums.setdefault((provider, consumer), _Sums())
        edge.tasks += 1
        edge.alerts += pk in alarmed
        if newest:
            edge.last_states.add(newest)


def _add_calls(post: Post, sums: dict[tuple[int, int], _Sums], begin: datetime, end: datetime) -> None:
    calls = calls_visible_to(post).filter(at__gte=begin, at__lt=end).order_by()
    counts = calls.values("provider", "consumer").annotate(count=Count("pk"))
    codes = {row[name] for row in counts for name in ("provider", "consumer")}
    keys = dict(Organisation.objects.filter(credit_code__in=codes).values_list("credit_code", "pk"))
    for row in counts:
        if row["provider"] in keys and row["consumer"] in keys:
            sums.setdefault((keys[row["provider"]], keys[row["consumer"]]), _Sums()).calls += row["count"]


def _edge_state(edge: _Sums) -> str:
    if RunState.FAILED in edge.last_states:
        return "failed"
    if edge.alerts:
        return "alert"
    if edge.live:
        return "live"
    return "moved" if edge.rows or edge.calls else "idle"


def runs_between(
    post: Post, provider: Organisation, consumer: Organisation, *, until: date | None = None, days: int = DAYS
) -> QuerySet[Run]:
    """The runs that an edge counts."""
    _first, _last, begin, end = _since(until, days)
    return runs_visible_to(post).filter(
        task__grant__provider=provider, task__grant__consumer=consumer, queued_at__gte=begin, queued_at__lt=end
    )


def tasks_between(post: Post, provider: Organisation, consumer: Organisation) -> QuerySet[Any]:
    """The tasks that an edge counts."""
    return (
        tasks_visible_to(post).filter(grant__provider=provider, grant__consumer=consumer).exclude(state=TaskState.ENDED)
    )


def calls_between(
    post: Post, provider: Organisation, consumer: Organisation, *, until: date | None = None, days: int = DAYS
) -> QuerySet[Call]:
    """The calls that an edge counts."""
    _first, _last, begin, end = _since(until, days)
    return calls_visible_to(post).filter(
        provider=provider.credit_code, consumer=consumer.credit_code, at__gte=begin, at__lt=end
    )


def sees_whole_map(post: Post) -> bool:
    return Role(post.role) in SEE_ALL
