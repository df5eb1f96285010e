"""How a statutory clock reads today: so many working days left, due today, late, paused, or no date yet."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from django.utils.translation import gettext_lazy as _

from jinqiao.kernel import moments
from jinqiao.kernel.clocks import CalendarNotPublished, WorkCalendar
from jinqiao.kernel.rulesets import ClockNotRegulated, RuleSetUnknown, ruleset
from jinqiao.web.components import Text, Tone
from jinqiao.web.formats import is_english
from jinqiao.workflow import queries
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock

SOON = 3
"""Working days, today included, from which a clock warns (look.md §6)."""

Kind = Literal["left", "today", "late", "paused", "on_time", "was_late", "closed", "no_date"]


@dataclass(frozen=True, slots=True)
class ClockView:
    """`days` belongs to "left" (working days, today included) and "late" (days past the date)."""

    kind: Kind
    tone: Tone | Literal[""]
    due_on: date | None
    days: int | None = None
    note: Text = ""

    @property
    def shows_date(self) -> bool:
        """A date that no longer binds, or will move, would mislead."""
        return self.kind in ("left", "today", "late")


def view_of(clock: Clock, calendar: WorkCalendar | None = None, today: date | None = None) -> ClockView:
    """Pass the calendar where many clocks are shown, so that it is read once."""
    on = today or moments.today()
    due = clock.due_on
    if clock.state == ClockState.STOPPED:
        if due is None or clock.stopped_on is None:
            return ClockView("closed", "good", due)
        return ClockView("on_time", "good", due) if clock.stopped_on <= due else ClockView("was_late", "stop", due)
    if clock.state == ClockState.PAUSED:
        return ClockView("paused", "stop", due)
    if due is None:
        return ClockView("no_date", "", None, note=_("放假安排未公布"))
    if due < on:
        return ClockView("late", "bad", due, days=(on - due).days)
    if due == on:
        return ClockView("today", "warn", due, days=0)
    left = _left(calendar or queries.calendar(), on, due)
    return ClockView("left", "warn" if left is not None and left <= SOON else "", due, days=left)


def _left(calendar: WorkCalendar, today: date, due: date) -> int | None:
    """Working days from today, itself included, to the due date."""
    after = calendar.working_days_between(today, due)
    if after is None:
        return None
    try:
        return after + (1 if calendar.is_working_day(today) else 0)
    except CalendarNotPublished:
        return after


def clause_of(clock: Clock) -> str:
    """What prescribes the term, in the reader's language; as it was kept where its rule set is gone."""
    if not is_english():
        return clock.clause
    try:
        return ruleset(clock.rule_set).clock(clock.key).clause_en or clock.clause
    except (RuleSetUnknown, ClockNotRegulated):
        return clock.clause


def urgency(clock: Clock | None) -> tuple[int, date]:
    """Sort key of a desk: dated things first by their date, then what has no date."""
    if clock is None or clock.due_on is None or clock.state != ClockState.RUNNING:
        return (1, date.max)
    return (0, clock.due_on)
