"""Where the target allows no table of ours: staged in temporary tables, counted at the node, at least once."""

import uuid
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from jinqiao.dataplane.connectors import Target, open_source, open_target
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.connectors.plans import HISTORY_COLUMNS
from jinqiao.dataplane.errors import AppendMayDouble, ManifestMismatch, PermissionDenied, TargetCannot
from jinqiao.kernel.contracts.exchange import Delivery, Guarantee, LedgerPlace
from jinqiao.kernel.contracts.tables import Connection
from tests.dataplane.connectors.batches import COLUMNS, Batch, Row, bring
from tests.dataplane.connectors.test_deliveries import WAYS, Model, batches, expected, shown
from tests.dataplane.connectors.test_round_trips import place_of
from tests.dataplane.exchanges import csv_at, sqlite_at
from tests.servers import Server

pytestmark = pytest.mark.servers
Place = tuple[Connection, str]
AT_NODE: dict[str, Any] = {"ledger": LedgerPlace.NODE}
ROW: Row = (1, "甲", "x", Decimal("1.00"), 0.5, datetime(2026, 3, 1, 8))  # noqa: DTZ001 -- wall-clock time


def opened(place: Place, folder: Path) -> Target:
    return open_target(*place, ledger=NodeLedger(folder / "node" / "ledger.db"))


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize(("engine", "examples"), [("sqlite", 6), ("postgresql", 2), ("mysql", 1)])
def test_any_batches_leave_what_the_model_says(
    engine: str, examples: int, ways: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = place_of(engine, request, tmp_path)
    columns = COLUMNS + HISTORY_COLUMNS if ways == "versions" else COLUMNS

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(found=batches(WAYS[ways]))
    def follows(found: list[Batch]) -> None:
        table, model = f"d_{uuid.uuid4().hex[:12]}", Model()
        with opened(place, tmp_path) as target, open_source(*place) as source:
            for batch in found:
                plan = batch.plan(table, **AT_NODE, accept_doubles=True)
                counts = bring(target, plan, batch)

                assert counts == replace(model.take(batch), guarantee=Guarantee.AT_LEAST_ONCE)
                rows = [(*row, *span) for row, *span in model.versions] if ways == "versions" else model.rows
                assert shown(source, table, columns) == expected(rows, columns)
                assert target.state(plan.batch_id).merged == target.prepare(plan).merged == counts
            assert not [name for name in (t.name for t in source.tables()) if "jinqiao" in name]

    follows()


class Narrow:
    """An account that may read and write one table, and make none."""

    def __init__(self, server: Server) -> None:
        self.server, self.table = server, f"d_{uuid.uuid4().hex[:12]}"
        self.account = f"u_{self.table}"
        place = (server.connection(), server.password)
        first = Batch([ROW])
        with open_target(*place) as target:
            bring(target, first.plan(self.table), first)
        self.place = (server.connection(user=self.account), "secret")

    def grant(self) -> None:
        if self.server.engine.value == "postgresql":
            self.server.execute(
                f"CREATE ROLE {self.account} LOGIN PASSWORD 'secret'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {self.table} TO {self.account}",
            )  # fmt: skip
            return
        who = f"{self.account}@'127.0.0.1'"
        self.server.execute(
            f"CREATE USER {who} IDENTIFIED BY 'secret'",
            f"GRANT CREATE TEMPORARY TABLES ON {self.server.database}.* TO {who}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {self.server.database}.{self.table} TO {who}",
        )


@pytest.fixture(params=["postgresql", "mysql"])
def narrow(request: pytest.FixtureRequest) -> Narrow:
    name = "postgresql_server" if request.param == "postgresql" else "mariadb_server"
    found = Narrow(request.getfixturevalue(name))
    found.grant()
    return found


def test_an_account_that_may_make_no_table_delivers_all_the_same(narrow: Narrow, tmp_path: Path) -> None:
    batch = Batch([(*ROW[:2], "neu", *ROW[3:]), (2, *ROW[1:])])
    with open_target(*narrow.place) as target, pytest.raises(PermissionDenied):
        bring(target, batch.plan(narrow.table), batch)

    with opened(narrow.place, tmp_path) as target:
        counts = bring(target, batch.plan(narrow.table, **AT_NODE), batch)

    assert (counts.inserted, counts.updated, counts.guarantee) == (1, 1, Guarantee.AT_LEAST_ONCE)
    with open_source(*narrow.place) as source:
        assert shown(source, narrow.table) == expected(batch.rows)


class Broken(NodeLedger):
    """The process ends between the target's commit and the node's note."""

    def record(self, *_: Any) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("delivery", [Delivery.MIRROR, Delivery.UPSERT, Delivery.HISTORY, Delivery.RELOAD])
def test_a_batch_delivered_again_leaves_the_same(delivery: Delivery, database: Place, tmp_path: Path) -> None:
    table, path = f"d_{uuid.uuid4().hex[:12]}", tmp_path / "node.db"
    batch = Batch([ROW, (2, *ROW[1:])], delivery=delivery)
    plan = batch.plan(table, **AT_NODE)
    with open_target(*database, ledger=Broken(path)) as target, pytest.raises(KeyboardInterrupt):
        bring(target, plan, batch)

    with open_target(*database, ledger=NodeLedger(path)) as target:
        assert target.state(plan.batch_id).merged is None
        counts = bring(target, plan, batch)
        assert counts.target_rows == 2
        assert bring(target, plan, batch) == target.merge(plan) == counts
    with open_source(*database) as source:
        assert shown(source, table) == expected(batch.rows)


def test_a_batch_that_was_cut_off_before_its_merge_is_loaded_anew(database: Place, tmp_path: Path) -> None:
    batch = Batch([(number, *ROW[1:]) for number in range(9)])
    plan = batch.plan(f"d_{uuid.uuid4().hex[:12]}", **AT_NODE)
    with opened(database, tmp_path) as target:
        target.prepare(plan)
        target.load(plan, *next(batch.chunks()))

    with opened(database, tmp_path) as target:
        with pytest.raises(ManifestMismatch):
            target.merge(plan)  # nothing of it is in this connection
        assert not target.prepare(plan).loaded
        assert bring(target, plan, batch).inserted == 9


def test_rows_are_not_appended_where_they_might_be_doubled(tmp_path: Path) -> None:
    batch = Batch([ROW], delivery=Delivery.APPEND)
    with opened((sqlite_at(tmp_path / "a.db"), ""), tmp_path) as target:
        with pytest.raises(AppendMayDouble):
            target.prepare(batch.plan("t", **AT_NODE))

        assert bring(target, batch.plan("t", **AT_NODE, accept_doubles=True), batch).inserted == 1


def test_a_target_without_a_ledger_at_the_node_says_so(tmp_path: Path) -> None:
    plan = Batch([ROW]).plan("t", **AT_NODE)
    with open_target(sqlite_at(tmp_path / "a.db")) as target, pytest.raises(ManifestMismatch):
        target.prepare(plan)
    with opened((csv_at(tmp_path / "files"), ""), tmp_path) as target, pytest.raises(TargetCannot):
        target.prepare(plan)
