"""Copies that are killed and disturbed, and what is there afterwards.

A lane is one way of copying one table: source, target, mode, delivery. It goes round by round: the source changes, a copy of it
is killed at random instants and started again until it ends by itself, then the target is compared with a model that knows
nothing of the engine. After every kill the target shows the state before the round or the one after it, never a part.

Kills fall at moments that are even over the time from the beginning of the extraction to the end of an undisturbed copy of the same
way, one in eight before, so that they fall in every stage (`Lane.stage`). What was staged when a copy was killed must be handed over as it was, or the result must say why not.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from jinqiao.dataplane.staging.records import value_of
from jinqiao.kernel.contracts.exchange import CopyMode, Delivery
from tests.dataplane.copy.databases import Database as Place
from tests.dataplane.copy.databases import PostgreSQL, Residents, Row

JINQIAO = str(Path(sys.executable).with_name("jinqiao"))
END_S = 600
Staged = dict[tuple[str, int], str]  # run and number of a chunk → digest


@dataclass(frozen=True)
class Way:
    """How a lane copies."""

    mode: CopyMode
    delivery: Delivery

    @property
    def deletes(self) -> bool:
        """A watermark does not see what is gone: there the source only grows and changes."""
        return self.mode is not CopyMode.WATERMARK

    def options(self) -> list[str]:
        watermark = ["--watermark", "updated"] if self.mode is CopyMode.WATERMARK else []
        return ["--mode", self.mode.value, "--delivery", self.delivery.value, *watermark]

    def __str__(self) -> str:
        return f"{self.mode.value} {self.delivery.value}"


WAYS = tuple(
    Way(mode, delivery)
    for mode in (CopyMode.FULL, CopyMode.WATERMARK, CopyMode.DIFF)
    for delivery in (Delivery.MIRROR, Delivery.UPSERT, Delivery.APPEND, Delivery.HISTORY)
    if not (mode is CopyMode.WATERMARK and delivery is Delivery.MIRROR)
)


@dataclass(slots=True)
class Model:
    """What the target shows: `rows` of the last state delivered, and where the delivery keeps them all, `kept` of ever."""

    way: Way
    rows: "Counter[Row]" = field(default_factory=Counter)
    kept: "Counter[Row]" = field(default_factory=Counter)

    def after(self, source: "Counter[Row]") -> "Model":
        """Its state when what the source holds has arrived."""
        changed = source - self.rows
        match self.way.delivery:
            case Delivery.MIRROR:
                kept = Counter(source)
            case Delivery.UPSERT:
                keys = {row[0] for row in changed}
                kept = Counter({row: 1 for row in self.kept if row[0] not in keys}) + changed
            case Delivery.APPEND:
                kept = self.kept + (source if self.way.mode is CopyMode.FULL else changed)
            case _:
                kept = self.kept + changed
        return Model(self.way, Counter(source), kept)


@dataclass(slots=True)
class Outcome:
    """What a lane has seen."""

    kills: int = 0
    rounds: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    partial: int = 0  # times that a part of a batch was shown
    staged: int = 0  # chunks of whole splits that were staged when a copy was killed
    again: int = 0  # of them, those that were not handed over as they were staged, though the result does not say so
    anew: int = 0  # of them, those that the result says were read again
    stages: Counter[str] = field(default_factory=Counter)  # in which copies were killed
    restarted: Counter[str] = field(default_factory=Counter)  # why copies began anew, as their results say
    mended: int = 0  # damaged chunks that were made again
    read: int = 0  # rows that the source's server counts as read, over rows of the table, in full runs
    table: int = 0
    left_open: int = 0  # transactions at the source that outlived a copy that ended by itself
    ended: Counter[str] = field(default_factory=Counter)  # with which error copies ended that were disturbed
    problems: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.doubled or self.partial or self.again or self.left_open or self.problems)

    def to_json(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Outcome":
        counters = {name: Counter(data[name]) for name in ("stages", "restarted", "ended")}
        return cls(**{**data, **counters})


class Lane:
    """One table from one place to another, again and again."""

    def __init__(
        self, source: Residents, target: Place, way: Way, spool: Path, *, chunk_rows: int, options: Sequence[str] = ()
    ) -> None:
        self.source, self.target, self.way, self.spool = source, target, way, spool
        self.options = ("--chunk-rows", str(chunk_rows), *options)
        self.model = Model(way)
        self.outcome = Outcome()
        self.limits: Callable[[], None] | None = None  # run in the process before it becomes a copy
        self._starts_s = self._works_s = (
            1.0  # of a process that nothing disturbs: to the beginning of its extraction, from there
        )

    @property
    def table(self) -> str:
        return self.source.table

    def __str__(self) -> str:
        return f"{self.way}, {self.source.database.name} → {self.target.name}"

    # -- one process

    def command(self) -> list[str]:
        return [
            JINQIAO, "copy", self.source.database.url, self.target.url, "--table", self.table, "--spool", str(self.spool),
            "--json", *self.way.options(), *self.options,
        ]  # fmt: skip

    def start(self) -> "subprocess.Popen[str]":
        self.outcome.runs += 1
        return subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=self.limits
        )

    def end(self, process: "subprocess.Popen[str]") -> dict[str, Any]:
        """What it told: the JSON of a copy, or `problem` and `exit`."""
        output, errors = process.communicate(timeout=END_S)
        told: dict[str, Any] = {"problem": {"code": errors.strip()[-300:] or "said nothing"}}
        if output.strip():
            told = json.loads(output.splitlines()[-1])
        return {**told, "exit": process.returncode}

    def finish(self, tries: int = 1) -> dict[str, Any]:
        """Copy to the end; what the last process told."""
        told: dict[str, Any] = {}
        for _ in range(tries):
            told = self.end(self.start())
            if told["exit"] == 0:
                return told
        self.outcome.problems.append(f"{told['problem']['code']} ({told['exit']})")
        return told

    def _begun(self) -> int:
        """Changes whenever an extraction begins or goes on."""
        return max((path.stat().st_mtime_ns for path in outgoing(self.spool, "begun.json")), default=0)

    def _until_it_works(self, process: "subprocess.Popen[str]", limit_s: float) -> bool:
        """Waits for the beginning of its extraction; False where it did not come, or there is none as all is staged."""
        before, until = self._begun(), time.monotonic() + limit_s
        while process.poll() is None and time.monotonic() < until:
            with suppress(FileNotFoundError):
                if self._begun() != before:
                    return True
            time.sleep(0.002)
        return False

    # -- rounds

    def begin(self) -> None:
        """The table, and a first copy of it that nothing disturbs."""
        self.source.fill()
        self.finish()
        self._compare(self.model.after(self.source.rows()))

    def measure(self) -> None:
        """A round that nothing disturbs: how long one lasts."""

        def measured() -> dict[str, Any]:
            began, process = time.monotonic(), self.start()
            self._until_it_works(process, END_S)
            works = time.monotonic()
            told = self.end(process)
            self._starts_s, self._works_s = works - began, time.monotonic() - works
            return told

        self.round(measured)

    def kill(self, kills: int, chance: random.Random) -> Outcome:
        """Rounds until `kills` copies were killed; each is compared at its end."""
        while self.outcome.kills < kills and not self.outcome.problems:
            self.round(lambda: self._killed_until_done(kills, chance))
        return self.outcome

    def round(self, disturbed: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """One change of the source and the copies that bring it; what the last of them told."""
        self.outcome.rounds += 1
        self.source.change(self.outcome.rounds, deletes=self.way.deletes)
        rows = self.source.rows()
        counts = isinstance(self.source.database, PostgreSQL) and self.way.mode is CopyMode.FULL
        before = self.source.database.rows_read(self.table) if counts else 0  # type: ignore[attr-defined]
        self._expected = self.model.after(rows)
        told = disturbed()
        if counts:
            read = self.source.database.rows_read(self.table) - before  # type: ignore[attr-defined]
            if read > 0:  # a server that was restarted has forgotten what it counted
                self.outcome.read += read
                self.outcome.table += rows.total()
        self._compare(self._expected)
        if isinstance(self.source.database, PostgreSQL):
            self.outcome.left_open += self.source.database.left_open()
        return told

    def _killed_until_done(self, kills: int, chance: random.Random) -> dict[str, Any]:
        """Copies, killed again and again, until one ends."""
        staged: Staged = {}
        while self.outcome.kills < kills:
            process = self.start()
            try:
                if chance.random() < 1 / 8:
                    process.wait(timeout=chance.uniform(0, self._starts_s))
                else:
                    self._until_it_works(process, self._starts_s + self._works_s)
                    process.wait(timeout=chance.uniform(0, self._works_s))
            except subprocess.TimeoutExpired:
                process.kill()
            told = self.end(process)
            if process.returncode == 0:
                self.count_again(staged, told)
                return told
            if process.returncode != -signal.SIGKILL:
                self.outcome.problems.append(f"{told['problem']['code']} ({process.returncode})")
                return told
            self.outcome.kills += 1
            self.outcome.stages[self.stage()] += 1
            if self._is_after():
                return {}
            staged = {**staged, **staged_chunks(self.spool)}
        told = self.finish()
        self.count_again(staged, told)
        return told

    def _is_after(self) -> bool:
        """Does the target show the new state? Then only the process was killed, not the copy: another one would be a new run.

        A target that shows neither the old nor the new state is a fault.
        """
        shown = self.shown()
        if shown == self.model.kept:
            return False
        if shown != self._expected.kept:
            self.outcome.partial += 1
            return False
        return self.way.delivery is Delivery.APPEND and not is_under_way(self.spool)

    def count_again(self, staged: Staged, told: dict[str, Any]) -> None:
        """What was staged by this run before: was it handed over as it was?"""
        if "batch" not in told:
            return
        run = told["batch"].rpartition(".")[0]
        handed = {(run, chunk["number"]): chunk["digest"] for chunk in told["chunks"]}
        ours = {key: digest for key, digest in staged.items() if key[0] == run}
        again = sum(handed.get(key) != digest for key, digest in ours.items())
        self.outcome.staged += len(ours)
        self.outcome.restarted.update(told["restarted"])
        if told["restarted"]:
            self.outcome.anew += again
        else:
            self.outcome.again += again

    def stage(self) -> str:
        """Where a copy was when it was killed, from what it left in the spool and at the target."""
        for home in homes(self.spool):
            order = (value_of((home / "copy.json").read_bytes()) or {}).get("order")
            if order is None:
                continue
            out = home / "out" / str(order["run_id"])
            manifest = value_of((out / "manifest.json").read_bytes()) if (out / "manifest.json").is_file() else None
            if manifest is None:
                return "stage" if staged_chunks(self.spool) else "extract"
            chunks, merged = self.target.ledger(manifest["batch_id"])
            if merged:
                return "reconcile"
            return "merge" if chunks == len(manifest["chunks"]) else "load"
        return "start or end"

    def shown(self) -> "Counter[Row]":
        return self.target.rows(self.table) if self.target.has(self.table) else Counter()

    def _compare(self, expected: Model) -> None:
        shown = self.shown()
        self.outcome.lost += (expected.kept - shown).total()
        self.outcome.doubled += (shown - expected.kept).total()
        if self.way.delivery is Delivery.HISTORY and self.target.has(self.table):
            valid = self.target.rows(self.table, "valid_to IS NULL")
            self.outcome.lost += (expected.rows - valid).total()
            self.outcome.doubled += (valid - expected.rows).total()
        self.model = Model(self.way, expected.rows, shown)


class NaiveLane(Lane):
    """The control: the copier that everyone writes first, in the place of ours."""

    def _until_it_works(self, process: "subprocess.Popen[str]", limit_s: float) -> bool:
        """It tells nobody; the whole of its time counts."""
        return False

    def command(self) -> list[str]:
        script = Path(__file__).with_name("naive.py")
        return [sys.executable, str(script), self.source.database.url, self.target.url, self.table, str(self.spool)]


# -- what lies in the spool


def homes(spool: Path) -> Iterator[Path]:
    """Folders of copies in a spool."""
    yield from (path.parent for path in spool.glob("*/copy.json"))


def is_under_way(spool: Path) -> bool:
    """Has a copy begun that is not finished?"""
    return any("order" in (value_of((home / "copy.json").read_bytes()) or {}) for home in homes(spool))


def outgoing(spool: Path, pattern: str) -> list[Path]:
    """Files that extraction has left."""
    return sorted(spool.glob(f"*/out/*/{pattern}"))


def staged_chunks(spool: Path, split: int | None = None) -> Staged:
    """The chunks of splits that are staged whole, or of one of them."""
    found: Staged = {}
    for path in outgoing(spool, "splits.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            record = json.loads(line[line.index(b"{") :])  # behind its digest
            if split not in (None, record["split"]):
                continue
            found |= {(path.parent.name, int(chunk["number"])): chunk["digest"] for chunk in record["chunks"]}
    return found


def wait_for(found: Callable[[], bool], process: "subprocess.Popen[str]", limit_s: float = 60) -> bool:
    """Until something is there; False where the process ended before."""
    until = time.monotonic() + limit_s
    while not found():
        if process.poll() is not None or time.monotonic() > until:
            return False
        time.sleep(0.003)
    return True


def flip(path: Path, chance: random.Random) -> None:
    """One bit of one byte of a file is no longer what it was. Other names of the same file see it too."""
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDWR)
    try:
        at = chance.randrange(size)
        byte = os.pread(descriptor, 1, at)
        os.pwrite(descriptor, bytes([byte[0] ^ (1 << chance.randrange(8))]), at)
    finally:
        os.close(descriptor)
