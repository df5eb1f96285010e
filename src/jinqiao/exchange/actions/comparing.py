"""Contents of both sides, read again by their nodes and compared by digest: by hand, by a plan, after a run that asks for it.

The digests are of rows as they were granted and masked, whatever their order. Where a source goes on changing between the run and
the reading, a difference may be no fault: the page says when each side was read.
"""

import logging
from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.alerting import close_alert, open_alert, task_key
from jinqiao.exchange.actions.commanding import cancel_waiting_of, command_node
from jinqiao.exchange.actions.orders import build_order
from jinqiao.exchange.actions.platform import next_number, node_actor
from jinqiao.exchange.actions.runs import for_consumer, locked_task
from jinqiao.exchange.enums import AlertKind, ComparisonState, TaskState
from jinqiao.exchange.errors import (
    ComparisonNotPossible,
    ComparisonUnderWay,
    GrantNotLive,
    RunAlreadyLive,
    TaskNotReady,
    TaskStateWrong,
)
from jinqiao.exchange.models import Comparison, ExchangeTask, NodeCommand, Run
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.queries.terms import binding_of, connection
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import (
    CommandKind,
    CommandResult,
    ContentDigest,
    CopyMode,
    Delivery,
    Problem,
    Reconcile,
)
from jinqiao.kernel.errors import JinqiaoError

log = logging.getLogger(__name__)

SOURCE, TARGET = "source", "target"


@transaction.atomic
def compare_contents(task: ExchangeTask, *, by: Post | None, run: Run | None = None) -> Comparison:
    """Ask both nodes to read their side again. `by` is None where a plan or a run asks.

    Raises GrantNotLive, TaskStateWrong, RunAlreadyLive, ComparisonUnderWay, ComparisonNotPossible, and what `build_order` raises.
    """
    task = locked_task(task.pk)
    if by is not None:
        rules.check_may_watch(by, task)
    check_comparable(task)
    if task.state not in (TaskState.ACTIVE, TaskState.PAUSED):
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    if task.runs.filter(state__in=LIVE).exists():
        raise RunAlreadyLive(task=task.number)
    if task.comparisons.filter(state=ComparisonState.ASKED).exists():
        raise ComparisonUnderWay(task=task.number)
    if task.target is None:
        raise TaskNotReady(task=task.number)
    number = next_number(f"BD-{moments.today():%Y%m%d}")
    order = build_order(task, number)
    comparison = Comparison.objects.create(number=number, task=task, run=run, asked_by=by, asked_at=moments.now())
    source = binding_of(task.grant).source
    command_node(
        source.node,
        CommandKind.COMPARE,
        comparison=comparison,
        source=source,
        connection=connection(source),
        order=order,
        side=SOURCE,
    )
    command_node(
        task.target.node,
        CommandKind.COMPARE,
        comparison=comparison,
        source=task.target,
        connection=connection(task.target),
        order=for_consumer(order),
        side=TARGET,
    )
    trail.record(
        "exchange.comparison.ask",
        by=by.actor if by else trail.SYSTEM,
        about=trail.subject(task),
        comparison=number,
        run=run.number if run else "",
    )
    return comparison


def check_comparable(task: ExchangeTask) -> None:
    """The target shows what the source shows only where it mirrors it, or keeps versions of it; a watermark finds no deletions.
    Raises ComparisonNotPossible."""
    if task.delivery not in (Delivery.MIRROR, Delivery.HISTORY) or task.mode == CopyMode.WATERMARK:
        raise ComparisonNotPossible(task=task.number)


def take_answer(command: NodeCommand, result: CommandResult) -> None:
    """One side has been read; with the second the comparison has its result. The caller's transaction holds the command."""
    if command.comparison_id is None:
        return
    comparison = (
        Comparison.objects.select_for_update(of=("self",))
        .select_related("task__grant__consumer", "task__grant__provider", "run")
        .get(pk=command.comparison_id)
    )
    if comparison.state != ComparisonState.ASKED:
        return
    if result.content is None or not result.ok:
        problem = result.problem or Problem(code="exchange.run.answer_wrong", details={"node": command.node.number})
        _fail(comparison, problem, by=node_actor(command.node))
        return
    side = command.body["body"]["side"]
    if side == SOURCE:
        comparison.provider = result.content.to_json()
    else:
        comparison.consumer = result.content.to_json()
    if comparison.provider and comparison.consumer:
        _conclude(comparison)
    comparison.save()


