"""Data sources and bindings."""

from datetime import timedelta

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.slots import left_slots
from jinqiao.exchange.enums import NodeKind, SourceState
from jinqiao.exchange.errors import (
    BindingWouldDouble,
    ColumnUnknown,
    ConnectionIncomplete,
    EntryNotPublished,
    ItemUnknown,
    LookupNotBound,
    NodeKindWrong,
    NodeOfAnotherOrganisation,
    NotYourEntry,
    NotYourSource,
    NumberTaken,
    RunAlreadyLive,
    SourceInUse,
    TableUnknown,
    TypeMismatch,
    WatermarkMissing,
)
from jinqiao.exchange.models import Binding, DataSource, ExchangeTask, NodeCommand, ReplicationSlot, SourceTable
from jinqiao.exchange.queries.runs import order_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, ExchangeOrder, Problem, SlotStatus
from jinqiao.kernel.crypto.errors import SealBroken
from tests.exchange.factories import BOUND, TABLE, World, make_node, make_source
from tests.exchange.test_alerts import open_kinds
from tests.factories import make_authority, make_organisation, make_post

pytestmark = pytest.mark.django_db


def add(world: World, **changes: object) -> DataSource:
    fields = {"node": world.provider_node.node, "name": "库", "engine": "postgresql", "host": "db", "user": "u"}
    return actions.add_data_source(by=world.parties.clerk, **{"database": "d", "password": "p", **fields, **changes})  # type: ignore[arg-type]


def test_a_source_is_tested_and_listed_by_its_node(world: World) -> None:
    assert world.source.state == SourceState.REACHABLE
    assert world.source.state_note == {"server_version": "PostgreSQL 15.6"}
    assert [table.name for table in world.source.tables.all()] == ["marriage"]
    assert world.source.port == 5432


def test_the_password_is_sealed_to_the_node_and_kept_nowhere_else(world: World) -> None:
    source = world.source

    assert world.provider_node.identity.unseal(source.sealed_password) == b"s3cret-of-the-source"
    with pytest.raises(SealBroken):
        world.consumer_node.identity.unseal(source.sealed_password)
    assert "s3cret" not in repr(list(DataSource.objects.values()))
    assert "s3cret" not in repr(list(AuditEvent.objects.values()))


def test_the_password_is_sealed_to_the_gateway_too_where_there_is_one() -> None:
    organisation = make_organisation()
    centre = make_node(make_authority(), NodeKind.GATEWAY)
    source = make_source(make_node(organisation), make_post(Role.OPERATOR, organisation))

    assert source.sealed_for_gateway == centre.node
    assert centre.identity.unseal(source.gateway_sealed_password) == b"s3cret-of-the-source"


def test_a_failed_test_says_why_without_the_password(world: World) -> None:
    actions.test_connection(world.source, by=world.parties.clerk)
    command = world.provider_node.take(CommandKind.TEST_CONNECTION)
    problem = Problem(code="source.connection.authentication", details={"user": "reader"})
    world.provider_node.answer(
        CommandResult(command_id=command.id, ok=False, problem=problem, finished_at=moments.now())
    )

    world.source.refresh_from_db()
    assert world.source.state == SourceState.UNREACHABLE
    assert world.source.state_note["code"] == "source.connection.authentication"


def test_asking_twice_leaves_one_waiting_command(world: World) -> None:
    actions.list_tables(world.source, by=world.parties.clerk)
    actions.list_tables(world.source, by=world.parties.clerk)

    assert NodeCommand.objects.filter(state="waiting", kind=CommandKind.LIST_TABLES).count() == 1


def test_tables_that_are_gone_leave_the_list(world: World) -> None:
    actions.list_tables(world.source, by=world.parties.clerk)
    command = world.provider_node.take(CommandKind.LIST_TABLES)
    world.provider_node.answer(CommandResult(command_id=command.id, ok=True, tables=(), finished_at=moments.now()))

    assert not world.source.tables.exists()


def test_a_new_password_is_tested_at_once(world: World) -> None:
    actions.change_password(world.source, by=world.parties.clerk, password="another-one")

    command = world.provider_node.take(CommandKind.TEST_CONNECTION)
    assert command.connection is not None
    assert world.provider_node.identity.unseal(command.connection.sealed_password) == b"another-one"


