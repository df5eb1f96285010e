"""Two at once: whatever the order, one wins and nothing happens twice."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from jinqiao.api.authentication import remember_nonce
from jinqiao.exchange import actions
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.errors import RunAlreadyLive
from jinqiao.exchange.models import DataSource, NodeCommand, PolicyVersion, RelayChunk, Run, SeenNonce
from jinqiao.kernel.contracts.exchange import CommandKind
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.httpsig import NonceReplayed
from tests.exchange.factories import World, make_served, make_world
from tests.factories import seed_calendar

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db: None) -> World:
    seed_calendar()
    return make_world()


def at_once(work: Callable[[], Any], count: int = 4) -> list[Any]:
    """What each of `count` threads got: a value, or the error of ours that it met."""
    gate = threading.Barrier(count)
    found: list[Any] = []

    def one() -> None:
        try:
            gate.wait()
            found.append(work())
        except JinqiaoError as error:
            found.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == count
    return found


def test_one_of_many_starts_wins(world: World) -> None:
    task = world.task()
    found = at_once(lambda: actions.start_run(task, by=world.parties.asker))

    assert sum(isinstance(result, Run) for result in found) == 1
    assert sum(isinstance(result, RunAlreadyLive) for result in found) == 3
    assert NodeCommand.objects.filter(kind=CommandKind.EXTRACT).count() == 1


def test_a_due_plan_starts_one_run_though_many_look(world: World) -> None:
    from jinqiao.exchange.models import ExchangeTask
    from jinqiao.kernel import moments

    world.task(schedule="hourly")
    ExchangeTask.objects.update(next_run_at=moments.now())

    assert sum(at_once(actions.start_due_runs)) == 1
    assert Run.objects.count() == 1


def test_the_same_answer_many_times_at_once_delivers_once(world: World) -> None:
    run = world.run()
    result = world.provider_node.extracted(world.provider_node.take(CommandKind.EXTRACT))
    at_once(lambda: world.provider_node.answer(result))

    run.refresh_from_db()
    assert run.state == RunState.DELIVERING
    assert NodeCommand.objects.filter(kind=CommandKind.DELIVER).count() == 1


def test_stopping_and_answering_at_once_leave_one_truth(world: World) -> None:
    run = world.run()
    result = world.consumer_node.delivered(world.handed_over(run))
    turns = iter([True, False])

    def either() -> Any:
        return world.consumer_node.answer(result) if next(turns) else actions.stop_run(run, by=world.parties.asker)

    at_once(either, 2)

    run.refresh_from_db()
    is_complete = run.receipt.completed_at is not None
    assert (run.state, is_complete) in ((RunState.RECONCILED, True), (RunState.STOPPED, False))


def test_the_same_chunk_many_times_at_once_is_kept_once(world: World, relay: Path) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    data = b"ciphertext" * 1000
    digest = suite("international").digest(data).hex()
    at_once(lambda: actions.store_chunk(run.number, 1, data, digest, node=world.provider_node.node))

    assert RelayChunk.objects.count() == 1
    assert [file.read_bytes() for file in (relay / run.number).iterdir()] == [data]


def test_a_nonce_is_good_once_across_threads(transactional_db: None) -> None:
    found = at_once(lambda: remember_nonce("key", "n" * 20, 0))

    assert sum(isinstance(result, NonceReplayed) for result in found) == 3
    assert SeenNonce.objects.count() == 1


def test_a_new_policy_is_made_once_though_many_ask(transactional_db: None) -> None:
    seed_calendar()
    served = make_served()
    found = at_once(lambda: actions.policy_for(served.gateway.node))

    assert len({message.signature for message in found}) == 1
    assert PolicyVersion.objects.count() == 1


def test_a_source_that_moves_while_runs_start_and_data_arrives_keeps_nobody_waiting_in_a_circle(world: World) -> None:
    task = world.task(mode="watermark")
    actions.plan_task(task, by=world.parties.asker, on_arrival=True)
    works: list[Callable[[], Any]] = [
        lambda: actions.change_data_source(
            world.source, by=world.parties.clerk, name="库", host="10.9.9.9", database="biz", user="reader"
        ),
        lambda: actions.start_run(task, by=world.parties.asker),
        lambda: actions.announce_arrival(world.source, by=world.parties.clerk),
        actions.watch_slots,
    ]
    for _ in range(5):
        turns = iter(works)
        at_once(lambda turns=turns: next(turns)(), len(works))  # type: ignore[misc]

    assert DataSource.objects.get(pk=world.source.pk).host == "10.9.9.9"
