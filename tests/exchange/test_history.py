"""Figures of the last days and the map: each counts exactly the rows that its drill-down gives."""

import random
from datetime import date, datetime, time, timedelta

import pytest

from jinqiao.exchange.enums import RunState
from jinqiao.exchange.models import Call, ExchangeTask, Run
from jinqiao.exchange.queries import contents, history
from jinqiao.exchange.queries.tasks import tasks_found
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Finding
from jinqiao.kernel.moments import CHINA
from tests.exchange.factories import World
from tests.factories import make_post

FIRST = date(2026, 2, 17)
TODAY = date(2026, 3, 18)


def make_runs(world: World, count: int = 60) -> ExchangeTask:
    """Runs in every state, over 40 days, also close to midnight of China."""
    task, dice = world.task(), random.Random(7)
    for number in range(count):
        on = TODAY - timedelta(days=dice.randrange(40))
        at = datetime.combine(on, dice.choice([time(0, 0), time(7, 59), time(8, 0), time(23, 59, 59)]), CHINA)
        state = dice.choice([RunState.RECONCILED, RunState.FAILED, RunState.STOPPED])
        Run.objects.create(
            number=f"RUN-{number}",
            task=task,
            state=state,
            mode="full",
            rows=dice.randrange(1000),
            bytes=dice.randrange(10**6),
            rows_quarantined=dice.randrange(3),
            queued_at=at,
        )
    return task


def test_each_day_counts_the_runs_that_it_shows(world: World) -> None:
    task = make_runs(world)
    post = world.parties.asker

    series = history.daily(post, until=TODAY)

    assert [day.on for day in series] == [FIRST + timedelta(days=number) for number in range(30)]
    assert sum(day.count for day in series) > 0
    for day in series:
        runs = list(history.runs_of_day(post, day.on))
        done = [run for run in runs if run.state == RunState.RECONCILED]
        assert day.count == len(runs)
        assert day.rows == sum(run.rows or 0 for run in done)
        assert day.bytes == sum(run.bytes or 0 for run in done)
        assert day.rows_quarantined == sum(run.rows_quarantined for run in done)
        for state, count in day.runs.items():
            assert history.runs_of_day(post, day.on, state=state).count() == count
    assert history.daily(post, task=task, until=TODAY) == series


def test_an_edge_of_the_map_counts_what_it_leads_to(world: World) -> None:
    make_runs(world)
    _call(world)
    post = world.parties.bureau

    found = history.supply_map(post, until=TODAY)

    (edge,) = found.edges
    pair = (edge.provider, edge.consumer)
    runs = list(history.runs_between(post, *pair, until=TODAY))
    done = [run for run in runs if run.state == RunState.RECONCILED]
    assert pair == (world.parties.provider, world.parties.consumer)
    assert set(found.organisations) == set(pair)
    assert (edge.runs, edge.rows, edge.bytes) == (
        len(runs),
        sum(r.rows or 0 for r in done),
        sum(r.bytes or 0 for r in done),
    )
    assert edge.failed == sum(run.state == RunState.FAILED for run in runs)
    assert edge.tasks == history.tasks_between(post, *pair).count() == 1
    assert edge.calls == history.calls_between(post, *pair, until=TODAY).count() == 1
    assert edge.last_run == max(runs, key=lambda run: run.pk)


def _call(world: World) -> None:
    Call.objects.create(
        call_id="c1",
        gateway=world.provider_node.node,
        lane="l",
        number=1,
        at=moments.now(),
        provider=world.parties.provider.credit_code,
        consumer=world.parties.consumer.credit_code,
        outcome="ok",
        rows=1,
        duration_us=1,
        record={},
    )


@pytest.mark.parametrize(("last", "state"), [("failed", "failed"), ("reconciled", "moved"), ("extracting", "live")])
def test_the_state_of_an_edge_is_that_of_its_last_runs(world: World, last: str, state: str) -> None:
    Run.objects.create(number="R1", task=world.task(), state=last, mode="full", rows=5, queued_at=moments.now())

    assert history.supply_map(world.parties.asker).edges[0].state == state


def test_a_department_without_part_in_it_sees_an_empty_map(world: World) -> None:
    make_runs(world, 5)

    assert history.supply_map(make_post()).edges == ()
    assert sum(day.count for day in history.daily(make_post(), until=TODAY)) == 0


def test_tasks_are_found_by_what_is_asked(world: World) -> None:
    task = world.task(mode="watermark")
    Run.objects.create(number="R1", task=task, state="failed", mode="full", queued_at=moments.now())
    post = world.parties.asker

    for wanted, fits in (
        ({"text": task.number}, True),
        ({"text": "没有"}, False),
        ({"mode": "watermark", "state": "active"}, True),
        ({"mode": "full"}, False),
        ({"last_state": "failed"}, True),
        ({"last_state": "reconciled"}, False),
        ({"provider_id": world.parties.provider.pk}, True),
        ({"consumer_id": world.parties.provider.pk}, False),
        ({"has_alert": True}, False),
    ):
        assert tasks_found(post, **wanted).filter(pk=task.pk).exists() is fits, wanted  # type: ignore[arg-type]


def test_findings_are_counted_with_names_and_without_values(world: World) -> None:
    run = world.run()
    command = world.provider_node.take(CommandKind.EXTRACT)
    found = (
        Finding(check="required", item="xm", rows=1, sample_rows=(9,)),
        Finding(check="length", item="sfzh", rows=2, sample_rows=(4, 5)),
    )
    world.provider_node.answer(world.provider_node.extracted(command, findings=found))
    run.refresh_from_db()

    rows = contents.findings(run)
    assert [(row.check, row.rows, row.share) for row in rows] == [("length", 2, 2 / 3), ("required", 1, 1 / 3)]
    names = {str(item["code"]): str(item["name"]) for item in run.task.grant.items}
    assert rows[1].item_name == names["xm"] != "xm"
