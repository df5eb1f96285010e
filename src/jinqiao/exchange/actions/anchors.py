"""Anchors of gateways at the centre: verified against its own segments, countersigned at once, and shown to a node of another
department, which countersigns with its own identity. The centre alone could not rewrite what another department has signed."""

import json
from datetime import timedelta

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.exchange.actions.commanding import OPEN, command_node
from jinqiao.exchange.actions.evidence_alerts import (
    ANCHOR,
    lanes_of,
    note_taken,
    note_witnessed,
    possible_witnesses,
    tell_refused,
)
from jinqiao.exchange.actions.platform import node_actor, platform_identity, public_identity
from jinqiao.exchange.enums import CommandState, NodeKind, NodeState
from jinqiao.exchange.errors import EvidenceBroken, EvidenceGap, NodeKindWrong
from jinqiao.exchange.models import EvidenceAnchor, EvidenceSegment, Node, NodeCommand, NodeIdentity
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import (
    PLATFORM,
    Anchor,
    AnchorsOffered,
    AnchorsTaken,
    Countersignature,
    KnownIdentity,
    is_lane,
)
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, SignedMessage
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import PublicIdentity, open_message, sign_message
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.evidence.signers import has_moments

SEEN_WITHIN = timedelta(minutes=5)
ASK_ANOTHER_AFTER = timedelta(minutes=10)
MOST_TOLD = 200
REFUSALS = frozenset({"node.witness.contradiction", "node.witness.signature"})
"""What a witness says of an anchor, not of its own trouble."""


def take_anchors(gateway: Node, offered: AnchorsOffered) -> SignedMessage:
    """Keep a gateway's anchors and answer with countersignatures, as a signed AnchorsTaken. The same anchors may come again.

    Raises NodeKindWrong; EvidenceGap where the batch of an anchor has not arrived; EvidenceBroken where an anchor is not the
    gateway's or says something else than the batches that it shipped.
    """
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    kept = [_take(gateway, message) for message in offered.anchors]
    told = list(
        EvidenceAnchor.objects.filter(gateway=gateway, digest__in=offered.unwitnessed[:MOST_TOLD])
        .exclude(countersignature=None)
        .select_related("witness")
    )
    words = [anchor.platform_countersignature for anchor in kept] + [anchor.countersignature for anchor in told]
    witnesses = {anchor.witness for anchor in told if anchor.witness is not None}
    taken = AnchorsTaken(
        countersignatures=tuple(SignedMessage.from_json(word) for word in words if word),
        identities=(platform_entry(), *(entry for witness in witnesses for entry in node_entries(witness))),
    )
    return sign_message(taken, platform_identity())


@transaction.atomic
def _take(gateway: Node, message: SignedMessage) -> EvidenceAnchor:
    digest = suite(public_identity(gateway).suite).digest(message.canonical()).hex()
    Node.objects.select_for_update(of=("self",)).get(pk=gateway.pk)
    known = EvidenceAnchor.objects.filter(gateway=gateway, digest=digest).first()
    if known is not None:
        return known
    anchor = _opened(gateway, message)
    segment = EvidenceSegment.objects.filter(gateway=gateway, lane=anchor.lane, batch=anchor.batch).first()
    if segment is None:
        last = EvidenceSegment.objects.filter(gateway=gateway, lane=anchor.lane).order_by("-batch").first()
        expected = last.batch + 1 if last else 1
        raise EvidenceGap(gateway=gateway.number, lane=anchor.lane, batch=anchor.batch, expected=expected)
    if (segment.chain, segment.last_number) != (anchor.chain, anchor.number):
        raise _broken(gateway, anchor.lane, anchor.batch)
    now = moments.now()
    word = Countersignature(anchor=message.to_json(), witness=PLATFORM, seen_at=now)
    kept, _made = EvidenceAnchor.objects.get_or_create(
        gateway=gateway,
        lane=anchor.lane,
        batch=anchor.batch,
        at=anchor.at,
        defaults={
            "chain": anchor.chain,
            "body": message.to_json(),
            "digest": digest,
            "platform_countersignature": sign_message(word, platform_identity()).to_json(),
        },
    )
    _ask_witness(gateway, kept, message)
    note_taken(gateway, anchor.lane, anchor.batch, is_anchor=True)
    return kept


def _opened(gateway: Node, message: SignedMessage) -> Anchor:
    public = next(
        (PublicIdentity.from_json(entry.identity) for entry in node_entries(gateway) if _key(entry) == message.key_id),
        None,
    )
    try:
        if public is None:
            raise SignatureInvalid(key_id=message.key_id)
        anchor = open_message(message, public, Anchor)
    except (SignatureInvalid, ContractBroken) as problem:
        lane = message.body.get("lane")
        raise _broken(gateway, lane if is_lane(lane) else "", 0) from problem
    if anchor.gateway != gateway.number or not has_moments(anchor):
        raise _broken(gateway, anchor.lane, anchor.batch)
    return anchor


def _broken(gateway: Node, lane: str, batch: int) -> EvidenceBroken:
    return EvidenceBroken(gateway=gateway.number, lane=lane, batch=batch, reason=ANCHOR)


# ── the witness ──


