"""Every way of delivery does to every table what a few lines of plain Python do to a dict."""

import uuid
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import Source, Target
from jinqiao.dataplane.connectors.ledger import LEDGER, LedgerTarget
from jinqiao.dataplane.connectors.plans import HISTORY_COLUMNS
from jinqiao.dataplane.errors import (
    DeliveryKeyMissing,
    DeliveryNotPossible,
    HistoryColumnTaken,
    HistoryOutOfOrder,
    ManifestMismatch,
    ReconciliationFailed,
    TargetCannot,
    TargetKeyLoose,
    TargetKeyNotUnique,
    TargetRefused,
    TargetTableGone,
)
from jinqiao.kernel.contracts.exchange import ChunkForm, CopyMode, Delivery, DeliveryCounts
from jinqiao.kernel.contracts.tables import Column, Connection
from tests.dataplane.connectors.batches import COLUMNS, Batch, Row, as_table, bring, chunk
from tests.dataplane.connectors.test_round_trips import both, place_of
from tests.dataplane.exchanges import canonical, csv_at, read_table, sqlite_at
from tests.servers import Server

pytestmark = pytest.mark.servers
Place = tuple[Connection, str]
FULL, DIFF, WATERMARK = CopyMode.FULL, CopyMode.DIFF, CopyMode.WATERMARK
BEGIN = datetime(2026, 3, 1, 8)  # noqa: DTZ001 -- wall-clock time, as histories hold it

KEY = st.tuples(st.integers(1, 4), st.sampled_from(["甲", "a", "A", "a "]))
VALUES = st.tuples(
    st.sampled_from([None, "", "x", "X", "x ", "𠮷"]),
    st.none() | st.integers(-300, 300).map(lambda number: Decimal(number) / 100),
    st.sampled_from([None, 0.0, 0.1, -1e300]),
    st.sampled_from([None, BEGIN, BEGIN + timedelta(microseconds=1)]),
)
ROWS = st.dictionaries(KEY, VALUES, max_size=7).map(lambda found: [key + values for key, values in found.items()])
GONE = st.lists(KEY, max_size=4, unique=True)


@st.composite
def batches(draw: st.DrawFn, ways: Sequence[tuple[CopyMode, Delivery]]) -> list[Batch]:
    """A few batches, the first of them into a table that is not there."""
    found = []
    for number in range(draw(st.integers(1, 3))):
        mode, delivery = draw(st.sampled_from(ways))
        if number == 0 and mode is DIFF:
            mode = FULL  # as what a first run brings, it is delivered
        rows = draw(ROWS)
        if delivery is Delivery.APPEND:
            rows = rows + rows[:2]
        deletes = draw(GONE) if mode is DIFF else []
        at = BEGIN + timedelta(days=number)
        is_window = mode is WATERMARK and number > 0 and draw(st.booleans())
        found.append(Batch(rows, deletes, mode, delivery, draw(st.integers(1, 7)), at, is_window=is_window))
    return found


