"""Tasks that grants make, their configuration and their plans."""

from datetime import UTC, datetime, timedelta

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions, tasks
from jinqiao.exchange.enums import RunState, TaskState
from jinqiao.exchange.errors import (
    BindingMissing,
    KeyNotGranted,
    LimitBroken,
    NotYourTask,
    ScheduleBroken,
    TargetNameBroken,
    TargetNotWritable,
    TargetOfAnotherOrganisation,
    TaskNotReady,
    TaskStateWrong,
    WatermarkMissing,
)
from jinqiao.exchange.models import DataSource, ExchangeTask, QueryService, Run, SeenNonce
from jinqiao.exchange.schedules import Schedule
from jinqiao.kernel import moments
from jinqiao.sharing import actions as sharing_actions
from jinqiao.sharing.models import Grant
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import World, make_source
from tests.factories import make_application, make_post

pytestmark = pytest.mark.django_db


def replaced(world: World, grant: Grant, **changes: object) -> Grant:
    change = sharing_actions.propose_change(grant, by=world.parties.clerk, reason="收窄范围", **changes)  # type: ignore[arg-type]
    new = sharing_actions.approve_change(change, by=world.parties.provider_head, approved=True)
    assert new is not None
    return new


def test_a_batch_grant_makes_a_task_and_an_interface_grant_a_service(world: World) -> None:
    batch, interface = world.grant(), world.grant(mode="interface")

    assert ExchangeTask.objects.get(grant=batch).state == TaskState.DRAFT
    assert QueryService.objects.get(grant=interface).gateway is None
    assert not QueryService.objects.filter(grant=batch).exists()


def test_a_task_becomes_active_when_its_target_is_chosen(world: World) -> None:
    task = world.task(schedule="daily 22:00")

    assert task.state == TaskState.ACTIVE
    assert task.next_run_at is not None
    assert task.next_run_at > moments.now()


def test_data_is_delivered_to_the_consumer_only(world: World) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())

    with pytest.raises(TargetOfAnotherOrganisation):
        actions.configure_task(task, by=world.parties.asker, target=world.source, target_table="t")


def test_a_target_that_moved_to_another_department_gets_nothing(world: World) -> None:
    task = world.task()
    DataSource.objects.filter(pk=world.target.pk).update(organisation=world.parties.provider)

    with pytest.raises(TargetOfAnotherOrganisation):
        actions.start_run(task, by=world.parties.asker)
    assert not Run.objects.exists()


def test_a_source_that_is_no_target_is_refused(world: World) -> None:
    read_only = make_source(world.consumer_node, world.parties.asker, name="只读库")

    with pytest.raises(TargetNotWritable):
        world.task(target=read_only)


@pytest.mark.parametrize("name", ["", "1t", "t;drop table x", "a b", "x" * 61, "a.b.c", 't"'])
def test_names_of_target_tables(world: World, name: str) -> None:
    with pytest.raises(TargetNameBroken):
        world.task(target_table=name)


def test_a_table_may_have_a_chinese_name_and_a_schema(world: World) -> None:
    assert world.task(target_table="landing.婚姻登记").target_table == "landing.婚姻登记"


@pytest.mark.parametrize("who", ["clerk", "bureau", "consumer_head", "provider_head"])
def test_only_the_consumers_staff_configures(world: World, who: str) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())
    with pytest.raises(NotYourTask):
        actions.configure_task(task, by=getattr(world.parties, who), target=world.target, target_table="t")


def test_the_provider_may_slow_a_task_down(world: World) -> None:
    task = actions.limit_task(world.task(), by=world.parties.clerk, rows_per_s=500)

    assert task.rows_per_s == 500
    with pytest.raises(LimitBroken):
        actions.limit_task(task, by=world.parties.clerk, rows_per_s=1)
    with pytest.raises(NotYourTask):
        actions.limit_task(task, by=make_post(Role.OPERATOR), rows_per_s=500)


def test_incremental_needs_a_watermark_and_a_granted_unmasked_key(world: World) -> None:
    with pytest.raises(KeyNotGranted):
        world.task(world.grant(items=["xm"]), mode="watermark")
    masked = world.grant(decision={"agrees": True, "masks": {"sfzh": "identity_number"}})
    with pytest.raises(KeyNotGranted):
        world.task(masked, mode="watermark")
    world.binding.watermark_column = ""
    world.binding.save()
    with pytest.raises(WatermarkMissing):
        world.task(world.grant(), mode="watermark")


def test_a_new_target_begins_from_the_beginning(world: World) -> None:
    task = world.task(mode="watermark")
    world.finished(world.run(task))
    assert ExchangeTask.objects.get().cursor != ""

    task = actions.configure_task(
        task, by=world.parties.asker, target=world.target, target_table="marriage_2", mode="watermark"
    )

    assert task.cursor == ""


def test_a_run_needs_a_target_and_a_binding(world: World) -> None:
    task = ExchangeTask.objects.get(grant=world.grant())
    with pytest.raises(TaskStateWrong):
        actions.start_run(task, by=world.parties.asker)
    with pytest.raises(TaskNotReady):
        actions.resume_task(task, by=world.parties.asker)
    task = world.task(task.grant)
    world.binding.delete()
    with pytest.raises(BindingMissing):
        actions.start_run(task, by=world.parties.asker)


def test_a_paused_task_starts_nothing_until_it_is_resumed(world: World) -> None:
    task = actions.pause_task(world.task(schedule="hourly"), by=world.parties.clerk, reason="维护")
    assert task.next_run_at is None
    with pytest.raises(TaskStateWrong):
        actions.start_run(task, by=world.parties.asker)
    with pytest.raises(NotYourTask):
        actions.resume_task(task, by=world.parties.clerk)

    assert actions.resume_task(task, by=world.parties.asker).next_run_at is not None


