"""Chunks to the platform and from it, one by one, going on after whatever broke off.

While the platform is away the transfer waits, longer each time, and asks again; the grant is asked before each chunk, so
that nothing moves any more on the day after it ended.
"""

import random
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from jinqiao.dataplane.node.admission import check_grant
from jinqiao.dataplane.node.errors import ChunkDiffers
from jinqiao.dataplane.node.ledger import Ledger
from jinqiao.dataplane.platform import PlatformAway, PlatformClient
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.contracts.exchange import BatchManifest, ExchangeOrder, Progress, Stage
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.moments import now

Answer = TypeVar("Answer")
DIGEST_HEADER = "X-Chunk-Digest"
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
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
    ) -> None:
        self._platform, self._order, self._manifest = platform, order, manifest
        self._tell, self._pause = tell, pause
        self._rows = self._bytes = self._chunks = 0

    def upload(self, spool: RunSpool, ledger: Ledger, command_id: str) -> None:
        """Bring every chunk that the platform has not taken yet. Raises GrantNotLive, PlatformRefused, ChunkMissing."""
        there = ledger.uploaded(command_id)
        for chunk in self._manifest.chunks:
            if chunk.number not in there:
                data = spool.read_chunk(chunk.number)
                path, headers = chunk_path(self._order.run_id, chunk.number), {DIGEST_HEADER: chunk.digest}
                self._patiently(lambda: self._platform.put_bytes(path, data, headers))  # noqa: B023 -- called at once
                ledger.note_uploaded(command_id, chunk.number)
            self._moved(chunk.rows, chunk.size_bytes)

    def download(self, spool: RunSpool) -> None:
        """Fetch every chunk that is not here whole. Raises GrantNotLive, PlatformRefused, ChunkDiffers, SpoolFull."""
        digest = suite(self._manifest.suite).digest
        for chunk in self._manifest.chunks:
            if not spool.has_chunk(chunk.number) or digest(spool.read_chunk(chunk.number)).hex() != chunk.digest:
                for _ in range(ASK_AGAIN):
                    path = chunk_path(self._order.run_id, chunk.number)
                    data = self._patiently(lambda: self._platform.get_bytes(path))  # noqa: B023 -- called at once
                    if len(data) == chunk.size_bytes and digest(data).hex() == chunk.digest:
                        break
                else:
                    raise ChunkDiffers(run=self._order.run_id, chunk=chunk.number)
                spool.write_chunk(chunk.number, data)
            self._moved(chunk.rows, chunk.size_bytes)

    def _patiently(self, call: Callable[[], Answer]) -> Answer:
        wait = waits()
        while True:
            self._pause(0.0)
            check_grant(self._order)
            try:
                return call()
            except PlatformAway:
                self._pause(wait())

    def _moved(self, rows: int, size_bytes: int) -> None:
        self._rows += rows
        self._bytes += size_bytes
        self._chunks += 1
        self._tell(
            Progress(
                run_id=self._order.run_id,
                stage=Stage.HAND_OVER,
                rows_done=self._rows,
                rows_total=self._manifest.rows,
                bytes_done=self._bytes,
                chunks_done=self._chunks,
                chunks_total=len(self._manifest.chunks),
                at=now(),
            )
        )
