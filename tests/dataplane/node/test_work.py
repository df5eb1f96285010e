"""What a node does with a command, and what it refuses."""

import base64
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.process import Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, Receipt
from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from tests.dataplane.node.small_platform import SmallPlatform
from tests.dataplane.node.world import CONSUMER, PROVIDER, RUN, World, make_world


@contextmanager
def working(world: World, node_id: str) -> Iterator[Node]:
    with closing(Node(homes.load(world.home(node_id)))) as node:
        yield node


def once(world: World, node_id: str) -> None:
    with working(world, node_id) as node:
        assert node.run_once()


def extracted(world: World, **changes: object) -> CommandResult:
    command = world.extract(world.order(**changes))
    once(world, PROVIDER)
    return world.platform.result_of(command)


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_a_batch_goes_from_one_department_to_the_other_and_both_sign_for_it(tmp_path: Path, suite: str) -> None:
    with SmallPlatform(suite) as platform:
        world = make_world(tmp_path, platform)
        order = world.order()
        sent = extracted(world)
        assert sent.ok
        assert sent.manifest is not None
        assert len(platform.chunks) == len(sent.manifest.chunks) == 4
        command = world.deliver(order, sent)
        once(world, CONSUMER)
        taken = platform.result_of(command)
    assert taken.ok
    assert taken.counts is not None
    assert (taken.counts.inserted, taken.counts.target_rows) == (2000, 2000)
    assert world.target_rows() == world.source_rows()
    assert sent.receipt == taken.receipt
    assert isinstance(sent.receipt, Receipt)
    world.provider.verify(sent.receipt.canonical(), base64.b64decode(sent.receipt_signature))
    world.consumer.verify(sent.receipt.canonical(), base64.b64decode(taken.receipt_signature))
    assert set(sent.seconds) == {"extract", "hand_over"}
    assert set(taken.seconds) == {"fetch", "deliver"}


def test_a_connection_is_tested_and_its_tables_are_listed(world: World) -> None:
    test = world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=world.source)
    tables = world.platform.command(PROVIDER, CommandKind.LIST_TABLES, connection=world.source)
    once(world, PROVIDER)
    assert world.platform.result_of(test).server_version
    (table,) = world.platform.result_of(tables).tables
    assert [column.name for column in table.columns] == ["id", "name", "registered_on"]


def test_a_database_that_is_not_there_is_reported_as_such(world: World) -> None:
    nowhere = Connection(engine=Engine.SQLITE, database=str(world.folder / "nowhere.db"))
    command = world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=nowhere)
    once(world, PROVIDER)
    result = world.platform.result_of(command)
    assert not result.ok
    assert result.problem is not None
    assert result.problem.code == "source.database.missing"


def test_an_order_that_the_platform_did_not_sign_is_refused(world: World) -> None:
    forger = Identity.generate()
    command = world.extract(world.order(), signer=forger)
    once(world, PROVIDER)
    result = world.platform.result_of(command)
    assert result.problem is not None
    assert result.problem.code == "node.command.not_of_platform"
    assert world.platform.chunks == {}


def test_an_order_altered_after_it_was_signed_is_refused(world: World) -> None:
    command = world.extract(world.order())
    world.platform.waiting[PROVIDER][0]["body"]["order"]["source_table"] = "secrets"
    once(world, PROVIDER)
    result = world.platform.result_of(command)
    assert result.problem is not None
    assert result.problem.code == "node.command.not_of_platform"


def test_a_forged_command_cannot_spoil_the_true_one_of_that_id(world: World) -> None:
    command = world.extract(world.order())
    true = world.platform.waiting[PROVIDER][0]
    forged = true | {"body": true["body"] | {"kind": "purge"}}
    world.platform.waiting[PROVIDER] = [forged]
    with working(world, PROVIDER) as node:
        node.run_once()
        world.platform.results.clear()
        world.platform.waiting[PROVIDER] = [true]
        node.run_once()
    assert world.platform.result_of(command).ok


