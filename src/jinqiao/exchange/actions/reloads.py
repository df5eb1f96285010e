"""Emptying a target table and loading it anew: asked for, signed by the consumer's administrator, done once."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import next_number
from jinqiao.exchange.actions.runs import begin_run, locked_task
from jinqiao.exchange.enums import APPROVAL_MOVES, ApprovalState, RunKind, TaskState
from jinqiao.exchange.errors import (
    ReloadNeedsApproval,
    ReloadStateWrong,
    TaskNotReady,
    TaskStateWrong,
    WindowWouldDouble,
)
from jinqiao.exchange.models import ExchangeTask, ReloadApproval, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.workflow import actions as workflow
from jinqiao.workflow.enums import SignOffKind

APPROVE = "exchange.reload.approve"
GOOD_FOR = timedelta(days=7)


def _content(task: ExchangeTask, number: str, reason: str) -> dict[str, Any]:
    """What is signed for."""
    return {
        "approval": number,
        "task": task.number,
        "grant": task.grant.number,
        "target": task.target.number if task.target is not None else "",
        "table": task.target_table,
        "reason": reason,
    }


def _move(approval: ReloadApproval, state: ApprovalState) -> None:
    if state not in APPROVAL_MOVES[ApprovalState(approval.state)]:
        raise ReloadStateWrong(number=approval.number, state=str(approval.get_state_display()))
    approval.state = state


def _locked(approval: ReloadApproval) -> ReloadApproval:
    """The approval with its task, both locked, the task first."""
    task = locked_task(approval.task_id)
    fresh = ReloadApproval.objects.select_for_update(of=("self",)).get(pk=approval.pk)
    fresh.task = task
    return fresh


def _check_comes_once(task: ExchangeTask) -> None:
    """What a reload brings, the next run of an incremental task brings again from its cursor on. Raises WindowWouldDouble where that
    would be appended."""
    if task.appends_changes:
        raise WindowWouldDouble(task=task.number)


@transaction.atomic
def ask_reload(task: ExchangeTask, *, by: Post, reason: str) -> ReloadApproval:
    """Ask the consumer's administrator for leave. Raises NotYourTask, TaskStateWrong, TaskNotReady, WindowWouldDouble, ReloadStateWrong."""
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    if task.state not in (TaskState.ACTIVE, TaskState.PAUSED):
        raise TaskStateWrong(task=task.number, state=str(task.get_state_display()))
    if task.target is None:
        raise TaskNotReady(task=task.number)
    _check_comes_once(task)
    open_one = task.reload_approvals.filter(state__in=(ApprovalState.ASKED, ApprovalState.APPROVED)).first()
    if open_one is not None:
        raise ReloadStateWrong(number=open_one.number, state=str(open_one.get_state_display()))
    number = next_number(f"CZ-{moments.today():%Y}")
    approval = ReloadApproval.objects.create(
        number=number,
        task=task,
        reason=reason.strip()[:300],
        content=_content(task, number, reason.strip()[:300]),
        asked_by=by,
        asked_at=moments.now(),
    )
    workflow.open_todo(
        kind=APPROVE,
        title=_("审批清空重载 %(number)s：%(name)s") % {"number": number, "name": task.grant.version.name},
        organisation=task.grant.consumer,
        role=Role.DEPARTMENT_ADMINISTRATOR,
        about=trail.subject(task),
    )
    trail.record("exchange.reload.ask", by=by.actor, about=trail.subject(task), approval=number, reason=approval.reason)
    return approval


@transaction.atomic
def decide_reload(approval: ReloadApproval, *, by: Post, approved: bool, opinion: str = "") -> ReloadApproval:
    """The administrator of the consumer signs, or refuses. Raises NotYourTask, ReloadStateWrong."""
    approval = _locked(approval)
    rules.check_may_approve_reload(by, approval.task)
    _move(approval, ApprovalState.APPROVED if approved else ApprovalState.REFUSED)
    approval.sign_off = workflow.sign(
        SignOffKind.EXCHANGE_RELOAD,
        about=trail.subject(approval.task),
        by=by,
        approved=approved,
        opinion=opinion,
        content=canonical_json(approval.content),
    )
    approval.decided_at = moments.now()
    approval.save()
    workflow.finish_todos(trail.subject(approval.task), by=by, kinds=[APPROVE])
    verb = "approve" if approved else "refuse"
    trail.record(f"exchange.reload.{verb}", by=by.actor, about=trail.subject(approval.task), approval=approval.number)
    return approval


@transaction.atomic
def reload_target(approval: ReloadApproval, *, by: Post) -> Run:
    """Use the leave: one run that empties the table and loads it anew. It is used up by this, whatever becomes of the run.

    Raises NotYourTask, WindowWouldDouble, ReloadNeedsApproval where it is not signed, is older than a week, or was for another target.
    """
    approval = _locked(approval)
    task = approval.task
    rules.check_may_run(by, task)
    if approval.state != ApprovalState.APPROVED or approval.content != _content(task, approval.number, approval.reason):
        raise ReloadNeedsApproval
    if approval.decided_at is None or approval.decided_at < moments.now() - GOOD_FOR:
        raise ReloadNeedsApproval
    _check_comes_once(task)
    run = begin_run(task, by=by, kind=RunKind.RELOAD, reload_approval=approval)
    _move(approval, ApprovalState.USED)
    approval.save(update_fields=["state"])
    return run


def lapse_reloads(task: ExchangeTask, *, by: trail.Actor) -> None:
    """The task has another target, or is over: what was asked for no longer stands."""
    for approval in task.reload_approvals.filter(state__in=(ApprovalState.ASKED, ApprovalState.APPROVED)):
        _lapse(approval, by=by)


def _lapse(approval: ReloadApproval, *, by: trail.Actor) -> None:
    _move(approval, ApprovalState.LAPSED)
    approval.save(update_fields=["state"])
    workflow.finish_todos(trail.subject(approval.task), by=None, kinds=[APPROVE])
    trail.record("exchange.reload.lapse", by=by, about=trail.subject(approval.task), approval=approval.number)


def lapse_old_reloads() -> int:
    """Leave that nobody used within a week lapses; gives the count."""
    old = ReloadApproval.objects.filter(state=ApprovalState.APPROVED, decided_at__lt=moments.now() - GOOD_FOR)
    count = 0
    for approval in list(old.order_by("id")):
        with transaction.atomic():
            fresh = _locked(approval)
            if fresh.state == ApprovalState.APPROVED:
                _lapse(fresh, by=trail.SYSTEM)
                count += 1
    return count
