"""What an extraction must remember of what it staged, durable beside it: then a killed one goes on and reads nothing of it again.

    <spool>/out/<run>/memory-<name>.jqc       zstd, sealed under the data key of the batch

A split's memory is written before the split is written down as whole, so that a split that is whole has its memory. The name is
bound in as associated data: no memory can stand in another's place. One that is damaged counts as lost, and what it told of is
read again.
"""

from collections.abc import Sequence

import pyarrow as pa

from jinqiao.dataplane.staging.chunks import COMPRESSION_LEVEL, from_ipc, to_ipc
from jinqiao.dataplane.staging.spool import RunSpool
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.suites import suite

_LENGTH_BYTES = 4


class Memory:
    """The memory of one batch."""

    def __init__(self, out: RunSpool, *, batch_id: str, key: bytes, suite_name: str) -> None:
        self._out, self._batch_id, self._key, self._suite = out, batch_id, key, suite(suite_name)

    def keep(self, name: str, data: bytes) -> None:
        """Durable under a name. Raises SpoolFull."""
        packed = pa.Codec("zstd", COMPRESSION_LEVEL).compress(data, asbytes=True)
        payload = len(data).to_bytes(_LENGTH_BYTES, "big") + packed
        self._out.write_memory(name, self._suite.encrypt(self._key, payload, self._bound(name)))

    def recall(self, name: str) -> bytes | None:
        """None where nothing was kept under that name, or the disk has changed it."""
        sealed = self._out.memory(name)
        if sealed is None:
            return None
        try:
            payload = self._suite.decrypt(self._key, sealed, self._bound(name))
        except SealBroken:
            return None
        size = int.from_bytes(payload[:_LENGTH_BYTES], "big")
        return bytes(pa.Codec("zstd").decompress(payload[_LENGTH_BYTES:], size, asbytes=True))

    def keep_rows(self, name: str, batches: Sequence[pa.RecordBatch]) -> None:
        """Rows of one schema. Raises SpoolFull."""
        self.keep(name, to_ipc(pa.Table.from_batches(batches)))

    def recall_rows(self, name: str) -> list[pa.RecordBatch] | None:
        data = self.recall(name)
        return None if data is None else from_ipc(data).to_batches()

    def _bound(self, name: str) -> bytes:
        return f"{self._batch_id}/memory/{name}".encode()
