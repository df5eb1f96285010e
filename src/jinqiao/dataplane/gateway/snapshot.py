"""A policy snapshot in force: verified, opened, and laid out so that a call finds what it needs by name."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from jinqiao.dataplane.gateway.errors import PolicyRefused
from jinqiao.dataplane.gateway.home import GatewayHome
from jinqiao.dataplane.gateway.keyed import KeyedDigest, PreparedVerifier, public_key_verifier, suite_of_hmac
from jinqiao.dataplane.gateway.peers import Network, networks_of
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.contracts.policy import (
    ApplicationKey,
    ApplicationPolicy,
    PolicySnapshot,
    ServicePolicy,
    trial_key_id,
)
from jinqiao.kernel.crypto.identity import open_message
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.httpsig import Verifier
from jinqiao.kernel.keystore import write_durably
from jinqiao.kernel.subjects import commitment

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """An application's key, ready to verify with. Business time decides on `not_before` and `not_after`."""

    key_id: str
    application: ApplicationPolicy
    verifier: Verifier
    networks: tuple[Network, ...]
    not_before: datetime | None
    not_after: datetime | None
    sandbox_only: bool = False

    def is_in_use(self, algorithm: str, on: datetime) -> bool:
        if self.verifier.algorithm != algorithm:
            return False
        return (self.not_after is None or on < self.not_after) and (self.not_before is None or self.not_before <= on)


@dataclass(frozen=True, slots=True, repr=False)
class SubjectMark:
    """Commits to persons under the city's key (`kernel.subjects`)."""

    key_id: str
    secret: bytes
    keyed: KeyedDigest

    def of(self, number: str) -> str:
        return commitment(self.key_id, self.keyed.digest, number)


@dataclass(frozen=True)
class PolicyView:
    """What the gateway enforces now. `passwords` are those of the services' connections, by service."""

    version: int
    issued_at: datetime
    expires_at: datetime
    keys: Mapping[str, OpenedKey]
    services: Mapping[str, ServicePolicy]
    passwords: Mapping[str, str] = field(repr=False)
    subjects: "SubjectMark | None" = None
    unsealed: Mapping[str, bytes] = field(
        default_factory=dict, repr=False
    )  # sealed text → secret, for the next snapshot
    keep_bodies_days: int = 1096

    @cached_property
    def requesters(self) -> Mapping[str, tuple[OpenedKey, ...]]:
        """Keys by requester id of the national convention; without those that two applications claim."""
        found: dict[str, tuple[OpenedKey, ...]] = {}
        for key in self.keys.values():
            if key.application.national_id:
                found[key.application.national_id] = (*found.get(key.application.national_id, ()), key)
        return {
            name: keys for name, keys in found.items() if len({key.application.application_id for key in keys}) == 1
        }

    @cached_property
    def national_services(self) -> Mapping[str, str]:
        """Services by service id of the national convention; without those that two services claim."""
        names = [(service.national_id, name) for name, service in self.services.items() if service.national_id]
        claimed = Counter(national_id for national_id, _ in names)
        return {national_id: name for national_id, name in names if claimed[national_id] == 1}

    def verifier_for(self, key_id: str, algorithm: str, on: datetime) -> Verifier | None:
        """The key to verify a call with: None where it is unknown, of another algorithm, not in use yet or past its time."""
        key = self.keys.get(key_id)
        return key.verifier if key is not None and key.is_in_use(algorithm, on) else None


