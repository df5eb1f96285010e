"""Replication slots on the pages of the source and of the task."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from jinqiao.exchange import actions
from jinqiao.exchange.models import ExchangeTask, ReplicationSlot
from jinqiao.kernel import moments
from tests.exchange.factories import BOUND, World, make_source

pytestmark = pytest.mark.django_db


def pages(enter: Any, world: World, task: ExchangeTask) -> tuple[str, str]:
    """The page of the source, and that of the task, as the provider's administrator sees them."""
    client = enter(world.provider_admin)
    source = world.source.pk
    asked = (reverse("exchange:source", args=[source]), reverse("exchange:task", args=[task.pk]))
    first, second = (client.get(url).content.decode() for url in asked)
    return first, second


def test_a_slot_is_shown_with_what_it_retains_against_its_bound(enter: Any, world: World) -> None:
    task = world.task(mode="log")
    for text in pages(enter, world, task):
        assert task.slot in text
        assert "还没有看到" in text
    ReplicationSlot.objects.create(
        task=task,
        name=task.slot,
        retained_bytes=1_234_000_000,
        is_active=False,
        seen_at=moments.now() - timedelta(minutes=3),
    )

    for text in pages(enter, world, task):
        assert "1,234" in text
        assert "1,000" in text
        assert "超过界限" in text
    actions.set_alert_rule("slot_growing", by=world.parties.bureau, task=task, parameters={"retained_bytes": 2e9})
    for text in pages(enter, world, task):
        assert "2,000" in text
        assert "界限之内" in text


def test_a_slot_that_nobody_reads_any_more_says_so(enter: Any, world: World) -> None:
    task = world.task(mode="log")
    ReplicationSlot.objects.create(task=task, name=task.slot, retained_bytes=5, is_active=True, seen_at=moments.now())
    actions.configure_task(task, by=world.parties.asker, target=world.target, target_table="t", mode="full")

    for text in pages(enter, world, task):
        assert "任务不再读它，节点正在释放" in text


def test_a_slot_that_was_left_at_an_earlier_source_is_shown_there_and_at_the_task(enter: Any, world: World) -> None:
    task = world.task(mode="log")
    name = task.slot
    ReplicationSlot.objects.create(task=task, name=name, retained_bytes=5, is_active=True, seen_at=moments.now())
    actions.bind_entry(
        world.parties.entry,
        by=world.parties.clerk,
        source=make_source(world.provider_node, world.parties.clerk, name="新业务库"),
        table="marriage",
        columns=BOUND,
        key_columns=["id_card"],
    )
    task.refresh_from_db()

    at_source, at_task = pages(enter, world, task)

    for text in (at_source, at_task):
        assert name in text
        assert "任务不再读它，节点正在释放" in text
    assert (task.slot in at_source, task.slot in at_task) == (False, True)


def test_a_source_and_a_task_without_slots_say_nothing_of_them(enter: Any, world: World) -> None:
    for text in pages(enter, world, world.task()):
        assert 'id="slots"' not in text
