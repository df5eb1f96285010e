"""What can be shown of one call: that an answer is the one it was given, that a claim is false, that its record stands in the
chain, without anything of any other record.

An answer is committed to as HMAC(salt, bytes of the answer). The salt goes to the caller with the answer, and the gateway can
make it again from its own secret. Nobody can find another answer, with whatever salt, that leads to the same commitment: who
shows the answer that does, has refuted every other.
"""

import enum
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import (
    Anchor,
    CallRecord,
    Countersignature,
    InclusionProof,
    KnownIdentity,
    read_line,
)
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.batches import StoredBatch
from jinqiao.kernel.evidence.checking import Verdict
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.packs import ANCHORS, COUNTERSIGNATURES, OpenPack
from jinqiao.kernel.evidence.signers import Signers


class CallNotInEvidence(NotFound):
    """No record of that call stands in the evidence, or its text was deleted after its time. Details: call."""

    code = "evidence.proof.call_unknown"


class NotAnchored(NotFound):
    """No anchor in the evidence covers the record yet. Details: call."""

    code = "evidence.proof.not_anchored"


class AnswerSays(enum.StrEnum):
    """What comes of an answer, or a claimed one, held against a record."""

    FITS = "fits"  # it is the answer of this call
    DIFFERS = "differs"  # it is not, with this salt
    REFUTED = "refuted"  # the claimed answer is not; the one shown beside it is


def commitment(by: Suite, salt: bytes, answer: bytes) -> str:
    """The commitment of an answer, hex: HMAC of its bytes under the salt."""
    return by.hmac(salt, answer).hex()


def answer_says(by: Suite, record: CallRecord, salt: bytes, answer: bytes, claimed: bytes | None = None) -> AnswerSays:
    """Hold an answer against the record of a call; with `claimed`, what somebody else says was the answer.

    `REFUTED` needs the true answer: only a pair of salt and answer that leads to the commitment shows that another does not.
    """
    fits = hmac.compare_digest(commitment(by, salt, answer), record.answer_commitment)
    if not fits or not record.answer_commitment:
        return AnswerSays.DIFFERS
    return AnswerSays.REFUTED if claimed is not None and claimed != answer else AnswerSays.FITS


@dataclass(frozen=True, slots=True)
class Found:
    """A record, and where it stands."""

    lane: str
    batch: StoredBatch
    number: int
    line: str
    record: CallRecord


def find_call(pack: OpenPack, call_id: str) -> Found:
    """The record of a call in a pack. Raises CallNotInEvidence."""
    for lane in pack.manifest.lanes if pack.manifest else ():
        for batch in pack.batches(lane.member):
            for number, line in enumerate(batch.lines or (), batch.first):
                if call_id in line and (record := _call(line)) is not None and record.call_id == call_id:
                    return Found(lane.lane, batch, number, line, record)
    raise CallNotInEvidence(call=call_id[:40])


def _call(line: str) -> CallRecord | None:
    try:
        record = read_line(line)
    except (ContractBroken, ValueError):
        return None
    return record if isinstance(record, CallRecord) else None


@dataclass(frozen=True, slots=True)
class Covering:
    """The anchor that covers a record: the message, the roots of the batches between (hex), and who else signed it."""

    message: SignedMessage
    following_roots: Sequence[str]
    countersignatures: Sequence[SignedMessage]


def proof_of_record(
    gateway: str, suite_name: str, found: Found, anchor: Covering, identities: Sequence[KnownIdentity]
) -> InclusionProof:
    """The proof of one record of a batch whose leaves are all known; of other records it holds digests only."""
    batch = found.batch
    siblings = merkle.path(suite(suite_name).digest, batch.leaves, found.number - batch.first)
    return InclusionProof(
        gateway=gateway,
        suite=suite_name,
        lane=found.lane,
        batch=batch.batch,
        first_number=batch.first,
        count=len(batch.leaves),
        line=found.line,
        siblings=tuple(part.hex() for part in siblings),
        previous=batch.previous.hex(),
        following_roots=tuple(anchor.following_roots),
        anchor=anchor.message,
        countersignatures=tuple(anchor.countersignatures),
        identities=tuple(identities),
    )


def prove_inclusion(pack: OpenPack, call_id: str) -> InclusionProof:
    """A proof that the record of a call stands in the anchored chain. Raises CallNotInEvidence, NotAnchored."""
    found = find_call(pack, call_id)
    manifest = pack.manifest
    if manifest is None:
        raise CallNotInEvidence(call=call_id[:40])
    anchor = _first_anchor(pack, found)
    if anchor is None:
        raise NotAnchored(call=call_id[:40])
    message, until = anchor
    member = next(lane.member for lane in manifest.lanes if lane.lane == found.lane)
    covering = Covering(
        message,
        [one.root.hex() for one in pack.batches(member) if found.batch.batch < one.batch <= until],
        [word for word in pack.messages(COUNTERSIGNATURES) if word.body.get("anchor") == message.to_json()],
    )
    return proof_of_record(manifest.gateway, manifest.suite, found, covering, pack.identities())


