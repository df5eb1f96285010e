"""Every way of delivery does to every table what a few lines of plain Python do to a dict."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jinqiao.dataplane.connectors import Source, Target
from jinqiao.dataplane.connectors.plans import HISTORY_COLUMNS
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, DeliveryCounts
from jinqiao.kernel.contracts.tables import Column, Connection
from tests.dataplane.connectors.batches import COLUMNS, Batch, Row, as_table, bring
from tests.dataplane.connectors.test_round_trips import both, place_of
from tests.dataplane.exchanges import canonical, read_table

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
        rows = draw(ROWS)
        if delivery is Delivery.APPEND:
            rows = rows + rows[:2]
        deletes = draw(GONE) if mode is DIFF else []
        at = BEGIN + timedelta(days=number)
        found.append(Batch(rows, deletes, mode, delivery, draw(st.integers(1, 7)), at))
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
@pytest.mark.parametrize(("engine", "examples"), [("sqlite", 15), ("postgresql", 5), ("mysql", 3)])
def test_any_batches_leave_what_the_model_says(
    engine: str, examples: int, ways: str, request: pytest.FixtureRequest, tmp_path: Any
) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(found=batches(WAYS[ways]))
    def follows(found: list[Batch]) -> None:
        with both(place_of(engine, request, tmp_path)) as (target, source):
            follow(target, source, found)

    follows()
