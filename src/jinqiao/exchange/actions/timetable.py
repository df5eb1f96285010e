"""What the clock starts: due plans and due retries. Each piece is its own transaction and may be repeated without harm."""

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.alerting import FAILURE
from jinqiao.exchange.actions.runs import (
    discard,
    locked_run,
    locked_task,
    move_run,
    problem_of,
    send_order,
    tell_of_failure,
    waits_for_part,
)
from jinqiao.exchange.actions.starting import start_unasked
from jinqiao.exchange.actions.tasks import plan_next
from jinqiao.exchange.enums import BRING_NEWS, RunCause, RunState, TaskState
from jinqiao.exchange.models import ExchangeTask, Run
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.kernel import moments
from jinqiao.kernel.errors import JinqiaoError


def start_due_runs() -> int:
    """Start what the plans say is due; gives the count of started runs. A task whose run is still live waits for its next time; where
    that run brings but a part, the task runs when it is over."""
    due = ExchangeTask.objects.filter(state=TaskState.ACTIVE, next_run_at__lte=moments.now()).order_by("next_run_at")
    return sum(_start_due(task_id) for task_id in list(due.values_list("pk", flat=True)))


@transaction.atomic
def _start_due(task_id: int) -> bool:
    task = locked_task(task_id)
    if task.state != TaskState.ACTIVE or task.next_run_at is None or task.next_run_at > moments.now():
        return False
    plan_next(task)
    task.save(update_fields=["next_run_at"])
    live = task.runs.filter(state__in=LIVE)
    if live.filter(kind__in=BRING_NEWS).exists():
        return False
    if live.exists() or waits_for_part(task):
        task.is_due = True
        task.save(update_fields=["is_due"])
        return False
    return start_unasked(task, RunCause.PLAN)


def retry_due_runs() -> int:
    """Queue failed runs again whose waiting time is over; gives their count. Those of a paused task wait until it is resumed."""
    due = Run.objects.filter(state=RunState.FAILED, retry_at__lte=moments.now()).order_by("retry_at")
    due = due.exclude(task__state=TaskState.PAUSED)
    return sum(_retry(run_id) for run_id in list(due.values_list("pk", flat=True)))


@transaction.atomic
def _retry(run_id: int) -> bool:
    run = locked_run(Run.objects.get(pk=run_id))
    if run.state != RunState.FAILED or run.retry_at is None or run.retry_at > moments.now():
        return False
    task = run.task
    if task.state == TaskState.PAUSED:
        return False
    run.retry_at = None
    if task.state != TaskState.ACTIVE or not rules.is_live(task.grant) or task.runs.filter(state__in=LIVE).exists():
        run.save(update_fields=["retry_at"])
        discard(run)
        return False
    move_run(run, RunState.QUEUED)
    run.attempt += 1
    run.started_at = run.finished_at = None
    run.queued_at, run.problem = moments.now(), {}
    run.progress, run.manifest, run.counts, run.samples = {}, {}, {}, []
    run.rows = run.rows_read = run.bytes = run.readers = None
    run.rows_quarantined, run.rows_deleted, run.resumed, run.snapshot = 0, 0, 0, ""
    try:
        with transaction.atomic():
            send_order(run, task)
    except JinqiaoError as error:
        # what was bound or configured has changed since: the order of a retry cannot be built any more
        Run.objects.filter(pk=run.pk).update(retry_at=None, problem=problem_of(error).to_json())
        tell_of_failure(run, task.grant.consumer)
        discard(Run.objects.get(pk=run.pk))
        trail.record(FAILURE, by=trail.SYSTEM, about=trail.subject(run), outcome=Outcome.FAILED, code=error.code)
        return False
    trail.record("exchange.run.retry", by=trail.SYSTEM, about=trail.subject(run), attempt=run.attempt)
    return True
