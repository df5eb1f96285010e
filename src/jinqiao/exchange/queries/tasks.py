"""Reading tasks: lists with filters, what a task may be set to, what it waits for."""

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from jinqiao.accounts.models import Post
from jinqiao.exchange.enums import ApprovalState, ComparisonState
from jinqiao.exchange.models import Alert, Comparison, ExchangeTask, ReloadApproval, SourceLimits
from jinqiao.exchange.queries.terms import BoundTable, binding_of
from jinqiao.exchange.queries.visible import tasks_visible_to
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.tables import Column


def tasks_found(
    post: Post,
    *,
    text: str = "",
    state: str = "",
    mode: str = "",
    last_state: str = "",
    provider_id: int | None = None,
    consumer_id: int | None = None,
    has_alert: bool | None = None,
) -> QuerySet[Any]:
    """Tasks that the post may see, with `last_state`, `last_at`, `last_run`, `has_alert`; every filter may be left out."""
    open_alerts = Alert.objects.filter(task=OuterRef("pk"), closed_at=None)
    tasks: QuerySet[Any] = tasks_visible_to(post).annotate(has_alert=Exists(open_alerts))
    if text.strip():
        wanted = text.strip()
        tasks = tasks.filter(
            Q(number__icontains=wanted)
            | Q(grant__number__icontains=wanted)
            | Q(grant__version__name__icontains=wanted)
            | Q(target_table__icontains=wanted)
        )
    exact = {
        "state": state,
        "mode": mode,
        "last_state": last_state,
        "grant__provider_id": provider_id,
        "grant__consumer_id": consumer_id,
    }
    tasks = tasks.filter(**{name: value for name, value in exact.items() if value})
    if has_alert is not None:
        tasks = tasks.filter(has_alert=has_alert)
    return tasks


def next_times(schedule: str, count: int = 3, after: datetime | None = None) -> list[datetime]:
    """The next times of a plan, aware, times of China; empty for no plan. Raises ScheduleBroken."""
    plan = Schedule.parse(schedule)
    return plan.next_times(after or moments.now(), count) if plan else []


def possible_predecessors(task: ExchangeTask, post: Post) -> QuerySet[Any]:
    """Tasks after which this one may run: not itself, none that already runs after it, and the post may see them."""
    return tasks_visible_to(post).exclude(pk__in=followers_of(task)).exclude(pk=task.pk)


def followers_of(task: ExchangeTask) -> set[int]:
    """Keys of all tasks that run after this one, at any distance."""
    found: set[int] = set()
    edge = {task.pk}
    while edge:
        edge = set(ExchangeTask.objects.filter(after_task_id__in=edge).values_list("pk", flat=True)) - found
        found |= edge
    return found


def source_columns(task: ExchangeTask) -> list[tuple[str, str, Column]]:
    """(item code, item name, column of the source as listed now) for each granted item, in the grant's order.

    Raises BindingMissing, ItemUnbound, TableUnknown, ColumnUnknown.
    """
    table = BoundTable.of(binding_of(task.grant))
    return [(str(item["code"]), str(item["name"]), table.column(str(item["code"]))) for item in task.grant.items]


def limits_of(task: ExchangeTask) -> SourceLimits | None:
    """How the provider wants its source spared; None where it has said nothing."""
    return SourceLimits.objects.filter(source__bindings__entry_id=task.grant.entry_id).first()


def open_reload(task: ExchangeTask) -> ReloadApproval | None:
    """The approval of a reload that waits for a signature, or for its use."""
    return (
        task.reload_approvals.filter(state__in=(ApprovalState.ASKED, ApprovalState.APPROVED))
        .select_related("asked_by__person", "sign_off")
        .first()
    )


def last_comparison(task: ExchangeTask) -> Comparison | None:
    """The last comparison of contents that came to a result."""
    found: Comparison | None = (
        task.comparisons.exclude(state=ComparisonState.ASKED).select_related("run").order_by("-id").first()
    )
    return found
