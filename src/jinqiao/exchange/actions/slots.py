"""Replication slots of LOG tasks, as the provider's nodes see them: a slot that nobody reads fills the source's disk."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.connections import Place, place_of
from jinqiao.exchange.enums import CommandState, SourceState, TaskState
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask, NodeCommand, ReplicationSlot
from jinqiao.exchange.queries.terms import connection
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CopyMode, SlotStatus
from jinqiao.kernel.contracts.tables import Connection

LOOK_EVERY = timedelta(minutes=10)
DROP_EVERY = timedelta(hours=1)
"""A slot that could not be dropped is tried again after this time."""
DROP_FOR = timedelta(days=30)
"""For so long it is tried at a place that its source has left: a server that moved away is no more, or will not be reached again."""


def reads_no_more(task: ExchangeTask) -> bool:
    """Whether the task has a slot that nobody will read again."""
    return bool(task.slot) and (task.state == TaskState.ENDED or task.mode != CopyMode.LOG)


def drop_slot_of(task: ExchangeTask) -> bool:
    """Have the provider's node end the slot of a task that reads the log no more. It is watched until it is gone."""
    binding = Binding.objects.select_related("source__node").filter(entry_id=task.grant.entry_id).first()
    return reads_no_more(task) and binding is not None and _order_drop(binding.source, task.slot)


def _order_drop(source: DataSource, slot: str, at: Connection | None = None) -> bool:
    """`at` is where the slot is, by default where the source leads. False where the node was told already, or the source is retired."""
    at = at or connection(source)
    waiting = source.commands.filter(kind=CommandKind.DROP_SLOT.value, state__in=OPEN, body__body__slot=slot)
    told = map(Connection.from_json, waiting.values_list("body__body__connection", flat=True))
    if source.state == SourceState.RETIRED or place_of(at) in map(place_of, told):
        return False
    command_node(source.node, CommandKind.DROP_SLOT, source=source, connection=at, slot=slot)
    return True


def new_slot_name(task: ExchangeTask) -> str:
    """A replication slot of the task's own: two installations at one source do not meet."""
    plain = re.sub(r"[^a-z0-9]+", "_", task.number.lower()).strip("_")
    return f"jinqiao_{plain[:40]}_{secrets.token_hex(4)}"


def leave_slot(task: ExchangeTask, source: DataSource, *places: Connection) -> None:
    """The task reads another table from now on: its slot at `source` is dropped, and watched until it is gone; a task that reads
    the log has a new name for the next one. `places` are where the slot may be, by default where the source leads now. The caller
    holds the task locked and saves it."""
    if task.slot:
        for place in places or (connection(source),):
            _order_drop(source, task.slot, place)
        task.slot = "" if reads_no_more(task) else new_slot_name(task)


@dataclass(frozen=True, slots=True)
class LeftSlot:
    """A slot that no task has any more. `at` is where it was left: another place than that of its source where this has moved."""

    name: str
    at: Connection
    since: datetime
    asked_at: datetime
    is_answered: bool
    is_here: bool

    @property
    def is_given_up(self) -> bool:
        return not self.is_here and self.is_answered and self.asked_at - self.since >= DROP_FOR


def left_slots(source: DataSource) -> dict[tuple[str, Place], LeftSlot]:
    """Slots at a source that no task has any more and that were not yet said to be gone, by name and place, with the times of the
    first and the last command to drop each."""
    here = connection(source)
    last: dict[tuple[str, Place], tuple[LeftSlot, CommandState, set[str]]] = {}
    drops = source.commands.filter(kind=CommandKind.DROP_SLOT.value).order_by("id")
    fields = ("body__body__slot", "body__body__connection", "state", "result__slots", "created_at")
    for name, way, state, found, asked_at in drops.values_list(*fields):
        at = Connection.from_json(way)
        is_here = place_of(at) == place_of(here)
        key = name, place_of(at)
        since = last[key][0].since if key in last else asked_at
        left = LeftSlot(name, here if is_here else at, since, asked_at, state not in OPEN, is_here)
        last[key] = left, CommandState(state), {status["name"] for status in found or ()}
    kept = set(ExchangeTask.objects.filter(slot__in=[name for name, _place in last]).values_list("slot", flat=True))
    return {
        key: left
        for key, (left, state, found) in last.items()
        if left.name not in kept and (state != CommandState.DONE or left.name in found)
    }


def _tasks_of(source: DataSource) -> dict[str, ExchangeTask]:
    tasks = ExchangeTask.objects.filter(grant__entry__binding__source=source).exclude(slot="")
    return {task.slot: task for task in tasks.order_by("id")}


def keep_slots(command: NodeCommand, slots: Iterable[SlotStatus]) -> None:
    """What a node found out about our slots where a command sent it. A slot that is gone is no longer watched; one that is still there
    though its task is over is dropped again. Of a place that the source has left only what was left there is said."""
    source = command.source
    if source is None:
        return
    place = place_of(way_of(command))
    tasks = _tasks_of(source) if place == place_of(connection(source)) else {}
    there = {slot.name: slot for slot in slots}
    for name, slot in there.items():
        if name in tasks:
            drop_slot_of(tasks[name])
        _keep(tasks.get(name), slot)
    dropped = source.commands.filter(kind=CommandKind.DROP_SLOT.value).values_list("body__body__slot", flat=True)
    elsewhere = {name for name, left_at in left_slots(source) if left_at != place}
    ReplicationSlot.objects.filter(name__in={*tasks, *dropped} - set(there) - elsewhere).delete()
    gone = [task.pk for name, task in tasks.items() if name not in there and reads_no_more(task)]
    ExchangeTask.objects.filter(pk__in=gone).update(slot="")


def way_of(command: NodeCommand) -> Connection:
    """The connection of a command that has one."""
    return Connection.from_json(command.body["body"]["connection"])


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
    late = [left for left in left_slots(source).values() if left.asked_at <= limit]
    return (
        sum(_give_up(source, left) if left.is_given_up else _order_drop(source, left.name, left.at) for left in late)
        > 0
    )


def _give_up(source: DataSource, left: LeftSlot) -> bool:
    """Watch it no more; that it was not seen to be gone stands in the trail."""
    watched, _each = ReplicationSlot.objects.filter(name=left.name).delete()
    if watched:
        about = trail.subject(source)
        trail.record("exchange.slot.give_up", by=trail.SYSTEM, about=about, outcome=Outcome.FAILED, slot=left.name)
    return False


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
