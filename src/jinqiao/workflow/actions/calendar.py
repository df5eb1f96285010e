"""Entering a year's days off and make-up days, from the notice of the State Council."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.trail import SYSTEM, Subject
from jinqiao.kernel import moments
from jinqiao.workflow import errors, queries, rules
from jinqiao.workflow.actions.clocks import fix_due_date
from jinqiao.workflow.enums import ClockState, DayKind
from jinqiao.workflow.models import CalendarDay, CalendarYear, Clock
from jinqiao.workflow.notices import NoticeDay, notice_problems


@transaction.atomic
def enter_calendar_year(
    year: int, days: Iterable[NoticeDay], notice: str, *, by: Post | None, replace: bool = False
) -> CalendarYear:
    """Enter a year's notice; clocks that waited for it get their due date, with an event each.

    `replace` takes a corrected notice for a year entered before. Due dates that stand are not computed anew.

    Raises:
        NotCalendarKeeper, CalendarYearEntered, CalendarDaysWrong.
    """
    rules.check_may_keep_calendar(by)
    days = sorted(days, key=lambda day: day.on)
    problems = notice_problems(year, days)
    if problems:
        raise errors.CalendarDaysWrong(lines=" ".join(problems))
    actor = SYSTEM if by is None else by.actor
    entered = CalendarYear.objects.select_for_update().filter(year=year).first()
    if entered is not None and not replace:
        raise errors.CalendarYearEntered(year=year)
    if entered is None:
        entered = CalendarYear(year=year)
    else:
        entered.days.all().delete()
    entered.notice, entered.entered_at = notice.strip(), moments.now()
    entered.save()
    CalendarDay.objects.bulk_create(
        CalendarDay(on=day.on, kind=day.kind, name=day.name.strip(), year=entered) for day in days
    )
    counts = Counter(day.kind for day in days)
    trail.record(
        "workflow.calendar.enter",
        by=actor,
        about=trail.subject(entered),
        notice=entered.notice,
        off=counts[DayKind.OFF],
        work=counts[DayKind.WORK],
        replaced=replace,
    )
    _fix_waiting_clocks(year, actor)
    return entered


def _fix_waiting_clocks(year: int, actor: trail.Actor) -> None:
    calendar = queries.calendar()
    waiting = (
        Clock.objects.select_for_update()
        .filter(due_on__isnull=True)
        .exclude(state=ClockState.STOPPED)
        .order_by("pk")
        .prefetch_related("pauses")
    )
    for clock in waiting:
        fix_due_date(clock, calendar)
        if clock.due_on is None:
            continue
        clock.save(update_fields=["due_on", "paused_days"])
        trail.record(
            "workflow.clock.fix",
            by=actor,
            about=Subject(clock.about_type, clock.about_id, ""),
            clock=clock.pk,
            key=clock.key,
            rule_set=clock.rule_set,
            due_on=clock.due_on,
            year=year,
        )