@pytest.mark.parametrize(("first", "last"), [(-40, -1), (1, 40)])
def test_an_order_whose_grant_is_not_live_today_is_refused_on_both_sides(world: World, first: int, last: int) -> None:
    sent = extracted(world)
    today, order = moments.today(), world.order(run_id="RUN-2")
    grant = replace(order.grant, valid_from=today + timedelta(days=first), valid_until=today + timedelta(days=last))
    commands = [
        world.extract(replace(order, grant=grant)),
        world.deliver(world.order(grant=grant), sent),
    ]
    once(world, PROVIDER)
    once(world, CONSUMER)
    for command in commands:
        result = world.platform.result_of(command)
        assert result.problem is not None
        assert result.problem.code == "node.order.grant_not_live"
        assert result.problem.details["grant"] == "SQ-2026-0001/1"
        assert not result.problem.retryable


def test_a_grant_is_live_on_its_last_day(world: World) -> None:
    order = world.order()
    assert extracted(world, grant=replace(order.grant, valid_until=moments.today())).ok


@pytest.mark.parametrize("field", ["provider_node", "provider_identity", "run_id"])
def test_an_order_for_another_node_is_refused(world: World, field: str) -> None:
    other = {"provider_node": "other", "provider_identity": Identity.generate().public.to_json(), "run_id": "RUN-9"}
    order = world.order(**{field: other[field]})
    command = world.extract(order, run_id=RUN)
    once(world, PROVIDER)
    result = world.platform.result_of(command)
    assert result.problem is not None
    expected = "node.command.incomplete" if field == "run_id" else "node.order.other_node"
    assert result.problem.code == expected


def test_a_batch_without_the_senders_signature_is_not_delivered(world: World) -> None:
    sent = extracted(world)
    for wrong in ("", "AAAA", base64.b64encode(Identity.generate().sign(b"x")).decode()):
        command = world.deliver(world.order(), sent, sender_signature=wrong)
        once(world, CONSUMER)
        result = world.platform.result_of(command)
        assert result.problem is not None
        assert result.problem.code == "node.receipt.sender_signature"


def test_a_chunk_exchanged_on_the_relay_is_not_delivered(world: World) -> None:
    sent = extracted(world)
    world.platform.chunks[RUN, 1], world.platform.chunks[RUN, 2] = (
        world.platform.chunks[RUN, 2],
        world.platform.chunks[RUN, 1],
    )
    command = world.deliver(world.order(), sent)
    once(world, CONSUMER)
    result = world.platform.result_of(command)
    assert result.problem is not None
    assert (result.problem.code, result.problem.retryable) == ("node.chunk.differs", True)


def test_a_password_sealed_to_another_node_does_not_open_and_none_is_ever_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    password = "s3cret-Password"
    for public in (world.consumer, world.provider):
        connection = replace(world.source, sealed_password=public.seal(password.encode()))
        command = world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=connection)
        once(world, PROVIDER)
        result = world.platform.result_of(command)
        if public is world.consumer:
            assert result.problem is not None
            assert result.problem.code == "crypto.seal.broken"
        else:
            assert result.ok
    assert password not in caplog.text
    for file in world.home(PROVIDER).rglob("*"):
        assert not file.is_file() or password.encode() not in file.read_bytes()


def test_a_command_is_worked_once_however_often_it_comes(world: World) -> None:
    command = world.extract(world.order())
    message = world.platform.waiting[PROVIDER][0]
    with working(world, PROVIDER) as node:
        for _ in range(3):
            world.platform.waiting[PROVIDER] = [message, message]
            node.run_once()
    assert [result.command_id for result in world.platform.results] == [command] * 3
    assert len({str(result.to_json()) for result in world.platform.results}) == 1
    assert sum(method == "PUT" for method, _ in world.platform.calls) == 4


def test_an_answer_is_sent_until_it_is_heard(world: World) -> None:
    world.platform.loses_results = True
    command = world.extract(world.order())
    with working(world, PROVIDER) as node:
        assert not node.run_once()
        assert not node.run_once()
    world.source_file.unlink()  # what was done is not done again
    world.platform.loses_results = False
    once(world, PROVIDER)
    assert world.platform.result_of(command).ok


