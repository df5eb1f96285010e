"""Nonces that were seen, so that no signed call is answered twice.

They are looked up in memory and become durable with the record of their call (`evidence.log`); at start they are read back. A
nonce is remembered until its signature is outside the window anyway.
"""

import hashlib

from jinqiao.dataplane.evidence.log import EvidenceLog, Token
from jinqiao.kernel.httpsig import NonceReplayed, SignedBy

WINDOW_S = 600
MARGIN_S = 5
BUCKET_S = 60
LOOK_EVERY_S = 5


class NonceStore:
    """Belongs to the event loop: looking and remembering are one step there, so two calls cannot both be first."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._buckets: dict[int, list[bytes]] = {}  # by the minute in which they may be forgotten
        self._next_look = 0.0

    def load(self, log: EvidenceLog, now: float) -> None:
        for token in log.tokens(int(now)):
            self._remember(token)

    def take(self, signed: SignedBy, now: float) -> Token:
        """Remember the nonce of a verified signature. Raises NonceReplayed where it was seen before."""
        digest = hashlib.sha256(f"{signed.key_id}\n{signed.nonce}".encode()).digest()[:16]
        if now >= self._next_look:
            self._forget(now)
        if digest in self._seen:
            raise NonceReplayed(key_id=signed.key_id)
        token = Token(digest, signed.created + WINDOW_S + MARGIN_S)
        self._remember(token)
        return token

    def _remember(self, token: Token) -> None:
        self._seen.add(token.value)
        self._buckets.setdefault(token.forget_at // BUCKET_S, []).append(token.value)

    def _forget(self, now: float) -> None:
        """Drop whole buckets, counting from the latest time seen: a clock set back revives nothing that is still stored."""
        for bucket in [number for number in self._buckets if (number + 1) * BUCKET_S < now]:
            self._seen.difference_update(self._buckets.pop(bucket))
        self._next_look = now + LOOK_EVERY_S

    def __len__(self) -> int:
        return len(self._seen)
