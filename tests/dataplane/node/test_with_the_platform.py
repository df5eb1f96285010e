"""Two real nodes and the real platform over HTTP: registered by code, bound, granted, run, reconciled, purged."""

import base64
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
from jinqiao.exchange.enums import NetworkZone, NodeKind, RunState, SourceState
from jinqiao.exchange.models import DataSource, ExchangeReceipt, ExchangeTask, RelayChunk, Run
from jinqiao.exchange.models import Node as NodeRecord
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Receipt
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.identifiers.resident_id import check_sign
from jinqiao.sharing.actions import revoke_grant
from tests.factories import make_post, seed_calendar
from tests.sharing import factories as sharing

pytestmark = pytest.mark.django_db(transaction=True)

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


class Department:
    """A department with its node and its database, set up through the platform as its people do."""

    def __init__(self, organisation: Organisation, operator: Post, folder: Path, url: str, rows: list[Any]) -> None:
        admin = make_post(Role.DEPARTMENT_ADMINISTRATOR, organisation)
        record, code = actions.expect_node(
            by=admin,
            number=f"{folder.name}-qianzhi",
            name=f"{organisation.short_name}前置节点",
            kind=NodeKind.FRONT_END,
            organisation=organisation,
            zone=NetworkZone.EXTRANET,
        )
        homes.register(folder / "home", url, code, record.name)
        self.folder = folder
        self.node = Node(homes.load(folder / "home"))
        self.record = actions.approve_node(record, by=admin, key_id=self.node.home.identity.key_id)
        self.file = folder / "data.db"
        if rows:
            make_database(self.file, rows)
        else:
            sqlite3.connect(self.file).close()
        self.source = actions.add_data_source(
            by=operator,
            node=self.record,
            name="业务库",
            engine="sqlite",
            database=str(self.file),
            is_writable=not rows,
        )
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
    actions.bind_entry(
        parties.entry,
        by=parties.clerk,
        source=provider.source,
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
    grant = sharing.make_grant(parties, mode="batch", row_filter=[], use_from=moments.today())
    task = actions.configure_task(
        ExchangeTask.objects.get(grant=grant), by=parties.asker, target=consumer.source, target_table="hunyin"
    )
    yield provider, consumer, task
    provider.node.close()
    consumer.node.close()


def test_a_run_is_reconciled_only_by_what_both_nodes_really_did(
    departments: tuple[Department, Department, ExchangeTask],
) -> None:
    provider, consumer, task = departments
    assert provider.source.state == SourceState.REACHABLE
    assert [table.name for table in provider.source.tables.all()] == ["marriage"]
    run = actions.start_run(task, by=sharing_asker(task))
    provider.rounds(1)
    assert Run.objects.get(pk=run.pk).state == RunState.DELIVERING
    consumer.rounds(1)
    done = Run.objects.get(pk=run.pk)
    assert done.state == RunState.RECONCILED, done.problem
    assert done.counts["target_rows"] == done.rows == len(ROWS)
    receipt = ExchangeReceipt.objects.get(run=run)
    body = Receipt.from_json(receipt.body).canonical()
    for record, signature in (
        (provider.record, receipt.sender_signature),
        (consumer.record, receipt.receiver_signature),
    ):
        PublicIdentity.from_json(record.identity).verify(body, base64.b64decode(signature))
    with closing(sqlite3.connect(consumer.file)) as database:
        taken = database.execute("SELECT count(*), count(DISTINCT sfzh), max(djrq) FROM hunyin").fetchone()
    assert taken[0] == len(ROWS)
    assert taken[2] == "2024-05-20"
    assert provider.node.home.spool.runs() == (run.number,)
    provider.rounds(1)
    consumer.rounds(1)
    assert provider.node.home.spool.runs() == consumer.node.home.spool.runs() == ()


def test_a_revoked_grant_moves_no_further_byte(departments: tuple[Department, Department, ExchangeTask]) -> None:
    provider, consumer, task = departments
    run = actions.start_run(task, by=sharing_asker(task))
    provider.rounds(1)
    revoke_grant(task.grant, by=sharing_bureau(task), reason="超范围使用")
    consumer.rounds(2)
    assert Run.objects.get(pk=run.pk).state == RunState.STOPPED
    with closing(sqlite3.connect(consumer.file)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'hunyin'").fetchone()[0] == 0


def sharing_asker(task: ExchangeTask) -> Post:
    return Post.objects.get(organisation=task.grant.consumer, role=Role.OPERATOR)


def sharing_bureau(task: ExchangeTask) -> Post:
    return Post.objects.filter(organisation=task.grant.provider, role=Role.HEAD).get()


def test_chunks_go_straight_to_a_node_that_listens_and_the_receipt_is_the_same(
    departments: tuple[Department, Department, ExchangeTask],
) -> None:
    provider, consumer, task = departments
    consumer.node.close()
    configuration = consumer.folder / "home" / homes.CONFIGURATION
    configuration.write_text(configuration.read_text(encoding="utf-8") + 'listen = "127.0.0.1:0"\n', encoding="utf-8")
    consumer.node = Node(homes.load(consumer.folder / "home"))
    consumer.node.listen()
    NodeRecord.objects.filter(pk=consumer.record.pk).update(seen_at=None)  # so that the next heartbeat is written down
    consumer.rounds(1)
    run = actions.start_run(task, by=sharing_asker(task))
    provider.rounds(1)
    assert Run.objects.get(pk=run.pk).state == RunState.DELIVERING
    assert not RelayChunk.objects.filter(run=run).exists()
    consumer.rounds(1)
    done = Run.objects.get(pk=run.pk)
    assert done.state == RunState.RECONCILED, done.problem
    assert ExchangeReceipt.objects.get(run=run).receiver_signature


def test_a_node_changes_its_key_and_goes_on_with_the_password_that_was_entered_once(
    departments: tuple[Department, Department, ExchangeTask],
) -> None:
    provider, consumer, task = departments
    DataSource.objects.filter(pk=provider.source.pk).update(
        sealed_password=provider.node.home.identity.public.seal(b"entered once")
    )
    before = provider.node.home.identity.key_id
    started = actions.start_run(task, by=sharing_asker(task))
    (provider.folder / "home" / homes.ROTATE_REQUEST).touch()
    provider.rounds(1)
    after = provider.node.home.identity
    record = NodeRecord.objects.get(pk=provider.record.pk)
    assert record.key_id == after.key_id != before
    assert after.unseal(DataSource.objects.get(pk=provider.source.pk).sealed_password) == b"entered once"
    consumer.rounds(1)
    assert Run.objects.get(pk=started.pk).state == RunState.RECONCILED
    receipt = ExchangeReceipt.objects.get(run=started)
    assert receipt.sender_key_id == before
    assert [side.holds for side in signatures(receipt)] == [True, True]
