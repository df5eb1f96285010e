"""What day and what instant it is, for the business of the platform.

The demo city, the tests and `--verify` live on a fixed date, so that clocks, calendars and printed documents come out the
same every time: the environment variable `JINQIAO_FIXED_DATE` (ISO date) shifts the calendar by whole days, the time of day
goes on. Signatures of calls never use this clock: they use real time (`real_time()`).

`JINQIAO_CLOCK_OFFSET_S` (seconds) makes this process see a machine whose clock is wrong by so much: for trying out what
nodes and platform do then.
"""

import os
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")
_FIXED = "JINQIAO_FIXED_DATE"
_WRONG_BY = "JINQIAO_CLOCK_OFFSET_S"


def _wrong_by_s() -> float:
    wrong_by = os.environ.get(_WRONG_BY)
    return float(wrong_by) if wrong_by else 0.0


def real_time() -> float:
    """Unix time as this machine's clock has it, right or wrong."""
    return time.time() + _wrong_by_s()


def _shift(real: datetime) -> timedelta:
    """By how much business time is away from the real time."""
    shift = timedelta(seconds=_wrong_by_s())
    fixed = os.environ.get(_FIXED)
    if fixed:
        shift += timedelta(days=(date.fromisoformat(fixed) - real.astimezone(CHINA).date()).days)
    return shift


def now() -> datetime:
    """The present instant, aware, in UTC; shifted by whole days where a fixed date is set."""
    real = datetime.now(UTC)
    return real + _shift(real)


class Clock:
    """`now` for who asks thousands of times a second: what the environment says is looked up once a second."""

    LOOK_EVERY_S = 1.0

    def __init__(self) -> None:
        self._shift = timedelta()
        self._look_at = 0.0

    def now(self, ticks_s: float) -> datetime:
        """The present instant as `now` gives it. `ticks_s` is `time.perf_counter` of this moment."""
        real = datetime.now(UTC)
        if ticks_s >= self._look_at:
            self._shift, self._look_at = _shift(real), ticks_s + self.LOOK_EVERY_S
        return real + self._shift


def today() -> date:
    """The local date in China."""
    return now().astimezone(CHINA).date()
