"""Runs that something else asks for: another task that came through, data that arrived at the source.

While a run is live, or one for a window waits to be tried again, the wish is kept (`is_due`) and heard when that run is
over; many wishes are one run.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.comparing import compare_after
from jinqiao.exchange.actions.runs import locked_task, waits_for_part
from jinqiao.exchange.actions.starting import start_unasked
from jinqiao.exchange.enums import BRING_NEWS, RunCause, RunState, SourceState, TaskState
from jinqiao.exchange.errors import ArrivalRefused, SourceRetired
from jinqiao.exchange.models import DataSource, ExchangeTask
from jinqiao.exchange.queries.runs import LIVE, run_by_number
from jinqiao.kernel import moments

TRIED_AGAIN_AFTER = timedelta(minutes=15)
"""So long a wish that could not start waits for its next try; a new wish is tried at once."""


def follow_run(run_number: str) -> int:
    """What a reconciled run sets off: tasks that run after its task, and the comparison that it asks for. May be repeated.
    Gives the count of tasks that wanted to follow."""
    run = run_by_number(run_number)
    if run.state != RunState.RECONCILED or run.finished_at is None:
        return 0
    compare_after(run)
    followers = ExchangeTask.objects.filter(after_task=run.task, state=TaskState.ACTIVE).order_by("id")
    return sum(
        _want_run(task_id, RunCause.TASK, run.finished_at) for task_id in list(followers.values_list("pk", flat=True))
    )


@transaction.atomic
def _want_run(task_id: int, cause: RunCause, since: datetime) -> bool:
    """Start a run unless one that brings what is new has been queued since then; keep the wish while one is live, or one for a part waits
    to be tried again."""
    task = locked_task(task_id)
    if task.state != TaskState.ACTIVE or task.runs.filter(queued_at__gte=since, kind__in=BRING_NEWS).exists():
        return False
    if task.runs.filter(state__in=LIVE).exists() or waits_for_part(task):
        task.is_due = True
        task.save(update_fields=["is_due"])
        return True
    _start(task, cause)
    return True


def _start(task: ExchangeTask, cause: RunCause) -> bool:
    """One that cannot start is told, and the wish is kept: what arrived has not been brought."""
    if start_unasked(task, cause):
        return True
    task.is_due, task.due_after = True, moments.now() + TRIED_AGAIN_AFTER
    task.save(update_fields=["is_due", "due_after"])
    return False


def start_wanted_runs() -> int:
    """Start what was wished for while a run was live; gives the count of started runs."""
    wanted = ExchangeTask.objects.filter(state=TaskState.ACTIVE, is_due=True).exclude(runs__state__in=LIVE)
    wanted = wanted.exclude(due_after__gt=moments.now())
    return sum(_start_wanted(task_id) for task_id in list(wanted.order_by("id").values_list("pk", flat=True)))


@transaction.atomic
def _start_wanted(task_id: int) -> bool:
    task = locked_task(task_id)
    if task.state != TaskState.ACTIVE or not task.is_due or task.runs.filter(state__in=LIVE).exists():
        return False
    if waits_for_part(task) or (task.due_after is not None and task.due_after > moments.now()):
        return False
    return _start(task, _cause(task))


def _cause(task: ExchangeTask) -> RunCause:
    """What a kept wish most likely came from; the task keeps that there is one, not whose."""
    if task.on_arrival:
        return RunCause.ARRIVAL
    if task.after_task_id is not None:
        return RunCause.TASK
    return RunCause.PLAN if task.schedule else RunCause.HAND


@transaction.atomic
def give_arrival_token(source: DataSource, *, by: Post) -> str:
    """A new token with which the department's own system says that its data has arrived: shown once, kept as a digest. It
    allows nothing else, and replaces an earlier one."""
    source = DataSource.objects.select_for_update(of=("self",)).get(pk=source.pk)
    rules.check_may_manage_source(by, source)
    if source.state == SourceState.RETIRED:
        raise SourceRetired(source=source.number)
    token = secrets.token_urlsafe(32)
    source.arrival_digest = hashlib.sha256(token.encode()).hexdigest()
    source.save(update_fields=["arrival_digest"])
    trail.record("exchange.source.give_arrival_token", by=by.actor, about=trail.subject(source))
    return token


def arrive_by_token(source_number: str, token: str) -> int:
    """What the department's system calls. Raises ArrivalRefused; which of number and token is wrong is not told."""
    source = DataSource.objects.select_related("organisation").filter(number=source_number).first()
    given = hashlib.sha256(token.encode()).hexdigest()
    kept = source.arrival_digest if source is not None else ""
    if source is None or not kept or not hmac.compare_digest(kept, given) or source.state == SourceState.RETIRED:
        raise ArrivalRefused
    organisation = source.organisation
    actor = trail.Actor(f"source:{source.number}", source.name, "source", str(organisation.pk), organisation.name)
    return _arrive(source, by=actor)


def announce_arrival(source: DataSource, *, by: Post) -> int:
    """Somebody of the department says it by hand; gives the count of tasks that will run."""
    rules.check_may_manage_source(by, source)
    if source.state == SourceState.RETIRED:
        raise SourceRetired(source=source.number)
    return _arrive(source, by=by.actor)


@transaction.atomic
def _arrive(source: DataSource, *, by: trail.Actor) -> int:
    now = moments.now()
    waiting = ExchangeTask.objects.filter(
        on_arrival=True, state=TaskState.ACTIVE, grant__entry__binding__source=source
    ).order_by("id")
    count = sum(_want_run(task_id, RunCause.ARRIVAL, now) for task_id in list(waiting.values_list("pk", flat=True)))
    DataSource.objects.filter(pk=source.pk).update(arrived_at=now)  # after the tasks: so everything locks the two
    trail.record("exchange.source.arrive", by=by, about=trail.subject(source), tasks=count)
    return count
