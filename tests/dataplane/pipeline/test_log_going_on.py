"""A run of the log that was ended goes on: with the slot and the snapshot of its beginning, with what was read of the log."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import log_pieces, open_source, open_target
from jinqiao.dataplane.errors import RunStopped
from jinqiao.dataplane.pipeline import Spool
from jinqiao.kernel.contracts.exchange import BatchManifest, ExchangeOrder
from tests import servers
from tests.dataplane.exchanges import CONSUMER, PROVIDER, hand_over, rows_of, sqlite_at, states_of
from tests.dataplane.pipeline.test_extract import stop_after
from tests.dataplane.pipeline.test_log import City

ROWS = 300
KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
from jinqiao.dataplane import pipeline
from jinqiao.dataplane.connectors import open_source
from jinqiao.kernel.contracts.exchange import ExchangeOrder
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.crypto.identity import Identity
from tests.dataplane.exchanges import states_of

order, connection, password, identity, spool = json.loads(sys.argv[1])
asked = itertools.count(1)
stop = lambda: next(asked) > int(sys.argv[2]) and os.kill(os.getpid(), signal.SIGKILL)
spool = pipeline.Spool(Path(spool))
with open_source(Connection.from_json(connection), password) as source:
    pipeline.extract(
        ExchangeOrder.from_json(order), source, spool=spool, identity=Identity.from_json(identity), states=states_of(spool), stop=stop
    )
"""


class Followed(City):
    """A city whose log goes through extraction and delivery, ended on the way as often as is asked."""

    def __init__(self, server: servers.Server, folder: Path) -> None:
        super().__init__(server, folder)
        self.spool, self.runs = Spool(folder / "spool"), 0
        self.order = replace(self.order, chunk_rows=20)
        self.execute(f"INSERT INTO {self.table} SELECT i, '甲' || i, NULL FROM generate_series(1, {ROWS}) i")

    def next_order(self) -> ExchangeOrder:
        self.runs += 1
        return replace(self.order, run_id=f"R{self.runs}")

    def extract(self, asked: ExchangeOrder, stop: Any = lambda: False) -> BatchManifest:
        with open_source(self.server.connection(), self.server.password) as source:
            return pipeline.extract(
                asked, source, spool=self.spool, identity=PROVIDER, states=states_of(self.spool), stop=stop
            )

    def files(self, asked: ExchangeOrder) -> dict[str, bytes]:
        """What is staged: pieces of the log, and chunks and memories of splits that are whole."""
        out = self.spool.outgoing(asked.run_id)
        names = [path.name for path in out.folder.glob("memory-log-*.jqc")]
        for record in out.staged_splits():
            names += [out.chunk_path(int(chunk["number"])).name for chunk in record["chunks"]]
        return {name: (out.folder / name).read_bytes() for name in names}

    def ended_early(self, asked: ExchangeOrder, stop: Any) -> dict[str, bytes]:
        try:
            self.extract(asked, stop)
        except RunStopped:
            return self.files(asked)
        return {}

    def kill(self, asked: ExchangeOrder, after: int) -> None:
        """The same in a process of its own, that kills itself when it has been asked so often whether it should stop."""
        connection = self.server.connection()
        task = [asked.to_json(), connection.to_json(), self.server.password, PROVIDER.to_json(), str(self.spool.root)]
        subprocess.run([sys.executable, "-c", KILLED, json.dumps(task), str(after)], check=False, timeout=60)

    def deliver(self, asked: ExchangeOrder, manifest: BatchManifest) -> None:
        hand_over(self.spool, asked.run_id, manifest)
        with open_target(sqlite_at(self.folder / "b.db")) as target:
            pipeline.deliver(asked, manifest, target, spool=self.spool, identity=CONSUMER)
        self.order = replace(self.order, after=manifest.new_cursor)

    def has_arrived(self) -> bool:
        there = rows_of(self.folder / "b.db", "residents")
        return there == [self.rows()[key] for key in sorted(self.rows())]


@pytest.fixture
def city(postgresql_server: servers.Server, tmp_path: Path) -> Iterator[Followed]:
    made = Followed(postgresql_server, tmp_path)
    yield made
    made.close()


