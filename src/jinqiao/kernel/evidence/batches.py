"""A batch of evidence as it is kept, and the check of a lane batch by batch. Nothing is held in memory but one batch."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from jinqiao.kernel.contracts.base import ContractBroken, canonical_json
from jinqiao.kernel.contracts.evidence import RECEIPT, BodiesDeleted
from jinqiao.kernel.crypto.suites import Suite
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.signers import has_moments

LEAF_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """One group commit. `lines` is None where the records were deleted after their time; `kept` then holds those lines that
    stay, by record number: the deletion records."""

    batch: int
    first: int  # number of its first record
    root: bytes
    previous: bytes
    chain: bytes
    leaves: tuple[bytes, ...]
    lines: tuple[str, ...] | None
    kept: Mapping[int, str] = field(default_factory=dict)

    def to_line(self) -> bytes:
        """Its form in a pack: one line of canonical JSON, with its end."""
        fields: dict[str, Any] = {
            "batch": self.batch,
            "first": self.first,
            "root": self.root.hex(),
            "previous": self.previous.hex(),
            "chain": self.chain.hex(),
            "leaves": base64.b64encode(b"".join(self.leaves)).decode("ascii"),
            "lines": None if self.lines is None else list(self.lines),
            "kept": {str(number): line for number, line in self.kept.items()},
        }
        return canonical_json(fields) + b"\n"

    @classmethod
    def from_line(cls, text: str) -> Self:
        """Raises ValueError."""
        data = json.loads(text)
        try:
            lines, kept, leaves = data["lines"], data["kept"], base64.b64decode(data["leaves"], validate=True)
            numbers = (data["batch"], data["first"])
            texts = [*(lines or ()), *kept.values()]
            if not all(isinstance(one, str) for one in texts) or not all(type(one) is int for one in numbers):
                raise ValueError("of another type")
            return cls(
                batch=numbers[0],
                first=numbers[1],
                root=bytes.fromhex(data["root"]),
                previous=bytes.fromhex(data["previous"]),
                chain=bytes.fromhex(data["chain"]),
                leaves=split_leaves(leaves),
                lines=None if lines is None else tuple(lines),
                kept={int(number): line for number, line in kept.items()},
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError("it does not have its form") from problem


class BatchMalformed(ValueError):
    """A batch does not have the form of one."""

    def __init__(self, lane: str, batch: int, reason: str) -> None:
        super().__init__(lane, batch, reason)
        self.lane, self.batch, self.reason = lane, batch, reason


def split_leaves(joined: bytes) -> tuple[bytes, ...]:
    """Raises ValueError where they are not whole."""
    if len(joined) % LEAF_BYTES:
        raise ValueError("leaves are not whole")
    return tuple(joined[at : at + LEAF_BYTES] for at in range(0, len(joined), LEAF_BYTES))


@dataclass(slots=True)
class LaneSeen:
    """What the check of one lane gathered for the checks across lanes."""

    first_batch: int = 0
    last_batch: int = 0
    last_chain: bytes = b""
    batches: int = 0
    records: int = 0
    without_lines: list[tuple[int, int]] = field(default_factory=list)  # ranges of batches
    deletions: list[BodiesDeleted] = field(default_factory=list)
    receipts: list[tuple[str, str, str]] = field(default_factory=list)  # call, commitment, application


AtBatch = Callable[[StoredBatch], None]


class LaneCheck:
    """Checks the batches of one lane in their order. `start` is where it begins: batch, number of the first record, chain value
    before it; a lane from its beginning starts at (1, 1, GENESIS)."""

    def __init__(
        self,
        by: Suite,
        lane: str,
        gateway: str,
        findings: Findings,
        *,
        start: tuple[int, int, bytes] = (1, 1, merkle.GENESIS),
        at_batch: AtBatch = lambda batch: None,
    ) -> None:
        self._digest, self._lane, self._gateway, self._findings = by.digest, lane, gateway, findings
        self._batch, self._number, self._previous = start
        self._at_batch = at_batch
        self.seen = LaneSeen(first_batch=start[0], last_batch=start[0] - 1, last_chain=start[2])

    def run(self, batches: Iterable[StoredBatch]) -> LaneSeen:
        for batch in batches:
            self.feed(batch)
        return self.seen

    def feed(self, batch: StoredBatch) -> None:
        self._check_place(batch)
        self._check_lines(batch)
        if not batch.leaves:
            self._find(Code.BATCH_FORM, batch, reason="no records")
            root = b""
        else:
            root = merkle.root(self._digest, batch.leaves)
        if root != batch.root:
            self._find(Code.BATCH_ROOT, batch)
        if merkle.link(self._digest, batch.previous, batch.root) != batch.chain:
            self._find(Code.BATCH_CHAIN, batch)
        self._at_batch(batch)
        self._batch, self._number, self._previous = batch.batch + 1, batch.first + len(batch.leaves), batch.chain
        seen = self.seen
        seen.last_batch, seen.last_chain = batch.batch, batch.chain
        seen.batches += 1
        seen.records += len(batch.leaves)

    def _find(self, code: Code, batch: StoredBatch, record: int = 0, **details: Any) -> None:
        self._findings.add(code, self._lane, batch.batch, record, **details)

    def _check_place(self, batch: StoredBatch) -> None:
        if batch.batch != self._batch:
            # one that is gone explains by itself why numbers and chain do not go on
            code, missing = (Code.BATCH_MISSING, self._batch) if batch.batch > self._batch else (Code.BATCH_FORM, 0)
            self._findings.add(code, self._lane, missing or batch.batch, reason="order")
            return
        if batch.first != self._number:
            self._find(Code.NUMBER_GAP, batch, batch.first, expected=self._number, got=batch.first)
        if batch.previous != self._previous:
            self._find(Code.BATCH_PREVIOUS, batch)

    def _check_lines(self, batch: StoredBatch) -> None:
        if batch.lines is None:
            ranges = self.seen.without_lines
            if ranges and ranges[-1][1] == batch.batch - 1:
                ranges[-1] = (ranges[-1][0], batch.batch)
            else:
                ranges.append((batch.batch, batch.batch))
            for number, line in batch.kept.items():
                at = number - batch.first
                if not 0 <= at < len(batch.leaves) or self._leaf(line) != batch.leaves[at]:
                    self._find(Code.RECORD_ALTERED, batch, number)
                else:
                    self._read(batch, number, line)
            return
        leaves = tuple(self._leaf(line) for line in batch.lines)
        if leaves != batch.leaves:
            self._tell_apart(batch, leaves)
            return
        for number, line in enumerate(batch.lines, batch.first):
            self._read(batch, number, line)

    def _leaf(self, line: str) -> bytes:
        return merkle.leaf(self._digest, line.encode("utf-8", "surrogatepass"))

    def _tell_apart(self, batch: StoredBatch, leaves: Sequence[bytes]) -> None:
        """Which of the ways to change records it was."""
        there, wanted = Counter(leaves), Counter(batch.leaves)
        if there == wanted:
            self._find(Code.RECORDS_REORDERED, batch)
            return
        missing, extra = wanted - there, there - wanted
        if not extra:
            self._find_each(batch, Code.RECORD_REMOVED, batch.leaves, missing)
        elif not missing:
            self._find_each(batch, Code.RECORD_INSERTED, leaves, extra)
        elif len(leaves) == len(batch.leaves):
            for number, (one, other) in enumerate(zip(leaves, batch.leaves, strict=True), batch.first):
                if one != other:
                    self._find(Code.RECORD_ALTERED, batch, number)
        else:
            self._find_each(batch, Code.RECORD_REMOVED, batch.leaves, missing)
            self._find_each(batch, Code.RECORD_INSERTED, leaves, extra)

    def _find_each(self, batch: StoredBatch, code: Code, leaves: Sequence[bytes], which: Counter[bytes]) -> None:
        left, numbers = Counter(which), list[int]()
        for number, leaf in reversed(
            list(enumerate(leaves, batch.first))
        ):  # of two that are alike, the later one is too many
            if left[leaf] > 0:
                left[leaf] -= 1
                numbers.append(number)
        for number in reversed(numbers):
            self._find(code, batch, number)

    def _read(self, batch: StoredBatch, number: int, line: str) -> None:
        """What a line says of its place, and what the checks across lanes need of it."""
        try:
            fields = json.loads(line)
            kind = str(fields["_"])
            place = (fields["gateway"], fields["lane"], fields["number"])
        except (ValueError, KeyError, TypeError, RecursionError):
            self._find(Code.BATCH_FORM, batch, number, reason="not a record")
            return
        if place[:2] != (self._gateway, self._lane):
            self._find(Code.RECORD_MISPLACED, batch, number, gateway=str(place[0])[:60], of_lane=str(place[1])[:40])
        elif place[2] != number:
            self._find(Code.NUMBER_GAP, batch, number, expected=number, got=place[2])
        if kind.startswith(f"{BodiesDeleted.__name__}/"):
            try:
                word = BodiesDeleted.from_json(fields)
            except ContractBroken:
                word = None
            if word is not None and has_moments(word):
                self.seen.deletions.append(word)
            else:
                self._find(Code.BATCH_FORM, batch, number, reason="not a record")
        elif fields.get("operation") == RECEIPT and fields.get("outcome") == "ok":
            words = (fields.get("confirms", ""), fields.get("answer_commitment", ""), fields.get("application", ""))
            self.seen.receipts.append(tuple(map(str, words)))  # type: ignore[arg-type]
