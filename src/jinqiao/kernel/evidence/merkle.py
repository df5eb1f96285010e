"""How records are bound together: a Merkle tree per batch (as in RFC 6962), a hash chain over the batches of a lane.

    leaf  = H(0x00 ‖ canonical record)          node = H(0x01 ‖ left ‖ right)
    chain = H(chain of the batch before ‖ root)   the first batch of a lane follows 32 zero bytes

An odd node moves up unchanged: it is never paired with itself, so no two lists of records share a root.
"""

from collections.abc import Callable, Sequence

Digest = Callable[[bytes], bytes]

GENESIS = bytes(32)


def leaf(digest: Digest, record: bytes) -> bytes:
    """The leaf of one record, given as canonical bytes."""
    return digest(b"\x00" + record)


def root(digest: Digest, leaves: Sequence[bytes]) -> bytes:
    """The Merkle root of at least one leaf."""
    if not leaves:
        raise ValueError("a batch has at least one record")
    level = list(leaves)
    while len(level) > 1:
        above = [digest(b"\x01" + level[at] + level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def link(digest: Digest, previous: bytes, merkle_root: bytes) -> bytes:
    """The chain value of a batch."""
    return digest(previous + merkle_root)


def path(digest: Digest, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """What is needed beside a leaf (from 0) to get to the root: its siblings, from below; a level without one gives nothing."""
    siblings, level, at = [], list(leaves), index
    while len(level) > 1:
        if (at ^ 1) < len(level):
            siblings.append(level[at ^ 1])
        above = [digest(b"\x01" + level[left] + level[left + 1]) for left in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level, at = above, at // 2
    return siblings


def root_by_path(digest: Digest, one: bytes, index: int, count: int, siblings: Sequence[bytes]) -> bytes:
    """The root that a leaf of `count` leads to by its siblings. Raises ValueError where they are not as many as they must be."""
    node, at, left = one, index, list(siblings)
    if not 0 <= index < count:
        raise ValueError("the leaf is not of this tree")
    while count > 1:
        if (at ^ 1) < count:
            if not left:
                raise ValueError("a sibling is missing")
            sibling = left.pop(0)
            node = digest(b"\x01" + (sibling + node if at % 2 else node + sibling))
        at, count = at // 2, (count + 1) // 2
    if left:
        raise ValueError("there are too many siblings")
    return node