def test_an_answer_that_the_platform_cannot_take_becomes_a_failure_and_one_it_does_not_know_is_dropped(
    world: World,
) -> None:
    command = world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=world.source)
    world.platform.refusals["/api/nodes/results"] = (413, "api.body.too_large")
    with working(world, PROVIDER) as node:
        node.run_once()
        del world.platform.refusals["/api/nodes/results"]
        node.run_once()
        result = world.platform.result_of(command)
        assert result.problem is not None
        assert result.problem.code == "api.body.too_large"
        world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=world.source)
        world.platform.refusals["/api/nodes/results"] = (404, "exchange.command.missing")
        node.run_once()
        assert node.ledger.unacknowledged() == []


def test_a_suspended_node_keeps_its_answers(world: World) -> None:
    world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=world.source)
    world.platform.refusals["/api/nodes/results"] = (403, "exchange.node.not_active")
    with working(world, PROVIDER) as node:
        assert not node.run_once()
        assert len(node.ledger.unacknowledged()) == 1


def test_a_purge_removes_the_staged_chunks_but_not_those_of_a_newer_order(world: World) -> None:
    extracted(world)
    spool = homes.load(world.home(PROVIDER)).spool
    assert spool.runs() == (RUN,)
    world.platform.command(PROVIDER, CommandKind.PURGE, run_id=RUN)
    once(world, PROVIDER)
    assert spool.runs() == ()
    world.platform.command(PROVIDER, CommandKind.PURGE, run_id=RUN)
    command = world.extract(world.order())
    once(world, PROVIDER)
    assert world.platform.result_of(command).ok
    assert spool.runs() == (RUN,)


def test_a_run_ordered_again_in_other_terms_is_extracted_anew(world: World) -> None:
    first, again = extracted(world), extracted(world)
    assert first.manifest == again.manifest
    order = world.order()
    narrower = replace(order.grant, items=order.grant.items[:1])
    other = extracted(world, grant=narrower)
    assert other.manifest is not None
    assert [column.name for column in other.manifest.columns] == ["bh"]


def test_a_stop_reaches_what_came_before_it_and_nothing_after(world: World) -> None:
    stopped = world.extract(world.order())
    stop = world.platform.command(PROVIDER, CommandKind.STOP, run_id=RUN)
    once(world, PROVIDER)
    assert world.platform.result_of(stop).ok
    problem = world.platform.result_of(stopped).problem
    assert problem is not None
    assert problem.code == "pipeline.run.stopped"
    assert extracted(world).ok


@pytest.mark.parametrize("is_merged", [True, False], ids=["merged", "not merged"])
def test_a_batch_that_a_killed_process_had_merged_is_told_though_its_run_was_stopped(
    world: World, is_merged: bool
) -> None:
    delivery = world.deliver(world.order(), extracted(world))
    if is_merged:
        with working(world, CONSUMER) as node:
            assert node._round()
            node.work_all()
        # as it stands where the process is killed between the merge and its answer
        with closing(sqlite3.connect(homes.load(world.home(CONSUMER)).ledger_file)) as ledger, ledger:
            ledger.execute("UPDATE command SET state = 'working', result = NULL WHERE kind = 'deliver'")
        assert world.target_rows() == world.source_rows()
    world.platform.command(CONSUMER, CommandKind.STOP, run_id=RUN)
    once(world, CONSUMER)

    told = world.platform.result_of(delivery)
    if is_merged:
        assert told.ok
        assert told.counts is not None
        assert told.counts.inserted == 2000
    else:
        assert told.problem is not None
        assert told.problem.code == "pipeline.run.stopped"


def test_what_the_platform_refuses_of_a_chunk_ends_the_command_with_its_words(world: World) -> None:
    sent = extracted(world)
    world.platform.chunks.clear()
    command = world.deliver(world.order(), sent)
    once(world, CONSUMER)
    problem = world.platform.result_of(command).problem
    assert problem is not None
    assert problem.code == "exchange.chunk.missing"
