"""Chunks to the platform and from it, one by one, going on after whatever broke off.

While the platform is away the transfer waits, longer each time, and asks again; the grant is asked before each chunk, so
that nothing moves any more on the day after it ended.

Where the order names an address of the consumer's node, chunks are offered there first; what it does not take goes by the
platform. Where a node has no network at all, chunks lie in the spool until a bundle takes them along.
"""

import random
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar
from urllib.parse import quote

from jinqiao.dataplane.errors import ChunkMissing
from jinqiao.dataplane.node.admission import check_grant
from jinqiao.dataplane.node.errors import ChunkDiffers, StagedChunkBroken
from jinqiao.dataplane.node.ledger import Ledger
from jinqiao.dataplane.platform import PlatformAway, PlatformClient, PlatformRefused
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.contracts.exchange import BatchManifest, ChunkManifest, ExchangeOrder, Progress, Stage
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.moments import now

Answer = TypeVar("Answer")
DIGEST_HEADER = "X-Chunk-Digest"
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
MISSING_THERE = "exchange.relay.chunk_missing"
ASK_AGAIN = 3  # times, where what came is not what was sent


def chunk_path(run_id: str, number: int) -> str:
    return f"/api/nodes/runs/{quote(run_id, safe='')}/chunks/{number}"


def waits() -> Callable[[], float]:
    """Seconds to wait after each failure: doubling, with a random part, so that many nodes do not come back at once."""
    delay = FIRST_WAIT_S

    def following() -> float:
        nonlocal delay
        seconds = delay * (0.5 + random.random() / 2)  # noqa: S311 -- spreading load, no secret
        delay = min(delay * 2, LONGEST_WAIT_S)
        return seconds

    return following


class Offer(Protocol):
    """A way straight to the consumer's node."""

    def __call__(self, number: int, data: bytes, digest: str) -> bool:
        """Whether it took the chunk."""
        ...


class Carrier(Protocol):
    """How the chunks of one run come from the provider's node and to the consumer's."""

    def upload(self, spool: RunSpool, ledger: Ledger, command_id: str) -> None: ...
    def download(self, spool: RunSpool) -> None: ...


def checked_chunk(spool: RunSpool, manifest: BatchManifest, number: int) -> bytes:
    """A chunk that this node staged, as it was staged. Raises ChunkMissing; StagedChunkBroken, and then the run is forgotten:
    its other chunks are of a snapshot that nobody can read again."""
    chunk = manifest.chunks[number - 1]
    data = spool.read_chunk(number)
    if len(data) != chunk.size_bytes or suite(manifest.suite).digest(data).hex() != chunk.digest:
        spool.purge()
        raise StagedChunkBroken(run=manifest.run_id, chunk=number)
    return data


def is_whole(spool: RunSpool, manifest: BatchManifest, number: int) -> bool:
    """Whether the chunk lies here as the manifest says."""
    chunk = manifest.chunks[number - 1]
    if not spool.has_chunk(number):
        return False
    data = spool.read_chunk(number)
    return len(data) == chunk.size_bytes and suite(manifest.suite).digest(data).hex() == chunk.digest


class CarriedByHand:
    """A node without a network: what it staged goes with the next bundle, what it is to deliver came with the last."""

    def __init__(self, manifest: BatchManifest) -> None:
        self._manifest = manifest

    def upload(self, spool: RunSpool, ledger: Ledger, command_id: str) -> None:
        """Nothing moves now; what is staged is seen to be whole."""
        for chunk in self._manifest.chunks:
            checked_chunk(spool, self._manifest, chunk.number)

    def download(self, spool: RunSpool) -> None:
        """Raises ChunkDiffers where a chunk did not come, or not whole: the platform has it sent again."""
        damaged = [chunk.number for chunk in self._manifest.chunks if not is_whole(spool, self._manifest, chunk.number)]
        if damaged:
            raise ChunkDiffers(run=self._manifest.run_id, chunk=damaged[0], chunks=damaged)


