"""Nodes as real processes: killed, ended, started twice, alone for a while."""

import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node import main
from jinqiao.dataplane.node.errors import HomeInUse, HomeNotPrepared
from jinqiao.dataplane.node.process import Node
from jinqiao.dataplane.platform import PlatformRefused
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Command, CommandKind, CommandResult, Stage
from jinqiao.kernel.contracts.tables import Engine
from jinqiao.kernel.crypto.identity import Identity, sign_message
from jinqiao.kernel.crypto.suites import SUITE_NAMES
from tests.dataplane.node.small_platform import SmallPlatform
from tests.dataplane.node.world import CONSUMER, PROVIDER, RUN, World, kill, wait_until


class Running:
    """Processes of a test, all ended with it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, node_id: str) -> subprocess.Popen[bytes]:
        process = self.world.start(node_id)
        self.processes.append(process)
        return process


@pytest.fixture
def running(world: World):  # type: ignore[no-untyped-def]
    group = Running(world)
    yield group
    for process in group.processes:
        if process.poll() is None:
            kill(process)


def staged(world: World) -> int:
    return len(list((world.home(PROVIDER) / homes.SPOOL / "out" / RUN).glob("chunk-*.jqc")))


def delivered_chunks(world: World) -> int:
    try:
        with closing(sqlite3.connect(f"file:{world.target_file}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT count(*) FROM jinqiao_ledger WHERE chunk > 0").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.kill
@pytest.mark.parametrize("chunks", [0, 5])
def test_a_node_killed_while_extracting_hands_over_exactly_the_rows(
    world: World, running: Running, chunks: int
) -> None:
    order = world.order(chunk_rows=100, rows_per_s=4000)
    node = running.start(PROVIDER)
    command = world.extract(order)
    wait_until(lambda: staged(world) >= chunks and any(beat.busy_with for beat in world.platform.heartbeats), "chunks")
    kill(node)
    assert not world.platform.results
    running.start(PROVIDER)
    sent = world.platform.result_of(command)
    finish(world, running, order, sent)


@pytest.mark.kill
@pytest.mark.parametrize("number", [3])
def test_a_node_killed_while_handing_over_brings_only_what_is_missing(
    world: World, running: Running, number: int
) -> None:
    killed = stall_and_kill(world, "PUT", number)
    order = world.order()
    command = world.extract(order)
    node = running.start(PROVIDER)
    wait_until(killed, "stalled")
    kill(node)
    world.source_file.rename(world.folder / "away.db")  # what is staged is not read again
    world.platform.at_chunk = lambda method, chunk: None
    running.start(PROVIDER)
    sent = world.platform.result_of(command)
    puts = [path for method, path in world.platform.calls if method == "PUT"]
    assert len(puts) == 4 + 1  # the one that was cut off comes twice
    (world.folder / "away.db").rename(world.source_file)
    finish(world, running, order, sent)


@pytest.mark.kill
@pytest.mark.parametrize("number", [4])
def test_a_node_killed_while_fetching_goes_on_with_the_next_chunk(world: World, running: Running, number: int) -> None:
    order = world.order()
    sent = extracted(world, running, order)
    killed = stall_and_kill(world, "GET", number)
    node = running.start(CONSUMER)
    command = world.deliver(order, sent)
    wait_until(killed, "stalled")
    kill(node)
    world.platform.at_chunk = lambda method, chunk: None
    running.start(CONSUMER)
    check_delivered(world, world.platform.result_of(command))
    assert len([path for method, path in world.platform.calls if method == "GET"]) == 4 + 1


@pytest.mark.kill
@pytest.mark.parametrize("chunks", [1, 7])
def test_a_node_killed_while_delivering_delivers_every_row_once(world: World, running: Running, chunks: int) -> None:
    order = world.order(chunk_rows=10)  # many chunks: even a slow machine notices the first before the last
    sent = extracted(world, running, order)
    node = running.start(CONSUMER)
    command = world.deliver(order, sent)
    wait_until(lambda: delivered_chunks(world) >= chunks, "delivery")
    kill(node)
    assert chunks <= delivered_chunks(world) < world.rows // 10
    running.start(CONSUMER)
    check_delivered(world, world.platform.result_of(command))


@pytest.mark.kill
def test_a_node_killed_before_its_answer_was_heard_answers_without_working_again(
    world: World, running: Running
) -> None:
    world.platform.loses_results = True
    order = world.order()
    node = running.start(PROVIDER)
    command = world.extract(order)
    wait_until(lambda: ("POST", "/api/nodes/results") in world.platform.calls, "answer")
    kill(node)
    world.source_file.rename(world.folder / "away.db")
    world.platform.loses_results = False
    running.start(PROVIDER)
    sent = world.platform.result_of(command)
    (world.folder / "away.db").rename(world.source_file)
    finish(world, running, order, sent)


def test_a_node_works_on_while_the_platform_is_away(world: World, running: Running) -> None:
    order = world.order()
    running.start(PROVIDER)
    command = world.extract(order)
    wait_until(lambda: any(beat.busy_with for beat in world.platform.heartbeats), "taken")
    world.platform.is_away = True
    wait_until(lambda: staged(world) == 4, "staged without the platform")
    world.platform.is_away = False
    assert world.platform.result_of(command).ok


def test_progress_of_a_run_is_told_while_it_works(world: World, running: Running) -> None:
    running.start(PROVIDER)
    command = world.extract(world.order(chunk_rows=100, rows_per_s=2000))
    assert world.platform.result_of(command).ok
    steps = [step for beat in list(world.platform.heartbeats) for step in beat.progress]
    assert {Stage.EXTRACT, Stage.STAGE} <= {step.stage for step in steps}
    done = [step.rows_done for step in steps if step.stage is Stage.EXTRACT]
    assert done == sorted(done)
    assert all(beat.spool_free_bytes > 0 for beat in world.platform.heartbeats)


def test_a_stop_ends_a_run_that_is_being_extracted(world: World, running: Running) -> None:
    running.start(PROVIDER)
    command = world.extract(world.order(chunk_rows=100, rows_per_s=100))
    wait_until(lambda: staged(world) >= 1, "extraction")
    stop = world.platform.command(PROVIDER, CommandKind.STOP, run_id=RUN)
    purge = world.platform.command(PROVIDER, CommandKind.PURGE, run_id=RUN)
    problem = world.platform.result_of(command).problem
    assert problem is not None
    assert problem.code == "pipeline.run.stopped"
    assert world.platform.result_of(stop).ok
    assert world.platform.result_of(purge).ok
    assert staged(world) == 0


def test_a_connection_test_does_not_wait_behind_a_long_extraction(world: World, running: Running) -> None:
    running.start(PROVIDER)
    world.extract(world.order(chunk_rows=100, rows_per_s=100))
    wait_until(lambda: staged(world) >= 1, "extraction")
    test = world.platform.command(PROVIDER, CommandKind.TEST_CONNECTION, connection=world.source)
    assert world.platform.result_of(test, within_s=5).ok


def test_sigterm_ends_a_node_cleanly_in_the_middle_of_work_and_the_work_goes_on_later(
    world: World, running: Running
) -> None:
    order = world.order(chunk_rows=100, rows_per_s=1000)
    node = running.start(PROVIDER)
    command = world.extract(order)
    wait_until(lambda: staged(world) >= 2, "extraction")
    node.send_signal(signal.SIGTERM)
    assert node.wait(10) == 0
    assert not world.platform.results
    running.start(PROVIDER)
    assert world.platform.result_of(command).ok


def test_a_second_process_in_the_same_home_does_not_start(world: World, running: Running) -> None:
    running.start(PROVIDER)
    wait_until(lambda: bool(world.platform.heartbeats), "the first polls")
    second = running.start(PROVIDER)
    assert second.wait(20) == 1
    assert "node.home.in_use" in world.log(PROVIDER)
    with pytest.raises(HomeInUse):
        Node(homes.load(world.home(PROVIDER)))


@pytest.mark.parametrize("suite", SUITE_NAMES)
def test_a_node_registers_with_its_code_and_then_polls(tmp_path: Path, suite: str) -> None:
    with SmallPlatform(suite) as platform:
        platform.codes["once"] = "minzheng-qianzhi"
        home = tmp_path / "home"
        arguments = [
            str(home),
            "--platform",
            platform.url,
            "--code",
            "once",
            "--name",
            "民政局前置节点",
            "--suite",
            suite,
        ]
        assert main.main(["register", *arguments]) == 0
        assert homes.load(home).node_id == "minzheng-qianzhi"
        assert homes.load(home).identity.key_id in platform.nodes
        assert home.stat().st_mode & 0o077 == 0
        assert main.run(home, once=True) == 0
        assert platform.heartbeats[0].node_id == "minzheng-qianzhi"
        with pytest.raises(PlatformRefused):
            main.register(home, platform.url, "once", "又一次", suite)
        platform.is_away = True
        assert main.run(home, once=True) == 1


def test_a_proxy_that_answers_with_a_page_of_its_own_ends_no_node(world: World) -> None:
    """Neither an answer that waits, nor a refusal, is taken for heard."""
    world.platform.is_under_maintenance = True
    node = Node(homes.load(world.home(PROVIDER)))
    running = threading.Thread(target=node.run)
    try:
        told = Command(id="c1", kind=CommandKind.PURGE, run_id=RUN, issued_at=moments.now())
        node.ledger.receive(told)
        node.ledger.claim((CommandKind.PURGE,))
        node.ledger.finish(CommandResult(command_id="c1", ok=True, finished_at=moments.now()))
        node.take(sign_message(replace(told, id="c2"), Identity.generate()))
        running.start()
        wait_until(lambda: world.platform.calls.count(("POST", "/api/nodes/results")) > 2, "asked again")
        assert running.is_alive()

        world.platform.is_under_maintenance = False
        assert world.platform.result_of("c1").ok
    finally:
        node.stop()
        running.join()
        node.close()


def test_a_folder_that_is_no_home_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HomeNotPrepared):
        homes.load(tmp_path)
    assert main.main(["run", str(tmp_path)]) == 1
    assert "node.home.not_prepared" in capsys.readouterr().err


def test_preparing_a_home_again_keeps_its_identity(world: World) -> None:
    before = homes.load(world.home(PROVIDER)).identity
    public = homes.prepare(
        world.home(PROVIDER), "http://127.0.0.1:1", PROVIDER, world.platform.identity.public.to_json()
    )
    after = homes.load(world.home(PROVIDER))
    assert (after.identity, after.platform_url) == (before, "http://127.0.0.1:1")
    assert public == before.public


def stall_and_kill(world: World, method: str, number: int) -> Callable[[], bool]:
    """Stall the platform at a chunk; whether it has come."""
    reached, go = threading.Event(), threading.Event()

    def at_chunk(called: str, chunk: int) -> None:
        if (called, chunk) == (method, number):
            reached.set()
            go.wait(1.0)

    world.platform.at_chunk = at_chunk
    return reached.is_set


def extracted(world: World, running: Running, order) -> CommandResult:  # type: ignore[no-untyped-def]
    process = running.start(PROVIDER)
    sent = world.platform.result_of(world.extract(order))
    assert sent.ok, sent.problem
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    return sent


def finish(world: World, running: Running, order, sent: CommandResult) -> None:  # type: ignore[no-untyped-def]
    assert sent.ok, sent.problem
    running.start(CONSUMER)
    check_delivered(world, world.platform.result_of(world.deliver(order, sent)))


def check_delivered(world: World, taken: CommandResult) -> None:
    assert taken.ok, taken.problem
    assert taken.counts is not None
    assert taken.counts.target_rows == taken.counts.received == world.rows
    assert world.target_rows() == world.source_rows()
    assert world.target.engine is Engine.SQLITE
