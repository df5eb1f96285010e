"""Alerts: each rule finds what it is for, puts one to-do on one desk, and lets go when its cause is gone."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.audit import trail
from jinqiao.exchange import actions
from jinqiao.exchange.actions import watching
from jinqiao.exchange.actions.alerting import open_alert, task_key
from jinqiao.exchange.actions.found import Found
from jinqiao.exchange.actions.grants import follow_changed_grant
from jinqiao.exchange.actions.watching import usual_range
from jinqiao.exchange.enums import AlertKind, AlertSeverity, RunKind, RunState
from jinqiao.exchange.errors import AlertRuleWrong, NotYourAlert, NotYourTask
from jinqiao.exchange.models import (
    Alert,
    AlertRule,
    Comparison,
    ExchangeReceipt,
    ExchangeTask,
    Node,
    NodeCommand,
    ReplicationSlot,
    Run,
)
from jinqiao.exchange.queries.alerts import RuleBook, alerts_found, parameters_of, rules_for, shipped_rule
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, SlotStatus
from jinqiao.sharing.enums import GrantState
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import World


def open_kinds() -> list[str]:
    return list(Alert.objects.filter(closed_at=None).order_by("kind").values_list("kind", flat=True))


def past_runs(task: ExchangeTask, rows: list[int], *, changed: bool = True) -> list[Run]:
    """Reconciled runs, one a day, the last now; their rows in the order of time."""
    now = moments.now()
    runs = []
    for number, count in enumerate(rows):
        at = now - timedelta(days=len(rows) - 1 - number)
        runs.append(
            Run.objects.create(
                number=f"RUN-{task.pk}-{number}",
                task=task,
                state=RunState.RECONCILED,
                mode=task.mode,
                rows=count,
                counts={"inserted": count if changed else 0, "updated": 0, "deleted": 0, "unchanged": count},
                queued_at=at,
                started_at=at,
                finished_at=at,
            )
        )
    return runs


def test_a_failed_run_is_an_alert_with_one_to_do_until_one_comes_through(world: World) -> None:
    run = world.run()
    world.provider_node.answer(
        world.provider_node.failed(world.provider_node.take(CommandKind.EXTRACT), retryable=False)
    )
    alert = Alert.objects.get()

    assert (alert.kind, alert.run, alert.organisation) == (AlertKind.RUN_FAILED, run, world.parties.provider)
    assert (alert.details, alert.severity) == ({"code": "source.connection.lost"}, AlertSeverity.SERIOUS)
    assert ToDo.objects.filter(kind="exchange.run.failed", done_at=None).count() == 1
    actions.watch()
    assert open_kinds() == ["run_failed"]

    world.finished(actions.start_run(run.task, by=None))
    assert open_kinds() == []


def test_the_failure_of_a_task_whose_grant_ends_is_let_go(world: World) -> None:
    run = world.run()
    world.provider_node.answer(
        world.provider_node.failed(world.provider_node.take(CommandKind.EXTRACT), retryable=False)
    )
    grant = run.task.grant
    grant.state = GrantState.REVOKED
    follow_changed_grant(grant, by=trail.SYSTEM)

    assert open_kinds() == []
    assert not ToDo.objects.filter(kind="exchange.run.failed", done_at=None).exists()


def _planned(world: World) -> ExchangeTask:
    """A daily task whose plan passed an hour and a half ago, with a run of the day before."""
    at = (moments.now() - timedelta(minutes=90)).astimezone(moments.CHINA)
    task = world.task(schedule=f"daily {at:%H:%M}")
    run = past_runs(task, [5])[0]
    earlier = moments.now() - timedelta(days=1, hours=1)
    Run.objects.filter(pk=run.pk).update(queued_at=earlier, finished_at=earlier)
    _plan_counts_since(earlier)
    return task


def _plan_counts_since(at: datetime) -> None:
    ExchangeTask.objects.update(planned_since=at)


def test_a_task_without_success_after_its_time_and_tolerance_is_late(world: World) -> None:
    _planned(world)
    actions.watch()
    assert open_kinds() == ["run_late"]

    Run.objects.update(finished_at=moments.now())
    actions.watch()
    assert open_kinds() == []


def test_a_window_that_comes_through_does_not_stand_for_the_run_of_the_plan(world: World) -> None:
    _planned(world)
    Run.objects.update(kind=RunKind.BACKFILL, finished_at=moments.now())

    actions.watch()
    assert open_kinds() == ["run_late"]


def test_within_its_tolerance_a_task_is_not_late(world: World) -> None:
    task = _planned(world)
    actions.set_alert_rule("run_late", by=world.parties.asker, task=task, parameters={"tolerance_s": 7200})

    actions.watch()
    assert open_kinds() == []


def test_a_new_task_and_a_paused_one_are_not_late(world: World) -> None:
    task = _planned(world)
    _plan_counts_since(moments.now())
    actions.watch()
    assert open_kinds() == []
    _plan_counts_since(moments.now() - timedelta(days=2))
    actions.pause_task(task, by=world.parties.asker)
    actions.watch()
    assert open_kinds() == []


def test_a_task_planned_before_this_was_kept_counts_from_its_first_run(world: World) -> None:
    _planned(world)
    ExchangeTask.objects.update(planned_since=None)
    actions.watch()
    assert open_kinds() == ["run_late"]

    Run.objects.update(queued_at=moments.now())
    actions.watch()
    assert open_kinds() == []


def test_a_task_whose_first_run_never_began_is_late(world: World) -> None:
    _planned(world)
    Run.objects.all().delete()

    actions.watch()
    assert open_kinds() == ["run_late"]


def test_times_that_passed_while_a_task_was_paused_are_not_missed(world: World) -> None:
    task = _planned(world)
    actions.pause_task(task, by=world.parties.asker)
    actions.resume_task(task, by=world.parties.asker)

    actions.watch()
    assert open_kinds() == []


@pytest.mark.parametrize("way", ["plan", "configure"])
def test_times_that_a_new_plan_would_have_had_are_not_missed(world: World, way: str) -> None:
    task = _planned(world)
    Run.objects.update(finished_at=moments.now() - timedelta(hours=6))
    at = (moments.now() - timedelta(hours=2)).astimezone(moments.CHINA)
    if way == "plan":
        actions.plan_task(task, by=world.parties.asker, schedule=f"daily {at:%H:%M}")
    else:
        world.task(task.grant, schedule=f"daily {at:%H:%M}")

    actions.watch()
    assert open_kinds() == []


def test_setting_the_same_plan_again_hides_nothing(world: World) -> None:
    task = _planned(world)
    actions.plan_task(task, by=world.parties.asker, schedule=task.schedule)

    actions.watch()
    assert open_kinds() == ["run_late"]


@pytest.mark.parametrize(
    ("rows", "changed", "found"),
    [([0] * 7, True, True), ([9] * 7, False, True), ([0] * 6, True, False), ([0] * 6 + [1], True, False)],
)
def test_a_task_that_moves_nothing_for_long_is_told(world: World, rows: list[int], changed: bool, found: bool) -> None:
    past_runs(world.task(), rows, changed=changed)

    actions.watch()
    assert ("nothing_moved" in open_kinds()) is found


def test_many_empty_runs_of_one_hour_are_nothing(world: World) -> None:
    past_runs(world.task(), [0] * 8)
    Run.objects.update(queued_at=moments.now())

    actions.watch()
    assert open_kinds() == []


@pytest.mark.parametrize(
    ("before", "last", "found"),
    [
        ([1000, 1010, 990, 1005, 995, 1002, 998, 1001, 1003], 2000, True),
        ([1000, 1010, 990, 1005, 995, 1002, 998, 1001, 1003], 100, True),
        ([1000, 1010, 990, 1005, 995, 1002, 998, 1001, 1003], 1150, False),
        ([1000] * 9, 1001, False),
        ([1000, 1010, 990], 100_000, False),
    ],
)
def test_a_volume_far_from_the_usual_is_told(world: World, before: list[int], last: int, found: bool) -> None:
    past_runs(world.task(), [*before, last])

    actions.watch()
    assert ("volume_unusual" in open_kinds()) is found


@given(st.lists(st.integers(0, 10**9), min_size=8, max_size=30))
def test_the_median_is_always_usual(rows: list[int]) -> None:
    low, high = usual_range(rows, shipped_rule(AlertKind.VOLUME_UNUSUAL))

    assert low <= sorted(rows)[len(rows) // 2] <= high or len(rows) % 2 == 0
    assert low <= high


def test_a_missing_counter_signature_is_told_the_same_day(world: World) -> None:
    run = world.run()
    world.handed_over(run)
    actions.watch()
    assert open_kinds() == []

    NodeCommand.objects.filter(kind="deliver").update(created_at=moments.now() - timedelta(hours=2, minutes=1))
    actions.watch()
    alert = Alert.objects.get(kind="receipt_open")
    assert (alert.run, alert.organisation) == (run, world.parties.consumer)

    world.consumer_node.answer(world.consumer_node.delivered(_open_delivery(world)))
    actions.watch()
    assert open_kinds() == []
    assert ExchangeReceipt.objects.get().completed_at is not None


def _open_delivery(world: World) -> Any:
    NodeCommand.objects.filter(kind="deliver").update(state="waiting")
    return world.consumer_node.take(CommandKind.DELIVER)


def test_yesterday_s_missing_counter_signature_is_told_at_once(world: World) -> None:
    world.handed_over(world.run())
    midnight = moments.now().astimezone(moments.CHINA).replace(hour=0, minute=0, second=0, microsecond=0)
    NodeCommand.objects.filter(kind="deliver").update(created_at=midnight - timedelta(seconds=1))

    actions.watch()
    assert open_kinds() == ["receipt_open"]


@pytest.mark.parametrize(
    ("kind", "bad", "good"),
    [
        ("node_silent", {"seen_at": timedelta(minutes=11)}, {"seen_at": timedelta()}),
        ("clock_off", {"clock_offset_s": -3600.0}, {"clock_offset_s": 1.0}),
        ("disk_low", {"spool_free_bytes": 10**8}, {"spool_free_bytes": 10**10}),
    ],
)
def test_trouble_of_a_node_is_told_to_its_department(
    world: World, kind: str, bad: dict[str, Any], good: dict[str, Any]
) -> None:
    def set_to(fields: dict[str, Any]) -> None:
        ago = {name: moments.now() - value for name, value in fields.items() if isinstance(value, timedelta)}
        Node.objects.filter(pk=world.provider_node.node.pk).update(**{"seen_at": moments.now(), **fields, **ago})

    Node.objects.update(spool_free_bytes=10**10, seen_at=moments.now())
    set_to(bad)
    actions.watch()
    alert = Alert.objects.get(closed_at=None)
    assert (alert.kind, alert.node, alert.organisation) == (kind, world.provider_node.node, world.parties.provider)

    set_to(good)
    actions.watch()
    assert open_kinds() == []
    assert not ToDo.objects.filter(kind__startswith="exchange.alert.", done_at=None).exists()


def _slot(world: World, task: ExchangeTask, retained: int) -> None:
    NodeCommand.objects.filter(kind="test_connection").update(created_at=moments.now() - timedelta(hours=1))
    assert actions.watch_slots() == 1
    assert actions.watch_slots() == 0
    command = world.provider_node.take(CommandKind.TEST_CONNECTION)
    slot = SlotStatus(name=task.slot, active=False, retained_bytes=retained, lag_bytes=retained)
    strange = SlotStatus(name="of_somebody_else", active=True, retained_bytes=10**15, lag_bytes=0)
    world.provider_node.answer(
        CommandResult(command_id=command.id, ok=True, slots=(slot, strange), finished_at=moments.now())
    )


def test_a_platform_that_has_just_begun_to_listen_calls_nobody_silent_and_nobody_heard(world: World) -> None:
    node = world.provider_node.node
    Node.objects.update(seen_at=moments.now(), spool_free_bytes=10**10)
    Node.objects.filter(pk=node.pk).update(seen_at=moments.now() - timedelta(minutes=11))
    silences = Alert.objects.filter(kind=AlertKind.NODE_SILENT, closed_at=None)

    actions.watch(listening_s=30)
    assert not silences.exists()
    assert actions.alert_silent_nodes(listening_s=30) == 0

    actions.watch(listening_s=86_400)
    assert silences.get().node == node
    actions.watch(listening_s=30)  # a worker that was started again
    assert silences.get().node == node

    Node.objects.filter(pk=node.pk).update(seen_at=moments.now())
    actions.watch(listening_s=30)
    assert not silences.exists()


def test_a_slot_that_holds_back_the_log_is_told_to_the_provider(world: World) -> None:
    task = world.task(mode="log")
    Node.objects.update(spool_free_bytes=10**10)
    _slot(world, task, 2 * 10**9)
    actions.watch()
    alert = Alert.objects.get(closed_at=None)
    assert (alert.kind, alert.organisation) == (AlertKind.SLOT_GROWING, world.parties.provider)
    assert ReplicationSlot.objects.get().retained_bytes == 2 * 10**9

    _slot(world, task, 1000)
    actions.watch()
    assert open_kinds() == []


def test_a_task_that_reads_the_log_no_more_has_its_slot_dropped_and_watched_until_it_is_gone(world: World) -> None:
    task = world.task(mode="log")
    name = task.slot
    actions.configure_task(task, by=world.parties.asker, target=world.target, target_table="t", mode="full")
    command = world.provider_node.take(CommandKind.DROP_SLOT)
    assert (command.slot, command.connection is not None) == (name, True)

    left = SlotStatus(name=name, active=True, retained_bytes=5, lag_bytes=5)
    world.provider_node.answer(CommandResult(command_id=command.id, ok=True, slots=(left,), finished_at=moments.now()))
    again = world.provider_node.take(CommandKind.DROP_SLOT)
    assert again.slot == name
    world.provider_node.answer(CommandResult(command_id=again.id, ok=True, finished_at=moments.now()))

    task.refresh_from_db()
    assert task.slot == ""
    assert not ReplicationSlot.objects.exists()
    assert world.provider_node.poll() == []


def test_looking_twice_opens_nothing_twice(world: World) -> None:
    past_runs(world.task(), [0] * 7)

    assert (actions.watch(), actions.watch()) == (1, 0)
    assert (Alert.objects.count(), ToDo.objects.filter(kind="exchange.alert.nothing_moved").count()) == (1, 1)


def test_what_another_process_opens_while_it_is_looked_for_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = world.task()

    def find(book: RuleBook) -> Iterator[Found]:
        yield from watching.content_differs(book)
        Comparison.objects.create(number="BD-1", task=task, state="different", asked_at=moments.now())
        open_alert(
            AlertKind.CONTENT_DIFFERS,
            task_key(task),
            organisation=world.parties.consumer,
            title="BD-1",
            about=trail.subject(task),
            task=task,
        )

    with monkeypatch.context() as while_looking:
        while_looking.setitem(watching.FINDERS, AlertKind.CONTENT_DIFFERS, find)
        actions.watch()
    actions.watch()

    assert Alert.objects.get().closed_at is None


@pytest.mark.parametrize(("mode", "found"), [("full", []), ("watermark", ["content_differs"])])
def test_a_difference_stands_until_a_run_has_replaced_the_whole_target(
    world: World, mode: str, found: list[str]
) -> None:
    task = world.task(mode=mode)
    earlier = moments.now() - timedelta(hours=1)
    Comparison.objects.create(number="BD-1", task=task, state="different", asked_at=earlier)
    actions.watch()
    assert open_kinds() == ["content_differs"]

    world.finished(world.run(task))
    actions.watch()
    assert open_kinds() == found


def test_a_rule_goes_by_task_then_by_platform_then_as_shipped(world: World) -> None:
    task = world.task()
    actions.set_alert_rule("nothing_moved", by=world.parties.bureau, parameters={"runs": 3})
    actions.set_alert_rule(
        "nothing_moved", by=world.parties.clerk, task=task, parameters={"days": 0}, severity="serious"
    )
    book = RuleBook()
    for_all, for_task = book.rule(AlertKind.NOTHING_MOVED), book.rule(AlertKind.NOTHING_MOVED, task.pk)

    assert (for_all.number("runs"), for_all.number("days"), for_all.origin) == (3, 3, "platform")
    assert (for_task.number("runs"), for_task.number("days"), for_task.origin) == (3, 0, "task")
    assert for_task.severity is AlertSeverity.SERIOUS
    assert {rule.kind for rule in rules_for(task)} < {rule.kind for rule in rules_for()}


def test_a_rule_that_is_switched_off_lets_go(world: World) -> None:
    task = world.task()
    past_runs(task, [0] * 7)
    actions.watch()
    actions.set_alert_rule("nothing_moved", by=world.parties.asker, task=task, is_on=False)
    assert open_kinds() == []
    actions.watch()
    assert open_kinds() == []

    actions.drop_alert_rule(AlertRule.objects.get(), by=world.parties.asker)
    actions.watch()
    assert open_kinds() == ["nothing_moved"]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("nothing_moved", {"runs": 1}), ("nothing_moved", {"other": 1}), ("disk_low", {"free_bytes": 10**10})],
)
def test_a_rule_out_of_range_or_not_of_tasks_is_refused(world: World, kind: str, parameters: dict[str, float]) -> None:
    with pytest.raises(AlertRuleWrong):
        actions.set_alert_rule(kind, by=world.parties.asker, task=world.task(), parameters=parameters)


def test_rules_are_set_by_who_they_concern(world: World) -> None:
    task = world.task()
    with pytest.raises(NotYourAlert):
        actions.set_alert_rule("disk_low", by=world.parties.asker)
    with pytest.raises(NotYourTask):
        actions.set_alert_rule("run_late", by=world.parties.consumer_head, task=task)


def test_every_shipped_rule_has_its_ranges_around_its_values() -> None:
    for kind in AlertKind:
        rule = shipped_rule(kind)
        assert all(one.least <= one.value <= one.most for one in parameters_of(kind)), kind
        assert rule.parameters.keys() == {one.name for one in parameters_of(kind)}


def test_alerts_are_seen_by_both_sides_and_acknowledged_once(world: World) -> None:
    past_runs(world.task(), [0] * 7)
    actions.watch()
    alert = Alert.objects.get()
    can_see: Callable[[Any], bool] = lambda post: alerts_found(post, is_open=True).filter(pk=alert.pk).exists()  # noqa: E731

    assert can_see(world.parties.clerk)
    assert can_see(world.parties.asker)
    assert can_see(world.parties.bureau)
    actions.see_alert(alert, by=world.parties.clerk)
    assert actions.see_alert(alert, by=world.parties.asker).seen_by == world.parties.clerk
    with pytest.raises(NotYourAlert):
        actions.see_alert(alert, by=world.parties.consumer_head)