def test_an_expired_grant_ends_its_task(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = world.task()
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2027-06-01")
    sharing_actions.expire_grant(task.grant)

    task.refresh_from_db()
    assert task.state == TaskState.ENDED
    with pytest.raises(TaskStateWrong):
        actions.configure_task(task, by=world.parties.asker, target=world.target, target_table="t")


def test_the_consumer_is_asked_for_what_only_it_can_do(world: World) -> None:
    batch, interface = world.grant(), world.grant(mode="interface")
    todos = ToDo.objects.filter(organisation=world.parties.consumer, done_at=None)
    assert set(todos.filter(kind__startswith="exchange.").values_list("kind", flat=True)) == {
        "exchange.task.configure",
        "exchange.service.attach",
    }

    world.task(batch)
    application = make_application(world.parties.consumer)
    actions.attach_application(QueryService.objects.get(grant=interface), application, by=world.parties.asker)

    assert not todos.filter(kind__startswith="exchange.").exists()


def test_nothing_is_asked_any_more_when_the_grant_is_over(world: World) -> None:
    for mode in ("batch", "interface"):
        sharing_actions.revoke_grant(world.grant(mode=mode), by=world.parties.provider_head, reason="用途不符")

    assert not ToDo.objects.filter(kind__startswith="exchange.", done_at=None).exists()


def test_a_new_grant_takes_the_task_over_with_its_target_and_plan(world: World) -> None:
    task = world.task(schedule="daily 22:00")
    run = world.run(task)
    new = replaced(world, task.grant, items=["xm", "djrq"])

    task.refresh_from_db()
    run.refresh_from_db()
    assert (task.grant, task.state, task.target, task.schedule) == (new, TaskState.ACTIVE, world.target, "daily 22:00")
    assert run.state == RunState.STOPPED
    assert [item["code"] for item in world.run(task).order["body"]["grant"]["items"]] == ["xm", "djrq"]


def test_a_new_grant_takes_the_service_over_with_its_address(world: World) -> None:
    grant = world.grant(mode="interface", items=["xm", "sfzh"])
    service = QueryService.objects.get(grant=grant)
    new = replaced(world, grant, items=["sfzh"])

    assert QueryService.objects.get(grant=new).number == service.number


def test_the_clock_starts_due_tasks_once(world: World) -> None:
    task = world.task(schedule="hourly")
    assert actions.start_due_runs() == 0
    ExchangeTask.objects.update(next_run_at=moments.now() - timedelta(hours=5))

    assert actions.start_due_runs() == 1
    assert actions.start_due_runs() == 0

    run = task.runs.get()
    task.refresh_from_db()
    assert run.triggered_by is None
    assert task.next_run_at is not None
    assert task.next_run_at > moments.now()


def test_a_due_task_whose_run_is_still_live_waits_for_its_next_time(world: World) -> None:
    task = world.task(schedule="hourly")
    world.run(task)
    ExchangeTask.objects.update(next_run_at=moments.now())

    assert actions.start_due_runs() == 0
    task.refresh_from_db()
    assert task.next_run_at is not None


def test_a_due_task_that_cannot_start_is_written_down(world: World) -> None:
    world.task(schedule="hourly")
    ExchangeTask.objects.update(next_run_at=moments.now())
    world.binding.delete()

    assert actions.start_due_runs() == 0
    event = AuditEvent.objects.get(action="exchange.run.start", outcome="failed")
    assert event.details["code"] == "exchange.binding.missing"


def test_a_retry_whose_order_cannot_be_built_any_more_is_given_up(world: World) -> None:
    run = world.run()
    world.provider_node.answer(world.provider_node.failed(world.provider_node.poll()[0]))
    world.binding.delete()
    Run.objects.update(retry_at=moments.now())

    assert actions.retry_due_runs() == 0
    run.refresh_from_db()
    assert (run.state, run.retry_at) == (RunState.FAILED, None)
    assert run.problem["code"] == "exchange.binding.missing"


MORNING = datetime(2026, 3, 18, 1, 30, tzinfo=UTC)  # Wednesday, 09:30 in China


@pytest.mark.parametrize(
    ("plan", "following"),
    [
        ("hourly", "2026-03-18T10:00:00+08:00"),
        ("daily 22:00", "2026-03-18T22:00:00+08:00"),
        ("daily 09:30", "2026-03-19T09:30:00+08:00"),
        ("weekly 3 09:00", "2026-03-25T09:00:00+08:00"),
        ("weekly 7 02:00", "2026-03-22T02:00:00+08:00"),
        ("monthly 18 09:00", "2026-04-18T09:00:00+08:00"),
        ("monthly 31 09:00", "2026-03-31T09:00:00+08:00"),
    ],
)
def test_when_a_plan_comes_next(plan: str, following: str) -> None:
    schedule = Schedule.parse(plan)

    assert schedule is not None
    assert schedule.next_after(MORNING).isoformat() == following


@pytest.mark.parametrize("plan", ["sometimes", "daily 24:00", "weekly 8 10:00", "monthly 00 10:00", "daily 9:00"])
def test_plans_that_cannot_be_read(plan: str) -> None:
    with pytest.raises(ScheduleBroken):
        Schedule.parse(plan)


def test_an_empty_plan_is_by_hand() -> None:
    assert Schedule.parse("") is None


def test_nonces_are_forgotten_after_their_window() -> None:
    SeenNonce.objects.create(key_id="k", nonce="a" * 16, expires_at=1)
    SeenNonce.objects.create(key_id="k", nonce="b" * 16, expires_at=2**40)

    assert tasks.forget_nonces() == 1
    assert SeenNonce.objects.get().nonce == "b" * 16
