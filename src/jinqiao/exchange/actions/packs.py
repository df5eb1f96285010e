"""Packs of evidence by gateway and period, asked for on a page by the authority or the auditor and made by the worker.

A gateway has thousands of calls a second at most, so a period may be large: the worker writes the pack into a folder of the home and
tells how far it is; who asked downloads it within a week. Web and worker on several machines share that folder.
"""

import logging
import secrets
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.archiving import Ranges, export_evidence
from jinqiao.exchange.actions.platform import post_to_worker
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import EvidencePackGone, EvidencePackNotWritten, NodeKindWrong
from jinqiao.exchange.models import Call, EvidenceAnchor, EvidenceSegment, Node, OutboxMessage
from jinqiao.exchange.queries.calls import midnight
from jinqiao.exchange.queries.packs import LIVE, TOPIC, PackAsked, PackState
from jinqiao.kernel import moments
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.evidence.packs import PERIOD, NothingToExport

log = logging.getLogger(__name__)
FOLDER = "evidence-packs"
KEPT = timedelta(days=7)
TELL_EVERY_S = 1.0


@transaction.atomic
def ask_pack(gateway: Node, since: date, until: date, *, by: Post) -> PackAsked:
    """Have the worker write the calls of a period (days of China, both inclusive) as a pack. Raises NotYourEvidence, NodeKindWrong."""
    rules.check_may_take_packs(by)
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    row = post_to_worker(
        TOPIC,
        token=secrets.token_hex(16),
        gateway=gateway.pk,
        gateway_name=gateway.name,
        since=since.isoformat(),
        until=until.isoformat(),
        by_name=by.person.name,
        state=PackState.WAITING.value,
    )
    _note("exchange.evidence.export", gateway, PackAsked.of(row), by)
    return PackAsked.of(row)


def make_pack(token: str) -> None:
    """What the worker does. Begun again after a crash it writes the pack anew; what failed says why and is not tried again."""
    row = OutboxMessage.objects.filter(topic=TOPIC, body__token=token).first()
    if row is None or not PackAsked.of(row).is_live:
        return
    gateway = Node.objects.get(pk=row.body["gateway"])
    try:
        _make(row, gateway)
    except JinqiaoError as problem:
        _tell(row, state=PackState.FAILED.value, code=problem.code)
    except OSError as problem:
        log.error("a pack of evidence was not written: %s", type(problem).__name__)
        _tell(row, state=PackState.FAILED.value, code=EvidencePackNotWritten.code)


def _make(row: OutboxMessage, gateway: Node) -> None:
    asked = PackAsked.of(row)
    ranges = ranges_of(gateway, asked.since, asked.until)
    if not ranges:
        raise NothingToExport
    total = sum(last - first + 1 for first, last in ranges.values())
    _tell(row, state=PackState.WORKING.value, done=0, total=total)
    done, told = 0, time.monotonic()

    def at_batch() -> None:
        nonlocal done, told
        done += 1
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            _tell(row, done=done)

    file = file_of(asked)
    file.parent.mkdir(mode=0o700, exist_ok=True)
    manifest = export_evidence(gateway, file, ranges=ranges, purpose=PERIOD, at_batch=at_batch)
    records = sum(lane.last_number - lane.first_number + 1 for lane in manifest.lanes)
    _tell(row, state=PackState.READY.value, done=total, records=records, size=file.stat().st_size)


def _tell(row: OutboxMessage, **changes: Any) -> None:
    row.body = {**row.body, **changes}
    row.save(update_fields=["body"])


def ranges_of(gateway: Node, since: date, until: date) -> Ranges:
    """The batches of each lane that hold the period's calls, on to the first anchor after them, so that all are covered by one."""
    calls = Call.objects.filter(gateway=gateway, at__gte=midnight(since), at__lt=midnight(until) + timedelta(days=1))
    spans = calls.order_by().values("lane").annotate(first=Min("number"), last=Max("number")).order_by("lane")
    found = {}
    for span in spans:
        rows = EvidenceSegment.objects.filter(gateway=gateway, lane=span["lane"], last_number__gte=span["first"])
        rows = rows.filter(first_number__lte=span["last"])
        batches = rows.aggregate(first=Min("batch"), last=Max("batch"))
        if batches["first"] is None:
            continue
        anchors = EvidenceAnchor.objects.filter(gateway=gateway, lane=span["lane"], batch__gte=batches["last"])
        anchor = anchors.order_by("batch").values_list("batch", flat=True).first()
        found[span["lane"]] = (batches["first"], anchor or batches["last"])
    return found


def file_of(asked: PackAsked) -> Path:
    return Path(settings.HOME) / FOLDER / f"{asked.token}.zip"


@transaction.atomic
def take_pack(row: OutboxMessage, *, by: Post) -> Path:
    """The file of a pack that is ready; the download goes into the trail. Raises NotYourEvidence, EvidencePackGone."""
    rules.check_may_take_packs(by)
    asked = PackAsked.of(row)
    if asked.state != PackState.READY or not file_of(asked).is_file():
        raise EvidencePackGone
    _note("exchange.evidence.download", Node.objects.get(pk=asked.gateway), asked, by)
    return file_of(asked)


def _note(action: str, gateway: Node, asked: PackAsked, by: Post) -> None:
    trail.record(
        action,
        by=by.actor,
        about=trail.subject(gateway),
        pack=asked.token[:12],
        since=asked.since,
        until=asked.until,
        records=asked.records,
    )


def forget_packs() -> int:
    """Remove the files of packs that were asked for a week ago, and what killed workers left half written; how many packs."""
    before, removed = moments.now() - KEPT, 0
    kept = (PackState.READY.value, *(state.value for state in LIVE))
    for row in OutboxMessage.objects.filter(topic=TOPIC, created_at__lt=before, body__state__in=kept):
        file_of(PackAsked.of(row)).unlink(missing_ok=True)
        _tell(row, state=PackState.REMOVED.value)
        removed += 1
    for half in (Path(settings.HOME) / FOLDER).glob(".*.zip.*"):
        if time.time() - half.stat().st_mtime > KEPT.total_seconds():
            half.unlink(missing_ok=True)
    return removed
