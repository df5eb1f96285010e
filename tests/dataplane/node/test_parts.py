"""What a node notes of batches that move no cursor."""

from dataclasses import replace
from pathlib import Path

import pytest

from jinqiao.dataplane.connectors import open_target
from jinqiao.dataplane.connectors.node_ledger import NodeLedger
from jinqiao.dataplane.node.parts import Parts
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery, ExchangeOrder
from tests.dataplane.exchanges import change, exchange, order, people, some_people, sqlite_at

DIFF = order("RUN-7", mode=CopyMode.DIFF, after="RUN-1.a")
RELOAD = order("RUN-8", delivery=Delivery.RELOAD, reload_approval="QP-2026-0007")


class Memory:
    def __init__(self, folder: Path) -> None:
        self.ledger, self.there = NodeLedger(folder / "merged.db"), folder / "there.db"
        source, spool = people(folder / "city.db", some_people(3)), Spool(folder / "spool")
        self.batches = [
            exchange(order(f"RUN-{number}"), source, sqlite_at(self.there), spool)[0].batch_id for number in (1, 2)
        ]

    def of(self, terms: ExchangeOrder) -> Parts:
        return Parts(self.ledger, terms, sqlite_at(self.there))

    def delivered(self, terms: ExchangeOrder, batch: str) -> str:
        """What is noted after that batch."""
        with open_target(sqlite_at(self.there), "") as target:
            self.of(terms).delivered(batch, target)
        return self.of(terms).last


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path)


def test_parts_are_noted_and_runs_that_go_on_leave_the_note(memory: Memory) -> None:
    first, second = memory.batches
    assert memory.of(DIFF).last == ""
    assert memory.delivered(DIFF, first) == ""
    assert memory.delivered(RELOAD, first) == first
    assert memory.delivered(DIFF, second) == first
    assert memory.delivered(RELOAD, second) == second
    window = replace(DIFF, mode=CopyMode.WATERMARK, after="2026-03-01", until="2026-03-02")
    assert memory.delivered(window, first) == first


def test_a_part_that_is_lost_is_missed_until_everything_came_anew(memory: Memory) -> None:
    first, second = memory.batches
    memory.delivered(RELOAD, first)
    change(memory.there, f"DELETE FROM jinqiao_ledger WHERE batch_id = '{first}'")
    assert memory.delivered(RELOAD, second) == first
    assert memory.delivered(replace(DIFF, after=""), second) == ""


def test_another_task_table_or_place_knows_nothing_of_it(memory: Memory, tmp_path: Path) -> None:
    memory.delivered(RELOAD, memory.batches[0])
    assert memory.of(replace(DIFF, task_id="T-2")).last == ""
    assert memory.of(replace(DIFF, target_table="others")).last == ""
    assert Parts(memory.ledger, DIFF, sqlite_at(tmp_path / "other.db")).last == ""
    with_user = replace(sqlite_at(memory.there), user="bob", sealed_password="…")
    assert Parts(memory.ledger, DIFF, with_user).last == memory.batches[0]
