"""Check the log of a gateway where it lies, by the same rules as a pack."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jinqiao.dataplane.evidence.errors import EvidenceBroken
from jinqiao.dataplane.evidence.log import connect_read_only, lanes, stored_batches
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import EvidenceBatch, KnownIdentity
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.errors import SuiteUnknown
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.batches import BatchMalformed, StoredBatch
from jinqiao.kernel.evidence.checking import EvidenceCheck, Head, Verdict
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.signers import Signers


def verify(
    path: Path,
    *,
    heads: Mapping[str, Head] | None = None,
    gateway: str = "",
    identities: Sequence[KnownIdentity] = (),
    anchors: Sequence[SignedMessage] = (),
    countersignatures: Sequence[SignedMessage] = (),
) -> Verdict:
    """Check every record, batch and link of a log.

    `heads` are what somebody else has seen of this log before (lane → batch number, chain value in hex), e.g. the batches that
    the centre received: they show a log that was cut off or written anew, which no chain can show by itself. Without `gateway`
    the log's own first record says whose it is. Raises FileNotFoundError where there is no log.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    findings = Findings()
    try:
        with contextlib.closing(connect_read_only(path)) as db:
            db.execute("BEGIN")
            row = db.execute("SELECT value FROM about WHERE name = 'suite'").fetchone()
            by = suite(row[0]) if row else None
            if by is None:
                findings.add(Code.SUITE_UNKNOWN, suite="")
                return Verdict(findings=findings.all)
            signers = Signers(identities, findings)
            check = EvidenceCheck(
                gateway=gateway or _owner(db), by=by, signers=signers, findings=findings, at=moments.now()
            )
            check.take_anchors(anchors)
            seen = heads or {}
            names = lanes(db)
            for lane in names:
                check.take_lane(lane, stored_batches(db, lane=lane), head=seen.get(lane))
            for lane in seen.keys() - set(names):
                findings.add(Code.LANE_MISSING, lane)
            check.take_countersignatures(countersignatures)
            return check.finish(lambda: _lines(db, names))
    except SuiteUnknown as problem:
        findings.add(Code.SUITE_UNKNOWN, suite=str(problem.details.get("name"))[:40])
    except BatchMalformed as problem:
        findings.add(Code.BATCH_FORM, problem.lane, problem.batch, reason=problem.reason)
    except (sqlite3.DatabaseError, ValueError, TypeError):
        findings.add(Code.UNREADABLE)
    return Verdict(findings=findings.all)


def demand(verdict: Verdict) -> None:
    """Raise EvidenceBroken unless the evidence is whole."""
    if not verdict.ok:
        raise EvidenceBroken(place=verdict.place, reason=verdict.damage[0].text())


def _owner(db: sqlite3.Connection) -> str:
    row = db.execute(
        "SELECT json_extract(substr(bodies, 1, instr(bodies || char(10), char(10)) - 1), '$.gateway') FROM batch WHERE bodies IS NOT NULL LIMIT 1"
    ).fetchone()
    return str(row[0]) if row else ""


def _lines(db: sqlite3.Connection, names: Iterable[str]) -> Iterator[str]:
    for lane in names:
        for batch in stored_batches(db, lane=lane):
            yield from batch.lines or ()


def verify_batches(batches: Iterable[EvidenceBatch], *, suite_name: str) -> Verdict:
    """Check batches of one lane as they were shipped, from its first one on."""
    by, findings = suite(suite_name), Findings()
    given = list(batches)
    gateway = str(given[0].records[0].gateway) if given and given[0].lines else ""
    check = EvidenceCheck(gateway=gateway, by=by, signers=Signers((), findings), findings=findings, at=moments.now())
    lane = given[0].lane if given else ""
    check.take_lane(lane, _stored(given, by))
    return check.finish(lambda: iter([line for batch in given for line in batch.lines]))


def _stored(batches: Iterable[EvidenceBatch], by: Suite) -> Iterator[StoredBatch]:
    number = 1
    for batch in batches:
        yield StoredBatch(
            batch=batch.batch,
            first=number,
            root=bytes.fromhex(batch.merkle_root),
            previous=bytes.fromhex(batch.previous),
            chain=bytes.fromhex(batch.chain),
            leaves=tuple(merkle.leaf(by.digest, line.encode()) for line in batch.lines),
            lines=batch.lines,
        )
        number += len(batch.lines)
