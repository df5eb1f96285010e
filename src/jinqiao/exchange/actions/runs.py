"""Runs: started from a live grant, stopped by hand or with the grant, retried where a retry may help."""

from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import OPEN, cancel_waiting, command_node
from jinqiao.exchange.actions.orders import build_order
from jinqiao.exchange.actions.platform import next_number, platform_identity, post_to_worker
from jinqiao.exchange.enums import RUN_MOVES, CommandState, RunState, TaskState
from jinqiao.exchange.errors import RunAlreadyLive, RunStateWrong, TaskStateWrong
from jinqiao.exchange.models import ExchangeTask, Node, NodeCommand, Run
from jinqiao.exchange.queries.runs import LIVE, order_of
from jinqiao.exchange.queries.terms import binding_of, connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Problem
from jinqiao.kernel.crypto.identity import sign_message
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.workflow import actions as workflow

MAX_ATTEMPTS = 5
BACK_OFF_S = (30, 120, 480, 1800)
"""Waiting before the second, third, … attempt."""
FAILURE = "exchange.run.failed"


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
def start_run(task: ExchangeTask, *, by: Post | None) -> Run:
    """Queue a run and command the provider's node. `by` is None where the plan starts it.

    Raises GrantNotLive, TaskStateWrong, RunAlreadyLive, and what `build_order` raises.
    """
    task = locked_task(task.pk)
    if by is not None:
        rules.check_may_run(by, task)
    rules.check_is_live(task.grant)
    if task.state != TaskState.ACTIVE:
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    if task.runs.filter(state__in=LIVE).exists():
        raise RunAlreadyLive(task=task.number)
    task.runs.exclude(retry_at=None).update(retry_at=None)  # this run takes the place of a retry
    now = moments.now()
    run = Run(
        number=next_number(f"RUN-{moments.today():%Y%m%d}"), task=task, mode=task.mode, triggered_by=by, queued_at=now
    )
    send_order(run, task)
    if by is not None:
        workflow.finish_todos(trail.subject(task), by=by, kinds=[FAILURE])
    trail.record(
        "exchange.run.start",
        by=by.actor if by else trail.SYSTEM,
        about=trail.subject(run),
        task=task.number,
        grant=task.grant.number,
    )
    return run


def send_order(run: Run, task: ExchangeTask) -> None:
    """Sign the order of this attempt and leave it for the provider's node."""
    order = build_order(task, run.number)
    run.order = sign_message(order, platform_identity()).to_json()
    run.save()
    source = binding_of(task.grant).source
    command_node(source.node, CommandKind.EXTRACT, run=run, source=source, connection=connection(source), order=order)


@transaction.atomic
def stop_run(run: Run, *, by: Post, reason: str = "") -> Run:
    """Stop a live run. What the target has taken of it was never visible; staged chunks are discarded on both sides."""
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
    run.retry_at = None
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
    run.problem, run.finished_at = problem.to_json(), now
    again = problem.retryable and run.attempt < MAX_ATTEMPTS and rules.is_live(run.task.grant)
    run.retry_at = now + timedelta(seconds=BACK_OFF_S[min(run.attempt, len(BACK_OFF_S)) - 1]) if again else None
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


def tell_of_failure(run: Run, responsible: Organisation) -> None:
    """One open to-do a task: a newer failure takes the place of the older one."""
    about = trail.subject(run.task)
    workflow.finish_todos(about, by=None, kinds=[FAILURE])
    workflow.open_todo(
        kind=FAILURE,
        title=_("运行%(number)s失败，需要处理") % {"number": run.number},
        organisation=responsible,
        role=Role.DEPARTMENT_ADMINISTRATOR,
        about=about,
    )


def problem_of(error: JinqiaoError) -> Problem:
    """An error of ours in the form in which runs keep it."""
    return Problem(code=error.code, details=dict(error.details), clause=error.clause, retryable=error.retryable)
