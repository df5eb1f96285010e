"""A node without a network to its platform: what it would have sent and received is carried as files.

`export` packs a heartbeat, every result that the platform has not acknowledged, the chunks that belong to them, and the new key
where one is to come. `take` unpacks what the platform packed: acknowledgements, its word on the key, commands, and the chunks that
they deliver; then everything is worked.
Each may be repeated; a bundle taken twice changes nothing.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jinqiao.dataplane.node import rotation
from jinqiao.dataplane.node.errors import HomeNotCarried
from jinqiao.dataplane.node.process import Node
from jinqiao.dataplane.node.relay import checked_chunk
from jinqiao.kernel.bundles import BundleBroken, BundleOfAnotherNode, Content, check_sequence, read_bundle, write_bundle
from jinqiao.kernel.contracts.base import Contract, ContractBroken, canonical_json
from jinqiao.kernel.contracts.bundles import BundlePart, Direction, PartKind
from jinqiao.kernel.contracts.exchange import BatchManifest, CommandKind, CommandResult, NodeRotated, SignedMessage
from jinqiao.kernel.crypto.identity import PublicIdentity

logger = logging.getLogger(__name__)
Word = TypeVar("Word", bound=Contract)

UP, DOWN, ACKNOWLEDGED = Direction.UP.value, Direction.DOWN.value, "up-acknowledged"


@dataclass(frozen=True, slots=True)
class Taken:
    """What a bundle brought. `is_new` is False where it was taken before; `skipped` are numbers that never came, whose contents
    this bundle repeats."""

    sequence: int
    is_new: bool
    commands: int = 0
    chunks: int = 0
    skipped: tuple[int, ...] = ()


def export(node: Node, to: Path) -> Path:
    """Pack what the platform has not acknowledged; the file, under its own name where `to` is a folder.

    Raises HomeNotCarried, BundleNotWritten, ChunkMissing, StagedChunkBroken.
    """
    _check(node)
    ledger = node.ledger
    results = ledger.unacknowledged()
    sequence = ledger.last_bundle(UP) + 1
    # written down before the file: a number that was once used is never used for other contents
    ledger.note_bundle(UP, sequence, "", [result.command_id for result in results])
    path = write_bundle(
        to,
        node.home.identity,
        _contents(node, results),
        node_id=node.home.node_id,
        direction=Direction.UP,
        sequence=sequence,
        since=ledger.last_bundle(ACKNOWLEDGED) + 1,
        acknowledged=ledger.last_bundle(DOWN),
    )
    logger.info("bundle %d was packed with %d results: %s", sequence, len(results), path.name)
    return path


def _contents(node: Node, results: list[CommandResult]) -> Iterator[Content]:
    _, heartbeat = node.heartbeat()
    yield Content(PartKind.HEARTBEAT, canonical_json(heartbeat.to_json()))
    for result in results:
        yield from _chunks(node, result)
        yield Content(PartKind.RESULT, canonical_json(result.to_json()))
    if (word := rotation.word_to_carry(node.home)) is not None:
        yield Content(PartKind.ROTATION, canonical_json(word.to_json()))


def _chunks(node: Node, result: CommandResult) -> Iterator[Content]:
    """The chunks of a batch that was staged, or those that the platform asked for again."""
    command = node.ledger.command(result.command_id)
    manifest: BatchManifest | None = result.manifest
    if result.ok and command is not None and command.kind is CommandKind.RESEND:
        manifest = node.spool.outgoing(command.run_id).manifest()
    if manifest is None:
        return
    wanted = set(command.chunks) if command is not None and command.kind is CommandKind.RESEND else None
    spool = node.spool.outgoing(manifest.run_id)
    for chunk in manifest.chunks:
        if wanted is None or chunk.number in wanted:
            data = checked_chunk(spool, manifest, chunk.number)
            yield Content(PartKind.CHUNK, data, run_id=manifest.run_id, number=chunk.number)


def take(node: Node, file: Path) -> Taken:
    """Verify a bundle of the platform, take what it brings and work it.

    Raises HomeNotCarried, BundleBroken, BundleSignatureWrong, BundleOfAnotherNode, BundleMissing, BundleOutdated, SpoolFull.
    """
    _check(node)
    home, ledger = node.home, node.ledger

    def platform_of(node_id: str, _key_id: str) -> PublicIdentity:
        if node_id != home.node_id:
            raise BundleOfAnotherNode(node=node_id, wanted=home.node_id)
        return home.platform

    bundle = read_bundle(file, Direction.DOWN, platform_of)
    manifest, last = bundle.manifest, ledger.last_bundle(DOWN)
    known = ledger.bundle_digest(DOWN, manifest.sequence)
    if not check_sequence(manifest, taken=last, digest=bundle.digest, digest_taken=known):
        node.work_all()
        return Taken(manifest.sequence, is_new=False)
    if manifest.acknowledged > ledger.last_bundle(UP):
        raise BundleBroken(reason="acknowledged", part=file.name)
    commands = chunks = 0
    for part, data in bundle.parts():
        if part.kind is PartKind.CHUNK:
            node.spool.incoming(part.run_id).write_chunk(part.number, data)
            chunks += 1
        elif part.kind is PartKind.COMMAND:
            node.take(_contract(part, data, SignedMessage))
            commands += 1
        elif part.kind is PartKind.ROTATED:
            rotation.take_carried(home, _contract(part, data, NodeRotated))
        else:
            raise BundleBroken(reason="kind", part=part.name)
    ledger.acknowledge_bundle(manifest.acknowledged)
    if manifest.acknowledged:
        ledger.note_bundle(ACKNOWLEDGED, manifest.acknowledged, "")
    ledger.note_bundle(DOWN, manifest.sequence, bundle.digest)
    node.work_all()
    return Taken(
        manifest.sequence,
        is_new=True,
        commands=commands,
        chunks=chunks,
        skipped=tuple(range(last + 1, manifest.sequence)),
    )


def _contract(part: BundlePart, data: bytes, kind: type[Word]) -> Word:
    try:
        return kind.from_json(json.loads(data))
    except (ValueError, RecursionError, ContractBroken) as problem:
        raise BundleBroken(reason=part.kind.value, part=part.name) from problem


def _check(node: Node) -> None:
    if not node.home.is_carried:
        raise HomeNotCarried(home=node.home.path.name)
