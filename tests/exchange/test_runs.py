"""A run from its order to the receipt, and every way in which it must not get there."""

import base64
import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jinqiao.exchange import actions, tasks
from jinqiao.exchange.enums import CommandState, RunState, TaskState
from jinqiao.exchange.errors import (
    ChunkMissing,
    CommandMissing,
    GrantNotLive,
    NotYourTask,
    RunAlreadyLive,
    RunStateWrong,
    TaskStateWrong,
)
from jinqiao.exchange.models import ExchangeReceipt, ExchangeTask, NodeCommand, OutboxMessage, RelayChunk, Run
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.exchange.queries.runs import order_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Progress, Receipt, Stage
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.sharing import actions as sharing_actions
from jinqiao.sharing.models import Grant
from tests.exchange.factories import World, make_node, make_served, relay_files
from tests.factories import make_post


def test_a_run_goes_from_order_to_a_receipt_signed_twice_over_the_same_bytes(world: World) -> None:
    run = world.finished()

    receipt = ExchangeReceipt.objects.get(run=run)
    body = Receipt.from_json(receipt.body).canonical()
    PublicIdentity.from_json(world.provider_node.node.identity).verify(body, base64.b64decode(receipt.sender_signature))
    PublicIdentity.from_json(world.consumer_node.node.identity).verify(
        body, base64.b64decode(receipt.receiver_signature)
    )
    assert run.state == RunState.RECONCILED
    assert run.rows == 3
    assert run.seconds == {"extract": 0.5, "deliver": 0.25}
    assert receipt.completed_at is not None
    assert receipt.batch_digest == run.manifest["batch_digest"]


def test_the_order_names_only_what_is_granted_in_columns_of_the_source(world: World) -> None:
    grant = world.grant(items=["xm", "djrq"], row_filter=[{"item": "qh", "operator": "in", "values": ["620302"]}])
    run = world.run(world.task(grant))

    order = order_of(run)
    assert [(item.code, item.column) for item in order.grant.items] == [("xm", "name"), ("djrq", "reg_date")]
    assert [(condition.column, condition.values) for condition in order.grant.row_filter] == [("area", ("620302",))]
    assert order.key_columns == ()  # the key is not granted
    assert order.provider_node == world.provider_node.node.number
    assert order.consumer_node == world.consumer_node.node.number
    assert {(rule.check, rule.item) for rule in order.checks} == {("length", "xm")}


def test_the_checks_of_an_order_follow_from_the_data_items(world: World) -> None:
    run = world.run()

    checks = {(rule.check, rule.item): rule.parameters for rule in order_of(run).checks}
    assert checks[("identity_number", "sfzh")] == {}
    assert checks[("length", "sfzh")] == {"max": 18}


def test_the_passwords_in_commands_open_only_for_the_node_they_are_for(world: World) -> None:
    world.run()
    command = world.provider_node.take(CommandKind.EXTRACT)

    assert command.connection is not None
    assert world.provider_node.identity.unseal(command.connection.sealed_password) == b"s3cret-of-the-source"
    assert b"s3cret" not in repr(NodeCommand.objects.values_list("body", flat=True)[:]).encode()


def test_staged_chunks_are_purged_everywhere_after_the_receipt(world: World, relay: Path) -> None:
    run = world.run()
    command = world.handed_over(run)
    assert len(relay_files(run, relay)) == 1

    world.consumer_node.answer(world.consumer_node.delivered(command))
    for message in tasks.waiting_messages():
        tasks.work_message(message)

    assert relay_files(run, relay) == []
    assert not RelayChunk.objects.filter(run=run).exists()
    assert [command.kind for command in world.provider_node.poll()] == [CommandKind.PURGE]
    assert [command.kind for command in world.consumer_node.poll()] == [CommandKind.PURGE]


def test_an_empty_batch_is_delivered_and_reconciled_too(world: World) -> None:
    run = world.run()
    provider, consumer = world.provider_node, world.consumer_node
    provider.answer(provider.extracted(provider.take(CommandKind.EXTRACT), staged=0))
    consumer.answer(consumer.delivered(consumer.take(CommandKind.DELIVER)))

    run.refresh_from_db()
    assert (run.state, run.rows) == (RunState.RECONCILED, 0)


