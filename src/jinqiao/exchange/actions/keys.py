"""Keys of applications: shown once to their developer, sealed to the gateway, unreadable here."""

import secrets
from datetime import timedelta

from django.db import transaction

from jinqiao.accounts.models import Application, Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import public_identity
from jinqiao.exchange.enums import NodeKind, NodeState
from jinqiao.exchange.errors import KeyAlreadyRevoked, NodeKindWrong, NodeNotActive
from jinqiao.exchange.models import ApplicationKey, Node
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.suites import suite

SECRET_BYTES = 32
VALID_DAYS = 365


@transaction.atomic
def issue_key(application: Application, gateway: Node, *, by: Post) -> tuple[ApplicationKey, str]:
    """A new key of an application for one gateway, and its secret: shown once. Earlier keys stay good until revoked.

    Raises NotYourApplication, NodeKindWrong, NodeNotActive.
    """
    rules.check_may_manage_keys(by, application)
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    if gateway.state != NodeState.ACTIVE:
        raise NodeNotActive(node=gateway.number)
    public = public_identity(gateway)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    now = moments.now()
    key = ApplicationKey.objects.create(
        application=application,
        gateway=gateway,
        key_id=f"ak-{secrets.token_hex(8)}",
        algorithm=suite(public.suite).hmac_name,
        sealed_secret=public.seal(secret.encode()),
        created_at=now,
        not_after=now + timedelta(days=VALID_DAYS),
    )
    trail.record(
        "exchange.key.issue",
        by=by.actor,
        about=trail.subject(application),
        key=key.key_id,
        gateway=gateway.number,
    )
    return key, secret


@transaction.atomic
def revoke_key(key: ApplicationKey, *, by: Post) -> ApplicationKey:
    """The gateway refuses it from its next policy on."""
    key = ApplicationKey.objects.select_for_update(of=("self",)).select_related("application").get(pk=key.pk)
    rules.check_may_manage_keys(by, key.application)
    if key.revoked_at is not None:
        raise KeyAlreadyRevoked(key=key.key_id)
    key.revoked_at = moments.now()
    key.save(update_fields=["revoked_at"])
    trail.record("exchange.key.revoke", by=by.actor, about=trail.subject(key.application), key=key.key_id)
    return key
