"""Key pairs of applications: made, kept in a PEM file, used to sign calls. The private half never leaves this machine."""

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jinqiao.dataplane.client.errors import KeyFileNotWritten, SecretNotReadable
from jinqiao.kernel.crypto import sm2 as sm2_ways
from jinqiao.kernel.crypto.public_keys import ALGORITHMS, ED25519, SM2, public_pem
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite

# PKCS#8 (RFC 8410; GB/T 35276 with the ECPrivateKey of RFC 5915) around the keys: the form that openssl writes too
_ED25519_HEAD = bytes.fromhex("302e020100300506032b657004220420")
_SM2_HEAD = bytes.fromhex("308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420")
_SM2_MIDDLE = bytes.fromhex("a144034200")
_PEM = re.compile(r"\s*-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Signs calls (`kernel.httpsig.Signer`). `public` is raw: 32 bytes of Ed25519, the 65 bytes of an SM2 point."""

    algorithm: str
    public: bytes
    private: bytes = field(repr=False)

    @classmethod
    def generate(cls, algorithm: str = ED25519) -> Self:
        """A new pair. Raises ValueError for another algorithm than ed25519 and sm2-sm3."""
        if algorithm not in ALGORITHMS:
            raise ValueError(f"no key pair algorithm {algorithm}")
        if algorithm == ED25519:
            key = Ed25519PrivateKey.generate()
            return cls(algorithm, key.public_key().public_bytes_raw(), key.private_bytes_raw())
        private, public = sm2_ways.sm2().generate()
        return cls(algorithm, public, private)

    @classmethod
    def load(cls, file: Path) -> Self:
        """The pair of a PEM file (PKCS#8, not encrypted). Raises SecretNotReadable."""
        try:
            match = _PEM.fullmatch(file.read_text(encoding="ascii"))
            der = base64.b64decode("".join(match[1].split()), validate=True) if match else b""
        except (OSError, ValueError, binascii.Error) as problem:
            raise SecretNotReadable(file=str(file)) from problem
        if der.startswith(_ED25519_HEAD) and len(der) == len(_ED25519_HEAD) + 32:
            private = der[len(_ED25519_HEAD) :]
            return cls(ED25519, Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw(), private)
        at = len(_SM2_HEAD) + sm2_ways.PRIVATE_BYTES
        public = der[at + len(_SM2_MIDDLE) :]
        if der.startswith(_SM2_HEAD) and der[at:].startswith(_SM2_MIDDLE) and len(public) == sm2_ways.PUBLIC_BYTES:
            return cls(SM2, public, der[len(_SM2_HEAD) : at])
        raise SecretNotReadable(file=str(file))

    def save(self, file: Path) -> None:
        """Write the private key to a new file that only its owner reads. Raises KeyFileNotWritten, also where one stands there."""
        if self.algorithm == ED25519:
            der = _ED25519_HEAD + self.private
        else:
            der = _SM2_HEAD + self.private + _SM2_MIDDLE + self.public
        lines = base64.encodebytes(der).decode("ascii").replace("\n", "")
        wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as opened:
                opened.write(f"-----BEGIN PRIVATE KEY-----\n{wrapped}\n-----END PRIVATE KEY-----\n")
        except OSError as problem:
            raise KeyFileNotWritten(file=str(file)) from problem

    @property
    def public_pem(self) -> str:
        return public_pem(self.algorithm, self.public)

    @property
    def digest_name(self) -> str:
        return next(suite(name).digest_name for name in SUITE_NAMES if suite(name).signature_name == self.algorithm)

    def sign(self, data: bytes) -> bytes:
        if self.algorithm == ED25519:
            return Ed25519PrivateKey.from_private_bytes(self.private).sign(data)
        return sm2_ways.sm2().sign(self.private, self.public, data)
