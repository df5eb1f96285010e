"""Exchange tasks: the standing orders that batch grants make. No grant, no task; no live grant, no run."""

import re

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.orders import merge_keys
from jinqiao.exchange.actions.runs import locked_task, stop_live_run
from jinqiao.exchange.enums import TASK_MOVES, NodeState, TaskState
from jinqiao.exchange.errors import (
    LimitBroken,
    TargetNameBroken,
    TargetNotWritable,
    TargetOfAnotherOrganisation,
    TaskNotReady,
    TaskStateWrong,
)
from jinqiao.exchange.models import DataSource, ExchangeTask
from jinqiao.exchange.queries.terms import BoundTable, binding_of
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.workflow import actions as workflow

_TABLE_NAME = re.compile(
    r"[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,59}(\.[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,59})?"
)
CONFIGURE = "exchange.task.configure"
"""The to-do of a consumer whose new task has no target yet."""
SLOWEST_ROWS_PER_S, FASTEST_ROWS_PER_S = 10, 10_000_000


def move_task(task: ExchangeTask, state: TaskState) -> None:
    if state not in TASK_MOVES[TaskState(task.state)]:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    task.state = state


def plan_next(task: ExchangeTask) -> None:
    """Set when the task runs next, from now on; missed times are not caught up one by one."""
    schedule = Schedule.parse(task.schedule)
    task.next_run_at = schedule.next_after(moments.now()) if schedule and task.state == TaskState.ACTIVE else None


@transaction.atomic
def configure_task(
    task: ExchangeTask,
    *,
    by: Post,
    target: DataSource,
    target_table: str,
    mode: CopyMode | str = CopyMode.FULL,
    schedule: str = "",
    rows_per_s: int | None = None,
) -> ExchangeTask:
    """Say where the consumer takes the data and when; a task that waited for this becomes active.

    Raises:
        TargetOfAnotherOrganisation: data is delivered to the consumer of the grant, and through its own node, only.
        WatermarkMissing, KeyNotGranted: the binding or the grant does not allow incremental runs.
        TargetNotWritable, TargetNameBroken, ScheduleBroken, TaskStateWrong, LimitBroken.
    """
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    if task.state == TaskState.ENDED:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    target = DataSource.objects.select_related("node").get(pk=target.pk)
    consumer = task.grant.consumer_id
    if target.organisation_id != consumer or target.node.organisation_id != consumer:
        raise TargetOfAnotherOrganisation(source=target.number)
    if not target.is_writable or target.node.state == NodeState.RETIRED:
        raise TargetNotWritable(source=target.number)
    if not _TABLE_NAME.fullmatch(target_table):
        raise TargetNameBroken(table=target_table)
    copy_mode = CopyMode(mode)
    if copy_mode is CopyMode.WATERMARK:
        merge_keys(task.grant, BoundTable.of(binding_of(task.grant)), copy_mode)
    _check_speed(rows_per_s)
    Schedule.parse(schedule)
    if (task.target_id, task.target_table, task.mode) != (target.pk, target_table, copy_mode.value):
        task.cursor = ""  # another target, or another way: it has to get everything once
    task.target, task.target_table, task.mode = target, target_table, copy_mode.value
    task.schedule, task.rows_per_s = schedule.strip(), rows_per_s
    if task.state == TaskState.DRAFT and rules.is_live(task.grant):
        move_task(task, TaskState.ACTIVE)
    plan_next(task)
    task.save()
    workflow.finish_todos(trail.subject(task), by=by, kinds=[CONFIGURE])
    trail.record(
        "exchange.task.configure",
        by=by.actor,
        about=trail.subject(task),
        target=target.number,
        table=target_table,
        mode=copy_mode.value,
        schedule=task.schedule,
    )
    return task


def _check_speed(rows_per_s: int | None) -> None:
    if rows_per_s is not None and not SLOWEST_ROWS_PER_S <= rows_per_s <= FASTEST_ROWS_PER_S:
        raise LimitBroken(lowest=SLOWEST_ROWS_PER_S, highest=FASTEST_ROWS_PER_S)


@transaction.atomic
def limit_task(task: ExchangeTask, *, by: Post, rows_per_s: int | None) -> ExchangeTask:
    """Slow the next runs down, for the sake of the source."""
    task = locked_task(task.pk)
    rules.check_may_restrain(by, task)
    _check_speed(rows_per_s)
    task.rows_per_s = rows_per_s
    task.save(update_fields=["rows_per_s"])
    trail.record("exchange.task.limit", by=by.actor, about=trail.subject(task), rows_per_s=rows_per_s)
    return task


@transaction.atomic
def pause_task(task: ExchangeTask, *, by: Post, reason: str = "") -> ExchangeTask:
    """No run starts until it is resumed; a live run goes on to its end."""
    task = locked_task(task.pk)
    rules.check_may_restrain(by, task)
    move_task(task, TaskState.PAUSED)
    task.resumes_with_grant = False
    plan_next(task)
    task.save(update_fields=["state", "resumes_with_grant", "next_run_at"])
    trail.record("exchange.task.pause", by=by.actor, about=trail.subject(task), reason=reason)
    return task


@transaction.atomic
def resume_task(task: ExchangeTask, *, by: Post) -> ExchangeTask:
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    rules.check_is_live(task.grant)
    if task.target_id is None:
        raise TaskNotReady(task=task.number)
    move_task(task, TaskState.ACTIVE)
    task.resumes_with_grant = False
    plan_next(task)
    task.save(update_fields=["state", "resumes_with_grant", "next_run_at"])
    trail.record("exchange.task.resume", by=by.actor, about=trail.subject(task))
    return task


def hold_task(task: ExchangeTask, *, by: trail.Actor, reason: str) -> None:
    """Its grant was suspended: pause it, stop its live run, remember to go on with the grant."""
    task = locked_task(task.pk)
    if task.state == TaskState.ACTIVE:
        move_task(task, TaskState.PAUSED)
        task.resumes_with_grant = True
        plan_next(task)
        task.save(update_fields=["state", "resumes_with_grant", "next_run_at"])
        trail.record("exchange.task.pause", by=by, about=trail.subject(task), reason=reason)
    stop_live_run(task, by=by, reason=reason)


def release_task(task: ExchangeTask, *, by: trail.Actor) -> None:
    """Its grant is in use again: go on, unless somebody paused the task himself."""
    task = locked_task(task.pk)
    if task.state == TaskState.PAUSED and task.resumes_with_grant:
        move_task(task, TaskState.ACTIVE)
        task.resumes_with_grant = False
        plan_next(task)
        task.save(update_fields=["state", "resumes_with_grant", "next_run_at"])
        trail.record("exchange.task.resume", by=by, about=trail.subject(task))


def end_task(task: ExchangeTask, *, by: trail.Actor, reason: str) -> None:
    """Its grant is over: for good."""
    task = locked_task(task.pk)
    if task.state != TaskState.ENDED:
        move_task(task, TaskState.ENDED)
        task.resumes_with_grant = False
        plan_next(task)
        task.save(update_fields=["state", "resumes_with_grant", "next_run_at"])
        workflow.finish_todos(trail.subject(task), by=None, kinds=[CONFIGURE])
        trail.record("exchange.task.end", by=by, about=trail.subject(task), reason=reason)
    stop_live_run(task, by=by, reason=reason)
