"""Runs that broke off: retried where that may help, else put on somebody's desk."""

from datetime import timedelta

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import AlertKind, RunCause, RunKind, RunState
from jinqiao.exchange.models import Alert, ExchangeTask, NodeCommand, OutboxMessage, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.workflow.models import ToDo
from tests.exchange.factories import World


def test_retryable_trouble_is_retried_with_growing_waits_and_then_becomes_a_to_do(world: World) -> None:
    run = world.run()
    provider = world.provider_node
    for attempt, wait in ((1, 30), (2, 120), (3, 480), (4, 1920)):
        provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))
        run.refresh_from_db()
        assert (run.state, run.attempt) == (RunState.FAILED, attempt)
        assert run.finished_at is not None
        assert run.retry_at is not None
        assert timedelta(seconds=wait) <= run.retry_at - run.finished_at <= timedelta(seconds=wait * 1.2)
        assert actions.retry_due_runs() == 0
        Run.objects.update(retry_at=moments.now())
        assert actions.retry_due_runs() == 1
    assert not ToDo.objects.filter(kind="exchange.run.failed").exists()

    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))

    run.refresh_from_db()
    todo = ToDo.objects.get(kind="exchange.run.failed")
    assert (run.attempt, run.retry_at) == (5, None)
    assert (todo.organisation, todo.role, todo.done_at) == (
        world.parties.provider,
        "department_administrator",
        None,
    )
    assert AuditEvent.objects.filter(action="exchange.run.failed", outcome="failed").count() == 5


def test_trouble_that_no_retry_mends_goes_to_the_department_at_once(world: World) -> None:
    run = world.run()
    command = world.handed_over(run)
    world.consumer_node.answer(world.consumer_node.failed(command, "source.connection.authentication", retryable=False))

    run.refresh_from_db()
    todo = ToDo.objects.get(kind="exchange.run.failed")
    assert run.retry_at is None
    assert todo.organisation == world.parties.consumer  # it failed on delivery
    assert [command.kind for command in world.consumer_node.poll()] == [CommandKind.PURGE]


def test_the_to_do_of_a_failure_is_done_when_the_task_works_again(world: World) -> None:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT), retryable=False))

    world.finished(actions.start_run(run.task, by=None))

    assert ToDo.objects.get(kind="exchange.run.failed").done_at is not None


def test_a_new_run_takes_the_place_of_a_planned_retry(world: World) -> None:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))
    actions.start_run(run.task, by=world.parties.asker)
    Run.objects.filter(pk=run.pk).exclude(retry_at=None).update(retry_at=moments.now())

    assert actions.retry_due_runs() == 0
    run.refresh_from_db()
    assert run.state == RunState.FAILED


def test_a_retry_begins_with_a_clean_page(world: World) -> None:
    run = world.run()
    world.consumer_node.answer(world.consumer_node.failed(world.handed_over(run)))
    Run.objects.update(retry_at=moments.now())
    actions.retry_due_runs()

    run.refresh_from_db()
    assert (run.state, run.attempt, run.manifest, run.progress, run.rows) == (RunState.QUEUED, 2, {}, {}, None)
    assert world.finished(run).state == RunState.RECONCILED


def _backfill_that_failed_once(world: World) -> Run:
    task = world.task(mode="watermark", schedule="hourly")
    run = actions.backfill(task, by=world.parties.asker, since="2025-01-01T00:00:00", until="2025-12-31T00:00:00")
    world.consumer_node.answer(world.consumer_node.failed(world.handed_over(run)))
    run.refresh_from_db()
    assert run.retry_at is not None
    return run


def test_a_window_that_waits_for_its_retry_goes_before_the_plan_which_follows_it(world: World) -> None:
    run = _backfill_that_failed_once(world)
    ExchangeTask.objects.update(next_run_at=moments.now())

    assert (actions.start_due_runs(), actions.start_wanted_runs()) == (0, 0)
    Run.objects.update(retry_at=moments.now())
    assert actions.retry_due_runs() == 1
    assert world.finished(Run.objects.get()).state == RunState.RECONCILED

    assert actions.start_wanted_runs() == 1
    following = Run.objects.exclude(pk=run.pk).get()
    assert (following.kind, following.cause) == (RunKind.ORDINARY, RunCause.PLAN)


