"""Runs: started from a live grant, stopped by hand or with the grant, retried where a retry may help."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.alerting import FAILURE, close_alert, open_alert, task_key
from jinqiao.exchange.actions.commanding import OPEN, cancel_waiting, command_node
from jinqiao.exchange.actions.orders import build_order, run_terms
from jinqiao.exchange.actions.platform import next_number, platform_identity, post_to_worker
from jinqiao.exchange.enums import (
    BRING_NEWS,
    RUN_MOVES,
    AlertKind,
    CommandState,
    RunCause,
    RunKind,
    RunState,
    TaskState,
)
from jinqiao.exchange.errors import RunAlreadyLive, RunStateWrong, TaskStateWrong
from jinqiao.exchange.models import Alert, ExchangeTask, Node, NodeCommand, Run
from jinqiao.exchange.queries.runs import LIVE, order_of
from jinqiao.exchange.queries.terms import binding_of, connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, ExchangeOrder, Problem
from jinqiao.kernel.crypto.identity import sign_message
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.workflow import actions as workflow

BACK_OFF_FACTOR = 4
LONGEST_BACK_OFF_S = 3600
JITTER = 0.2
"""A wait is longer by up to this share, by chance: what broke at once does not come back at once."""


def locked_task(task_id: int) -> ExchangeTask:
    return (
        ExchangeTask.objects.select_for_update(of=("self",))
        .select_related("grant__provider", "grant__consumer", "grant__entry", "target__node")
        .get(pk=task_id)
    )


def locked_run(run: Run) -> Run:
    """The run with its task, both locked; the task first, everywhere, so that nobody waits in a circle."""
    task = locked_task(run.task_id)
    fresh = Run.objects.select_for_update(of=("self",)).get(pk=run.pk)
    fresh.task = task
    return fresh


def move_run(run: Run, state: RunState) -> None:
    if state not in RUN_MOVES[RunState(run.state)]:
        raise RunStateWrong(run=run.number, state=str(run.get_state_display()))
    run.state = state


@transaction.atomic
def start_run(task: ExchangeTask, *, by: Post | None, cause: RunCause = RunCause.HAND) -> Run:
    """Queue a run and command the provider's node. `by` is None where the plan, another task or an arrival starts it.

    Raises GrantNotLive, TaskStateWrong, RunAlreadyLive, and what `build_order` raises.
    """
    task = locked_task(task.pk)
    if by is not None:
        rules.check_may_run(by, task)
    return begin_run(task, by=by, cause=cause if by is None else RunCause.HAND)


def begin_run(
    task: ExchangeTask, *, by: Post | None, kind: RunKind = RunKind.ORDINARY, payload: str = "", **fields: Any
) -> Run:
    """A run of any kind of a task that the caller holds locked and has checked the right to. `fields` are the run's own;
    `payload` is the sealed workbook of a resubmission."""
    rules.check_is_live(task.grant)
    if task.state != TaskState.ACTIVE:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    if task.runs.filter(state__in=LIVE).exists():
        raise RunAlreadyLive(task=task.number)
    if by is not None:
        failure_is_over(task, by=by, of=None if kind in BRING_NEWS else kind)
    had_due, superseded = task.is_due, supersede_retries(task, kind, by=by, **fields)
    if kind is RunKind.ORDINARY:
        task.is_due, task.due_after = False, None
    elif kind is not RunKind.RELOAD and RunKind.ORDINARY in superseded:
        task.is_due = True  # a part brings not what the superseded run would have: an ordinary run follows
    if task.is_due is not had_due:
        task.save(update_fields=["is_due", "due_after"])
    run = Run(
        number=next_number(f"RUN-{moments.today():%Y%m%d}"),
        task=task,
        kind=kind,
        triggered_by=by,
        queued_at=moments.now(),
        **fields,
    )
    run.mode = run_terms(task, run)[0].value
    send_order(run, task, payload)
    trail.record(
        "exchange.run.start",
        by=by.actor if by else trail.SYSTEM,
        about=trail.subject(run),
        task=task.number,
        grant=task.grant.number,
        kind=str(kind),
    )
    return run


def waits_for_part(task: ExchangeTask) -> bool:
    """Whether a run that somebody asked for (a window, a reload) waits to be tried again. What starts by itself lets it go first: an
    ordinary run would not bring its rows."""
    return task.runs.exclude(retry_at=None).exclude(kind=RunKind.ORDINARY).exists()


def supersede_retries(task: ExchangeTask, kind: RunKind, *, by: Post | None, **fields: Any) -> set[str]:
    """A new run of `kind` takes the place of the retries that wait; gives the kinds of those. What is lost by that is told: a window or
    a reload that the new run does not bring, or a failure that runs have passed on as often as one is tried."""
    kinds = set()
    for old in task.runs.exclude(retry_at=None).order_by("id"):
        old.retry_at = None
        old.save(update_fields=["retry_at"])
        discard(old)
        trail.record("exchange.run.supersede", by=by.actor if by else trail.SYSTEM, about=trail.subject(old))
        kinds.add(old.kind)
        if old.kind == RunKind.ORDINARY:
            is_lost = by is None and not is_failure_told(task) and failed_attempts(task) >= task.max_attempts
        else:
            window = (fields.get("window_since", ""), fields.get("window_until", ""))
            is_lost = (kind, *window) != (old.kind, old.window_since, old.window_until)
        if is_lost:
            tell_of_failure(old, responsible_for(old))
    return kinds


def failed_attempts(task: ExchangeTask) -> int:
    """How often in a row the task was tried in vain, over all its runs since the last that came through."""
    last = task.runs.filter(state=RunState.RECONCILED).order_by("-id").values_list("pk", flat=True).first()
    failed = task.runs.filter(state=RunState.FAILED, pk__gt=last or 0)
    return int(failed.aggregate(attempts=Sum("attempt"))["attempts"] or 0)


def responsible_for(run: Run) -> Organisation:
    """Whose trouble a failed run is: what has been handed over has a manifest, and failed on delivery."""
    grant = run.task.grant
    return grant.consumer if run.manifest else grant.provider


def send_order(run: Run, task: ExchangeTask, payload: str = "") -> None:
    """Sign the order of this attempt and leave it for the provider's node."""
    order = build_order(task, run.number, run)
    run.order = sign_message(order, platform_identity()).to_json()
    run.save()
    source = binding_of(task.grant).source
    command_node(
        source.node,
        CommandKind.RESUBMIT if run.resubmits is not None else CommandKind.EXTRACT,
        run=run,
        source=source,
        connection=connection(source),
        order=order,
        sealed_payload=payload,
        corrects=run.resubmits.number if run.resubmits is not None else "",
        transfer=sign_message(for_consumer(order), platform_identity()) if order.consumer_url else None,
    )


