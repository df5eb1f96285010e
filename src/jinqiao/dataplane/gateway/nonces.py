"""Nonces that were seen, so that no signed call is answered twice.

They are looked up in memory and become durable with the record of their call (`evidence.log`); at start they are read back. A
nonce is remembered until its signature is outside the window anyway.
"""

import hashlib

from jinqiao.dataplane.evidence.log import EvidenceLog, Token
from jinqiao.kernel.httpsig import NonceReplayed, OutsideWindow, SignedBy

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
        self._forgotten = 0.0  # what was to be remembered until then at most may be gone

    def load(self, log: EvidenceLog, now: float) -> None:
        for token in log.tokens(int(now)):
            self._remember(token)

    def take(self, signed: SignedBy, now: float) -> Token:
        """Remember the nonce of a verified signature. Raises NonceReplayed where it was seen before, OutsideWindow where that is no
        longer known."""
        forget_at = signed.created + WINDOW_S + MARGIN_S
        if forget_at < self._forgotten:  # the clock was set back: it was a time in which this could have been seen
            raise OutsideWindow(window_s=WINDOW_S, now=int(now))
        digest = hashlib.sha256(f"{signed.key_id}\n{signed.nonce}".encode()).digest()[:16]
        if now >= self._next_look:
            self._forget(now)
        if digest in self._seen:
            raise NonceReplayed(key_id=signed.key_id)
        token = Token(digest, forget_at)
        self._remember(token)
        return token

    def _remember(self, token: Token) -> None:
        self._seen.add(token.value)
        self._buckets.setdefault(token.forget_at // BUCKET_S, []).append(token.value)

    def _forget(self, now: float) -> None:
        """Drop whole buckets whose time is over. What they held is not taken any more either, should the clock be set back."""
        self._forgotten = max(self._forgotten, now)
        for bucket in [number for number in self._buckets if (number + 1) * BUCKET_S < now]:
            self._seen.difference_update(self._buckets.pop(bucket))
        self._next_look = now + LOOK_EVERY_S

    def __len__(self) -> int:
        return len(self._seen)
