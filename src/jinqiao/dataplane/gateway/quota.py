"""What was used of the quotas of a day, by application and service.

The numbers live in memory while the gateway runs. At start they are counted from the evidence of the day: it is durable before
any answer leaves, so it knows of every answered call, and there is no second file that could say something else.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Self

import orjson
from msgspec import Struct

from jinqiao.dataplane.evidence.log import connect_read_only, lanes
from jinqiao.dataplane.gateway.errors import RowsOfTodayUsed
from jinqiao.dataplane.gateway.snapshot import PolicyView
from jinqiao.kernel.contracts.policy import Operation, ServicePolicy
from jinqiao.kernel.moments import CHINA

_NEWEST_FIRST = "SELECT bodies FROM batch WHERE lane = ? AND bodies IS NOT NULL ORDER BY batch DESC"
Answered = tuple[str, str, str, str]  # lane, environment, service, application
_OUT_OF_ORDER = timedelta(minutes=5)  # a slow call is recorded after younger ones
_DAY = timedelta(days=1)
_COUNTED = frozenset(Operation)


class Use(Struct, gc=False):
    """`wait_s` until the next call is within the rate (0: it is already); `calls` and `rows` of today, by the application."""

    wait_s: float = 0.0
    calls: int = 0
    rows: int = 0


class Used:
    """Calls and rows of a day so far; those who count hold it while they do."""

    __slots__ = ("calls", "rows")

    def __init__(self) -> None:
        self.calls = 0
        self.rows = 0


def day_ends_in_s(at: datetime) -> int:
    """Seconds until the next local day; `at` is local time."""
    ends = datetime.combine(at.date() + timedelta(days=1), time_of_day(), tzinfo=at.tzinfo)
    return max(1, int((ends - at).total_seconds()))


class DayQuota:
    """Calls and rows of the current local day. Belongs to the event loop. Times are local."""

    def __init__(self) -> None:
        self._day: date | None = None
        self._used: dict[tuple[str, str, str], Used] = {}

    def add(self, environment: str, service: str, application: str, keys: int, rows: int, at: datetime) -> None:
        """What another process of this gateway has answered."""
        used = self.used(environment, service, application, at)
        used.calls += keys
        used.rows += rows

    def load(self, path: Path, services: Iterable[str], at: datetime) -> dict[Answered, tuple[int, int]]:
        """Count from the evidence log what was answered on this local day by services that have a quota: calls and rows by lane."""
        self._day, self._used = at.date(), {}
        by_lane: dict[Answered, tuple[int, int]] = {}
        marks = tuple(f'"service":{json.dumps(name)}' for name in services)
        begins = datetime.combine(at.date(), time_of_day(), tzinfo=CHINA).astimezone(UTC)
        for lane, line in _lines_since(path, begins) if marks else ():
            if not any(mark in line for mark in marks):
                continue
            record = orjson.loads(line)
            if record["outcome"] != "ok" or record["operation"] not in _COUNTED:
                continue
            if datetime.fromisoformat(record["at"]) < begins:
                continue
            names = record["environment"], record["service"], record["application"]
            used = self._used.setdefault(names, Used())
            used.calls += record["keys"]
            used.rows += record["rows"]
            calls, rows = by_lane.get((lane, *names), (0, 0))
            by_lane[lane, *names] = (calls + record["keys"], rows + record["rows"])
        return by_lane

    def used(self, environment: str, service: str, application: str, at: datetime) -> Used:
        day = at.date()
        if (
            day != self._day and day + _DAY != self._day
        ):  # a call that began before midnight ends no day that has begun since
            self._day, self._used = day, {}
        key = (environment, service, application)
        used = self._used.get(key)
        if used is None:
            used = self._used[key] = Used()
        return used


class Taken:
    """A call of so many look-ups that is being answered: counted while it runs (a context); one that fails is given back."""

    __slots__ = ("_at", "_keys", "_rows", "_used", "service")

    def __init__(self, used: Used, service: ServicePolicy, keys: int, at: datetime) -> None:
        self._used, self.service, self._keys, self._rows, self._at = used, service, keys, 0, at

    def __enter__(self) -> Self:
        self._used.calls += self._keys
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, _: object) -> None:
        if kind is not None:
            self._used.calls -= self._keys

    def rows(self, count: int) -> None:
        """Take the rows of the answer. Raises RowsOfTodayUsed where others took them meanwhile: then nothing is answered."""
        limit = self.service.rows_per_day
        if limit is not None and self._used.rows + count > limit:
            raise RowsOfTodayUsed(limit=limit, retry_after=day_ends_in_s(self._at))
        self._used.rows += count
        self._rows = count

    def give_back(self) -> None:
        """Its answer does not leave after all."""
        self._used.calls -= self._keys
        self._used.rows -= self._rows


def _lines_since(path: Path, begins: datetime) -> Iterator[tuple[str, str]]:
    """Lanes and records of the batches that may hold some of `begins` or later, newest batch first. Nothing where there is no log yet."""
    try:
        db = connect_read_only(path)
    except sqlite3.OperationalError:
        return
    with closing(db):
        for lane in lanes(db):
            for (bodies,) in db.execute(_NEWEST_FIRST, (lane,)):
                lines = bodies.split("\n")
                yield from ((lane, line) for line in lines)
                if datetime.fromisoformat(orjson.loads(lines[0])["at"]) < begins - _OUT_OF_ORDER:
                    break


def has_day_quota(service: ServicePolicy) -> bool:
    return service.calls_per_day is not None or service.rows_per_day is not None


def limited(view: PolicyView) -> list[str]:
    """Services of a policy that have a quota of the day."""
    return [name for name, service in view.services.items() if has_day_quota(service)]
