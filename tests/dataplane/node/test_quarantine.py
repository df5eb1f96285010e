"""Rows that were set aside: read at the node and for the platform's page, corrected, handed in again."""

import io
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from jinqiao.dataplane.errors import CorrectionsRefused
from jinqiao.dataplane.node import home as homes
from jinqiao.dataplane.node import main, quarantine
from jinqiao.dataplane.node.errors import QuarantineMissing
from jinqiao.dataplane.node.rotation import rotate
from jinqiao.kernel.contracts.exchange import (
    CheckRule,
    CommandKind,
    CommandResult,
    CopyMode,
    Delivery,
    NodeResubmission,
)
from tests.dataplane.node.test_work import once
from tests.dataplane.node.world import CONSUMER, PROVIDER, RUN, World

NEXT = "RUN-20260318-0002"
REQUIRED = (CheckRule(check="required", item="xm"),)


def checked(world: World, **changes: object) -> CommandResult:
    """A run that sets the rows without a name aside."""
    order = world.order(checks=REQUIRED, quarantine_limit=0.5, **changes)
    command = world.extract(order)
    once(world, PROVIDER)
    return world.platform.result_of(command)


def sheet(data: bytes) -> list[tuple[object, ...]]:
    return list(openpyxl.load_workbook(io.BytesIO(data)).worksheets[0].iter_rows(values_only=True))


def corrected(data: bytes, name: str = "补名") -> bytes:
    book = openpyxl.load_workbook(io.BytesIO(data))
    table = book.worksheets[0]
    column = [cell.value for cell in table[1]].index("姓名") + 1
    for row in range(2, table.max_row + 1):
        table.cell(row, column).value = name
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_the_platform_gets_the_workbook_sealed_to_it_also_after_the_purge_and_a_rotation(world: World) -> None:
    sent = checked(world)
    assert sent.manifest is not None
    assert sent.manifest.rows_quarantined == world.rows // 97
    world.platform.command(PROVIDER, CommandKind.PURGE, run_id=RUN)
    once(world, PROVIDER)
    rotate(homes.load(world.home(PROVIDER)))
    order = world.order(checks=REQUIRED)
    over = replace(order, grant=replace(order.grant, valid_until=order.grant.valid_from))
    read = world.platform.command(PROVIDER, CommandKind.READ_QUARANTINE, run_id=RUN, order=over)
    once(world, PROVIDER)
    result = world.platform.result_of(read)
    assert result.ok, result.problem
    rows = sheet(world.platform.identity.unseal(result.sealed_payload))
    assert len(rows) - 1 == world.rows // 97
    assert {row[2] for row in rows[1:]} == {str(97 * n) for n in range(1, world.rows // 97 + 1)}


def test_corrected_rows_become_a_run_of_their_own_and_arrive(world: World, tmp_path: Path) -> None:
    sent = checked(world)
    home = homes.load(world.home(PROVIDER))
    workbook = quarantine.workbook(home, home.spool, quarantine.order_of_run(home, RUN))
    order = world.order(
        run_id=NEXT, checks=REQUIRED, quarantine_limit=0.5, mode=CopyMode.FULL, delivery=Delivery.UPSERT
    )
    first = world.deliver(world.order(checks=REQUIRED, quarantine_limit=0.5), sent)
    once(world, CONSUMER)
    assert world.platform.result_of(first).ok
    command = world.platform.command(
        PROVIDER,
        CommandKind.RESUBMIT,
        run_id=NEXT,
        connection=world.source,
        order=order,
        corrects=RUN,
        sealed_payload=home.identity.public.seal(corrected(workbook)),
    )
    once(world, PROVIDER)
    taken = world.platform.result_of(command)
    assert taken.ok, taken.problem
    assert taken.manifest is not None
    assert taken.manifest.rows == world.rows // 97
    delivery = world.deliver(order, taken)
    once(world, CONSUMER)
    result = world.platform.result_of(delivery)
    assert result.ok, result.problem
    rows = world.target_rows()
    assert len(rows) == world.rows
    assert {row[1] for row in rows if row[0] % 97 == 0} == {"补名"}


def test_rows_that_are_still_wrong_are_refused_whole(world: World) -> None:
    checked(world)
    home = homes.load(world.home(PROVIDER))
    workbook = quarantine.workbook(home, home.spool, quarantine.order_of_run(home, RUN))
    command = world.platform.command(
        PROVIDER,
        CommandKind.RESUBMIT,
        run_id=NEXT,
        connection=world.source,
        order=world.order(run_id=NEXT, checks=REQUIRED),
        corrects=RUN,
        sealed_payload=home.identity.public.seal(workbook),
    )
    once(world, PROVIDER)
    problem = world.platform.result_of(command).problem
    assert problem is not None
    assert problem.code == CorrectionsRefused.code


def test_the_commands_at_the_node_write_the_workbook_and_hand_it_in(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checked(world)
    home, file = world.home(PROVIDER), tmp_path / "rows.xlsx"
    assert main.main(["quarantine", str(home), RUN, "--to", str(file)]) == 0
    assert len(sheet(file.read_bytes())) - 1 == world.rows // 97
    assert file.stat().st_mode & 0o077 == 0  # rows of persons: for its owner only
    assert main.main(["resubmit", str(home), RUN, str(file)]) == 1  # nothing was corrected
    assert CorrectionsRefused.code in capsys.readouterr().err
    file.write_bytes(corrected(file.read_bytes()))
    assert main.main(["resubmit", str(home), RUN, str(file)]) == 0
    assert "RUN-NEW" in capsys.readouterr().out
    (word,) = world.platform.resubmissions
    assert isinstance(word, NodeResubmission)
    assert homes.load(home).keys.unseal(word.sealed_payload) == file.read_bytes()


def test_a_run_without_a_quarantine_says_so(world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    home = homes.load(world.home(PROVIDER))
    with pytest.raises(QuarantineMissing):
        quarantine.sealed_rows(home.spool, RUN)
    assert main.main(["quarantine", str(home.path), RUN, "--to", str(tmp_path / "x.xlsx")]) == 1
    assert QuarantineMissing.code in capsys.readouterr().err
