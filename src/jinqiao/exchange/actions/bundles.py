"""The platform's side of bundles: they carry the same words as the machine interface, and are taken by the same actions.

A bundle of a node holds heartbeat, chunks, results, and its new key where one is to come; a bundle for a node holds
acknowledgements, the word on its key, commands, and the chunks that it is to deliver. Both are signed as a whole, numbered, and repeat what was not acknowledged, so that a lost file costs nothing.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from django.db import transaction
from django.db.models import Max

from jinqiao.audit import trail
from jinqiao.exchange.actions.commanding import OPEN
from jinqiao.exchange.actions.commands import accept_result, hand_out, note_carried
from jinqiao.exchange.actions.platform import node_actor, platform_identity, public_identity
from jinqiao.exchange.actions.relay import open_chunk, store_chunk
from jinqiao.exchange.actions.rotation import rotate_identity, word_on_rotation
from jinqiao.exchange.enums import CommandState, NodeKind, NodeState
from jinqiao.exchange.errors import (
    NodeAwaitsApproval,
    NodeKindWrong,
    NodeMissing,
    NodeNotActive,
    NotYourRun,
    RunStateWrong,
)
from jinqiao.exchange.models import BundleRecord, Node, NodeCommand, NodeIdentity, RelayChunk
from jinqiao.kernel import moments
from jinqiao.kernel.bundles import (
    Bundle,
    BundleBroken,
    BundleOfAnotherNode,
    BundleSignatureWrong,
    Content,
    check_sequence,
    read_bundle,
    write_bundle,
)
from jinqiao.kernel.contracts.base import Contract, canonical_json
from jinqiao.kernel.contracts.bundles import BundlePart, Direction, PartKind
from jinqiao.kernel.contracts.exchange import CommandKind, CommandResult, Heartbeat, NodeRotation, SignedMessage
from jinqiao.kernel.crypto.identity import PublicIdentity, fingerprint
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError

log = logging.getLogger(__name__)
Kind = TypeVar("Kind", bound=Contract)


@dataclass(frozen=True, slots=True)
class BundleTaken:
    """What a node's bundle brought. `is_new` is False where it was taken before; `skipped` are numbers that never came, whose
    contents this one repeats; `refused` are codes of what was not taken, by the name of the part."""

    node: str
    sequence: int
    is_new: bool
    results: int = 0
    chunks: int = 0
    skipped: tuple[int, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def import_bundle(file: Path) -> BundleTaken:
    """Verify a node's bundle and take what it brings; may be repeated.

    Raises BundleBroken, BundleSignatureWrong, BundleOfAnotherNode, BundleMissing, BundleOutdated, NodeAwaitsApproval, NodeNotActive,
    and what may be tried again, e.g. RelayFull.
    """
    found: dict[str, Node] = {}

    def identity_of(number: str, key_id: str) -> PublicIdentity:
        node = Node.objects.select_related("organisation").filter(number=number).first()
        if node is None or not node.identity:
            raise BundleOfAnotherNode(node=number, wanted="jinqiao")
        found[number] = node
        return _identity(node, key_id)

    bundle = read_bundle(file, Direction.UP, identity_of)
    manifest = bundle.manifest
    node = found[manifest.node_id]
    _check_node(node)
    taken = _last(node, Direction.UP)
    known = BundleRecord.objects.filter(node=node, direction=Direction.UP.value, sequence=manifest.sequence).first()
    if not check_sequence(manifest, taken=taken, digest=bundle.digest, digest_taken=known.digest if known else ""):
        return BundleTaken(node.number, manifest.sequence, is_new=False)
    if not _may_sign(node, bundle.signer):
        raise BundleSignatureWrong(node=node.number)
    if manifest.acknowledged > _last(node, Direction.DOWN):
        raise BundleBroken(reason="acknowledged", part=file.name)
    _acknowledge(node, manifest.acknowledged)
    results, chunks, refused = _take_parts(node, bundle)
    skipped = tuple(range(taken + 1, manifest.sequence))
    with transaction.atomic():
        BundleRecord.objects.create(
            node=node,
            direction=Direction.UP.value,
            sequence=manifest.sequence,
            digest=bundle.digest,
            parts=len(manifest.parts),
            at=moments.now(),
        )
        trail.record(
            "exchange.bundle.take",
            by=node_actor(node),
            about=trail.subject(node),
            sequence=manifest.sequence,
            results=results,
            chunks=chunks,
            skipped=list(skipped),
            refused=[code for _, code in refused],
        )
    return BundleTaken(node.number, manifest.sequence, True, results, chunks, skipped, refused)


def _take_parts(node: Node, bundle: Bundle) -> tuple[int, int, tuple[tuple[str, str], ...]]:
    results = chunks = 0
    refused = []
    for part, data in bundle.parts():
        try:
            if part.kind is PartKind.CHUNK:
                chunks += _take_chunk(node, part, data)
            elif part.kind is PartKind.RESULT:
                accept_result(node, _contract(part, data, CommandResult))
                results += 1
            elif part.kind is PartKind.HEARTBEAT:
                note_carried(node, _contract(part, data, Heartbeat))
            elif part.kind is PartKind.ROTATION:
                rotate_identity(node, _contract(part, data, NodeRotation), signed_with=bundle.signer)
            else:
                raise BundleBroken(reason="kind", part=part.name)
        except JinqiaoError as problem:
            if problem.retryable or isinstance(problem, BundleBroken):
                raise
            log.warning("bundle %d of %s, %s: %s", bundle.manifest.sequence, node.number, part.name, problem.code)
            refused.append((part.name, problem.code))
    return results, chunks, tuple(refused)


def _take_chunk(node: Node, part: BundlePart, data: bytes) -> int:
    """1 where the chunk was kept; 0 where the run has gone on without it, for an earlier bundle brought it."""
    digest = suite(platform_identity().suite).digest(data).hex()
    try:
        store_chunk(part.run_id, part.number, data, digest, node=node)
    except RunStateWrong:
        return 0
    return 1


def _contract(part: BundlePart, data: bytes, kind: type[Kind]) -> Kind:
    try:
        return kind.from_json(json.loads(data))
    except (ValueError, RecursionError) as problem:
        raise BundleBroken(reason="form", part=part.name) from problem


def export_bundle(node: Node, to: Path) -> Path:
    """Pack what waits for a node; the file, under its own name where `to` is a folder.

    Raises NodeAwaitsApproval, NodeNotActive, NodeKindWrong, BundleNotWritten.
    """
    _check_node(node)
    acknowledged = (
        BundleRecord.objects.filter(node=node, direction=Direction.DOWN.value).exclude(acknowledged_at=None).first()
    )
    messages = [message for pk in _waiting(node, acknowledged) if (message := hand_out(node, pk)) is not None]
    with transaction.atomic():
        node = Node.objects.select_for_update(of=("self",)).select_related("organisation").get(pk=node.pk)
        sequence = _last(node, Direction.DOWN) + 1
        # written down before the file: a number that was once used is never used for other contents
        BundleRecord.objects.create(
            node=node,
            direction=Direction.DOWN.value,
            sequence=sequence,
            digest="",
            parts=len(messages),
            at=moments.now(),
        )
        trail.record(
            "exchange.bundle.make",
            by=trail.SYSTEM,
            about=trail.subject(node),
            sequence=sequence,
            commands=len(messages),
        )
    return write_bundle(
        to,
        platform_identity(),
        _contents(node, messages),
        node_id=node.number,
        direction=Direction.DOWN,
        sequence=sequence,
        since=(acknowledged.sequence if acknowledged else 0) + 1,
        acknowledged=_last(node, Direction.UP),
    )


def _waiting(node: Node, acknowledged: BundleRecord | None) -> list[int]:
    """Commands that the node has not got yet: what went with an acknowledged bundle it has."""
    commands = NodeCommand.objects.filter(node=node, state__in=OPEN)
    if acknowledged is not None:
        commands = commands.exclude(state=CommandState.TAKEN, taken_at__lte=acknowledged.at)
    return list(commands.order_by("id").values_list("pk", flat=True))


def _contents(node: Node, messages: list[SignedMessage]) -> Iterator[Content]:
    if (word := word_on_rotation(node)) is not None:
        yield Content(PartKind.ROTATED, canonical_json(word.to_json()))
    for message in messages:
        if message.body.get("kind") == CommandKind.DELIVER.value:
            yield from _chunks(node, str(message.body["run_id"]))
        yield Content(PartKind.COMMAND, canonical_json(message.to_json()))


def _chunks(node: Node, run_number: str) -> Iterator[Content]:
    """What the relay holds for this delivery. What it has lost is left out: the node asks for it."""
    for number in RelayChunk.objects.filter(run__number=run_number).order_by("number").values_list("number", flat=True):
        try:
            data, _chunk = open_chunk(run_number, number, node=node)
        except NotYourRun:
            return
        except JinqiaoError as problem:
            log.warning("chunk %d of %s stays out of the bundle: %s", number, run_number, problem.code)
            continue
        yield Content(PartKind.CHUNK, data, run_id=run_number, number=number)


def node_by_number(number: str) -> Node:
    """Raises NodeMissing."""
    node = Node.objects.select_related("organisation").filter(number=number).first()
    if node is None:
        raise NodeMissing(node=number)
    return node


def _identity(node: Node, key_id: str) -> PublicIdentity:
    """The identity with that key, if the node has or had it; else the one of now, which will not verify."""
    former = NodeIdentity.objects.filter(node=node, key_id=key_id).exclude(key_id=node.key_id).first()
    return PublicIdentity.from_json(former.identity) if former else public_identity(node)


def _may_sign(node: Node, key_id: str) -> bool:
    """Whether new bundles may be signed with that key of a node: the one of now; or the one before it, as long as a carried node
    cannot know that the new one is taken, which it tells by acknowledging a bundle that was made since."""
    if key_id == node.key_id:
        return True
    current = NodeIdentity.objects.filter(node=node, key_id=node.key_id).first()
    if current is None or not NodeIdentity.objects.filter(node=node, key_id=key_id, until=current.since).exists():
        return False
    records = BundleRecord.objects.filter(node=node)
    was_carried = records.filter(direction=Direction.UP.value, at__lte=current.since)
    has_heard = records.filter(direction=Direction.DOWN.value, at__gt=current.since).exclude(acknowledged_at=None)
    return was_carried.exists() and not has_heard.exists()


def _check_node(node: Node) -> None:
    if node.kind != NodeKind.FRONT_END:
        raise NodeKindWrong(node=node.number)
    if node.state == NodeState.AWAITING:
        raise NodeAwaitsApproval(node=node.number, fingerprint=fingerprint(node.key_id))
    if node.state != NodeState.ACTIVE:
        raise NodeNotActive(node=node.number)


def _last(node: Node, direction: Direction) -> int:
    records = BundleRecord.objects.filter(node=node, direction=direction.value)
    return int(records.aggregate(last=Max("sequence"))["last"] or 0)


def _acknowledge(node: Node, sequence: int) -> None:
    BundleRecord.objects.filter(
        node=node, direction=Direction.DOWN.value, sequence__lte=sequence, acknowledged_at=None
    ).update(acknowledged_at=moments.now())
