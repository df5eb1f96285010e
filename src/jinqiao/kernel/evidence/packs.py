"""Packs of evidence: one file with everything that a third party needs to check it, without the platform and without a network.

lanes/1.jsonl, …          the batches of one lane, one a line (`batches.StoredBatch`), in their order
anchors.jsonl             SignedMessages of Anchors
countersignatures.jsonl   SignedMessages of Countersignatures
deletions.jsonl           SignedMessages of BodiesDeleted, where the centre deleted
identities.json           KnownIdentities: public keys of all who signed, with the time in which they were in use
manifest.json             SignedMessage of the PackManifest; the last one, and not compressed
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinqiao.kernel.contracts.base import ContractBroken, canonical_json
from jinqiao.kernel.contracts.evidence import KnownIdentity, PackLane, PackManifest, PackMember
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.errors import SuiteUnknown
from jinqiao.kernel.crypto.identity import Identity, sign_message
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.errors import NotFound
from jinqiao.kernel.evidence import merkle
from jinqiao.kernel.evidence.batches import StoredBatch
from jinqiao.kernel.evidence.checking import EvidenceCheck, Head, Verdict
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.container import STORED, Container, Damaged, Writer, Written
from jinqiao.kernel.evidence.signers import Signers, has_moments
from jinqiao.kernel.keystore import written_durably

MANIFEST, IDENTITIES = "manifest.json", "identities.json"
ANCHORS, COUNTERSIGNATURES, DELETIONS = "anchors.jsonl", "countersignatures.jsonl", "deletions.jsonl"

PERIOD = "period"
"""`purpose` of a pack with the calls of a period: it ends where the period does, and calls that its receipts name may lie outside."""
PARTS = frozenset({PERIOD, "archive"})


class NothingToExport(NotFound):
    """There are no batches in what was asked for."""

    code = "evidence.pack.empty"


@dataclass(frozen=True, slots=True)
class PackContent:
    """What goes into a pack. The batches of each lane follow each other without a gap."""

    gateway: str
    suite: str
    lanes: Mapping[str, Iterable[StoredBatch]]
    anchors: Sequence[SignedMessage]
    countersignatures: Sequence[SignedMessage]
    identities: Sequence[KnownIdentity]
    deletions: Sequence[SignedMessage] = ()


def write_pack(
    path: Path, content: PackContent, *, exporter: Identity, exported_by: str, at: datetime, purpose: str = "export"
) -> PackManifest:
    """Write a pack, whole or not at all. Raises NothingToExport, PackTooLarge, OSError."""
    with written_durably(path) as file:
        return _write(Writer(file, suite(content.suite)), content, exporter, exported_by, at, purpose)


def _write(
    writer: Writer, content: PackContent, exporter: Identity, exported_by: str, at: datetime, purpose: str
) -> PackManifest:
    members, lanes = list[Written](), list[PackLane]()
    for index, (lane, batches) in enumerate(content.lanes.items(), 1):
        span = _Span(batches)
        written = writer.add(f"lanes/{index}.jsonl", iter(span))
        if span.first is None or span.last is None:
            continue
        members.append(written)
        lanes.append(
            PackLane(
                lane=lane,
                first_batch=span.first.batch,
                last_batch=span.last.batch,
                first_number=span.first.first,
                last_number=span.last.first + len(span.last.leaves) - 1,
                previous=span.first.previous.hex(),
                member=written.name,
            )
        )
    if not lanes:
        raise NothingToExport
    for name, messages in (
        (ANCHORS, content.anchors),
        (COUNTERSIGNATURES, content.countersignatures),
        (DELETIONS, content.deletions),
    ):
        members.append(writer.add(name, (message.canonical() + b"\n" for message in messages)))
    identities = canonical_json([identity.to_json() for identity in content.identities])
    members.append(writer.add(IDENTITIES, iter([identities])))
    manifest = PackManifest(
        gateway=content.gateway,
        suite=content.suite,
        exported_by=exported_by,
        exported_at=at,
        lanes=tuple(lanes),
        members=tuple(
            PackMember(name=one.name, size=one.size, digest=one.digest, stored_digest=one.stored_digest)
            for one in members
        ),
        purpose=purpose,
    )
    writer.add(MANIFEST, iter([sign_message(manifest, exporter).canonical()]), compress=False)
    writer.finish()
    return manifest


class _Span:
    """Gives batches as lines and remembers the first and the last."""

    def __init__(self, batches: Iterable[StoredBatch]) -> None:
        self._batches = batches
        self.first: StoredBatch | None = None
        self.last: StoredBatch | None = None

    def __iter__(self) -> Iterator[bytes]:
        for batch in self._batches:
            self.first, self.last = self.first or batch, batch
            yield batch.to_line()


# ── reading ──


class OpenPack:
    """A pack opened for checking. What is wrong with it becomes findings; nothing is raised but OSError."""

    def __init__(self, path: Path) -> None:
        self.findings = Findings()
        self.container: Container | None = None
        self.manifest: PackManifest | None = None
        self.message: SignedMessage | None = None
        self._file = path.open("rb")
        try:
            self.container = Container(self._file)
            self._read_manifest(self.container)
        except Damaged as damage:
            self.findings.add(damage.code, part=damage.part)

    def close(self) -> None:
        self._file.close()

    def _read_manifest(self, container: Container) -> None:
        member = container.members.get(MANIFEST)
        if member is None:
            self.findings.add(Code.MEMBER_MISSING, member=MANIFEST)
            return
        raw = container.bytes_of(MANIFEST)
        try:
            message = SignedMessage.from_json(json.loads(raw))
            body = message.body
            if member.method != STORED or message.canonical() != raw:
                raise ValueError("not canonical")
            if isinstance(body.get("suite"), str):
                suite(body["suite"])
            suite(message.suite)
            manifest = PackManifest.from_json(body)
            if not has_moments(manifest):
                raise ValueError("a time is no moment")
            self.message, self.manifest = message, manifest
        except SuiteUnknown as problem:
            self.findings.add(Code.SUITE_UNKNOWN, suite=str(problem.details.get("name"))[:40])
        except (ValueError, ContractBroken, RecursionError):
            self.findings.add(Code.MANIFEST_FORM)

    def check_members(self, by: Suite) -> None:
        """Every member as the manifest has it, and no other."""
        if self.container is None or self.manifest is None:
            return
        named = {member.name: member for member in self.manifest.members}
        for name in self.container.members:
            if name not in named and name != MANIFEST:
                self.findings.add(Code.MEMBER_EXTRA, member=name)
        for name, member in named.items():
            if name not in self.container.members:
                self.findings.add(Code.MEMBER_MISSING, member=name)
                continue
            stored, whole = by.hasher(), by.hasher()
            try:
                for piece in self.container.stored(name):
                    stored.update(piece)
                for piece in self.container.content(name):
                    whole.update(piece)
            except Damaged as damage:
                self.findings.add(damage.code, part=damage.part)
            if (stored.hexdigest(), whole.hexdigest()) != (member.stored_digest, member.digest):
                self.findings.add(Code.MANIFEST_DIGEST, member=name)

    def messages(self, name: str) -> list[SignedMessage]:
        """Signed messages of a member; what does not have its form is a finding."""
        found = []
        if self.container is not None and name in self.container.members:
            with self._reading(name):
                for line in self.container.lines(name):
                    message = SignedMessage.from_json(json.loads(line))
                    message.canonical()  # it has such a form: no half surrogates, no NaN
                    found.append(message)
        return found

    def identities(self) -> list[KnownIdentity]:
        found: list[KnownIdentity] = []
        if self.container is not None and IDENTITIES in self.container.members:
            with self._reading(IDENTITIES):
                for entry in json.loads(self.container.bytes_of(IDENTITIES)):
                    found.append(KnownIdentity.from_json(entry))
        return found

    def batches(self, name: str) -> Iterator[StoredBatch]:
        """Raises nothing: what cannot be read ends the lane with a finding."""
        if self.container is not None and name in self.container.members:
            with self._reading(name):
                for line in self.container.lines(name):
                    yield StoredBatch.from_line(line)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except Damaged as damage:
            self.findings.add(damage.code, part=damage.part)
        except (ValueError, ContractBroken, TypeError, RecursionError):
            self.findings.add(Code.MEMBER_FORM, member=name)

    def lines(self) -> Iterator[str]:
        """Every record that is there, lane by lane."""
        for lane in self.manifest.lanes if self.manifest else ():
            for batch in self.batches(lane.member):
                yield from batch.lines if batch.lines is not None else batch.kept.values()


@contextlib.contextmanager
def open_pack(path: Path) -> Iterator[OpenPack]:
    """Raises OSError."""
    pack = OpenPack(path)
    try:
        yield pack
    finally:
        pack.close()


def verify_pack(
    path: Path,
    *,
    trusted: frozenset[str] = frozenset(),
    anchors: Sequence[SignedMessage] = (),
    heads: Mapping[str, Head] | None = None,
) -> Verdict:
    """Check a pack. `trusted` are key ids known from elsewhere, `anchors` and `heads` what somebody else, e.g. a witness, has
    kept of the same lanes: they show a pack that was cut off before it was signed. Raises OSError."""
    with open_pack(path) as pack:
        return _verified(pack, trusted, anchors, heads or {})


def _verified(
    pack: OpenPack, trusted: frozenset[str], anchors: Sequence[SignedMessage], heads: Mapping[str, Head]
) -> Verdict:
    findings, manifest, message = pack.findings, pack.manifest, pack.message
    if manifest is None or message is None:
        return Verdict(findings=findings.all)
    heads = {lane: head for lane, head in heads.items() if _is_within(manifest, lane, head[0])}
    by = suite(manifest.suite)
    signers = Signers(pack.identities(), findings, trusted)
    opened = signers.opened(message, PackManifest, what="manifest", wrong=Code.MANIFEST_SIGNATURE)
    if opened is not None:
        if opened[1] != manifest.exported_by:
            findings.add(Code.MANIFEST_SIGNATURE)
        signers.check_time(message.key_id, manifest.exported_at, "manifest")
    pack.check_members(by)
    is_part = manifest.purpose == PERIOD or any(lane.first_batch > 1 for lane in manifest.lanes)
    check = EvidenceCheck(
        gateway=manifest.gateway,
        by=by,
        signers=signers,
        findings=findings,
        at=manifest.exported_at,
        is_part=is_part,
    )
    check.take_anchors([*pack.messages(ANCHORS), *(one for one in anchors if _concerns(one, manifest))])
    check.take_deletions(pack.messages(DELETIONS))
    for lane in manifest.lanes:
        check.take_lane(
            lane.lane,
            pack.batches(lane.member),
            start=_start(lane),
            last_batch=lane.last_batch,
            head=heads.get(lane.lane),
        )
    for name in heads.keys() - {lane.lane for lane in manifest.lanes}:
        findings.add(Code.LANE_MISSING, name)
    check.take_countersignatures(pack.messages(COUNTERSIGNATURES))
    verdict = check.finish(pack.lines)
    verdict.exported_by, verdict.exported_at = manifest.exported_by, manifest.exported_at
    verdict.purpose = manifest.purpose
    return verdict


def _concerns(anchor: SignedMessage, manifest: PackManifest) -> bool:
    """Whether an anchor that somebody else kept says anything of this pack: one of this gateway; where the pack says that it is a
    part, only one of the batches in it."""
    word = anchor.body
    return word.get("gateway") == manifest.gateway and _is_within(manifest, word.get("lane"), word.get("batch"))


def _is_within(manifest: PackManifest, lane: object, batch: object) -> bool:
    if manifest.purpose not in PARTS:
        return True
    spans = {one.lane: (one.first_batch, one.last_batch) for one in manifest.lanes}
    first, last = spans.get(str(lane), (1, 0))
    return isinstance(batch, int) and first <= batch <= last


def _start(lane: PackLane) -> tuple[int, int, bytes]:
    """Where a lane begins in the pack; its very first batch can follow nothing."""
    if lane.first_batch <= 1:
        return 1, 1, merkle.GENESIS
    try:
        return lane.first_batch, lane.first_number, bytes.fromhex(lane.previous)
    except ValueError:
        return lane.first_batch, lane.first_number, b""
