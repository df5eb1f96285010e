"""May this node do what it is told? Asked when a command comes, and again when it is worked, which may be days later."""

import base64
import binascii

from jinqiao.dataplane.node.errors import (
    CommandIncomplete,
    CommandNotOfPlatform,
    GrantNotLive,
    OrderOfAnotherNode,
    SenderSignatureWrong,
)
from jinqiao.dataplane.node.home import NodeHome
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.exchange import BatchManifest, Command, CommandKind, ExchangeOrder, Receipt, SignedMessage
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, open_message


def opened(message: SignedMessage, home: NodeHome) -> Command:
    """The command inside. Raises CommandNotOfPlatform, ContractBroken."""
    try:
        return open_message(message, home.platform, Command)
    except SignatureInvalid as problem:
        raise CommandNotOfPlatform(key_id=message.key_id) from problem


def connection_of(command: Command) -> Connection:
    """Raises CommandIncomplete."""
    if command.connection is None:
        raise CommandIncomplete(command=command.id, missing="connection")
    return command.connection


def manifest_of(command: Command) -> BatchManifest:
    """Raises CommandIncomplete."""
    if command.manifest is None:
        raise CommandIncomplete(command=command.id, missing="manifest")
    return command.manifest


def slot_named(command: Command) -> str:
    """The replication slot that a command is about: one of ours. Raises CommandIncomplete."""
    if not command.slot.startswith("jinqiao_"):
        raise CommandIncomplete(command=command.id, missing="slot")
    return command.slot


def order_of(command: Command, home: NodeHome) -> ExchangeOrder:
    """The order of an extraction or a delivery, once it is sure that this node is meant and the grant is live today.

    Raises CommandIncomplete, OrderOfAnotherNode, GrantNotLive.
    """
    order = command.order
    if order is None or order.run_id != command.run_id:
        raise CommandIncomplete(command=command.id, missing="order")
    provides = is_provider(command, order, home)
    node = order.provider_node if provides else order.consumer_node
    identity = order.provider_identity if provides else order.consumer_identity
    if node != home.node_id or home.keys.named(str(identity.get("key_id"))) is None:
        raise OrderOfAnotherNode(run=order.run_id, node=node)
    if command.kind is not CommandKind.READ_QUARANTINE:  # the provider's own rows, for its own people
        check_grant(order)
    return order


def is_provider(command: Command, order: ExchangeOrder, home: NodeHome) -> bool:
    """Whether the command is for the provider's side of the order."""
    if command.kind is CommandKind.COMPARE:
        return command.side == "source" or (not command.side and order.provider_node == home.node_id)
    return command.kind is not CommandKind.DELIVER


def identity_for(order: ExchangeOrder, home: NodeHome, *, provider: bool) -> Identity:
    """The identity that the order was made for: this node's of now, or one before a rotation. Raises OrderOfAnotherNode."""
    named = order.provider_identity if provider else order.consumer_identity
    identity = home.keys.named(str(named.get("key_id")))
    if identity is None:
        raise OrderOfAnotherNode(run=order.run_id, node=order.provider_node if provider else order.consumer_node)
    return identity


def check_grant(order: ExchangeOrder) -> None:
    """Raises GrantNotLive."""
    today = moments.today()
    if not order.grant.is_live(today):
        raise GrantNotLive(
            grant=order.grant.grant_id,
            today=today.isoformat(),
            valid_from=order.grant.valid_from.isoformat(),
            valid_until=order.grant.valid_until.isoformat(),
        )


def receipt_of(order: ExchangeOrder, manifest: BatchManifest) -> Receipt:
    """What both sides sign."""
    return Receipt(
        run_id=order.run_id,
        batch_id=manifest.batch_id,
        grant_id=order.grant.grant_id,
        provider_node=order.provider_node,
        consumer_node=order.consumer_node,
        rows=manifest.rows,
        batch_digest=manifest.batch_digest,
    )


def check_sender(command: Command, order: ExchangeOrder, manifest: BatchManifest) -> None:
    """The provider's node signed for this very batch. Raises SenderSignatureWrong."""
    try:
        signature = base64.b64decode(command.sender_signature, validate=True)
        PublicIdentity.from_json(order.provider_identity).verify(receipt_of(order, manifest).canonical(), signature)
    except (SignatureInvalid, binascii.Error, ValueError) as problem:
        raise SenderSignatureWrong(run=order.run_id, node=order.provider_node) from problem