def test_a_reload_that_waits_for_its_retry_goes_before_what_arrives(world: World) -> None:
    task = actions.plan_task(world.task(), by=world.parties.asker, on_arrival=True)
    approval = actions.ask_reload(task, by=world.parties.asker, reason="重装")
    approval = actions.decide_reload(approval, by=world.admin, approved=True)
    actions.reload_target(approval, by=world.parties.asker)
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))

    assert actions.announce_arrival(world.source, by=world.parties.clerk) == 1

    run = Run.objects.get()
    task.refresh_from_db()
    assert (run.kind, run.retry_at is not None, task.is_due) == (RunKind.RELOAD, True, True)


def test_a_window_that_a_hand_supersedes_is_told_and_its_chunks_are_discarded(world: World) -> None:
    run = _backfill_that_failed_once(world)

    actions.start_run(run.task, by=world.parties.asker)

    run.refresh_from_db()
    alert = Alert.objects.get(kind=AlertKind.RUN_FAILED, closed_at=None)
    assert (run.retry_at, alert.run, alert.organisation) == (None, run, world.parties.consumer)
    assert ToDo.objects.filter(kind="exchange.run.failed", done_at=None).count() == 1
    assert NodeCommand.objects.filter(run=run, kind=CommandKind.PURGE).count() == 2
    assert OutboxMessage.objects.filter(topic="relay.purge", body__run=run.number).exists()


def test_the_same_window_asked_for_again_loses_nothing(world: World) -> None:
    run = _backfill_that_failed_once(world)

    actions.backfill(run.task, by=world.parties.asker, since=run.window_since, until=run.window_until)

    assert not Alert.objects.filter(kind=AlertKind.RUN_FAILED).exists()


def test_a_retry_that_a_window_takes_the_place_of_is_caught_up_after_it(world: World) -> None:
    task = world.task(mode="watermark")
    world.run(task)
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))

    window = actions.backfill(task, by=world.parties.asker, since="", until="2025-12-31T00:00:00")
    world.finished(window)

    assert actions.start_wanted_runs() == 1


def test_a_failure_that_every_run_passes_on_to_the_next_is_told_once_it_was_tried_often_enough(world: World) -> None:
    task = actions.plan_task(world.task(), by=world.parties.asker, on_arrival=True)
    provider = world.provider_node
    told = []
    for _round in range(8):
        assert actions.announce_arrival(world.source, by=world.parties.clerk) == 1
        provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))
        told.append(Alert.objects.count())

    assert told == [0, 0, 0, 0, 0, 1, 1, 1]  # the fifth failed attempt was passed on to the sixth run
    assert ToDo.objects.filter(kind="exchange.run.failed", done_at=None).count() == 1
    actions.stop_run(Run.objects.latest("pk"), by=world.parties.asker)
    world.finished(actions.start_run(task, by=None))
    assert not Alert.objects.filter(closed_at=None).exists()


def test_a_pause_over_the_time_of_a_retry_keeps_it(world: World) -> None:
    run = world.run()
    provider = world.provider_node
    provider.answer(provider.failed(provider.take(CommandKind.EXTRACT)))
    actions.pause_task(run.task, by=world.parties.asker)
    Run.objects.update(retry_at=moments.now())

    assert actions.retry_due_runs() == 0
    actions.resume_task(run.task, by=world.parties.asker)
    assert actions.retry_due_runs() == 1


def test_a_window_that_was_lost_stays_told_when_an_ordinary_run_comes_through(world: World) -> None:
    run = _backfill_that_failed_once(world)
    world.finished(actions.start_run(run.task, by=world.parties.asker))

    assert Alert.objects.get(kind=AlertKind.RUN_FAILED, closed_at=None).run == run
    assert ToDo.objects.filter(kind="exchange.run.failed", done_at=None).count() == 1
    world.finished(actions.backfill(run.task, by=world.parties.asker, since=run.window_since, until=run.window_until))
    assert not Alert.objects.filter(closed_at=None).exists()
    assert not ToDo.objects.filter(kind="exchange.run.failed", done_at=None).exists()


def test_a_failure_stays_told_when_a_window_comes_through(world: World) -> None:
    task = world.task(mode="watermark")
    run = world.run(task)
    world.provider_node.answer(
        world.provider_node.failed(world.provider_node.take(CommandKind.EXTRACT), retryable=False)
    )

    world.finished(actions.backfill(task, by=world.parties.asker, since="", until="2025-12-31T00:00:00"))

    assert Alert.objects.get(kind=AlertKind.RUN_FAILED, closed_at=None).run == run
    world.finished(actions.start_run(task, by=None))
    assert not Alert.objects.filter(closed_at=None).exists()
