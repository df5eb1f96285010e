"""Two real nodes and the real platform over HTTP: registered by code, bound, granted, run, reconciled, purged."""

import base64
import sqlite3
from contextlib import closing

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.process import Node
from jinqiao.exchange import actions
from jinqiao.exchange.enums import RunState, SourceState
from jinqiao.exchange.models import DataSource, ExchangeReceipt, ExchangeTask, RelayChunk, Run
from jinqiao.exchange.models import Node as NodeRecord
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.kernel.contracts.exchange import Receipt
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.sharing.actions import revoke_grant
from tests.dataplane.node.marriages import ROWS, Department, sharing_asker, sharing_bureau
from tests.dataplane.node.marriages import departments as departments

pytestmark = pytest.mark.django_db(transaction=True)


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
