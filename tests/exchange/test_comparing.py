"""Contents of both sides compared; rows set aside, read and corrected by their provider alone."""

from datetime import timedelta
from typing import Any

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.enums import AlertKind, ComparisonState, RunKind, RunState
from jinqiao.exchange.errors import (
    ComparisonNotPossible,
    ComparisonUnderWay,
    NotYourQuarantine,
    QuarantineEmpty,
    QuarantineNotRead,
    RunAlreadyLive,
    WindowWouldDouble,
    WorkbookTooLarge,
)
from jinqiao.exchange.models import Alert, Comparison, ExchangeTask, NodeCommand, OutboxMessage, Run
from jinqiao.exchange.tasks import work_message
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import (
    Command,
    CommandKind,
    CommandResult,
    ContentDigest,
    Delivery,
    Finding,
    NodeResubmission,
)
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import NodeHands, World


def _read(hands: NodeHands, digest: str = "ab", rows: int = 3) -> Command:
    command = hands.take(CommandKind.COMPARE)
    content = ContentDigest(rows=rows, digest=digest)
    hands.answer(CommandResult(command_id=command.id, ok=True, content=content, finished_at=moments.now()))
    return command


def test_both_sides_are_read_and_found_the_same(world: World) -> None:
    comparison = actions.compare_contents(world.task(), by=world.parties.clerk)
    sides = [_read(world.provider_node), _read(world.consumer_node)]

    comparison.refresh_from_db()
    assert [command.side for command in sides] == ["source", "target"]
    assert all(command.order is not None and command.order.run_id == comparison.number for command in sides)
    assert (comparison.state, comparison.provider["rows"]) == (ComparisonState.SAME, 3)
    assert not Alert.objects.exists()


def test_sides_that_differ_are_an_alert_until_they_agree(world: World) -> None:
    task = world.task()
    actions.compare_contents(task, by=world.parties.asker)
    _read(world.consumer_node, digest="cd")
    _read(world.provider_node)

    alert, todo = Alert.objects.get(), ToDo.objects.get(kind="exchange.alert.content_differs")
    assert (alert.kind, alert.closed_at, alert.organisation) == (
        AlertKind.CONTENT_DIFFERS,
        None,
        world.parties.consumer,
    )
    actions.watch()
    assert Alert.objects.filter(closed_at=None).count() == 1

    actions.compare_contents(task, by=world.parties.asker)
    _read(world.consumer_node)
    _read(world.provider_node)
    alert.refresh_from_db()
    todo.refresh_from_db()
    assert alert.closed_at is not None
    assert todo.done_at is not None


def test_a_side_that_cannot_be_read_ends_the_comparison(world: World) -> None:
    task = world.task()
    comparison = actions.compare_contents(task, by=world.parties.asker)
    world.provider_node.answer(world.provider_node.failed(world.provider_node.take(CommandKind.COMPARE)))

    comparison.refresh_from_db()
    assert (comparison.state, comparison.problem["code"]) == (ComparisonState.FAILED, "source.connection.lost")
    assert world.consumer_node.poll() == []
    actions.compare_contents(task, by=world.parties.asker)


def test_a_run_that_asks_for_it_is_compared_after_it_came_through(world: World) -> None:
    run = world.finished(world.run(world.task(reconcile="content")))
    for message in OutboxMessage.objects.filter(topic="run.reconciled"):
        work_message(message.pk)
        work_message(message.pk)

    assert Comparison.objects.get().run == run


def test_comparisons_go_by_a_plan_of_their_own(world: World) -> None:
    task = world.task()
    actions.plan_task(task, by=world.parties.asker, compare_schedule="weekly 7 03:00")
    task.refresh_from_db()
    assert task.next_compare_at is not None
    assert actions.compare_due() == 0
    ExchangeTask.objects.update(next_compare_at=moments.now())

    assert actions.compare_due() == 1
    assert actions.compare_due() == 0
    assert Comparison.objects.get().asked_by is None


def test_nothing_is_compared_twice_at_once_or_beside_a_run(world: World) -> None:
    task = world.task()
    actions.compare_contents(task, by=world.parties.asker)
    with pytest.raises(ComparisonUnderWay):
        actions.compare_contents(task, by=world.parties.asker)
    Comparison.objects.update(state=ComparisonState.FAILED)
    world.run(task)
    with pytest.raises(RunAlreadyLive):
        actions.compare_contents(task, by=world.parties.asker)


def test_what_does_not_mirror_is_not_compared(world: World) -> None:
    task = world.task(delivery="upsert")

    with pytest.raises(ComparisonNotPossible):
        actions.compare_contents(task, by=world.parties.asker)
    with pytest.raises(ComparisonNotPossible):
        actions.plan_task(task, by=world.parties.asker, compare_schedule="hourly")


def test_a_comparison_that_nobody_answers_ends_within_a_day(world: World) -> None:
    actions.compare_contents(world.task(), by=world.parties.asker)
    assert actions.drop_stale_comparisons() == 0
    Comparison.objects.update(asked_at=moments.now() - timedelta(days=2))

    assert actions.drop_stale_comparisons() == 1
    assert Comparison.objects.get().problem["code"] == "exchange.comparison.unanswered"


