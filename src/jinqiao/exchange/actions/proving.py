"""A call proved to whoever may see it: its one record with the path to an anchor, as a statement that the platform signs; and
so the receipt of a run.

It holds digests of other records only, and `jinqiao verify` checks it without the platform.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange.actions.anchors import node_entries, platform_entry
from jinqiao.exchange.actions.evidence import lines_of
from jinqiao.exchange.actions.platform import platform_identity, public_identity
from jinqiao.exchange.errors import ReceiptMissing
from jinqiao.exchange.models import Call, EvidenceAnchor, EvidenceSegment, ExchangeReceipt, Run
from jinqiao.exchange.queries.visible import calls_visible_to, runs_visible_to
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import CallRecord, SignedReceipt, read_line
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.identity import sign_message
from jinqiao.kernel.evidence.batches import StoredBatch, split_leaves
from jinqiao.kernel.evidence.proofs import CallNotInEvidence, Covering, Found, NotAnchored, proof_of_record

WITNESSED_WITHIN = timedelta(hours=1)
"""An anchor so much later is taken instead of the first one, where a node of another department has countersigned it."""


@transaction.atomic
def prove_call(call: Call, *, by: Post) -> SignedMessage:
    """The proof of a call's record: a signed InclusionProof. It goes into the trail.

    Raises CallNotInEvidence, where the post may not see the call or its record was deleted after its time; NotAnchored.
    """
    if not calls_visible_to(by).filter(pk=call.pk).exists():
        raise CallNotInEvidence(call=call.call_id)
    found = _found(call)
    anchor = _anchor(call, found.batch.batch)
    witness = anchor.witness if anchor.countersignature else None
    proof = proof_of_record(
        call.gateway.number,
        public_identity(call.gateway).suite,
        found,
        Covering(SignedMessage.from_json(anchor.body), _roots(call, found, anchor), _words(anchor)),
        [*node_entries(call.gateway), platform_entry(), *(node_entries(witness) if witness else ())],
    )
    trail.record(
        "exchange.evidence.prove",
        by=by.actor,
        about=trail.subject(call, call.call_id),
        gateway=call.gateway.number,
        lane=call.lane,
        batch=found.batch.batch,
        record=call.number,
    )
    return sign_message(proof, platform_identity())


@transaction.atomic
def prove_receipt(run: Run, *, by: Post) -> SignedMessage:
    """The receipt of a run with both signatures as they were made: a signed SignedReceipt. It goes into the trail.

    Raises ReceiptMissing, also where the post may not see the run.
    """
    receipt = ExchangeReceipt.objects.select_related("sender", "receiver").filter(run=run).first()
    if receipt is None or not runs_visible_to(by).filter(pk=run.pk).exists():
        raise ReceiptMissing(run=run.number)
    known = [*node_entries(receipt.sender)]
    if receipt.receiver_id != receipt.sender_id:
        known += node_entries(receipt.receiver)
    suites = {str(entry.identity.get("key_id")): str(entry.identity.get("suite")) for entry in known}

    def side(key_id: str, signature: str) -> SignedMessage:
        suite = suites.get(key_id, settings.CRYPTO_SUITE)
        return SignedMessage(body=receipt.body, key_id=key_id, suite=suite, signature=signature)

    signed = SignedReceipt(
        sender=side(receipt.sender_key_id, receipt.sender_signature),
        receiver=side(receipt.receiver_key_id, receipt.receiver_signature) if receipt.receiver_signature else None,
        identities=(*known, platform_entry()),
    )
    trail.record(
        "exchange.receipt.export", by=by.actor, about=trail.subject(run, run.number), batch=receipt.batch_digest[:16]
    )
    return sign_message(signed, platform_identity())


def _found(call: Call) -> Found:
    segment = EvidenceSegment.objects.filter(
        gateway_id=call.gateway_id, lane=call.lane, first_number__lte=call.number, last_number__gte=call.number
    ).first()
    lines = lines_of(segment) if segment is not None else None
    if segment is None or lines is None:
        raise CallNotInEvidence(call=call.call_id)
    try:
        line = lines[call.number - segment.first_number]
        record = read_line(line)
    except (IndexError, ContractBroken, ValueError) as problem:
        raise CallNotInEvidence(call=call.call_id) from problem
    if not isinstance(record, CallRecord) or record.call_id != call.call_id:
        raise CallNotInEvidence(call=call.call_id)
    batch = StoredBatch(
        batch=segment.batch,
        first=segment.first_number,
        root=bytes.fromhex(segment.merkle_root),
        previous=bytes.fromhex(segment.previous),
        chain=bytes.fromhex(segment.chain),
        leaves=split_leaves(bytes(segment.leaves)),
        lines=None,
    )
    return Found(call.lane, batch, call.number, line, record)


def _anchor(call: Call, batch: int) -> EvidenceAnchor:
    """The first anchor at or after the record; one that another department has countersigned, if it came soon after."""
    covering = EvidenceAnchor.objects.filter(gateway_id=call.gateway_id, lane=call.lane, batch__gte=batch)
    covering = covering.select_related("witness")
    first = covering.order_by("batch", "at", "id").first()
    if first is None:
        raise NotAnchored(call=call.call_id)
    witnessed = covering.exclude(countersignature=None).filter(at__lte=first.at + WITNESSED_WITHIN)
    return witnessed.order_by("batch", "at", "id").first() or first


def _roots(call: Call, found: Found, anchor: EvidenceAnchor) -> list[str]:
    between = EvidenceSegment.objects.filter(
        gateway_id=call.gateway_id, lane=call.lane, batch__gt=found.batch.batch, batch__lte=anchor.batch
    )
    return list(between.order_by("batch").values_list("merkle_root", flat=True))


def _words(anchor: EvidenceAnchor) -> list[SignedMessage]:
    words = (anchor.platform_countersignature, anchor.countersignature)
    return [SignedMessage.from_json(word) for word in words if word]
