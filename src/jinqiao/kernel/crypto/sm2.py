"""SM2 signatures and public key encryption (GB/T 32918), by OpenSSL where it has SM2, else by gmssl.

Keys are plain bytes: a private key is 32 bytes big-endian, a public key the 65 bytes of an uncompressed point. Signatures
are the DER sequence of r and s (GM/T 0009), with the default user identity. Ciphertexts are the DER sequence of GM/T 0009
(x, y, hash, ciphertext: the order C1 C3 C2). Both ways give and take the same bytes.
"""

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


@cache
def sm2() -> Sm2:
    """The best SM2 of this machine, tried once by a signature. Raises Sm2NotThere."""
    from jinqiao.kernel.crypto import sm2_gmssl, sm2_openssl

    reasons: list[str] = []
    for make in (sm2_openssl.OpensslSm2, sm2_gmssl.GmsslSm2):
        try:
            way = make()
            private, public = way.generate()
            if way.verify(public, b"probe", way.sign(private, public, b"probe")):
                return way
        except (OSError, ImportError, AttributeError, ValueError, RuntimeError) as problem:
            reasons.append(f"{make.__name__}: {type(problem).__name__}")
    raise Sm2NotThere(tried=", ".join(reasons))
