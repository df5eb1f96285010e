"""Replication slots of LOG tasks, as the provider's nodes see them: a slot that nobody reads fills the source's disk."""

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction

from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.enums import SourceState, TaskState
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask, ReplicationSlot
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CopyMode, SlotStatus

LOOK_EVERY = timedelta(minutes=10)


def reads_no_more(task: ExchangeTask) -> bool:
    """Whether the task has a slot that nobody will read again."""
    return bool(task.slot) and (task.state == TaskState.ENDED or task.mode != CopyMode.LOG)


def drop_slot_of(task: ExchangeTask) -> bool:
    """Have the provider's node end the slot of a task that reads the log no more. It is watched until it is gone."""
    binding = Binding.objects.select_related("source__node").filter(entry_id=task.grant.entry_id).first()
    if not reads_no_more(task) or binding is None or binding.source.state == SourceState.RETIRED:
        return False
    source = binding.source
    waiting = source.commands.filter(kind=CommandKind.DROP_SLOT.value, state__in=OPEN)
    if any(command.body["body"]["slot"] == task.slot for command in waiting):
        return False
    command_node(source.node, CommandKind.DROP_SLOT, source=source, connection=connection(source), slot=task.slot)
    return True


def _tasks_of(source: DataSource) -> dict[str, ExchangeTask]:
    tasks = ExchangeTask.objects.filter(grant__entry__binding__source=source).exclude(slot="")
    return {task.slot: task for task in tasks.order_by("id")}


def keep_slots(source: DataSource, slots: Iterable[SlotStatus]) -> None:
    """What a node found out about our slots at a source. A slot that is gone is no longer watched; one that is still there though
    its task is over is dropped again."""
    tasks, seen = _tasks_of(source), set()
    for slot in slots:
        task = tasks.get(slot.name)
        if task is None:
            continue
        seen.add(task.pk)
        drop_slot_of(task)
        ReplicationSlot.objects.update_or_create(
            task=task,
            defaults={
                "name": slot.name,
                "retained_bytes": max(slot.retained_bytes, 0),
                "is_active": slot.active,
                "seen_at": moments.now(),
            },
        )
    ReplicationSlot.objects.filter(task__in=tasks.values()).exclude(task_id__in=seen).delete()
    gone = [task.pk for task in tasks.values() if task.pk not in seen and reads_no_more(task)]
    ExchangeTask.objects.filter(pk__in=gone).update(slot="")


def watch_slots() -> int:
    """Ask the nodes of sources with LOG tasks to look at their slots, every ten minutes; gives the count of those asked."""
    tasks = ExchangeTask.objects.exclude(slot="")
    sources = DataSource.objects.exclude(state=SourceState.RETIRED).filter(
        pk__in=tasks.values("grant__entry__binding__source_id")
    )
    return sum(_look(source_id) for source_id in list(sources.order_by("id").values_list("pk", flat=True)))


@transaction.atomic
def _look(source_id: int) -> bool:
    """Also where every task is paused or ended: the slot goes on filling the disk until it is dropped."""
    source = DataSource.objects.select_for_update(of=("self",)).select_related("node").get(pk=source_id)
    limit = moments.now() - LOOK_EVERY
    asked = source.commands.filter(kind=CommandKind.TEST_CONNECTION.value)
    if asked.filter(state__in=OPEN).exists() or asked.filter(created_at__gt=limit).exists():
        return False
    command_node(source.node, CommandKind.TEST_CONNECTION, source=source, connection=connection(source))
    return True
