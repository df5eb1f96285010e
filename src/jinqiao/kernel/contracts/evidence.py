"""Records of query calls, kept by the gateway and shipped to the centre. No personal value stands in them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinqiao.kernel.contracts.base import Contract

RECEIPT = "receipt"
"""`operation` of a record by which a consumer confirms what it got: the other side's record of the call in `confirms`."""
SHED = "shed"
"""`operation` of a record that sums up calls refused unread for want of a place; `keys` says how many they were."""


def error_owner(outcome: str) -> str:
    """On whose side the cause lies that a call was not answered: consumer, provider or gateway; empty where it was."""
    if outcome == "ok":
        return ""
    if outcome.startswith(("gateway.source.", "gateway.overload.source")):
        return "provider"
    if outcome.startswith(("gateway.policy.", "gateway.overload", "evidence.", "internal.", "service.")):
        return "gateway"
    return "consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord(Contract):
    """One call, answered or refused, or a consumer's receipt of one.

    `key_commitment` is an HMAC of the look-up keys under the gateway's own secret, `subjects` are commitments of the persons
    asked for or disclosed under the city's subject key ("key id:hex"): the same person can be recognised without the number
    being guessed. `answer_commitment` covers the answer's bytes with a salt that the caller gets.
    """

    VERSION = 2

    call_id: str
    lane: str
    number: int  # position in the lane, from 1
    at: datetime
    gateway: str
    environment: str = "production"  # kernel.contracts.policy.Environment
    service: str
    operation: str = "query"  # kernel.contracts.policy.Operation, or RECEIPT
    grant_id: str
    application: str
    key_id: str
    address: str = ""  # from where the application called
    consumer: str
    provider: str
    purpose: str
    case_number: str
    end_user: str
    role: str = ""  # of the end user, as the application says
    items: tuple[str, ...]
    outcome: str  # "ok", or the error code of the refusal
    keys: int = 1  # how many keys were asked for
    rows: int
    request_digest: str
    key_commitment: str
    subjects: tuple[str, ...] = ()
    answer_commitment: str
    confirms: str = ""  # of a receipt: the call
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor(Contract):
    """What a gateway says each minute of a lane: up to this batch and record, this is the chain. Signed as a SignedMessage."""

    gateway: str
    lane: str
    batch: int
    number: int  # last record of the batch
    chain: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Countersignature(Contract):
    """Another node has seen this anchor. `anchor` is the SignedMessage of the gateway, as JSON; signed as a SignedMessage."""

    anchor: dict[str, Any]
    witness: str  # number of the node that countersigns
    seen_at: datetime
