"""SM2 by gmssl's curve arithmetic, for a machine whose OpenSSL has none (about a hundred times slower, not constant-time).

Only its point multiplication, addition and signature equations are used. Around them stand what gmssl 3.2 leaves out:
random numbers from the operating system (its own come from `random`), points checked to lie on the curve, r and s checked
for range, the hash of a ciphertext checked, and keys whose text begins with 0 or 4 (its constructor strips those).
"""

import hmac
import secrets

from gmssl.sm2 import CryptSM2, default_ecc_table

from jinqiao.kernel.crypto.sm2 import PRIVATE_BYTES, PUBLIC_BYTES, USER_IDENTITY
from jinqiao.kernel.crypto.sm3_python import Sm3

_P, _N, _A, _B = (int(default_ecc_table[name], 16) for name in ("p", "n", "a", "b"))
_G: str = default_ecc_table["g"]


def _sm3(data: bytes) -> bytes:
    try:
        import hashlib

        return hashlib.new("sm3", data).digest()
    except ValueError:
        return Sm3(data).digest()


def _key_stream(secret: bytes, length: int) -> bytes:
    """Key derivation function of GB/T 32918.4, 5.4.3."""
    blocks = (_sm3(secret + counter.to_bytes(4, "big")) for counter in range(1, length // 32 + 2))
    return b"".join(blocks)[:length]


def _integer(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02" + _length(len(raw)) + raw


def _length(size: int) -> bytes:
    if size < 128:
        return bytes([size])
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


def _octets(data: bytes) -> bytes:
    return b"\x04" + _length(len(data)) + data


def _sequence(*parts: bytes) -> bytes:
    whole = b"".join(parts)
    return b"\x30" + _length(len(whole)) + whole


def _parts(der: bytes, tags: bytes) -> list[bytes]:
    """Contents of a DER sequence of exactly these tags. Raises ValueError."""

    def take(data: bytes, tag: int) -> tuple[bytes, bytes]:
        if len(data) < 2 or data[0] != tag:
            raise ValueError("not the expected DER")
        size, at = data[1], 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
            if not 1 <= count <= 4 or len(data) < at or size < 128 or data[2] == 0:
                raise ValueError("not the expected DER")
        if len(data) < at + size:
            raise ValueError("not the expected DER")
        return data[at : at + size], data[at + size :]

    inner, rest = take(der, 0x30)
    found: list[bytes] = []
    for tag in tags:
        part, inner = take(inner, tag)
        if tag == 0x02 and (not part or part[0] & 0x80 or (len(part) > 1 and part[0] == 0 and not part[1] & 0x80)):
            raise ValueError("not the expected DER")
        found.append(part)
    if inner or rest:
        raise ValueError("not the expected DER")
    return found


class GmsslSm2:
    name = "gmssl"

    def _curve(self, public: bytes | None = None, private: bytes | None = None) -> CryptSM2:
        curve = CryptSM2(private_key=private.hex() if private else "", public_key="")
        if private is not None and (len(private) != PRIVATE_BYTES or not 1 <= int.from_bytes(private, "big") < _N - 1):
            raise ValueError("not an SM2 key")
        if public is not None:
            if len(public) != PUBLIC_BYTES or public[0] != 4:
                raise ValueError("not an SM2 key")
            self._check_point(public[1:])
            curve.public_key = public[1:].hex()
        return curve

    @staticmethod
    def _check_point(point: bytes) -> None:
        x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
        if x >= _P or y >= _P or (y * y - (x * x * x + _A * x + _B)) % _P:
            raise ValueError("not a point of the curve")

    @staticmethod
    def _times(curve: CryptSM2, factor: int, point: str) -> bytes:
        return bytes.fromhex(curve._kg(factor, point))

    @staticmethod
    def _factor() -> int:
        return secrets.randbelow(_N - 2) + 1

    def generate(self) -> tuple[bytes, bytes]:
        private = self._factor()
        return private.to_bytes(PRIVATE_BYTES, "big"), b"\x04" + self._times(self._curve(), private, _G)

    @staticmethod
    def _hash(public: bytes, data: bytes) -> bytes:
        """e of GB/T 32918.2: SM3(Z ‖ M), Z over the identity, the curve and the public key."""
        curve = b"".join(number.to_bytes(32, "big") for number in (_A, _B)) + bytes.fromhex(_G)
        z = _sm3((len(USER_IDENTITY) * 8).to_bytes(2, "big") + USER_IDENTITY + curve + public[1:])
        return _sm3(z + data)

    def sign(self, private: bytes, public: bytes, data: bytes) -> bytes:
        curve = self._curve(public, private)
        while True:
            signature = curve.sign(self._hash(public, data), f"{self._factor():064x}")
            if signature:
                return _sequence(_integer(int(signature[:64], 16)), _integer(int(signature[64:], 16)))

    def verify(self, public: bytes, data: bytes, signature: bytes) -> bool:
        curve = self._curve(public)
        try:
            r, s = (int.from_bytes(part, "big") for part in _parts(signature, b"\x02\x02"))
        except ValueError:
            return False
        if not 1 <= r < _N or not 1 <= s < _N or (r + s) % _N == 0:
            return False
        return bool(curve.verify(f"{r:064x}{s:064x}", self._hash(public, data)))

    def encrypt(self, public: bytes, data: bytes) -> bytes:
        curve = self._curve(public)
        while True:
            factor = self._factor()
            point, shared = self._times(curve, factor, _G), self._times(curve, factor, public[1:].hex())
            stream = _key_stream(shared, len(data))
            if any(stream) or not data:
                break
        hidden = bytes(a ^ b for a, b in zip(data, stream, strict=True))
        check = _sm3(shared[:32] + data + shared[32:])
        x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
        return _sequence(_integer(x), _integer(y), _octets(check), _octets(hidden))

    def decrypt(self, private: bytes, public: bytes, data: bytes) -> bytes:
        curve = self._curve(public, private)
        x, y, check, hidden = _parts(data, b"\x02\x02\x04\x04")
        if len(x) > 33 or len(y) > 33:
            raise ValueError("not a point of the curve")
        point = int.from_bytes(x, "big").to_bytes(33, "big")[1:] + int.from_bytes(y, "big").to_bytes(33, "big")[1:]
        self._check_point(point)
        shared = self._times(curve, int.from_bytes(private, "big"), point.hex())
        plain = bytes(a ^ b for a, b in zip(hidden, _key_stream(shared, len(hidden)), strict=True))
        if not hmac.compare_digest(_sm3(shared[:32] + plain + shared[32:]), check):
            raise ValueError("the ciphertext was altered")
        return plain
