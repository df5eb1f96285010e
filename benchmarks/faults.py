"""Kills and other troubles of `jinqiao copy`, and whether the target is exact after each of them.

    python -m benchmarks.faults [--kills 300] [--rows 210000] [--seed N] [--only kills,troubles,control] [--report FILE]

Kills: SIGKILL at random instants, spread over every way of copying (full, watermark, diff × mirror, upsert, append, history) and
every target (PostgreSQL, MariaDB, SQLite), most from PostgreSQL, some from MariaDB and SQLite. Troubles: restarted servers,
broken connections, full disks, flipped bits in the spool. After each item the copy is called until it ends, and the target is
compared, row by row and by the databases' own drivers, with a model that knows nothing of the engine. The control is a naive
copier under the same kills: it must lose or double rows. tests/dataplane/copy holds the parts; ./test runs a short campaign.

Exits 1 where a row is lost or doubled, a part of a batch was shown, a copy did not end or left a transaction open at its source;
2 where the control was exact.
"""

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.exchange import places, report
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from tests import servers
from tests.dataplane.copy.campaign import WAYS, Lane, NaiveLane, Outcome, Way, flip
from tests.dataplane.copy.databases import Database, MariaDB, PostgreSQL, Residents, SQLite
from tests.dataplane.copy.troubles import (
    DAMAGES,
    SmallDisk,
    damage,
    damage_state,
    disturb,
    files_end_at,
    may_mount,
    proxy,
    small_disk,
    with_limits,
)

MIRROR = Way(CopyMode.FULL, Delivery.MIRROR)
CHANGES = Way(CopyMode.WATERMARK, Delivery.UPSERT)
DIFFERENCES = Way(CopyMode.DIFF, Delivery.MIRROR)
Item = tuple[str, Outcome]


