"""Rows counted beside a merge: the number that a count after it gives, or no number."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from jinqiao.dataplane.connectors import open_target, postgresql_counting
from jinqiao.dataplane.connectors.postgresql_counting import CountBeside
from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget
from jinqiao.dataplane.connectors.sql_target import run_table
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, DriftChoice
from jinqiao.kernel.contracts.tables import Column, LogicalType
from tests.dataplane.connectors.batches import Batch, bring
from tests.servers import Server

pytestmark = pytest.mark.servers
COLUMNS = (
    Column(name="id", type=LogicalType.INTEGER, nullable=False, primary_key=True),
    Column(name="name", type=LogicalType.TEXT),
)
OLD = [(number, "旧") for number in range(1, 51)]
NEW = [(number, "新") for number in range(40, 71)]


def batch(rows: Any = NEW, deletes: Any = (), **changes: Any) -> Batch:
    given = {"mode": CopyMode.WATERMARK, "delivery": Delivery.UPSERT, **changes}
    return Batch(rows, deletes, chunk_rows=10, columns=COLUMNS, keys=("id",), **given)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Every table is large; what was counted beside a merge."""
    monkeypatch.setattr(postgresql_counting, "WORTH_BYTES", 0)
    found: list[int | None] = []
    rows = CountBeside.rows

    def noted(self: CountBeside) -> int | None:
        found.append(rows(self))
        return found[-1]

    monkeypatch.setattr(CountBeside, "rows", noted)
    return found


@pytest.fixture
def target(postgresql_server: Server) -> Iterator[PostgresqlTarget]:
    with open_target(postgresql_server.connection(), postgresql_server.password) as opened:
        assert isinstance(opened, PostgresqlTarget)
        yield opened
    postgresql_server.execute("DROP TABLE IF EXISTS counted, other CASCADE")


@pytest.mark.parametrize(
    ("given", "before", "shown"),
    [
        (batch(), 50, 70),
        (batch(delivery=Delivery.APPEND), 50, 81),
        (batch(deletes=[(1,), (2,), (99,)], mode=CopyMode.DIFF, delivery=Delivery.MIRROR), 50, 68),
    ],
    ids=["upsert", "append", "diff"],
)
def test_what_was_there_more_what_came_less_what_went_is_what_is_there(
    postgresql_server: Server,
    target: PostgresqlTarget,
    counted: list[int | None],
    given: Batch,
    before: int,
    shown: int,
) -> None:
    first = batch(OLD, mode=CopyMode.FULL, delivery=given.delivery)
    bring(target, first.plan("counted"), first)
    counted.clear()

    counts = bring(target, given.plan("counted"), given)

    assert counted == [before]
    assert counts.target_rows == shown
    assert postgresql_server.fetch("SELECT count(*) FROM counted") == [(shown,)]


def test_of_a_history_the_versions_that_are_valid_are_counted(
    postgresql_server: Server, target: PostgresqlTarget, counted: list[int | None]
) -> None:
    first = batch(OLD, mode=CopyMode.FULL, delivery=Delivery.HISTORY)
    bring(target, first.plan("counted"), first)
    counted.clear()
    given = batch(deletes=[(1,), (99,)], mode=CopyMode.DIFF, delivery=Delivery.HISTORY, at=first.at.replace(year=2027))

    counts = bring(target, given.plan("counted"), given)

    assert counted == [50]
    assert counts.target_rows == 69
    assert postgresql_server.fetch("SELECT count(*) FROM counted WHERE valid_to IS NULL") == [(69,)]
    assert postgresql_server.fetch("SELECT count(*) FROM counted") == [(81,)]


