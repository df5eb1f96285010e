"""A chunk that was damaged on its way comes once more from what the provider staged; the run does not begin again."""

from pathlib import Path

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.actions.commanding import OPEN
from jinqiao.exchange.actions.resending import DAMAGED, MOST_RESENDS
from jinqiao.exchange.enums import CommandState, RunState
from jinqiao.exchange.errors import ChunkDigestWrong, ChunkMissing, RunStateWrong
from jinqiao.exchange.models import Node, NodeCommand, RelayChunk, Run
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Command, CommandKind, CommandResult, Problem
from jinqiao.kernel.crypto.suites import suite
from tests.exchange.factories import NodeHands, World, relay_files

pytestmark = pytest.mark.django_db


def failed(command: Command, code: str = DAMAGED, **details: object) -> CommandResult:
    return CommandResult(
        command_id=command.id,
        ok=False,
        problem=Problem(code=code, details={"chunk": 1, **details}, retryable=True),
        finished_at=moments.now(),
    )


def done(command: Command) -> CommandResult:
    return CommandResult(command_id=command.id, ok=True, finished_at=moments.now())


def put(world: World, run: Run, data: bytes) -> None:
    digest = suite("international").digest(data).hex()
    actions.store_chunk(run.number, 1, data, digest, node=world.provider_node.node)


def test_a_damaged_chunk_is_brought_again_and_delivered(world: World) -> None:
    run = world.run()
    deliver = world.handed_over(run)
    world.consumer_node.answer(failed(deliver, chunks=[1]))

    run.refresh_from_db()
    assert run.state == RunState.DELIVERING
    with pytest.raises(ChunkMissing):
        actions.open_chunk(run.number, 1, node=world.consumer_node.node)
    resend = world.provider_node.take(CommandKind.RESEND)
    assert (resend.chunks, resend.run_id) == ((1,), run.number)
    put(world, run, NodeHands.chunk(resend))
    world.provider_node.answer(done(resend))
    again = world.consumer_node.take(CommandKind.DELIVER)
    assert again.id != deliver.id
    assert (again.manifest, again.sender_signature) == (deliver.manifest, deliver.sender_signature)
    world.consumer_node.answer(world.consumer_node.delivered(again))
    run.refresh_from_db()
    assert (run.state, run.attempt) == (RunState.RECONCILED, 1)


def test_only_what_was_asked_for_is_taken_and_only_as_it_was_signed_for(world: World) -> None:
    run = world.run()
    deliver = world.handed_over(run)
    with pytest.raises(RunStateWrong):
        put(world, run, NodeHands.chunk(deliver))  # nobody asked
    world.consumer_node.answer(failed(deliver))
    world.provider_node.take(CommandKind.RESEND)
    with pytest.raises(ChunkDigestWrong):
        put(world, run, b"something else")
    data = NodeHands.chunk(deliver)
    with pytest.raises(RunStateWrong):
        actions.store_chunk(
            run.number, 2, data, suite("international").digest(data).hex(), node=world.provider_node.node
        )


def test_a_copy_that_was_damaged_on_the_platforms_disk_is_not_given_out(world: World, relay: Path) -> None:
    run = world.run()
    world.handed_over(run)
    (file,) = relay_files(run, relay)
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(ChunkMissing):
        actions.open_chunk(run.number, 1, node=world.consumer_node.node)


def test_after_some_rounds_the_run_fails_and_may_be_tried_as_a_whole(world: World) -> None:
    run = world.run()
    deliver = world.handed_over(run)
    for _ in range(MOST_RESENDS):
        world.consumer_node.answer(failed(deliver))
        resend = world.provider_node.take(CommandKind.RESEND)
        put(world, run, NodeHands.chunk(resend))
        world.provider_node.answer(done(resend))
        deliver = world.consumer_node.take(CommandKind.DELIVER)
    world.consumer_node.answer(failed(deliver))
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert run.retry_at is not None