def test_the_cursor_moves_only_when_the_run_is_reconciled(world: World) -> None:
    task = world.task(mode="watermark")
    run = world.run(task)
    assert order_of(run).watermark_column == "updated_at"
    command = world.handed_over(run)
    task.refresh_from_db()
    assert task.cursor == ""

    world.consumer_node.answer(world.consumer_node.delivered(command))

    task.refresh_from_db()
    assert task.cursor == "2026-03-18T10:00:00.000000"
    assert order_of(world.run(task)).after == "2026-03-18T10:00:00.000000"


def test_a_first_delivery_stops_the_providers_clock(world: World) -> None:
    run = world.finished()

    grant = Grant.objects.get(pk=run.task.grant_id)
    assert grant.provided_at is not None


@pytest.mark.parametrize(
    ("counts", "received"),
    [
        ({"received": 2, "inserted": 2}, 2),
        ({"inserted": 2}, 2),
        ({"target_rows": 4}, 3),
    ],
)
def test_a_run_whose_counts_differ_fails_and_says_so(world: World, counts: dict[str, int], received: int) -> None:
    run = world.run()
    command = world.handed_over(run)

    world.consumer_node.answer(world.consumer_node.delivered(command, **counts))

    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.problem["code"] == "exchange.run.counts_differ"
    assert run.problem["details"]["received"] == received
    assert not ExchangeReceipt.objects.filter(run=run).exclude(completed_at=None).exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"rows": 4}, "exchange.run.manifest_wrong"),
        ({"run_id": "RUN-20260318-9999"}, "exchange.run.manifest_wrong"),
        ({"suite": "guomi"}, "exchange.run.manifest_wrong"),
        ({"batch_digest": "00" * 32}, "exchange.run.manifest_wrong"),
        ({"rows_read": 5}, "exchange.run.manifest_wrong"),
        ({"rows_read": 4, "rows_quarantined": 1}, "exchange.run.manifest_wrong"),
        ({"columns": ()}, "exchange.run.columns_beyond_grant"),
    ],
)
def test_a_manifest_that_does_not_hold_stops_the_run_before_delivery(
    world: World, changes: dict[str, object], code: str
) -> None:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.extracted(provider.take(CommandKind.EXTRACT), **changes))

    run.refresh_from_db()
    assert (run.state, run.problem["code"]) == (RunState.FAILED, code)
    assert not NodeCommand.objects.filter(run=run, kind=CommandKind.DELIVER).exists()


def test_columns_beyond_the_grant_are_never_delivered(world: World) -> None:
    run = world.run(world.task(world.grant(items=["xm"])))
    provider = world.provider_node
    command = provider.take(CommandKind.EXTRACT)
    honest = provider.manifest(command, rows=3)
    more = (*honest.columns, dataclasses.replace(honest.columns[0], name="sfzh"))
    provider.answer(provider.extracted(command, columns=more))

    run.refresh_from_db()
    assert run.problem["code"] == "exchange.run.columns_beyond_grant"
    assert run.problem["details"] == {"columns": "sfzh"}


def test_a_receipt_signed_by_another_key_is_refused(world: World) -> None:
    run = world.run()
    stranger = make_node(world.parties.provider)
    result = world.provider_node.extracted(world.provider_node.take(CommandKind.EXTRACT))
    assert result.receipt is not None
    forged = dataclasses.replace(result, receipt_signature=stranger.sign(result.receipt.canonical()))
    world.provider_node.answer(forged)

    run.refresh_from_db()
    assert run.problem["code"] == "exchange.run.signature_wrong"


def test_the_receiver_must_sign_the_very_receipt_of_the_sender(world: World) -> None:
    run = world.run()
    consumer = world.consumer_node
    result = consumer.delivered(world.handed_over(run))
    assert result.receipt is not None
    other = dataclasses.replace(result.receipt, batch_digest="11" * 32)
    consumer.answer(dataclasses.replace(result, receipt=other, receipt_signature=consumer.sign(other.canonical())))

    run.refresh_from_db()
    assert run.problem["code"] == "exchange.run.receipt_wrong"
    assert run.problem["details"]["field"] == "batch_digest"


def test_chunks_that_did_not_arrive_make_a_retry(world: World, relay: Path) -> None:
    run = world.run()
    provider = world.provider_node
    result = provider.extracted(provider.take(CommandKind.EXTRACT))
    RelayChunk.objects.all().delete()
    provider.answer(result)

    run.refresh_from_db()
    assert run.problem["code"] == "exchange.run.chunks_missing"
    assert run.retry_at is not None