class Model:
    """What a table shows, as dicts and lists."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.versions: list[tuple[Row, datetime, datetime | None]] = []

    def take(self, batch: Batch) -> DeliveryCounts:
        match batch.delivery:
            case Delivery.APPEND:
                self.rows = [*self.rows, *batch.rows]
                return counts(batch, len(batch.rows), 0, 0, len(self.rows))
            case Delivery.RELOAD:
                before, self.rows = len(self.rows), list(batch.rows)
                return counts(batch, len(batch.rows), 0, before, len(self.rows))
            case Delivery.HISTORY:
                return self._versions(batch)
        old = {row[:2]: row for row in self.rows}
        inserted, updated, gone = changes(old, batch)
        kept = {key: row for key, row in old.items() if key not in gone}
        self.rows = list((kept | {row[:2]: row for row in batch.rows}).values())
        return counts(batch, inserted, updated, len(gone), len(self.rows))

    def _versions(self, batch: Batch) -> DeliveryCounts:
        old = {row[:2]: row for row, _, until in self.versions if until is None}
        inserted, updated, gone = changes(old, batch)
        brought = {row[:2]: row for row in batch.rows if old.get(row[:2]) != row}
        self.versions = [
            (row, since, batch.at if until is None and row[:2] in gone | brought.keys() else until)
            for row, since, until in self.versions
        ] + [(row, batch.at, None) for row in brought.values()]
        shown = sum(until is None for _, _, until in self.versions)
        return counts(batch, inserted, updated, len(gone), shown)


def changes(old: dict[Row, Row], batch: Batch) -> tuple[int, int, set[Row]]:
    """Rows inserted and updated, keys gone."""
    new = {row[:2]: row for row in batch.rows}
    gone: set[Row] = set()
    if batch.delivery is not Delivery.UPSERT and batch.mode is not WATERMARK:
        gone = (set(batch.deletes) if batch.mode is DIFF else old.keys() - new.keys()) & old.keys() - new.keys()
    return len(new.keys() - old.keys()), sum(old.get(key, row) != row for key, row in new.items()), gone


def counts(batch: Batch, inserted: int, updated: int, deleted: int, shown: int) -> DeliveryCounts:
    received = len(batch.rows)
    return DeliveryCounts(
        received=received, inserted=inserted, updated=updated, deleted=deleted,
        unchanged=received - inserted - updated, target_rows=shown,
    )  # fmt: skip


def shown(source: Source, table: str, columns: Sequence[Column] = COLUMNS) -> list[tuple[str | None, ...]]:
    return canonical(read_table(source, table, columns), columns)


def expected(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> list[tuple[str | None, ...]]:
    return canonical(as_table(rows, columns), columns)


def name() -> str:
    return f"d_{uuid.uuid4().hex[:12]}"


def follow(target: Target, source: Source, found: Sequence[Batch]) -> None:
    """The batches one after another, each compared with the model; each brought again changes nothing."""
    table, model = name(), Model()
    history = found[0].delivery is Delivery.HISTORY
    columns = COLUMNS + HISTORY_COLUMNS if history else COLUMNS
    for batch in found:
        plan = batch.plan(table)

        assert bring(target, plan, batch) == target.merge(plan) == model.take(batch)

        rows = [(*row, since, until) for row, since, until in model.versions] if history else model.rows
        assert shown(source, table, columns) == expected(rows, columns)
        if batch.delivery is not Delivery.APPEND:
            again = bring(target, batch.plan(table), batch)
            assert again.inserted + again.updated == (len(batch.rows) if batch.delivery is Delivery.RELOAD else 0)
            assert shown(source, table, columns) == expected(rows, columns)


WAYS = {
    "rows": [
        (FULL, Delivery.MIRROR), (DIFF, Delivery.MIRROR), (WATERMARK, Delivery.MIRROR), (FULL, Delivery.UPSERT),
        (DIFF, Delivery.UPSERT), (WATERMARK, Delivery.UPSERT), (FULL, Delivery.RELOAD),
    ],
    "appended": [(FULL, Delivery.APPEND), (DIFF, Delivery.APPEND), (WATERMARK, Delivery.APPEND)],
    "versions": [(FULL, Delivery.HISTORY), (DIFF, Delivery.HISTORY), (WATERMARK, Delivery.HISTORY)],
}  # fmt: skip


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize(
    ("engine", "examples"), [("sqlite", 10), ("postgresql", 6), ("mysql", 2), ("odbc-postgresql", 2), ("odbc-mysql", 1)]
)
def test_any_batches_leave_what_the_model_says(
    engine: str, examples: int, ways: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(found=batches(WAYS[ways]))
    def follows(found: list[Batch]) -> None:
        with both(place_of(engine, request, tmp_path)) as (target, source):
            follow(target, source, found)

    follows()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql", "csv"])
@pytest.mark.parametrize(
    "batch",
    [
        Batch([(1, "甲", "x", None, None, None)], mode=DIFF),
        Batch([(1, "甲", "x", None, None, None)], mode=WATERMARK, delivery=Delivery.UPSERT, is_window=True),
    ],
    ids=["differences", "a window"],
)
def test_changes_make_no_table_in_place_of_one_that_is_gone(
    batch: Batch, engine: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    place = (csv_at(tmp_path / "files"), "") if engine == "csv" else place_of(engine, request, tmp_path)
    table = name()
    with both(place) as (target, source):
        with pytest.raises(TargetTableGone):
            bring(target, batch.plan(table), batch)

        assert table not in {found.name for found in source.tables()}


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_rows_that_the_table_lets_fall_are_no_delivery(
    engine: str, filled: bool, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    first = Batch([(number, "甲", "x", None, None, None) for number in range(1, 11)])
    place, table = place_of(engine, request, tmp_path), name()
    with both(place) as (target, source):
        bring(target, first.plan(table), first)
        if engine == "sqlite":
            given = [
                f"CREATE TRIGGER few_{table} BEFORE INSERT ON {table} WHEN new.id % 2 = 0 BEGIN SELECT RAISE(IGNORE); END",
            ]
        else:
            given = [
                f"CREATE RULE few_{table} AS ON INSERT TO {table} WHERE new.id % 2 = 0 DO INSTEAD NOTHING",
            ]
        if not filled:
            given.insert(0, f"DELETE FROM {table}")
        for statement in given:
            target.execute(statement)  # type: ignore[attr-defined]
        second = Batch(
            [(number, "乙", "x", None, None, None) for number in range(11, 21)],
            mode=WATERMARK,
            delivery=Delivery.UPSERT,
        )
        with pytest.raises(ReconciliationFailed):
            bring(target, second.plan(table), second)

        assert len(shown(source, table)) == (10 if filled else 0)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_key_that_ignores_case_is_refused_before_it_makes_one_row_of_two(
    engine: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    batch = Batch([(1, "A", "x", None, None, None), (1, "a", "y", None, None, None)])
    place, table = place_of(engine, request, tmp_path), name()
    with both(place) as (target, source):
        bring(target, batch.plan(table), batch)
        collation = "NOCASE"
        if engine == "postgresql":
            collation = f"loose_{table}"
            target.execute(  # type: ignore[attr-defined]
                f"CREATE COLLATION {collation} (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        target.execute(f"DROP TABLE {table}")  # type: ignore[attr-defined]
        target.execute(  # type: ignore[attr-defined]
            f'CREATE TABLE {table} (id BIGINT, "代码" TEXT COLLATE {collation}, name TEXT, amount DECIMAL(12, 2),'
            f' score DOUBLE PRECISION, seen TIMESTAMP, PRIMARY KEY (id, "代码"))'
        )
        changed = Batch([(1, "a", "z", None, None, None)], mode=WATERMARK, delivery=Delivery.UPSERT, is_window=True)
        with pytest.raises(TargetKeyLoose, match="代码"):
            bring(target, changed.plan(table), changed)

        assert shown(source, table) == []


ROW: Row = (1, "甲", "x", Decimal("1.00"), 0.5, BEGIN)


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        (Batch([ROW], keys=(), delivery=Delivery.UPSERT), DeliveryKeyMissing),
        (Batch([ROW], keys=(), delivery=Delivery.HISTORY), DeliveryKeyMissing),
        (Batch([ROW], keys=(), mode=DIFF), DeliveryKeyMissing),
        (Batch([ROW], keys=(), mode=WATERMARK), DeliveryKeyMissing),
        (Batch([ROW], mode=WATERMARK, delivery=Delivery.RELOAD), DeliveryNotPossible),
        (Batch([ROW], mode=DIFF, delivery=Delivery.RELOAD), DeliveryNotPossible),
    ],
)
@pytest.mark.parametrize("kind", ["database", "files"])
def test_a_plan_that_contradicts_itself_changes_nothing(
    kind: str, batch: Batch, problem: type[Exception], tmp_path: Any
) -> None:
    place = sqlite_at(tmp_path / "a.db") if kind == "database" else csv_at(tmp_path / "files")
    with both((place, "")) as (target, source):
        with pytest.raises(problem):
            bring(target, batch.plan("nothing"), batch)

        assert "nothing" not in {table.name for table in source.tables()}


def test_an_item_may_not_be_called_like_a_column_of_the_history(database: Place) -> None:
    columns = (*COLUMNS[:5], replace(COLUMNS[5], name="Valid_To"))
    batch = Batch([ROW], delivery=Delivery.HISTORY, columns=columns)

    with both(database) as (target, _), pytest.raises(HistoryColumnTaken):
        bring(target, batch.plan(name()), batch)


def test_files_keep_no_history(tmp_path: Any) -> None:
    batch = Batch([ROW], delivery=Delivery.HISTORY)

    with both((csv_at(tmp_path / "files"), "")) as (target, _), pytest.raises(TargetCannot):
        bring(target, batch.plan("t"), batch)


def test_an_earlier_batch_does_not_go_into_a_later_history(database: Place) -> None:
    table, changed = name(), (*ROW[:2], "neu", *ROW[3:])
    now, before = (
        Batch([ROW], delivery=Delivery.HISTORY, at=BEGIN),
        Batch([changed], delivery=Delivery.HISTORY, at=BEGIN - timedelta(days=1)),
    )
    with both(database) as (target, source):
        bring(target, now.plan(table), now)
        with pytest.raises(HistoryOutOfOrder):
            bring(target, before.plan(table), before)

        assert shown(source, table, COLUMNS + HISTORY_COLUMNS) == expected(
            [(*ROW, BEGIN, None)], COLUMNS + HISTORY_COLUMNS
        )


def test_the_ledger_keeps_who_allowed_a_reload_also_where_it_was_made_without(database: Place) -> None:
    table, first, anew = name(), Batch([ROW]), Batch([ROW], delivery=Delivery.RELOAD)
    plan = anew.plan(table, approval="QP-2026-0007 张局长")
    with both(database) as (target, _):
        assert isinstance(target, LedgerTarget)
        bring(target, first.plan(table), first)
        with target.transaction(LEDGER):
            target.execute(f"ALTER TABLE {target.quoted(LEDGER)} DROP COLUMN approval")
        bring(target, plan, anew)
        with target.transaction(LEDGER):
            kept = target.fetch(
                f"SELECT approval FROM {target.quoted(LEDGER)} WHERE chunk = 0 AND batch_id = {target.placeholder}",
                (plan.batch_id,),
            )

    assert [approval for (approval,) in kept] == ["QP-2026-0007 张局长"]


def test_a_batch_that_is_short_of_rows_or_of_keys_to_delete_is_rolled_back(database: Place) -> None:
    table, first = name(), Batch([ROW])
    more = Batch([(2, *ROW[1:])], [ROW[:2]], DIFF)
    with both(database) as (target, source):
        bring(target, first.plan(table), first)
        for wrong in ({"rows": 2}, {"rows_deleted": 2}, {"chunks": 3}):
            with pytest.raises(ReconciliationFailed):
                bring(target, more.plan(table, **wrong), more)

        assert shown(source, table) == expected([ROW])
        assert bring(target, more.plan(table), more).deleted == 1
        assert shown(source, table) == expected(more.rows)


def test_two_rows_with_one_key_are_refused_wherever_they_stand(database: Place) -> None:
    table, good, twice = name(), Batch([ROW]), Batch([ROW, (*ROW[:2], "y", *ROW[3:])], chunk_rows=1)
    with both(database) as (target, source):
        for plan in (twice.plan(table), twice.plan(table, delivery=Delivery.UPSERT)):
            with pytest.raises(TargetKeyNotUnique):
                bring(target, plan, twice)
        bring(target, good.plan(table), good)
        with pytest.raises(TargetKeyNotUnique):
            bring(target, twice.plan(table), twice)

        assert shown(source, table) == expected([ROW])


def test_a_key_without_a_value_tells_no_row_apart(database: Place) -> None:
    columns = tuple(replace(column, nullable=True, primary_key=False) for column in COLUMNS)
    batch = Batch([(1, None, *ROW[2:])], columns=columns)

    with both(database) as (target, _), pytest.raises(TargetRefused):
        bring(target, batch.plan(name()), batch)


def test_a_table_whose_key_is_not_unique_is_not_written_to(database: Place) -> None:
    """Two rows of the target with one key: which of them would be the one?"""
    table, twice = name(), [ROW, (*ROW[:2], "y", *ROW[3:])]
    appended, batch = Batch(twice, delivery=Delivery.APPEND), Batch([(*ROW[:2], "z", *ROW[3:])])
    with both(database) as (target, source):
        bring(target, appended.plan(table), appended)
        for delivery in (Delivery.MIRROR, Delivery.UPSERT):
            with pytest.raises(TargetKeyNotUnique):
                bring(target, batch.plan(table, delivery=delivery), batch)

        assert shown(source, table) == expected(twice)


def test_zero_and_its_negative_are_two_values(postgresql_server: Server) -> None:
    table = name()
    zero, negative = (Batch([(*ROW[:4], score, ROW[5])]) for score in (0.0, -0.0))
    with both((postgresql_server.connection(), postgresql_server.password)) as (target, source):
        bring(target, zero.plan(table), zero)

        assert bring(target, negative.plan(table), negative).updated == 1
        assert str(read_table(source, table, COLUMNS).column("score")[0].as_py()) == "-0.0"


def test_an_instant_of_the_target_is_the_wall_clock_time_of_china(postgresql_server: Server) -> None:
    table = name()
    postgresql_server.execute(
        "SET TimeZone = 'UTC'",
        f'CREATE TABLE {table} (id bigint, "代码" varchar(20), name text, amount numeric(12, 2), score float8, seen timestamptz)',
    )
    batch = Batch([ROW], delivery=Delivery.UPSERT)
    with both((postgresql_server.connection(), postgresql_server.password)) as (target, _):
        bring(target, batch.plan(table), batch)

    found = postgresql_server.fetch(f"SELECT extract(epoch FROM seen)::bigint FROM {table}")
    assert found == [(int((BEGIN - timedelta(hours=8)).replace(tzinfo=UTC).timestamp()),)]


def test_a_reload_leaves_triggers_their_rows(postgresql_server: Server) -> None:
    """TRUNCATE shows no row to a trigger: a table with one is emptied by DELETE."""
    table, batch = name(), Batch([ROW], delivery=Delivery.RELOAD)
    with both((postgresql_server.connection(), postgresql_server.password)) as (target, source):
        bring(target, batch.plan(table), batch)
        postgresql_server.execute(
            f"CREATE TABLE {table}_log (id bigint)",
            f"CREATE FUNCTION {table}_f() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN INSERT INTO {table}_log VALUES (OLD.id); RETURN OLD; END $$",
            f"CREATE TRIGGER gone AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_f()",
        )

        assert bring(target, batch.plan(table), batch).deleted == 1
        assert shown(source, table) == expected([ROW])
    assert postgresql_server.fetch(f"SELECT id FROM {table}_log") == [(1,)]


def test_tuples_of_binary_copy_go_in_as_they_are(postgresql_server: Server) -> None:
    table, copied = name(), name()
    filled = Batch([ROW, (2, "乙", None, None, None, None)])
    with both((postgresql_server.connection(), postgresql_server.password)) as (target, source):
        bring(target, filled.plan(table), filled)
        with (
            postgresql_server.connect() as connection,
            connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)") as stream,
        ):
            tuples = b"".join(bytes(part) for part in stream)[19:-2]
        raw = replace(filled, chunk_rows=2)
        for rows, problem in ((3, ReconciliationFailed), (2, None)):
            plan = raw.plan(copied, form=ChunkForm.PGCOPY, chunks=1)
            target.prepare(plan)
            with pytest.raises(problem) if problem else nullcontext():
                target.load(plan, chunk(1, rows), tuples)
        target.merge(plan)

        assert shown(source, copied) == expected(filled.rows)


def test_other_engines_take_no_tuples_of_binary_copy(tmp_path: Any) -> None:
    plan = Batch([ROW]).plan("t", form=ChunkForm.PGCOPY)
    with both((sqlite_at(tmp_path / "a.db"), "")) as (target, _):
        target.prepare(plan)
        with pytest.raises(ManifestMismatch):
            target.load(plan, chunk(1, 1), b"")
