"""Records of query calls, kept by the gateway and shipped to the centre. No personal value stands in them."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeGuard

from jinqiao.kernel.contracts.base import Contract, ContractBroken, canonical_json
from jinqiao.kernel.contracts.exchange import SignedMessage

RECEIPT = "receipt"
"""`operation` of a record by which a consumer confirms what it got: the other side's record of the call in `confirms`."""
EXAMPLES = "examples"
"""`operation` of a record of who asked what he may ask the sandbox."""
DOCUMENT = "openapi"
"""`operation` of a record of who asked for the description of what he may ask."""
SHED = "shed"
"""`operation` of a record that sums up calls refused unread for want of a place; `keys` says how many they were."""


LANE_CHARACTERS = 40


def is_lane(name: object) -> TypeGuard[str]:
    """Whether it is the name of a lane: short, and nothing that a table or a page would read otherwise than it looks."""
    return isinstance(name, str) and 0 < len(name) <= LANE_CHARACTERS and name.isprintable()


def _check_lane(told: "EvidenceBatch | Anchor") -> None:
    if not is_lane(told.lane):
        raise ContractBroken(where=type(told).__name__, wanted="lane", got="text")


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
    READS_ALSO = (1,)

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
class BodiesDeleted(Contract):
    """Records were deleted after their time: of which batches, by which rule. Leaves, roots and chain of them stay.

    It stands in the chain as a record of its own where a gateway did it, or is signed as a SignedMessage where the centre did.
    """

    lane: str = ""  # its own place in the chain, where it stands in one
    number: int = 0
    at: datetime
    gateway: str  # whose evidence
    of_lane: str
    first_batch: int
    last_batch: int
    records: int  # how many
    older_than: datetime  # every record deleted is older
    keep_days: int  # the rule by which that is long enough
    reason: str  # e.g. "retention"
    archive_digest: str = ""  # hex, of the pack that was written before


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceBatch(Contract):
    """A group commit: its records as the canonical lines that were recorded, byte for byte, their Merkle root, and
    h = H(previous h ‖ root). Leaves cover the lines, so that a record of any earlier version stays verifiable."""

    VERSION = 2

    lane: str
    batch: int  # from 1
    lines: tuple[str, ...]
    merkle_root: str
    previous: str
    chain: str

    @property
    def records(self) -> tuple[CallRecord, ...]:
        """The calls and receipts among the lines. Raises ContractBroken, ValueError."""
        return tuple(record for line in self.lines if isinstance(record := read_line(line), CallRecord))

    @classmethod
    def from_json(cls, data: Any) -> Self:
        if isinstance(data, dict) and data.get("_") == "EvidenceBatch/1":  # a gateway of the release before
            fields = {name: value for name, value in data.items() if name != "records"}
            records = data.get("records")
            if not isinstance(records, list):
                raise ContractBroken(where=cls.__name__, wanted="records", got=type(records).__name__)
            lines = [canonical_json(record).decode("utf-8") for record in records]
            data = {**fields, "_": f"{cls.__name__}/{cls.VERSION}", "lines": lines}
        told = super(EvidenceBatch, cls).from_json(data)
        _check_lane(told)
        return told


def read_line(line: str) -> CallRecord | BodiesDeleted:
    """What stands in a line of the chain. Raises ContractBroken, ValueError."""
    data = json.loads(line)
    if isinstance(data, dict) and str(data.get("_", "")).startswith(f"{BodiesDeleted.__name__}/"):
        return BodiesDeleted.from_json(data)
    return CallRecord.from_json(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor(Contract):
    """What a gateway says each minute of a lane: up to this batch and record, this is the chain. Signed as a SignedMessage."""

    gateway: str
    lane: str
    batch: int
    number: int  # last record of the batch
    chain: str
    at: datetime

    @classmethod
    def from_json(cls, data: Any) -> Self:
        told = super(Anchor, cls).from_json(data)
        _check_lane(told)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Countersignature(Contract):
    """Another node has seen this anchor. `anchor` is the SignedMessage of the gateway, as JSON; signed as a SignedMessage."""

    anchor: dict[str, Any]
    witness: str  # number of the node that countersigns, PLATFORM where the centre does
    seen_at: datetime


PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorsOffered(Contract):
    """A gateway's anchors for the centre, and those of which it waits for a witness: digests of their canonical bytes, hex."""

    anchors: tuple[SignedMessage, ...] = ()
    unwitnessed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIdentity(Contract):
    """A public identity and the time in which it signed; open at an end that is not known."""

    node: str  # number, or PLATFORM
    kind: str  # "gateway", "node", "platform"
    identity: dict[str, Any]  # kernel PublicIdentity
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorsTaken(Contract):
    """The centre's own countersignatures of what it took, those of witnesses that came in since, and who these are. Signed as a
    SignedMessage by the platform."""

    countersignatures: tuple[SignedMessage, ...] = ()
    identities: tuple[KnownIdentity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLane(Contract):
    """What of a lane a pack holds. `previous` is the chain value before its first batch."""

    lane: str
    first_batch: int
    last_batch: int
    first_number: int
    last_number: int
    previous: str
    member: str  # file in the pack


@dataclass(frozen=True, slots=True, kw_only=True)
class PackMember(Contract):
    """A file in a pack: digests (hex) of its content, and of the bytes as they are stored, compressed."""

    name: str
    size: int
    digest: str
    stored_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackManifest(Contract):
    """What a pack of evidence holds, signed by who wrote it. Digests are of `suite`."""

    gateway: str
    suite: str
    exported_by: str  # number of the gateway, or PLATFORM
    exported_at: datetime
    lanes: tuple[PackLane, ...]
    members: tuple[PackMember, ...]
    purpose: str = "export"  # or "archive", or "period"


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof(Contract):
    """One record belongs to a lane's chain as it was anchored; nothing of any other record is in it.

    The line's leaf leads by `siblings` to the root of its batch; that root, `previous` and the roots of the batches that follow
    lead to the chain value in the anchor.
    """

    gateway: str
    suite: str
    lane: str
    batch: int
    first_number: int
    count: int  # records of the batch
    line: str
    siblings: tuple[str, ...]
    previous: str
    following_roots: tuple[str, ...]  # of the batches after it, up to the anchor's
    anchor: SignedMessage
    countersignatures: tuple[SignedMessage, ...]
    identities: tuple[KnownIdentity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReceipt(Contract):
    """The receipt of a run with the signatures of both sides as they were made: each a SignedMessage of the same Receipt."""

    sender: SignedMessage
    receiver: SignedMessage | None  # nothing where it has not signed yet
    identities: tuple[KnownIdentity, ...]
