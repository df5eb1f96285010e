"""How calls are drawn: by a seed that was committed to before, so that nobody could know which, and everybody can do it again.

    score(call) = HMAC(seed, number of the period ‖ "\\n" ‖ call id)       HMAC of the period's suite; text as UTF-8
    count       = min(most, max(least, ⌈share × candidates⌉)), not more than there are
    drawn       = the `count` candidates of a consumer with the smallest scores (ties by call id)

Candidates are the answered production calls of one consumer in the period. The digest of the seed's 32 bytes is published before
the period ends, the seed itself with the draw.
"""

import heapq
import math
import secrets
from collections.abc import Iterable

from jinqiao.kernel.crypto.suites import suite

SEED_BYTES = 32


def new_seed() -> bytes:
    return secrets.token_bytes(SEED_BYTES)


def seed_digest(seed: bytes, suite_name: str) -> str:
    """What is published of a seed: its digest, hex."""
    return suite(suite_name).digest(seed).hex()


def sample_size(candidates: int, *, share: float, least: int, most: int) -> int:
    """How many of a consumer's candidates are drawn."""
    return min(candidates, most, max(least, math.ceil(share * candidates)))


def drawn(seed: bytes, period: str, call_ids: Iterable[str], count: int, *, suite_name: str) -> list[tuple[str, str]]:
    """Score (hex) and id of the calls drawn, smallest score first."""
    score = suite(suite_name).keyed(seed)
    scored = ((score(f"{period}\n{call_id}".encode()).hex(), call_id) for call_id in call_ids)
    return heapq.nsmallest(count, scored)