@pytest.mark.parametrize(
    "special",
    [
        "CREATE RULE more AS ON INSERT TO counted DO ALSO INSERT INTO other VALUES (1)",
        "CREATE TRIGGER twice AFTER INSERT ON counted EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE TABLE below () INHERITS (counted)",
        "ALTER TABLE counted ENABLE ROW LEVEL SECURITY",
    ],
    ids=["rule", "trigger", "inherited", "policies"],
)
def test_where_more_may_happen_than_the_statements_say_the_table_is_counted_afterwards(
    postgresql_server: Server, target: PostgresqlTarget, counted: list[int | None], special: str
) -> None:
    first = batch(OLD, mode=CopyMode.FULL)
    bring(target, first.plan("counted"), first)
    postgresql_server.execute("CREATE TABLE IF NOT EXISTS other (id bigint)", special)
    counted.clear()

    assert target.count_beside(batch().plan("counted"), "") is None


def test_a_small_table_is_not_worth_a_connection(target: PostgresqlTarget) -> None:
    first = batch(OLD, mode=CopyMode.FULL)
    bring(target, first.plan("counted"), first)

    assert target.count_beside(batch().plan("counted"), "") is None


def test_a_table_that_the_merge_itself_has_closed_is_counted_by_the_merge(
    target: PostgresqlTarget, counted: list[int | None]
) -> None:
    first = batch(OLD, mode=CopyMode.FULL)
    bring(target, first.plan("counted"), first)
    counted.clear()
    wider = (*COLUMNS, Column(name="more", type=LogicalType.TEXT))
    given = Batch(
        [(*row, "x") for row in NEW], chunk_rows=10, columns=wider, keys=("id",), mode=CopyMode.WATERMARK,
        delivery=Delivery.UPSERT,
    )  # fmt: skip

    counts = bring(target, given.plan("counted", drift=DriftChoice.ADAPT), given)

    assert counted == [None]
    assert counts.target_rows == 70


def test_others_write_before_the_count_or_after_the_merge_never_between(
    postgresql_server: Server, target: PostgresqlTarget, counted: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = batch(OLD, mode=CopyMode.FULL)
    bring(target, first.plan("counted"), first)
    counted.clear()
    began, written = threading.Event(), threading.Event()

    def write() -> None:
        began.set()
        postgresql_server.execute("INSERT INTO counted VALUES (1000, '别人')")
        written.set()

    other = threading.Thread(target=write)
    count_beside = target.count_beside

    def beside(*given: Any) -> Any:
        other.start()
        began.wait()
        assert not written.wait(0.2)  # the table is locked
        return count_beside(*given)

    monkeypatch.setattr(target, "count_beside", beside)
    counts = bring(target, batch().plan("counted"), batch())
    other.join()

    assert counted == [50]
    assert counts.target_rows == 70
    assert postgresql_server.fetch("SELECT count(*) FROM counted") == [(71,)]


def test_a_count_that_nobody_needs_any_more_is_ended(postgresql_server: Server, target: PostgresqlTarget) -> None:
    counting = CountBeside(target._place, "SELECT count(*) FROM pg_sleep(60)")
    counting.close()

    assert counting.rows() is None
    assert postgresql_server.fetch("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid() AND state = 'active'") == [(0,)]  # fmt: skip


def test_without_a_second_connection_the_merge_counts_for_itself(
    target: PostgresqlTarget, counted: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = batch(OLD, mode=CopyMode.FULL)
    bring(target, first.plan("counted"), first)
    counted.clear()

    def full(self: object) -> None:
        raise psycopg.OperationalError("too many clients")

    monkeypatch.setattr(type(target._place), "connect", full)  # the target's own is open

    assert bring(target, batch().plan("counted"), batch()).target_rows == 70
    assert counted == [None]


def test_the_run_table_of_a_window_is_logged_and_has_no_table_of_deletes(
    postgresql_server: Server, target: PostgresqlTarget
) -> None:
    first = batch(OLD, mode=CopyMode.FULL)
    bring(target, first.plan("counted"), first)
    kinds = {}
    for is_window in (False, True):
        plan = batch().plan("counted", is_window=is_window)
        target.prepare(plan)
        kinds[is_window] = postgresql_server.fetch(
            # other tests' tables may stand on the same server
            f"SELECT relpersistence::text FROM pg_class WHERE starts_with(relname, '{run_table(plan.batch_id)}') AND relkind = 'r'"
        )
        target.clean(plan)

    assert kinds == {False: [("u",)], True: [("p",)]}
