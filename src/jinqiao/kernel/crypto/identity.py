"""Who a node, a gateway or the platform is: two key pairs, one to sign with and one that secrets are sealed to.

`international`: Ed25519 and X25519; `guomi`: two SM2 pairs, as GM/T 0015 separates signing from encryption. The key id is
the first 128 bits of the digest of both public keys, so that an identity cannot claim another's id.

A sealed text is `jq1.<suite>.<key id>.<base64url>`: an ephemeral X25519 key with HKDF and AES-256-GCM, or an SM4 key
encrypted by SM2 with SM4-GCM. It names its key, and nothing else about the content.
"""

import base64
import binascii
import dataclasses
import hmac
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from jinqiao.kernel.contracts.base import Contract, canonical_json
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto import sm2 as sm2_ways
from jinqiao.kernel.crypto.errors import IdentityBroken, SealBroken, SignatureInvalid
from jinqiao.kernel.crypto.suites import Suite, suite

_SEAL_MARK = "jq1"
_SEAL_INFO = b"jinqiao seal v1"
_KEY_ID_BYTES = 16
ContractType = TypeVar("ContractType", bound=Contract)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as problem:
        raise IdentityBroken(part=where) from problem


def _key_id(name: str, signing_key: bytes, sealing_key: bytes) -> str:
    return suite(name).digest(b"\x00".join((name.encode(), signing_key, sealing_key)))[:_KEY_ID_BYTES].hex()


def sealed_to(text: str) -> str:
    """Key id of the identity that a sealed text is meant for; empty where it is no sealed text."""
    parts = text.split(".")
    return parts[2] if len(parts) == 4 and parts[0] == _SEAL_MARK else ""


def fingerprint(key_id: str) -> str:
    """A key id as people compare it: groups of four."""
    return " ".join(key_id[at : at + 4] for at in range(0, len(key_id), 4))


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """What others may know of an identity: verify its signatures, seal secrets to it."""

    suite: str
    key_id: str
    signing_key: bytes
    sealing_key: bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite,
            "key_id": self.key_id,
            "signing_key": _text(self.signing_key),
            "sealing_key": _text(self.sealing_key),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises IdentityBroken where a part is missing, the keys are no keys, or the key id is not theirs."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in names):
            raise IdentityBroken(part="form")
        public = cls(
            suite=suite(data["suite"]).name,
            key_id=data["key_id"],
            signing_key=_bytes(data["signing_key"], "signing_key"),
            sealing_key=_bytes(data["sealing_key"], "sealing_key"),
        )
        if not hmac.compare_digest(
            public.key_id.encode(), _key_id(public.suite, public.signing_key, public.sealing_key).encode()
        ):
            raise IdentityBroken(part="key_id")
        size = 32 if public.suite == "international" else sm2_ways.PUBLIC_BYTES
        if len(public.signing_key) != size or len(public.sealing_key) != size:
            raise IdentityBroken(part="keys")
        return public

    def verify(self, data: bytes, signature: bytes) -> None:
        """Raises SignatureInvalid unless `signature` is this identity's over exactly `data`."""
        if self.suite == "international":
            try:
                Ed25519PublicKey.from_public_bytes(self.signing_key).verify(signature, data)
            except (InvalidSignature, ValueError) as problem:
                raise SignatureInvalid(key_id=self.key_id) from problem
            return
        try:
            right = sm2_ways.sm2().verify(self.signing_key, data, signature)
        except ValueError as problem:
            raise SignatureInvalid(key_id=self.key_id) from problem
        if not right:
            raise SignatureInvalid(key_id=self.key_id)

    def seal(self, data: bytes) -> str:
        """A text that only this identity can open."""
        algorithms = suite(self.suite)
        head = f"{_SEAL_MARK}.{self.suite}.{self.key_id}"
        try:
            if self.suite == "international":
                ephemeral = X25519PrivateKey.generate()
                wrapped = ephemeral.public_key().public_bytes_raw()
                shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.sealing_key))
                key = _agreed_key(algorithms, shared, wrapped, self.sealing_key)
            else:
                key = algorithms.new_key()
                wrapped = sm2_ways.sm2().encrypt(self.sealing_key, key)
        except ValueError as problem:
            raise IdentityBroken(part="sealing_key") from problem
        sealed = algorithms.encrypt(key, data, head.encode())
        body = len(wrapped).to_bytes(2, "big") + wrapped + sealed
        return f"{head}.{base64.urlsafe_b64encode(body).decode('ascii').rstrip('=')}"


