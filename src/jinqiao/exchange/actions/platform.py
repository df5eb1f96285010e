"""What the platform itself holds: its identity, the public identities of nodes, numbers, the outbox."""

from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from jinqiao.audit.trail import Actor
from jinqiao.exchange.errors import NodeNotRegistered
from jinqiao.exchange.models import Node, OutboxMessage
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity
from jinqiao.kernel.keystore import KeyStore
from jinqiao.sharing.models import NumberSeries


@cache
def _identity(home: Path, suite: str) -> Identity:
    return KeyStore(home / "keys", suite).identity("platform", suite)


def platform_identity() -> Identity:
    """The platform's own key pairs, made at first use; they sign orders and policy snapshots."""
    return _identity(Path(settings.HOME), settings.CRYPTO_SUITE)


def public_identity(node: Node) -> PublicIdentity:
    """Raises NodeNotRegistered."""
    if not node.identity:
        raise NodeNotRegistered(node=node.number)
    return PublicIdentity.from_json(node.identity)


def node_actor(node: Node) -> Actor:
    """A node as who did it, for the trail."""
    organisation = node.organisation
    return Actor(f"node:{node.number}", node.name, "node", str(organisation.pk), organisation.name)


def next_number(series: str, digits: int = 4) -> str:
    """`series-0001`, `series-0002`, …: call inside the transaction that uses it; a rollback gives the number back."""
    row, _made = NumberSeries.objects.get_or_create(key=series)
    row = NumberSeries.objects.select_for_update().get(pk=row.pk)
    row.last += 1
    row.save(update_fields=["last"])
    return f"{series}-{row.last:0{digits}d}"


def post_to_worker(topic: str, **body: Any) -> OutboxMessage:
    """Leave work for the worker; it exists only if this transaction does."""
    return OutboxMessage.objects.create(topic=topic, body=body, created_at=moments.now())
