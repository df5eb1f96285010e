"""PostgreSQL as a target: how the planner is told what is to come."""

import pytest

from jinqiao.dataplane.connectors import open_target
from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget
from jinqiao.dataplane.connectors.sql_target import Staged
from jinqiao.kernel.contracts.exchange import CopyMode
from jinqiao.kernel.contracts.tables import Column, LogicalType
from tests.servers import Server

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("rows", "cost"), [(40, "1.1"), (60, "4")])
def test_only_a_batch_that_is_small_beside_its_table_is_looked_up_by_key(
    postgresql_server: Server, rows: int, cost: str
) -> None:
    postgresql_server.execute(
        "DROP TABLE IF EXISTS large, small",
        "CREATE TABLE large (id bigint PRIMARY KEY)",
        "CREATE TABLE small (id bigint)",
        "INSERT INTO large SELECT generate_series(1, 1000)",
        "ANALYZE large",
    )
    plan = DeliveryPlan(
        batch_id="B-1", run_id="R-1", table="large", columns=(Column(name="id", type=LogicalType.INTEGER),), keys=("id",),
        mode=CopyMode.WATERMARK, rows=rows, chunks=1,
    )  # fmt: skip
    with open_target(postgresql_server.connection(), postgresql_server.password) as target:
        assert isinstance(target, PostgresqlTarget)
        with target.transaction("large"):
            target.before_match(plan, Staged("small", "", ""))
            within = target.fetch("SELECT current_setting('random_page_cost')")
        after = target.fetch("SELECT current_setting('random_page_cost')")

    assert within == [(cost,)]
    assert after == [("4",)]
