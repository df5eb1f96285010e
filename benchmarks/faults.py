"""Kills and other troubles of `jinqiao copy`, and whether the target is exact after each of them.

    python -m benchmarks.faults [--kills 336] [--rows 24000] [--chunk-rows 800] [--seed N] [--only kills,troubles,control]
                                [--ways 1-42] [--keep FILE] [--report FILE]

Kills: SIGKILL spread over every way of copying (full, watermark, diff × mirror, upsert, append, history) and every target
(PostgreSQL, MariaDB, SQLite), most from PostgreSQL, some from MariaDB and SQLite: 42 ways. Each way is first copied undisturbed; the
moments of its kills are even over the time that this took from the beginning of the extraction to the end of the process, one in eight
before. Chunks are small, so that kills fall in every stage.
Troubles: restarted servers, broken connections, full disks, flipped bits in the spool. After each item the copy is called until it
ends, and the target is compared, row by row and by the databases' own drivers, with a model that knows nothing of the engine; every
chunk that was staged when a copy was killed must be handed over as it was. The control is a naive copier under the same kills: it
must lose or double rows. tests/dataplane/copy holds the parts; ./test runs a short campaign.

`--keep FILE` notes each item that is done, with the seed; the same command goes on behind them. Calls with some of the `--ways`
each may run side by side, with a file each; a call with the lines of all these files in one only prints the table.

Exits 1 where a row is lost or doubled, a part of a batch was shown, a staged chunk was read again without a word, a copy did not end
or left a transaction open at its source; 2 where the control was exact.
"""

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
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
HELD_AFTER = 40_000  # bytes: past the handshake and the making of tables, before the first chunk is through
Item = tuple[str, Outcome]


