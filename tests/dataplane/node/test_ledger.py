from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jinqiao.dataplane.node.ledger import KEEP, MOVES, Ledger
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import Command, CommandKind, CommandResult

SMALL = (CommandKind.TEST_CONNECTION, CommandKind.PURGE)


def command(number: str, kind: CommandKind = CommandKind.EXTRACT, run_id: str = "RUN-1") -> Command:
    return Command(id=number, kind=kind, run_id=run_id, issued_at=datetime(2026, 3, 18, tzinfo=UTC))


def done(number: str) -> CommandResult:
    return CommandResult(command_id=number, ok=True, finished_at=datetime(2026, 3, 18, tzinfo=UTC))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    kept = Ledger(tmp_path / "ledger.db")
    yield kept
    kept.close()


def test_a_command_is_taken_in_once(ledger: Ledger) -> None:
    assert ledger.receive(command("a"))
    assert not ledger.receive(command("a"))
    assert ledger.claim(MOVES) is not None
    assert ledger.claim(MOVES) is None


def test_commands_of_one_run_wait_for_each_other_and_runs_do_not(ledger: Ledger) -> None:
    for each in (
        command("a"),
        command("b", CommandKind.PURGE),
        command("c", run_id="RUN-2"),
        command("d", CommandKind.TEST_CONNECTION, run_id=""),
    ):
        ledger.receive(each)
    first, second = ledger.claim(MOVES), ledger.claim(MOVES)
    assert first is not None
    assert second is not None
    assert (first.command.id, second.command.id) == ("a", "c")
    test = ledger.claim(SMALL)
    assert test is not None
    assert test.command.id == "d"
    assert ledger.claim(SMALL) is None
    ledger.finish(done("a"))
    purge = ledger.claim(SMALL)
    assert purge is not None
    assert purge.command.id == "b"


def test_what_was_being_worked_waits_again_after_a_restart(ledger: Ledger, tmp_path: Path) -> None:
    ledger.receive(command("a"))
    ledger.claim(MOVES)
    ledger.note_uploaded("a", 1)
    again = Ledger(tmp_path / "ledger.db")
    task = again.claim(MOVES)
    assert task is not None
    assert task.command == command("a")
    assert again.uploaded("a") == {1}
    again.close()


def test_an_answer_waits_until_it_is_acknowledged_and_again_when_it_is_asked_for_again(ledger: Ledger) -> None:
    ledger.receive(command("a"))
    assert ledger.open_runs() == ("RUN-1",)
    ledger.finish(done("a"))
    assert ledger.unacknowledged() == [done("a")]
    ledger.acknowledge("a")
    assert ledger.unacknowledged() == []
    assert ledger.open_runs() == ()
    ledger.receive(command("a"))
    assert ledger.unacknowledged() == [done("a")]


def test_a_stop_concerns_only_what_came_before_it(ledger: Ledger) -> None:
    ledger.receive(command("a"))
    task = ledger.claim(MOVES)
    assert task is not None
    assert not ledger.is_stopped(task)
    ledger.receive(command("s", CommandKind.STOP))
    assert ledger.is_stopped(task)
    ledger.finish(done("a"))
    ledger.receive(command("b"))
    later = ledger.claim(MOVES)
    assert later is not None
    assert not ledger.is_stopped(later)
    assert ledger.has_newer_move(task)


def test_after_a_month_only_the_ids_are_left(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.receive(command("a"))
    ledger.finish(done("a"))
    ledger.acknowledge("a")
    assert not ledger.is_forgotten("RUN-1")
    ledger.forget_bodies()
    assert not ledger.receive(command("a"))
    assert ledger.unacknowledged() == [done("a")]
    ledger.acknowledge("a")
    later = moments.now() + KEEP + timedelta(days=1)
    monkeypatch.setattr(moments, "now", lambda: later)
    ledger.forget_bodies()
    assert ledger.is_forgotten("RUN-1")
    assert not ledger.receive(command("a"))
    assert ledger.unacknowledged() == []
    assert ledger.claim(MOVES) is None
