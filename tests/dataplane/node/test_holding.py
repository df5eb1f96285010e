"""Moves that wait: paused by hand, or for the hours in which their source may be read. What is staged or loaded stays."""

import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node.process import Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import CommandKind, Stage, Window
from jinqiao.kernel.moments import CHINA
from tests.dataplane.node.test_work import extracted, once, working
from tests.dataplane.node.world import CONSUMER, PROVIDER, RUN, World, kill, wait_until

NIGHT = (Window(since="22:00", until="06:00"),)


def at(monkeypatch: pytest.MonkeyPatch, hour: int, minute: int = 0, days: int = 0) -> datetime:
    """Business time stands at this hour of the local day."""
    midnight = datetime.combine(moments.today(), datetime.min.time(), CHINA)
    instant = midnight + timedelta(days=days, hours=hour, minutes=minute)
    monkeypatch.setattr(moments, "now", lambda: instant)
    for module in ("work", "relay"):
        monkeypatch.setattr(f"jinqiao.dataplane.node.{module}.now", lambda: instant)
    return instant


def test_a_paused_run_waits_and_goes_on_when_it_is_resumed_also_after_a_restart(world: World) -> None:
    world.platform.command(PROVIDER, CommandKind.PAUSE, run_id=RUN)
    command = world.extract(world.order())
    once(world, PROVIDER)
    once(world, PROVIDER)  # another process by now
    assert not [result for result in world.platform.results if result.command_id == command]
    with working(world, PROVIDER) as node:
        assert node.run_once()
        assert node.ledger.open_runs() == (RUN,)  # the platform does not hand it out again
    world.platform.command(PROVIDER, CommandKind.RESUME, run_id=RUN)
    once(world, PROVIDER)
    assert world.platform.result_of(command).ok


def test_a_pause_is_told_as_what_the_run_waits_for(world: World) -> None:
    process = world.start(PROVIDER)
    try:
        pause = world.platform.command(PROVIDER, CommandKind.PAUSE, run_id=RUN)
        assert world.platform.result_of(pause).ok
        world.extract(world.order())
        wait_until(
            lambda: any(step.waiting_for == "resume" for beat in world.platform.heartbeats for step in beat.progress),
            "the pause in a heartbeat",
        )
    finally:
        kill(process)


def test_a_pause_holds_a_transfer_where_it_is(world: World) -> None:
    order = world.order()
    reached = threading.Event()

    def pause_at_second(method: str, number: int) -> None:
        if method == "PUT" and number == 2 and not reached.is_set():
            world.platform.result_of(world.platform.command(PROVIDER, CommandKind.PAUSE, run_id=RUN))
            reached.set()

    world.platform.at_chunk = pause_at_second
    command = world.extract(order)
    process = world.start(PROVIDER)
    try:
        wait_until(reached.is_set, "the second chunk")
        wait_until(
            lambda: any(step.waiting_for == "resume" for beat in world.platform.heartbeats for step in beat.progress),
            "the pause in a heartbeat",
        )
        held_at = len(world.platform.chunks)
        assert held_at < 4
        world.platform.command(PROVIDER, CommandKind.RESUME, run_id=RUN)
        assert world.platform.result_of(command).ok
        assert len(world.platform.chunks) == 4
    finally:
        kill(process)


def test_a_paused_delivery_shows_nothing_until_it_is_resumed(world: World) -> None:
    order = world.order()
    sent = extracted(world)
    world.platform.command(CONSUMER, CommandKind.PAUSE, run_id=RUN)
    command = world.deliver(order, sent)
    once(world, CONSUMER)
    with closing(sqlite3.connect(world.target_file)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'hunyin'").fetchone() == (0,)
    world.platform.command(CONSUMER, CommandKind.RESUME, run_id=RUN)
    once(world, CONSUMER)
    assert world.platform.result_of(command).ok
    assert world.target_rows() == world.source_rows()


def test_a_stop_ends_a_paused_run(world: World) -> None:
    world.platform.command(PROVIDER, CommandKind.PAUSE, run_id=RUN)
    command = world.extract(world.order())
    once(world, PROVIDER)
    world.platform.command(PROVIDER, CommandKind.STOP, run_id=RUN)
    once(world, PROVIDER)
    problem = world.platform.result_of(command).problem
    assert problem is not None
    assert problem.code == "pipeline.run.stopped"


def test_a_source_is_read_only_in_its_hours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 14)
    command = world.extract(world.order(windows=NIGHT))
    with working(world, PROVIDER) as node:
        assert node.run_once()
        assert not [result for result in world.platform.results if result.command_id == command]
        told = node.heartbeat()[1].progress or world.platform.heartbeats[-1].progress
        assert [step.waiting_for for step in told if step.stage is Stage.EXTRACT] == ["window"]
        at(monkeypatch, 21, 59)
        assert node.run_once()
        assert not [result for result in world.platform.results if result.command_id == command]
        at(monkeypatch, 22)
        assert node.run_once()
    assert world.platform.result_of(command).ok


def test_what_waits_for_its_hours_holds_no_other_run_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 14)
    waiting = world.extract(world.order(windows=NIGHT))
    other = world.extract(world.order(run_id="RUN-20260318-0002"))
    once(world, PROVIDER)
    assert world.platform.result_of(other).ok
    assert not [result for result in world.platform.results if result.command_id == waiting]


def test_the_end_of_the_hours_ends_the_reading_and_it_goes_on_the_next_night(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 5, 59)
    node = Node(homes.load(world.home(PROVIDER)))
    command = world.extract(world.order(windows=NIGHT, chunk_rows=100))
    written: list[int] = []
    original = type(node.spool.outgoing(RUN)).write_chunk

    def write_and_let_time_pass(self: object, number: int, data: bytes) -> None:
        original(self, number, data)  # type: ignore[arg-type]
        written.append(number)
        if len(written) == 1:
            at(monkeypatch, 6)

    monkeypatch.setattr(type(node.spool.outgoing(RUN)), "write_chunk", write_and_let_time_pass)
    with closing(node):
        assert node.run_once()
        assert written
        assert not [result for result in world.platform.results if result.command_id == command]
        at(monkeypatch, 22)
        assert node.run_once()
    sent = world.platform.result_of(command)
    assert sent.ok
    assert sent.manifest is not None
    assert sent.manifest.rows == world.rows