class Campaign:
    """Sources and targets on servers of their own, and what the items have seen."""

    def __init__(self, folder: Path, rows: int, chunk_rows: int, kept: "Kept", opened: contextlib.ExitStack) -> None:
        self.folder, self.rows, self.chunk_rows, self.kept = folder, rows, chunk_rows, kept
        self.chance = random.Random(kept.seed)
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
            given, landing, way, spool or self.folder / f"spool-{self._lanes}", chunk_rows=self.chunk_rows, options=options
        )  # fmt: skip
        lane.begin()
        return lane

    def is_done(self, name: str) -> bool:
        """Was the item kept by an earlier call? Otherwise it begins, with chances of its own."""
        self.chance = random.Random(f"{self.kept.seed}/{name}")
        seen = self.kept.items.get(name)
        if seen is not None:
            self.items.append((name, seen))
        return seen is not None

    def note(self, name: str, lane: Lane, began: float) -> None:
        """The item is over: say so and clear away."""
        self.items.append((name, lane.outcome))
        self.kept.add(name, lane.outcome)
        outcome = "exact" if lane.outcome.is_exact else f"NOT EXACT {lane.outcome}"
        print(f"  {name}: {outcome}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        shutil.rmtree(lane.spool, ignore_errors=True)
        for database in (lane.source.database, lane.target):
            database.execute(f"DROP TABLE IF EXISTS {lane.table}")

    # -- kills

    def kills(self, wanted: int, first: int, last: int) -> None:
        """Those of the ways from `first` to `last`, counted from 1; all of them are killed `wanted` times."""
        plan = [(way, "postgresql", target) for way in WAYS for target in self.targets]
        plan += [
            (way, source, "postgresql") for way in (MIRROR, CHANGES, DIFFERENCES) for source in ("mysql", "sqlite")
        ]
        plan += [(MIRROR, "mysql", "sqlite"), (CHANGES, "sqlite", "mysql"), (DIFFERENCES, "sqlite", "sqlite")]
        for number, (way, source, target) in enumerate(plan):
            share = wanted * (number + 1) // len(plan) - wanted * number // len(plan)
            name = f"{way}, {source} → {target}"
            if share == 0 or not first <= number + 1 <= last or self.is_done(name):
                continue
            began = time.monotonic()
            lane = self.lane(way, source, target)
            lane.measure()
            lane.kill(share, self.chance)
            self.note(name, lane, began)

    def control(self) -> Outcome:
        began = time.monotonic()
        if (seen := self.kept.items.get(CONTROL)) is not None:
            return seen
        lane = self.lane(MIRROR, kind=NaiveLane, spool=self.folder / "place")
        lane.measure()
        lane.kill(10, self.chance)
        print(f"  control: {lane.outcome}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        self.kept.add(CONTROL, lane.outcome)
        return lane.outcome

    # -- troubles

    def troubles(self) -> None:
        self._servers()
        self._connections()
        self._damages()
        self._disks()

    def _each(self, name: str, make: Callable[[], Lane], times: int, strike: Callable[[Lane], object]) -> None:
        if self.is_done(name):
            return
        began, lane = time.monotonic(), make()
        for _ in range(times):
            disturb(lane, lambda: strike(lane), self.chance)
        self.note(name, lane, began)

    def _servers(self) -> None:
        for way in (MIRROR, CHANGES, DIFFERENCES):
            made = partial(self.lane, way)
            self._each(f"source's PostgreSQL restarts, {way}", made, 2, lambda _: self.city.restart())
            self._each(f"target's PostgreSQL restarts, {way}", made, 2, lambda _: self.landing.restart())
        for side, made in (
            ("target", partial(self.lane, MIRROR, target="mysql")),
            ("source", partial(self.lane, MIRROR, "mysql")),
        ):
            self._each(f"{side}'s MariaDB restarts, full mirror", made, 2, lambda _: self.maria.restart())

    def _connections(self) -> None:
        for source, target in (("postgresql", "postgresql"), ("postgresql", "mysql"), ("mysql", "postgresql")):
            between = f"{source} → {target}"
            made = partial(self.lane, MIRROR, source, target)
            self._each(
                f"connections to the source ended by its server, {between}",
                made,
                2,
                lambda lane: _cut(lane.source.database),
            )
            made = partial(self.lane, CHANGES, source, target)
            self._each(
                f"connections to the target ended by its server, {between}", made, 2, lambda lane: _cut(lane.target)
            )
        with proxy(self.city.port) as near, proxy(self.landing.port) as far, proxy(self.maria.port) as other:
            for name, way, made in (
                ("source PostgreSQL", near, lambda: self.lane(MIRROR, PostgreSQL(self.city, port=near.port))),
                ("target PostgreSQL", far, lambda: self.lane(MIRROR, target=PostgreSQL(self.landing, port=far.port))),
                ("target MariaDB", other, lambda: self.lane(MIRROR, target=MariaDB(self.maria, "landing", port=other.port))),
            ):  # fmt: skip
                if self.is_done(f"way to {name} cut"):
                    continue
                lane, began = made(), time.monotonic()
                for _ in range(4):
                    way.cut_after(int(self.rows * 40 * self.chance.uniform(0.01, 0.8)))
                    disturb(lane, lambda: None, self.chance)
                self.note(f"way to {name} cut", lane, began)

    def _damages(self) -> None:
        slow = ("--rows-per-s", str(self.rows))
        for source in ("postgresql", "sqlite"):
            for way in (MIRROR, DIFFERENCES):
                for what in DAMAGES:
                    name = f"a flipped bit in {what}, {way} from {source}"
                    if (what == "what a split is remembered by" and way is MIRROR) or self.is_done(name):
                        continue
                    lane, began = self.lane(way, source, options=slow), time.monotonic()
                    for _ in range(3):
                        damage(lane, what, self.chance)
                    self.note(name, lane, began)
        self._damages_before_anything_arrived(slow)
        for way in (CHANGES, DIFFERENCES):
            for pattern in ("*/copy.json", "*/state/*/*.jqs"):
                name = f"a flipped bit in {pattern.rpartition('/')[2]} between two runs, {way}"
                if self.is_done(name):
                    continue
                lane, began = self.lane(way), time.monotonic()
                for _ in range(4):
                    damage_state(lane, pattern, lambda path: flip(path, self.chance))
                self.note(name, lane, began)

    def _damages_before_anything_arrived(self, options: Sequence[str]) -> None:
        with proxy(self.landing.port) as far, proxy(self.maria.port) as other:
            for way_to, target in (
                (far, PostgreSQL(self.landing, port=far.port)),
                (other, MariaDB(self.maria, "landing", port=other.port)),
            ):
                for what in ("a chunk when all is staged", "the manifest"):
                    name = f"a flipped bit in {what} and the target is held up, {MIRROR} to {target.name}"
                    if self.is_done(name):
                        continue
                    lane, began = self.lane(MIRROR, target=target, options=options), time.monotonic()
                    for _ in range(6):
                        damage(lane, what, self.chance, (way_to, HELD_AFTER))
                    self.note(name, lane, began)

    def _disks(self) -> None:
        if not self.is_done("spool full (limit of file sizes)"):
            lane, began = self.lane(MIRROR), time.monotonic()
            with_limits(lane, files_end_at(6_000))
            self.note("spool full (limit of file sizes)", lane, began)
        if not self.is_done("SQLite full (limit of file sizes)"):
            target = SQLite(self.folder / "full.db")
            lane, began = self.lane(MIRROR, target=target), time.monotonic()
            with_limits(lane, files_end_at(target.path.stat().st_size // 2))
            self.note("SQLite full (limit of file sizes)", lane, began)
        if not may_mount():
            print("  disks of their own need the right to mount", file=sys.stderr, flush=True)
            return
        if not self.is_done("spool on a full disk"):
            with small_disk(self.folder / "small", 64) as disk:
                lane, began = self.lane(MIRROR, spool=self.folder / "small" / "spool"), time.monotonic()
                self._each_full(lane, disk, "spool on a full disk", began)
        if self.is_done("target's PostgreSQL on a full disk"):
            return
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


CONTROL = "control"


class Kept:
    """Items that are done, a line of JSON for each in a file, behind the seed that they were made with."""

    def __init__(self, path: Path | None, seed: int | None) -> None:
        """Raises ValueError where the file was made with another seed."""
        self.path, self.items = path, dict[str, Outcome]()
        lines = path.read_text(encoding="utf-8").splitlines() if path is not None and path.exists() else []
        told = [json.loads(line) for line in lines]
        self.seed = told[0]["seed"] if told else int(time.time()) if seed is None else seed
        if seed not in (None, self.seed):
            raise ValueError(f"{path} was made with the seed {self.seed}")
        self.items = {one["item"]: Outcome.from_json(one["outcome"]) for one in told[1:]}
        if not told:
            self._write({"seed": self.seed})

    def add(self, name: str, seen: Outcome) -> None:
        self._write({"item": name, "outcome": seen.to_json()})

    def _write(self, line: dict[str, object]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _cut(database: Database) -> None:
    assert isinstance(database, PostgreSQL | MariaDB)
    database.cut()


def summed(items: Sequence[Item]) -> list[Item]:
    """The items by what was done, over all sources and targets."""
    found: dict[str, Outcome] = {}
    for name, seen in items:
        total = found.setdefault(name.partition(",")[0], Outcome())
        for one in fields(Outcome):
            setattr(total, one.name, getattr(total, one.name) + getattr(seen, one.name))
    return list(found.items())


STAGES = ("start or end", "extract", "stage", "load", "merge", "reconcile")


def shown(items: Sequence[Item], control: Outcome | None) -> str:
    rows = []
    for name, seen in (*items, *([("control: naive copier under the same kills", control)] if control else [])):
        stages = " / ".join(str(seen.stages[stage]) for stage in STAGES) if seen.stages else ""
        ended = ", ".join(f"{what} {times}×" for what, times in sorted(seen.ended.items()))
        anew = ", ".join(f"began anew: {why} {times}×" for why, times in sorted(seen.restarted.items()))
        told = "; ".join(part for part in (ended, anew, *seen.problems) if part)
        rows.append(
            (name, seen.rounds, seen.kills, stages, seen.lost, seen.doubled, seen.partial, seen.staged, seen.again, seen.anew,
             seen.mended, seen.left_open, told)
        )  # fmt: skip
    head = (
        "item", "rounds", "kills", f"killed in {' / '.join(STAGES)}", "rows lost", "rows doubled", "parts shown",
        "chunks staged at a kill", "of them read again", "read again and said so", "damaged and made again",
        "transactions left open", "ended with",
    )  # fmt: skip
    return report.table(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=336)
    parser.add_argument("--rows", type=int, default=24_000, help="of each table")
    parser.add_argument("--chunk-rows", type=int, default=800)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--ways", default="1-42", metavar="FIRST-LAST", help="of those that are killed, only these")
    parser.add_argument(
        "--keep", type=Path, help="file of the items that are done; the same command goes on behind them"
    )
    parser.add_argument("--only", default="kills,troubles,control", help="kills,troubles,control")
    parser.add_argument("--report", type=Path, help="file for the table in Markdown; it is printed in any case")
    given = parser.parse_args(argv)
    places.stop_when_told()
    only, began = set(given.only.split(",")), time.monotonic()
    kept = Kept(given.keep, given.seed)
    folder = Path(tempfile.mkdtemp(prefix="jq-faults-"))
    control: Outcome | None = None
    try:
        with contextlib.ExitStack() as opened:
            campaign = Campaign(folder, given.rows, given.chunk_rows, kept, opened)
            about = report.machine(campaign.city, campaign.maria)
            if "control" in only:
                control = campaign.control()
            if "kills" in only:
                campaign.kills(given.kills, *map(int, given.ways.split("-")))
            if "troubles" in only:
                campaign.troubles()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    items = campaign.items
    kills = sum(seen.kills for _, seen in items)
    stages = sum((seen.stages for _, seen in items), Counter[str]())
    words = (
        f"{kills} SIGKILLs ({', '.join(f'{stage} {stages[stage]}' for stage in STAGES)}) and"
        f" {sum(seen.ended.total() for _, seen in items)} other troubles over {len(items)} items, {given.rows:,} rows each in chunks of"
        f" {given.chunk_rows:,}, seed {kept.seed}, {(time.monotonic() - began) / 60:.0f} min: {sum(seen.lost for _, seen in items)} rows"
        f" lost, {sum(seen.doubled for _, seen in items)} doubled; of {sum(seen.staged for _, seen in items)} staged chunks"
        f" {sum(seen.again for _, seen in items)} read again, {sum(seen.anew for _, seen in items)} read again because the result says"
        f" that it began anew. {about}; code {report.revision()}.\n\n{shown(summed(items), control)}\n\nItem by item:\n\n"
        f"{shown(items, None)}\n"
    )  # fmt: skip
    print(words)
    if given.report:
        given.report.write_text(words, encoding="utf-8")
    if not all(seen.is_exact for _, seen in items):
        return 1
    return 2 if control is not None and not (control.lost + control.doubled) else 0


if __name__ == "__main__":
    sys.exit(main())
