"""What is prepared once for a key and used with every call: keyed digests, and verifiers of signatures.

`hmac.digest` lets go of the interpreter's lock for each call; under load that costs ten times what the digest does. Prepared
digests that are copied (`Suite.keyed`) keep the lock for the short texts of a call.
"""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jinqiao.kernel.crypto.sm2 import PUBLIC_BYTES, sm2
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite
from jinqiao.kernel.httpsig import Verifier

_HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {"international": hashlib.sha256}
_BLOCK_BYTES = 64
_PADS = (0x36, 0x5C)
_INNER, _OUTER = (bytes(octet ^ pad for octet in range(256)) for pad in _PADS)
_INNER_REST, _OUTER_REST = (bytes([pad]) * _BLOCK_BYTES for pad in _PADS)  # of what fills the block


class KeyedDigest:
    """HMAC of a suite under one key."""

    __slots__ = ("digest",)

    def __init__(self, suite_name: str, key: bytes) -> None:
        self.digest: Callable[[bytes], bytes] = suite(suite_name).keyed(key)


def suite_of_hmac(algorithm: str) -> str:
    """The suite whose keyed digest is called so. Raises ValueError."""
    for name in SUITE_NAMES:
        if suite(name).hmac_name == algorithm:
            return name
    raise ValueError(f"no keyed digest {algorithm}")


def answer_salt(keyed: KeyedDigest, call_id: str) -> bytes:
    """The salt of a call's answer, made from the gateway's own secret: the gateway can show it again at any time."""
    return keyed.digest(b"salt\x00" + call_id.encode())


def salted_digest(suite_name: str, salt: bytes, data: bytes) -> bytes:
    """HMAC of `data` under a salt that is used once: by its definition (RFC 2104), since no key is worth preparing.

    `salt` is no longer than a block (64 bytes).
    """
    new = _HASHES.get(suite_name)
    if new is None:
        return suite(suite_name).hmac(salt, data)
    inner = salt.translate(_INNER) + _INNER_REST[len(salt) :]
    outer = salt.translate(_OUTER) + _OUTER_REST[len(salt) :]
    return new(outer + new(inner + data).digest()).digest()


class PreparedVerifier:
    """Verifies signatures of calls with an application's key (`kernel.httpsig.Verifier`)."""

    __slots__ = ("_keyed", "algorithm")

    def __init__(self, algorithm: str, secret: bytes) -> None:
        """Raises ValueError for an algorithm that is not one of keyed digests."""
        if not secret:
            raise ValueError("an empty key")
        self.algorithm = algorithm
        self._keyed = KeyedDigest(suite_of_hmac(algorithm), secret)

    def is_right(self, data: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self._keyed.digest(data), signature)


class Ed25519Verifier:
    """Verifies signatures of calls with the public half of an application's Ed25519 pair (RFC 8032)."""

    __slots__ = ("_public", "algorithm")

    def __init__(self, public_key: bytes) -> None:
        """Raises ValueError where it is no key."""
        self.algorithm = suite("international").signature_name
        self._public = Ed25519PublicKey.from_public_bytes(public_key)

    def is_right(self, data: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Sm2Verifier:
    """Verifies signatures of calls with the public half of an application's SM2 pair (GB/T 32918, SM3, default identity)."""

    __slots__ = ("_public", "algorithm")

    def __init__(self, public_key: bytes) -> None:
        """Raises ValueError where it is no key."""
        if len(public_key) != PUBLIC_BYTES or public_key[0] != 4:
            raise ValueError("not an uncompressed point")
        self.algorithm = suite("guomi").signature_name
        self._public = public_key
        sm2().verify(public_key, b"", b"")  # a point that is not on the curve is found here, not at the first call

    def is_right(self, data: bytes, signature: bytes) -> bool:
        try:
            return sm2().verify(self._public, data, signature)
        except ValueError:
            return False


def public_key_verifier(algorithm: str, public_key: bytes) -> Verifier:
    """The verifier of a key pair. Raises ValueError for another algorithm or what is no key."""
    if algorithm == suite("international").signature_name:
        return Ed25519Verifier(public_key)
    if algorithm == suite("guomi").signature_name:
        return Sm2Verifier(public_key)
    raise ValueError(f"no signature {algorithm}")
