import csv
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.kernel.clocks import CalendarNotPublished, WorkCalendar, published_calendar, published_years

CALENDAR = published_calendar()
days = st.dates(date(2007, 1, 1), date(2026, 11, 30))


def test_the_published_years_agree_with_the_notices(material: Path) -> None:
    with (material / "codes" / "cn_holidays_2007_2026.csv").open(encoding="utf-8") as file:
        notices = {date.fromisoformat(row["date"]): row["kind"] for row in csv.DictReader(file)}
    day, last, differences = date(2007, 1, 1), date(2026, 12, 31), []
    while day <= last:
        by_notice = notices.get(day, "off" if day.weekday() >= 5 else "work") == "work"
        if by_notice != CALENDAR.is_working_day(day):
            differences.append(day)
        day += timedelta(days=1)
    assert differences == []


def test_the_seed_holds_only_days_that_differ_from_the_plain_week() -> None:
    years = published_years()
    assert [year.year for year in years] == list(range(2004, years[-1].year + 1))
    for year in years:
        for day in year.days:
            assert (day.kind == "off") == (day.on.weekday() < 5)
            assert day.name


def test_a_make_up_day_at_a_weekend_counts() -> None:
    assert CALENDAR.is_working_day(date(2026, 10, 10))
    assert not CALENDAR.is_working_day(date(2026, 10, 11))
    assert CALENDAR.due_on(date(2026, 10, 9), 1) == date(2026, 10, 10)


def test_the_day_of_receipt_is_not_counted() -> None:
    assert CALENDAR.due_on(date(2026, 3, 18), 1) == date(2026, 3, 19)
    assert CALENDAR.due_on(date(2026, 3, 18), 10) == date(2026, 4, 1)


def test_a_clock_over_the_national_holiday_waits() -> None:
    assert CALENDAR.due_on(date(2026, 9, 30), 1) == date(2026, 10, 8)


def test_a_clock_into_an_unpublished_year_has_no_date() -> None:
    assert CALENDAR.due_on(date(2026, 12, 30), 1) == date(2026, 12, 31)
    assert CALENDAR.due_on(date(2026, 12, 31), 1) is None
    assert CALENDAR.due_on(date(2026, 12, 20), 20) is None
    assert CALENDAR.working_days_left(date(2026, 12, 30), date(2027, 1, 5)) is None
    with pytest.raises(CalendarNotPublished):
        CALENDAR.is_working_day(date(2027, 1, 4))


def test_entering_the_year_gives_the_date() -> None:
    longer = WorkCalendar({*CALENDAR.years, 2027}, {date(2027, 1, 1)}, ())
    assert longer.due_on(date(2026, 12, 31), 1) == date(2027, 1, 4)


def test_a_clock_of_no_days_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one working day"):
        CALENDAR.due_on(date(2026, 3, 18), 0)


def test_a_day_cannot_be_off_and_working() -> None:
    with pytest.raises(ValueError, match="same day"):
        WorkCalendar({2026}, [date(2026, 1, 1)], [date(2026, 1, 1)])


@given(days, st.integers(1, 20))
def test_the_days_left_at_the_start_are_those_of_the_clock(start: date, working_days: int) -> None:
    due = CALENDAR.due_on(start, working_days)
    if due is None:
        assert start > date(2026, 11, 1)
        return
    assert CALENDAR.is_working_day(due)
    assert CALENDAR.working_days_left(start, due) == working_days
    assert CALENDAR.working_days_left(due, due) == 0


@given(days, days, days)
def test_spans_add_up_and_turn_round(a: date, b: date, c: date) -> None:
    ab, bc, ac, ba = (CALENDAR.working_days_between(*pair) for pair in ((a, b), (b, c), (a, c), (b, a)))
    assert None not in (ab, bc, ba)
    assert ab is not None
    assert bc is not None
    assert ba is not None
    assert ab + bc == ac
    assert ab == -ba


@given(days)
def test_overdue_counts_below_nothing(start: date) -> None:
    due = CALENDAR.due_on(start, 3)
    if due is not None and (later := CALENDAR.due_on(due, 2)) is not None:
        assert CALENDAR.working_days_left(later, due) == -2
