"""What a node says of a batch is believed only where it agrees with itself, with its order and with the other side."""

from dataclasses import replace
from typing import Any

import pytest

from jinqiao.exchange.actions.outcome import check_counts, check_manifest
from jinqiao.exchange.errors import ColumnsBeyondGrant, CountsDiffer, ManifestWrong
from jinqiao.exchange.models import ExchangeTask
from jinqiao.exchange.queries.runs import order_of
from jinqiao.kernel.contracts.exchange import (
    BatchManifest,
    ChunkForm,
    ChunkKind,
    ChunkManifest,
    CommandKind,
    CopyMode,
    Delivery,
    DeliveryCounts,
    ExchangeOrder,
)
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.digests import batch_digest
from tests.exchange.factories import World


@pytest.fixture
def order(world: World) -> ExchangeOrder:
    return order_of(world.run(world.task(mode="diff", target_names={"xm": "name"})))


@pytest.fixture
def manifest(world: World, order: ExchangeOrder) -> BatchManifest:
    """Three rows and two deletes."""
    command = world.provider_node.take(CommandKind.EXTRACT)
    plain = world.provider_node.manifest(command, rows=3)
    names = order.target_names
    columns = tuple(replace(column, name=names.get(column.name, column.name)) for column in plain.columns)
    deletes = ChunkManifest(number=2, rows=2, size_bytes=9, digest="aa", content_digest="bb", kind=ChunkKind.DELETES)
    chunks = (*plain.chunks, deletes)
    return replace(
        plain,
        columns=columns,
        chunks=chunks,
        rows_read=100,
        rows_deleted=2,
        batch_digest=batch_digest([chunk.content_digest for chunk in chunks], plain.suite),
    )


def check(world: World, order: ExchangeOrder, manifest: BatchManifest) -> None:
    check_manifest(order, manifest, world.provider_node.node)


def test_a_diff_reads_more_than_it_brings_and_counts_deletes_apart(
    world: World, order: ExchangeOrder, manifest: BatchManifest
) -> None:
    check(world, order, manifest)


@pytest.mark.parametrize(
    ("changes", "of_order", "reason"),
    [
        ({"rows": 5}, {}, "rows"),
        ({"rows_deleted": 1}, {}, "rows_deleted"),
        ({}, {"mode": CopyMode.WATERMARK}, "rows_deleted"),
        ({"rows_read": 2}, {}, "rows_read"),
        ({"form": ChunkForm.PGCOPY}, {"target_engine": Engine.MYSQL}, "form"),
        ({"rows_quarantined": 50}, {}, "quarantine"),
        ({"batch_digest": "00"}, {}, "batch_digest"),
        ({"run_id": "RUN-2"}, {}, "run_id"),
    ],
)
def test_what_does_not_agree_is_named(
    world: World, order: ExchangeOrder, manifest: BatchManifest, changes: Any, of_order: Any, reason: str
) -> None:
    with pytest.raises(ManifestWrong) as caught:
        check(world, replace(order, **of_order), replace(manifest, **changes))

    assert caught.value.details["reason"] == reason


def test_columns_go_by_the_names_of_the_target(world: World, order: ExchangeOrder, manifest: BatchManifest) -> None:
    with pytest.raises(ColumnsBeyondGrant):
        check(world, replace(order, target_names={}), manifest)


@pytest.mark.parametrize(
    ("mode", "delivery", "complete", "target_rows", "is_right"),
    [
        (CopyMode.FULL, Delivery.MIRROR, False, 3, True),
        (CopyMode.FULL, Delivery.MIRROR, False, 4, False),
        (CopyMode.FULL, Delivery.RELOAD, False, 4, False),
        (CopyMode.FULL, Delivery.APPEND, False, 900, True),
        (CopyMode.FULL, Delivery.HISTORY, False, 5, True),
        (CopyMode.DIFF, Delivery.MIRROR, False, 900, True),
        (CopyMode.DIFF, Delivery.MIRROR, True, 900, False),
        (CopyMode.LOG, Delivery.MIRROR, True, 3, True),
        (CopyMode.WATERMARK, Delivery.UPSERT, False, 900, True),
    ],
)
def test_only_a_whole_mirror_holds_exactly_what_was_sent(
    world: World,
    order: ExchangeOrder,
    manifest: BatchManifest,
    mode: CopyMode,
    delivery: Delivery,
    complete: bool,
    target_rows: int,
    is_right: bool,
) -> None:
    order, manifest = replace(order, mode=mode, delivery=delivery), replace(manifest, complete=complete)
    counts = DeliveryCounts(received=3, inserted=1, updated=1, deleted=2, unchanged=1, target_rows=target_rows)
    node = world.consumer_node.node
    if is_right:
        check_counts(order, manifest, counts, node)
    else:
        with pytest.raises(CountsDiffer):
            check_counts(order, manifest, counts, node)
    with pytest.raises(CountsDiffer):
        check_counts(order, manifest, replace(counts, received=2), node)


@pytest.mark.parametrize("mode", ["diff", "log", "watermark"])
def test_the_cursor_moves_with_the_receipt_in_every_mode_that_has_one(world: World, mode: str) -> None:
    task = world.task(mode=mode)
    run = world.run(task)
    command = world.provider_node.take(CommandKind.EXTRACT)
    world.provider_node.answer(world.provider_node.extracted(command, new_cursor="0/16B3748"))
    assert ExchangeTask.objects.get(pk=task.pk).cursor == ""
    world.consumer_node.answer(world.consumer_node.delivered(world.consumer_node.take(CommandKind.DELIVER)))

    run.refresh_from_db()
    task.refresh_from_db()
    assert (run.state, task.cursor) == ("reconciled", "0/16B3748")
    assert order_of(world.run(task)).after == "0/16B3748"
