"""Anchors of a gateway: held against its batches, countersigned at once by the platform, and by a node of another department."""

import base64
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.dataplane.evidence.anchors import anchor_digest
from jinqiao.dataplane.node.errors import AnchorContradicts, AnchorNotOfGateway
from jinqiao.dataplane.node.witness import countersign, seen_anchors
from jinqiao.exchange import actions
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.errors import EvidenceBroken, EvidenceGap
from jinqiao.exchange.models import EvidenceAnchor, Node, NodeIdentity
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.evidence import (
    PLATFORM,
    Anchor,
    AnchorsOffered,
    AnchorsTaken,
    Countersignature,
    EvidenceBatch,
)
from jinqiao.kernel.contracts.exchange import Command, CommandKind, CommandResult, NodeRotation, SignedMessage
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, open_message, sign_message
from tests.exchange.factories import NodeHands, Served, call_record, evidence_batches

pytestmark = pytest.mark.django_db


def shipped(served: Served, count: int = 2) -> list[EvidenceBatch]:
    batches = evidence_batches(*([call_record(served, number)] for number in range(1, count + 1)))
    for batch in batches:
        actions.accept_evidence(served.gateway.node, batch)
    return batches


def anchor_of(served: Served, of: EvidenceBatch, identity: Identity | None = None, **changes: object) -> SignedMessage:
    word = Anchor(
        gateway=served.gateway.node.number,
        lane=of.lane,
        batch=of.batch,
        number=of.batch,
        chain=of.chain,
        at=moments.now(),
    )
    return sign_message(replace(word, **changes), identity or served.gateway.identity)


def offer(served: Served, *messages: SignedMessage, unwitnessed: tuple[str, ...] = ()) -> AnchorsTaken:
    gateway = Node.objects.get(pk=served.gateway.node.pk)
    answer = actions.take_anchors(gateway, AnchorsOffered(anchors=messages, unwitnessed=unwitnessed))
    return open_message(answer, platform_identity().public, AnchorsTaken)


def witness_of(served: Served) -> NodeHands:
    """The consumer's node, which polls and so is seen."""
    hands = served.world.consumer_node
    hands.poll()
    return hands


def answer(hands: NodeHands, command: Command, folder: Path) -> CommandResult:
    word = countersign(command, folder, node_id=hands.node.number, identity=hands.identity)
    return CommandResult(command_id=command.id, ok=True, countersignature=word, finished_at=moments.now())


def test_the_platform_countersigns_at_once(served: Served) -> None:
    (_, last) = shipped(served)
    message = anchor_of(served, last)

    taken = offer(served, message)

    (word,) = [open_message(one, platform_identity().public, Countersignature) for one in taken.countersignatures]
    assert (word.witness, word.anchor) == (PLATFORM, message.to_json())
    assert [entry.node for entry in taken.identities] == [PLATFORM]
    again = offer(served, message)
    assert again.countersignatures == taken.countersignatures
    assert EvidenceAnchor.objects.count() == 1


def test_a_node_of_another_department_countersigns_and_the_gateway_hears_of_it(served: Served, tmp_path: Path) -> None:
    hands = witness_of(served)
    (_, last) = shipped(served)
    message = anchor_of(served, last)
    offer(served, message)

    command = hands.take(CommandKind.COUNTERSIGN)
    hands.answer(answer(hands, command, tmp_path))

    kept = EvidenceAnchor.objects.get()
    assert kept.witness == hands.node
    taken = offer(served, unwitnessed=(anchor_digest(message),))
    (one,) = taken.countersignatures
    entry = next(entry for entry in taken.identities if entry.node == hands.node.number)
    word = open_message(one, PublicIdentity.from_json(entry.identity), Countersignature)
    assert (word.witness, word.anchor) == (hands.node.number, message.to_json())
    assert seen_anchors(tmp_path) == [message.canonical().decode()]


def test_no_node_of_the_gateways_own_department_is_asked(served: Served) -> None:
    served.world.provider_node.poll()
    (_, last) = shipped(served)
    offer(served, anchor_of(served, last))

    assert not [command for command in served.world.provider_node.poll() if command.kind is CommandKind.COUNTERSIGN]
    asked = EvidenceAnchor.objects.get().asked
    assert asked is None or asked.node.organisation != served.gateway.node.organisation


def test_one_question_at_a_time_is_put_to_witnesses(served: Served) -> None:
    hands = witness_of(served)
    first, last = shipped(served)
    offer(served, anchor_of(served, first), anchor_of(served, last))

    assert len([command for command in hands.poll() if command.kind is CommandKind.COUNTERSIGN]) == 1