class Relay:
    """Moves the chunks of one run. `pause(seconds)` waits, and raises where the work is to end."""

    def __init__(
        self,
        platform: PlatformClient,
        order: ExchangeOrder,
        manifest: BatchManifest,
        *,
        tell: Callable[[Progress], None],
        pause: Callable[[float], None],
        offer: Offer | None = None,
    ) -> None:
        self._platform, self._order, self._manifest = platform, order, manifest
        self._tell, self._pause, self._offer = tell, pause, offer
        self._rows = self._bytes = self._chunks = 0

    def upload(self, spool: RunSpool, ledger: Ledger, command_id: str) -> None:
        """Bring every chunk that has not been taken yet. Raises GrantNotLive, PlatformRefused, ChunkMissing, StagedChunkBroken."""
        there = ledger.uploaded(command_id)
        for chunk in self._manifest.chunks:
            if chunk.number not in there:
                data = checked_chunk(spool, self._manifest, chunk.number)
                is_direct = self._offered(chunk.number, data, chunk.digest)
                if not is_direct:
                    self._put(chunk.number, data, chunk.digest)
                ledger.note_uploaded(command_id, chunk.number, direct=is_direct)
            self._moved(chunk.rows, chunk.size_bytes)

    def resend(self, spool: RunSpool, numbers: Collection[int]) -> None:
        """Bring these chunks to the platform once more. Raises as `upload` does, ChunkMissing for a number that is none."""
        for number in sorted(numbers):
            if not 1 <= number <= len(self._manifest.chunks):
                raise ChunkMissing(run=self._order.run_id, chunk=number)
            data = checked_chunk(spool, self._manifest, number)
            self._put(number, data, self._manifest.chunks[number - 1].digest)

    def _offered(self, number: int, data: bytes, digest: str) -> bool:
        if self._offer is None:
            return False
        self._pause(0.0)
        check_grant(self._order)
        return self._offer(number, data, digest)

    def _put(self, number: int, data: bytes, digest: str) -> None:
        path = chunk_path(self._order.run_id, number)
        self._patiently(lambda: self._platform.put_bytes(path, data, {DIGEST_HEADER: digest}))

    def download(self, spool: RunSpool) -> None:
        """Fetch every chunk that is not here whole. Raises GrantNotLive, PlatformRefused, ChunkDiffers, SpoolFull."""
        damaged = []
        for chunk in self._manifest.chunks:
            if not is_whole(spool, self._manifest, chunk.number):
                data = self._fetched(chunk)
                if data is None:
                    damaged.append(chunk.number)
                    continue
                spool.write_chunk(chunk.number, data)
            self._moved(chunk.rows, chunk.size_bytes)
        if damaged:
            raise ChunkDiffers(run=self._order.run_id, chunk=damaged[0], chunks=damaged)

    def _fetched(self, chunk: ChunkManifest) -> bytes | None:
        """The chunk as the manifest has it; None where the platform has not got it, or not as it was sent."""
        digest = suite(self._manifest.suite).digest
        path = chunk_path(self._order.run_id, chunk.number)
        for _ in range(ASK_AGAIN):
            try:
                data = self._patiently(lambda: self._platform.get_bytes(path))
            except PlatformRefused as refusal:
                if refusal.problem.code == MISSING_THERE:
                    return None
                raise
            if len(data) == chunk.size_bytes and digest(data).hex() == chunk.digest:
                return data
        return None

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        wait = waits()
        while True:
            self._pause(0.0)
            check_grant(self._order)
            try:
                return call()
            except PlatformAway:
                self._tell(self._progress(waiting_for="platform"))
                self._pause(wait())

    def _moved(self, rows: int, size_bytes: int) -> None:
        self._rows += rows
        self._bytes += size_bytes
        self._chunks += 1
        self._tell(self._progress())

    def _progress(self, waiting_for: str = "") -> Progress:
        return Progress(
            run_id=self._order.run_id,
            stage=Stage.HAND_OVER,
            rows_done=self._rows,
            rows_total=self._manifest.rows,
            bytes_done=self._bytes,
            chunks_done=self._chunks,
            chunks_total=len(self._manifest.chunks),
            waiting_for=waiting_for,
            at=now(),
        )
