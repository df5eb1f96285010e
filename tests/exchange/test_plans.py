"""When a task runs: cron expressions, after another task, when data arrives."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import AlertKind, NodeState, RunCause, RunState
from jinqiao.exchange.errors import (
    ArrivalRefused,
    CronBroken,
    CronNever,
    NotYourSource,
    PredecessorWrong,
    ScheduleBroken,
    SettingWrong,
)
from jinqiao.exchange.models import Alert, Binding, ExchangeTask, Node, OutboxMessage, Run
from jinqiao.exchange.queries.tasks import next_times
from jinqiao.exchange.schedules import Schedule
from jinqiao.exchange.tasks import work_message
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.sharing.models import Grant
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import World
from tests.sharing import factories as sharing

NOON = datetime(2026, 3, 18, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("plan", "times"),
    [
        ("cron 30 2 * * 1-5", ["2026-03-19T02:30", "2026-03-20T02:30", "2026-03-23T02:30"]),
        ("cron */20 * * * *", ["2026-03-18T12:20", "2026-03-18T12:40", "2026-03-18T13:00"]),
        ("cron 0 22 L * *", ["2026-03-31T22:00", "2026-04-30T22:00", "2026-05-31T22:00"]),
        ("cron 0 3 1 1,7 *", ["2026-07-01T03:00", "2027-01-01T03:00", "2027-07-01T03:00"]),
    ],
)
def test_a_cron_plan_runs_by_the_clock_of_china(plan: str, times: list[str]) -> None:
    assert [f"{time:%Y-%m-%dT%H:%M}" for time in next_times(plan, after=NOON)] == times


def test_without_a_plan_there_is_no_next_time() -> None:
    assert next_times("") == []


@pytest.mark.parametrize(("plan", "field"), [("cron 61 * * * *", 1), ("cron 0 25 * * *", 2), ("cron 0 0 * * 8", 5)])
def test_a_wrong_field_of_cron_is_named(plan: str, field: int) -> None:
    with pytest.raises(CronBroken) as caught:
        Schedule.parse(plan)

    assert caught.value.details["field"] == field
    assert f"第{field}段" in caught.value.text().message


@pytest.mark.parametrize("plan", ["cron", "cron 0 0", "cron 0 0 * * * *", "cron x"])
def test_cron_has_five_fields(plan: str) -> None:
    with pytest.raises(ScheduleBroken):
        Schedule.parse(plan)


@pytest.mark.parametrize("plan", ["cron 0 0 30 2 *", "cron 0 0 * 2 1#5"])
def test_a_day_that_never_comes_is_refused_or_found(plan: str) -> None:
    try:
        schedule = Schedule.parse(plan)
    except (CronNever, CronBroken):
        return
    assert schedule is not None
    assert schedule.next_after(NOON).month == 2


_PLANS = st.sampled_from(
    [
        "hourly",
        "daily 02:30",
        "weekly 3 12:00",
        "monthly 31 22:00",
        "cron 7 4 * * *",
        "cron */13 1-5 * * 2",
        "cron 0 0 29 2 *",
    ]
)


@settings(max_examples=60, deadline=None)
@given(plan=_PLANS, offset=st.integers(0, 4 * 366 * 86_400_000))
@example(plan="cron 7 4 * * *", offset=57_599_900 + 420_000)
def test_the_last_time_before_an_instant_is_a_time_of_the_plan_with_none_between(plan: str, offset: int) -> None:
    schedule = Schedule.parse(plan)
    assert schedule is not None
    moment = NOON + timedelta(milliseconds=offset)

    last = schedule.last_before(moment)

    assert last <= moment < schedule.next_after(last)
    assert schedule.next_after(last - timedelta(seconds=1)) == last


def _two_tasks(world: World) -> tuple[ExchangeTask, ExchangeTask]:
    other = sharing.make_grant(
        world.parties, mode="batch", use_from=moments.today(), row_filter=[], items=["xm", "sfzh"]
    )
    return world.task(), world.task(other, target_table="second")


def _let_the_worker_work() -> None:
    for message in OutboxMessage.objects.filter(topic="run.reconciled").order_by("id"):
        work_message(message.pk)


def test_a_task_runs_after_another_one_came_through(world: World) -> None:
    first, second = _two_tasks(world)
    actions.plan_task(second, by=world.parties.asker, after_task=first)

    world.finished(world.run(first))
    _let_the_worker_work()
    _let_the_worker_work()

    run = Run.objects.get(task=second)
    assert (run.state, run.cause, run.triggered_by) == (RunState.QUEUED, RunCause.TASK, None)


def test_a_wish_that_comes_while_a_run_is_live_is_heard_when_it_is_over(world: World) -> None:
    first, second = _two_tasks(world)
    actions.plan_task(second, by=world.parties.asker, after_task=first)
    running = world.run(second)
    done = world.run(first)
    Run.objects.filter(pk=running.pk).update(queued_at=moments.now() - timedelta(hours=1))
    extract = next(command for command in world.provider_node.poll() if command.run_id == done.number)
    world.provider_node.answer(world.provider_node.extracted(extract))
    world.consumer_node.answer(world.consumer_node.delivered(world.consumer_node.take(CommandKind.DELIVER)))

    _let_the_worker_work()
    assert Run.objects.filter(task=second).count() == 1
    assert actions.start_wanted_runs() == 0
    actions.stop_run(running, by=world.parties.asker)

    assert actions.start_wanted_runs() == 1
    assert actions.start_wanted_runs() == 0
    assert Run.objects.filter(task=second).count() == 2


def test_a_window_brings_not_what_another_task_has_brought(world: World) -> None:
    first = world.task(mode="watermark")
    came = world.finished(world.run(first))
    second = actions.plan_task(world.task(world.grant(), mode="watermark"), by=world.parties.asker, after_task=first)
    window = actions.backfill(second, by=world.parties.asker, since="", until="2025-12-31T00:00:00")

    assert actions.follow_run(came.number) == 1  # told late: the window was asked for meanwhile

    world.finished(window)
    assert actions.start_wanted_runs() == 1
    assert actions.follow_run(came.number) == 0


def test_a_time_of_the_plan_that_comes_while_a_window_is_brought_is_not_left_out(world: World) -> None:
    task = world.task(mode="watermark", schedule="monthly 01 02:00")
    window = actions.backfill(task, by=world.parties.asker, since="", until="2025-12-31T00:00:00")
    ExchangeTask.objects.update(next_run_at=moments.now())

    assert (actions.start_due_runs(), actions.start_wanted_runs()) == (0, 0)

    world.finished(window)
    assert actions.start_wanted_runs() == 1
    assert Run.objects.latest("pk").cause == RunCause.PLAN


def test_tasks_never_stand_in_a_circle(world: World) -> None:
    first, second = _two_tasks(world)
    actions.plan_task(second, by=world.parties.asker, after_task=first)

    for task, before in ((first, second), (first, first)):
        with pytest.raises(PredecessorWrong):
            actions.plan_task(task, by=world.parties.asker, after_task=before)


@pytest.mark.parametrize("field", [{"max_attempts": 0}, {"max_attempts": 21}, {"back_off_s": 1}])
def test_settings_out_of_range_are_refused(world: World, field: dict[str, int]) -> None:
    with pytest.raises(SettingWrong):
        actions.plan_task(world.task(), by=world.parties.asker, **field)  # type: ignore[arg-type]


def test_the_department_s_own_system_says_that_data_has_arrived(world: World) -> None:
    task = world.task()
    actions.plan_task(task, by=world.parties.asker, on_arrival=True)
    token = actions.give_arrival_token(world.source, by=world.parties.clerk)

    assert actions.arrive_by_token(world.source.number, token) == 1
    run = Run.objects.get(task=task)
    assert (run.state, run.cause) == (RunState.QUEUED, RunCause.ARRIVAL)
    assert actions.arrive_by_token(world.source.number, token) == 1  # heard again: kept for after the live run
    assert Run.objects.filter(task=task).count() == 1
    world.source.refresh_from_db()
    assert world.source.arrived_at is not None
    assert token not in world.source.arrival_digest


@pytest.mark.parametrize("number", [None, "SJY-9999"])
def test_a_wrong_token_or_number_is_refused_alike(world: World, number: str | None) -> None:
    actions.give_arrival_token(world.source, by=world.parties.clerk)

    with pytest.raises(ArrivalRefused):
        actions.arrive_by_token(number or world.source.number, "guessed")
    with pytest.raises(ArrivalRefused):
        actions.arrive_by_token(world.target.number, "")  # one without a token


def test_only_the_source_s_people_announce_and_give_tokens(world: World) -> None:
    for act in (actions.give_arrival_token, actions.announce_arrival):
        with pytest.raises(NotYourSource):
            act(world.source, by=world.parties.asker)  # type: ignore[operator]


def test_a_task_that_does_not_wait_for_arrivals_hears_none(world: World) -> None:
    world.task()

    assert actions.announce_arrival(world.source, by=world.parties.clerk) == 0


def _open_failure() -> Alert:
    assert ToDo.objects.filter(kind="exchange.run.failed", done_at=None).count() == 1
    return Alert.objects.get(kind=AlertKind.RUN_FAILED, closed_at=None)


def test_a_planned_run_that_cannot_start_is_told_once_and_let_go_when_one_comes_through(world: World) -> None:
    task = world.task(schedule="hourly")
    binding = Binding.objects.get()
    Binding.objects.all().delete()
    for _tick in range(2):
        ExchangeTask.objects.update(next_run_at=moments.now())
        assert actions.start_due_runs() == 0

    alert = _open_failure()
    assert (alert.task, alert.run, alert.organisation) == (task, None, world.parties.provider)
    assert alert.details == {"code": "exchange.binding.missing"}
    assert Alert.objects.count() == 1

    binding.save(force_insert=True)
    world.finished(actions.start_run(task, by=None))
    assert not Alert.objects.filter(closed_at=None).exists()


def test_a_consumer_s_node_that_is_gone_is_told_to_the_consumer(world: World) -> None:
    world.task(schedule="hourly")
    Node.objects.filter(pk=world.consumer_node.node.pk).update(state=NodeState.RETIRED)
    ExchangeTask.objects.update(next_run_at=moments.now())

    assert actions.start_due_runs() == 0
    assert _open_failure().organisation == world.parties.consumer


def test_a_wish_that_cannot_start_is_told_kept_and_tried_again_later(world: World) -> None:
    task = actions.plan_task(world.task(), by=world.parties.asker, on_arrival=True)
    binding = Binding.objects.get()
    Binding.objects.all().delete()

    actions.announce_arrival(world.source, by=world.parties.clerk)  # it waits for no task: nothing is bound to it
    ExchangeTask.objects.update(is_due=True)
    assert actions.start_wanted_runs() == 0
    tried = AuditEvent.objects.filter(action="exchange.run.start", outcome="failed").count()
    assert actions.start_wanted_runs() == 0
    assert AuditEvent.objects.filter(action="exchange.run.start", outcome="failed").count() == tried == 1
    task.refresh_from_db()
    assert task.is_due
    assert _open_failure().details == {"code": "exchange.binding.missing"}

    binding.save(force_insert=True)
    ExchangeTask.objects.update(due_after=moments.now())
    assert actions.start_wanted_runs() == 1
    task.refresh_from_db()
    assert (task.is_due, task.due_after) == (False, None)


def test_a_grant_that_is_not_live_is_no_failure_of_the_task(world: World) -> None:
    task = world.task(schedule="hourly")
    Grant.objects.filter(pk=task.grant_id).update(state="suspended")
    ExchangeTask.objects.update(next_run_at=moments.now())

    assert actions.start_due_runs() == 0
    assert not Alert.objects.exists()