def _fail(comparison: Comparison, problem: Problem, *, by: trail.Actor) -> None:
    comparison.state, comparison.problem = ComparisonState.FAILED, problem.to_json()
    comparison.finished_at = moments.now()
    comparison.save()
    cancel_waiting_of(comparison)
    trail.record(
        "exchange.comparison.fail",
        by=by,
        about=trail.subject(comparison.task),
        outcome=Outcome.FAILED,
        comparison=comparison.number,
        code=problem.code,
    )


def _conclude(comparison: Comparison) -> None:
    task = comparison.task
    provider, consumer = map(ContentDigest.from_json, (comparison.provider, comparison.consumer))
    is_same = provider == consumer
    comparison.state = ComparisonState.SAME if is_same else ComparisonState.DIFFERENT
    comparison.finished_at = moments.now()
    if is_same:
        close_alert(AlertKind.CONTENT_DIFFERS, task_key(task))
    else:
        open_alert(
            AlertKind.CONTENT_DIFFERS,
            task_key(task),
            organisation=task.grant.consumer,
            title=_("任务%(number)s两侧内容不一致，需要核对") % {"number": task.number},
            about=trail.subject(task),
            task=task,
            run=comparison.run,
            comparison=comparison.number,
            provider_rows=provider.rows,
            consumer_rows=consumer.rows,
        )
    trail.record(
        "exchange.comparison.conclude",
        by=trail.SYSTEM,
        about=trail.subject(task),
        outcome=Outcome.DONE if is_same else Outcome.FAILED,
        comparison=comparison.number,
        provider_rows=provider.rows,
        consumer_rows=consumer.rows,
        same=is_same,
    )


def compare_due() -> int:
    """Start the comparisons that plans ask for; gives their count. One that cannot be made now waits for its next time."""
    due = ExchangeTask.objects.filter(state=TaskState.ACTIVE, next_compare_at__lte=moments.now())
    return sum(_compare_due(task_id) for task_id in list(due.order_by("next_compare_at").values_list("pk", flat=True)))


@transaction.atomic
def _compare_due(task_id: int) -> bool:
    task = locked_task(task_id)
    if task.state != TaskState.ACTIVE or task.next_compare_at is None or task.next_compare_at > moments.now():
        return False
    if task.runs.filter(state__in=LIVE).exists() or task.comparisons.filter(state=ComparisonState.ASKED).exists():
        return False  # at once when that is over
    plan_next_comparison(task)
    task.save(update_fields=["next_compare_at"])
    try:
        with transaction.atomic():
            compare_contents(task, by=None)
    except JinqiaoError as error:
        log.warning("task %s could not be compared by its plan: %s", task.number, error.code)
        trail.record(
            "exchange.comparison.ask",
            by=trail.SYSTEM,
            about=trail.subject(task),
            outcome=Outcome.FAILED,
            code=error.code,
        )
        return False
    return True


def plan_next_comparison(task: ExchangeTask) -> None:
    """Set when the task's contents are compared next."""
    schedule = Schedule.parse(task.compare_schedule)
    is_on = schedule is not None and task.state == TaskState.ACTIVE
    task.next_compare_at = schedule.next_after(moments.now()) if schedule and is_on else None


def compare_after(run: Run) -> Comparison | None:
    """A run of a task that reconciles by content has come through: read both sides again."""
    task = run.task
    if task.reconcile != Reconcile.CONTENT or run.comparisons.exists():
        return None
    try:
        return compare_contents(task, by=None, run=run)
    except (ComparisonNotPossible, ComparisonUnderWay, RunAlreadyLive, TaskStateWrong, GrantNotLive):
        return None


STALE_AFTER_S = 24 * 3600


def drop_stale_comparisons() -> int:
    """A comparison that a node never answered does not stand in the way of the next; gives their count."""
    limit = moments.now() - timedelta(seconds=STALE_AFTER_S)
    count = 0
    for comparison in Comparison.objects.filter(state=ComparisonState.ASKED, asked_at__lt=limit).order_by("id"):
        with transaction.atomic():
            fresh = Comparison.objects.select_for_update(of=("self",)).select_related("task").get(pk=comparison.pk)
            if fresh.state == ComparisonState.ASKED:
                _fail(fresh, Problem(code="exchange.comparison.unanswered"), by=trail.SYSTEM)
                count += 1
    return count
