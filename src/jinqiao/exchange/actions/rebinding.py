"""An entry is bound to another table: what its tasks know of the earlier one no longer holds."""

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange.actions.runs import locked_task
from jinqiao.exchange.actions.slots import leave_slot
from jinqiao.exchange.actions.windows import bare
from jinqiao.exchange.enums import TaskState
from jinqiao.exchange.errors import BindingWouldDouble, RunAlreadyLive
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery


def begin_anew(earlier: Binding, *, by: Post, source: DataSource, table: str, watermark_column: str) -> None:
    """Where another table, or another watermark, is bound: the tasks of the entry forget how far they came, so that the next run
    brings everything; slots at the earlier source are dropped. The caller holds the entry locked and saves the binding afterwards.

    Raises BindingWouldDouble, RunAlreadyLive where a run is reading the log of the earlier table.
    """
    is_other_table = (earlier.source_id, earlier.table) != (source.pk, table)
    is_other_mark = is_other_table or earlier.watermark_column != watermark_column
    if not is_other_mark:
        return
    tasks = ExchangeTask.objects.filter(grant__entry_id=earlier.entry_id).order_by("id")
    for pk in list(tasks.values_list("pk", flat=True)):
        task = locked_task(pk)
        if is_other_table or task.mode == CopyMode.WATERMARK:
            _check(task)
            _forget(task, earlier, by=by)


def _check(task: ExchangeTask) -> None:
    """A run by watermark or of all rows may end: it moves no cursor any more. One that reads the log would keep its slot busy."""
    if task.state == TaskState.ENDED or task.mode == CopyMode.FULL:
        return
    has_live = task.runs.filter(state__in=LIVE).exists()
    if task.delivery == Delivery.APPEND and (task.cursor or has_live):
        raise BindingWouldDouble(task=task.number)
    if task.mode == CopyMode.LOG and has_live:
        raise RunAlreadyLive(task=task.number)


def _forget(task: ExchangeTask, earlier: Binding, *, by: Post) -> None:
    leave_slot(task, earlier.source)
    before, task.cursor = task.cursor, ""
    task.save(update_fields=["cursor", "slot"])
    if before:
        trail.record("exchange.task.start_over", by=by.actor, about=trail.subject(task), cursor=bare(before))