def _agreed_key(algorithms: Suite, shared: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    return algorithms.derive(shared, salt=ephemeral + recipient, info=_SEAL_INFO, length=algorithms.key_bytes)


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """Both key pairs with their private halves. Its text form shows the key id only."""

    public: PublicIdentity
    _signing_key: bytes
    _sealing_key: bytes

    def __repr__(self) -> str:
        return f"Identity({self.public.suite}, {self.public.key_id})"

    @property
    def suite(self) -> str:
        return self.public.suite

    @property
    def key_id(self) -> str:
        return self.public.key_id

    @classmethod
    def generate(cls, suite_name: str = "international") -> Self:
        name = suite(suite_name).name
        if name == "international":
            signing, sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
            pairs = (
                (signing.private_bytes_raw(), signing.public_key().public_bytes_raw()),
                (sealing.private_bytes_raw(), sealing.public_key().public_bytes_raw()),
            )
        else:
            pairs = (sm2_ways.sm2().generate(), sm2_ways.sm2().generate())
        (signing_private, signing_public), (sealing_private, sealing_public) = pairs
        public = PublicIdentity(name, _key_id(name, signing_public, sealing_public), signing_public, sealing_public)
        return cls(public, signing_private, sealing_private)

    def to_json(self) -> dict[str, Any]:
        """With the private keys: for a key store, never for a message or a log."""
        return {
            "public": self.public.to_json(),
            "signing_private_key": _text(self._signing_key),
            "sealing_private_key": _text(self._sealing_key),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        if not isinstance(data, dict):
            raise IdentityBroken(part="form")
        return cls(
            PublicIdentity.from_json(data.get("public")),
            _bytes(data.get("signing_private_key"), "signing_private_key"),
            _bytes(data.get("sealing_private_key"), "sealing_private_key"),
        )

    def sign(self, data: bytes) -> bytes:
        if self.suite == "international":
            return Ed25519PrivateKey.from_private_bytes(self._signing_key).sign(data)
        return sm2_ways.sm2().sign(self._signing_key, self.public.signing_key, data)

    def unseal(self, text: str) -> bytes:
        """What was sealed to this identity. Raises SealBroken for another's, an altered or a malformed text."""
        try:
            mark, name, key_id, encoded = text.split(".")
            body = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as problem:
            raise SealBroken(key_id=self.key_id) from problem
        if (mark, name, key_id) != (_SEAL_MARK, self.suite, self.key_id) or len(body) < 2:
            raise SealBroken(key_id=self.key_id)
        algorithms = suite(self.suite)
        size = int.from_bytes(body[:2], "big")
        wrapped, sealed = body[2 : 2 + size], body[2 + size :]
        try:
            if self.suite == "international":
                shared = X25519PrivateKey.from_private_bytes(self._sealing_key).exchange(
                    X25519PublicKey.from_public_bytes(wrapped)
                )
                key = _agreed_key(algorithms, shared, wrapped, self.public.sealing_key)
            else:
                key = sm2_ways.sm2().decrypt(self._sealing_key, self.public.sealing_key, wrapped)
            return algorithms.decrypt(key, sealed, f"{mark}.{name}.{key_id}".encode())
        except (ValueError, SealBroken) as problem:
            raise SealBroken(key_id=self.key_id) from problem


def sign_message(contract: Contract, identity: Identity) -> SignedMessage:
    """The contract with the identity's signature over its canonical bytes."""
    body = contract.to_json()
    return SignedMessage(
        body=body, key_id=identity.key_id, suite=identity.suite, signature=_text(identity.sign(canonical_json(body)))
    )


def open_message(message: SignedMessage, public: PublicIdentity, kind: type[ContractType]) -> ContractType:
    """The contract inside, once its signature has been checked.

    Raises SignatureInvalid where another identity signed or the body was altered, ContractBroken where it is no `kind`.
    """
    if message.key_id != public.key_id or message.suite != public.suite:
        raise SignatureInvalid(key_id=message.key_id)
    try:
        signature = base64.b64decode(message.signature, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise SignatureInvalid(key_id=message.key_id) from problem
    public.verify(canonical_json(message.body), signature)
    return kind.from_json(message.body)
