"""A node's new key at the platform: proved, written down, and no password entered again."""

import base64
from dataclasses import replace

import pytest

from jinqiao.audit.models import AuditEvent
from jinqiao.exchange import actions
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.errors import IdentityTaken, RotationRefused, SuiteMismatch
from jinqiao.exchange.models import ExchangeReceipt, Node, NodeIdentity
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.kernel.contracts.exchange import CommandKind, NodeRotated, NodeRotation
from jinqiao.kernel.crypto.errors import IdentityBroken
from jinqiao.kernel.crypto.identity import Identity, sealed_to
from tests.exchange.factories import NodeHands, World

pytestmark = pytest.mark.django_db


def word(hands: NodeHands, new: Identity, **resealed: str) -> NodeRotation:
    unproved = NodeRotation(node_id=hands.node.number, identity=new.public.to_json(), resealed=resealed)
    return replace(unproved, proof=base64.b64encode(new.sign(unproved.canonical())).decode())


def rotated(hands: NodeHands, new: Identity) -> NodeRotated:
    hands.node.refresh_from_db()
    return actions.rotate_identity(hands.node, word(hands, new))


def test_the_new_key_is_known_the_old_one_kept_and_passwords_come_sealed_anew(world: World) -> None:
    hands, new = world.provider_node, Identity.generate()
    old = hands.identity
    answer = rotated(hands, new)
    assert answer.key_id == new.key_id
    assert [sealed_to(text) for text in answer.sealed] == [old.key_id]
    resealed = {text: new.public.seal(old.unseal(text)) for text in answer.sealed}
    hands.node.refresh_from_db()
    unproved = NodeRotation(node_id=hands.node.number, identity=new.public.to_json(), resealed=resealed)
    again = replace(unproved, proof=base64.b64encode(new.sign(unproved.canonical())).decode())
    assert actions.rotate_identity(hands.node, again).sealed == ()

    hands.node.refresh_from_db()
    world.source.refresh_from_db()
    assert hands.node.key_id == new.key_id
    assert new.unseal(world.source.sealed_password) == b"s3cret-of-the-source"
    former, present = NodeIdentity.objects.filter(node=hands.node).order_by("since")
    assert (former.key_id, present.key_id) == (old.key_id, new.key_id)
    assert former.until is not None
    assert present.until is None
    assert AuditEvent.objects.get(action="exchange.node.rotate").details["former"] == old.key_id
    assert AuditEvent.objects.filter(action="exchange.source.reseal").count() == 1
    assert rotated(hands, new).sealed == ()  # said again: nothing changes
    assert NodeIdentity.objects.filter(node=hands.node).count() == 2


def test_a_password_that_was_changed_meanwhile_is_not_overwritten(world: World) -> None:
    hands, new = world.provider_node, Identity.generate()
    answer = rotated(hands, new)
    (text,) = answer.sealed
    hands.node.refresh_from_db()
    actions.change_password(world.source, by=world.parties.clerk, password="newer")
    unproved = NodeRotation(
        node_id=hands.node.number, identity=new.public.to_json(), resealed={text: new.public.seal(b"older")}
    )
    proved = replace(unproved, proof=base64.b64encode(new.sign(unproved.canonical())).decode())
    assert actions.rotate_identity(hands.node, proved).sealed == ()
    world.source.refresh_from_db()
    assert new.unseal(world.source.sealed_password) == b"newer"


def test_what_is_not_sealed_to_the_new_key_is_not_taken(world: World) -> None:
    hands, new = world.provider_node, Identity.generate()
    (text,) = rotated(hands, new).sealed
    hands.node.refresh_from_db()
    for wrong in ("", "no seal", Identity.generate().public.seal(b"x")):
        unproved = NodeRotation(node_id=hands.node.number, identity=new.public.to_json(), resealed={text: wrong})
        proved = replace(unproved, proof=base64.b64encode(new.sign(unproved.canonical())).decode())
        assert actions.rotate_identity(hands.node, proved).sealed == (text,)


def test_a_key_that_is_not_proved_or_not_meant_for_this_node_is_refused(world: World) -> None:
    hands, new = world.provider_node, Identity.generate()
    good = word(hands, new)
    for bad in (
        replace(good, proof=""),
        replace(good, proof="&&&"),
        replace(good, proof=base64.b64encode(Identity.generate().sign(replace(good, proof="").canonical())).decode()),
        replace(good, resealed={"a": "b"}),
        word(world.consumer_node, new),
    ):
        with pytest.raises(RotationRefused):
            actions.rotate_identity(hands.node, bad)
    with pytest.raises(SuiteMismatch):
        actions.rotate_identity(hands.node, word(hands, Identity.generate("guomi")))
    with pytest.raises(IdentityBroken):
        actions.rotate_identity(hands.node, replace(good, identity={}))
    assert Node.objects.get(pk=hands.node.pk).key_id == hands.identity.key_id


def test_neither_another_nodes_key_nor_a_former_one_is_taken(world: World) -> None:
    hands = world.provider_node
    with pytest.raises(IdentityTaken):
        rotated(hands, world.consumer_node.identity)
    rotated(hands, Identity.generate())
    with pytest.raises(IdentityTaken):
        rotated(hands, hands.identity)


def test_a_call_that_was_signed_before_another_rotation_changes_nothing(world: World) -> None:
    hands = world.provider_node
    stale = Node.objects.get(pk=hands.node.pk)
    rotated(hands, Identity.generate())
    with pytest.raises(RotationRefused):
        actions.rotate_identity(stale, word(hands, Identity.generate()))


def test_a_run_under_way_is_reconciled_and_its_receipt_verifies_with_the_keys_of_then(world: World) -> None:
    run = world.run()
    command = world.provider_node.take(CommandKind.EXTRACT)
    rotated(world.provider_node, Identity.generate())
    world.provider_node.node.refresh_from_db()
    world.provider_node.answer(world.provider_node.extracted(command))  # signed with the key that the order names
    deliver = world.consumer_node.take(CommandKind.DELIVER)
    rotated(world.consumer_node, Identity.generate())
    world.consumer_node.node.refresh_from_db()
    world.consumer_node.answer(world.consumer_node.delivered(deliver))

    run.refresh_from_db()
    assert run.state == RunState.RECONCILED, run.problem
    receipt = ExchangeReceipt.objects.get(run=run)
    assert receipt.sender_key_id == world.provider_node.identity.key_id
    assert [(side.is_given, side.holds) for side in signatures(receipt)] == [(True, True), (True, True)]
