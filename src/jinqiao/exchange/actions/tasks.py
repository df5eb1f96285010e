"""Exchange tasks: the standing orders that batch grants make. No grant, no task; no live grant, no run."""

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.comparing import plan_next_comparison
from jinqiao.exchange.actions.ranges import check_rate, check_speed
from jinqiao.exchange.actions.reloads import lapse_reloads
from jinqiao.exchange.actions.runs import failure_is_over, locked_task, stop_live_run
from jinqiao.exchange.actions.slots import drop_slot_of
from jinqiao.exchange.enums import TASK_MOVES, TaskState
from jinqiao.exchange.errors import (
    TaskNotReady,
    TaskStateWrong,
)
from jinqiao.exchange.models import ExchangeTask
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel import moments
from jinqiao.workflow import actions as workflow

STATE_FIELDS = ("state", "resumes_with_grant", "next_run_at", "next_compare_at", "planned_since")
CONFIGURE = "exchange.task.configure"
"""The to-do of a consumer whose new task has no target yet."""


def move_task(task: ExchangeTask, state: TaskState) -> None:
    if state not in TASK_MOVES[TaskState(task.state)]:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    task.state = state


def plan_next(task: ExchangeTask) -> None:
    """Set when the task runs next, from now on; missed times are not caught up one by one."""
    schedule = Schedule.parse(task.schedule)
    task.next_run_at = schedule.next_after(moments.now()) if schedule and task.state == TaskState.ACTIVE else None
    plan_next_comparison(task)


def set_schedule(task: ExchangeTask, schedule: str) -> None:
    """Give the task its plan; a new one counts from now: of times before it none was missed."""
    if schedule.strip() != task.schedule:
        task.planned_since = moments.now()
    task.schedule = schedule.strip()


def go_on(task: ExchangeTask) -> None:
    """The task runs by its plan again, from now on."""
    move_task(task, TaskState.ACTIVE)
    task.resumes_with_grant = False
    task.planned_since = moments.now()
    plan_next(task)
    task.save(update_fields=STATE_FIELDS)


@transaction.atomic
def limit_task(task: ExchangeTask, *, by: Post, rows_per_s: int | None, mb_per_s: float | None = None) -> ExchangeTask:
    """Slow the next runs down, for the sake of the source."""
    task = locked_task(task.pk)
    rules.check_may_restrain(by, task)
    check_speed(rows_per_s)
    check_rate(mb_per_s)
    task.rows_per_s, task.mb_per_s = rows_per_s, mb_per_s
    task.save(update_fields=["rows_per_s", "mb_per_s"])
    trail.record(
        "exchange.task.limit", by=by.actor, about=trail.subject(task), rows_per_s=rows_per_s, mb_per_s=mb_per_s
    )
    return task


@transaction.atomic
def pause_task(task: ExchangeTask, *, by: Post, reason: str = "") -> ExchangeTask:
    """No run starts until it is resumed; a live run goes on to its end."""
    task = locked_task(task.pk)
    rules.check_may_restrain(by, task)
    move_task(task, TaskState.PAUSED)
    task.resumes_with_grant = False
    plan_next(task)
    task.save(update_fields=STATE_FIELDS)
    trail.record("exchange.task.pause", by=by.actor, about=trail.subject(task), reason=reason)
    return task


@transaction.atomic
def resume_task(task: ExchangeTask, *, by: Post) -> ExchangeTask:
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    rules.check_is_live(task.grant)
    if task.target_id is None:
        raise TaskNotReady(task=task.number)
    go_on(task)
    trail.record("exchange.task.resume", by=by.actor, about=trail.subject(task))
    return task


def hold_task(task: ExchangeTask, *, by: trail.Actor, reason: str) -> None:
    """Its grant was suspended: pause it, stop its live run, remember to go on with the grant."""
    task = locked_task(task.pk)
    if task.state == TaskState.ACTIVE:
        move_task(task, TaskState.PAUSED)
        task.resumes_with_grant = True
        plan_next(task)
        task.save(update_fields=STATE_FIELDS)
        trail.record("exchange.task.pause", by=by, about=trail.subject(task), reason=reason)
    stop_live_run(task, by=by, reason=reason)


def release_task(task: ExchangeTask, *, by: trail.Actor) -> None:
    """Its grant is in use again: go on, unless somebody paused the task himself."""
    task = locked_task(task.pk)
    if task.state == TaskState.PAUSED and task.resumes_with_grant:
        go_on(task)
        trail.record("exchange.task.resume", by=by, about=trail.subject(task))


def end_task(task: ExchangeTask, *, by: trail.Actor, reason: str) -> None:
    """Its grant is over: for good."""
    task = locked_task(task.pk)
    if task.state != TaskState.ENDED:
        move_task(task, TaskState.ENDED)
        task.resumes_with_grant = False
        plan_next(task)
        task.save(update_fields=STATE_FIELDS)
        workflow.finish_todos(trail.subject(task), by=None, kinds=[CONFIGURE])
        failure_is_over(task, by=None)  # nobody can run it any more
        lapse_reloads(task, by=by)
        drop_slot_of(task)
        trail.record("exchange.task.end", by=by, about=trail.subject(task), reason=reason)
    stop_live_run(task, by=by, reason=reason)
