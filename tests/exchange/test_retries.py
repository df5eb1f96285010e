"""Runs that broke off: retried where that may help, else put on somebody's desk."""

from datetime import timedelta

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Run
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
