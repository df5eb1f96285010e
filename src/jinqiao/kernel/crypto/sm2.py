"""SM2 signatures and public key encryption (GB/T 32918), by OpenSSL where it has SM2, else by gmssl.

Keys are plain bytes: a private key is 32 bytes big-endian, a public key the 65 bytes of an uncompressed point. Signatures
are the DER sequence of r and s (GM/T 0009), with the default user identity. Ciphertexts are the DER sequence of GM/T 0009
(x, y, hash, ciphertext: the order C1 C3 C2). Both ways give and take the same bytes.
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from jinqiao.kernel.crypto.errors import Sm2NotThere

USER_IDENTITY = b"1234567812345678"  # GM/T 0009, 10: the default where none is agreed
PRIVATE_BYTES = 32
PUBLIC_BYTES = 65


class Sm2(Protocol):
    """One way of doing SM2. All methods raise ValueError for a key that is no key."""

    name: str

    def generate(self) -> tuple[bytes, bytes]:
        """A new pair: private key, public key."""

    def sign(self, private: bytes, public: bytes, data: bytes) -> bytes: ...

    def verify(self, public: bytes, data: bytes, signature: bytes) -> bool: ...

    def encrypt(self, public: bytes, data: bytes) -> bytes: ...

    def decrypt(self, private: bytes, public: bytes, data: bytes) -> bytes:
        """The plaintext. Raises ValueError where it cannot be opened."""


def _by_openssl() -> Sm2:
    from jinqiao.kernel.crypto.sm2_openssl import OpensslSm2

    return OpensslSm2()


def _by_gmssl() -> Sm2:
    from jinqiao.kernel.crypto.sm2_gmssl import GmsslSm2

    return GmsslSm2()


WAYS: tuple[tuple[str, Callable[[], Sm2]], ...] = (("openssl", _by_openssl), ("gmssl", _by_gmssl))


@cache
def sm2() -> Sm2:
    """The best SM2 of this machine, tried once by a signature. Raises Sm2NotThere."""
    reasons: list[str] = []
    for name, make in WAYS:
        try:
            way = make()
            private, public = way.generate()
            if way.verify(public, b"probe", way.sign(private, public, b"probe")):
                return way
            reasons.append(f"{name}: wrong")
        except (OSError, ImportError, AttributeError, ValueError, RuntimeError) as problem:
            reasons.append(f"{name}: {type(problem).__name__}")
    raise Sm2NotThere(tried=", ".join(reasons))
