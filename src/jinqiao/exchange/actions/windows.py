"""Parts of a task's data once more: a window of watermarks, the window of an earlier run, everything from the beginning."""

from datetime import date, datetime
from typing import Any

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.runs import begin_run, locked_task
from jinqiao.exchange.enums import RunKind, RunState
from jinqiao.exchange.errors import (
    ReplayNotPossible,
    RunAlreadyLive,
    WatermarkMissing,
    WindowBroken,
    WindowWouldDouble,
)
from jinqiao.exchange.models import ExchangeTask, Run
from jinqiao.exchange.queries.runs import LIVE, manifest_of, order_of
from jinqiao.exchange.queries.terms import binding_of, table_schema
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.kernel.contracts.tables import LogicalType


@transaction.atomic
def backfill(task: ExchangeTask, *, by: Post, since: str, until: str) -> Run:
    """A run of the rows whose watermark lies in [since, until]; the task's cursor stays. `since` may be empty: from the first.

    Rows are inserted and updated, none is deleted. Raises WatermarkMissing, KeyNotGranted, WindowBroken, WindowWouldDouble and what
    `start_run` does.
    """
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    return _run_window(task, by=by, kind=RunKind.BACKFILL, since=since.strip(), until=until.strip())


@transaction.atomic
def replay(run: Run, *, by: Post) -> Run:
    """The window of an earlier incremental run once more, as the source shows it now. Raises ReplayNotPossible and as `backfill`."""
    task = locked_task(run.task_id)
    rules.check_may_run(by, task)
    run = Run.objects.get(pk=run.pk)
    manifest = manifest_of(run)
    if run.state != RunState.RECONCILED or run.mode != CopyMode.WATERMARK or manifest is None:
        raise ReplayNotPossible(run=run.number)
    order = order_of(run)
    until = order.until or bare(manifest.new_cursor)
    if not until:
        raise ReplayNotPossible(run=run.number)
    return _run_window(task, by=by, kind=RunKind.REPLAY, since=bare(order.after), until=until)


def bare(cursor: str) -> str:
    """The watermark of a cursor, without the name of its batch."""
    return cursor.partition("#")[0]


def _run_window(task: ExchangeTask, *, by: Post, kind: RunKind, since: str, until: str) -> Run:
    if task.delivery == Delivery.APPEND:
        raise WindowWouldDouble(task=task.number)
    binding = binding_of(task.grant)
    if not binding.watermark_column or not binding.key_columns:
        raise WatermarkMissing
    schema = {column.name: column.type for column in table_schema(binding.source, binding.table).columns}
    kind_of = schema.get(binding.watermark_column, LogicalType.TEXT)
    low, high = _value(since, kind_of), _value(until, kind_of)
    if high is None or (low is not None and low > high):
        raise WindowBroken(since=since or "-", until=until or "-")
    return begin_run(task, by=by, kind=kind, window_since=since, window_until=until)


def _value(text: str, kind: LogicalType) -> Any:
    """A watermark as a value that can be compared with others of its kind; None where the text is empty. Raises WindowBroken."""
    if not text:
        return None
    try:
        if kind is LogicalType.INTEGER:
            return int(text)
        if kind is LogicalType.DATE:
            return date.fromisoformat(text)
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError as problem:
        raise WindowBroken(since=text, until=text) from problem


@transaction.atomic
def start_over(task: ExchangeTask, *, by: Post) -> ExchangeTask:
    """Forget how far incremental runs came: the next one brings everything, merged into what is there.

    Raises NotYourTask, RunAlreadyLive, WindowWouldDouble.
    """
    task = locked_task(task.pk)
    rules.check_may_run(by, task)
    if task.delivery == Delivery.APPEND:
        raise WindowWouldDouble(task=task.number)
    if task.runs.filter(state__in=LIVE).exists():
        raise RunAlreadyLive(task=task.number)
    begin_anew(task, by=by.actor)
    return task


def begin_anew(task: ExchangeTask, *, by: trail.Actor, **why: Any) -> None:
    """The same, by whoever finds that the target is no longer as the cursor says. The caller holds the task locked."""
    before, task.cursor = task.cursor, ""
    task.save(update_fields=["cursor"])
    trail.record("exchange.task.start_over", by=by, about=trail.subject(task), cursor=bare(before), **why)
