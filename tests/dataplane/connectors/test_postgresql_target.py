"""PostgreSQL as a target: how the planner is told what is to come."""

from dataclasses import replace

import pytest

from jinqiao.dataplane.connectors import open_target
from jinqiao.dataplane.connectors.base import DeliveryPlan
from jinqiao.dataplane.connectors.postgresql_target import PostgresqlTarget
from jinqiao.dataplane.connectors.sql_target import Staged
from jinqiao.dataplane.errors import TargetKeyNotUnique, TargetNameTooLong, TargetSchemaChanged
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.kernel.contracts.tables import Column, LogicalType
from tests.dataplane.connectors.batches import Batch, bring
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


KEY = Column(name="id", type=LogicalType.INTEGER, nullable=False, primary_key=True)
NAME = Column(name="name", type=LogicalType.TEXT)
WINDOW = {"mode": CopyMode.WATERMARK, "delivery": Delivery.UPSERT, "is_window": True}


@pytest.mark.parametrize(
    ("made", "keys", "may"),
    [
        ("CREATE TABLE kept (id bigint PRIMARY KEY, name text)", ("id",), True),
        ("CREATE TABLE kept (id bigint, name text, PRIMARY KEY (name, id))", ("id", "name"), True),
        ("CREATE TABLE kept (id bigint, name text, PRIMARY KEY (name, id))", ("id",), False),
        ("CREATE TABLE kept (id bigint, name text)", ("id",), False),
        ("CREATE TABLE kept (id bigint, name text); CREATE INDEX ON kept (id)", ("id",), False),
        ("CREATE TABLE kept (id bigint, name text); CREATE UNIQUE INDEX ON kept (id) WHERE id > 0", ("id",), False),
        ("CREATE TABLE kept (id bigint, name text); CREATE UNIQUE INDEX ON kept ((id + 1))", ("id",), False),
        ("CREATE TABLE kept (id bigint UNIQUE DEFERRABLE, name text)", ("id",), False),
        ("CREATE TABLE kept (id bigint PRIMARY KEY, name text, of bigint REFERENCES kept)", ("id",), False),
        ("CREATE TABLE kept (id bigint PRIMARY KEY, name text); ALTER TABLE kept ENABLE ROW LEVEL SECURITY", ("id",), False),
    ],
)  # fmt: skip
def test_rows_are_compared_by_their_update_where_nothing_can_keep_it_from_them(
    postgresql_server: Server, made: str, keys: tuple[str, ...], may: bool
) -> None:
    postgresql_server.execute("DROP TABLE IF EXISTS kept", made)
    plan = DeliveryPlan(
        batch_id="B-1", run_id="R-1", table="kept", columns=(KEY, NAME), keys=keys, rows=3, chunks=1, **WINDOW
    )
    try:
        with open_target(postgresql_server.connection(), postgresql_server.password) as target:
            assert isinstance(target, PostgresqlTarget)
            assert target.compares_while_updating(plan) is may
            assert not target.compares_while_updating(replace(plan, is_window=False))
            assert not target.compares_while_updating(replace(plan, delivery=Delivery.HISTORY))
    finally:
        postgresql_server.execute("DROP TABLE kept")


def test_a_window_updates_what_differs_inserts_what_is_new_and_leaves_the_rest(postgresql_server: Server) -> None:
    first = Batch(
        [(number, "同" if number else None) for number in range(10)], columns=(KEY, NAME), keys=("id",),
        mode=CopyMode.WATERMARK, delivery=Delivery.UPSERT,
    )  # fmt: skip
    second = replace(first, rows=[(0, None), (1, "同"), (2, "改"), (3, None), (20, "新"), (21, None)])
    with open_target(postgresql_server.connection(), postgresql_server.password) as target:
        try:
            assert bring(target, first.plan("kept"), first).inserted == 10
            postgresql_server.execute("CREATE TABLE versions AS SELECT id, xmin::text AS made FROM kept")

            counts = bring(target, second.plan("kept", is_window=True), second)

            assert (counts.inserted, counts.updated, counts.unchanged, counts.target_rows) == (2, 2, 2, 12)
            shown = postgresql_server.fetch("SELECT id, name FROM kept WHERE id IN (0, 1, 2, 3, 20, 21) ORDER BY id")
            assert shown == second.rows
            touched = postgresql_server.fetch(
                "SELECT k.id FROM kept AS k JOIN versions AS v USING (id) WHERE k.xmin::text <> v.made ORDER BY k.id"
            )
            assert touched == [(2,), (3,)]
        finally:
            postgresql_server.execute("DROP TABLE IF EXISTS kept, versions")


@pytest.mark.parametrize("key", [1, 7])
def test_a_window_with_a_key_twice_is_refused(postgresql_server: Server, key: int) -> None:
    first = Batch([(1, "同")], columns=(KEY, NAME), keys=("id",), mode=CopyMode.WATERMARK, delivery=Delivery.UPSERT)
    second = replace(first, rows=[(key, "甲"), (key, "乙")])
    with open_target(postgresql_server.connection(), postgresql_server.password) as target:
        try:
            bring(target, first.plan("kept"), first)
            with pytest.raises(TargetKeyNotUnique):
                bring(target, second.plan("kept", is_window=True), second)
            assert postgresql_server.fetch("SELECT * FROM kept") == [(1, "同")]
        finally:
            target.clean(second.plan("kept"))
            postgresql_server.execute("DROP TABLE IF EXISTS kept")


def test_a_window_of_keys_alone_inserts_what_is_new(postgresql_server: Server) -> None:
    first = Batch([(1,), (2,)], columns=(KEY,), keys=("id",), mode=CopyMode.WATERMARK, delivery=Delivery.UPSERT)
    second = replace(first, rows=[(2,), (3,)])
    with open_target(postgresql_server.connection(), postgresql_server.password) as target:
        try:
            bring(target, first.plan("kept"), first)
            counts = bring(target, second.plan("kept", is_window=True), second)
            assert (counts.inserted, counts.updated, counts.unchanged, counts.target_rows) == (1, 0, 1, 3)
        finally:
            postgresql_server.execute("DROP TABLE IF EXISTS kept")


@pytest.mark.parametrize(
    ("table", "column"), [("某某市不动产登记信息与人口基础信息共享交换明细表", "name"), ("kept", "长" * 22)]
)
def test_a_name_that_the_server_would_cut_is_refused(postgresql_server: Server, table: str, column: str) -> None:
    batch = Batch([(1, "同")], columns=(KEY, replace(NAME, name=column)), keys=("id",))
    with open_target(postgresql_server.connection(), postgresql_server.password) as target:
        for _ in range(2):
            with pytest.raises(TargetNameTooLong) as caught:
                target.prepare(batch.plan(table))
    assert caught.value.details["limit"] == 63


@pytest.mark.parametrize("type_", ["bigint", "integer", "smallint"])
def test_truth_does_not_go_into_a_column_of_numbers(postgresql_server: Server, type_: str) -> None:
    yes = Column(name="yes", type=LogicalType.BOOLEAN)
    batch = Batch([(1, True), (2, None)], columns=(KEY, yes), keys=("id",))
    postgresql_server.execute(f"CREATE TABLE kept (id bigint PRIMARY KEY, yes {type_})")
    try:
        with open_target(postgresql_server.connection(), postgresql_server.password) as target:
            with pytest.raises(TargetSchemaChanged) as caught:
                target.prepare(batch.plan("kept"))
            assert caught.value.details["retyped"] == "yes"
    finally:
        postgresql_server.execute("DROP TABLE kept")
