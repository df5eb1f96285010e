"""`jinqiao copy` killed at any instant: after the next call the target is what it should be, whatever mode, delivery and engines.

JINQIAO_KILLS and JINQIAO_KILL_ROWS make it longer; benchmarks/faults.py is the whole campaign.
"""

import os
import random
import uuid
from pathlib import Path

import pytest

from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from tests.dataplane.copy.campaign import Lane, NaiveLane, Way
from tests.dataplane.copy.databases import Database, MariaDB, PostgreSQL, Residents, SQLite
from tests.servers import Server

ROWS = int(os.environ.get("JINQIAO_KILL_ROWS", "6000"))
KILLS = int(os.environ.get("JINQIAO_KILLS", "1"))
FULL, WATERMARK, DIFF = CopyMode.FULL, CopyMode.WATERMARK, CopyMode.DIFF


def place(engine: str, side: str, request: pytest.FixtureRequest, folder: Path) -> Database:
    """A database of its own for each side."""
    if engine == "sqlite":
        return SQLite(folder / f"{side}.db")
    server: Server = request.getfixturevalue("postgresql_server" if engine == "postgresql" else "mariadb_server")
    kind = PostgreSQL if engine == "postgresql" else MariaDB
    if side == "source":
        return kind(server)
    landing = f"landing_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE DATABASE {landing}")
    return kind(server, landing)


def name() -> str:
    return f"residents_{uuid.uuid4().hex[:8]}"


@pytest.mark.kill
@pytest.mark.servers
@pytest.mark.parametrize(
    ("source", "target", "way"),
    [
        ("postgresql", "postgresql", Way(FULL, Delivery.MIRROR)),
        ("postgresql", "mysql", Way(WATERMARK, Delivery.UPSERT)),
        ("sqlite", "postgresql", Way(DIFF, Delivery.HISTORY)),
        ("postgresql", "sqlite", Way(WATERMARK, Delivery.APPEND)),
    ],
    ids=str,
)
def test_killed_at_any_instant_a_copy_loses_and_doubles_nothing(
    source: str, target: str, way: Way, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    residents = Residents(place(source, "source", request, tmp_path), name(), ROWS)
    lane = Lane(residents, place(target, "target", request, tmp_path), way, tmp_path / "spool", chunk_rows=ROWS // 6)
    lane.begin()
    lane.measure()

    outcome = lane.kill(KILLS, random.Random(random.random()))

    assert outcome.kills == KILLS
    assert (outcome.lost, outcome.doubled, outcome.partial, outcome.again, outcome.problems) == (0, 0, 0, 0, [])
    assert not outcome.restarted


@pytest.mark.kill
@pytest.mark.servers
def test_a_copier_without_a_ledger_fails_the_same_campaign(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """So the campaign can fail."""
    residents = Residents(place("postgresql", "source", request, tmp_path), name(), 12_000)
    target = place("postgresql", "target", request, tmp_path)
    lane = NaiveLane(residents, target, Way(FULL, Delivery.MIRROR), tmp_path / "place", chunk_rows=1000)
    lane.begin()
    lane.measure()
    assert (lane.outcome.lost, lane.outcome.doubled) == (0, 0)

    chance = random.Random(random.random())
    for kills in range(4, 41, 4):
        if lane.kill(kills, chance).lost + lane.outcome.doubled:
            return
    raise AssertionError("40 kills have neither lost nor doubled a row")