def test_the_same_answer_twice_changes_nothing(world: World) -> None:
    run = world.run()
    provider = world.provider_node
    result = provider.extracted(provider.take(CommandKind.EXTRACT))
    provider.answer(result)
    provider.answer(result)

    assert NodeCommand.objects.filter(run=run, kind=CommandKind.DELIVER).count() == 1


def test_an_answer_to_anothers_command_is_refused(world: World) -> None:
    world.run()
    command = world.provider_node.take(CommandKind.EXTRACT)

    with pytest.raises(CommandMissing):
        world.consumer_node.answer(world.provider_node.failed(command))


def test_a_taken_command_is_handed_out_again_until_its_answer_comes(world: World) -> None:
    run = world.run()
    first = world.provider_node.take(CommandKind.EXTRACT)
    assert world.provider_node.poll() == []

    NodeCommand.objects.update(taken_at=moments.now() - timedelta(minutes=1))

    assert world.provider_node.poll(busy_with=(run.number,)) == []
    assert [command.id for command in world.provider_node.poll()] == [first.id]


def test_a_task_has_one_live_run(world: World) -> None:
    run = world.run()

    with pytest.raises(RunAlreadyLive):
        actions.start_run(run.task, by=world.parties.asker)


@pytest.mark.parametrize("who", ["clerk", "bureau", "consumer_head"])
def test_only_the_consumers_staff_starts_runs(world: World, who: str) -> None:
    task = world.task()

    with pytest.raises(NotYourTask):
        actions.start_run(task, by=getattr(world.parties, who))


def test_a_run_is_stopped_by_either_side_and_its_chunks_go(world: World, relay: Path) -> None:
    run = world.run()
    world.handed_over(run)

    actions.stop_run(run, by=world.parties.clerk, reason="源库维护")

    run.refresh_from_db()
    assert run.state == RunState.STOPPED
    assert [command.kind for command in world.consumer_node.poll()] == [CommandKind.STOP, CommandKind.PURGE]
    assert OutboxMessage.objects.filter(topic="relay.purge", body={"run": run.number}).exists()
    assert tasks.work_message(OutboxMessage.objects.get().pk) == "relay.purge"
    assert relay_files(run, relay) == []


def test_a_stranger_does_not_stop_a_run(world: World) -> None:
    run = world.run()

    with pytest.raises(NotYourTask):
        actions.stop_run(run, by=make_post())


def test_a_batch_that_was_merged_before_its_node_heard_of_the_stop_is_told_as_delivered(world: World) -> None:
    run = world.run(world.task(mode="watermark"))
    answer = world.consumer_node.delivered(world.handed_over(run))
    actions.stop_run(run, by=world.parties.asker)

    for _again in range(2):
        world.consumer_node.answer(answer)

    run.refresh_from_db()
    assert (run.state, run.receipt.completed_at is not None) == (RunState.RECONCILED, True)
    assert run.task.cursor
    with pytest.raises(RunStateWrong):
        actions.stop_run(run, by=world.parties.asker)


def test_a_run_that_began_where_a_stopped_one_delivered_after_all_appends_nothing_twice(world: World) -> None:
    task = world.task(mode="watermark", delivery="append")
    run = world.run(task)
    answer = world.consumer_node.delivered(world.handed_over(run))
    actions.stop_run(run, by=world.parties.asker)
    second = actions.start_run(task, by=world.parties.asker)

    world.consumer_node.answer(answer)

    second.refresh_from_db()
    task.refresh_from_db()
    assert (second.state, task.is_due, bool(task.cursor)) == (RunState.STOPPED, True, True)
    assert actions.start_wanted_runs() == 1
    assert order_of(Run.objects.latest("pk")).after == task.cursor


@pytest.mark.parametrize("answered", ["failed", "wrong"])
def test_a_late_answer_that_proves_no_delivery_does_not_wake_a_stopped_run(world: World, answered: str) -> None:
    run = world.run()
    command, node = world.handed_over(run), world.consumer_node
    actions.stop_run(run, by=world.parties.asker)

    node.answer(node.failed(command) if answered == "failed" else node.delivered(command, received=1))

    run.refresh_from_db()
    assert (run.state, run.receipt.completed_at) == (RunState.STOPPED, None)
    with pytest.raises(RunStateWrong):
        actions.stop_run(run, by=world.parties.asker)


