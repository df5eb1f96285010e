"""Reading the desk, the clocks and the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, TypedDict

from django.db.models import Case, Count, DateField, F, Max, Q, QuerySet, When

from jinqiao.accounts.models import Post
from jinqiao.audit.trail import Subject
from jinqiao.kernel import moments
from jinqiao.kernel.clocks import WorkCalendar
from jinqiao.workflow.enums import ClockState, DayKind
from jinqiao.workflow.models import Attachment, CalendarDay, CalendarYear, Clock, SignOff, ToDo

if TYPE_CHECKING:  # the stubs are there for the type checker only
    from django_stubs_ext import WithAnnotations


class DayCounts(TypedDict):
    """What `calendar_years` counts beside each year."""

    off_days: int
    work_days: int


_Stamp = tuple[int, datetime | None, int, int | None]
_calendars: dict[_Stamp, WorkCalendar] = {}


def calendar() -> WorkCalendar:
    """The calendar of working days as entered. Costs one small query; the days are read again only after an entry."""
    found = CalendarYear.objects.aggregate(
        years=Count("pk", distinct=True), latest=Max("entered_at"), day_count=Count("days"), last_day=Max("days__pk")
    )
    # not by time alone: on a fixed date business time goes back by a day every midnight
    stamp: _Stamp = (found["years"], found["latest"], found["day_count"], found["last_day"])
    known = _calendars.get(stamp)
    if known is None:
        days = list(CalendarDay.objects.values_list("on", "kind"))
        known = WorkCalendar(
            CalendarYear.objects.values_list("year", flat=True),
            [on for on, kind in days if kind == DayKind.OFF],
            [on for on, kind in days if kind == DayKind.WORK],
        )
        _calendars.clear()
        _calendars[stamp] = known
    return known


def calendar_years() -> QuerySet[WithAnnotations[CalendarYear, DayCounts]]:
    """Years entered, the latest first, with `off_days` and `work_days` counted."""
    return CalendarYear.objects.annotate(
        off_days=Count("days", filter=Q(days__kind=DayKind.OFF)),
        work_days=Count("days", filter=Q(days__kind=DayKind.WORK)),
    ).order_by("-year")


def desk(post: Post, *, kinds: Sequence[str] | None = None) -> QuerySet[ToDo]:
    """What waits for a post: for whoever holds its role at its organisation, and for this person by name.

    The earliest due first; what has no running clock, or none with a date, comes last in order of arrival.
    """
    waiting = ToDo.objects.filter(
        Q(person__isnull=True) | Q(person=post.person_id),
        organisation=post.organisation_id,
        role=post.role,
        done_at__isnull=True,
    )
    if kinds is not None:
        waiting = waiting.filter(kind__in=kinds)
    due = Case(When(clock__state=ClockState.RUNNING, then=F("clock__due_on")), output_field=DateField())
    return waiting.select_related("clock", "organisation").order_by(due.asc(nulls_last=True), "id")


def open_todos(about: Subject) -> QuerySet[ToDo]:
    """What is open about one thing, at whichever desk."""
    return (
        ToDo.objects.filter(about_type=about.type, about_id=about.id, done_at__isnull=True)
        .select_related("clock", "organisation", "person")
        .order_by("id")
    )


def handled_by(post: Post) -> QuerySet[ToDo]:
    """What somebody in this post has finished (我经办的), the latest first."""
    return ToDo.objects.filter(done_by=post.pk).select_related("clock").order_by("-done_at", "-id")


def clocks_of(about: Subject) -> QuerySet[Clock]:
    return Clock.objects.filter(about_type=about.type, about_id=about.id).select_related("organisation").order_by("id")


def running_clock(about: Subject, key: str) -> Clock | None:
    """The clock of that key on the thing that has not stopped; it may be paused."""
    return clocks_of(about).filter(key=key).exclude(state=ClockState.STOPPED).last()


def overdue_clocks(on: date | None = None) -> QuerySet[Clock]:
    """Running clocks whose due date has passed, the latest of them last."""
    return (
        Clock.objects.filter(state=ClockState.RUNNING, due_on__lt=on or moments.today())
        .select_related("organisation")
        .order_by("due_on", "id")
    )


def undated_clocks() -> QuerySet[Clock]:
    """Clocks that have no due date, since a calendar was not published (期限未定)."""
    return (
        Clock.objects.filter(due_on__isnull=True)
        .exclude(state=ClockState.STOPPED)
        .select_related("organisation")
        .order_by("id")
    )


def working_days_left(clock: Clock, *, on: date | None = None, using: WorkCalendar | None = None) -> int | None:
    """Working days after `on` (today) up to the due date: 0 on the last day, negative when overdue.

    None where the date is not known, or the clock does not run.
    """
    if clock.due_on is None or clock.state != ClockState.RUNNING:
        return None
    return (using or calendar()).working_days_left(on or moments.today(), clock.due_on)


def sign_offs(about: Subject) -> QuerySet[SignOff]:
    return SignOff.objects.filter(about_type=about.type, about_id=about.id).select_related("post").order_by("id")


def attachments(about: Subject) -> QuerySet[Attachment]:
    return (
        Attachment.objects.filter(about_type=about.type, about_id=about.id)
        .select_related("organisation", "added_by__person")
        .order_by("id")
    )
