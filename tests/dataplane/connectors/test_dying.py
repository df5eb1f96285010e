"""A delivery that ends between any two of its statements: taken up again, the table is what it would have been, and never half.

`tests/dataplane/pipeline/test_kill.py` ends real processes at random instants; here the instants between two statements are
tried, in every way of delivery.
"""

import os
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import DeliveryPlan, open_source, open_target
from jinqiao.dataplane.connectors.ledger import LedgerTarget, run_table
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.connectors.plans import HISTORY_COLUMNS
from jinqiao.dataplane.connectors.sql_target import CHANGES_SUFFIX, DELETES_SUFFIX
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, Guarantee, LedgerPlace
from jinqiao.kernel.contracts.tables import Connection
from tests.dataplane.connectors.batches import COLUMNS, Batch, Row, bring
from tests.dataplane.connectors.test_deliveries import Model, expected, shown
from tests.dataplane.connectors.test_round_trips import place_of

pytestmark = pytest.mark.servers
BEGIN = datetime(2026, 3, 1, 8)  # noqa: DTZ001 -- wall-clock time
# every so many statements one is the last, from a random one on; JINQIAO_DEATHS=1 tries them all
STEPS = {"sqlite": 4, "postgresql": 16, "mysql": 30}
ALL = bool(os.environ.get("JINQIAO_DEATHS"))


class Death(BaseException):
    """The process is gone: nothing of ours runs any more."""


def row(number: int, name: str) -> Row:
    return (number, "甲", name, None, 0.5, BEGIN)


OLD = [row(number, "旧") for number in range(1, 6)]
NEW = [row(2, "旧"), row(3, "新"), row(4, "新"), row(6, "新")]
CASES = {
    "mirror": Batch(NEW),
    "diff": Batch(NEW, [(1, "甲"), (2, "甲"), (9, "甲")], CopyMode.DIFF),
    "upsert": Batch(NEW, mode=CopyMode.WATERMARK),
    "append": Batch(NEW, delivery=Delivery.APPEND),
    "history": Batch(NEW, [(1, "甲"), (9, "甲")], CopyMode.DIFF, Delivery.HISTORY, at=BEGIN + timedelta(days=1)),
    "reload": Batch(NEW, delivery=Delivery.RELOAD),
}


def dies(target: LedgerTarget, after: int) -> Callable[[], int]:
    """From now on the target dies before its statement number `after`; how many it made."""
    made = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            nonlocal made
            made += 1
            if made == after:
                raise Death
            return call(*given)

        return run

    for name in ("execute", "fetch", "insert"):
        setattr(target, name, counted(getattr(target, name)))
    return lambda: made


def instants(statements: int, step: int) -> range:
    return range(1, statements + 1) if ALL else range(random.randint(1, step), statements + 1, step)


class Run:
    """A table that shows OLD, and the batch that is brought next."""

    def __init__(self, place: tuple[Connection, str], case: str, place_of_ledger: LedgerPlace, folder: Path) -> None:
        self.place, self.batch = place, CASES[case]
        self.table = f"d_{uuid.uuid4().hex[:12]}"
        self.ledger = NodeLedger(folder / f"{self.table}.ledger")
        self.columns = COLUMNS + HISTORY_COLUMNS if case == "history" else COLUMNS
        self.plan: DeliveryPlan = self.batch.plan(self.table, ledger=place_of_ledger)
        self.model = Model()
        delivery = (
            self.batch.delivery if self.batch.delivery in (Delivery.HISTORY, Delivery.APPEND) else Delivery.MIRROR
        )
        first = Batch(OLD, delivery=delivery, at=BEGIN)
        with open_target(*place) as target:
            assert bring(target, first.plan(self.table), first) == self.model.take(first)
        self.old = self.rows()
        self.counts = self.model.take(self.batch)
        self.new = self.rows()

    def rows(self) -> list[tuple[str | None, ...]]:
        versions = [(*row, *span) for row, *span in self.model.versions]
        return expected(versions or self.model.rows, self.columns)

    def shown(self) -> list[tuple[str | None, ...]]:
        with open_source(*self.place) as source:
            return shown(source, self.table, self.columns)

    def bring(self, *, dying_after: int = 0) -> int:
        """Deliver; how many statements it took. Raises Death."""
        with open_target(*self.place, ledger=self.ledger) as target:
            assert isinstance(target, LedgerTarget)
            made = dies(target, dying_after)
            self.found = bring(target, self.plan, self.batch)
            return made()

    def is_clean(self) -> bool:
        name = run_table(self.plan.batch_id)
        with open_target(*self.place) as target:
            assert isinstance(target, LedgerTarget)
            return all(target.existing(name + suffix) is None for suffix in ("", DELETES_SUFFIX, CHANGES_SUFFIX))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("engine", STEPS)
def test_a_delivery_that_ends_anywhere_is_taken_up_again(
    engine: str, case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = place_of(engine, request, tmp_path)
    whole = Run(place, case, LedgerPlace.TARGET, tmp_path)
    statements = whole.bring()
    assert (whole.found, whole.shown()) == (whole.counts, whole.new)

    for last in instants(statements, STEPS[engine]):
        run = Run(place, case, LedgerPlace.TARGET, tmp_path)
        with pytest.raises(Death):
            run.bring(dying_after=last)
        assert run.shown() in (run.old, run.new)

        run.bring()
        assert (run.found, run.shown()) == (run.counts, run.new)
        run.bring()
        assert (run.found, run.shown(), run.is_clean()) == (run.counts, run.new, True)


@pytest.mark.parametrize("case", [case for case in CASES if case != "append"])
def test_with_the_ledger_at_the_node_it_ends_with_the_same_rows(case: str, tmp_path: Path) -> None:
    place = place_of("sqlite", None, tmp_path)  # type: ignore[arg-type] -- no server is asked for
    statements = Run(place, case, LedgerPlace.NODE, tmp_path).bring()

    for last in instants(statements, 6):
        run = Run(place, case, LedgerPlace.NODE, tmp_path)
        with pytest.raises(Death):
            run.bring(dying_after=last)
        assert run.shown() in (run.old, run.new)

        run.bring()
        assert run.shown() == run.new
        assert run.found.guarantee is Guarantee.AT_LEAST_ONCE
        assert run.found.target_rows == run.counts.target_rows
