"""When a task runs: `""` (by hand), `hourly`, `daily HH:MM`, `weekly D HH:MM` (1 = Monday), `monthly DD HH:MM`; times of China."""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from jinqiao.exchange.errors import ScheduleBroken
from jinqiao.kernel.moments import CHINA

_FORM = re.compile(
    r"^(?:(hourly)|daily (\d{2}):(\d{2})|weekly ([1-7]) (\d{2}):(\d{2})|monthly (\d{2}) (\d{2}):(\d{2}))$"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed plan. `day` is the weekday (1 to 7) or the day of the month (1 to 31)."""

    kind: str
    at: time = time()
    day: int = 0

    @classmethod
    def parse(cls, text: str) -> "Schedule | None":
        """None for the empty plan. Raises ScheduleBroken."""
        if not text.strip():
            return None
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
