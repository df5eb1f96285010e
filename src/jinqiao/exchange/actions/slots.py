"""Replication slots of LOG tasks, as the provider's nodes see them: a slot that nobody reads fills the source's disk."""

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction

from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.enums import SourceState, TaskState
from jinqiao.exchange.models import DataSource, ExchangeTask, ReplicationSlot
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CopyMode, SlotStatus

LOOK_EVERY = timedelta(minutes=10)


def _tasks_of(source: DataSource) -> dict[str, ExchangeTask]:
    tasks = ExchangeTask.objects.filter(grant__entry__binding__source=source).exclude(slot="")
    return {task.slot: task for task in tasks.order_by("id")}


def keep_slots(source: DataSource, slots: Iterable[SlotStatus]) -> None:
    """What a node found out about our slots at a source. A slot that is gone is no longer watched."""
    tasks, seen = _tasks_of(source), set()
    for slot in slots:
        task = tasks.get(slot.name)
        if task is None:
            continue
        seen.add(task.pk)
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


def watch_slots() -> int:
    """Ask the nodes of sources with LOG tasks to look at their slots, every ten minutes; gives the count of those asked."""
    tasks = ExchangeTask.objects.filter(mode=CopyMode.LOG.value).exclude(slot="")
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
    if (
        not ExchangeTask.objects.filter(grant__entry__binding__source=source, mode=CopyMode.LOG.value)
        .exclude(state=TaskState.DRAFT)
        .exists()
    ):
        return False
    command_node(source.node, CommandKind.TEST_CONNECTION, source=source, connection=connection(source))
    return True
