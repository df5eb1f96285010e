"""The disk of a node: a budget that is kept, what goes first, what stays."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.errors import SpoolFull
from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.budget import Budget, BudgetedSpool
from jinqiao.dataplane.node.errors import SpoolBudgetReached
from jinqiao.dataplane.node.process import Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind
from tests.dataplane.node.test_work import once, working
from tests.dataplane.node.world import PROVIDER, RUN, World


def nothing_goes() -> bool:
    return False


def configured(world: World, **fields: object) -> None:
    file = world.home(PROVIDER) / homes.CONFIGURATION
    with file.open("a", encoding="utf-8") as text:
        text.writelines(f"{name} = {value}\n" for name, value in fields.items())


def test_a_budget_is_never_passed_and_counts_what_was_there_before(tmp_path: Path) -> None:
    spool = BudgetedSpool(tmp_path, Budget(tmp_path, budget_bytes=1000, min_free_bytes=0, make_room=nothing_goes))
    spool.outgoing("R1").write_chunk(1, bytes(600))
    spool.incoming("R2").write_chunk(1, bytes(300))
    with pytest.raises(SpoolBudgetReached) as caught:
        spool.outgoing("R1").write_chunk(2, bytes(101))
    assert caught.value.retryable
    assert caught.value.details == {"used_bytes": 900, "budget_bytes": 1000, "size_bytes": 101}
    assert not spool.outgoing("R1").has_chunk(2)
    assert spool.free_bytes() == 100
    again = BudgetedSpool(tmp_path, Budget(tmp_path, budget_bytes=1000, min_free_bytes=0, make_room=nothing_goes))
    with pytest.raises(SpoolBudgetReached):
        again.outgoing("R1").write_chunk(2, bytes(101))
    again.purge("R2")
    again.outgoing("R1").write_chunk(2, bytes(101))


def test_a_disk_keeps_its_reserve(tmp_path: Path) -> None:
    spool = BudgetedSpool(tmp_path, Budget(tmp_path, budget_bytes=0, min_free_bytes=2**60, make_room=nothing_goes))
    with pytest.raises(SpoolFull):
        spool.outgoing("R1").write_chunk(1, b"x")
    assert spool.free_bytes() == 0


def test_an_extraction_that_would_pass_the_budget_stops_and_goes_through_when_there_is_room(world: World) -> None:
    configured(world, spool_budget_bytes=6000)
    command = world.extract(world.order(chunk_rows=200))
    once(world, PROVIDER)
    problem = world.platform.result_of(command).problem
    assert problem is not None
    assert (problem.code, problem.retryable) == ("node.spool.budget", True)
    with working(world, PROVIDER) as node:
        assert sum(path.stat().st_size for path in node.home.spool_folder.rglob("chunk-*")) <= 6000
    configured_again = (world.home(PROVIDER) / homes.CONFIGURATION).read_text().replace("6000", "6000000")
    (world.home(PROVIDER) / homes.CONFIGURATION).write_text(configured_again)
    retry = world.extract(world.order(chunk_rows=200))
    once(world, PROVIDER)
    assert world.platform.result_of(retry).ok


def test_chunks_stay_after_the_receipt_for_as_long_as_they_are_to(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(world, keep_staged_h=48)
    world.extract(world.order())
    once(world, PROVIDER)
    world.platform.command(PROVIDER, CommandKind.PURGE, run_id=RUN)
    once(world, PROVIDER)
    with working(world, PROVIDER) as node:
        assert node.spool.runs() == (RUN,)
        now = moments.now()
        monkeypatch.setattr(moments, "now", lambda: now + timedelta(hours=47))
        node._tidy()
        assert node.spool.runs() == (RUN,)
        monkeypatch.setattr(moments, "now", lambda: now + timedelta(hours=49))
        node._tidy()
        assert node.spool.runs() == ()


def test_runs_that_are_only_kept_go_first_the_oldest_before_the_others(world: World) -> None:
    configured(world, keep_staged_h=48)
    home = homes.load(world.home(PROVIDER))
    sizes = {"RUN-A": 400, "RUN-B": 400, "RUN-LIVE": 100}
    node = Node(replace(home, spool_budget_bytes=1000))
    try:
        for run_id, size in sizes.items():
            node.spool.outgoing(run_id).write_chunk(1, bytes(size))
        node.ledger.note_kept("RUN-A")
        node.ledger.note_kept("RUN-B")
        node.spool.outgoing("RUN-LIVE").write_chunk(2, bytes(300))
        assert node.spool.runs() == ("RUN-B", "RUN-LIVE")
        node.spool.outgoing("RUN-LIVE").write_chunk(3, bytes(400))
        assert node.spool.runs() == ("RUN-LIVE",)
        with pytest.raises(SpoolBudgetReached):
            node.spool.outgoing("RUN-LIVE").write_chunk(4, bytes(400))
    finally:
        node.close()


def test_a_chunk_that_was_damaged_in_the_spool_is_not_handed_over_and_the_next_attempt_extracts_anew(
    world: World,
) -> None:
    world.platform.is_away = False
    order = world.order()
    with working(world, PROVIDER) as node:
        world.platform.refusals[f"/api/nodes/runs/{RUN}/chunks/1"] = (409, "exchange.run.state_wrong")
        first = world.extract(order)
        assert node.run_once()
        assert not world.platform.result_of(first).ok
        path = node.spool.outgoing(RUN).chunk_path(2)
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(bytes(data))
        world.platform.refusals.clear()
        second = world.extract(order)
        assert node.run_once()
        problem = world.platform.result_of(second).problem
        assert problem is not None
        assert (problem.code, problem.retryable, problem.details["chunk"]) == ("node.chunk.staged_broken", True, 2)
        third = world.extract(order)
        assert node.run_once()
        assert world.platform.result_of(third).ok
