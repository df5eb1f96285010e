"""Kill the process at any instant: after a restart the target equals the source, no row is lost or doubled, the ledger is true.

JINQIAO_KILL_ROWS and JINQIAO_KILLS make it a campaign.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jinqiao.dataplane.connectors import open_source, open_target
from jinqiao.dataplane.connectors.ledger import LEDGER, LedgerTarget, run_table
from jinqiao.dataplane.pipeline import Spool
from jinqiao.dataplane.pipeline.orders import target_columns
from jinqiao.kernel.contracts.exchange import DeliveryCounts
from jinqiao.kernel.contracts.tables import Connection
from tests.dataplane.connectors.test_round_trips import place_of
from tests.dataplane.exchanges import CONSUMER, PEOPLE_TABLE, exchange, order, read_table, sqlite_at

ROWS = int(os.environ.get("JINQIAO_KILL_ROWS", "60000"))
KILLS = int(os.environ.get("JINQIAO_KILLS", "4"))
OLD_ROWS = ROWS // 3


def fill(path: Path, first: int, last: int, name: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(PEOPLE_TABLE)
        connection.executemany(
            "INSERT INTO people VALUES (?, ?, '1990-01-01', '2026-03-01 08:00:00')",
            ((number, f"{name}{number}") for number in range(first, last)),
        )
    connection.close()


class Campaign:
    """A target that shows an old batch, and a process that brings the new one and is killed again and again."""

    def __init__(self, folder: Path, place: tuple[Connection, str]) -> None:
        self.folder, self.place = folder, place
        self.table = f"killed_{random.getrandbits(32):08x}"
        old, self.source = folder / "old.db", folder / "new.db"
        fill(old, 0, OLD_ROWS, "旧")
        fill(self.source, OLD_ROWS // 2, ROWS, "新")
        first = order(f"{self.table}-0", target_table=self.table)
        exchange(first, sqlite_at(old), place[0], Spool(folder / "old-spool"), ("", place[1]))
        self.order = order(f"{self.table}-1", target_table=self.table, chunk_rows=max(1000, ROWS // 12))
        task = {
            "order": self.order.to_json(),
            "source": sqlite_at(self.source).to_json(),
            "source_password": "",
            "target": place[0].to_json(),
            "target_password": place[1],
            "identity": CONSUMER.to_json(),
        }
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")

    def start(self) -> "subprocess.Popen[bytes]":
        mover = Path(__file__).with_name("mover.py")
        return subprocess.Popen([sys.executable, str(mover), str(self.folder)], stdout=subprocess.PIPE)

    def shown(self) -> set[tuple[Any, ...]]:
        with open_source(*self.place) as source:
            rows = read_table(source, self.table, target_columns(order())[:2])
        assert len(set(rows.column("id").to_pylist())) == rows.num_rows
        return set(zip(*(column.to_pylist() for column in rows.columns), strict=True))

    def ledger_is_true(self) -> None:
        """What the ledger says of the run table is in the run table."""
        manifest = Spool(self.folder / "spool").outgoing(self.order.run_id).manifest()
        if manifest is None:
            return
        with open_target(*self.place) as target:
            assert isinstance(target, LedgerTarget)
            state = target.state(manifest.batch_id)
            if state.merged is not None or target.existing(run_table(manifest.batch_id)) is None:
                return
            with target.transaction():
                loaded = target.fetch(
                    f"SELECT coalesce(sum(row_count), 0) FROM {target.quoted(LEDGER)}"
                    f" WHERE batch_id = {target.placeholder} AND chunk > 0",
                    (manifest.batch_id,),
                )
                there = target.fetch(f"SELECT count(*) FROM {target.quoted(run_table(manifest.batch_id))}")
            assert int(loaded[0][0]) == int(there[0][0])
            digests = {chunk.number: chunk.content_digest for chunk in manifest.chunks}
            assert all(digests[number] == digest for number, digest in state.loaded.items())


@pytest.mark.kill
@pytest.mark.servers
@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_killed_at_any_instant_nothing_is_lost_or_doubled(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    campaign = Campaign(tmp_path, place_of(engine, request, tmp_path))
    old = {(number, f"旧{number}") for number in range(OLD_ROWS)}
    new = {(number, f"新{number}") for number in range(OLD_ROWS // 2, ROWS)}
    kills, longest = 0, 1.5 + ROWS / 60_000
    while kills < KILLS:
        process = campaign.start()
        try:
            process.wait(timeout=random.uniform(0.3, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=30)
            kills += 1
        assert process.stdout is not None
        process.stdout.close()
        assert process.returncode in (0, -9)
        assert campaign.shown() in (old, new)  # never half a batch
        campaign.ledger_is_true()
        if process.returncode == 0:
            break  # merged: every later start only reads the counts back

    began = time.monotonic()
    process = campaign.start()
    output, _ = process.communicate(timeout=600)

    assert process.returncode == 0, f"did not finish, {time.monotonic() - began:.0f} s"
    both = ROWS - OLD_ROWS // 2
    assert DeliveryCounts.from_json(json.loads(output)) == DeliveryCounts(
        received=both,
        inserted=ROWS - OLD_ROWS,
        updated=OLD_ROWS - OLD_ROWS // 2,
        deleted=OLD_ROWS // 2,
        unchanged=0,
        target_rows=both,
    )
    assert campaign.shown() == new
    with open_target(*campaign.place) as target:
        assert isinstance(target, LedgerTarget)
        manifest = Spool(tmp_path / "spool").outgoing(campaign.order.run_id).manifest()
        assert manifest is not None
        assert target.existing(run_table(manifest.batch_id)) is None
