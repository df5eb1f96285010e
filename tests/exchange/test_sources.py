"""Data sources and bindings."""

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import NodeKind, SourceState
from jinqiao.exchange.errors import (
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
    TableUnknown,
    TypeMismatch,
    WatermarkMissing,
)
from jinqiao.exchange.models import Binding, DataSource, NodeCommand
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, Problem
from jinqiao.kernel.crypto.errors import SealBroken
from tests.exchange.factories import BOUND, World, make_node, make_source
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
