"""Damaged spools, full disks, broken connections, restarted servers: `jinqiao copy` says so, and called again is exact."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from tests.dataplane.copy.campaign import Lane, Way
from tests.dataplane.copy.databases import MariaDB, PostgreSQL, Residents, SQLite
from tests.dataplane.copy.test_kill import name, place
from tests.dataplane.copy.troubles import damage, damage_state, disturb, files_end_at, proxy, with_limits
from tests.servers import Server

ROWS = 6000
ATTEMPTS = 8
MIRROR = Way(CopyMode.FULL, Delivery.MIRROR)
Make = Callable[..., Lane]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A lane between two files, slow enough to be caught at work, whose first copy is done."""

    def made(way: Way = MIRROR, *, slow: bool = True) -> Lane:
        residents = Residents(SQLite(tmp_path / "source.db"), name(), ROWS)
        options = ("--rows-per-s", "15000") if slow else ()
        lane = Lane(
            residents, SQLite(tmp_path / "target.db"), way, tmp_path / "spool", chunk_rows=ROWS // 10, options=options
        )
        lane.begin()
        return lane

    return made


def is_exact(lane: Lane) -> bool:
    outcome = lane.outcome
    assert (outcome.lost, outcome.doubled, outcome.partial, outcome.problems) == (0, 0, 0, [])
    return outcome.runs > 1


@pytest.mark.kill
@pytest.mark.parametrize(
    ("what", "is_made_again"), [("a staged chunk", True), ("the list of staged splits", True), ("the manifest", False)]
)
def test_a_flipped_bit_in_the_spool_is_found_and_what_it_hit_is_read_again(
    make: Make, what: str, is_made_again: bool
) -> None:
    lane, chance = make(), random.Random(random.random())

    for _ in range(ATTEMPTS):  # a copy may be over before there is anything, and a chunk have arrived before it is hit
        damage(lane, what, chance)
        if lane.outcome.kills and bool(lane.outcome.mended) == is_made_again:
            break

    assert is_exact(lane)
    assert lane.outcome.kills > 0  # otherwise nothing was ever there to be damaged
    assert (lane.outcome.mended > 0, lane.outcome.again) == (is_made_again, 0)


@pytest.mark.kill
@pytest.mark.servers
@pytest.mark.parametrize(("what", "made_again"), [("a chunk when all is staged", 1), ("the manifest", 0)])
def test_a_chunk_damaged_before_it_arrived_is_read_again_and_a_manifest_is_made_of_the_chunks_that_stay(
    what: str, made_again: int, postgresql_server: Server, tmp_path: Path
) -> None:
    with proxy(postgresql_server.port) as way_to:
        residents = Residents(SQLite(tmp_path / "source.db"), name(), ROWS)
        target = PostgreSQL(postgresql_server, port=way_to.port)
        lane = Lane(residents, target, MIRROR, tmp_path / "spool", chunk_rows=ROWS // 10)
        lane.begin()

        damage(lane, what, random.Random(random.random()), (way_to, 40_000))

    assert is_exact(lane)
    assert lane.outcome.ended["nothing was there"] == 0
    assert (lane.outcome.mended, lane.outcome.again) == (made_again, 0)


def test_a_cursor_with_a_flipped_bit_is_not_believed(make: Make) -> None:
    """Otherwise a watermark run would begin years later, and find nothing."""
    lane = make(Way(CopyMode.WATERMARK, Delivery.UPSERT), slow=False)

    damage_state(
        lane, "*/copy.json", lambda path: path.write_bytes(path.read_bytes().replace(b"2026-03-0", b"2036-03-0", 1))
    )

    assert is_exact(lane)


def test_a_full_disk_is_said_and_the_same_copy_goes_on(make: Make) -> None:
    lane = make(slow=False)

    with_limits(lane, files_end_at(4_000))

    assert is_exact(lane)
    (said,) = lane.outcome.ended  # of spool and target, the one that comes to the end first
    assert said in ("pipeline.spool.full (4)", "pipeline.target.disk_full (5)")


@pytest.mark.servers
@pytest.mark.parametrize(("engine", "after"), [("postgresql", 20_000), ("mysql", 150_000)])
def test_connections_reset_on_the_way_lose_nothing(
    engine: str, after: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    landing = place(engine, "target", request, tmp_path)
    assert isinstance(landing, PostgreSQL | MariaDB)
    with proxy(landing.server.port) as way:
        residents = Residents(place("postgresql", "source", request, tmp_path), name(), ROWS)
        through = type(landing)(landing.server, landing.database, port=way.port)
        lane = Lane(residents, through, MIRROR, tmp_path / "spool", chunk_rows=ROWS)  # cut while one chunk is sent
        lane.begin()

        way.cut_after(after)
        disturb(lane, lambda: None, random.Random(1))

        assert way.cuts == 1
    assert is_exact(lane)
    assert list(lane.outcome.ended) == ["source.connection.lost (5)"]