def _with_quarantine(world: World) -> Run:
    run = world.run()
    command = world.provider_node.take(CommandKind.EXTRACT)
    found = (Finding(check="required", item="xm", rows=1, sample_rows=(4,)),)
    actions.choose_checks(run.task, by=world.parties.asker, checks=[], quarantine_limit=0.5)
    result = world.provider_node.extracted(command, rows_read=4, rows_quarantined=1, findings=found)
    Run.objects.filter(pk=run.pk).update(order={**run.order, "body": {**run.order["body"], "quarantine_limit": 0.5}})
    world.provider_node.answer(result)
    world.consumer_node.answer(world.consumer_node.delivered(world.consumer_node.take(CommandKind.DELIVER)))
    run.refresh_from_db()
    assert (run.state, run.rows_quarantined) == (RunState.RECONCILED, 1)
    world.provider_node.poll()
    return run


WORKBOOK = b"PK of a workbook with a name in it"


def _bring(world: World, run: Run) -> None:
    command = world.provider_node.take(CommandKind.READ_QUARANTINE)
    assert command.run_id == run.number
    sealed = platform_identity().public.seal(WORKBOOK)
    world.provider_node.answer(
        CommandResult(command_id=command.id, ok=True, sealed_payload=sealed, finished_at=moments.now())
    )


def test_rows_set_aside_are_opened_for_their_provider_only(world: World) -> None:
    run = _with_quarantine(world)
    actions.ask_quarantine(run, by=world.parties.clerk)
    with pytest.raises(QuarantineNotRead):
        actions.open_quarantine(run, by=world.parties.clerk)
    _bring(world, run)

    assert actions.open_quarantine(run, by=world.parties.clerk) == WORKBOOK
    for stranger in (world.parties.asker, world.parties.bureau, world.admin):
        for act in (actions.ask_quarantine, actions.open_quarantine):
            with pytest.raises(NotYourQuarantine):
                act(run, by=stranger)  # type: ignore[operator]
    assert AuditEvent.objects.filter(action="exchange.quarantine.open").count() == 1


def test_nothing_of_a_quarantine_is_kept_in_plain_text_and_the_sealed_only_for_a_day(world: World) -> None:
    run = _with_quarantine(world)
    actions.ask_quarantine(run, by=world.parties.clerk)
    _bring(world, run)
    command = NodeCommand.objects.get(kind="read_quarantine")
    assert WORKBOOK.decode() not in f"{command.body}{command.result}"
    assert actions.forget_quarantines() == 0
    NodeCommand.objects.update(finished_at=moments.now() - timedelta(hours=25))

    assert actions.forget_quarantines() == 1
    with pytest.raises(QuarantineNotRead):
        actions.open_quarantine(run, by=world.parties.clerk)


def test_corrected_rows_go_back_sealed_and_are_delivered_as_a_part(world: World) -> None:
    run = _with_quarantine(world)
    new = actions.resubmit(run, by=world.parties.clerk, workbook=WORKBOOK)
    command = world.provider_node.take(CommandKind.RESUBMIT)

    assert (new.kind, new.resubmits, command.corrects) == (RunKind.RESUBMIT, run, run.number)
    assert world.provider_node.identity.unseal(command.sealed_payload) == WORKBOOK
    assert command.order is not None
    assert (command.order.run_id, command.order.delivery) == (new.number, Delivery.UPSERT)
    world.provider_node.answer(world.provider_node.extracted(command, staged=1))
    deliver = world.consumer_node.take(CommandKind.DELIVER)
    world.consumer_node.answer(world.consumer_node.delivered(deliver, target_rows=4))
    new.refresh_from_db()
    assert new.state == RunState.RECONCILED


def test_a_resubmission_that_broke_off_is_sent_anew_by_its_people(world: World) -> None:
    run = _with_quarantine(world)
    new = actions.resubmit(run, by=world.parties.clerk, workbook=WORKBOOK)
    world.provider_node.answer(world.provider_node.failed(world.provider_node.take(CommandKind.RESUBMIT)))

    new.refresh_from_db()
    assert (new.state, new.retry_at) == (RunState.FAILED, None)


@pytest.mark.parametrize("at_node", [False, True])
def test_rows_that_a_target_that_appends_has_taken_are_not_sent_again(world: World, at_node: bool) -> None:
    run = _with_quarantine(world)
    ExchangeTask.objects.update(delivery=Delivery.APPEND)
    word = NodeResubmission(run_id=run.number, sealed_payload="sealed")
    node = world.provider_node.node

    def again() -> Run:
        if at_node:
            return actions.resubmit_at_node(node, word)
        return actions.resubmit(run, by=world.parties.clerk, workbook=WORKBOOK)

    broken = again()
    world.provider_node.answer(world.provider_node.failed(world.provider_node.take(CommandKind.RESUBMIT)))
    came = again()  # the first brought nothing
    world.provider_node.answer(world.provider_node.extracted(world.provider_node.take(CommandKind.RESUBMIT), staged=1))
    world.consumer_node.answer(world.consumer_node.delivered(world.consumer_node.take(CommandKind.DELIVER)))
    came.refresh_from_db()
    assert (came.state, came.pk != broken.pk) == (RunState.RECONCILED, True)

    with pytest.raises(WindowWouldDouble):
        again()


@pytest.mark.parametrize(
    ("workbook", "error"), [(b"x", QuarantineEmpty), (b"x" * (20 * 1024 * 1024 + 1), WorkbookTooLarge)]
)
def test_what_cannot_be_sent_anew_is_refused(world: World, workbook: bytes, error: Any) -> None:
    run = world.finished() if error is QuarantineEmpty else _with_quarantine(world)

    with pytest.raises(error):
        actions.resubmit(run, by=world.parties.clerk, workbook=workbook)


def test_strangers_correct_nothing(world: World) -> None:
    run = _with_quarantine(world)

    with pytest.raises(NotYourQuarantine):
        actions.resubmit(run, by=world.parties.asker, workbook=WORKBOOK)
