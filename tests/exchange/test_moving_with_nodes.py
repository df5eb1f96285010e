"""A database that moves, between two real nodes over HTTP: what stands at the other place arrives, and nothing is left at the earlier
one."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.models import DataSource, ExchangeTask, NodeCommand
from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.resident_id import check_sign
from tests import servers
from tests.dataplane.node.marriages import ROWS, Department, make_database
from tests.dataplane.node.marriages import departments as departments
from tests.exchange.test_with_nodes import asker, carried, clerk, execute, fetch

pytestmark = pytest.mark.django_db(transaction=True)
Three = tuple[Department, Department, ExchangeTask]
BODY = "62030219700101001"
EARLIER = ("早登记", BODY + check_sign(BODY), "2020-01-01", 1.0, 1, "620302")
"""A row that the first database has not, with a smaller watermark than all of it."""
COLUMNS = {"xm": "name", "sfzh": "id_card", "djrq": "reg_date", "je": "amount", "yx": "valid", "qh": "area"}


def bind(task: ExchangeTask, source: DataSource, watermark: str = "") -> None:
    actions.bind_entry(
        task.grant.entry,
        by=clerk(task),
        source=source,
        table="marriage",
        columns=COLUMNS,
        key_columns=["id_card"],
        watermark_column=watermark,
    )


def ran(task: ExchangeTask, provider: Department, consumer: Department) -> int:
    """Rows that a run brought."""
    return carried(actions.start_run(task, by=asker(task)), provider, consumer).rows or 0


@pytest.mark.parametrize("is_same_data", [False, True])
def test_rows_of_the_other_database_arrive_though_their_watermarks_are_smaller(
    departments: Three, is_same_data: bool
) -> None:
    provider, consumer, task = departments
    bind(task, provider.source, "reg_date")
    actions.configure_task(task, by=asker(task), target=consumer.source, target_table="hunyin", mode="watermark")
    ran(task, provider, consumer)
    other = provider.folder / "moved.db"
    if is_same_data:
        shutil.copy(provider.file, other)
    else:
        make_database(other, [EARLIER])

    actions.change_data_source(
        provider.source, by=clerk(task), name="业务库", database=str(other), is_same_data=is_same_data
    )
    provider.rounds(2)
    provider.file = other
    if is_same_data:
        execute(provider, f"INSERT INTO marriage VALUES {('新登记', EARLIER[1], '2025-02-01', 1.0, 1, '620302')}")

    assert (ran(task, provider, consumer) < len(ROWS)) is True
    assert fetch(consumer, "SELECT count(*) FROM hunyin") == [(len(ROWS) + 1,)]
    assert fetch(consumer, f"SELECT count(*) FROM hunyin WHERE sfzh = '{EARLIER[1]}'") == [(1,)]


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Server]:
    with servers.postgresql(settings=("wal_level=logical", "fsync=off")) as server:
        yield server


def slots(server: servers.Server) -> list[tuple[Any, ...]]:
    """Slots at the server with the databases that they are of."""
    return server.fetch("SELECT database::text, slot_name::text FROM pg_replication_slots ORDER BY 1, 2")


def make_table(server: servers.Server, database: str, *rows: tuple[Any, ...]) -> None:
    server.execute(f"CREATE DATABASE {database}", database="postgres")
    server.execute(
        "CREATE TABLE marriage (name varchar(50), id_card varchar(18) PRIMARY KEY, reg_date date,"
        " amount numeric(12,2), valid boolean, area varchar(6))",
        *(f"INSERT INTO marriage VALUES {(*row[:4], bool(row[4]), row[5])}" for row in rows),
        database=database,
    )


def test_a_log_begins_anew_at_the_other_database_and_no_slot_is_left_at_the_earlier(
    departments: Three, server: servers.Server
) -> None:
    provider, consumer, task = departments
    make_table(server, "earlier", *ROWS[:3])
    make_table(server, "present", *ROWS[:3])
    way = {"host": server.host, "port": server.port, "user": server.user}
    source = actions.add_data_source(
        by=clerk(task), node=provider.record, name="库", engine="postgresql", database="earlier",
        password=server.password, **way,
    )  # fmt: skip
    provider.rounds(2)
    bind(task, source)
    actions.configure_task(task, by=asker(task), target=consumer.source, target_table="hunyin", mode="log")
    assert ran(task, provider, consumer) == 3
    ((database, name),) = slots(server)
    assert database == "earlier"
    make_change = "UPDATE marriage SET name = '改于迁移之后' WHERE id_card = '{}'"
    server.execute(
        make_change.format(ROWS[0][1]), database="present"
    )  # committed after the dump, before the form was saved

    actions.change_data_source(source, by=clerk(task), name="库", database="present", is_same_data=True, **way)
    provider.rounds(2)
    assert slots(server) == []
    ran(task, provider, consumer)

    assert fetch(consumer, "SELECT count(*), sum(xm = '改于迁移之后') FROM hunyin") == [(3, 1)]
    ((database, present),) = slots(server)
    assert (database, present != name) == ("present", True)
    server.execute(f"DELETE FROM marriage WHERE id_card = '{ROWS[1][1]}'", database="present")
    ran(task, provider, consumer)
    assert fetch(consumer, "SELECT count(*) FROM hunyin") == [(2,)]
    NodeCommand.objects.update(created_at=moments.now() - timedelta(hours=2))
    actions.watch_slots()
    provider.rounds(1)
    assert slots(server) == [("present", present)]
