"""Records of query calls, kept by the gateway and shipped to the centre. No personal value stands in them."""

from dataclasses import dataclass
from datetime import datetime

from jinqiao.kernel.contracts.base import Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(Contract):
    """One call, answered or refused. `key_commitment` is an HMAC of the lookup key under the gateway's own secret, so that the
    same person can be recognised without the number being guessed; `answer_commitment` covers the answer's bytes with a salt."""

    call_id: str
    lane: str
    number: int  # position in the lane, from 1
    at: datetime
    gateway: str
    service: str
    grant_id: str
    application: str
    key_id: str
    consumer: str
    provider: str
    purpose: str
    case_number: str
    end_user: str
    items: tuple[str, ...]
    outcome: str  # "ok", or the error code of the refusal
    rows: int
    request_digest: str
    key_commitment: str
    answer_commitment: str
    duration_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBatch(Contract):
    """A group commit: the records of one batch, their Merkle root, and h = H(previous h ‖ root)."""

    lane: str
    batch: int  # from 1
    records: tuple[CallRecord, ...]
    merkle_root: str
    previous: str
    chain: str