def _ask_witness(gateway: Node, anchor: EvidenceAnchor, message: SignedMessage) -> None:
    """Hand the anchor to a node of another department. One question a lane at a time: a later anchor covers the earlier ones;
    a node that does not answer is not waited for long."""
    now = moments.now()
    asked = NodeCommand.objects.filter(
        kind=CommandKind.COUNTERSIGN.value, state__in=OPEN, anchors__gateway=gateway, anchors__lane=anchor.lane
    )
    if asked.filter(created_at__gt=now - ASK_ANOTHER_AFTER).exists():
        return
    asked.update(state=CommandState.CANCELLED, finished_at=now)
    nodes = list(possible_witnesses(gateway).filter(seen_at__gt=now - SEEN_WITHIN).order_by("pk"))
    if anchor.asked is not None and len(nodes) > 1:  # asked again: somebody else
        nodes = [node for node in nodes if node.pk != anchor.asked.node_id]
    if not nodes:
        return
    witness = nodes[int(anchor.digest[:8], 16) % len(nodes)]
    identity = next(entry.identity for entry in node_entries(gateway) if _key(entry) == message.key_id)
    anchor.asked = command_node(witness, CommandKind.COUNTERSIGN, anchor=message, anchor_identity=identity)
    anchor.save(update_fields=["asked"])


def ask_missing_witnesses() -> int:
    """Ask again where the last anchor of a lane has no countersignature: when it came nobody could be asked, or who was asked did not
    answer well. Without this a lane in which nothing moves any more would stay without. Gives how many were asked."""
    gateways = Node.objects.filter(kind=NodeKind.GATEWAY, state=NodeState.ACTIVE).order_by("pk")
    return sum(_ask_again(gateway, lane) for gateway in list(gateways) for lane in list(lanes_of(gateway)))


@transaction.atomic
def _ask_again(gateway: Node, lane: str) -> bool:
    Node.objects.select_for_update(of=("self",)).get(pk=gateway.pk)
    anchors = EvidenceAnchor.objects.filter(gateway=gateway, lane=lane)
    last = anchors.select_related("asked").order_by("-batch", "-at").first()
    if (
        last is None
        or last.countersignature is not None
        or anchors.filter(batch=last.batch, witness__isnull=False).exists()
    ):
        return False
    if last.asked is not None and last.asked.created_at > moments.now() - ASK_ANOTHER_AFTER:
        return False
    before = last.asked_id
    _ask_witness(gateway, last, SignedMessage.from_json(last.body))
    return last.asked_id != before


def take_countersignature(command: NodeCommand, result: CommandResult) -> None:
    """A witness has answered. What does not hold is an event of the trail and an alert, and so is a refusal: another node says that
    this anchor contradicts one that it has seen before. A node that has some other trouble is no such word: another is asked."""
    anchor = EvidenceAnchor.objects.select_for_update(of=("self",)).filter(asked=command).first()
    if anchor is None:
        return
    word = result.countersignature
    if not result.ok or word is None or not _holds(command.node, anchor, word):
        trail.record(
            "exchange.anchor.refuse",
            by=node_actor(command.node),
            about=trail.subject(anchor.gateway),
            outcome=Outcome.FAILED,
            lane=anchor.lane,
            batch=anchor.batch,
            code=result.problem.code if result.problem else "signature",
        )
        if result.problem is None:
            tell_refused(anchor, command.node, reason="countersignature")
        elif result.problem.code in REFUSALS:
            tell_refused(anchor, command.node, code=result.problem.code)
        return
    anchor.witness, anchor.countersignature, anchor.countersigned_at = command.node, word.to_json(), moments.now()
    anchor.save(update_fields=["witness", "countersignature", "countersigned_at"])
    note_witnessed(anchor, command.node)


def _holds(witness: Node, anchor: EvidenceAnchor, message: SignedMessage) -> bool:
    for entry in node_entries(witness):
        if _key(entry) == message.key_id:
            try:
                word = open_message(message, PublicIdentity.from_json(entry.identity), Countersignature)
            except (SignatureInvalid, ContractBroken):
                return False
            return word.witness == witness.number and _same(word.anchor, anchor.body)
    return False


def _same(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def drop_old_questions() -> int:
    """Questions to witnesses that were answered or given up a week ago are no longer needed: the anchor has the answer."""
    before = moments.now() - timedelta(days=7)
    old = NodeCommand.objects.filter(kind=CommandKind.COUNTERSIGN.value, created_at__lt=before).exclude(state__in=OPEN)
    return old.delete()[0]


# ── identities, for who verifies ──


def platform_entry() -> KnownIdentity:
    return KnownIdentity(node=PLATFORM, kind="platform", identity=platform_identity().public.to_json())


def node_entries(node: Node) -> list[KnownIdentity]:
    """The public identities that a node has or had, each with its time."""
    kind = "gateway" if node.kind == NodeKind.GATEWAY else "node"
    rows = list(NodeIdentity.objects.filter(node=node).order_by("since"))
    found = [
        KnownIdentity(node=node.number, kind=kind, identity=row.identity, since=row.since, until=row.until)
        for row in rows
    ]
    if node.identity and node.key_id not in {row.key_id for row in rows}:
        found.append(
            KnownIdentity(node=node.number, kind=kind, identity=node.identity, since=node.registered_at, until=None)
        )
    return found


def _key(entry: KnownIdentity) -> str:
    return str(entry.identity.get("key_id"))
