"""Deletion of records after the time of keeping, as a recorded act.

1. The records that are old enough, and that the centre has, are written into a pack in `archive/`; the pack is verified.
2. A record of the deletion is put into the chain: which batches, by which rule, digest of the archive. It is durable first.
3. The records of those batches are deleted. Leaves, roots and chain stay, and so do deletion records themselves.

Cut off between two steps, the next round goes on: what was recorded as deleted is deleted.
"""

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinqiao.dataplane.evidence.errors import EvidenceBroken
from jinqiao.dataplane.evidence.log import connect_read_only, delete_bodies, lanes
from jinqiao.dataplane.evidence.shipper import shipped_batches
from jinqiao.dataplane.gateway.exporting import export
from jinqiao.dataplane.gateway.home import GatewayHome
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import BodiesDeleted
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.evidence.checking import LEAST_KEEP_DAYS
from jinqiao.kernel.evidence.packs import verify_pack
from jinqiao.kernel.keystore import write_durably

logger = logging.getLogger(__name__)

Recorder = Callable[[BodiesDeleted], None]
BATCHES_AT_ONCE = 5_000
STEP, PAUSE_S = 50, 0.01
BEGUN = "deleting.json"
_MARK = f'"_":"{BodiesDeleted.__name__}/'
RETENTION = "retention"


def delete_due(home: GatewayHome, keep_days: int, record: Recorder, stop: Callable[[], bool] = lambda: False) -> int:
    """Archive and delete what is older than `keep_days` (never less than the law's six months); how many batches lost their
    records.

    Raises EvidenceBroken where the archive does not verify: then nothing is deleted.
    """
    if not home.evidence_file.exists():
        return 0
    deleted, keep_days = 0, max(keep_days, LEAST_KEEP_DAYS)
    with contextlib.closing(connect_read_only(home.evidence_file)) as db:
        _finish_begun(home, db)
        for lane in lanes(db):
            while not stop():
                done = _delete_some(home, db, lane, keep_days, record)
                deleted += done
                if done < BATCHES_AT_ONCE:
                    break
    return deleted


def _delete_some(home: GatewayHome, db: sqlite3.Connection, lane: str, keep_days: int, record: Recorder) -> int:
    now = moments.now()
    older_than = now - timedelta(days=keep_days)
    span = _due(db, lane, older_than, shipped_batches(home.shipped_file).get(lane, 0))
    if span is None:
        return 0
    first, last, records = span
    home.archive_folder.mkdir(mode=0o700, exist_ok=True)
    archive = home.archive_folder / f"lane-{_safe(lane)}-{first}-{last}.zip"
    export(home, archive, ranges={lane: (first, last)}, purpose="archive")
    verdict = verify_pack(archive)
    if not verdict.ok:
        raise EvidenceBroken(place=verdict.place, reason=verdict.damage[0].text())
    begun = {"lane": lane, "first": first, "last": last, "since": _last_batches(db)}
    write_durably(home.path / BEGUN, json.dumps(begun).encode())
    record(
        BodiesDeleted(
            at=now,
            gateway=home.gateway_id,
            of_lane=lane,
            first_batch=first,
            last_batch=last,
            records=records,
            older_than=older_than,
            keep_days=keep_days,
            reason=RETENTION,
            archive_digest=_digest(suite(home.suite), archive),
        )
    )
    _finish(db, home.evidence_file, lane, first, last)
    (home.path / BEGUN).unlink(missing_ok=True)
    logger.info("lane %s, batches %d to %d: records deleted after %d days", lane, first, last, keep_days)
    return last - first + 1


def _last_batches(db: sqlite3.Connection) -> dict[str, int]:
    """By lane: whatever is recorded from now on comes after these, or in a lane that is not there yet."""
    return {
        lane: db.execute("SELECT max(batch) FROM batch WHERE lane = ?", (lane,)).fetchone()[0] for lane in lanes(db)
    }


def _due(db: sqlite3.Connection, lane: str, older_than: datetime, shipped: int) -> tuple[int, int, int] | None:
    """First and last batch with records that are all old enough, and the count of records; None where there are none."""
    first = last = records = 0
    rows = db.execute(
        "SELECT batch, bodies FROM batch"
        " WHERE lane = ? AND batch >= ? AND batch <= ? AND bodies IS NOT NULL ORDER BY batch LIMIT ?",
        (lane, _first_kept(db, lane, shipped), shipped, BATCHES_AT_ONCE),
    )
    for batch, bodies in rows:
        lines = bodies.split("\n")
        if any(datetime.fromisoformat(json.loads(line)["at"]) >= older_than for line in lines):
            break
        if first and batch != last + 1:
            break
        first, last, records = first or batch, batch, records + len(lines)
    return (first, last, records) if first else None


def _first_kept(db: sqlite3.Connection, lane: str, last: int) -> int:
    """The first batch that still has its records, or the one after `last`: they are deleted from the oldest on, and those that were
    are millions some day."""
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        # the batch there, or the next one that there is
        row = db.execute(
            "SELECT bodies IS NULL FROM batch WHERE lane = ? AND batch >= ? ORDER BY batch LIMIT 1", (lane, middle)
        ).fetchone()
        if row is not None and row[0]:
            low = middle + 1
        else:
            high = middle
    return low


def _finish_begun(home: GatewayHome, db: sqlite3.Connection) -> None:
    """Go on where a process ended: what was recorded as deleted is deleted; what was not recorded is begun anew."""
    file = home.path / BEGUN
    try:
        begun = json.loads(file.read_bytes())
        lane, first, last, since = begun["lane"], begun["first"], begun["last"], begun["since"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        file.unlink(missing_ok=True)
        return
    if any(
        (fields.get("of_lane"), fields.get("first_batch"), fields.get("last_batch")) == (lane, first, last)
        for fields in _deletions_since(db, since if isinstance(since, dict) else {})
    ):
        _finish(db, home.evidence_file, lane, first, last)
    file.unlink(missing_ok=True)


def _deletions_since(db: sqlite3.Connection, since: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Deletion records of batches after these of their lanes."""
    recorded = "SELECT bodies FROM batch WHERE lane = ? AND batch > ? AND bodies LIKE ?"
    for lane in lanes(db):
        for (bodies,) in db.execute(recorded, (lane, since.get(lane, 0), f"%{_MARK}%")):
            yield from (json.loads(line) for line in bodies.split("\n") if _MARK in line)


def _finish(db: sqlite3.Connection, log: Path, lane: str, first: int, last: int) -> None:
    """Deletion records of the batches stay, line by line; the rest goes, in small steps: calls go on meanwhile."""
    for start in range(first, last + 1, STEP):
        end = min(start + STEP - 1, last)
        kept = []
        for number, bodies in db.execute(
            "SELECT first_number, bodies FROM batch WHERE lane = ? AND batch >= ? AND batch <= ? AND bodies LIKE ?",
            (lane, start, end, f"%{_MARK}%"),
        ):
            kept += [(at, line) for at, line in enumerate(bodies.split("\n"), number) if _MARK in line]
        delete_bodies(log, lane=lane, first=start, up_to=end, keep=kept)
        time.sleep(PAUSE_S)


def _digest(by: Suite, file: Path) -> str:
    hasher = by.hasher()
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            hasher.update(piece)
    return hasher.hexdigest()


def _safe(lane: str) -> str:
    return "".join(mark if mark.isalnum() and mark.isascii() else "-" for mark in lane)[:40]
