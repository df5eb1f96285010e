"""Replication slots at a real PostgreSQL: each test of a connection tells of ours, and one is dropped when the platform says so."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.process import Node
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult
from tests.dataplane.node.world import PROVIDER, World
from tests.servers import Server


def ask(world: World, server: Server, kind: CommandKind, slot: str = "") -> CommandResult:
    sealed = world.provider.seal(server.password.encode())
    connection = replace(server.connection(), sealed_password=sealed)
    command = world.platform.command(PROVIDER, kind, connection=connection, slot=slot)
    with closing(Node(homes.load(world.home(PROVIDER)))) as node:
        assert node.run_once()
    return world.platform.result_of(command)


def slots(server: Server) -> set[str]:
    return {row[0] for row in server.fetch("SELECT slot_name::text FROM pg_replication_slots")}


@pytest.fixture
def slotted(postgresql_server: Server) -> Iterator[Server]:
    names = ("jinqiao_jh_2026_0001", "theirs")
    for name in names:
        postgresql_server.execute(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    yield postgresql_server
    for name in slots(postgresql_server).intersection(names):
        postgresql_server.execute(f"SELECT pg_drop_replication_slot('{name}')")


def test_a_slot_of_ours_is_told_of_and_dropped(world: World, slotted: Server) -> None:
    told = ask(world, slotted, CommandKind.TEST_CONNECTION)
    assert told.ok, told.problem
    assert "jinqiao_jh_2026_0001" in {slot.name for slot in told.slots}
    assert "theirs" not in {slot.name for slot in told.slots}

    dropped = ask(world, slotted, CommandKind.DROP_SLOT, "jinqiao_jh_2026_0001")

    assert dropped.ok, dropped.problem
    assert "jinqiao_jh_2026_0001" not in {slot.name for slot in dropped.slots} | slots(slotted)
    assert ask(world, slotted, CommandKind.DROP_SLOT, "jinqiao_jh_2026_0001").ok  # said again: gone is gone


def test_a_slot_that_is_not_ours_stays(world: World, slotted: Server) -> None:
    refused = ask(world, slotted, CommandKind.DROP_SLOT, "theirs")

    assert refused.problem is not None
    assert "theirs" in slots(slotted)