def test_a_run_does_not_start_without_a_live_grant(world: World) -> None:
    task = world.task()
    sharing_actions.suspend_grant(task.grant, by=world.parties.provider_head, reason="核查用途")

    with pytest.raises((GrantNotLive, TaskStateWrong)):
        actions.start_run(task, by=world.parties.asker)
    assert not Run.objects.exists()


def test_a_grant_past_its_last_day_starts_nothing_even_before_it_is_marked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = world.task()
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2027-06-01")

    with pytest.raises(GrantNotLive):
        actions.start_run(task, by=world.parties.asker)


def test_an_order_whose_grant_was_revoked_meanwhile_is_not_handed_out(world: World) -> None:
    run = world.run()
    Grant.objects.filter(pk=run.task.grant_id).update(state="revoked")  # behind the back of the receivers

    assert [command.kind for command in world.provider_node.poll()] == []
    run.refresh_from_db()
    assert (run.state, run.problem["code"]) == (RunState.FAILED, "exchange.grant.not_live")


def test_a_batch_whose_grant_was_suspended_during_extraction_is_not_delivered(world: World) -> None:
    run = world.run()
    result = world.provider_node.extracted(world.provider_node.take(CommandKind.EXTRACT))
    Grant.objects.filter(pk=run.task.grant_id).update(state="suspended")
    world.provider_node.answer(result)

    run.refresh_from_db()
    assert run.problem["code"] == "exchange.grant.not_live"
    assert world.consumer_node.poll() == []


def test_suspending_a_grant_pauses_its_task_and_stops_its_run(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    grant = sharing_actions.suspend_grant(run.task.grant, by=world.parties.provider_head, reason="核查用途")

    task = ExchangeTask.objects.get()
    run.refresh_from_db()
    assert (task.state, run.state) == (TaskState.PAUSED, RunState.STOPPED)

    sharing_actions.resume_grant(grant, by=world.parties.provider_head, reason="核查完毕")

    task.refresh_from_db()
    assert task.state == TaskState.ACTIVE


def test_a_task_paused_by_hand_stays_paused_when_its_grant_comes_back(world: World) -> None:
    task = world.task()
    actions.pause_task(task, by=world.parties.asker)
    grant = sharing_actions.suspend_grant(task.grant, by=world.parties.provider_head, reason="核查用途")
    sharing_actions.resume_grant(grant, by=world.parties.provider_head, reason="核查完毕")

    task.refresh_from_db()
    assert task.state == TaskState.PAUSED


def test_revoking_a_grant_ends_its_task_for_good(world: World) -> None:
    run = world.run()
    sharing_actions.revoke_grant(run.task.grant, by=world.parties.provider_head, reason="用途不符")

    task = ExchangeTask.objects.get()
    run.refresh_from_db()
    assert (task.state, run.state) == (TaskState.ENDED, RunState.STOPPED)
    assert (
        not NodeCommand.objects.filter(run=run, kind=CommandKind.EXTRACT).exclude(state=CommandState.CANCELLED).exists()
    )


def test_progress_of_a_heartbeat_reaches_the_run_of_that_node_only(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    step = Progress(run_id=run.number, stage=Stage.EXTRACT, rows_done=2, rows_total=3, at=moments.now())

    world.consumer_node.poll(progress=(step,))
    run.refresh_from_db()
    assert run.progress == {}

    world.provider_node.poll(progress=(step,))
    run.refresh_from_db()
    assert run.progress["extract"]["rows_done"] == 2


def test_a_chunk_is_not_there_after_reconciliation(world: World) -> None:
    run = world.finished()
    for message in tasks.waiting_messages():
        tasks.work_message(message)

    with pytest.raises((ChunkMissing, RunStateWrong)):
        actions.open_chunk(run.number, 1, node=world.consumer_node.node)


def test_a_run_and_a_policy_hold_under_the_sm_suite_too(db: None, settings: Any, tmp_path: Path) -> None:
    settings.CRYPTO_SUITE, settings.HOME = "guomi", tmp_path
    served = make_served()
    run = served.world.finished()

    assert run.state == RunState.RECONCILED, run.problem
    assert run.order["suite"] == "guomi"
    assert all(signature.holds and signature.algorithm == "SM2" for signature in signatures(run.receipt))
    policy = served.policy()
    assert policy is not None
    assert policy.applications[0].keys[0].algorithm == "hmac-sm3"
