"""Shipping: in order, from where it stopped, again after any trouble, never twice in the centre's eyes."""

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import pytest

from jinqiao.dataplane.evidence.errors import BatchesMissingThere
from jinqiao.dataplane.evidence.log import EvidenceLog, connect_read_only, read_batches
from jinqiao.dataplane.evidence.shipper import Lag, Shipper
from jinqiao.dataplane.evidence.verify import verify_batches
from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.errors import Unavailable, WrongState
from tests.dataplane.evidence.test_log import a_record


class Centre:
    """Keeps what it takes; `away` refuses, `fails_after` refuses from that batch on."""

    def __init__(self) -> None:
        self.batches: list[EvidenceBatch] = []
        self.sent = 0
        self.fails_after = 10**9

    def take(self, batch: EvidenceBatch) -> None:
        self.sent += 1
        if batch.batch > self.fails_after:
            raise Unavailable
        known = len(self.batches)
        if batch.batch > known + 1:
            raise BatchesMissingThere(expected=known + 1)
        if batch.batch == known + 1:
            self.batches.append(batch)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.db"
    write(path, 8)
    return path


def write(path: Path, count: int) -> None:
    async def work() -> None:
        log = EvidenceLog(path, lane="1", suite_name="international")
        log.start()
        for n in range(count):
            await log.append(a_record(f"c{n}"))
        await log.stop()

    asyncio.run(work())


def test_all_batches_arrive_in_order_and_verify(log: Path, tmp_path: Path) -> None:
    centre = Centre()
    shipper = Shipper(log, tmp_path / "shipped.json", centre.take)

    assert shipper.waiting() == 8
    assert shipper.ship_once() == 8
    assert shipper.ship_once() == 0
    assert shipper.waiting() == 0
    assert verify_batches(centre.batches, suite_name="international").records == 8


def test_after_trouble_it_goes_on_where_it_stopped(log: Path, tmp_path: Path) -> None:
    centre = Centre()
    centre.fails_after = 3
    with pytest.raises(Unavailable):
        Shipper(log, tmp_path / "shipped.json", centre.take).ship_once()
    centre.fails_after, centre.sent = 10**9, 0

    assert Shipper(log, tmp_path / "shipped.json", centre.take).ship_once() == 5
    assert centre.sent == 5


@pytest.mark.parametrize("content", [None, "", "[]", '{"1": "x"}', '{"1":'])
def test_a_lost_cursor_costs_only_sending_again(log: Path, tmp_path: Path, content: str | None) -> None:
    centre = Centre()
    cursor = tmp_path / "shipped.json"
    Shipper(log, cursor, centre.take).ship_once()
    if content is None:
        cursor.unlink()
    else:
        cursor.write_text(content)

    assert Shipper(log, cursor, centre.take).ship_once() == 8
    assert len(centre.batches) == 8


def test_a_centre_that_lost_batches_gets_them_again(log: Path, tmp_path: Path) -> None:
    centre = Centre()
    shipper = Shipper(log, tmp_path / "shipped.json", centre.take)
    shipper.ship_once()
    write(log, 2)
    centre.batches = centre.batches[:2]

    with pytest.raises(BatchesMissingThere):
        shipper.ship_once()
    assert shipper.ship_once() == 8
    assert verify_batches(centre.batches, suite_name="international").records == 10


def test_before_the_first_call_there_is_nothing_to_ship(tmp_path: Path) -> None:
    shipper = Shipper(tmp_path / "none.db", tmp_path / "shipped.json", Centre().take)
    assert (shipper.waiting(), shipper.ship_once()) == (0, 0)


def test_the_loop_survives_trouble_and_stops_when_told(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jinqiao.dataplane.evidence.shipper.PAUSE_S", 0.05)
    centre = Centre()
    centre.fails_after = 2
    shipper = Shipper(log, tmp_path / "shipped.json", centre.take)
    stop = threading.Event()
    thread = threading.Thread(target=shipper.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 10
    while shipper.last_problem != "service.unavailable" and time.monotonic() < until:
        time.sleep(0.01)
    assert shipper.last_problem == "service.unavailable"
    centre.fails_after = 10**9
    while len(centre.batches) < 8 and time.monotonic() < until:
        time.sleep(0.01)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert len(centre.batches) == 8
    assert shipper.last_problem == ""


def test_a_lane_that_the_centre_refuses_holds_up_no_other(tmp_path: Path) -> None:
    path, taken = tmp_path / "evidence.db", list[str]()

    async def work() -> None:
        for lane in ("1", "2", "3"):
            log = EvidenceLog(path, lane=lane, suite_name="international")
            log.start()
            await log.append(a_record(f"c{lane}"))
            await log.stop()

    def take(batch: EvidenceBatch) -> None:
        if batch.lane == "1":
            raise WrongState
        taken.append(batch.lane)

    asyncio.run(work())
    shipper = Shipper(path, tmp_path / "shipped.json", take)
    with pytest.raises(WrongState):
        shipper.ship_once()
    assert (taken, shipper.waiting()) == (["2", "3"], 1)


def test_it_says_how_far_it_is_behind(log: Path, tmp_path: Path) -> None:
    centre = Centre()
    centre.fails_after = 5
    shipper = Shipper(log, tmp_path / "shipped.json", centre.take)
    times = [record.at for batch in stored(log) for record in batch.records]
    with pytest.raises(Unavailable):
        shipper.ship_once()

    assert shipper.lag() == Lag(3, times[5], times[-1])
    centre.fails_after = 10**9
    shipper.ship_once()
    assert shipper.lag() == Lag(0, None, times[-1])
    assert Shipper(tmp_path / "none.db", tmp_path / "none.json", centre.take).lag() == Lag(0, None, None)


def stored(log: Path) -> list[EvidenceBatch]:
    with contextlib.closing(connect_read_only(log)) as db:
        return read_batches(db, lane="1", after=0)
