"""A node's new identity: sent signed with the old key, proved by the new one. No password is entered again: the node opens
what was sealed to its old key and brings it sealed to the new one."""

import base64
import binascii
from dataclasses import replace

from django.db import transaction

from jinqiao.audit import trail
from jinqiao.exchange.actions.platform import node_actor, platform_identity
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import IdentityTaken, RotationRefused, SuiteMismatch
from jinqiao.exchange.models import ApplicationKey, DataSource, Node, NodeIdentity
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import NodeRotated, NodeRotation
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import PublicIdentity, sealed_to


@transaction.atomic
def rotate_identity(node: Node, rotation: NodeRotation, signed_with: str = "") -> NodeRotated:
    """Take the new identity, and what was sealed anew; may be said again. The answer names what is still sealed to another key.

    `node` is the caller as its signature showed it; `signed_with` the key of that signature, where it is not that of `node`: a bundle
    may bear the one before, and then only repeats what was taken. Raises RotationRefused, IdentityTaken, SuiteMismatch, IdentityBroken.
    """
    signed_with = signed_with or node.key_id
    node = Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=node.pk)
    if rotation.node_id != node.number:
        raise RotationRefused(node=node.number, reason="node")
    public = PublicIdentity.from_json(rotation.identity)
    suite = platform_identity().suite
    if public.suite != suite:
        raise SuiteMismatch(got=public.suite, wanted=suite)
    try:
        proof = base64.b64decode(rotation.proof, validate=True)
        public.verify(replace(rotation, proof="").canonical(), proof)
    except (SignatureInvalid, binascii.Error, ValueError) as problem:
        raise RotationRefused(node=node.number, reason="proof") from problem
    if node.key_id not in (signed_with, public.key_id):
        raise RotationRefused(node=node.number, reason="another rotation")
    if public.key_id != node.key_id:
        _change(node, public)
    return NodeRotated(key_id=node.key_id, sealed=_take_resealed(node, rotation.resealed))


def word_on_rotation(node: Node) -> NodeRotated | None:
    """For a node that cannot be answered at once: the key that is known of it, and what is sealed to another; None where its
    key never changed."""
    if not NodeIdentity.objects.filter(node=node).exclude(until=None).exists():
        return None
    with transaction.atomic():
        return NodeRotated(key_id=node.key_id, sealed=_take_resealed(node, {}))


def _change(node: Node, public: PublicIdentity) -> None:
    """From now on only the new key signs for this node; the old one stays to verify what it signed."""
    taken = NodeIdentity.objects.select_related("node").filter(key_id=public.key_id).first()
    if taken is not None:  # an identity that was given up does not come back
        raise IdentityTaken(node=taken.node.number)
    other = Node.objects.filter(key_id=public.key_id).first()
    if other is not None:
        raise IdentityTaken(node=other.number)
    now, old = moments.now(), node.key_id
    keep_identity(node)
    NodeIdentity.objects.filter(node=node, until=None).update(until=now)
    node.identity, node.key_id = public.to_json(), public.key_id
    node.save(update_fields=["identity", "key_id"])
    NodeIdentity.objects.create(node=node, key_id=public.key_id, identity=node.identity, since=now)
    trail.record(
        "exchange.node.rotate", by=node_actor(node), about=trail.subject(node), key_id=public.key_id, former=old
    )


def keep_identity(node: Node) -> None:
    """Write down the identity that a node works with."""
    NodeIdentity.objects.get_or_create(
        key_id=node.key_id,
        defaults={"node": node, "identity": node.identity, "since": node.registered_at or moments.now()},
    )


def _take_resealed(node: Node, resealed: dict[str, str]) -> tuple[str, ...]:
    """Put secrets in their new form in the place of the old ones; a password that was changed meanwhile stays."""
    if node.kind == NodeKind.GATEWAY:
        return _take_resealed_of_gateway(node, resealed)
    left = []
    for source in DataSource.objects.select_for_update(of=("self",)).filter(node=node).exclude(sealed_password=""):
        new = resealed.get(source.sealed_password, "")
        if new and sealed_to(new) == node.key_id:
            source.sealed_password = new
            source.save(update_fields=["sealed_password"])
            trail.record("exchange.source.reseal", by=node_actor(node), about=trail.subject(source))
        if sealed_to(source.sealed_password) != node.key_id:
            left.append(source.sealed_password)
    return tuple(left)


def _take_resealed_of_gateway(gateway: Node, resealed: dict[str, str]) -> tuple[str, ...]:
    """The same for what lies sealed to a gateway: passwords of sources that it reads, and secrets of applications."""
    left = []
    sources = DataSource.objects.select_for_update(of=("self",)).filter(sealed_for_gateway=gateway)
    for source in sources.exclude(gateway_sealed_password=""):
        new = resealed.get(source.gateway_sealed_password, "")
        if new and sealed_to(new) == gateway.key_id:
            source.gateway_sealed_password = new
            source.save(update_fields=["gateway_sealed_password"])
            trail.record("exchange.source.reseal", by=node_actor(gateway), about=trail.subject(source))
        if sealed_to(source.gateway_sealed_password) != gateway.key_id:
            left.append(source.gateway_sealed_password)
    keys = ApplicationKey.objects.select_for_update(of=("self",)).filter(gateway=gateway, revoked_at=None)
    for key in keys.exclude(sealed_secret=""):
        new = resealed.get(key.sealed_secret, "")
        if new and sealed_to(new) == gateway.key_id:
            key.sealed_secret = new
            key.save(update_fields=["sealed_secret"])
        if sealed_to(key.sealed_secret) != gateway.key_id:
            left.append(key.sealed_secret)
    return tuple(left)