def open_snapshot(
    message: SignedMessage, home: GatewayHome, *, newer_than: int = 0, before: PolicyView | None = None
) -> PolicyView:
    """Verify a snapshot and open its secrets.

    A secret that cannot be opened costs the gateway this key or this service, never the whole policy. What `before` has opened
    already is not opened again: a revocation among thousands of keys must not wait for thousands of decryptions.
    Raises SignatureInvalid, ContractBroken, PolicyRefused.
    """
    snapshot = open_message(message, home.platform, PolicySnapshot)
    if snapshot.gateway != home.gateway_id:
        raise PolicyRefused(reason="gateway")
    if snapshot.version <= newer_than:
        raise PolicyRefused(reason="version")
    if snapshot.expires_at.tzinfo is None or snapshot.issued_at.tzinfo is None:
        raise PolicyRefused(reason="time")
    if len({service.service for service in snapshot.services}) != len(snapshot.services):
        raise PolicyRefused(reason="services")
    known, unsealed = before.unsealed if before is not None else {}, dict[str, bytes]()

    def unseal(sealed: str) -> bytes:
        unsealed[sealed] = known[sealed] if sealed in known else home.keys.unseal(sealed)
        return unsealed[sealed]

    keys: dict[str, OpenedKey] = {}
    for application in snapshot.applications:
        for key in application.keys:
            if key.key_id in keys:
                raise PolicyRefused(reason="keys")
            try:
                verifier, networks = _verifier(key, unseal), networks_of(application.addresses)
            except (JinqiaoError, ValueError):
                logger.error("policy %d: the key %s cannot be opened", snapshot.version, key.key_id)
                continue
            keys[key.key_id] = OpenedKey(key.key_id, application, verifier, networks, key.not_before, key.not_after)
    keys |= _trial_keys(snapshot, home)
    passwords: dict[str, str] = {}
    for service in snapshot.services:
        try:
            sealed = service.connection.sealed_password
            passwords[service.service] = unseal(sealed).decode("utf-8") if sealed else ""
        except (JinqiaoError, ValueError):
            logger.error(
                "policy %d: the password of the service %s cannot be opened", snapshot.version, service.service
            )
    return PolicyView(
        snapshot.version,
        snapshot.issued_at,
        snapshot.expires_at,
        keys,
        {service.service: service for service in snapshot.services},
        passwords,
        _subject_mark(snapshot, unseal),
        unsealed,
        snapshot.keep_bodies_days,
    )


def _trial_keys(snapshot: PolicySnapshot, home: GatewayHome) -> dict[str, OpenedKey]:
    """The platform may try out the sandbox in each application's name: by its own key, which the gateway knows already."""
    public = home.platform
    algorithm = suite(public.suite).signature_name
    verifier = public_key_verifier(algorithm, public.signing_key)
    return {
        trial_key_id(application.application_id): OpenedKey(
            trial_key_id(application.application_id), application, verifier, (), None, None, sandbox_only=True
        )
        for application in snapshot.applications
    }


def _subject_mark(snapshot: PolicySnapshot, unseal: Callable[[str], bytes]) -> SubjectMark | None:
    key = snapshot.subject_key
    if key is None:
        return None
    try:
        secret = unseal(key.sealed_key)
        return SubjectMark(key.key_id, secret, KeyedDigest(suite_of_hmac(key.algorithm), secret))
    except (JinqiaoError, ValueError):
        logger.error("policy %d: the key of persons %s cannot be opened", snapshot.version, key.key_id)
        return None


def _verifier(key: ApplicationKey, unseal: Callable[[str], bytes]) -> Verifier:
    """Raises ValueError and JinqiaoError where the key is none."""
    if key.public_key:
        return public_key_verifier(key.algorithm, bytes.fromhex(key.public_key))
    return PreparedVerifier(key.algorithm, unseal(key.sealed_secret))


def keep(message: SignedMessage, home: GatewayHome) -> None:
    """Write a verified snapshot to disk, so that the gateway can start while the platform is away."""
    write_durably(home.policy_file, message.canonical())


def last_kept(home: GatewayHome) -> PolicyView | None:
    """The snapshot on disk, verified again; None where there is none or it does not verify (which is logged)."""
    try:
        message = SignedMessage.from_json(json.loads(home.policy_file.read_bytes()))
        return open_snapshot(message, home)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, JinqiaoError) as problem:
        logger.error("the policy on disk cannot be used: %s", problem)
        return None
