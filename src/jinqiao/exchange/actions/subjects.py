"""The city's key of persons: gateways mark with it whom a call was about, the platform finds by it who asked about somebody.

The keys lie in the platform's keystore and are sealed to each gateway. A new key is for new calls; the old ones stay, so that
what was disclosed under them is still found.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import public_identity
from jinqiao.exchange.models import Node
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.policy import SubjectKey
from jinqiao.kernel.crypto.suites import SuiteName, suite
from jinqiao.kernel.keystore import KeyStore
from jinqiao.kernel.subjects import commitment

KEYS = "subject-keys"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class _Key:
    key_id: str
    suite: SuiteName
    secret: bytes


def _store() -> KeyStore:
    return KeyStore(Path(settings.HOME) / "keys", settings.CRYPTO_SUITE)


def _added(kept: bytes | None) -> bytes:
    """The list of keys with a new one at its end."""
    keys = json.loads(kept) if kept else []
    made = {
        "key_id": secrets.token_hex(8),
        "suite": suite(settings.CRYPTO_SUITE).name,
        "made_at": moments.now().isoformat(),
        "secret": base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii"),
    }
    return json.dumps([*keys, made]).encode()


def _keys() -> list[_Key]:
    """All keys, oldest first; the last one is for new calls. The first is made when there is none yet."""
    kept = _store().change(KEYS, lambda kept: kept or _added(None))
    return [_Key(key["key_id"], key["suite"], base64.b64decode(key["secret"])) for key in json.loads(kept)]


@dataclass(frozen=True, slots=True)
class SubjectKeyInfo:
    """A key as people see it; `made_at` is not known of keys of earlier releases."""

    key_id: str
    suite: SuiteName
    made_at: datetime | None


def subject_keys() -> list[SubjectKeyInfo]:
    """All keys without their secrets, oldest first; the last one is for new calls."""
    kept = json.loads(_store().change(KEYS, lambda kept: kept or _added(None)))
    return [
        SubjectKeyInfo(
            key["key_id"], key["suite"], datetime.fromisoformat(key["made_at"]) if key.get("made_at") else None
        )
        for key in kept
    ]


def current_key_id() -> str:
    return _keys()[-1].key_id


def subject_key_for(gateway: Node) -> SubjectKey:
    """The key of new calls, sealed to this gateway. Raises NodeNotRegistered."""
    key = _keys()[-1]
    return SubjectKey(
        key_id=key.key_id, algorithm=suite(key.suite).hmac_name, sealed_key=public_identity(gateway).seal(key.secret)
    )


def commitments_of(number: str) -> list[str]:
    """What stands in `CallSubject.commitment` for a person's identity number: one under each key ever used, newest first."""
    return [commitment(key.key_id, suite(key.suite).keyed(key.secret), number) for key in reversed(_keys())]


@transaction.atomic
def renew_subject_key(*, by: Post) -> str:
    """A new key for new calls, in force at each gateway with its next policy; its id. Raises what the rule raises."""
    rules.check_may_renew_subject_key(by)
    kept = _store().change(KEYS, _added)
    key_id = str(json.loads(kept)[-1]["key_id"])
    trail.record("exchange.subject_key.renew", by=by.actor, about=None, key=key_id)
    return key_id