def test_a_source_that_moved_is_changed_and_tested_anew(world: World) -> None:
    source = actions.change_data_source(
        world.source, by=world.parties.clerk, name="新库", host="10.9.9.9", port=6000, database="biz2", user="reader2"
    )

    command = world.provider_node.take(CommandKind.TEST_CONNECTION)
    assert command.connection is not None
    assert (command.connection.host, command.connection.port, command.connection.database) == ("10.9.9.9", 6000, "biz2")
    assert (source.state, source.is_writable) == (SourceState.UNTESTED, False)
    with pytest.raises(ConnectionIncomplete):
        actions.change_data_source(source, by=world.parties.clerk, name="新库", database="biz2")
    with pytest.raises(NotYourSource):
        actions.change_data_source(source, by=world.parties.asker, name="新库", database="biz2")


def test_a_source_stands_behind_its_own_departments_front_end_node(world: World) -> None:
    with pytest.raises(NodeOfAnotherOrganisation):
        add(world, node=world.consumer_node.node)
    with pytest.raises(NodeKindWrong):
        add(world, node=make_node(world.parties.provider, NodeKind.GATEWAY).node)


@pytest.mark.parametrize("changes", [{"host": ""}, {"user": ""}, {"database": ""}])
def test_a_server_needs_host_account_and_database(world: World, changes: dict[str, str]) -> None:
    with pytest.raises(ConnectionIncomplete):
        add(world, **changes)


def test_a_file_needs_neither_host_nor_account(world: World) -> None:
    source = add(world, engine="sqlite", host="ignored", user="", password="", database="/data/biz.db")

    assert (source.host, source.port, source.sealed_password) == ("", None, "")


def test_numbers_of_sources_are_given_once(world: World) -> None:
    with pytest.raises(NumberTaken):
        add(world, number=world.source.number)


@pytest.mark.parametrize("role", [Role.HEAD, Role.BUREAU, Role.AUDITOR, Role.DEVELOPER, Role.SECURITY_ADMINISTRATOR])
def test_who_may_not_register_sources(world: World, role: Role) -> None:
    with pytest.raises(NotYourSource):
        actions.add_data_source(
            by=make_post(role, world.parties.provider),
            node=world.provider_node.node,
            name="库",
            engine="sqlite",
            database="/d",
        )


def test_another_department_does_not_test_a_source(world: World) -> None:
    with pytest.raises(NotYourSource):
        actions.test_connection(world.source, by=world.parties.asker)


def bind(world: World, **changes: object) -> Binding:
    return actions.bind_entry(
        world.parties.entry,
        **{"by": world.parties.clerk, "source": world.source, "table": "marriage", "columns": BOUND, **changes},  # type: ignore[arg-type]
    )


def test_binding_again_replaces_the_binding(world: World) -> None:
    binding = bind(world, columns={"xm": "name"}, key_columns=["id"])

    assert (binding.pk, binding.columns, binding.watermark_column) == (world.binding.pk, {"xm": "name"}, "")


def other_source(world: World) -> DataSource:
    return make_source(world.provider_node, world.parties.clerk, name="新业务库", host="10.9.9.9")


def bind_to(world: World, source: DataSource, **changes: object) -> Binding:
    return bind(world, source=source, **{"key_columns": ["id_card"], "watermark_column": "updated_at", **changes})


def slot_looked_at(world: World, source: DataSource, *slots: SlotStatus) -> None:
    """The provider's node has looked at a source."""
    NodeCommand.objects.filter(source=source).update(created_at=moments.now() - timedelta(hours=2))
    actions.test_connection(source, by=world.parties.clerk)
    command = world.provider_node.take(CommandKind.TEST_CONNECTION)
    world.provider_node.answer(CommandResult(command_id=command.id, ok=True, slots=slots, finished_at=moments.now()))


def full_slot(name: str, retained_bytes: int = 50 * 2**30) -> SlotStatus:
    return SlotStatus(name=name, active=False, retained_bytes=retained_bytes, lag_bytes=0)


def next_order(world: World, task: ExchangeTask) -> ExchangeOrder:
    return order_of(actions.start_run(task, by=world.parties.asker))


@pytest.mark.parametrize("change", ["source", "table", "watermark_column"])
def test_tasks_of_an_entry_that_is_bound_to_another_table_begin_anew(world: World, change: str) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))
    SourceTable.objects.create(source=world.source, name="marriage_2", schema={**TABLE.to_json(), "name": "marriage_2"})
    changes = {"source": other_source(world), "table": "marriage_2", "watermark_column": "reg_date"}
    assert ExchangeTask.objects.get().cursor != ""

    bind_to(world, **{"source": world.source, change: changes[change]})  # type: ignore[arg-type]

    assert next_order(world, task).after == ""
    assert AuditEvent.objects.filter(action="exchange.task.start_over").count() == 1