class Campaign:
    """Sources and targets on servers of their own, and what the items have seen."""

    def __init__(self, folder: Path, rows: int, chance: random.Random, opened: contextlib.ExitStack) -> None:
        self.folder, self.rows, self.chance = folder, rows, chance
        self.city = opened.enter_context(servers.postgresql())
        self.landing = opened.enter_context(servers.postgresql())
        self.maria = opened.enter_context(servers.mariadb())
        self.maria.execute("CREATE DATABASE landing CHARACTER SET utf8mb4")
        self.sources: dict[str, Database] = {
            "postgresql": PostgreSQL(self.city), "mysql": MariaDB(self.maria), "sqlite": SQLite(folder / "source.db"),
        }  # fmt: skip
        self.targets: dict[str, Database] = {
            "postgresql": PostgreSQL(self.landing), "mysql": MariaDB(self.maria, "landing"), "sqlite": SQLite(folder / "target.db"),
        }  # fmt: skip
        self.items: list[Item] = []
        self._lanes = 0

    def lane(
        self,
        way: Way,
        source: str | Database = "postgresql",
        target: str | Database = "postgresql",
        *,
        kind: type[Lane] = Lane,
        spool: Path | None = None,
        options: Sequence[str] = (),
    ) -> Lane:
        """A lane whose first copy is done."""
        self._lanes += 1
        base = self.sources[source] if isinstance(source, str) else source
        given = Residents(base, f"r_{self._lanes}", max(self.rows, 40_000) if kind is NaiveLane else self.rows)
        landing = self.targets[target] if isinstance(target, str) else target
        lane = kind(
            given, landing, way, spool or self.folder / f"spool-{self._lanes}", chunk_rows=max(500, self.rows // 20), options=options
        )  # fmt: skip
        lane.begin()
        return lane

    def note(self, name: str, lane: Lane, began: float) -> None:
        """The item is over: say so and clear away."""
        self.items.append((name, lane.outcome))
        outcome = "exact" if lane.outcome.is_exact else f"NOT EXACT {lane.outcome}"
        print(f"  {name}: {outcome}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        shutil.rmtree(lane.spool, ignore_errors=True)
        for database in (lane.source.database, lane.target):
            database.execute(f"DROP TABLE IF EXISTS {lane.table}")

    # -- kills

    def kills(self, wanted: int) -> None:
        plan = [(way, "postgresql", target) for way in WAYS for target in self.targets]
        plan += [
            (way, source, "postgresql") for way in (MIRROR, CHANGES, DIFFERENCES) for source in ("mysql", "sqlite")
        ]
        plan += [(MIRROR, "mysql", "sqlite"), (CHANGES, "sqlite", "mysql"), (DIFFERENCES, "sqlite", "sqlite")]
        for number, (way, source, target) in enumerate(plan):
            share = wanted * (number + 1) // len(plan) - wanted * number // len(plan)
            if share == 0:
                continue
            began = time.monotonic()
            lane = self.lane(way, source, target)
            lane.kill(share, self.chance)
            self.note(str(lane), lane, began)

    def control(self) -> Outcome:
        began = time.monotonic()
        lane = self.lane(MIRROR, kind=NaiveLane, spool=self.folder / "place")
        lane.kill(10, self.chance)
        print(f"  control: {lane.outcome}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return lane.outcome

    # -- troubles

    def troubles(self) -> None:
        self._servers()
        self._connections()
        self._damages()
        self._disks()

    def _each(self, name: str, lane: Lane, times: int, strike: Callable[[], object]) -> None:
        began = time.monotonic()
        for _ in range(times):
            disturb(lane, strike, self.chance)
        self.note(name, lane, began)

    def _servers(self) -> None:
        for way in (MIRROR, CHANGES, DIFFERENCES):
            lane = self.lane(way)
            self._each(f"source's PostgreSQL restarts, {way}", lane, 2, self.city.restart)
            lane = self.lane(way)
            self._each(f"target's PostgreSQL restarts, {way}", lane, 2, self.landing.restart)
        self._each("target's MariaDB restarts, full mirror", self.lane(MIRROR, target="mysql"), 2, self.maria.restart)
        self._each("source's MariaDB restarts, full mirror", self.lane(MIRROR, "mysql"), 2, self.maria.restart)

    def _connections(self) -> None:
        for source, target in (("postgresql", "postgresql"), ("postgresql", "mysql"), ("mysql", "postgresql")):
            lane = self.lane(MIRROR, source, target)
            self._each(f"connections to {source} ended by the server", lane, 2, self._cut(lane.source.database))
            lane = self.lane(CHANGES, source, target)
            self._each(f"connections to {target}, as target, ended by the server", lane, 2, self._cut(lane.target))
        with proxy(self.city.port) as near, proxy(self.landing.port) as far, proxy(self.maria.port) as other:
            ways: tuple[tuple[str, Lane], ...] = (
                ("source PostgreSQL", self.lane(MIRROR, PostgreSQL(self.city, port=near.port))),
                ("target PostgreSQL", self.lane(MIRROR, target=PostgreSQL(self.landing, port=far.port))),
                ("target MariaDB", self.lane(MIRROR, target=MariaDB(self.maria, "landing", port=other.port))),
            )
            for (name, lane), between in zip(ways, (near, far, other), strict=True):
                began, cuts = time.monotonic(), between.cuts
                for _ in range(4):
                    between.cut_after(int(self.rows * 40 * self.chance.uniform(0.01, 0.8)))
                    disturb(lane, lambda: None, self.chance)
                self.note(f"way to {name} cut {between.cuts - cuts} times", lane, began)

    @staticmethod
    def _cut(database: Database) -> Callable[[], None]:
        assert isinstance(database, PostgreSQL | MariaDB)
        return database.cut

    def _damages(self) -> None:
        slow = ("--rows-per-s", str(self.rows))
        for source in ("postgresql", "sqlite"):
            lane, began = self.lane(MIRROR, source, options=slow), time.monotonic()
            for what in DAMAGES:
                for _ in range(3):
                    damage(lane, what, self.chance)
            self.note(f"a flipped bit in the spool ({source}): {', '.join(DAMAGES)}", lane, began)
        for way in (CHANGES, DIFFERENCES):
            for pattern in ("*/copy.json", "*/state/*/*.jqs"):
                lane, began = self.lane(way), time.monotonic()
                for _ in range(4):
                    damage_state(lane, pattern, lambda path: flip(path, self.chance))
                self.note(f"a flipped bit in {pattern.rpartition('/')[2]} between two runs, {way}", lane, began)

    def _disks(self) -> None:
        lane, began = self.lane(MIRROR), time.monotonic()
        with_limits(lane, files_end_at(20_000))
        self.note("spool full (limit of file sizes)", lane, began)
        target = SQLite(self.folder / "full.db")
        lane, began = self.lane(MIRROR, target=target), time.monotonic()
        with_limits(lane, files_end_at(target.path.stat().st_size // 2))
        self.note("SQLite full (limit of file sizes)", lane, began)
        if not may_mount():
            print("  disks of their own need the right to mount", file=sys.stderr, flush=True)
            return
        with small_disk(self.folder / "small", 64) as disk:
            lane, began = self.lane(MIRROR, spool=self.folder / "small" / "spool"), time.monotonic()
            self._each_full(lane, disk, "spool on a full disk", began)
        with small_disk(self.folder / "tablespace", 512) as disk:
            space = self.folder / "tablespace" / "pg"
            space.mkdir()
            for path in (self.folder, space.parent, space):
                path.chmod(0o755)
            shutil.chown(space, "nobody")
            self.landing.execute(
                f"CREATE TABLESPACE small LOCATION '{space}'", "CREATE DATABASE tight TABLESPACE small"
            )
            lane, began = self.lane(MIRROR, target=PostgreSQL(self.landing, "tight")), time.monotonic()
            self._each_full(lane, disk, "target's PostgreSQL on a full disk", began)
            self.landing.execute("DROP DATABASE tight", "DROP TABLESPACE small")

    def _each_full(self, lane: Lane, disk: SmallDisk, name: str, began: float) -> None:
        def struck() -> dict[str, object]:
            disk.leave(room_kib=64)
            told = lane.end(lane.start())
            lane.outcome.ended[f"{told['problem']['code']} ({told['exit']})" if told["exit"] else "nothing"] += 1
            disk.leave(room_kib=1 << 20)
            return lane.finish(2)

        lane.round(struck)
        self.note(name, lane, began)


def shown(items: Sequence[Item], control: Outcome | None) -> str:
    rows = []
    for name, seen in (*items, *([("control: naive copier under the same kills", control)] if control else [])):
        kept = f"{seen.staged - seen.again} of {seen.staged}" if seen.staged else ""
        read = f"{seen.read / seen.table:.2f}" if seen.table else ""
        ended = ", ".join(f"{what} {times}×" for what, times in sorted(seen.ended.items()))
        rows.append(
            (name, seen.rounds, seen.runs, seen.kills, seen.lost, seen.doubled, seen.partial, kept, read, seen.left_open, "; ".join([ended, *seen.problems]))
        )  # fmt: skip
    head = (
        "item", "rounds", "processes", "kills", "rows lost", "rows doubled", "parts shown", "staged chunks handed over as they were",
        "rows read, of the table", "transactions left open", "ended with",
    )  # fmt: skip
    return report.table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument(
        "--rows", type=int, default=210_000, help="of each table; from 200,000 on a snapshot outlives its process"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="kills,troubles,control", help="kills,troubles,control")
    parser.add_argument("--report", type=Path, help="file for the table in Markdown; it is printed in any case")
    given = parser.parse_args(argv)
    places.stop_when_told()
    only, began = set(given.only.split(",")), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="jq-faults-"))
    control: Outcome | None = None
    try:
        with contextlib.ExitStack() as opened:
            campaign = Campaign(folder, given.rows, random.Random(given.seed), opened)
            about = report.machine(campaign.city, campaign.maria)
            if "control" in only:
                control = campaign.control()
            if "kills" in only:
                campaign.kills(given.kills)
            if "troubles" in only:
                campaign.troubles()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    items = campaign.items
    kills = sum(seen.kills for _, seen in items)
    words = (
        f"{kills} SIGKILLs and {sum(seen.ended.total() for _, seen in items)} other troubles over {len(items)} items, {given.rows:,} rows"
        f" each, seed {given.seed}, {(time.monotonic() - began) / 60:.0f} min: {sum(seen.lost for _, seen in items)} rows lost,"
        f" {sum(seen.doubled for _, seen in items)} doubled. {about}; code {report.revision()}.\n\n{shown(items, control)}\n"
    )  # fmt: skip
    print(words)
    if given.report:
        given.report.write_text(words, encoding="utf-8")
    if not all(seen.is_exact for _, seen in items):
        return 1
    return 2 if control is not None and not (control.lost + control.doubled) else 0


if __name__ == "__main__":
    sys.exit(main())
