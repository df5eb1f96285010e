"""A part once more: a window, the window of an earlier run, everything from the beginning, a table emptied by signature."""

from contextlib import nullcontext
from datetime import timedelta

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import ApprovalState, RunKind, RunState
from jinqiao.exchange.errors import (
    NotYourTask,
    ReloadNeedsApproval,
    ReloadStateWrong,
    ReplayNotPossible,
    WindowBroken,
    WindowWouldDouble,
)
from jinqiao.exchange.models import ExchangeTask, ReloadApproval, Run
from jinqiao.exchange.queries.runs import order_of
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from jinqiao.workflow.models import SignOff, ToDo
from tests.exchange.factories import World


def test_a_backfill_reads_its_window_and_leaves_the_cursor(world: World) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))
    task.refresh_from_db()
    cursor = task.cursor

    run = actions.backfill(task, by=world.parties.asker, since="2025-01-01T00:00:00", until="2025-12-31T23:59:59")
    order = order_of(run)
    world.finished(run)

    task.refresh_from_db()
    assert (run.kind, order.mode, order.delivery) == (RunKind.BACKFILL, CopyMode.WATERMARK, Delivery.UPSERT)
    assert (order.after, order.until, order.overlap_s) == ("2025-01-01T00:00:00", "2025-12-31T23:59:59", 0)
    assert task.cursor == cursor != ""


def test_a_window_of_a_mirrored_table_deletes_nothing(world: World) -> None:
    run = actions.backfill(world.task(), by=world.parties.asker, since="", until="2025-12-31")

    assert order_of(run).delivery is Delivery.UPSERT


@pytest.mark.parametrize(
    ("since", "until"), [("2026-01-02", "2026-01-01"), ("2026-01-01", ""), ("x", "2026-01-01"), ("", "31.12.2025")]
)
def test_a_window_that_is_none_is_refused(world: World, since: str, until: str) -> None:
    with pytest.raises(WindowBroken):
        actions.backfill(world.task(), by=world.parties.asker, since=since, until=until)


def test_nothing_is_appended_twice(world: World) -> None:
    task = world.task(mode="watermark", delivery="append")

    with pytest.raises(WindowWouldDouble):
        actions.backfill(task, by=world.parties.asker, since="", until="2025-12-31")
    with pytest.raises(WindowWouldDouble):
        actions.start_over(task, by=world.parties.asker)


def test_a_replay_brings_the_window_of_an_earlier_run(world: World) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))
    ExchangeTask.objects.update(cursor="2026-03-18T10:00:00.000000#RUN-1-1")
    second = world.finished(world.run(task))

    run = actions.replay(second, by=world.parties.asker)

    assert (run.kind, run.window_since) == (RunKind.REPLAY, "2026-03-18T10:00:00.000000")
    assert run.window_until == "2026-03-18T10:00:00.000000"


def test_a_full_run_has_no_window_to_replay(world: World) -> None:
    with pytest.raises(ReplayNotPossible):
        actions.replay(world.finished(), by=world.parties.asker)


def test_starting_over_forgets_how_far_one_came(world: World) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))

    actions.start_over(task, by=world.parties.asker)

    task.refresh_from_db()
    assert task.cursor == ""


def test_a_table_is_emptied_once_after_the_administrator_has_signed(world: World) -> None:
    task = world.task()
    approval = actions.ask_reload(task, by=world.parties.asker, reason="目标表被误改")
    todo = ToDo.objects.get(kind="exchange.reload.approve")
    with pytest.raises(ReloadNeedsApproval):
        actions.reload_target(approval, by=world.parties.asker)
    with pytest.raises(NotYourTask):
        actions.decide_reload(approval, by=world.parties.asker, approved=True)
    actions.decide_reload(approval, by=world.admin, approved=True, opinion="同意")

    run = actions.reload_target(approval, by=world.parties.asker)

    order, signed = order_of(run), SignOff.objects.get(kind="exchange_reload")
    todo.refresh_from_db()
    approval.refresh_from_db()
    assert (order.delivery, order.reload_approval) == (Delivery.RELOAD, approval.number)
    assert (signed.post, signed.approved, approval.sign_off) == (world.admin, True, signed)
    assert (approval.state, run.reload_approval, todo.done_by) == (ApprovalState.USED, approval, world.admin)
    assert world.finished(run).state == RunState.RECONCILED
    with pytest.raises(ReloadNeedsApproval):
        actions.reload_target(approval, by=world.parties.asker)
    assert AuditEvent.objects.filter(action="exchange.reload.approve").count() == 1


