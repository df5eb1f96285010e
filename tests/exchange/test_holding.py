"""Live runs: which is given to a node first, how many at once, held and gone on, how far and how fast they are."""

from datetime import timedelta

import pytest

from jinqiao.exchange import actions
from jinqiao.exchange.enums import Priority
from jinqiao.exchange.errors import ChunkMissing, NotYourNode, ProtectionWrong, RunHeldByOther, RunStateWrong
from jinqiao.exchange.models import ExchangeTask, NodeCommand, Run
from jinqiao.exchange.queries import contents, progress
from jinqiao.exchange.queries.contents import ChunkState
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Progress, Stage
from tests.exchange.factories import World
from tests.sharing import factories as sharing


def tasks_of(world: World, count: int) -> list[ExchangeTask]:
    grants = [
        sharing.make_grant(world.parties, mode="batch", use_from=moments.today(), row_filter=[]) for _ in range(count)
    ]
    return [world.task(grant, target_table=f"t{number}") for number, grant in enumerate(grants)]


def test_a_node_is_given_runs_by_priority_and_no_more_than_it_takes(world: World) -> None:
    low, first, second, high = tasks_of(world, 4)
    actions.plan_task(low, by=world.parties.asker, priority=Priority.LOW)
    actions.plan_task(high, by=world.parties.asker, priority=Priority.HIGH)
    actions.cap_node(world.provider_node.node, by=world.provider_admin, run_cap=2)
    runs = {task.pk: world.run(task) for task in (low, first, second, high)}

    given = [command.run_id for command in world.provider_node.poll()]
    busy = tuple(given)
    assert given == [runs[high.pk].number, runs[first.pk].number]
    assert world.provider_node.poll(busy_with=busy) == []

    actions.stop_run(Run.objects.get(number=given[0]), by=world.parties.asker)
    moved = [command for command in world.provider_node.poll(busy_with=busy) if command.kind is CommandKind.EXTRACT]
    assert [command.run_id for command in moved] == [runs[second.pk].number]


def test_the_cap_of_a_node_is_its_department_s(world: World) -> None:
    with pytest.raises(NotYourNode):
        actions.cap_node(world.provider_node.node, by=world.parties.asker, run_cap=2)
    with pytest.raises(ProtectionWrong):
        actions.cap_node(world.provider_node.node, by=world.provider_admin, run_cap=0)


def test_a_run_is_held_and_goes_on(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)

    held = actions.pause_run(run, by=world.parties.clerk, reason="业务高峰")
    told = world.provider_node.poll(busy_with=(run.number,))
    with pytest.raises(RunStateWrong):
        actions.pause_run(run, by=world.parties.clerk)
    actions.resume_run(run, by=world.parties.clerk)
    again = world.provider_node.poll(busy_with=(run.number,))

    assert (held.paused_at is not None, held.paused_by) == (True, world.parties.clerk)
    assert [command.kind for command in told] == [CommandKind.PAUSE]
    assert CommandKind.RESUME in {command.kind for command in again}


def test_a_run_that_waits_is_not_given_away_while_it_is_held(world: World) -> None:
    run = world.run()
    actions.pause_run(run, by=world.parties.asker)

    assert world.provider_node.poll() == []
    actions.resume_run(run, by=world.parties.asker)
    assert [command.kind for command in world.provider_node.poll()] == [CommandKind.EXTRACT]


def test_who_holds_a_run_lets_it_go_and_the_bureau_may(world: World) -> None:
    run = world.run()
    actions.pause_run(run, by=world.parties.clerk)

    with pytest.raises(RunHeldByOther):
        actions.resume_run(run, by=world.parties.asker)
    assert actions.resume_run(run, by=world.parties.bureau).paused_at is None


def test_a_held_run_that_is_stopped_is_held_no_more(world: World) -> None:
    run = world.run()
    actions.pause_run(run, by=world.parties.clerk)

    assert actions.stop_run(run, by=world.parties.clerk).paused_at is None
    with pytest.raises(RunStateWrong):
        actions.resume_run(run, by=world.parties.clerk)


def test_chunks_are_brought_once_more_and_the_delivery_begins_anew(world: World) -> None:
    run = world.run()
    first = world.handed_over(run)
    actions.resend_chunks(run, by=world.parties.asker, chunks=[1])
    assert [row.state for row in contents.chunks(run)] == [ChunkState.AWAITED]

    resend = world.provider_node.take(CommandKind.RESEND)
    assert (resend.chunks, resend.run_id) == ((1,), run.number)
    world.consumer_node.answer(world.consumer_node.delivered(first))  # of a command that no longer stands
    run.refresh_from_db()
    assert run.state == "delivering"
    assert NodeCommand.objects.get(number=first.id).state == "cancelled"


@pytest.mark.parametrize("chunks", [[], [2], [1, 7]])
def test_only_chunks_of_the_batch_are_brought(world: World, chunks: list[int]) -> None:
    run = world.run()
    world.handed_over(run)

    with pytest.raises(ChunkMissing):
        actions.resend_chunks(run, by=world.parties.asker, chunks=chunks)


def _tell(world: World, run: Run, seconds: int, rows: int, **more: object) -> None:
    step = Progress(
        run_id=run.number,
        stage=Stage.EXTRACT,
        rows_done=rows,
        rows_total=1000,
        bytes_done=rows * 1000,
        at=moments.now() + timedelta(seconds=seconds),
        **more,  # type: ignore[arg-type]
    )
    world.provider_node.poll(busy_with=(run.number,), progress=(step,))
    run.refresh_from_db()


def test_speed_and_time_left_follow_from_what_the_node_tells(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    _tell(world, run, 0, 100)
    _tell(world, run, 10, 600)

    speed = progress.speed(run)
    assert speed is not None
    assert speed.rows_per_s == pytest.approx(50, rel=0.01)
    assert speed.mb_per_s == pytest.approx(0.05, rel=0.01)
    assert speed.share == pytest.approx(0.6)
    assert speed.left_s == pytest.approx(8, rel=0.01)
    extract = progress.stages(run)[0]
    assert (extract.state, extract.rows_done, extract.rows_total) == ("now", 600, 1000)


def test_a_run_that_waits_has_no_time_left_and_says_for_what(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    _tell(world, run, 0, 100)
    _tell(world, run, 10, 600, waiting_for="window")

    speed = progress.speed(run)
    assert speed is not None
    assert (speed.left_s, speed.waiting_for) == (None, "window")


def test_samples_stay_few_and_begin_anew_where_rows_go_back(world: World) -> None:
    run = world.run()
    world.provider_node.take(CommandKind.EXTRACT)
    for number in range(progress.SAMPLES + 5):
        _tell(world, run, number * 3, number * 10)
    assert len(run.samples) == progress.SAMPLES

    _tell(world, run, 200, 5)
    assert len(run.samples) == 1


def test_a_run_that_is_over_has_its_stages_and_no_speed(world: World) -> None:
    run = world.finished()

    assert progress.speed(run) is None
    assert {stage.state for stage in progress.stages(run)} == {"done"}
    assert [row.state for row in contents.chunks(run)] == [ChunkState.DELIVERED]
    assert (run.bytes, run.rows_read, run.snapshot) == (contents.chunks(run)[0].size_bytes, 3, "single transaction")