def for_consumer(order: ExchangeOrder) -> ExchangeOrder:
    """The order without what only concerns the provider's table."""
    return replace(order, expected_columns=(), windows=())


@transaction.atomic
def stop_run(run: Run, *, by: Post, reason: str = "") -> Run:
    """Stop a live run. What the target has staged of it was never visible, and staged chunks are discarded on both sides; a batch that was
    merged before its node heard of this is reconciled when its answer comes."""
    run = locked_run(run)
    rules.check_may_restrain(by, run.task)
    if run.state not in LIVE and run.retry_at is None:
        raise RunStateWrong(run=run.number, state=str(run.get_state_display()))
    _stop(run, by=by.actor, reason=reason)
    return run


def stop_live_run(task: ExchangeTask, *, by: trail.Actor, reason: str) -> None:
    """Stop whatever of the task is live or waits for a retry."""
    for run in (task.runs.filter(state__in=LIVE) | task.runs.exclude(retry_at=None)).order_by("id"):
        _stop(locked_run(run), by=by, reason=reason)


def _stop(run: Run, *, by: trail.Actor, reason: str) -> None:
    if run.state in LIVE:
        move_run(run, RunState.STOPPED)
        run.finished_at = moments.now()
        cancel_waiting(run=run)
        for node in Node.objects.filter(
            pk__in=NodeCommand.objects.filter(run=run, state=CommandState.TAKEN).values("node_id")
        ).order_by("id"):
            command_node(node, CommandKind.STOP, run=run)
        NodeCommand.objects.filter(run=run, state=CommandState.TAKEN).update(
            state=CommandState.CANCELLED, finished_at=moments.now()
        )
    run.retry_at = run.paused_at = None
    run.save()
    discard(run)
    trail.record("exchange.run.stop", by=by, about=trail.subject(run), reason=reason)


