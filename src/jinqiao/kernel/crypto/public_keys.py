"""Public keys of applications: read as people paste them (PEM or hex), used as raw bytes.

Ed25519: 32 bytes. SM2: the 65 bytes of an uncompressed point; signatures are the DER sequence of r and s over the data with the
default user identity, as `kernel.crypto.sm2` has them.
"""

import base64
import binascii
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jinqiao.kernel.crypto import sm2 as sm2_ways
from jinqiao.kernel.crypto.errors import PublicKeyNotRead

ED25519, SM2 = "ed25519", "sm2-sm3"
ALGORITHMS = (ED25519, SM2)
# SubjectPublicKeyInfo before the key itself (RFC 8410; GB/T 35276): the whole of its variety for these two algorithms
_SPKI = {
    ED25519: bytes.fromhex("302a300506032b6570032100"),
    SM2: bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200"),
}
_SIZES = {ED25519: 32, SM2: sm2_ways.PUBLIC_BYTES}
_PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*", re.ASCII)


def read_public_key(algorithm: str, text: str) -> bytes:
    """The raw key of a PEM (SubjectPublicKeyInfo) or of hex digits; of SM2 also without the leading 04.

    Raises PublicKeyNotRead; ValueError for another algorithm than `ALGORITHMS`.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no key pair algorithm {algorithm}")
    size, head = _SIZES[algorithm], _SPKI[algorithm]
    match = _PEM.fullmatch(text)
    try:
        raw = base64.b64decode("".join(match[1].split()), validate=True) if match else bytes.fromhex(text.strip())
    except (ValueError, binascii.Error) as problem:
        raise PublicKeyNotRead(algorithm=algorithm) from problem
    if match or len(raw) == len(head) + size:
        if not raw.startswith(head):
            raise PublicKeyNotRead(algorithm=algorithm)
        raw = raw[len(head) :]
    if algorithm == SM2 and len(raw) == size - 1:
        raw = b"\x04" + raw
    if len(raw) != size or (algorithm == SM2 and raw[0] != 4):
        raise PublicKeyNotRead(algorithm=algorithm)
    return raw


def public_pem(algorithm: str, raw: bytes) -> str:
    """A raw public key as PEM (SubjectPublicKeyInfo)."""
    lines = base64.b64encode(_SPKI[algorithm] + raw).decode("ascii")
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{wrapped}\n-----END PUBLIC KEY-----\n"


def read_signature(text: str) -> bytes:
    """A pasted signature, base64 or hex, blanks and line ends left out; empty where it is neither."""
    compact = "".join(text.split())
    for read in (bytes.fromhex, _from_base64):
        try:
            return read(compact)
        except (ValueError, binascii.Error):
            continue
    return b""


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def is_signed_by(algorithm: str, public_key: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the holder of that key signed exactly `data`. A key that is no key signed nothing."""
    try:
        if algorithm == ED25519:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
            return True
        return algorithm == SM2 and sm2_ways.sm2().verify(public_key, data, signature)
    except (InvalidSignature, ValueError):
        return False