def much_happens(city: Followed) -> None:
    for number in range(12):
        city.execute(
            f"UPDATE {city.table} SET name = '乙{number}' || id WHERE id % 12 = {number}",
            f"DELETE FROM {city.table} WHERE id % 50 = {number}",
            f"INSERT INTO {city.table} SELECT i, '丙', NULL FROM generate_series({1000 + number * 10}, {1005 + number * 10}) i",
        )
    city.execute(f"UPDATE {city.table} SET id = id + 5000 WHERE id % 31 = 5")


@pytest.mark.servers
def test_the_log_is_read_once_however_often_its_run_is_ended(city: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    first = city.next_order()
    city.deliver(first, city.extract(first))
    much_happens(city)
    monkeypatch.setattr(log_pieces, "PIECE_BYTES", 400)
    asked, kept = city.next_order(), dict[str, bytes]()
    chance = random.Random(random.random())

    for after in (chance.randrange(2, 12), 20, 150, 300, *range(310, 345, 4)):
        kept |= city.ended_early(asked, stop_after(after))
    manifest = city.extract(asked)
    files = {path.name: path.read_bytes() for path in city.spool.outgoing(asked.run_id).folder.glob("*.jqc")}
    city.deliver(asked, manifest)
    last = city.next_order()

    assert any(name.startswith("memory-log") for name in kept)
    assert {name: files[name] for name in kept} == kept
    assert manifest.restarted == ()
    assert manifest.rows_deleted > 0
    assert city.has_arrived()
    assert city.extract(last).rows == 0


@pytest.mark.servers
def test_splits_of_the_log_that_are_staged_stay_as_they_are(city: Followed) -> None:
    first = city.next_order()
    city.deliver(first, city.extract(first))
    much_happens(city)
    asked = city.next_order()
    kept = city.ended_early(asked, lambda: bool(city.spool.outgoing(asked.run_id).staged_splits()))
    assert any(name.startswith("chunk") for name in kept)

    manifest = city.extract(asked)
    files = {path.name: path.read_bytes() for path in city.spool.outgoing(asked.run_id).folder.glob("*.jqc")}
    city.deliver(asked, manifest)

    assert {name: files[name] for name in kept} == kept
    assert (manifest.resumed > 0, manifest.restarted) == (True, ())
    assert city.has_arrived()


@pytest.mark.servers
def test_a_piece_of_the_log_that_the_disk_changed_is_read_again(
    city: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = city.next_order()
    city.deliver(first, city.extract(first))
    much_happens(city)
    monkeypatch.setattr(log_pieces, "PIECE_BYTES", 400)
    asked = city.next_order()
    folder = city.spool.outgoing(asked.run_id).folder
    city.ended_early(asked, lambda: len(list(folder.glob("memory-log-*.jqc"))) >= 4)
    pieces = sorted(folder.glob("memory-log-*.jqc"))
    assert len(pieces) >= 4
    data = bytearray(pieces[1].read_bytes())
    data[random.randrange(len(data))] ^= 4
    pieces[1].write_bytes(data)
    monkeypatch.setattr(log_pieces, "PIECE_BYTES", 700)  # cut elsewhere, so that the old ones behind it do not fit

    city.deliver(asked, city.extract(asked))

    assert city.has_arrived()


@pytest.mark.kill
@pytest.mark.servers
def test_a_first_copy_that_was_killed_goes_on_in_the_snapshot_of_its_slot(city: Followed) -> None:
    city.execute(f"ANALYZE {city.table}")
    asked, after = replace(city.next_order(), parallel=1), 8
    while not city.files(asked):
        city.kill(asked, after)
        after += 4
    kept = city.files(asked)
    much_happens(city)

    manifest = city.extract(asked)
    files = {name: (city.spool.outgoing(asked.run_id).folder / name).read_bytes() for name in kept}
    city.deliver(asked, manifest)
    second = city.next_order()
    city.deliver(second, city.extract(second))

    assert files == kept
    assert (manifest.rows, manifest.resumed > 0, manifest.restarted) == (ROWS, True, ())
    assert city.has_arrived()
