"""Check a log of calls offline and name the first thing that is broken."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinqiao.dataplane.evidence import merkle
from jinqiao.dataplane.evidence.errors import EvidenceBroken
from jinqiao.dataplane.evidence.log import connect_read_only, lanes
from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.crypto.suites import Suite, suite


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. `place` names the first broken batch or record, `reason` what is wrong with it; both empty when ok.

    `heads` are lane → (last batch, its chain value): what a later check, or the centre, can be asked to confirm.
    """

    ok: bool
    batches: int
    records: int
    heads: Mapping[str, tuple[int, str]]
    place: str = ""
    reason: str = ""

    def demand(self) -> None:
        """Raise EvidenceBroken unless the log verified."""
        if not self.ok:
            raise EvidenceBroken(place=self.place, reason=self.reason)


class _Broken(Exception):
    def __init__(self, place: str, reason: str) -> None:
        self.place, self.reason = place, reason
        super().__init__(f"{place}: {reason}")


def verify(path: Path, *, heads: Mapping[str, tuple[int, str]] | None = None) -> Verdict:
    """Check every record, batch and link of a log.

    `heads` are what somebody else has seen of this log before (lane → batch number, chain value in hex), e.g. the batches that
    the centre received: they show a log that was cut off or written anew, which no chain can show by itself.
    Raises FileNotFoundError where there is no log.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    counts = [0, 0]
    found: dict[str, tuple[int, str]] = {}
    try:
        with contextlib.closing(connect_read_only(path)) as db:
            row = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
            if row is None:
                raise _Broken("file", "it does not say its suite")
            db.execute("BEGIN")
            for lane in lanes(db):
                _verify_lane(db, lane, suite(row[0]), (heads or {}).get(lane), counts, found)
            _verify_no_strays(db)
        for lane in heads or {}:
            if lane not in found:
                raise _Broken(f"lane {lane}", "it is missing")
    except _Broken as broken:
        return Verdict(False, counts[0], counts[1], found, broken.place, broken.reason)
    except sqlite3.DatabaseError as problem:
        return Verdict(False, counts[0], counts[1], found, "file", f"it cannot be read ({type(problem).__name__})")
    return Verdict(True, counts[0], counts[1], found)


def _verify_lane(
    db: sqlite3.Connection,
    lane: str,
    by: Suite,
    head: tuple[int, str] | None,
    counts: list[int],
    found: dict[str, tuple[int, str]],
) -> None:
    previous, number = merkle.GENESIS, 1
    expected = 1
    for batch, first, records, root, before, chain in db.execute(
        "SELECT batch, first_number, records, merkle_root, previous, chain FROM batch WHERE lane = ? ORDER BY batch",
        (lane,),
    ):
        place = f"lane {lane}, batch {batch}"
        if batch != expected:
            raise _Broken(f"lane {lane}, batch {expected}", "it is missing")
        if first != number:
            raise _Broken(place, f"it begins with record {first} instead of {number}")
        if before != previous:
            raise _Broken(place, "it does not follow the batch before it")
        leaves = []
        for at, leaf, body in db.execute(
            "SELECT number, leaf, body FROM record WHERE lane = ? AND number >= ? AND number < ? ORDER BY number",
            (lane, first, first + records),
        ):
            if at != number:
                raise _Broken(f"lane {lane}, record {number} (batch {batch})", "it is missing")
            _verify_record(by, lane, at, leaf, body, batch)
            leaves.append(leaf)
            number += 1
            counts[1] += 1
        if len(leaves) != records:
            raise _Broken(f"lane {lane}, record {number} (batch {batch})", "it is missing")
        if merkle.root(by.digest, leaves) != root:
            raise _Broken(place, "its Merkle root does not fit its records")
        if merkle.link(by.digest, previous, root) != chain:
            raise _Broken(place, "its chain value does not fit")
        if head is not None and head[0] == batch and head[1] != chain.hex():
            raise _Broken(place, "its chain value is not the one seen before")
        previous, expected = chain, batch + 1
        counts[0] += 1
        found[lane] = (batch, chain.hex())
    if head is not None and head[0] >= expected:
        raise _Broken(f"lane {lane}, batch {expected}", "it is missing: the log was cut off")


def _verify_record(by: Suite, lane: str, number: int, leaf: bytes, body: str | None, batch: int) -> None:
    if body is None:  # deleted after its time; the leaf keeps its place
        return
    place = f"lane {lane}, record {number} (batch {batch})"
    if merkle.leaf(by.digest, body.encode("utf-8", "surrogatepass")) != leaf:
        raise _Broken(place, "its text was changed")
    try:
        fields = json.loads(body)
    except ValueError as problem:
        raise _Broken(place, "its text is not JSON") from problem
    if fields.get("lane") != lane or fields.get("number") != number:
        raise _Broken(place, "its text belongs to another place")


def _verify_no_strays(db: sqlite3.Connection) -> None:
    stray = db.execute(
        "SELECT r.lane, r.number FROM record r LEFT JOIN (SELECT lane, max(first_number + records) AS ending FROM batch"
        " GROUP BY lane) b ON b.lane = r.lane WHERE b.ending IS NULL OR r.number >= b.ending OR r.number < 1 ORDER BY 1, 2 LIMIT 1"
    ).fetchone()
    if stray is not None:
        raise _Broken(f"lane {stray[0]}, record {stray[1]}", "it belongs to no batch")


def verify_batches(batches: Iterable[EvidenceBatch], *, suite_name: str) -> Verdict:
    """Check batches of one lane as they were shipped, from its first one on."""
    by = suite(suite_name)
    previous, number, expected, counted = merkle.GENESIS, 1, 1, 0
    found: dict[str, tuple[int, str]] = {}

    def broken(place: str, reason: str) -> Verdict:
        return Verdict(False, expected - 1, counted, found, place, reason)

    for batch in batches:
        place = f"lane {batch.lane}, batch {batch.batch}"
        if batch.batch != expected:
            return broken(f"lane {batch.lane}, batch {expected}", "it is missing")
        if batch.previous != previous.hex():
            return broken(place, "it does not follow the batch before it")
        for record in batch.records:
            if record.number != number or record.lane != batch.lane:
                return broken(f"lane {batch.lane}, record {number} (batch {batch.batch})", "it is missing")
            number += 1
        if not batch.records:
            return broken(place, "it has no records")
        merkle_root = merkle.root(by.digest, [merkle.leaf(by.digest, record.canonical()) for record in batch.records])
        if merkle_root.hex() != batch.merkle_root:
            return broken(place, "its Merkle root does not fit its records")
        previous = merkle.link(by.digest, previous, merkle_root)
        if previous.hex() != batch.chain:
            return broken(place, "its chain value does not fit")
        counted += len(batch.records)
        found[batch.lane] = (batch.batch, batch.chain)
        expected += 1
    return Verdict(True, expected - 1, counted, found)
