"""Protection of a source while it is read: rates, a pause by hand, hours of the day, the time that a statement may take.

    Throttle(plan)                      holds a reading to `rows_per_s` and `mb_per_s`, waits while `hold` says so, ends at `stop`
    timeout_of(plan, row_estimate)      seconds that the one statement of a reading may take, the waiting included
    open_now(windows, at)               may a source be read at this instant?
    seconds_until_open(windows, at)     how long until it may; 0 inside a window

A pause keeps the reading's snapshot open at the source, which costs it (old row versions are kept). So the pauses of one
reading last `ReadPlan.hold_limit_s` in all at most; then the reading ends with ReadingHeldTooLong, which may be tried again.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, never
from jinqiao.dataplane.errors import ReadingHeldTooLong, RunStopped, WindowNotValid
from jinqiao.kernel.contracts.exchange import Window
from jinqiao.kernel.moments import CHINA

MB = 1_000_000
OBJECT_ROWS = 8_000  # of a driver that gives every value as an object of Python: ten times what they need in Arrow
_STEP_S = 0.2  # how long a wait may go on before somebody is asked again
_FIRST_ROWS = 1_000  # read before the width of a row is known
_WIDE_ROW_BYTES = 4_096  # what a row is taken for where only bytes are limited and its width is not known
_UNKNOWN_S = 24 * 3600  # granted to a throttled reading of a table whose size no statistics tell
_HOUR = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


class Throttle:
    """Holds readings to a plan's rates. May be shared by the readers of one run: the rates hold for all of them together.

    Raises RunStopped when `plan.stop` says so, ReadingHeldTooLong when the pauses exceed `plan.hold_limit_s`.
    """

    def __init__(
        self,
        plan: ReadPlan,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._plan, self._clock, self._sleep = plan, clock, sleep
        self._lock = threading.Lock()
        self._rows = self._bytes = 0
        self._held_s = 0.0
        self._held_since: float | None = None
        self._began = clock()

    @property
    def batch_rows(self) -> int:
        """Batches small enough that the throttle works in steps of about a fifth of a second."""
        most = self._plan.batch_rows
        if self._plan.rows_per_s is not None:
            most = min(most, int(self._plan.rows_per_s * _STEP_S))
        if self._plan.mb_per_s is not None:
            if self._rows and self._bytes:
                most = min(most, int(self._plan.mb_per_s * MB * _STEP_S * self._rows / self._bytes))
            else:
                most = min(most, _FIRST_ROWS)
        return max(1, most)

    def took(self, batch: pa.RecordBatch) -> None:
        """Count a batch, by its rows and the bytes of its values."""
        self.passed(batch.num_rows, batch.nbytes if self._plan.mb_per_s is not None else 0)

    def passed(self, rows: int, size_bytes: int = 0) -> None:
        """Count `rows` of `size_bytes` and wait until both were allowed."""
        with self._lock:
            self._rows += rows
            self._bytes += size_bytes
            needed_s = self._needed_s()
        self._check()
        # what was held is not caught up on afterwards
        while (left := self._began + self._held_s + needed_s - self._clock()) > 0:
            self._sleep(min(left, _STEP_S))
            self._check()

    def _needed_s(self) -> float:
        by_rows = self._rows / self._plan.rows_per_s if self._plan.rows_per_s else 0.0
        by_bytes = self._bytes / (self._plan.mb_per_s * MB) if self._plan.mb_per_s else 0.0
        return max(by_rows, by_bytes)

    def _check(self) -> None:
        while True:
            if self._plan.stop():
                raise RunStopped()
            is_held = self._plan.hold()
            with self._lock:
                now = self._clock()
                if self._held_since is not None:  # readers side by side wait through the same pause
                    self._held_s += now - self._held_since
                self._held_since = now if is_held else None
                too_long = self._held_s > self._plan.hold_limit_s
            if not is_held:
                return
            if too_long:
                raise ReadingHeldTooLong(table=self._plan.table, seconds=self._plan.hold_limit_s)
            self._sleep(_STEP_S)


def timeout_of(plan: ReadPlan, row_estimate: int | None) -> int:
    """Seconds that the one statement of a reading may take: what the order allows, and what throttle and pauses take themselves."""
    paused = plan.hold_limit_s if plan.hold is not never else 0
    limited = plan.rows_per_s is not None or plan.mb_per_s is not None
    if limited and row_estimate is None:
        return plan.statement_timeout_s + paused + _UNKNOWN_S
    rows = row_estimate or 0
    by_rows = rows / plan.rows_per_s if plan.rows_per_s else 0.0
    by_bytes = rows * _WIDE_ROW_BYTES / (plan.mb_per_s * MB) if plan.mb_per_s else 0.0
    return int(plan.statement_timeout_s + paused + max(by_rows, by_bytes) * 1.5)


def open_now(windows: Iterable[Window], at: datetime) -> bool:
    """May a source with these windows be read at the instant `at` (aware)? Without windows always.

    A window holds from `since`, included, to `until`, excluded; equal ends are the whole day. Raises WindowNotValid.
    """
    given = tuple(windows)
    return not given or any(_is_inside(window, _minute(at)) for window in given)


def seconds_until_open(windows: Iterable[Window], at: datetime) -> float:
    """Seconds from the instant `at` (aware) until a window opens; 0 where one is open. Raises WindowNotValid."""
    given = tuple(windows)
    if open_now(given, at):
        return 0.0
    local = at.astimezone(CHINA)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    openings = []
    for window in given:
        opening = midnight + timedelta(minutes=_minutes_of(window.since))
        openings.append(opening if opening > local else opening + timedelta(days=1))
    return (min(openings) - local).total_seconds()


def _is_inside(window: Window, minute: int) -> bool:
    since, until = _minutes_of(window.since), _minutes_of(window.until)
    if since < until:
        return since <= minute < until
    return minute >= since or minute < until


def _minute(at: datetime) -> int:
    if at.tzinfo is None:
        raise ValueError("an instant needs its zone")
    local = at.astimezone(CHINA)
    return local.hour * 60 + local.minute


def _minutes_of(hour: str) -> int:
    if not _HOUR.fullmatch(hour):
        raise WindowNotValid(hour=hour)
    return int(hour[:2]) * 60 + int(hour[3:])
