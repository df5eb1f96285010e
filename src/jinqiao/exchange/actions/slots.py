"""Replication slots of LOG tasks, as the provider's nodes see them: a slot that nobody reads fills the source's disk."""

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction

from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.enums import CommandState, SourceState, TaskState
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask, NodeCommand, ReplicationSlot
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CopyMode, SlotStatus

LOOK_EVERY = timedelta(minutes=10)
DROP_EVERY = timedelta(hours=1)
"""A slot that could not be dropped is tried again after this time."""


def reads_no_more(task: ExchangeTask) -> bool:
    """Whether the task has a slot that nobody will read again."""
    return bool(task.slot) and (task.state == TaskState.ENDED or task.mode != CopyMode.LOG)


def drop_slot_of(task: ExchangeTask) -> bool:
    """Have the provider's node end the slot of a task that reads the log no more. It is watched until it is gone."""
    binding = Binding.objects.select_related("source__node").filter(entry_id=task.grant.entry_id).first()
    return reads_no_more(task) and binding is not None and _order_drop(binding.source, task.slot)


def _order_drop(source: DataSource, slot: str) -> bool:
    """False where the node was told already, or the source is retired."""
    waiting = source.commands.filter(kind=CommandKind.DROP_SLOT.value, state__in=OPEN, body__body__slot=slot)
    if source.state == SourceState.RETIRED or waiting.exists():
        return False
    command_node(source.node, CommandKind.DROP_SLOT, source=source, connection=connection(source), slot=slot)
    return True


def new_slot_name(task: ExchangeTask) -> str:
    """A replication slot of the task's own: two installations at one source do not meet."""
    plain = re.sub(r"[^a-z0-9]+", "_", task.number.lower()).strip("_")
    return f"jinqiao_{plain[:40]}_{secrets.token_hex(4)}"


def leave_slot(task: ExchangeTask, source: DataSource) -> None:
    """The task reads another table from now on: its slot at `source` is dropped, and watched until it is gone; a task that reads
    the log has a new name for the next one. The caller holds the task locked and saves it."""
    if task.slot:
        _order_drop(source, task.slot)
        task.slot = "" if reads_no_more(task) else new_slot_name(task)


def left_slots(source: DataSource) -> dict[str, datetime]:
    """Names of slots at a source that no task has any more and that were not yet said to be gone, with the time of the last command
    to drop each."""
    drops = source.commands.filter(kind=CommandKind.DROP_SLOT.value)
    last = {
        slot: (state, found or (), at)
        for slot, state, found, at in drops.order_by("id").values_list(
            "body__body__slot", "state", "result__slots", "created_at"
        )
    }
    kept = set(ExchangeTask.objects.filter(slot__in=list(last)).values_list("slot", flat=True))
    return {
        slot: at
        for slot, (state, found, at) in last.items()
        if slot not in kept and (state != CommandState.DONE or slot in {status["name"] for status in found})
    }


def _tasks_of(source: DataSource) -> dict[str, ExchangeTask]:
    tasks = ExchangeTask.objects.filter(grant__entry__binding__source=source).exclude(slot="")
    return {task.slot: task for task in tasks.order_by("id")}


def keep_slots(source: DataSource, slots: Iterable[SlotStatus]) -> None:
    """What a node found out about our slots at a source. A slot that is gone is no longer watched; one that is still there though
    its task is over is dropped again."""
    tasks = _tasks_of(source)
    there = {slot.name: slot for slot in slots}
    for name, slot in there.items():
        if name in tasks:
            drop_slot_of(tasks[name])
        _keep(tasks.get(name), slot)
    left = source.commands.filter(kind=CommandKind.DROP_SLOT.value).values_list("body__body__slot", flat=True)
    ReplicationSlot.objects.filter(name__in={*tasks, *left} - set(there)).delete()
    gone = [task.pk for name, task in tasks.items() if name not in there and reads_no_more(task)]
    ExchangeTask.objects.filter(pk__in=gone).update(slot="")


def _keep(task: ExchangeTask | None, slot: SlotStatus) -> None:
    """What is known of a task's slot. Where an earlier one of it is left at another source, the one that retains more is kept:
    that is the one to be told of. One that is none of a task's is noted only where it was."""
    retained = max(slot.retained_bytes, 0)
    seen = {"retained_bytes": retained, "is_active": slot.active, "seen_at": moments.now()}
    if task is None:
        ReplicationSlot.objects.filter(name=slot.name).update(**seen)
    elif not ReplicationSlot.objects.filter(task=task, retained_bytes__gt=retained).exclude(name=slot.name).exists():
        ReplicationSlot.objects.update_or_create(task=task, defaults={"name": slot.name, **seen})


def watch_slots() -> int:
    """Ask the nodes of sources with LOG tasks to look at their slots, every ten minutes, and to drop what was left at others, every
    hour until it is gone; gives the count of those asked."""
    tasks = ExchangeTask.objects.exclude(slot="")
    sources = DataSource.objects.exclude(state=SourceState.RETIRED).order_by("id")
    bound = sources.filter(pk__in=tasks.values("grant__entry__binding__source_id"))
    left = sources.filter(pk__in=NodeCommand.objects.filter(kind=CommandKind.DROP_SLOT.value).values("source_id"))
    asked = sum(_look(source_id) for source_id in list(bound.values_list("pk", flat=True)))
    return asked + sum(_drop_left(source_id) for source_id in list(left.values_list("pk", flat=True)))


@transaction.atomic
def _drop_left(source_id: int) -> bool:
    source = DataSource.objects.select_for_update(of=("self",)).select_related("node").get(pk=source_id)
    limit = moments.now() - DROP_EVERY
    late = [slot for slot, asked_at in left_slots(source).items() if asked_at <= limit]
    return sum(_order_drop(source, slot) for slot in late) > 0


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