def test_an_anchor_of_batches_that_have_not_come_is_asked_for_later(served: Served) -> None:
    (first,) = shipped(served, 1)

    with pytest.raises(EvidenceGap) as caught:
        offer(served, anchor_of(served, first, batch=2))
    assert caught.value.details["expected"] == 2


@pytest.mark.parametrize("changes", [{"chain": "00" * 32}, {"number": 9}, {"gateway": "another"}])
def test_an_anchor_that_contradicts_the_batches_is_refused(served: Served, changes: dict[str, object]) -> None:
    (first,) = shipped(served, 1)

    with pytest.raises(EvidenceBroken) as caught:
        offer(served, anchor_of(served, first, **changes))
    assert caught.value.details["reason"] == "anchor"
    assert not EvidenceAnchor.objects.exists()


@pytest.mark.parametrize("at", ["2026-03-18T01:00:00", "9999-12-31T23:59:59-23:59"])
def test_an_anchor_of_a_time_that_is_no_moment_is_refused(served: Served, at: str) -> None:
    (first,) = shipped(served, 1)

    with pytest.raises(EvidenceBroken):
        offer(served, anchor_of(served, first, at=datetime.fromisoformat(at)))
    assert not EvidenceAnchor.objects.exists()


def test_an_anchor_of_somebody_else_is_refused(served: Served) -> None:
    (first,) = shipped(served, 1)

    with pytest.raises(EvidenceBroken):
        offer(served, anchor_of(served, first, Identity.generate()))


def test_a_witness_refuses_what_contradicts_its_own_memory(served: Served, tmp_path: Path) -> None:
    first, last = shipped(served)
    public = served.gateway.identity.public.to_json()

    def ask(message: SignedMessage) -> SignedMessage:
        command = Command(
            id="c", kind=CommandKind.COUNTERSIGN, anchor=message, anchor_identity=public, issued_at=moments.now()
        )
        return countersign(command, tmp_path, node_id="w", identity=Identity.generate())

    ask(anchor_of(served, last))
    ask(anchor_of(served, last))  # the same head at another minute
    with pytest.raises(AnchorContradicts):
        ask(anchor_of(served, last, chain="11" * 32))
    with pytest.raises(AnchorContradicts):
        ask(anchor_of(served, first))  # back behind what was seen
    with pytest.raises(AnchorNotOfGateway):
        ask(anchor_of(served, last, Identity.generate(), batch=3))


def test_a_refusal_of_the_witness_is_an_event_of_the_trail(served: Served) -> None:
    hands = witness_of(served)
    (first,) = shipped(served, 1)
    offer(served, anchor_of(served, first))
    command = hands.take(CommandKind.COUNTERSIGN)

    hands.answer(hands.failed(command, "node.witness.contradiction", retryable=False))

    event = AuditEvent.objects.get(action="exchange.anchor.refuse")
    assert event.outcome == "failed"
    assert EvidenceAnchor.objects.get().countersignature is None


def test_a_countersignature_by_another_key_does_not_count(served: Served, tmp_path: Path) -> None:
    hands = witness_of(served)
    (first,) = shipped(served, 1)
    offer(served, anchor_of(served, first))
    command = hands.take(CommandKind.COUNTERSIGN)
    forged = countersign(command, tmp_path, node_id=hands.node.number, identity=Identity.generate())

    hands.answer(CommandResult(command_id=command.id, ok=True, countersignature=forged, finished_at=moments.now()))

    assert EvidenceAnchor.objects.get().countersignature is None


def test_a_gateway_changes_its_key_and_anchors_of_before_are_still_taken(served: Served) -> None:
    first, last = shipped(served)
    old, new = served.gateway.identity, Identity.generate()
    rotation = NodeRotation(node_id=served.gateway.node.number, identity=new.public.to_json(), resealed={})
    proof = base64.b64encode(new.sign(rotation.canonical())).decode()

    told = actions.rotate_identity(served.gateway.node, replace(rotation, proof=proof))

    assert told.key_id == new.key_id
    assert served.key.sealed_secret in told.sealed  # and the password of the source that the gateway reads
    resealed = {text: new.public.seal(old.unseal(text)) for text in told.sealed}
    word = replace(rotation, resealed=resealed)
    word = replace(word, proof=base64.b64encode(new.sign(word.canonical())).decode())
    gateway = Node.objects.get(pk=served.gateway.node.pk)
    assert actions.rotate_identity(gateway, word).sealed == ()
    served.key.refresh_from_db()
    assert new.unseal(served.key.sealed_secret) == served.secret.encode()
    assert {row.key_id: row.until is None for row in NodeIdentity.objects.filter(node=gateway)} == {
        old.key_id: False,
        new.key_id: True,
    }
    offer(served, anchor_of(served, first, old), anchor_of(served, last, new))
    assert EvidenceAnchor.objects.count() == 2
