"""What signs and verifies a call: a shared secret (HMAC), or the identity of a node."""

import hmac
from dataclasses import dataclass, field
from typing import Protocol

from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity
from jinqiao.kernel.crypto.suites import SUITE_NAMES, Suite, suite


class Signer(Protocol):
    @property
    def algorithm(self) -> str: ...

    @property
    def digest_name(self) -> str:
        """Algorithm of the content digest that goes with it."""

    def sign(self, data: bytes) -> bytes: ...


class Verifier(Protocol):
    @property
    def algorithm(self) -> str: ...

    def is_right(self, data: bytes, signature: bytes) -> bool: ...


def _hmac_suite(algorithm: str) -> Suite:
    for name in SUITE_NAMES:
        if suite(name).hmac_name == algorithm:
            return suite(name)
    raise ValueError(f"no keyed digest {algorithm}")


@dataclass(frozen=True, slots=True)
class HmacSigner:
    """Signs and verifies with a secret that both sides know. `algorithm` is hmac-sha256 or hmac-sm3."""

    algorithm: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _hmac_suite(self.algorithm)

    @property
    def digest_name(self) -> str:
        return _hmac_suite(self.algorithm).digest_name

    def sign(self, data: bytes) -> bytes:
        return _hmac_suite(self.algorithm).hmac(self.secret, data)

    def is_right(self, data: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.sign(data), signature)


HmacVerifier = HmacSigner


@dataclass(frozen=True, slots=True)
class IdentitySigner:
    identity: Identity

    @property
    def algorithm(self) -> str:
        return suite(self.identity.suite).signature_name

    @property
    def digest_name(self) -> str:
        return suite(self.identity.suite).digest_name

    def sign(self, data: bytes) -> bytes:
        return self.identity.sign(data)


@dataclass(frozen=True, slots=True)
class IdentityVerifier:
    public: PublicIdentity

    @property
    def algorithm(self) -> str:
        return suite(self.public.suite).signature_name

    def is_right(self, data: bytes, signature: bytes) -> bool:
        try:
            self.public.verify(data, signature)
        except SignatureInvalid:
            return False
        return True