def test_a_provider_that_has_lost_what_it_staged_ends_the_run(world: World) -> None:
    run = world.run()
    world.consumer_node.answer(failed(world.handed_over(run)))
    resend = world.provider_node.take(CommandKind.RESEND)
    world.provider_node.answer(failed(resend, code="node.chunk.staged_broken"))
    run.refresh_from_db()
    assert (run.state, run.problem["code"]) == (RunState.FAILED, "node.chunk.staged_broken")


@pytest.mark.parametrize("details", [{"chunk": 7}, {"chunk": "1"}, {"chunk": None, "chunks": [99]}])
def test_a_chunk_that_is_none_of_the_batch_is_not_asked_for(world: World, details: dict[str, object]) -> None:
    run = world.run()
    deliver = world.handed_over(run)
    world.consumer_node.answer(failed(deliver, **details))
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert not NodeCommand.objects.filter(kind=CommandKind.RESEND.value).exists()


def test_a_late_answer_to_a_resend_does_not_wake_a_stopped_run(world: World) -> None:
    run = world.run()
    world.consumer_node.answer(failed(world.handed_over(run)))
    resend = world.provider_node.take(CommandKind.RESEND)
    actions.stop_run(run, by=world.parties.asker)
    world.provider_node.answer(done(resend))
    run.refresh_from_db()
    assert run.state == RunState.STOPPED
    assert not NodeCommand.objects.filter(
        run=run, kind=CommandKind.DELIVER.value, state__in=("waiting", "taken")
    ).exists()
    assert RelayChunk.objects.filter(run=run).count() == 0


def test_sending_again_twice_leaves_one_delivery(world: World) -> None:
    run = world.run()
    world.handed_over(run)
    provider, consumer = world.provider_node, world.consumer_node
    for by in (world.parties.asker, world.parties.clerk):
        actions.resend_chunks(run, by=by, chunks=[1])
        taken = provider.take(CommandKind.RESEND)
        assert taken.chunks == (1,)
    first = NodeCommand.objects.filter(run=run, kind=CommandKind.RESEND.value).earliest("id")
    provider.answer(CommandResult(command_id=first.number, ok=True, finished_at=moments.now()))
    assert CommandKind.DELIVER not in {command.kind for command in consumer.poll()}

    put(world, run, NodeHands.chunk(taken))
    provider.answer(done(taken))
    consumer.answer(consumer.delivered(consumer.take(CommandKind.DELIVER)))

    run.refresh_from_db()
    assert run.state == RunState.RECONCILED
    assert NodeCommand.objects.filter(run=run, kind=CommandKind.DELIVER.value).count() == 2  # the first was cancelled
    assert not NodeCommand.objects.filter(run=run, kind__in=("deliver", "resend"), state__in=OPEN).exists()


def test_sending_again_brings_what_was_still_to_be_brought(world: World) -> None:
    run = world.run()
    world.handed_over(run)
    chunk = run.manifest["chunks"][0]
    Run.objects.filter(pk=run.pk).update(manifest={**run.manifest, "chunks": [chunk, {**chunk, "number": 2}]})
    actions.resend_chunks(run, by=world.parties.asker, chunks=[1])
    actions.resend_chunks(run, by=world.parties.clerk, chunks=[2])

    assert world.provider_node.take(CommandKind.RESEND).chunks == (1, 2)


def test_a_run_that_is_over_takes_no_room_at_its_node(world: World) -> None:
    run = world.run()
    left = world.handed_over(run)
    actions.resend_chunks(run, by=world.parties.asker, chunks=[1])
    resend = world.provider_node.take(CommandKind.RESEND)
    put(world, run, NodeHands.chunk(resend))
    world.provider_node.answer(done(resend))
    again = world.consumer_node.take(CommandKind.DELIVER)
    NodeCommand.objects.filter(number=left.id).update(state=CommandState.TAKEN)  # its answer was lost
    world.consumer_node.answer(world.consumer_node.delivered(again))
    assert NodeCommand.objects.get(number=left.id).state == CommandState.CANCELLED

    NodeCommand.objects.filter(number=left.id).update(state=CommandState.TAKEN)  # as an earlier version left it
    Node.objects.filter(pk=world.consumer_node.node.pk).update(run_cap=1)
    world.handed_over(world.run(run.task))
