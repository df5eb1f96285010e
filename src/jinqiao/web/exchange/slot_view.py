"""Replication slots as pages show them: what each holds back of a source's log, against the bound of its alert rule."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from jinqiao.exchange.actions.slots import left_slots, reads_no_more
from jinqiao.exchange.enums import AlertKind
from jinqiao.exchange.models import DataSource, ExchangeTask, ReplicationSlot
from jinqiao.exchange.queries.alerts import RuleBook
from jinqiao.web import formats
from jinqiao.web.components import Text, Tone

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class SlotLine:
    """One slot; `state` is None until a node has looked. Sizes in MB of a million bytes, as the rule's bound is."""

    task: ExchangeTask
    name: str
    state: ReplicationSlot | None
    retained: str
    bound: str  # empty: the rule is off, nothing is told
    tone: Tone
    word: Text
    is_left: bool  # nobody will read it again; it is being dropped


def slot_lines(tasks: Iterable[ExchangeTask]) -> list[SlotLine]:
    """The slots of tasks that have one, also those that were left at an earlier source."""
    book = RuleBook()
    lines = []
    for task in tasks:
        state: ReplicationSlot | None = getattr(task, "slot_state", None)
        is_own = state is None or state.name == task.slot
        if task.slot:
            lines.append(_line(task, book, task.slot, state if is_own else None))
        if state is not None and not is_own:
            lines.append(_line(task, book, state.name, state))
    return lines


def slots_of(source: DataSource) -> list[SlotLine]:
    """Every slot of ours at a source."""
    tasks = ExchangeTask.objects.filter(grant__entry__binding__source=source).exclude(slot="")
    book = RuleBook()
    names = {name for name, _place in left_slots(source)}
    left = ReplicationSlot.objects.filter(name__in=names).select_related("task__grant__version")
    here = slot_lines(tasks.select_related("slot_state", "grant__version").order_by("id"))
    own = {task.slot for task in tasks}
    return [line for line in here if line.name in own] + [
        _line(state.task, book, state.name, state) for state in left.order_by("id")
    ]


def _line(task: ExchangeTask, book: RuleBook, name: str, state: ReplicationSlot | None) -> SlotLine:
    rule = book.rule(AlertKind.SLOT_GROWING, task.pk)
    bound = rule.number("retained_bytes")
    tone: Tone
    word: Text
    if state is None:
        tone, word = "idle", _("还没有看到")
    elif rule.is_on and state.retained_bytes > bound:
        tone, word = "bad", _("超过界限")
    elif state.is_active:
        tone, word = "run", _("正被读取")
    else:
        tone, word = "good", _("界限之内")
    return SlotLine(
        task,
        name,
        state,
        _mb(state.retained_bytes) if state else "",
        _mb(bound) if rule.is_on else "",
        tone,
        word,
        name != task.slot or reads_no_more(task),
    )


def _mb(size: float) -> str:
    return formats.number(round(size / MB, 1 if size < 100 * MB else 0))
