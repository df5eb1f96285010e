"""A log in pieces, cut between two transactions: what was read of it is kept by whoever reads, and not asked for again.

The server forgets nothing before a delivery acknowledges it; a piece that is lost is read from the server once more.
"""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

PIECE_BYTES = 4 << 20
PIECE_S = 2.0  # at least as often while the log is read

_HEAD = struct.Struct(">QQBB")
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Piece:
    """Messages of whole transactions from one position up to another. `is_last`: nothing more is wanted; `more`: though the log
    holds more."""

    since: int
    reached: int
    messages: tuple[bytes, ...]
    is_last: bool = False
    more: bool = False

    def to_bytes(self) -> bytes:
        parts = [_HEAD.pack(self.since, self.reached, self.is_last, self.more)]
        for message in self.messages:
            parts += (_LENGTH.pack(len(message)), message)
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        since, reached, is_last, more = _HEAD.unpack_from(data)
        messages, at = [], _HEAD.size
        while at < len(data):
            (length,) = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            messages.append(data[at : at + length])
            at += length
        return cls(since, reached, tuple(messages), bool(is_last), bool(more))


class Pieces(Protocol):
    """Where pieces are kept."""

    def given(self, start: int) -> Iterator[Piece]:
        """Those of earlier calls, each from where the one before it ended; up to the first that is lost."""

    def keep(self, piece: Piece) -> None:
        """Behind the last one that was given or kept."""


class Nowhere:
    """Nothing is kept."""

    def given(self, start: int) -> Iterator[Piece]:
        return iter(())

    def keep(self, piece: Piece) -> None:
        """It is gone when the reading ends."""


class Cutter:
    """Collects messages and keeps a piece whenever one is large or old enough."""

    def __init__(self, pieces: Pieces, start: int) -> None:
        self._pieces, self._start = pieces, start
        self._messages: list[bytes] = []
        self._size, self._since = 0, time.monotonic()

    def add(self, message: bytes) -> None:
        self._messages.append(message)
        self._size += len(message)

    def committed(self, reached: int) -> None:
        """A transaction is whole."""
        if self._size >= PIECE_BYTES or (self._messages and time.monotonic() - self._since >= PIECE_S):
            self._cut(Piece(self._start, reached, tuple(self._messages)))

    def end(self, reached: int, *, more: bool) -> None:
        self._cut(Piece(self._start, reached, tuple(self._messages), is_last=True, more=more))

    def _cut(self, piece: Piece) -> None:
        self._pieces.keep(piece)
        self._start = piece.reached
        self._messages, self._size, self._since = [], 0, time.monotonic()