def test_other_columns_of_the_same_table_leave_the_cursor(world: World) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))

    bind_to(world, world.source, lookup_items=["sfzh"])

    assert next_order(world, task).after == ExchangeTask.objects.get().cursor != ""


@pytest.mark.parametrize("is_live", [False, True])
def test_an_entry_is_not_bound_to_another_table_where_that_would_double_rows(world: World, is_live: bool) -> None:
    run = world.run(world.task(mode="watermark", delivery="append"))
    if not is_live:
        world.finished(run)
    other = other_source(world)

    with pytest.raises(BindingWouldDouble):
        bind_to(world, other)

    assert Binding.objects.get().source == world.source
    assert (ExchangeTask.objects.get().cursor == "") is is_live


def test_the_slot_at_the_earlier_source_is_dropped_and_watched_until_it_is_gone(world: World) -> None:
    task = world.task(mode="log")
    name, other = task.slot, other_source(world)
    slot_looked_at(world, world.source, full_slot(name))
    ExchangeTask.objects.filter(pk=task.pk).update(cursor="0/16B3748")
    actions.watch()
    assert open_kinds() == ["slot_growing"]

    bind_to(world, other)
    drop = world.provider_node.take(CommandKind.DROP_SLOT)
    assert (drop.slot, drop.data_source) == (name, world.source.number)
    task.refresh_from_db()
    assert (task.cursor, task.slot.startswith("jinqiao_"), task.slot != name) == ("", True, True)
    slot_looked_at(world, other, full_slot(task.slot, 5))
    world.provider_node.answer(world.provider_node.failed(drop))
    actions.watch()
    assert (ReplicationSlot.objects.get().name, open_kinds()) == (name, ["slot_growing"])

    NodeCommand.objects.update(created_at=moments.now() - timedelta(hours=2))
    actions.watch_slots()
    again = [command for command in world.provider_node.poll() if command.kind is CommandKind.DROP_SLOT]
    assert [(command.slot, command.data_source) for command in again] == [(name, world.source.number)]
    result = CommandResult(command_id=again[0].id, ok=True, finished_at=moments.now())
    world.provider_node.answer(result)
    actions.watch()
    assert (ReplicationSlot.objects.count(), open_kinds(), left_slots(world.source)) == (0, [], {})
    slot_looked_at(world, other, full_slot(task.slot, 5))
    assert ReplicationSlot.objects.get().name == task.slot
    order = next_order(world, task)
    assert (order.slot, order.after) == (task.slot, "")


def test_a_source_with_a_slot_that_was_left_there_is_retired_only_once_it_cannot_be_dropped(world: World) -> None:
    task = world.task(mode="log")
    slot_looked_at(world, world.source, full_slot(task.slot))
    bind_to(world, other_source(world))
    with pytest.raises(SourceInUse):
        actions.retire_data_source(world.source, by=world.parties.clerk)

    DataSource.objects.filter(pk=world.source.pk).update(state=SourceState.UNREACHABLE)
    actions.retire_data_source(world.source, by=world.parties.clerk)

    assert not ReplicationSlot.objects.exists()


def test_a_log_that_is_being_read_stays_bound(world: World) -> None:
    run = world.run(world.task(mode="log"))
    other = other_source(world)
    with pytest.raises(RunAlreadyLive):
        bind_to(world, other)

    actions.stop_run(run, by=world.parties.clerk)
    assert bind_to(world, other).source == other


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"columns": {"zz": "name"}}, ItemUnknown),
        ({"columns": {"xm": "nowhere"}}, ColumnUnknown),
        ({"columns": {"je": "valid"}}, TypeMismatch),
        ({"columns": {"xm": "photo"}}, TypeMismatch),
        ({"key_columns": ["nowhere"]}, ColumnUnknown),
        ({"watermark_column": "updated_at"}, WatermarkMissing),
        ({"columns": {"xm": "name"}, "lookup_items": ["sfzh"]}, LookupNotBound),
        ({"table": "nowhere"}, TableUnknown),
    ],
)
def test_a_binding_that_does_not_hold_is_refused(
    world: World, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        bind(world, **changes)


def test_only_the_provider_binds_its_entry_and_to_its_own_source(world: World) -> None:
    with pytest.raises(NotYourEntry):
        bind(world, by=world.parties.asker)
    with pytest.raises(NotYourEntry):
        bind(world, by=world.parties.provider_head)
    with pytest.raises(NotYourSource):
        bind(world, source=world.target)


def test_an_entry_that_is_not_published_is_not_bound(world: World) -> None:
    entry = world.parties.entry
    entry.live_version = None
    entry.save()

    with pytest.raises(EntryNotPublished):
        bind(world)
