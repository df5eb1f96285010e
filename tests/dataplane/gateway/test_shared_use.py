"""What one home counts the others hear once, whatever starts again, is killed, or loses the table, in a real PostgreSQL."""

import asyncio
import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.gateway.quota import Answered
from jinqiao.dataplane.gateway.shared_use import TABLE, SharedUse
from jinqiao.kernel import moments
from tests import servers

pytestmark = pytest.mark.servers
URL_OF_NOBODY = "postgresql://gateway:geheim-5@127.0.0.1:9/claims"  # port 9: discard
RUNNING: list["Process"] = []  # of one test
USED = ("production", "marriage", "app-housing")


@pytest.fixture
def database(postgresql_server: servers.Server) -> Iterator[servers.Server]:
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")
    yield postgresql_server
    while RUNNING:
        RUNNING.pop().kill()
    postgresql_server.execute(f"DROP TABLE IF EXISTS {TABLE}")


@dataclasses.dataclass
class Process:
    """What a process of a home does with its shared use; `evidence` outlives it."""

    url: str
    replica: str
    number: int = 1
    is_alone: bool = True
    gateway: str = "gw-1"
    evidence: dict[Answered, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lane = f"{self.replica}-{self.number}" if self.replica else str(self.number)
        RUNNING.append(self)
        self.start()

    def start(self) -> None:
        """Begin as a process does: with an empty minute, and with what the evidence of the whole home says of the day."""
        self.minute: Counter[str] = Counter()
        self.day: Counter[str] = Counter()
        for calls, rows in self.evidence.values():
            self.day["calls"] += calls
            self.day["rows"] += rows
        self.shared = SharedUse(
            self.url, self.gateway, self.replica, self.lane, is_alone=self.is_alone, rate=self._rate, use=self._use
        )
        self.shared.begin(self.evidence, moments.today())

    def kill(self) -> None:
        """Without a last word."""
        self.shared._disconnect()

    def restart(self) -> None:
        self.kill()
        self.start()

    def answer(self, calls: int, rows: int) -> None:
        self.shared.counted("marriage", calls)
        self.minute["marriage"] += calls
        before = self.evidence.get((self.lane, *USED), (0, 0))
        self.evidence[self.lane, *USED] = (before[0] + calls, before[1] + rows)
        self.shared.used(*USED, calls, rows)
        self._use(*USED, calls, rows)

    def exchange(self) -> None:
        self.shared.hear(self.shared.exchange())

    @property
    def total(self) -> tuple[int, int]:
        return self.day["calls"], self.day["rows"]

    def _rate(self, metered: str, keys: int) -> None:
        self.minute[metered] += keys

    def _use(self, environment: str, service: str, application: str, keys: int, rows: int) -> None:
        assert (environment, service, application) == USED
        self.day["calls"] += keys
        self.day["rows"] += rows


def all_exchange(*processes: Process) -> None:
    for _ in range(2):
        for process in processes:
            process.exchange()


def rows_of(database: servers.Server) -> list[tuple[Any, ...]]:
    return sorted(database.fetch(f"SELECT lane, kind, service, application, calls, answered FROM {TABLE}"))


def test_what_one_counts_the_others_hear_once_and_those_of_another_gateway_do_not(database: servers.Server) -> None:
    first, second = Process(database.url, ""), Process(database.url, "b")
    stranger = Process(database.url, "c", gateway="gw-2")
    all_exchange(first, second, stranger)
    first.answer(3, 7)
    second.answer(1, 0)
    for _ in range(3):
        all_exchange(first, second, stranger)
    assert (first.total, second.total, stranger.total) == ((4, 7), (4, 7), (0, 0))
    assert (first.minute, second.minute, stranger.minute) == ({"marriage": 4}, {"marriage": 4}, {})
    assert rows_of(database) == [
        ("1", "production", "marriage", "app-housing", 3, 7),
        ("1", "rate", "marriage", "", 3, 0),
        ("b-1", "production", "marriage", "app-housing", 1, 0),
        ("b-1", "rate", "marriage", "", 1, 0),
    ]


def test_who_starts_knows_what_the_others_used_today_and_begins_a_new_minute(database: servers.Server) -> None:
    first = Process(database.url, "")
    first.answer(5, 50)
    first.exchange()
    late = Process(database.url, "b")
    late.exchange()
    assert (late.total, late.minute) == ((5, 50), {})
    first.answer(2, 1)
    all_exchange(first, late)
    assert (late.total, late.minute) == ((7, 51), {"marriage": 2})


def test_what_was_answered_and_not_told_before_a_kill_is_told_at_the_next_start(database: servers.Server) -> None:
    first, second = Process(database.url, ""), Process(database.url, "b")
    all_exchange(first, second)
    first.answer(4, 4)
    all_exchange(first, second)
    first.answer(10, 20)
    first.restart()
    assert first.total == (14, 24)
    all_exchange(first, second)
    assert (first.total, second.total) == ((14, 24), (14, 24))
    first.answer(1, 1)
    all_exchange(first, second)
    assert (first.total, second.total) == ((15, 25), (15, 25))
    assert second.minute["marriage"] == 5  # of a minute, what a killed process did not tell is lost with it


def test_a_home_whose_evidence_is_lost_goes_on_from_what_it_told(database: servers.Server) -> None:
    first, second = Process(database.url, ""), Process(database.url, "b")
    first.answer(4, 9)
    all_exchange(first, second)
    first.evidence.clear()
    first.restart()
    assert first.total == (0, 0)
    all_exchange(first, second)
    first.answer(1, 1)
    all_exchange(first, second)
    assert (first.total, second.total) == ((5, 10), (5, 10))


def test_workers_of_a_home_tell_for_their_own_lanes_and_hear_other_homes_only(database: servers.Server) -> None:
    evidence: dict[Answered, tuple[int, int]] = {}
    workers = [Process(database.url, "b", number, is_alone=False, evidence=evidence) for number in (1, 2)]
    other = Process(database.url, "")
    all_exchange(*workers, other)
    for worker in workers:
        worker.answer(2, 3)
    all_exchange(*workers, other)
    assert [worker.total for worker in (*workers, other)] == [(2, 3), (2, 3), (4, 6)]
    workers[1].kill()
    workers[0].restart()  # its evidence knows of both
    all_exchange(workers[0], other)
    assert (workers[0].total, other.total) == ((4, 6), (4, 6))
    workers[0].kill()
    alone = Process(database.url, "b", evidence=evidence)
    alone.answer(1, 1)
    all_exchange(alone, other)
    assert (alone.total, other.total) == ((5, 7), (5, 7))


def test_a_table_that_is_dropped_is_made_anew_with_everything_of_the_day(database: servers.Server) -> None:
    first, second = Process(database.url, ""), Process(database.url, "b")
    all_exchange(first, second)
    first.answer(4, 9)
    all_exchange(first, second)
    database.execute(f"DROP TABLE {TABLE}")
    first.answer(1, 1)
    all_exchange(first, second)
    late = Process(database.url, "c")
    all_exchange(first, second, late)
    assert {process.total for process in (first, second, late)} == {(5, 10)}
    assert first.minute == second.minute == {"marriage": 5}


def test_a_table_that_lost_its_last_moments_is_told_them_again(database: servers.Server) -> None:
    """As after a failover to a standby that lagged: connections are cut, and rows are older than they were."""
    first, second = Process(database.url, ""), Process(database.url, "b")
    first.answer(4, 9)
    all_exchange(first, second)
    database.execute(f"UPDATE {TABLE} SET calls = 1, answered = 0")
    database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jinqiao gateway'"
    )
    first.answer(1, 1)
    for _ in range(3):
        all_exchange(first, second)
    assert (first.total, second.total) == ((5, 10), (5, 10))
    late = Process(database.url, "c")
    all_exchange(late)
    assert late.total == (5, 10)


