"""What the desk shows: to-dos by what they are about, the days ahead, what waits for others."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Q

from jinqiao.accounts.models import Post
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.kernel.clocks import CalendarNotPublished, WorkCalendar
from jinqiao.web.clocks import urgency
from jinqiao.web.components import Text
from jinqiao.web.targets import TARGETS, heading_of, page_for
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import ToDo

RULER_DAYS = 10
TOUCHED_EVENTS = 300


@dataclass(frozen=True, slots=True)
class DeskRow:
    """A to-do with the page where it is acted on; `is_due` where it is late or due today."""

    todo: ToDo
    url: str
    is_due: bool


@dataclass(frozen=True, slots=True)
class DeskGroup:
    heading: Text
    rows: list[DeskRow]


@dataclass(frozen=True, slots=True)
class RulerDay:
    """A working day with the number of to-dos due on it, or a stretch of days that do not count (`until` its last)."""

    on: date
    until: date
    count: int = 0
    is_today: bool = False
    is_off: bool = False


def grouped(todos: Iterable[ToDo], post: Post, today: date) -> list[DeskGroup]:
    """By what they are about; the group with the most urgent to-do first, inside it the order given."""
    groups: dict[str, list[DeskRow]] = {}
    known = list(TARGETS)
    for todo in todos:
        clock = todo.clock
        is_due = bool(clock and clock.state == ClockState.RUNNING and clock.due_on and clock.due_on <= today)
        row = DeskRow(todo, page_for(post, todo.about_type, todo.about_id, todo.kind), is_due)
        groups.setdefault(todo.about_type if todo.about_type in known else "", []).append(row)
    return [DeskGroup(heading_of(kind), rows) for kind, rows in groups.items()]


def ruler(todos: Iterable[ToDo], calendar: WorkCalendar, today: date) -> list[RulerDay]:
    """Today and the working days ahead, ten in all, with what is due on each; days off stand between them as one stretch.

    Ends early where the calendar of the next year is not published.
    """
    due = Counter(
        todo.clock.due_on
        for todo in todos
        if todo.clock and todo.clock.due_on and todo.clock.state == ClockState.RUNNING
    )
    days: list[RulerDay] = []
    day, working = today, 0
    while working < RULER_DAYS:
        try:
            is_working = calendar.is_working_day(day)
        except CalendarNotPublished:
            break
        if is_working or day == today:
            days.append(RulerDay(day, day, due[day], is_today=day == today, is_off=not is_working))
            working += is_working
        elif days and days[-1].is_off and not days[-1].is_today:
            days[-1] = RulerDay(days[-1].on, day, days[-1].count + due[day], is_off=True)
        else:
            days.append(RulerDay(day, day, due[day], is_off=True))
        day += timedelta(days=1)
    return days


def waiting_for_others(post: Post, limit: int = 10) -> list[DeskRow]:
    """Open to-dos of others about things that this person lately acted on in this organisation."""
    touched = (
        AuditEvent.objects.filter(
            actor_id=str(post.person_id), organisation_id=str(post.organisation_id), outcome=Outcome.DONE
        )
        .exclude(about_type="")
        .order_by("-number")
        .values_list("about_type", "about_id")[:TOUCHED_EVENTS]
    )
    things = {kind: set[str]() for kind, _ in touched}
    for kind, identity in touched:
        things[kind].add(identity)
    if not things:
        return []
    about = Q()
    for kind, identities in things.items():
        about |= Q(about_type=kind, about_id__in=identities)
    found = (
        ToDo.objects.filter(about, done_at__isnull=True)
        .exclude(pk__in=workflow.desk(post).order_by().values("pk"))
        .select_related("clock", "organisation")
    )
    rows = sorted(found, key=lambda todo: (*urgency(todo.clock), todo.pk))[:limit]
    return [DeskRow(todo, page_for(post, todo.about_type, todo.about_id), False) for todo in rows]
