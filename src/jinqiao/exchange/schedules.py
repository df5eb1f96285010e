"""When a task runs: `""` (by hand), `hourly`, `daily HH:MM`, `weekly D HH:MM` (1 = Monday), `monthly DD HH:MM`, or `cron` and five
fields (minute, hour, day of the month, month, weekday with 0 and 7 = Sunday); times of China."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from cronsim import CronSim, CronSimError

from jinqiao.exchange.errors import CronBroken, CronNever, ScheduleBroken
from jinqiao.kernel import moments
from jinqiao.kernel.moments import CHINA

_FORM = re.compile(
    r"^(?:(hourly)|daily (\d{2}):(\d{2})|weekly ([1-7]) (\d{2}):(\d{2})|monthly (\d{2}) (\d{2}):(\d{2}))$"
)


_CRON_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_LONGEST = {"hourly": timedelta(hours=2), "daily": timedelta(days=2), "weekly": timedelta(days=8)}


def _cron(expression: str, moment: datetime, *, reverse: bool = False) -> datetime:
    """The next (or last) time of a cron expression. Raises CronBroken, which names the field, ScheduleBroken, CronNever."""
    if len(expression.split()) != len(_CRON_FIELDS):
        raise ScheduleBroken(schedule=f"cron {expression}")
    try:
        return next(CronSim(expression, moment.astimezone(CHINA), reverse=reverse))
    except CronSimError as problem:
        named = [number for number, name in enumerate(_CRON_FIELDS, start=1) if str(problem).endswith(name)]
        raise CronBroken(schedule=f"cron {expression}", field=named[0] if named else 0) from problem
    except StopIteration as problem:
        raise CronNever(schedule=f"cron {expression}") from problem


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed plan. `day` is the weekday (1 to 7) or the day of the month (1 to 31); `expression` the five fields of cron."""

    kind: str
    at: time = time()
    day: int = 0
    expression: str = ""

    @classmethod
    def parse(cls, text: str) -> "Schedule | None":
        """None for the empty plan. Raises ScheduleBroken, CronBroken, CronNever."""
        if not text.strip():
            return None
        if text.split()[0].lower() == "cron":
            expression = " ".join(text.split()[1:])
            _cron(expression, moments.now())
            return cls("cron", expression=expression)
        found = _FORM.match(text.strip())
        if not found:
            raise ScheduleBroken(schedule=text)
        parts = found.groups()
        try:
            if parts[0]:
                return cls("hourly")
            if parts[1] is not None:
                return cls("daily", time(int(parts[1]), int(parts[2])))
            if parts[3] is not None:
                return cls("weekly", time(int(parts[4]), int(parts[5])), int(parts[3]))
            day = int(parts[6])
            if not 1 <= day <= 31:
                raise ScheduleBroken(schedule=text)
            return cls("monthly", time(int(parts[7]), int(parts[8])), day)
        except ValueError as problem:
            raise ScheduleBroken(schedule=text) from problem

    def next_after(self, moment: datetime) -> datetime:
        """The first time strictly after `moment`, aware. Day 31 of a shorter month is its last day.

        >>> from datetime import UTC
        >>> Schedule.parse("monthly 31 22:00").next_after(datetime(2026, 2, 1, tzinfo=UTC)).isoformat()
        '2026-02-28T22:00:00+08:00'
        """
        local = moment.astimezone(CHINA)
        if self.kind == "cron":
            return _cron(self.expression, local)
        if self.kind == "hourly":
            return local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        if self.kind == "monthly":
            year, month = local.year, local.month
            while True:
                day = min(self.day, monthrange(year, month)[1])
                candidate = datetime(year, month, day, self.at.hour, self.at.minute, tzinfo=CHINA)
                if candidate > local:
                    return candidate
                year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        candidate = local.replace(hour=self.at.hour, minute=self.at.minute, second=0, microsecond=0)
        if self.kind == "weekly":
            candidate += timedelta(days=(self.day - candidate.isoweekday()) % 7)
        if candidate <= local:
            candidate += timedelta(days=7 if self.kind == "weekly" else 1)
        return candidate

    def next_times(self, moment: datetime, count: int) -> list[datetime]:
        """The first `count` times after `moment`."""
        times: list[datetime] = []
        while len(times) < count:
            times.append(self.next_after(times[-1] if times else moment))
        return times

    def last_before(self, moment: datetime) -> datetime:
        """The last time at or before `moment`, aware."""
        if self.kind == "cron":
            return _cron(self.expression, moment.replace(microsecond=0) + timedelta(seconds=1), reverse=True)
        found = self.next_after(moment - _LONGEST.get(self.kind, timedelta(days=32)))
        while (later := self.next_after(found)) <= moment:
            found = later
        return found
