"""Runs that start by themselves: by plan, after another task, on an arrival. One that cannot even start leaves no run behind, so it is
told here, once for a cause, until a run of the task comes through or somebody starts one by hand."""

import logging

from django.db import transaction
from django.utils.translation import gettext_noop as _

from jinqiao.accounts.models import Organisation
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange.actions.alerting import FAILURE, close_alert, open_alert, task_key
from jinqiao.exchange.actions.runs import start_run
from jinqiao.exchange.enums import AlertKind, RunCause
from jinqiao.exchange.errors import (
    GrantNotLive,
    KeyNotGranted,
    TargetNotWritable,
    TargetOfAnotherOrganisation,
    TaskNotReady,
)
from jinqiao.exchange.models import Alert, ExchangeTask
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.workflow import actions as workflow

log = logging.getLogger(__name__)

_OF_CONSUMER = (KeyNotGranted, TargetNotWritable, TargetOfAnotherOrganisation, TaskNotReady)


def start_unasked(task: ExchangeTask, cause: RunCause) -> bool:
    """Start a run of a task that the caller holds locked; False where it cannot start, which is told then."""
    try:
        with transaction.atomic():
            start_run(task, by=None, cause=cause)
    except JinqiaoError as error:
        log.warning("task %s could not start (%s): %s", task.number, cause.value, error.code)
        trail.record(
            "exchange.run.start", by=trail.SYSTEM, about=trail.subject(task), outcome=Outcome.FAILED, code=error.code
        )
        if not isinstance(error, GrantNotLive):  # before its first day, or on its way to its end: both sides know
            _tell(task, error)
        return False
    return True


def _tell(task: ExchangeTask, error: JinqiaoError) -> None:
    open_now = Alert.objects.filter(kind=AlertKind.RUN_FAILED, key=task_key(task), closed_at=None).first()
    if open_now is not None and open_now.run_id is None and open_now.details.get("code") == error.code:
        return
    workflow.finish_todos(trail.subject(task), by=None, kinds=[FAILURE])
    close_alert(AlertKind.RUN_FAILED, task_key(task))
    open_alert(
        AlertKind.RUN_FAILED,
        task_key(task),
        organisation=_responsible(task, error),
        title=_("任务%(number)s无法启动运行，需要处理") % {"number": task.number},
        about=trail.subject(task),
        task=task,
        code=error.code,
    )


def _responsible(task: ExchangeTask, error: JinqiaoError) -> Organisation:
    """The consumer for what it configured and for its own node and source; everything else is the provider's."""
    own = {task.target.number, task.target.node.number} if task.target is not None else set()
    is_consumers = isinstance(error, _OF_CONSUMER) or any(str(value) in own for value in error.details.values())
    return task.grant.consumer if is_consumers else task.grant.provider
