"""An entry is bound to another table, or its source leads to another place: what its tasks know of the earlier one no longer holds."""

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.catalogue.models import CatalogueEntry
from jinqiao.exchange.actions.reloads import lapse_reloads
from jinqiao.exchange.actions.runs import locked_task
from jinqiao.exchange.actions.slots import leave_slot
from jinqiao.exchange.actions.windows import bare
from jinqiao.exchange.enums import TaskState
from jinqiao.exchange.errors import BindingWouldDouble, MoveWouldDouble, RunAlreadyLive
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask
from jinqiao.exchange.queries.moving import delivering_to, reading_from, reads_elsewhere
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.kernel.contracts.tables import Connection


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
            _check(task, BindingWouldDouble)
            _forget(task, earlier.source, by=by)


def lock_users(source: DataSource) -> None:
    """Lock what stands on a source, in the order that binding and running keep to: entries, then tasks. The source comes after them."""
    entries = CatalogueEntry.objects.filter(binding__source=source).order_by("id")
    list(entries.select_for_update(of=("self",)).values_list("pk", flat=True))
    tasks = ExchangeTask.objects.filter(pk__in=[*reading_from(source), *delivering_to(source)]).order_by("id")
    list(tasks.select_for_update(of=("self",)).values_list("pk", flat=True))


def move_source(source: DataSource, to: Connection, *, by: Post, is_same_data: bool) -> tuple[int, int]:
    """A source leads to another place from now on. What its tasks read there, or have to fill there, is not what they know: they
    forget how far they came, so that the next run brings everything. Where the same data moved along they go on; but a slot does not
    move with the data, so that whoever reads the log begins anew with a new one in any case: nothing committed meanwhile is lost.

    `source` leads to the earlier place still; the caller has locked its users and it, and saves it afterwards. Gives how many tasks
    begin anew and how many go on. Raises MoveWouldDouble, RunAlreadyLive.
    """
    reading = [_read_elsewhere(task, source, to, by=by, is_same_data=is_same_data) for task in _moved(source, to)]
    targets = [locked_task(pk) for pk in delivering_to(source)]
    filling = [_fill_elsewhere(task, by=by, is_same_data=is_same_data) for task in targets]
    told = [is_anew for is_anew in (*reading, *filling) if is_anew is not None]
    return sum(told), len(told) - sum(told)


def _moved(source: DataSource, to: Connection) -> list[ExchangeTask]:
    return [task for task in map(locked_task, reading_from(source)) if reads_elsewhere(task, source, to)]


def _read_elsewhere(
    task: ExchangeTask, source: DataSource, to: Connection, *, by: Post, is_same_data: bool
) -> bool | None:
    """Whether the task begins anew; None where it knows of no earlier run anyway."""
    places = (connection(source), to)  # a server that moved as a whole has taken the slot along
    if task.appends_changes and task.runs.filter(state__in=LIVE).exists():
        raise RunAlreadyLive(
            task=task.number
        )  # its cursor is of the earlier place and moves no more: its rows would come twice
    if is_same_data and task.mode != CopyMode.LOG:
        leave_slot(task, source, *places)
        task.save(update_fields=["slot"])
        return False if task.cursor else None
    _check(task, MoveWouldDouble)
    knows = bool(task.cursor) or task.mode == CopyMode.LOG
    _forget(task, source, *places, by=by)
    return True if knows else None


def _fill_elsewhere(task: ExchangeTask, *, by: Post, is_same_data: bool) -> bool | None:
    """The same for a task that delivers there: as where another target is configured."""
    if task.state == TaskState.ENDED:
        return None
    if task.runs.filter(state__in=LIVE).exists():
        raise RunAlreadyLive(task=task.number)  # it would carry part of the rows to where the others are not
    if is_same_data:
        return False if task.cursor else None
    if task.delivery == Delivery.APPEND and task.cursor:
        raise MoveWouldDouble(task=task.number)
    before, task.cursor = task.cursor, ""
    task.save(update_fields=["cursor"])
    lapse_reloads(task, by=by.actor)
    _record(task, before, by=by)
    return True if before else None


def _check(task: ExchangeTask, doubling: type[BindingWouldDouble] | type[MoveWouldDouble]) -> None:
    """A run by watermark or of all rows may end: it moves no cursor any more. One that reads the log would keep its slot busy."""
    if task.state == TaskState.ENDED or task.mode == CopyMode.FULL:
        return
    has_live = task.runs.filter(state__in=LIVE).exists()
    if task.delivery == Delivery.APPEND and (task.cursor or has_live):
        raise doubling(task=task.number)
    if task.mode == CopyMode.LOG and has_live:
        raise RunAlreadyLive(task=task.number)


def _forget(task: ExchangeTask, earlier: DataSource, *places: Connection, by: Post) -> None:
    leave_slot(task, earlier, *places)
    before, task.cursor = task.cursor, ""
    task.save(update_fields=["cursor", "slot"])
    _record(task, before, by=by)


def _record(task: ExchangeTask, cursor: str, *, by: Post) -> None:
    if cursor:
        trail.record("exchange.task.start_over", by=by.actor, about=trail.subject(task), cursor=bare(cursor))
