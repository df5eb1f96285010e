"""Check a log of calls offline and name the first thing that is broken."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinqiao.dataplane.evidence import merkle
from jinqiao.dataplane.evidence.errors import EvidenceBroken
from jinqiao.dataplane.evidence.log import connect_read_only, lanes
from jinqiao.kernel.contracts.evidence import EvidenceBatch
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.errors import JinqiaoError

LEAF_BYTES = 32
Head = tuple[int, str]


@dataclass(slots=True)
class Verdict:
    """What a check found. `place` names the first broken batch or record, `reason` what is wrong with it; both empty when ok.

    `heads` are lane → (last batch, its chain value in hex): what the centre, or a later check, can be asked to confirm.
    """

    ok: bool = True
    batches: int = 0
    records: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
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


def verify(path: Path, *, heads: Mapping[str, Head] | None = None) -> Verdict:
    """Check every record, batch and link of a log.

    `heads` are what somebody else has seen of this log before (lane → batch number, chain value in hex), e.g. the batches that
    the centre received: they show a log that was cut off or written anew, which no chain can show by itself.
    Raises FileNotFoundError where there is no log.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    verdict = Verdict()
    seen = heads or {}
    try:
        with contextlib.closing(connect_read_only(path)) as db:
            db.execute("BEGIN")
            row = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
            if row is None:
                raise _Broken("file", "it does not say its suite")
            for lane in lanes(db):
                _verify_lane(db, lane, suite(row[0]), seen.get(lane), verdict)
        for lane in seen.keys() - verdict.heads.keys():
            raise _Broken(f"lane {lane}", "it is missing")
    except _Broken as broken:
        verdict.ok, verdict.place, verdict.reason = False, broken.place, broken.reason
    except (sqlite3.DatabaseError, JinqiaoError, UnicodeDecodeError) as problem:
        verdict.ok, verdict.place, verdict.reason = False, "file", f"it cannot be read ({type(problem).__name__})"
    return verdict


def _verify_lane(db: sqlite3.Connection, lane: str, by: Suite, seen: Head | None, verdict: Verdict) -> None:
    previous, number, expected = merkle.GENESIS, 1, 1
    for batch, first, count, root, before, chain, leaves, bodies in db.execute(
        "SELECT batch, first_number, records, merkle_root, previous, chain, leaves, bodies FROM batch"
        " WHERE lane = ? ORDER BY batch",
        (lane,),
    ):
        place = f"lane {lane}, batch {batch}"
        if batch != expected:
            raise _Broken(f"lane {lane}, batch {expected}", "it is missing")
        if first != number:
            raise _Broken(place, f"it begins with record {first} instead of {number}")
        if before != previous:
            raise _Broken(place, "it does not follow the batch before it")
        if not isinstance(leaves, bytes) or not leaves or len(leaves) != count * LEAF_BYTES:
            raise _Broken(place, "its leaves are not as many as its records")
        parts = [leaves[at : at + LEAF_BYTES] for at in range(0, len(leaves), LEAF_BYTES)]
        _verify_records(by, lane, batch, first, parts, bodies)
        if merkle.root(by.digest, parts) != root:
            raise _Broken(place, "its Merkle root does not fit its records")
        if merkle.link(by.digest, previous, root) != chain:
            raise _Broken(place, "its chain value does not fit")
        if seen is not None and seen[0] == batch and seen[1] != chain.hex():
            raise _Broken(place, "its chain value is not the one seen before")
        previous, number, expected = chain, number + count, batch + 1
        verdict.batches += 1
        verdict.records += count
        verdict.heads[lane] = (batch, chain.hex())
    if seen is not None and seen[0] >= expected:
        raise _Broken(f"lane {lane}, batch {expected}", "it is missing: the log was cut off")


def _verify_records(by: Suite, lane: str, batch: int, first: int, leaves: list[bytes], bodies: str | None) -> None:
    if bodies is None:  # deleted after their time; the leaves keep their places
        return
    lines = bodies.split("\n")
    for number, (leaf, body) in enumerate(zip(leaves, lines, strict=False), first):
        place = f"lane {lane}, record {number} (batch {batch})"
        if merkle.leaf(by.digest, body.encode("utf-8", "surrogatepass")) != leaf:
            raise _Broken(place, "its text was changed")
        fields = json.loads(body)
        if fields.get("lane") != lane or fields.get("number") != number:
            raise _Broken(place, "its text belongs to another place")
    if len(lines) < len(leaves):
        raise _Broken(f"lane {lane}, record {first + len(lines)} (batch {batch})", "it is missing")
    if len(lines) > len(leaves):
        raise _Broken(f"lane {lane}, record {first + len(leaves)} (batch {batch})", "it belongs to no batch")


def verify_batches(batches: Iterable[EvidenceBatch], *, suite_name: str) -> Verdict:
    """Check batches of one lane as they were shipped, from its first one on."""
    by = suite(suite_name)
    verdict = Verdict()
    previous, number, expected = merkle.GENESIS, 1, 1
    try:
        for batch in batches:
            place = f"lane {batch.lane}, batch {batch.batch}"
            if batch.batch != expected:
                raise _Broken(f"lane {batch.lane}, batch {expected}", "it is missing")
            if batch.previous != previous.hex():
                raise _Broken(place, "it does not follow the batch before it")
            if not batch.records:
                raise _Broken(place, "it has no records")
            for record in batch.records:
                if record.number != number or record.lane != batch.lane:
                    raise _Broken(f"lane {batch.lane}, record {number} (batch {batch.batch})", "it is missing")
                number += 1
            root = merkle.root(by.digest, [merkle.leaf(by.digest, record.canonical()) for record in batch.records])
            if root.hex() != batch.merkle_root:
                raise _Broken(place, "its Merkle root does not fit its records")
            previous = merkle.link(by.digest, previous, root)
            if previous.hex() != batch.chain:
                raise _Broken(place, "its chain value does not fit")
            expected += 1
            verdict.batches += 1
            verdict.records += len(batch.records)
            verdict.heads[batch.lane] = (batch.batch, batch.chain)
    except _Broken as broken:
        verdict.ok, verdict.place, verdict.reason = False, broken.place, broken.reason
    return verdict