def _first_anchor(pack: OpenPack, found: Found) -> tuple[SignedMessage, int] | None:
    """The first anchor at or after the record's batch, a countersigned one if there is one near, and its batch."""
    witnessed = [word.body.get("anchor") for word in pack.messages(COUNTERSIGNATURES)]
    covering = []
    for message in pack.messages(ANCHORS):
        batch = message.body.get("batch")
        if message.body.get("lane") == found.lane and isinstance(batch, int) and batch >= found.batch.batch:
            covering.append((message.to_json() not in witnessed, batch, message))
    if not covering:
        return None
    _, batch, message = min(covering, key=lambda entry: entry[:2])
    return message, batch


def verify_proof(
    proof: InclusionProof,
    trusted: frozenset[str] = frozenset(),
    *,
    signed: SignedMessage | None = None,
    identities: Sequence[KnownIdentity] = (),
) -> tuple[Verdict, CallRecord | None]:
    """Check a proof of inclusion; the record that it proves, where it can be read. `signed`: the message in which somebody, e.g.
    the platform, handed the proof out; `identities`: those to believe instead of those in the proof."""
    findings = Findings()
    verdict = Verdict(findings=findings.all, gateway=proof.gateway, suite=proof.suite)
    try:
        digest = suite(proof.suite).digest
    except JinqiaoError:
        findings.add(Code.SUITE_UNKNOWN, suite=proof.suite[:40])
        return verdict, None
    record = _call(proof.line)
    signers = Signers(identities or proof.identities, findings, trusted)
    if signed is not None:
        opened = signers.opened(signed, InclusionProof, what="proof", wrong=Code.PROOF_SIGNATURE)
        verdict.exported_by = opened[1] if opened else ""
    anchor = _anchor_of(proof, signers, findings)
    place = proof.lane, proof.batch
    if record is None:
        findings.add(Code.BATCH_FORM, *place, reason="not a record")
    elif (record.gateway, record.lane) != (proof.gateway, proof.lane):
        findings.add(Code.RECORD_MISPLACED, *place, record.number, gateway=record.gateway, of_lane=record.lane)
    elif not _leads(proof, record, anchor, digest):
        findings.add(Code.PROOF_PATH, *place, record.number)
    witnesses = _witnesses(proof, signers, findings)
    if anchor is not None:
        verdict.anchors = 1
        verdict.heads = {anchor.lane: (anchor.batch, anchor.chain)}
        if not witnesses:
            findings.add(Code.COUNTERSIGNATURE_MISSING, anchor.lane, anchor.batch)
    verdict.batches, verdict.records = 1, 1
    verdict.witnesses, verdict.signers = witnesses, tuple(signers.used.values())
    return verdict, record


def _anchor_of(proof: InclusionProof, signers: Signers, findings: Findings) -> Anchor | None:
    opened = signers.opened(proof.anchor, Anchor, what="anchor", wrong=Code.ANCHOR_SIGNATURE)
    if opened is None:
        return None
    anchor, node = opened
    if (node, anchor.gateway, anchor.lane) != (proof.gateway, proof.gateway, proof.lane):
        findings.add(Code.ANCHOR_OTHER_CHAIN, proof.lane, anchor.batch)
        return None
    signers.check_time(proof.anchor.key_id, anchor.at, "anchor")
    return anchor


def _leads(proof: InclusionProof, record: CallRecord, anchor: Anchor | None, digest: merkle.Digest) -> bool:
    """From the line up to the chain value that was anchored."""
    if anchor is None:
        return True  # told already
    try:
        leaf = merkle.leaf(digest, proof.line.encode("utf-8", "surrogatepass"))
        siblings = [bytes.fromhex(part) for part in proof.siblings]
        root = merkle.root_by_path(digest, leaf, record.number - proof.first_number, proof.count, siblings)
        chain = merkle.link(digest, bytes.fromhex(proof.previous), root)
        for following in proof.following_roots:
            chain = merkle.link(digest, chain, bytes.fromhex(following))
    except ValueError:
        return False
    return chain.hex() == anchor.chain and anchor.batch == proof.batch + len(proof.following_roots)


def _witnesses(proof: InclusionProof, signers: Signers, findings: Findings) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for message in proof.countersignatures:
        opened = signers.opened(message, Countersignature, what="countersignature", wrong=Code.COUNTERSIGNATURE_WRONG)
        if opened is None:
            continue
        word, node = opened
        signers.check_time(message.key_id, word.seen_at, "countersignature")
        if word.witness != node or node == proof.gateway or word.anchor != proof.anchor.to_json():
            findings.add(Code.COUNTERSIGNATURE_WRONG, witness=node, reason="anchor")
            continue
        found[node] = None
    return tuple(found)
