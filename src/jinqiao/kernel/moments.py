"""What day and what instant it is, for the business of the platform.

The demo city, the tests and `--verify` live on a fixed date, so that clocks, calendars and printed documents come out the
same every time: the environment variable `JINQIAO_FIXED_DATE` (ISO date) shifts the calendar by whole days, the time of day
goes on. Signatures of calls never use this clock: they use real time (`time.time()`).
"""

import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")
_FIXED = "JINQIAO_FIXED_DATE"


def now() -> datetime:
    """The present instant, aware, in UTC; shifted by whole days where a fixed date is set."""
    real = datetime.now(UTC)
    fixed = os.environ.get(_FIXED)
    if not fixed:
        return real
    return real + timedelta(days=(date.fromisoformat(fixed) - real.astimezone(CHINA).date()).days)


def today() -> date:
    """The local date in China."""
    return now().astimezone(CHINA).date()
