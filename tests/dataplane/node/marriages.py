"""What a department with a node brings to the tests of both ways of a node, by HTTP and by carried files: people and rows, a node that
is expected, a database that is known to the platform, a task that both sides have agreed on.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation, Post
from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.process import Node
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NetworkZone, NodeKind
from jinqiao.exchange.models import DataSource, ExchangeTask
from jinqiao.exchange.models import Node as NodeRecord
from jinqiao.kernel import moments
from jinqiao.kernel.identifiers.resident_id import check_sign
from tests.factories import make_post, seed_calendar
from tests.sharing import factories as sharing

BODIES = [f"620302{1980 + n // 900}0101{n % 900:03d}" for n in range(1, 1201)]
ROWS = [
    (f"人{n}", body + check_sign(body), "2024-05-20", n / 4, n % 2, "620302") for n, body in enumerate(BODIES, start=1)
]


def make_database(file: Path, rows: list[tuple[Any, ...]]) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(
            "CREATE TABLE marriage (name VARCHAR(50), id_card VARCHAR(18) PRIMARY KEY, reg_date DATE,"
            " amount DECIMAL(12,2), valid BOOLEAN, area VARCHAR(6))"
        )
        database.executemany("INSERT INTO marriage VALUES (?, ?, ?, ?, ?, ?)", rows)


def expected_node(organisation: Organisation, name: str, zone: NetworkZone) -> tuple[Post, NodeRecord, str]:
    """The administrator of the department, the node that is to register, and its code."""
    admin = make_post(Role.DEPARTMENT_ADMINISTRATOR, organisation)
    record, code = actions.expect_node(
        by=admin,
        number=f"{name}-qianzhi",
        name=f"{organisation.short_name}前置节点",
        kind=NodeKind.FRONT_END,
        organisation=organisation,
        zone=zone,
    )
    return admin, record, code


def add_database(record: NodeRecord, operator: Post, file: Path, rows: list[tuple[Any, ...]]) -> DataSource:
    """A file with the table `marriage`, or an empty one that may be written, bound to the node."""
    if rows:
        make_database(file, rows)
    else:
        sqlite3.connect(file).close()
    return actions.add_data_source(
        by=operator,
        node=NodeRecord.objects.get(pk=record.pk),
        name="业务库",
        engine="sqlite",
        database=str(file),
        is_writable=not rows,
    )


def bind_table(parties: Any, source: DataSource | None) -> None:
    """The entry's items are the columns of the table `marriage` in that database."""
    actions.bind_entry(
        parties.entry,
        by=parties.clerk,
        source=source,
        table="marriage",
        columns={
            "xm": "name",
            "sfzh": "id_card",
            "djrq": "reg_date",
            "je": "amount",
            "yx": "valid",
            "qh": "area",
        },
        key_columns=["id_card"],
    )


def granted_task(parties: Any, target: DataSource | None) -> ExchangeTask:
    """A grant of the entry, and the task that brings it to `hunyin`."""
    grant = sharing.make_grant(parties, mode="batch", row_filter=[], use_from=moments.today())
    task = ExchangeTask.objects.get(grant=grant)
    return actions.configure_task(task, by=parties.asker, target=target, target_table="hunyin")


def agreed_task(parties: Any, source: DataSource | None, target: DataSource | None) -> ExchangeTask:
    """The entry bound to the table, granted, and a task that brings it to `hunyin`."""
    bind_table(parties, source)
    return granted_task(parties, target)


def sharing_asker(task: ExchangeTask) -> Post:
    return Post.objects.get(organisation=task.grant.consumer, role=Role.OPERATOR)


def sharing_bureau(task: ExchangeTask) -> Post:
    return Post.objects.filter(organisation=task.grant.provider, role=Role.HEAD).get()


class Department:
    """A department with its node and its database, set up through the platform as its people do."""

    def __init__(self, organisation: Organisation, operator: Post, folder: Path, url: str, rows: list[Any]) -> None:
        admin, record, code = expected_node(organisation, folder.name, NetworkZone.EXTRANET)
        homes.register(folder / "home", url, code, record.name)
        self.folder = folder
        self.node = Node(homes.load(folder / "home"))
        self.record = actions.approve_node(record, by=admin, key_id=self.node.home.identity.key_id)
        self.file = folder / "data.db"
        self.source = add_database(self.record, operator, self.file, rows)
        self.rounds(2)
        self.source = DataSource.objects.get(pk=self.source.pk)

    def rounds(self, count: int) -> None:
        for _ in range(count):
            assert self.node.run_once()


@pytest.fixture
def departments(
    tmp_path: Path, live_server: Any, settings: Any
) -> Iterator[tuple[Department, Department, ExchangeTask]]:
    settings.RELAY_ROOT = tmp_path / "relay"
    for name in ("minzheng", "zhujian"):
        (tmp_path / name).mkdir()
    seed_calendar()
    parties = sharing.make_parties()
    provider = Department(parties.provider, parties.clerk, tmp_path / "minzheng", live_server.url, ROWS)
    consumer = Department(parties.consumer, parties.asker, tmp_path / "zhujian", live_server.url, [])
    task = agreed_task(parties, provider.source, consumer.source)
    yield provider, consumer, task
    provider.node.close()
    consumer.node.close()
