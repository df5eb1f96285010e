"""A source leads to another place: its tasks begin anew there, or go on where the same data has moved along."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.slots import left_slots
from jinqiao.exchange.connections import place_of
from jinqiao.exchange.enums import SourceState
from jinqiao.exchange.errors import MoveWouldDouble, RunAlreadyLive, SourceInUse
from jinqiao.exchange.models import DataSource, ExchangeTask, NodeCommand, ReplicationSlot, Run
from jinqiao.exchange.queries.moving import changed_connection, tasks_to_ask_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Command, CommandKind, CommandResult
from jinqiao.kernel.contracts.tables import Connection, Engine
from tests.exchange.factories import World
from tests.exchange.test_sources import full_slot, next_order, open_kinds, slot_looked_at

pytestmark = pytest.mark.django_db

KEPT = {"name": "业务库", "host": "10.1.2.3", "port": 5432, "database": "biz", "user": "reader"}


def change(world: World, **changes: Any) -> DataSource:
    world.source.refresh_from_db()
    return actions.change_data_source(world.source, by=world.parties.clerk, **{**KEPT, **changes})


def moved(world: World, **changes: Any) -> DataSource:
    return change(world, **{"host": "10.9.9.9", **changes})


def with_cursor(world: World, **configuration: Any) -> ExchangeTask:
    """A task that has come through once."""
    task = world.task(**{"mode": "watermark", **configuration})
    world.finished(world.run(task))
    task.refresh_from_db()
    assert task.cursor
    return task


def drops(world: World) -> list[Command]:
    """Orders to drop a slot that wait."""
    return [command for command in world.provider_node.poll() if command.kind is CommandKind.DROP_SLOT]


def gone(world: World, drop: Command) -> None:
    world.provider_node.answer(CommandResult(command_id=drop.id, ok=True, finished_at=moments.now()))


def host_of(command: Command) -> str:
    assert command.connection is not None
    return command.connection.host


def told(world: World) -> dict[str, Any]:
    event = AuditEvent.objects.filter(action="exchange.source.change").latest("id")
    return {name: event.details[name] for name in ("is_same_data", "tasks_anew", "tasks_going_on")}


@pytest.mark.parametrize(
    "changes", [{"host": "10.9.9.9"}, {"port": 6000}, {"database": "biz2"}, {"options": {"schema": "civil"}}]
)
def test_tasks_of_a_source_that_leads_elsewhere_begin_anew(world: World, changes: dict[str, Any]) -> None:
    task = with_cursor(world)

    change(world, **changes)

    assert told(world) == {"is_same_data": False, "tasks_anew": 1, "tasks_going_on": 0}
    assert AuditEvent.objects.filter(action="exchange.task.start_over").count() == 1
    assert next_order(world, task).after == ""


def test_tasks_go_on_where_the_same_data_has_moved_along_and_that_is_recorded(world: World) -> None:
    task = with_cursor(world)

    moved(world, is_same_data=True)

    assert told(world) == {"is_same_data": True, "tasks_anew": 0, "tasks_going_on": 1}
    assert next_order(world, task).after == task.cursor


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "新名"},
        {"user": "reader2"},
        {"is_writable": True},
        {"host": " 10.1.2.3"},
        {"port": None},
        {"options": {"schema": "public", "sslmode": "require", "connect_timeout_s": 5}},
    ],
)
def test_what_is_no_place_leaves_everything(world: World, changes: dict[str, Any]) -> None:
    task, log = with_cursor(world), world.task(mode="log")
    listed_at = DataSource.objects.get(pk=world.source.pk).tables_listed_at

    source = change(world, **changes)
    actions.change_password(source, by=world.parties.clerk, password="another-one")

    slots = dict(ExchangeTask.objects.values_list("pk", "slot"))
    assert (next_order(world, task).after, slots[log.pk]) == (task.cursor, log.slot)
    assert (drops(world), DataSource.objects.get(pk=source.pk).tables_listed_at) == ([], listed_at)
    assert "is_moved" not in AuditEvent.objects.filter(action="exchange.source.change").latest("id").details


def test_a_first_run_that_read_the_earlier_place_moves_no_cursor(world: World) -> None:
    task = world.task(mode="watermark")
    run = world.run(task)

    moved(world)
    world.finished(run)

    assert next_order(world, task).after == ""


def test_a_run_that_read_the_earlier_place_moves_no_cursor_though_the_same_data_moved_along(world: World) -> None:
    task = with_cursor(world)
    run = world.run(task)
    before = task.cursor

    moved(world, is_same_data=True)
    world.finished(run)

    assert next_order(world, task).after == before


def test_rows_are_not_appended_a_second_time(world: World) -> None:
    task = with_cursor(world, delivery="append")

    with pytest.raises(MoveWouldDouble):
        moved(world)
    assert DataSource.objects.get(pk=world.source.pk).host == "10.1.2.3"
    moved(world, is_same_data=True)

    assert next_order(world, task).after == task.cursor


@pytest.mark.parametrize("is_same_data", [False, True])
def test_a_source_stays_while_rows_of_it_are_on_their_way_to_be_appended(world: World, is_same_data: bool) -> None:
    run = world.run(world.task(mode="watermark", delivery="append"))

    with pytest.raises(RunAlreadyLive):
        moved(world, is_same_data=is_same_data)

    world.finished(run)
    moved(world, is_same_data=True)


@pytest.mark.parametrize("is_same_data", [False, True])
def test_a_log_is_read_anew_with_another_slot_whatever_moved_along(world: World, is_same_data: bool) -> None:
    task = world.task(mode="log")
    name = task.slot
    ExchangeTask.objects.filter(pk=task.pk).update(cursor="0/16B3748")

    moved(world, is_same_data=is_same_data)

    waiting = drops(world)
    assert {(command.slot, host_of(command)) for command in waiting} == {(name, "10.1.2.3"), (name, "10.9.9.9")}
    assert told(world) == {"is_same_data": is_same_data, "tasks_anew": 1, "tasks_going_on": 0}
    order = next_order(world, task)
    assert (order.after, order.slot != name, order.slot.startswith("jinqiao_")) == ("", True, True)


@pytest.mark.parametrize("is_same_data", [False, True])
def test_a_log_that_is_being_read_or_appended_stays_where_it_is(world: World, is_same_data: bool) -> None:
    run = world.run(world.task(mode="log"))
    with pytest.raises(RunAlreadyLive):
        moved(world, is_same_data=is_same_data)

    actions.stop_run(run, by=world.parties.clerk)
    ExchangeTask.objects.update(delivery="append", cursor="0/16B3748")
    with pytest.raises(MoveWouldDouble):
        moved(world, is_same_data=is_same_data)
    assert drops(world) == []


def test_the_slot_at_the_earlier_place_is_dropped_there_until_it_is_gone(world: World) -> None:
    task = world.task(mode="log")
    name = task.slot
    slot_looked_at(world, world.source, full_slot(name))
    actions.watch()
    assert open_kinds() == ["slot_growing"]

    moved(world)
    earlier, present = sorted(drops(world), key=host_of)
    gone(world, present)
    task.refresh_from_db()
    slot_looked_at(world, world.source, full_slot(task.slot, 5))  # at the new place there is but the new one
    world.provider_node.answer(world.provider_node.failed(earlier))
    actions.watch()
    assert (ReplicationSlot.objects.get().name, open_kinds()) == (name, ["slot_growing"])

    actions.change_password(world.source, by=world.parties.clerk, password="another-one")
    NodeCommand.objects.update(created_at=moments.now() - timedelta(hours=2))
    actions.watch_slots()
    (again,) = drops(world)
    assert (again.slot, again.connection) == (name, earlier.connection)  # with the account of then
    assert again.connection is not None
    assert world.provider_node.identity.unseal(again.connection.sealed_password) == b"s3cret-of-the-source"

    gone(world, again)
    actions.watch()
    assert (open_kinds(), left_slots(DataSource.objects.get(pk=world.source.pk))) == ([], {})
    slot_looked_at(world, world.source, full_slot(task.slot, 5))
    assert ReplicationSlot.objects.get().name == task.slot


def test_a_slot_at_a_place_that_is_gone_is_given_up_after_a_month_and_told_no_more(world: World) -> None:
    task = world.task(mode="log")
    slot_looked_at(world, world.source, full_slot(task.slot))
    moved(world)
    earlier, present = sorted(drops(world), key=host_of)
    gone(world, present)
    world.provider_node.answer(world.provider_node.failed(earlier))
    NodeCommand.objects.update(created_at=moments.now() - timedelta(days=30, hours=3))
    actions.watch_slots()
    (again,) = drops(world)
    world.provider_node.answer(world.provider_node.failed(again))
    NodeCommand.objects.filter(number=again.id).update(created_at=moments.now() - timedelta(hours=2))
    actions.watch()
    assert open_kinds() == ["slot_growing"]

    actions.watch_slots()
    actions.watch_slots()
    actions.watch()

    assert (drops(world), open_kinds()) == ([], [])
    (event,) = AuditEvent.objects.filter(action="exchange.slot.give_up")
    assert (event.details["slot"], event.outcome) == (task.slot, "failed")


def test_an_answer_from_the_earlier_place_says_nothing_of_the_slot_at_the_present_one(world: World) -> None:
    task = world.task(mode="log")
    moved(world)
    earlier, present = sorted(drops(world), key=host_of)
    gone(world, present)
    task.refresh_from_db()
    slot_looked_at(world, world.source, full_slot(task.slot, 5))

    gone(world, earlier)

    assert ReplicationSlot.objects.get().name == task.slot


def test_a_slot_at_a_place_that_is_gone_does_not_keep_a_source_from_being_retired(world: World) -> None:
    world.task(mode="log")
    moved(world)
    earlier, present = sorted(drops(world), key=host_of)
    gone(world, present)
    ExchangeTask.objects.update(state="ended", slot="")
    DataSource.objects.filter(pk=world.source.pk).update(state=SourceState.REACHABLE)
    with pytest.raises(SourceInUse):
        actions.retire_data_source(world.source, by=world.parties.clerk)

    world.provider_node.answer(world.provider_node.failed(earlier))
    assert actions.retire_data_source(world.source, by=world.parties.clerk).state == SourceState.RETIRED


def test_the_tables_of_the_other_place_are_listed_and_what_the_earlier_one_says_late_is_not_heard(world: World) -> None:
    actions.list_tables(world.source, by=world.parties.clerk)
    late = world.provider_node.take(CommandKind.LIST_TABLES)

    moved(world)
    world.provider_node.answer(CommandResult(command_id=late.id, ok=True, tables=(), finished_at=moments.now()))
    assert world.source.tables.count() == 1
    test = world.provider_node.take(CommandKind.TEST_CONNECTION)
    world.provider_node.answer(CommandResult(command_id=test.id, ok=True, finished_at=moments.now()))

    assert host_of(world.provider_node.take(CommandKind.LIST_TABLES)) == "10.9.9.9"


def move_target(world: World, **changes: Any) -> DataSource:
    return actions.change_data_source(
        world.target, by=world.parties.asker, **{**KEPT, "host": "10.9.9.9", "is_writable": True, **changes}
    )


def test_tasks_that_deliver_to_another_place_bring_everything_there(world: World) -> None:
    task = with_cursor(world)
    move_target(world)
    assert next_order(world, task).after == ""

    actions.stop_run(Run.objects.latest("id"), by=world.parties.asker)
    ExchangeTask.objects.update(cursor=task.cursor)
    move_target(world, host="10.9.9.10", is_same_data=True)
    assert next_order(world, task).after == task.cursor


def test_rows_are_not_appended_to_a_target_that_may_have_them(world: World) -> None:
    task = with_cursor(world, delivery="append")

    with pytest.raises(MoveWouldDouble):
        move_target(world)
    move_target(world, is_same_data=True)

    assert next_order(world, task).after == task.cursor


def test_a_target_stays_while_a_run_is_under_way(world: World) -> None:
    run = world.run(world.task())
    with pytest.raises(RunAlreadyLive):
        move_target(world)

    world.finished(run)
    assert move_target(world).host == "10.9.9.9"


def test_one_is_asked_of_the_tasks_that_know_where_they_were(world: World) -> None:
    task = with_cursor(world)
    elsewhere = changed_connection(world.source, database="biz2", host="10.1.2.3", port=5432, user="reader")
    same = changed_connection(world.source, database="biz", host="10.1.2.3", user="other", options={"sslmode": "allow"})

    assert tasks_to_ask_of(world.source, elsewhere) == [task]
    assert tasks_to_ask_of(world.source, same) == []
    ExchangeTask.objects.update(cursor="")
    assert tasks_to_ask_of(world.source, elsewhere) == []


HTTP = Connection(
    engine=Engine.HTTP,
    database="https://api.example.org/v1",
    options={"tables": {"a": {"path": "/a", "rows": "", "key": ["id"]}, "b": {"path": "/b"}}},
)


def test_an_interface_is_a_place_of_its_own() -> None:
    other = replace(HTTP, options={"tables": {"a": {"path": "/a2", "key": ["id"]}, "b": {"path": "/b", "key": ["id"]}}})

    assert place_of(HTTP) == place_of(other)
    assert place_of(HTTP, "a") != place_of(other, "a")
    assert place_of(HTTP, "b") == place_of(other, "b")
    assert place_of(HTTP, "a") != place_of(replace(HTTP, options={}), "a")


@given(
    user=st.text(max_size=5), password=st.text(max_size=5), timeout=st.integers(1, 300), sslmode=st.sampled_from(["", "require"])
)  # fmt: skip
def test_who_asks_and_how_is_no_place(user: str, password: str, timeout: int, sslmode: str) -> None:
    way = Connection(engine=Engine.POSTGRESQL, host="DB1.gov.cn", port=5432, database="biz", options={"schema": "a"})
    other = replace(
        way,
        host="db1.gov.cn",
        user=user,
        sealed_password=password,
        options={"schema": "a", "sslmode": sslmode, "connect_timeout_s": timeout},
    )

    assert place_of(way) == place_of(other)
    assert place_of(way) != place_of(replace(way, database="Biz"))
