"""The check of evidence across lanes: anchors, countersignatures, deletions after their time, receipts.

The same check serves a pack and a gateway's own log: both give lanes as batches, and what was signed about them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import RECEIPT, Anchor, BodiesDeleted, Countersignature, KnownIdentity
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.suites import Suite
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.batches import LaneCheck, LaneSeen, StoredBatch
from jinqiao.kernel.evidence.codes import Code, Finding, Findings
from jinqiao.kernel.evidence.signers import Signers

WITNESS_WITHIN = timedelta(hours=1)
"""An anchor older than this, at the export, is expected to be countersigned; younger ones may still be on their way."""
LEAST_KEEP_DAYS = 180
"""No rule keeps records for less: network logs are kept for six months at least (Cybersecurity Law, Art. 21)."""
Head = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Deleted:
    """A range of batches whose records were deleted by rule."""

    lane: str
    first_batch: int
    last_batch: int
    at: datetime
    keep_days: int
    reason: str


@dataclass(slots=True)
class Verdict:
    """What a check found. `heads` are lane → (last batch, its chain value in hex): what a later check can be held against."""

    findings: list[Finding] = field(default_factory=list)
    more_findings: int = 0
    gateway: str = ""
    suite: str = ""
    exported_by: str = ""
    purpose: str = ""  # of a pack: "export", or which part it is
    exported_at: datetime | None = None
    batches: int = 0
    records: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
    first_batches: dict[str, int] = field(default_factory=dict)
    deleted: list[Deleted] = field(default_factory=list)
    anchors: int = 0
    witnesses: tuple[str, ...] = ()
    signers: tuple[KnownIdentity, ...] = ()

    @property
    def damage(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_damage]

    @property
    def ok(self) -> bool:
        """Whole: nothing was changed. What is open may still be among the findings."""
        return not self.damage

    @property
    def place(self) -> str:
        """Of the first damage; empty where there is none."""
        return self.damage[0].place() if self.damage else ""

    @property
    def reason(self) -> str:
        """Code of the first damage; empty where there is none."""
        return self.damage[0].code.value if self.damage else ""


class EvidenceCheck:
    """Take anchors and deletions first, then lanes, then countersignatures; `finish` gives the verdict."""

    def __init__(
        self, *, gateway: str, by: Suite, signers: Signers, findings: Findings, at: datetime, is_part: bool = False
    ) -> None:
        """`at`: when the evidence was written out; `is_part`: calls may lie outside of it."""
        self._gateway, self._by, self._signers, self._findings, self._at = gateway, by, signers, findings, at
        self._is_part = is_part
        self._anchors: dict[str, dict[int, list[Anchor]]] = {}
        self._anchor_messages: dict[bytes, Anchor] = {}
        self._deletions: list[BodiesDeleted] = []
        self._lanes: dict[str, LaneSeen] = {}
        self._countersigned: dict[str, int] = {}  # lane → highest batch
        self._witnesses: dict[str, None] = {}

    def take_anchors(self, messages: Iterable[SignedMessage]) -> None:
        for message in messages:
            if message.canonical() in self._anchor_messages:
                continue
            opened = self._signers.opened(message, Anchor, what="anchor", wrong=Code.ANCHOR_SIGNATURE)
            if opened is None:
                continue
            anchor, node = opened
            if self._gateway not in (node, anchor.gateway) or node != anchor.gateway:
                self._findings.add(Code.ANCHOR_SIGNATURE, anchor.lane, anchor.batch)
                continue
            self._signers.check_time(message.key_id, anchor.at, "anchor")
            self._anchors.setdefault(anchor.lane, {}).setdefault(anchor.batch, []).append(anchor)
            self._anchor_messages[message.canonical()] = anchor

    def take_deletions(self, messages: Iterable[SignedMessage]) -> None:
        """Deletion records that the centre signed."""
        for message in messages:
            opened = self._signers.opened(message, BodiesDeleted, what="deletion", wrong=Code.DELETION_SIGNATURE)
            if opened is not None:
                self._signers.check_time(message.key_id, opened[0].at, "deletion")
                self._deletions.append(opened[0])

    def take_lane(
        self,
        lane: str,
        batches: Iterable[StoredBatch],
        *,
        start: tuple[int, int, bytes] = (1, 1, merkle.GENESIS),
        last_batch: int | None = None,
        head: Head | None = None,
    ) -> None:
        """`last_batch`: where the lane must end; `head`: what somebody has seen of it before. May raise what `batches` raises."""

        def at_batch(batch: StoredBatch) -> None:
            last = batch.first + len(batch.leaves) - 1
            for anchor in self._anchors.get(lane, {}).get(batch.batch, ()):
                if (anchor.chain, anchor.number) != (batch.chain.hex(), last):
                    self._findings.add(Code.ANCHOR_OTHER_CHAIN, lane, batch.batch)
            if head is not None and head[0] == batch.batch and head[1] != batch.chain.hex():
                self._findings.add(Code.HEAD_DIFFERS, lane, batch.batch)

        check = LaneCheck(self._by, lane, self._gateway, self._findings, start=start, at_batch=at_batch)
        self._lanes[lane] = check.seen
        seen = check.run(batches)
        if last_batch is not None and seen.last_batch < last_batch:
            self._findings.add(Code.BATCH_MISSING, lane, seen.last_batch + 1)
        if head is not None and head[0] > seen.last_batch:
            self._findings.add(Code.LANE_CUT_OFF, lane, anchored=head[0], last=seen.last_batch)

    def take_countersignatures(self, messages: Iterable[SignedMessage]) -> None:
        for message in messages:
            wrong = Code.COUNTERSIGNATURE_WRONG
            opened = self._signers.opened(message, Countersignature, what="countersignature", wrong=wrong)
            if opened is None:
                continue
            word, node = opened
            self._signers.check_time(message.key_id, word.seen_at, "countersignature")
            reason = ""
            try:
                anchor = self._anchor_messages.get(SignedMessage.from_json(word.anchor).canonical())
            except ContractBroken:
                anchor = None
            if word.witness != node:
                reason = "signer"
            elif node == self._gateway:
                reason = "own"
            elif anchor is None:
                reason = "anchor"
            if reason or anchor is None:
                self._findings.add(wrong, witness=node, reason=reason)
                continue
            self._countersigned[anchor.lane] = max(self._countersigned.get(anchor.lane, 0), anchor.batch)
            self._witnesses[node] = None

    def finish(self, lines: Callable[[], Iterator[str]]) -> Verdict:
        """`lines` gives every record once more; it is asked only where there are receipts."""
        self._check_ends()
        deleted = [entry for lane, seen in self._lanes.items() for entry in self._check_deletions(lane, seen)]
        self._check_receipts(lines)
        return Verdict(
            findings=self._findings.all,
            more_findings=self._findings.more,
            gateway=self._gateway,
            suite=self._by.name,
            batches=sum(seen.batches for seen in self._lanes.values()),
            records=sum(seen.records for seen in self._lanes.values()),
            heads={lane: (seen.last_batch, seen.last_chain.hex()) for lane, seen in self._lanes.items()},
            first_batches={lane: seen.first_batch for lane, seen in self._lanes.items()},
            deleted=deleted,
            anchors=len(self._anchor_messages),
            witnesses=tuple(self._witnesses),
            signers=tuple(self._signers.used.values()),
        )

    def _check_ends(self) -> None:
        for lane, anchors in self._anchors.items():
            seen = self._lanes.get(lane)
            last = max(anchors)
            if seen is None:
                self._findings.add(Code.LANE_MISSING, lane)
            elif last > seen.last_batch:
                self._findings.add(Code.LANE_CUT_OFF, lane, anchored=last, last=seen.last_batch)
        for lane, seen in self._lanes.items():
            if not seen.batches:
                continue
            anchors = self._anchors.get(lane, {})
            if not anchors:
                self._findings.add(Code.ANCHOR_MISSING, lane)
                continue
            before = self._at - WITNESS_WITHIN
            due = [batch for batch, those in anchors.items() if any(anchor.at < before for anchor in those)]
            if due and self._countersigned.get(lane, 0) < max(due):
                self._findings.add(Code.COUNTERSIGNATURE_MISSING, lane, max(due))

    def _check_deletions(self, lane: str, seen: LaneSeen) -> Iterator[Deleted]:
        words = [*seen.deletions, *self._deletions]
        words = [word for word in words if (word.gateway, word.of_lane) == (self._gateway, lane)]
        words += [
            word
            for other, elsewhere in self._lanes.items()
            if other != lane
            for word in elsewhere.deletions
            if (word.gateway, word.of_lane) == (self._gateway, lane)
        ]
        words.sort(key=lambda word: (word.first_batch, word.last_batch))
        for word in words:
            if self._is_early(lane, word):
                self._findings.add(Code.DELETION_EARLY, lane, word.first_batch, keep_days=word.keep_days)
        for first, last in seen.without_lines:
            at = first
            for word in words:
                if word.first_batch <= at <= word.last_batch:
                    end = min(word.last_batch, last)
                    yield Deleted(lane, at, end, word.at, word.keep_days, word.reason)
                    at = end + 1
                if at > last:
                    break
            if at <= last:
                self._findings.add(Code.DELETION_NOT_COVERED, lane, at, last=last)

    def _is_early(self, lane: str, word: BodiesDeleted) -> bool:
        """Deleted before the rule's time: by its own words, or by an anchor that shows that a deleted batch is younger."""
        if word.keep_days < LEAST_KEEP_DAYS or word.at - word.older_than < timedelta(days=word.keep_days):
            return True
        before = [
            anchor
            for batch, those in self._anchors.get(lane, {}).items()
            if batch < word.last_batch
            for anchor in those
        ]
        return any(anchor.at >= word.older_than for anchor in before)

    def _check_receipts(self, lines: Callable[[], Iterator[str]]) -> None:
        receipts: dict[str, list[tuple[str, str, str]]] = {}  # call → lane, commitment, application
        for lane, seen in self._lanes.items():
            for call, commitment, application in seen.receipts:
                receipts.setdefault(call, []).append((lane, commitment, application))
        if not receipts:
            return
        calls = _calls_among(lines(), receipts)
        is_whole = not self._is_part and not any(seen.without_lines for seen in self._lanes.values())
        for call, those in receipts.items():
            fields = calls.get(call)
            for lane, commitment, application in those:
                if fields is None or fields[1] != application:
                    if fields is not None or is_whole:
                        self._findings.add(Code.RECEIPT_WITHOUT_CALL, lane, call=call[:40])
                elif fields[0] != commitment:
                    self._findings.add(Code.RECEIPT_CONTRADICTS, lane, call=call[:40])


def _calls_among(lines: Iterator[str], wanted: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """Commitment and application of those calls that were answered."""
    found = {}
    for line in lines:
        try:
            fields = json.loads(line)
            is_call = fields.get("operation") != RECEIPT and fields.get("outcome") == "ok"
        except (ValueError, AttributeError, RecursionError):
            continue
        call = fields.get("call_id")
        if is_call and isinstance(call, str) and call in wanted:
            found[call] = (str(fields.get("answer_commitment")), str(fields.get("application")))
    return found
