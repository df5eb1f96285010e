"""Keys of applications: secrets shown once to their developer, sealed to the gateway and unreadable here, or public keys.

A rotation overlaps: the new key is good at once, the one that it replaces until a moment that the developer chooses.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any

from django.core import signing
from django.db import transaction

from jinqiao.accounts.models import Application, Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import public_identity
from jinqiao.exchange.enums import NodeKind, NodeState
from jinqiao.exchange.errors import KeyAlreadyRevoked, NodeKindWrong, NodeNotActive
from jinqiao.exchange.models import ApplicationKey, Node
from jinqiao.exchange.service_errors import (
    ChallengeNotGood,
    KeyAlgorithmWrong,
    OverlapWrong,
    PossessionNotProved,
    PublicKeyUsed,
)
from jinqiao.kernel import moments
from jinqiao.kernel.crypto import public_keys
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite

SECRET_BYTES = 32
VALID_DAYS = 365
SECRET_ALGORITHMS = tuple(suite(name).hmac_name for name in SUITE_NAMES)
CHALLENGE_GOOD_FOR = timedelta(hours=1)
_CHALLENGE = "jinqiao.application-key"


@transaction.atomic
def issue_key(
    application: Application,
    gateway: Node,
    *,
    by: Post,
    algorithm: str = "",
    replaces: ApplicationKey | None = None,
    until: datetime | None = None,
) -> tuple[ApplicationKey, str]:
    """A new secret of an application for one gateway: key and secret, which is shown once.

    `algorithm` is hmac-sha256 or hmac-sm3, by default that of the gateway's suite. Earlier keys stay good; the one that this
    key `replaces` until `until`.
    Raises NotYourApplication, NodeKindWrong, NodeNotActive, KeyAlgorithmWrong, KeyAlreadyRevoked, OverlapWrong.
    """
    public = _gateway_for(application, gateway, by)
    algorithm = algorithm or suite(public.suite).hmac_name
    if algorithm not in SECRET_ALGORITHMS:
        raise KeyAlgorithmWrong(algorithm=algorithm)
    secret = secrets.token_urlsafe(SECRET_BYTES)
    key = _make(application, gateway, algorithm, sealed_secret=public.seal(secret.encode()))
    _settle(key, by, replaces, until, "issue")
    return key, secret


@transaction.atomic
def register_key(
    application: Application,
    gateway: Node,
    *,
    by: Post,
    algorithm: str,
    public_key: str,
    challenge: str,
    signature: str,
    replaces: ApplicationKey | None = None,
    until: datetime | None = None,
) -> ApplicationKey:
    """Register the public half of a key pair that the developer keeps; `signature` over `challenge` shows that he has the other.

    `public_key` is PEM or hex, `signature` Base64 or hex over the challenge's UTF-8 bytes.
    Raises NotYourApplication, NodeKindWrong, NodeNotActive, KeyAlgorithmWrong, PublicKeyNotRead, ChallengeNotGood,
    PossessionNotProved, PublicKeyUsed, KeyAlreadyRevoked, OverlapWrong.
    """
    _gateway_for(application, gateway, by)
    if algorithm not in public_keys.ALGORITHMS:
        raise KeyAlgorithmWrong(algorithm=algorithm)
    raw = public_keys.read_public_key(algorithm, public_key)
    _check_challenge(challenge, application)
    if not public_keys.is_signed_by(algorithm, raw, challenge.encode(), public_keys.read_signature(signature)):
        raise PossessionNotProved
    if ApplicationKey.objects.filter(public_key=raw.hex(), revoked_at=None).exists():
        raise PublicKeyUsed
    key = _make(application, gateway, algorithm, public_key=raw.hex())
    _settle(key, by, replaces, until, "register")
    return key


def challenge_for(application: Application) -> str:
    """A text to sign by a private key, good for an hour, for this application only."""
    return signing.dumps(
        {"application": application.number, "nonce": secrets.token_urlsafe(12)}, salt=_CHALLENGE, compress=False
    )


@transaction.atomic
def retire_key(key: ApplicationKey, *, by: Post, until: datetime) -> ApplicationKey:
    """Let a key end at a chosen moment. Raises NotYourApplication, KeyAlreadyRevoked, OverlapWrong."""
    key = _locked(key)
    rules.check_may_manage_keys(by, key.application)
    _end(key, until)
    trail.record(
        "exchange.key.retire",
        by=by.actor,
        about=trail.subject(key.application),
        key=key.key_id,
        until=until.isoformat(timespec="minutes"),
    )
    return key


@transaction.atomic
def revoke_key(key: ApplicationKey, *, by: Post) -> ApplicationKey:
    """The gateway refuses it from its next policy on."""
    key = _locked(key)
    rules.check_may_manage_keys(by, key.application)
    if key.revoked_at is not None:
        raise KeyAlreadyRevoked(key=key.key_id)
    key.revoked_at = moments.now()
    key.save(update_fields=["revoked_at"])
    trail.record("exchange.key.revoke", by=by.actor, about=trail.subject(key.application), key=key.key_id)
    return key


def _gateway_for(application: Application, gateway: Node, by: Post) -> PublicIdentity:
    rules.check_may_manage_keys(by, application)
    if gateway.kind != NodeKind.GATEWAY:
        raise NodeKindWrong(node=gateway.number)
    if gateway.state != NodeState.ACTIVE:
        raise NodeNotActive(node=gateway.number)
    return public_identity(gateway)


def _make(
    application: Application, gateway: Node, algorithm: str, *, sealed_secret: str = "", public_key: str = ""
) -> ApplicationKey:
    now = moments.now()
    return ApplicationKey.objects.create(
        application=application,
        gateway=gateway,
        key_id=f"ak-{secrets.token_hex(8)}",
        algorithm=algorithm,
        sealed_secret=sealed_secret,
        public_key=public_key,
        created_at=now,
        not_after=now + timedelta(days=VALID_DAYS),
    )


def _settle(key: ApplicationKey, by: Post, replaces: ApplicationKey | None, until: datetime | None, verb: str) -> None:
    """End the key that this one replaces, and write down what was done."""
    more: dict[str, Any] = {}
    if replaces is not None and until is not None:
        old = _locked(replaces)
        rules.check_may_manage_keys(by, old.application)
        if old.application_id != key.application_id:
            raise OverlapWrong(latest="")
        _end(old, until)
        more = {"replaces": old.key_id, "until": until.isoformat(timespec="minutes")}
    trail.record(
        f"exchange.key.{verb}",
        by=by.actor,
        about=trail.subject(key.application),
        key=key.key_id,
        algorithm=key.algorithm,
        gateway=key.gateway.number,
        **more,
    )


def _locked(key: ApplicationKey) -> ApplicationKey:
    return ApplicationKey.objects.select_for_update(of=("self",)).select_related("application").get(pk=key.pk)


def _end(key: ApplicationKey, until: datetime) -> None:
    if key.revoked_at is not None:
        raise KeyAlreadyRevoked(key=key.key_id)
    if until <= moments.now() or (key.not_after is not None and until > key.not_after):
        raise OverlapWrong(
            latest=key.not_after.astimezone(moments.CHINA).strftime("%Y-%m-%d %H:%M") if key.not_after else ""
        )
    key.not_after = until
    key.save(update_fields=["not_after"])


def _check_challenge(challenge: str, application: Application) -> None:
    """Raises ChallengeNotGood."""
    try:
        said = signing.loads(challenge, salt=_CHALLENGE, max_age=CHALLENGE_GOOD_FOR)
    except signing.BadSignature as problem:
        raise ChallengeNotGood from problem
    if said.get("application") != application.number:
        raise ChallengeNotGood
