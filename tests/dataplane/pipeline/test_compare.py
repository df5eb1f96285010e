"""Contents compared by reading both sides again: equal after a delivery, whatever the engine, until somebody changes a row."""

from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.connectors import open_source
from jinqiao.dataplane.pipeline import Comparison, Spool, compare
from jinqiao.kernel.contracts.exchange import Delivery
from jinqiao.kernel.contracts.tables import Mask, Operator, RowCondition
from tests.dataplane.exchanges import PEOPLE, change, csv_at, exchange, order, people, some_people, sqlite_at

ASKED = order(
    items=(PEOPLE[0], replace(PEOPLE[1], mask=Mask.NAME), *PEOPLE[2:]),
    row_filter=(RowCondition(column="id", operator=Operator.AT_MOST, values=("30",)),),
)


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
def test_a_delivered_table_is_the_same_as_what_was_granted(tmp_path: Path, kind: str) -> None:
    source = people(tmp_path / "a.db", some_people(40))
    target = sqlite_at(tmp_path / "b.db") if kind == "sqlite" else csv_at(tmp_path / "files")
    exchange(ASKED, source, target, Spool(tmp_path / "spool"))

    with open_source(source) as sent, open_source(target) as shown:
        found = compare(ASKED, sent, shown)

    assert found.same
    assert found.target.rows == 30


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE residents SET name = '李**' WHERE id = 1",
        "UPDATE residents SET born = NULL WHERE id = 2",
        "DELETE FROM residents WHERE id = 3",
        "UPDATE residents SET id = 99 WHERE id = 4",
    ],
)
def test_a_change_at_the_target_shows(tmp_path: Path, statement: str) -> None:
    source = people(tmp_path / "a.db", some_people(40))
    exchange(ASKED, source, sqlite_at(tmp_path / "b.db"), Spool(tmp_path / "spool"))
    change(tmp_path / "b.db", statement)

    with open_source(source) as sent, open_source(sqlite_at(tmp_path / "b.db")) as shown:
        found: Comparison = compare(ASKED, sent, shown)

    assert not found.same


def test_of_a_history_the_versions_that_are_valid_are_compared(tmp_path: Path) -> None:
    asked = replace(ASKED, delivery=Delivery.HISTORY)
    source, target = people(tmp_path / "a.db", some_people(20)), sqlite_at(tmp_path / "b.db")
    exchange(asked, source, target, Spool(tmp_path / "spool"))
    change(tmp_path / "a.db", "UPDATE people SET born = '2000-01-01' WHERE id = 7", "DELETE FROM people WHERE id = 8")
    exchange(replace(asked, run_id="RUN-2"), source, target, Spool(tmp_path / "spool"))

    with open_source(source) as sent, open_source(target) as shown:
        found = compare(asked, sent, shown)

    assert found.same
    assert found.target.rows == 19
