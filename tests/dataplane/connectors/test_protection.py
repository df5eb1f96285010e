"""A source is spared: rates of rows and bytes, pauses, hours of the day. Time is given by hand here, nothing waits."""

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import ReadPlan, open_source
from jinqiao.dataplane.connectors.protection import Throttle, open_now, seconds_until_open, timeout_of
from jinqiao.dataplane.connectors.sqlite import SqliteSource
from jinqiao.dataplane.errors import ReadingHeldTooLong, RunStopped, WindowNotValid
from jinqiao.kernel.contracts.exchange import Window
from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.moments import CHINA
from tests.servers import Server


class Time:
    """A clock that goes on only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def throttle(self, **plan: object) -> Throttle:
        given = {"table": "people", "columns": ("id",), **plan}
        return Throttle(ReadPlan(**given), clock=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]


def after(calls: int, answer: bool) -> Callable[[], bool]:
    """Says the opposite of `answer` for so many calls, then `answer`."""
    left = iter(range(calls))

    def say() -> bool:
        return not answer if next(left, None) is not None else answer

    return say


def test_rows_pass_at_their_rate() -> None:
    time = Time()
    throttle = time.throttle(rows_per_s=500)

    for _ in range(10):
        throttle.passed(100)

    assert time.now == pytest.approx(1002)
    assert throttle.batch_rows == 100


def test_bytes_pass_at_their_rate_and_the_slower_limit_decides() -> None:
    time = Time()
    batch = pa.RecordBatch.from_pydict({"id": pa.array(range(25_000), pa.int64())})  # 200,000 bytes
    throttle = time.throttle(mb_per_s=0.1, rows_per_s=100_000)

    assert throttle.batch_rows == 1_000
    throttle.took(batch)

    assert time.now == pytest.approx(1002)
    assert throttle.batch_rows == 2_500  # a fifth of a second of rows as wide as those seen


def test_a_slice_counts_only_its_own_bytes() -> None:
    time = Time()
    batch = pa.RecordBatch.from_pydict({"id": pa.array(range(25_000), pa.int64())})
    throttle = time.throttle(mb_per_s=0.1)

    for start in range(0, 25_000, 5_000):
        throttle.took(batch.slice(start, 5_000))

    assert time.now == pytest.approx(1002, abs=0.05)


def test_without_limits_nothing_waits() -> None:
    time = Time()

    time.throttle().passed(10**9, 10**12)

    assert time.now == 1000


def test_a_reading_waits_while_it_is_held_and_goes_on() -> None:
    time = Time()
    throttle = time.throttle(hold=after(50, answer=False))

    throttle.passed(1)

    assert time.now == pytest.approx(1010)


def test_what_was_held_is_not_caught_up_on_afterwards() -> None:
    time = Time()
    throttle = time.throttle(rows_per_s=100, hold=after(51, answer=False))

    throttle.passed(100)
    paused_until = time.now
    throttle.passed(100)

    assert paused_until == pytest.approx(1011, abs=0.3)
    assert time.now == pytest.approx(1012, abs=0.3)


def test_readers_side_by_side_wait_through_one_pause() -> None:
    ends = threading.Event()
    begun = threading.Barrier(3)
    plan = ReadPlan(table="people", columns=("id",), hold=lambda: not ends.is_set(), hold_limit_s=3600)
    throttle = Throttle(plan)
    seen: list[bool] = []

    def read() -> None:
        begun.wait()
        throttle.passed(10)
        seen.append(ends.is_set())

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    ends.set()
    for thread in threads:
        thread.join()

    assert seen == [True, True]


def test_pauses_end_a_reading_when_they_add_up_to_too_much() -> None:
    time = Time()
    held = iter([True] * 20 + [False] + [True] * 100)
    throttle = time.throttle(hold=lambda: next(held), hold_limit_s=10)

    throttle.passed(1)
    with pytest.raises(ReadingHeldTooLong) as caught:
        throttle.passed(1)

    assert caught.value.retryable
    assert time.now == pytest.approx(1010, abs=0.5)


def test_a_reading_stops_when_told_also_while_it_waits_or_is_held() -> None:
    for plan in ({"rows_per_s": 1}, {"hold": lambda: True}):
        with pytest.raises(RunStopped):
            Time().throttle(stop=after(5, answer=True), **plan).passed(1000)


def test_the_statement_may_take_what_throttle_and_pauses_take() -> None:
    def seconds(estimate: int | None, **plan: object) -> int:
        return timeout_of(ReadPlan(table="t", columns=("id",), statement_timeout_s=60, **plan), estimate)  # type: ignore[arg-type]

    assert seconds(10**6) == 60
    assert seconds(1000, rows_per_s=10) == 60 + 150
    assert seconds(10**6, mb_per_s=1) >= 60 + 4096
    assert seconds(None, rows_per_s=10) > 24 * 3600
    assert seconds(0, hold=lambda: True, hold_limit_s=100) == 160


NIGHT = Window(since="22:30", until="06:00")
NOON = Window(since="12:00", until="13:00")


def china(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 3, 2, hour, minute, second, tzinfo=CHINA)


@pytest.mark.parametrize(
    ("at", "is_open", "wait_s"),
    [
        (china(22, 30), True, 0), (china(23, 59), True, 0), (china(0), True, 0), (china(5, 59, 59), True, 0),
        (china(6), False, 6 * 3600), (china(12), True, 0), (china(12, 59), True, 0), (china(13), False, 9.5 * 3600),
        (china(22, 29, 30), False, 30),
    ],
)  # fmt: skip
def test_windows_are_hours_in_china_and_may_span_midnight(at: datetime, is_open: bool, wait_s: float) -> None:
    for instant in (at, at.astimezone(UTC)):
        assert open_now((NIGHT, NOON), instant) is is_open
        assert seconds_until_open((NIGHT, NOON), instant) == wait_s


def test_without_windows_a_source_is_always_open_and_equal_ends_are_the_whole_day() -> None:
    assert open_now((), china(3))
    assert open_now((Window(since="08:00", until="08:00"),), china(3))


@pytest.mark.parametrize("hour", ["24:00", "7:00", "", "07:60", "0700", "07:00\n", "７：００"])
def test_an_hour_that_is_none_is_refused(hour: str) -> None:
    with pytest.raises(WindowNotValid):
        open_now((Window(since=hour, until="08:00"),), china(3))


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        open_now((NIGHT,), datetime(2026, 3, 2))  # noqa: DTZ001


MINUTES = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")


@given(st.lists(st.builds(Window, since=MINUTES, until=MINUTES), max_size=4), st.integers(0, 86_399))
def test_after_the_wait_a_window_is_open_and_not_before(windows: list[Window], second: int) -> None:
    at = china(0) + timedelta(seconds=second)

    wait_s = seconds_until_open(windows, at)

    assert open_now(windows, at + timedelta(seconds=wait_s))
    assert 0 <= wait_s <= 86_400
    if wait_s:
        assert not open_now(windows, at + timedelta(seconds=wait_s - 1))
        assert not open_now(windows, at)


# --- a source is only ever read ---------------------------------------------------------------------------------------


def make_trap(server: Server) -> tuple[str, str]:
    """A table, and a view over a function that deletes its rows while it is read."""
    table, view = f"t_{uuid.uuid4().hex[:8]}", f"v_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE TABLE {table} (id integer)", f"INSERT INTO {table} VALUES (1)")
    if server.engine is Engine.POSTGRESQL:
        body = f"$$ BEGIN DELETE FROM {table}; RETURN 1; END $$ LANGUAGE plpgsql"
        server.execute(f"CREATE FUNCTION f_{table}() RETURNS integer AS {body}")
    else:
        server.execute(f"CREATE FUNCTION f_{table}() RETURNS integer BEGIN DELETE FROM {table}; RETURN 1; END")
    server.execute(f"CREATE VIEW {view} AS SELECT f_{table}() AS id")
    return table, view


@pytest.mark.servers
@pytest.mark.parametrize("name", ["postgresql_server", "mariadb_server"])
@pytest.mark.parametrize("is_snapshot", [False, True])
def test_a_write_through_a_reading_is_refused_by_the_server(
    name: str, is_snapshot: bool, request: pytest.FixtureRequest
) -> None:
    server: Server = request.getfixturevalue(name)
    table, view = make_trap(server)
    plan = ReadPlan(table=view, columns=("id",))

    with open_source(server.connection(), server.password) as source, pytest.raises(JinqiaoError):
        if is_snapshot:
            with source.open_snapshot(plan, parallel=2) as snapshot, snapshot.reader() as reader:
                for split in snapshot.state.splits:
                    list(reader.read(split))
        else:
            list(source.read(plan))
    assert server.fetch(f"SELECT count(*) FROM {table}") == [(1,)]
    server.fetch(f"SELECT * FROM {view}")  # and the trap works where it is not read only
    assert server.fetch(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_write_through_a_sqlite_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "city.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE people (id INTEGER)")
    source = SqliteSource(Connection(engine=Engine.SQLITE, database=str(path)))

    with contextlib.closing(source.connect()) as opened, pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.execute("INSERT INTO people VALUES (1)")