def test_a_day_that_is_over_counts_no_more_and_the_next_one_is_known_when_it_begins_here(
    database: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = moments.today()
    days = {"": today, "b": today}
    first, second = Process(database.url, ""), Process(database.url, "b")

    def exchange_in_turns() -> None:
        for process in (first, second, first, second):
            monkeypatch.setattr(moments, "today", lambda day=days[process.replica]: day)
            process.exchange()

    exchange_in_turns()
    first.answer(4, 9)
    exchange_in_turns()
    days[""] += timedelta(days=1)  # the clock of its machine is ahead
    first.evidence.clear()
    exchange_in_turns()
    first.answer(2, 3)
    exchange_in_turns()
    assert (second.total, second.minute) == ((4, 9), {"marriage": 6})  # a minute knows no days
    second.day.clear()
    days["b"] += timedelta(days=1)
    exchange_in_turns()
    assert (second.total, second.minute) == ((2, 3), {"marriage": 6})
    for process in (first, second):
        assert {counter.day for counter in process.shared._totals} <= {today + timedelta(days=1)}
    for _ in range(2):
        days[""] += timedelta(days=1)
        days["b"] += timedelta(days=1)
        exchange_in_turns()
    assert (second.total, second.minute) == ((2, 3), {"marriage": 6})
    assert not second.shared._given


def test_rows_of_days_that_are_over_are_swept(database: servers.Server) -> None:
    first = Process(database.url, "")
    first.answer(1, 1)
    first.exchange()
    for name, hours in (("old", 31), ("yesterday", 20)):
        database.execute(
            f"INSERT INTO {TABLE} VALUES ('gw-9', '', '1', '{date(2026, 1, 1)}', 'rate', '{name}', '', 1, 0,"
            f" now() - interval '{hours} hours')"
        )
    first.restart()
    first.exchange()
    assert {service for _, _, service, *_ in rows_of(database)} == {"marriage", "yesterday"}


def test_a_database_that_is_away_is_said_once_and_its_return_too_and_what_it_missed_is_told(
    database: servers.Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = Process(URL_OF_NOBODY, ""), Process(database.url, "b")
    first.answer(2, 2)
    for _ in range(3):
        all_exchange(first, second)
    assert (first.shared.is_shared, second.shared.is_shared, second.total) == (False, True, (0, 0))
    assert caplog.text.count("rates and quotas cannot be shared") == 1
    assert "geheim" not in caplog.text
    first.shared._address = second.shared._address
    first.answer(1, 1)
    all_exchange(first, second)
    assert caplog.text.count("rates and quotas are shared") == 2
    # what was admitted while nothing could be claimed was not answered
    assert (second.total, second.minute) == ((3, 3), {"marriage": 1})


def test_who_did_not_reach_the_table_for_a_minute_begins_a_new_one(
    database: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Process(database.url, ""), Process(database.url, "b")
    all_exchange(first, second)
    first.answer(40, 4)
    first.exchange()
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    second.exchange()
    assert (second.total, second.minute) == ((40, 4), {})


def test_a_thread_tells_and_hears_by_itself_and_gives_the_last_word_when_it_ends(database: servers.Server) -> None:
    async def live() -> None:
        first, second = Process(database.url, ""), Process(database.url, "b")
        await first.shared.start()
        await second.shared.start()
        try:
            first.answer(3, 1)
            while second.total != (3, 1):
                await asyncio.sleep(0.01)
            assert second.minute == {"marriage": 3}
            await asyncio.to_thread(database.restart)
            second.answer(1, 1)
            while first.total != (4, 2):
                await asyncio.sleep(0.01)
            first.answer(5, 5)
            await asyncio.to_thread(first.shared.stop)
            while second.total != (9, 7):
                await asyncio.sleep(0.01)
        finally:
            await asyncio.to_thread(first.shared.stop)
            await asyncio.to_thread(second.shared.stop)
        assert not [thread for thread in threading.enumerate() if thread.name == "shared-use"]

    asyncio.run(asyncio.wait_for(live(), 60))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "answer", "exchange", "exchange", "restart", "cut", "drop"]),
        st.integers(0, 2),
        st.integers(0, 9),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_in_whatever_order_everybody_knows_the_exact_total_of_the_day(
    database: servers.Server, steps: list[tuple[str, int, int]]
) -> None:
    database.execute(f"DROP TABLE IF EXISTS {TABLE}")
    processes = [Process(database.url, name) for name in ("", "b", "c")]
    answered = [0, 0]
    for what, who, count in steps:
        process = processes[who]
        if what == "answer":
            process.answer(count, 2 * count)
            answered[0] += count
            answered[1] += 2 * count
        elif what == "exchange":
            process.exchange()
        elif what == "restart":
            process.restart()
        elif what == "cut":
            process.kill()  # its connection alone
        else:
            database.execute(f"DROP TABLE IF EXISTS {TABLE}")
        assert all(known <= total for known, total in zip(process.total, answered, strict=True))
    if any(what == "drop" for what, _, _ in steps):
        all_exchange(*processes)  # who meets a table that is gone makes one
        for process in processes:
            process.shared._whole_at = 0  # a minute later at the latest
    all_exchange(*processes)
    assert {process.total for process in processes} == {tuple(answered)}
    for process in processes:
        process.kill()
