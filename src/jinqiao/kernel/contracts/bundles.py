"""Signed bundles: what a node and its platform say to each other where no network may join them, carried as one file.

A bundle goes up (node → platform) or down (platform → node). Each direction of a node counts its bundles from 1. A bundle holds
everything since the last one that the other side has acknowledged, so that a lost file costs nothing: `since` says from which
sequence number on its contents are whole.
"""

import enum
from dataclasses import dataclass
from datetime import datetime

from jinqiao.kernel.contracts.base import Contract


class Direction(enum.StrEnum):
    UP = "up"  # signed by the node
    DOWN = "down"  # signed by the platform


class PartKind(enum.StrEnum):
    HEARTBEAT = "heartbeat"  # up: a Heartbeat
    RESULT = "result"  # up: a CommandResult
    COMMAND = "command"  # down: a SignedMessage of a Command
    CHUNK = "chunk"  # both: an encrypted chunk, sealed to the consumer's node
    ROTATION = "rotation"  # up: a NodeRotation, last
    ROTATED = "rotated"  # down: a NodeRotated, first


@dataclass(frozen=True, slots=True, kw_only=True)
class BundlePart(Contract):
    """One file of a bundle. `digest` is hexadecimal, by the suite of the signer."""

    name: str
    kind: PartKind
    size_bytes: int
    digest: str
    run_id: str = ""  # CHUNK
    number: int = 0  # CHUNK


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest(Contract):
    """What a bundle holds, in the order in which it is to be taken. Travels as a SignedMessage."""

    node_id: str
    direction: Direction
    sequence: int  # from 1
    since: int  # contents are whole from this bundle of the same direction on
    acknowledged: int = 0  # the last bundle of the other direction that the signer has taken
    parts: tuple[BundlePart, ...]
    made_at: datetime
