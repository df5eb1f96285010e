"""Evidence of a gateway as a pack, from the centre; and the deletion of records after the time of keeping, as a recorded act.

Archived, verified, recorded in the trail and in a word signed by the platform, and only then deleted. Leaves, roots and chain stay:
a pack still verifies, and says by which rule and when its records were deleted.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction

from jinqiao.audit import trail
from jinqiao.exchange.actions.anchors import node_entries, platform_entry
from jinqiao.exchange.actions.evidence import lines_of
from jinqiao.exchange.actions.platform import node_actor, platform_identity, public_identity
from jinqiao.exchange.errors import EvidenceBroken
from jinqiao.exchange.models import Call, CallSubject, EvidenceAnchor, EvidenceDeletion, EvidenceSegment, Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import PLATFORM, BodiesDeleted, PackManifest
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.identity import sign_message
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence.batches import StoredBatch, split_leaves
from jinqiao.kernel.evidence.checking import LEAST_KEEP_DAYS
from jinqiao.kernel.evidence.packs import PackContent, verify_pack, write_pack
from jinqiao.kernel.rulesets import ruleset_for

ARCHIVE = "evidence-archive"
SEGMENTS_AT_ONCE = 5_000
_DELETION_MARK = f'"_":"{BodiesDeleted.__name__}/'
Ranges = Mapping[str, tuple[int, int]]
"""Lane → first and last batch."""


def keep_days() -> int:
    """How long records of calls are kept: the longest time of the rule set in force for records of use and of personal data."""
    years = ruleset_for(moments.today()).retention_years
    longest = max(years.get("usage_records", 3), years.get("personal_information_records", 3))
    return max(longest * 365 + 1, LEAST_KEEP_DAYS)


def export_evidence(
    gateway: Node,
    to: Path,
    *,
    ranges: Ranges | None = None,
    purpose: str = "export",
    at_batch: Callable[[], None] = lambda: None,
) -> PackManifest:
    """Write what the centre has of a gateway as a pack, all of it or ranges of batches, signed by the platform. `at_batch` is called
    for each batch, for who tells how far it is.

    Raises NothingToExport, PackTooLarge, OSError.
    """
    if ranges is None:
        lanes = (
            EvidenceSegment.objects.filter(gateway=gateway).order_by("lane").values_list("lane", flat=True).distinct()
        )
        ranges = dict.fromkeys(lanes, (1, 2**62))
    anchors = [
        anchor
        for lane, (first, last) in ranges.items()
        for anchor in EvidenceAnchor.objects.filter(gateway=gateway, lane=lane, batch__gte=first, batch__lte=last)
        .select_related("witness")
        .order_by("batch", "at")
    ]
    witnesses = {anchor.witness for anchor in anchors if anchor.witness is not None}
    words = [word for anchor in anchors for word in (anchor.platform_countersignature, anchor.countersignature) if word]
    deletions = EvidenceDeletion.objects.filter(gateway=gateway, lane__in=list(ranges)).order_by("id")
    content = PackContent(
        gateway=gateway.number,
        suite=public_identity(gateway).suite,
        lanes={lane: _batches(gateway, lane, first, last, at_batch) for lane, (first, last) in ranges.items()},
        anchors=[SignedMessage.from_json(anchor.body) for anchor in anchors],
        countersignatures=[SignedMessage.from_json(word) for word in words],
        identities=[
            *node_entries(gateway),
            platform_entry(),
            *(entry for witness in sorted(witnesses, key=lambda one: one.number) for entry in node_entries(witness)),
        ],
        deletions=[SignedMessage.from_json(row.body) for row in deletions],
    )
    return write_pack(
        to, content, exporter=platform_identity(), exported_by=PLATFORM, at=moments.now(), purpose=purpose
    )


def _batches(gateway: Node, lane: str, first: int, last: int, at_batch: Callable[[], None]) -> Iterator[StoredBatch]:
    rows = EvidenceSegment.objects.filter(gateway=gateway, lane=lane, batch__gte=first, batch__lte=last)
    for row in rows.order_by("batch").iterator(500):
        at_batch()
        yield StoredBatch(
            batch=row.batch,
            first=row.first_number,
            root=bytes.fromhex(row.merkle_root),
            previous=bytes.fromhex(row.previous),
            chain=bytes.fromhex(row.chain),
            leaves=split_leaves(bytes(row.leaves)),
            lines=lines_of(row),
            kept={int(number): line for number, line in row.kept.items()},
        )


def delete_old_evidence() -> int:
    """Archive and delete records whose time is over; how many batches. Raises EvidenceBroken where an archive does not verify."""
    older_than = moments.now() - timedelta(days=keep_days())
    deleted = 0
    due = EvidenceSegment.objects.filter(latest_at__lt=older_than).exclude(lines=None)
    for gateway_id, lane in list(due.order_by().values_list("gateway_id", "lane").distinct()):
        gateway = Node.objects.select_related("organisation").get(pk=gateway_id)
        while done := _delete_some(gateway, lane, keep_days()):
            deleted += done
    return deleted


def _delete_some(gateway: Node, lane: str, days: int) -> int:
    now = moments.now()
    older_than = now - timedelta(days=days)
    span = _due(gateway, lane, older_than)
    if span is None:
        return 0
    first, last, records = span
    folder = Path(settings.HOME) / ARCHIVE
    folder.mkdir(mode=0o700, exist_ok=True)
    safe = "".join(mark if mark.isascii() and mark.isalnum() else "-" for mark in f"{gateway.number}-{lane}")
    archive = folder / f"{safe}-{first}-{last}.zip"
    export_evidence(gateway, archive, ranges={lane: (first, last)}, purpose="archive")
    verdict = verify_pack(archive)
    if not verdict.ok:
        raise EvidenceBroken(gateway=gateway.number, lane=lane, batch=first, reason=verdict.reason)
    word = BodiesDeleted(
        at=now,
        gateway=gateway.number,
        of_lane=lane,
        first_batch=first,
        last_batch=last,
        records=records,
        older_than=older_than,
        keep_days=days,
        reason="retention",
        archive_digest=suite(public_identity(gateway).suite).digest(archive.read_bytes()).hex(),
    )
    with transaction.atomic():
        EvidenceDeletion.objects.create(
            gateway=gateway,
            lane=lane,
            first_batch=first,
            last_batch=last,
            records=records,
            at=now,
            archive=archive.name,
            body=sign_message(word, platform_identity()).to_json(),
            finished_at=now,
        )
        trail.record(
            "exchange.evidence.delete",
            by=node_actor(gateway),
            about=trail.subject(gateway),
            lane=lane,
            first_batch=first,
            last_batch=last,
            records=records,
            keep_days=days,
        )
        _empty(gateway, lane, first, last)
    return last - first + 1


def _due(gateway: Node, lane: str, older_than: object) -> tuple[int, int, int] | None:
    """First and last batch in a row with records that are all old enough, and how many records."""
    rows = EvidenceSegment.objects.filter(gateway=gateway, lane=lane).exclude(lines=None).order_by("batch")
    first = last = records = 0
    fields = ("batch", "first_number", "last_number", "latest_at")
    for batch, start, end, latest in rows.values_list(*fields)[:SEGMENTS_AT_ONCE]:
        if latest is None or latest >= older_than or (first and batch != last + 1):
            break
        first, last, records = first or batch, batch, records + end - start + 1
    return (first, last, records) if first else None


def _empty(gateway: Node, lane: str, first: int, last: int) -> None:
    """Take the records out of segments and calls; deletion records of the gateway stay where they are."""
    rows = EvidenceSegment.objects.select_for_update(of=("self",)).filter(
        gateway=gateway, lane=lane, batch__gte=first, batch__lte=last
    )
    numbers = []
    for row in rows.order_by("batch"):
        text = zlib.decompress(bytes(row.lines or b"")).decode("utf-8") if row.lines is not None else ""
        lines = enumerate(text.split("\n"), row.first_number)
        row.kept = {str(number): line for number, line in lines if _DELETION_MARK in line}
        row.lines = None
        row.save(update_fields=["kept", "lines"])
        numbers += [row.first_number, row.last_number]
    calls = Call.objects.filter(gateway=gateway, lane=lane, number__gte=min(numbers), number__lte=max(numbers))
    CallSubject.objects.filter(call__in=calls).delete()
    calls.update(record=None, end_user="", case_number="", address="")
