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
