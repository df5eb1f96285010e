"""SM3 (GB/T 32905-2016) in plain Python, for a Python whose OpenSSL was built without it. Same face as `hashlib`."""

import struct

_INITIAL = (0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E)
_MASK = 0xFFFFFFFF


def _rotate(value: int, by: int) -> int:
    by %= 32
    return ((value << by) | (value >> (32 - by))) & _MASK


def _p0(x: int) -> int:
    return x ^ _rotate(x, 9) ^ _rotate(x, 17)


def _p1(x: int) -> int:
    return x ^ _rotate(x, 15) ^ _rotate(x, 23)


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    w = list(struct.unpack(">16I", block))
    for j in range(16, 68):
        w.append(_p1(w[j - 16] ^ w[j - 9] ^ _rotate(w[j - 3], 15)) ^ _rotate(w[j - 13], 7) ^ w[j - 6])
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        early = j < 16
        ss1 = _rotate((_rotate(a, 12) + e + _rotate(0x79CC4519 if early else 0x7A879D8A, j)) & _MASK, 7)
        ss2 = ss1 ^ _rotate(a, 12)
        ff = a ^ b ^ c if early else (a & b) | (a & c) | (b & c)
        gg = e ^ f ^ g if early else (e & f) | (~e & _MASK & g)
        tt1 = (ff + d + ss2 + (w[j] ^ w[j + 4])) & _MASK
        tt2 = (gg + h + ss1 + w[j]) & _MASK
        a, b, c, d = tt1, a, _rotate(b, 9), c
        e, f, g, h = _p0(tt2), e, _rotate(f, 19), g
    return tuple(x ^ y for x, y in zip(state, (a, b, c, d, e, f, g, h), strict=True))


class Sm3:
    """A running SM3; also usable as `digestmod` of `hmac.new`."""

    digest_size = 32
    block_size = 64
    name = "sm3"

    def __init__(self, data: bytes = b"") -> None:
        self._state: tuple[int, ...] = _INITIAL
        self._rest = b""
        self._length = 0
        self.update(data)

    def update(self, data: bytes, /) -> None:
        self._length += len(data)
        whole = self._rest + data
        end = len(whole) - len(whole) % 64
        for at in range(0, end, 64):
            self._state = _compress(self._state, whole[at : at + 64])
        self._rest = whole[end:]

    def copy(self) -> "Sm3":
        twin = Sm3()
        twin._state, twin._rest, twin._length = self._state, self._rest, self._length
        return twin

    def digest(self) -> bytes:
        twin = self.copy()
        twin.update(b"\x80" + bytes((55 - self._length) % 64) + struct.pack(">Q", self._length * 8))
        return struct.pack(">8I", *twin._state)

    def hexdigest(self) -> str:
        return self.digest().hex()
