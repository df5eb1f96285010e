"""The signed snapshot of what a gateway enforces: a new version when its content changes, or when the last one grows old."""

import hashlib
from datetime import timedelta

from django.db import transaction

from jinqiao.exchange.actions.archiving import keep_days
from jinqiao.exchange.actions.nodes import heard
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.actions.subjects import current_key_id, subject_key_for
from jinqiao.exchange.enums import NodeKind
from jinqiao.exchange.errors import NodeKindWrong
from jinqiao.exchange.models import Node, PolicyVersion
from jinqiao.exchange.queries.policy import compiled
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.policy import PolicySnapshot
from jinqiao.kernel.crypto.identity import sign_message

VALID_FOR = timedelta(hours=24)
"""How long a gateway that is cut off goes on under what it last heard."""
RENEW_BEFORE = timedelta(hours=12)
_SEEN_EVERY = timedelta(seconds=30)


def policy_for(gateway: Node, after: int = 0) -> SignedMessage | None:
    """The newest snapshot if it is newer than version `after`; None where the gateway has it already. Raises NodeKindWrong."""
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    applications, services = compiled(gateway)
    content = canonical_json(
        {
            "applications": [a.to_json() for a in applications],
            "services": [s.to_json() for s in services],
            "keep_bodies_days": keep_days(),
            # not the sealed text, which is another each time
            "subject_key": f"{current_key_id()} for {gateway.key_id}",
        }
    )
    digest = hashlib.sha256(content).hexdigest()
    latest = _latest(gateway)
    if not _holds(latest, digest, after):
        with transaction.atomic():
            Node.objects.select_for_update(of=("self",)).get(pk=gateway.pk)
            latest = _latest(gateway)
            if not _holds(latest, digest, after):
                now = moments.now()
                snapshot = PolicySnapshot(
                    gateway=gateway.number,
                    # a platform that was restored from a backup goes on after what the gateway has
                    version=max(latest.version if latest else 0, after) + 1,
                    issued_at=now,
                    expires_at=now + VALID_FOR,
                    applications=applications,
                    services=services,
                    keep_bodies_days=keep_days(),
                    subject_key=subject_key_for(gateway),
                )
                latest = PolicyVersion.objects.create(
                    gateway=gateway,
                    version=snapshot.version,
                    body=sign_message(snapshot, platform_identity()).to_json(),
                    content_digest=digest,
                    issued_at=now,
                    expires_at=snapshot.expires_at,
                )
    _note_heard(gateway)
    if latest is None or latest.version <= after:
        return None
    return SignedMessage.from_json(latest.body)


def _latest(gateway: Node) -> PolicyVersion | None:
    return PolicyVersion.objects.filter(gateway=gateway).order_by("-version").first()


def _holds(latest: PolicyVersion | None, digest: str, after: int) -> bool:
    """Whether the last version still says what is enforced, and long enough."""
    return (
        latest is not None
        and latest.content_digest == digest
        and latest.version >= after
        and latest.expires_at - moments.now() > RENEW_BEFORE
    )


def _note_heard(gateway: Node) -> None:
    if gateway.seen_at is not None and timedelta() <= moments.now() - gateway.seen_at < _SEEN_EVERY:
        return
    with transaction.atomic():
        row = Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=gateway.pk)
        heard(row)
        row.save(update_fields=["seen_at", "silence_noticed_at"])