def test_a_refused_reload_is_refused(world: World) -> None:
    approval = actions.ask_reload(world.task(), by=world.parties.asker, reason="想重来")
    actions.decide_reload(approval, by=world.admin, approved=False, opinion="不必")

    with pytest.raises(ReloadNeedsApproval):
        actions.reload_target(approval, by=world.parties.asker)
    with pytest.raises(ReloadStateWrong):
        actions.decide_reload(approval, by=world.admin, approved=True)


def test_leave_for_one_table_is_none_for_another(world: World) -> None:
    task = world.task()
    approval = actions.ask_reload(task, by=world.parties.asker, reason="目标表被误改")
    actions.decide_reload(approval, by=world.admin, approved=True)

    actions.configure_task(task, by=world.parties.asker, target=world.target, target_table="another")

    approval.refresh_from_db()
    assert approval.state == ApprovalState.LAPSED
    with pytest.raises(ReloadNeedsApproval):
        actions.reload_target(approval, by=world.parties.asker)


def test_leave_that_nobody_used_lapses_within_a_week(world: World) -> None:
    approval = actions.ask_reload(world.task(), by=world.parties.asker, reason="目标表被误改")
    actions.decide_reload(approval, by=world.admin, approved=True)
    assert actions.lapse_old_reloads() == 0
    ReloadApproval.objects.update(decided_at=moments.now() - timedelta(days=8))
    with pytest.raises(ReloadNeedsApproval):
        actions.reload_target(approval, by=world.parties.asker)

    assert actions.lapse_old_reloads() == 1
    assert actions.ask_reload(approval.task, by=world.parties.asker, reason="再来").state == ApprovalState.ASKED


def test_one_leave_at_a_time_is_asked_for(world: World) -> None:
    task = world.task()
    actions.ask_reload(task, by=world.parties.asker, reason="一")

    with pytest.raises(ReloadStateWrong):
        actions.ask_reload(task, by=world.parties.asker, reason="二")


def test_a_diff_begins_anew_after_its_target_was_loaded_past_its_state(world: World) -> None:
    task = world.task(mode="diff")
    for load in (
        lambda: actions.backfill(task, by=world.parties.asker, since="", until="2025-12-31T00:00:00"),
        lambda: _reloading(world, task),
    ):
        ExchangeTask.objects.update(cursor="RUN-1.abcd")
        world.finished(load())
        task.refresh_from_db()
        assert task.cursor == ""
    assert AuditEvent.objects.filter(action="exchange.task.start_over").count() == 2


def test_a_watermark_goes_on_where_it_was_after_a_reload(world: World) -> None:
    task = world.finished(world.run(world.task(mode="watermark"))).task
    world.finished(_reloading(world, task))
    before, _ = task.cursor, task.refresh_from_db()

    assert task.cursor == before != ""


@pytest.mark.parametrize(("mode", "may"), [("full", True), ("watermark", False), ("diff", False)])
def test_rows_that_a_reload_has_brought_are_not_appended_again(world: World, mode: str, may: bool) -> None:
    task = world.task(mode=mode, delivery="upsert")
    approval = actions.decide_reload(
        actions.ask_reload(task, by=world.parties.asker, reason="重装"), by=world.admin, approved=True
    )
    ExchangeTask.objects.update(delivery="append")

    with nullcontext() if may else pytest.raises(WindowWouldDouble):
        actions.reload_target(approval, by=world.parties.asker)
    ReloadApproval.objects.update(state=ApprovalState.LAPSED)
    with nullcontext() if may else pytest.raises(WindowWouldDouble):
        actions.ask_reload(task, by=world.parties.asker, reason="重装")


@pytest.mark.parametrize("way", ["reload", "backfill", "start over", "full", "ordinary", "another table"])
def test_a_task_does_not_begin_to_append_what_its_table_has_behind_the_cursor(world: World, way: str) -> None:
    task = world.finished(world.run(world.task(mode="full" if way == "full" else "watermark"))).task
    if way == "reload":
        world.finished(_reloading(world, task))
    elif way == "backfill":
        world.finished(actions.backfill(task, by=world.parties.asker, since="", until="2027-12-31T00:00:00"))
    elif way == "start over":
        actions.start_over(task, by=world.parties.asker)
    may, table = way in ("ordinary", "another table"), "other" if way == "another table" else "marriage"

    with nullcontext() if may else pytest.raises(WindowWouldDouble):
        for _again in range(2):
            actions.configure_task(
                task,
                by=world.parties.asker,
                target=world.target,
                target_table=table,
                mode="watermark",
                delivery="append",
            )


def _reloading(world: World, task: ExchangeTask) -> Run:
    approval = actions.ask_reload(task, by=world.parties.asker, reason="重装")
    return actions.reload_target(actions.decide_reload(approval, by=world.admin, approved=True), by=world.parties.asker)
