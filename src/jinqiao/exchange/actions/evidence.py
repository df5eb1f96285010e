"""Records of calls as gateways ship them: verified link by link over the very bytes that were recorded, then kept and read."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import fields

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange.actions.anomalies import watch_late
from jinqiao.exchange.actions.confirming import pair_receipts
from jinqiao.exchange.actions.evidence_alerts import note_taken, tell_broken
from jinqiao.exchange.actions.platform import node_actor, public_identity
from jinqiao.exchange.actions.tallies import count_calls
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import EvidenceBroken, EvidenceGap, NodeKindWrong
from jinqiao.exchange.models import Call, CallSubject, EvidenceSegment, Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import RECEIPT, BodiesDeleted, CallRecord, EvidenceBatch, error_owner, read_line
from jinqiao.kernel.contracts.policy import Environment
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.signers import has_moments
from jinqiao.sharing.actions import mark_provided
from jinqiao.sharing.models import Grant

MOST_COUNTED = 2**31 - 1
"""What the column of a count holds."""


@transaction.atomic
def accept_evidence(gateway: Node, batch: EvidenceBatch) -> EvidenceSegment:
    """Verify a batch and keep its calls. A batch that was kept already is confirmed without change.

    Raises:
        EvidenceGap: an earlier batch of the lane is missing; `expected` names it.
        EvidenceBroken: root, chain, order or gateway do not hold, a kept batch comes again with other content, or a record tells of
            another department's data.
    """
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    Node.objects.select_for_update(of=("self",)).get(pk=gateway.pk)
    last = EvidenceSegment.objects.filter(gateway=gateway, lane=batch.lane).order_by("-batch").first()
    expected = last.batch + 1 if last else 1

    def broken(reason: str) -> EvidenceBroken:
        return EvidenceBroken(gateway=gateway.number, lane=batch.lane, batch=batch.batch, reason=reason)

    if batch.batch < 1 or not batch.lines:
        raise broken("empty")
    if batch.batch < expected:
        kept = EvidenceSegment.objects.get(gateway=gateway, lane=batch.lane, batch=batch.batch)
        if (kept.merkle_root, kept.chain) != (batch.merkle_root, batch.chain):
            raise broken("rewritten")
        return kept
    if batch.batch > expected:
        raise EvidenceGap(gateway=gateway.number, lane=batch.lane, batch=batch.batch, expected=expected)
    if batch.previous != (last.chain if last else merkle.GENESIS.hex()):
        raise broken("previous")
    number = last.last_number + 1 if last else 1
    by = suite(public_identity(gateway).suite)
    try:
        leaves = [merkle.leaf(by.digest, line.encode("utf-8")) for line in batch.lines]
        root = merkle.root(by.digest, leaves)
        if root.hex() != batch.merkle_root:
            raise broken("root")
        if merkle.link(by.digest, bytes.fromhex(batch.previous), root).hex() != batch.chain:
            raise broken("chain")
        records = [_placed(line, gateway, batch.lane, number + at) for at, line in enumerate(batch.lines)]
    except (ContractBroken, ValueError, RecursionError) as problem:
        raise broken("record") from problem
    if None in records:
        raise broken("record")
    placed = [record for record in records if record is not None]
    calls = [record for record in placed if isinstance(record, CallRecord)]
    if _is_of_others(gateway, calls):
        raise broken("provider")
    if _is_known(calls):
        raise broken("call_id")
    segment = EvidenceSegment.objects.create(
        gateway=gateway,
        lane=batch.lane,
        batch=batch.batch,
        first_number=number,
        last_number=number + len(batch.lines) - 1,
        merkle_root=batch.merkle_root,
        previous=batch.previous,
        chain=batch.chain,
        received_at=moments.now(),
        latest_at=max(record.at for record in placed),
        leaves=b"".join(leaves),
        lines=zlib.compress("\n".join(batch.lines).encode("utf-8"), 6),
    )
    _keep_calls(gateway, calls)
    note_taken(gateway, batch.lane, batch.batch, is_anchor=False)
    return segment


def _is_of_others(gateway: Node, calls: Sequence[CallRecord]) -> bool:
    """A gateway answers for its own department, that of the authority for all: of others' data, and by others' grants, it has nothing to
    tell (`gateway_for`). What it says stands in their lists, and may suspend a grant."""
    organisation = gateway.organisation
    if organisation.is_authority:
        return False
    if any(call.provider not in ("", organisation.credit_code) for call in calls):
        return True
    granted = {call.grant_id for call in calls if call.grant_id}
    return Grant.objects.filter(number__in=granted).exclude(provider=organisation).exists()


def _is_known(calls: Sequence[CallRecord]) -> bool:
    """A number of a call stands in one record only."""
    numbers = {call.call_id for call in calls}
    return len(numbers) < len(calls) or Call.objects.filter(call_id__in=numbers).exists()


def _placed(line: str, gateway: Node, lane: str, number: int) -> CallRecord | BodiesDeleted | None:
    """What a line says; None where it belongs to another place or cannot be kept. Raises ContractBroken, ValueError."""
    if "\n" in line:
        return None
    told = json.loads(line)
    record = read_line(line)
    where = (told.get("lane"), told.get("number"), told.get("gateway"))
    return record if where == (lane, number, gateway.number) and _can_be_kept(record) else None


def _can_be_kept(record: CallRecord | BodiesDeleted) -> bool:
    """Whether it fits into the tables. No gateway of ours writes another; one that does gets a refusal, which is told."""
    if not has_moments(record):
        return False
    if not isinstance(record, CallRecord):
        return True
    counts = (
        record.keys,
        record.rows,
        min(record.duration_us, MOST_COUNTED),
    )  # a machine may have stood still in a call
    texts = (getattr(record, field.name) for field in fields(CallRecord))
    return all(0 <= count <= MOST_COUNTED for count in counts) and not any(
        "\x00" in part for text in texts for part in (text if isinstance(text, tuple) else (str(text),))
    )


def _keep_calls(gateway: Node, records: Sequence[CallRecord]) -> None:
    count_calls(gateway, Call.objects.bulk_create([_call(gateway, record) for record in records], batch_size=500))
    CallSubject.objects.bulk_create(_subjects(gateway, records), batch_size=500)
    pair_receipts(records)
    watch_late(records)
    answered = {
        record.grant_id
        for record in records
        if record.outcome == "ok" and record.environment == Environment.PRODUCTION and record.operation != RECEIPT
    }
    for grant in Grant.objects.filter(number__in=answered, provided_at=None).order_by("id"):
        mark_provided(grant)


def lines_of(segment: EvidenceSegment) -> tuple[str, ...] | None:
    """The records of a segment as they came; None once they were deleted after their time."""
    if segment.lines is None:
        return None
    return tuple(zlib.decompress(bytes(segment.lines)).decode("utf-8").split("\n"))


def _subjects(gateway: Node, records: Sequence[CallRecord]) -> list[CallSubject]:
    about = {record.call_id: record for record in records if record.subjects}
    calls = Call.objects.filter(gateway=gateway, call_id__in=about).in_bulk(field_name="call_id")
    return [
        CallSubject(call=calls[call_id], commitment=commitment[:100], at=record.at)
        for call_id, record in about.items()
        for commitment in dict.fromkeys(record.subjects)
    ]


def _call(gateway: Node, record: CallRecord) -> Call:
    return Call(
        call_id=record.call_id,
        gateway=gateway,
        lane=record.lane,
        number=record.number,
        at=record.at,
        service=record.service[:60],
        grant_number=record.grant_id[:40],
        application=record.application[:40],
        consumer=record.consumer[:18],
        provider=record.provider[:18],
        purpose=record.purpose[:200],
        case_number=record.case_number[:100],
        environment=record.environment[:12],
        operation=record.operation[:12],
        end_user=record.end_user[:100],
        address=record.address[:45],
        outcome=record.outcome[:80],
        error_owner=error_owner(record.outcome),
        keys=record.keys,
        rows=record.rows,
        duration_us=min(record.duration_us, MOST_COUNTED),
        confirms=record.confirms[:40],
        answer_commitment=record.answer_commitment[:128],
        record=record.to_json(),
    )


@transaction.atomic
def note_broken(gateway: Node, error: EvidenceBroken) -> None:
    """Evidence that does not hold is an event of its own, and an alert to the authority and to who audits; the gateway keeps the batch
    and goes on offering it."""
    lane, batch, reason = (error.details.get(name, "") for name in ("lane", "batch", "reason"))
    tell_broken(gateway, lane=str(lane)[:40], batch=int(batch or 0), reason=str(reason))
    trail.record(
        "exchange.evidence.accept",
        by=node_actor(gateway),
        about=trail.subject(gateway),
        outcome=Outcome.FAILED,
        lane=str(lane),
        batch=int(batch or 0),
        reason=str(reason),
    )
