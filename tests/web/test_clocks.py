"""How a clock reads on a given day."""

from datetime import date

import pytest

from jinqiao.kernel.clocks import published_calendar
from jinqiao.web.clocks import view_of
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock

TODAY = date(2026, 3, 18)
CALENDAR = published_calendar()


def reading(state, due_on, stopped_on=None):
    clock = Clock(state=state, due_on=due_on, stopped_on=stopped_on, started_on=date(2026, 3, 2), working_days=10)
    return view_of(clock, CALENDAR, TODAY)


@pytest.mark.parametrize(
    ("due_on", "kind", "tone", "days"),
    [
        (date(2026, 3, 30), "left", "", 9),
        (date(2026, 3, 23), "left", "", 4),
        (date(2026, 3, 20), "left", "warn", 3),
        (date(2026, 3, 19), "left", "warn", 2),
        (TODAY, "today", "warn", 0),
        (date(2026, 3, 16), "late", "bad", 2),
    ],
)
def test_a_running_clock_counts_working_days_with_today(due_on, kind, tone, days):
    view = reading(ClockState.RUNNING, due_on)

    assert (view.kind, view.tone, view.days) == (kind, tone, days)


def test_a_clock_without_a_date_says_so():
    assert reading(ClockState.RUNNING, None).kind == "no_date"


def test_a_paused_clock_is_not_late():
    assert reading(ClockState.PAUSED, date(2026, 3, 2)).kind == "paused"


def test_a_stopped_clock_remembers_whether_it_was_in_time():
    assert reading(ClockState.STOPPED, TODAY, TODAY).kind == "on_time"
    assert reading(ClockState.STOPPED, date(2026, 3, 10), TODAY).kind == "was_late"
    assert reading(ClockState.STOPPED, None, TODAY).kind == "closed"


def test_a_date_beyond_the_published_calendar_counts_no_days():
    view = reading(ClockState.RUNNING, date(2031, 1, 8))

    assert (view.kind, view.days) == ("left", None)
