"""Rows that a run set aside: read, corrected and sent anew by the provider's people alone.

The workbook comes sealed to the platform and is opened only on its way to the person who asked; nothing of it is kept in plain
text, and each opening stands in the trail. Corrections go back sealed to the provider's node.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.actions.platform import node_actor, platform_identity, public_identity
from jinqiao.exchange.actions.runs import begin_run, locked_run
from jinqiao.exchange.enums import CommandState, RunKind, RunState
from jinqiao.exchange.errors import NotYourRun, QuarantineEmpty, QuarantineNotRead, WindowWouldDouble, WorkbookTooLarge
from jinqiao.exchange.models import Node, NodeCommand, Run
from jinqiao.exchange.queries.runs import order_of, run_by_number
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Delivery, NodeResubmission

KEPT = timedelta(hours=24)
"""So long a sealed workbook is kept here; then it is read anew."""
MOST_BYTES = 20 * 1024 * 1024


@transaction.atomic
def ask_quarantine(run: Run, *, by: Post) -> NodeCommand:
    """Have the provider's node send what the run set aside. Asked again while it is on its way, gives the same command.

    Raises NotYourQuarantine, QuarantineEmpty.
    """
    run = locked_run(run)
    rules.check_may_open_quarantine(by, run.task)
    if not _set_aside(run):
        raise QuarantineEmpty(run=run.number)
    waiting = run.commands.filter(kind=CommandKind.READ_QUARANTINE.value, state__in=OPEN).first()
    if waiting is not None:
        return waiting
    node = Node.objects.get(number=order_of(run).provider_node)
    trail.record("exchange.quarantine.ask", by=by.actor, about=trail.subject(run), rows=run.rows_quarantined)
    return command_node(node, CommandKind.READ_QUARANTINE, run=run, order=order_of(run))


def _set_aside(run: Run) -> bool:
    """Whether rows of the run are in quarantine; of one that its checks stopped there is no manifest."""
    return bool(run.rows_quarantined) or str(run.problem.get("code", "")).startswith("checks.")


def sealed_workbook(run: Run) -> NodeCommand | None:
    """The last answer with a workbook that is still kept."""
    commands = run.commands.filter(kind=CommandKind.READ_QUARANTINE.value, state=CommandState.DONE)
    for command in commands.order_by("-id"):
        if command.result.get("sealed_payload"):
            return command
    return None


@transaction.atomic
def open_quarantine(run: Run, *, by: Post) -> bytes:
    """The workbook, opened for somebody of the provider. Raises NotYourQuarantine, QuarantineNotRead."""
    run = locked_run(run)
    rules.check_may_open_quarantine(by, run.task)
    command = sealed_workbook(run)
    if command is None:
        raise QuarantineNotRead(run=run.number)
    opened = platform_identity().unseal(command.result["sealed_payload"])
    trail.record(
        "exchange.quarantine.open", by=by.actor, about=trail.subject(run), rows=run.rows_quarantined, bytes=len(opened)
    )
    return opened


def _check_sends_once(run: Run) -> None:
    """Corrected rows that an appending target has taken would stand there twice: it knows no key. Raises WindowWouldDouble."""
    has_come = run.resubmissions.filter(state=RunState.RECONCILED).exists()
    if has_come and run.task.delivery == Delivery.APPEND:
        raise WindowWouldDouble(task=run.task.number)


@transaction.atomic
def resubmit(run: Run, *, by: Post, workbook: bytes) -> Run:
    """Send the corrected rows of a run's quarantine: a run of its own, which checks and delivers them as a part.

    Raises NotYourQuarantine, QuarantineEmpty, WorkbookTooLarge, WindowWouldDouble and what `start_run` does.
    """
    run = locked_run(run)
    rules.check_may_open_quarantine(by, run.task)
    if not _set_aside(run):
        raise QuarantineEmpty(run=run.number)
    if len(workbook) > MOST_BYTES:
        raise WorkbookTooLarge(limit=MOST_BYTES // 1024 // 1024)
    _check_sends_once(run)
    node = Node.objects.get(number=order_of(run).provider_node)
    sealed = public_identity(node).seal(workbook)
    new = begin_run(run.task, by=by, kind=RunKind.RESUBMIT, payload=sealed, resubmits=run)
    trail.record("exchange.quarantine.resubmit", by=by.actor, about=trail.subject(run), run=new.number)
    return new


@transaction.atomic
def resubmit_at_node(node: Node, word: NodeResubmission) -> Run:
    """The same, handed in at the provider's node, whose people reach it without the pages. The rows stay sealed to that node.

    Raises NotYourRun, QuarantineEmpty, WorkbookTooLarge, WindowWouldDouble and what `start_run` does.
    """
    run = locked_run(run_by_number(word.run_id))
    if order_of(run).provider_node != node.number:
        raise NotYourRun(run=run.number)
    if not _set_aside(run):
        raise QuarantineEmpty(run=run.number)
    if len(word.sealed_payload) > 2 * MOST_BYTES:
        raise WorkbookTooLarge(limit=MOST_BYTES // 1024 // 1024)
    _check_sends_once(run)
    new = begin_run(run.task, by=None, kind=RunKind.RESUBMIT, payload=word.sealed_payload, resubmits=run)
    trail.record("exchange.quarantine.resubmit", by=node_actor(node), about=trail.subject(run), run=new.number)
    return new


def forget_quarantines() -> int:
    """Drop sealed workbooks, both ways, after a day; gives the count."""
    limit = moments.now() - KEPT
    kinds = (CommandKind.READ_QUARANTINE.value, CommandKind.RESUBMIT.value)
    count = 0
    for command in NodeCommand.objects.filter(
        kind__in=kinds, finished_at__lt=limit, finished_at__gt=limit - timedelta(days=7)
    ).order_by("id"):
        changes: dict[str, Any] = {}
        if command.result.get("sealed_payload"):
            changes["result"] = {**command.result, "sealed_payload": ""}
        if command.body["body"].get("sealed_payload"):
            changes["body"] = {**command.body, "body": {**command.body["body"], "sealed_payload": ""}}
        if changes:
            NodeCommand.objects.filter(pk=command.pk).update(**changes)
            count += 1
    return count
