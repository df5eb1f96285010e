"""The two suites of algorithms behind one interface.

    international   SHA-256, HMAC-SHA-256, AES-256-GCM; Ed25519 and X25519 (RFC 8032, RFC 7748)
    guomi           SM3 (GB/T 32905), HMAC-SM3, SM4-GCM (GB/T 32907, RFC 8998); SM2 (GB/T 32918)

Ciphertexts are `nonce (12) ‖ ciphertext ‖ tag (16)`. A fresh random nonce is drawn for every call: keep to fewer than 2^32
messages under one key (NIST SP 800-38D, 8.3), which per-batch data keys do by a wide margin.
"""

import hashlib
import hmac
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal, Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from jinqiao.kernel.crypto import sm3_python
from jinqiao.kernel.crypto.errors import SealBroken, SuiteUnknown

SuiteName = Literal["international", "guomi"]
SUITE_NAMES: tuple[SuiteName, ...] = ("international", "guomi")
NONCE_BYTES = 12
TAG_BYTES = 16
_BLOCK_BYTES = 64


class Hasher(Protocol):
    """What `hashlib` gives: fed piece by piece."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> "Hasher": ...


class Suite(ABC):
    """Digest, keyed digest and authenticated encryption of one family of algorithms."""

    name: SuiteName
    digest_name: str  # as RFC 9530 names it, or as we do for SM3
    hmac_name: str
    signature_name: str
    key_bytes: int

    @abstractmethod
    def hasher(self) -> Hasher: ...

    def digest(self, data: bytes) -> bytes:
        hasher = self.hasher()
        hasher.update(data)
        return hasher.digest()

    def digest_each(self, data: bytes, ends: Sequence[int]) -> bytes:
        """The digests of many pieces of `data`, one after another: each goes from one of `ends` to the next."""
        fresh, made = self.hasher().copy, []  # a copy is made sooner than a new one, and it is asked for millions
        for start, end in pairwise(ends):
            hasher = fresh()
            hasher.update(data[start:end])
            made.append(hasher.digest())
        return b"".join(made)

    @abstractmethod
    def hmac(self, key: bytes, data: bytes) -> bytes: ...

    def keyed(self, key: bytes) -> Callable[[bytes], bytes]:
        """`hmac` under one key for many messages: the key is set up once (RFC 2104; both digests have blocks of 64 octets)."""
        padded = (self.digest(key) if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        inner, outer = self.hasher(), self.hasher()
        inner.update(bytes(octet ^ 0x36 for octet in padded))
        outer.update(bytes(octet ^ 0x5C for octet in padded))

        def of(data: bytes) -> bytes:
            first, second = inner.copy(), outer.copy()
            first.update(data)
            second.update(first.digest())
            return second.digest()

        return of

    def derive(self, secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
        """HKDF (RFC 5869) with this suite's HMAC."""
        pseudo_random_key = self.hmac(salt or bytes(32), secret)
        output, block, counter = b"", b"", 1
        while len(output) < length:
            block = self.hmac(pseudo_random_key, block + info + bytes([counter]))
            output += block
            counter += 1
        return output[:length]

    def new_key(self) -> bytes:
        return os.urandom(self.key_bytes)

    def encrypt(self, key: bytes, plaintext: bytes, associated: bytes = b"") -> bytes:
        """`nonce ‖ ciphertext ‖ tag`; `associated` is authenticated and not sent."""
        self._check_key(key)
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._encrypt(key, nonce, plaintext, associated)

    def decrypt(self, key: bytes, data: bytes, associated: bytes = b"") -> bytes:
        """The plaintext. Raises SealBroken where key, data or `associated` is not the one of `encrypt`."""
        self._check_key(key)
        if len(data) < NONCE_BYTES + TAG_BYTES:
            raise SealBroken
        try:
            return self._decrypt(key, data[:NONCE_BYTES], data[NONCE_BYTES:], associated)
        except InvalidTag as problem:
            raise SealBroken from problem

    def _check_key(self, key: bytes) -> None:
        if len(key) != self.key_bytes:
            raise ValueError(f"a key of suite {self.name} has {self.key_bytes} bytes, not {len(key)}")

    @abstractmethod
    def _encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes: ...

    @abstractmethod
    def _decrypt(self, key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes: ...


class International(Suite):
    name: SuiteName = "international"
    digest_name = "sha-256"
    hmac_name = "hmac-sha256"
    signature_name = "ed25519"
    key_bytes = 32

    def hasher(self) -> Hasher:
        return hashlib.sha256()

    def digest(self, data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    def hmac(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    def _encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        return AESGCM(key).encrypt(nonce, plaintext, associated)

    def _decrypt(self, key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        return AESGCM(key).decrypt(nonce, sealed, associated)


class Guomi(Suite):
    name: SuiteName = "guomi"
    digest_name = "sm3"
    hmac_name = "hmac-sm3"
    signature_name = "sm2-sm3"
    key_bytes = 16

    def __init__(self) -> None:
        try:
            hashlib.new("sm3")
        except ValueError:
            self._openssl_knows_sm3 = False
        else:
            self._openssl_knows_sm3 = True

    def hasher(self) -> Hasher:
        return hashlib.new("sm3") if self._openssl_knows_sm3 else sm3_python.Sm3()

    def hmac(self, key: bytes, data: bytes) -> bytes:
        if self._openssl_knows_sm3:
            return hmac.digest(key, data, "sm3")
        # the type stub knows hashlib's own classes only
        return hmac.new(key, data, sm3_python.Sm3).digest()  # type: ignore[arg-type]

    def _encrypt(self, key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        encryptor = Cipher(SM4(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated)
        return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag

    def _decrypt(self, key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
        decryptor = Cipher(SM4(key), modes.GCM(nonce, sealed[-TAG_BYTES:])).decryptor()
        decryptor.authenticate_additional_data(associated)
        return decryptor.update(sealed[:-TAG_BYTES]) + decryptor.finalize()


@cache
def suite(name: str) -> Suite:
    """The suite of that name. Raises SuiteUnknown."""
    if name == "international":
        return International()
    if name == "guomi":
        return Guomi()
    raise SuiteUnknown(name=name, known=", ".join(SUITE_NAMES))


def sm4_gcm_works() -> bool:
    """Whether the linked `cryptography` has SM4-GCM; `jinqiao doctor` asks before the suite `guomi` is chosen."""
    try:
        Cipher(SM4(bytes(16)), modes.GCM(bytes(12))).encryptor()
    except UnsupportedAlgorithm:
        return False
    return True