def discard(run: Run) -> None:
    """Neither node nor the relay needs the staged chunks of this run any more."""
    order = order_of(run)
    seen = set(NodeCommand.objects.filter(run=run).values_list("node_id", flat=True))
    for node in Node.objects.filter(number__in=(order.provider_node, order.consumer_node), pk__in=seen).order_by("id"):
        command_node(node, CommandKind.PURGE, run=run)
    post_to_worker("relay.purge", run=run.number)


def fail_run(run: Run, problem: Problem, *, at: Node) -> None:
    """The run broke off at a node. A retry is planned where it may help; otherwise its department gets a to-do."""
    stage = RunState(run.state)
    move_run(run, RunState.FAILED)
    now = moments.now()
    run.problem, run.finished_at, run.paused_at = problem.to_json(), now, None
    again = problem.retryable and run.attempt < run.task.max_attempts and rules.is_live(run.task.grant)
    if run.resubmits_id is not None:
        again = False  # the corrected workbook is not kept here: its people send it anew
    run.retry_at = now + timedelta(seconds=waiting_s(run.task.back_off_s, run.attempt)) if again else None
    run.save()
    NodeCommand.objects.filter(run=run, state__in=OPEN).update(state=CommandState.CANCELLED, finished_at=now)
    trail.record(
        FAILURE,
        by=trail.SYSTEM,
        about=trail.subject(run),
        outcome=Outcome.FAILED,
        code=problem.code,
        node=at.number,
        attempt=run.attempt,
    )
    if run.retry_at is None:
        grant = run.task.grant
        tell_of_failure(run, grant.consumer if stage == RunState.DELIVERING else grant.provider)
        discard(run)


def waiting_s(first_s: int, attempt: int) -> float:
    """Seconds from the end of an attempt (from 1) to the next: exponential, bounded, with jitter."""
    plain: int = min(first_s * BACK_OFF_FACTOR ** (attempt - 1), max(first_s, LONGEST_BACK_OFF_S))
    return plain * (1 + JITTER * random.random())  # noqa: S311 -- spreads load, guards nothing


def tell_of_failure(run: Run, responsible: Organisation) -> None:
    """One open to-do and alert a task: a newer failure takes the place of the older one."""
    workflow.finish_todos(trail.subject(run.task), by=None, kinds=[FAILURE])
    close_alert(AlertKind.RUN_FAILED, task_key(run.task))
    open_alert(
        AlertKind.RUN_FAILED,
        task_key(run.task),
        organisation=responsible,
        title=_("运行%(number)s失败，需要处理") % {"number": run.number},
        about=trail.subject(run.task),
        task=run.task,
        run=run,
        code=str(run.problem.get("code", "")),
    )


def is_failure_told(task: ExchangeTask) -> bool:
    return Alert.objects.filter(kind=AlertKind.RUN_FAILED, key=task_key(task), closed_at=None).exists()


def failure_is_over(task: ExchangeTask, *, by: Post | None, of: RunKind | None = None) -> None:
    """A run of the task came through, or somebody starts one: what was said of an earlier failure no longer stands. `of` is the kind of
    the run where it mends a failure of its own kind alone: a part brings not what an ordinary run did not, nor the other way round."""
    if of is not None:
        told = Alert.objects.filter(kind=AlertKind.RUN_FAILED, key=task_key(task), closed_at=None).first()
        if told is not None and (told.run.kind if told.run else RunKind.ORDINARY) != of:
            return
    workflow.finish_todos(trail.subject(task), by=by, kinds=[FAILURE])
    close_alert(AlertKind.RUN_FAILED, task_key(task))


def problem_of(error: JinqiaoError) -> Problem:
    """An error of ours in the form in which runs keep it."""
    return Problem(code=error.code, details=dict(error.details), clause=error.clause, retryable=error.retryable)
