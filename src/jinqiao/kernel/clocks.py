"""Working days: weekends, days off and make-up days (调休) as the State Council's yearly notice sets them.

A calendar knows the years whose notice is published. What would run beyond them has no date: `due_on` is None (期限未定)
and nothing is guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from chinese_calendar import constants

from jinqiao.kernel.errors import InvalidInput

_DAY = timedelta(days=1)


class CalendarNotPublished(InvalidInput):
    """The holiday notice of that year is not entered yet."""

    code = "clock.calendar.not_published"


class WorkCalendar:
    """`off`: days off that fall on weekdays; `work`: make-up working days at weekends; further days do no harm."""

    def __init__(self, years: Iterable[int], off: Iterable[date], work: Iterable[date]) -> None:
        self.years = frozenset(years)
        self._off = frozenset(off)
        self._work = frozenset(work)
        both = self._off & self._work
        if both:
            raise ValueError(f"off and working on the same day: {min(both)}")

    def is_working_day(self, day: date) -> bool:
        """Raises CalendarNotPublished."""
        if day.year not in self.years:
            raise CalendarNotPublished(year=day.year)
        return day in self._work or (day.weekday() < 5 and day not in self._off)

    def due_on(self, start: date, working_days: int) -> date | None:
        """The last day that is still in time: counting begins on the day after `start`. None where it cannot be known.

        Raises ValueError for fewer than one working day.
        """
        if working_days < 1:
            raise ValueError(f"a clock runs for one working day at least, not {working_days}")
        day, left = start, working_days
        while left:
            day += _DAY
            if day.year not in self.years:
                return None
            left -= self.is_working_day(day)
        return day

    def working_days_between(self, a: date, b: date) -> int | None:
        """Working days after `a` up to and including `b`; negative where `b` is before `a`. None where it cannot be known."""
        if b < a:
            count = self.working_days_between(b, a)
            return None if count is None else -count
        if any(year not in self.years for year in range((a + _DAY).year, b.year + 1)):
            return None if a != b else 0
        return sum(self.is_working_day(a + _DAY * offset) for offset in range(1, (b - a).days + 1))

    def working_days_left(self, today: date, due: date) -> int | None:
        """Working days that remain after `today`: 0 on the last day, negative when overdue. None where it cannot be known."""
        return self.working_days_between(today, due)


@dataclass(frozen=True, slots=True)
class PublishedDay:
    """A day that differs from the plain week: `off` on a weekday, or `work` at a weekend."""

    on: date
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class PublishedYear:
    year: int
    days: tuple[PublishedDay, ...]


@cache
def published_years() -> tuple[PublishedYear, ...]:
    """Every year whose notice the package `chinesecalendar` holds: the seed of the platform's own calendar."""
    names = {holiday.value: holiday.chinese for holiday in constants.Holiday}
    days = [
        *(PublishedDay(on, "off", names[name]) for on, name in constants.holidays.items() if on.weekday() < 5),
        *(PublishedDay(on, "work", names[name]) for on, name in constants.workdays.items() if on.weekday() >= 5),
    ]
    years = sorted({on.year for on in constants.holidays})
    return tuple(
        PublishedYear(year, tuple(sorted((day for day in days if day.on.year == year), key=lambda day: day.on)))
        for year in years
    )


def published_calendar() -> WorkCalendar:
    """The calendar of `published_years`, for processes that have no database."""
    days = [day for year in published_years() for day in year.days]
    return WorkCalendar(
        (year.year for year in published_years()),
        (day.on for day in days if day.kind == "off"),
        (day.on for day in days if day.kind == "work"),
    )
