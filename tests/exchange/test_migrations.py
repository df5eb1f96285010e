"""Rows from before the exchange had modes and alerts keep their meaning."""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from jinqiao.exchange.models import ExchangeTask, NodeIdentity, Run
from tests.exchange.factories import make_world
from tests.factories import seed_calendar

BEFORE = [("exchange", "0002_task_modes_alerts_comparisons")]
SINCE = [("exchange", "0003_earlier_rows")]


@pytest.mark.django_db(transaction=True)
def test_earlier_tasks_runs_and_nodes_are_told_in_the_new_columns(settings: Any, tmp_path: Any) -> None:
    settings.RELAY_ROOT = tmp_path
    seed_calendar()
    world = make_world()
    run = world.finished(world.run(world.task(mode="watermark")))
    latest = [key for key in MigrationExecutor(connection).loader.graph.leaf_nodes() if key[0] == "exchange"]
    size = run.bytes
    ExchangeTask.objects.update(delivery="mirror")
    Run.objects.update(bytes=None, rows_read=None, snapshot="")
    NodeIdentity.objects.all().delete()

    MigrationExecutor(connection).migrate(BEFORE)
    MigrationExecutor(connection).migrate(SINCE)
    MigrationExecutor(connection).migrate(latest)

    run.refresh_from_db()
    assert ExchangeTask.objects.get().delivery == "upsert"
    assert (run.bytes, run.rows_read, run.snapshot, run.readers) == (size, 3, "single transaction", 1)
    key_ids = {hands.node.key_id for hands in (world.provider_node, world.consumer_node)}
    assert set(NodeIdentity.objects.values_list("key_id", flat=True)) == key_ids
