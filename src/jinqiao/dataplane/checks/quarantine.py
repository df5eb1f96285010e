"""Quarantine: rows that broke a check, kept for their provider alone, sealed to its node, with the reason beside each row."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.checks.rows import Rows
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import ChunkDamaged
from jinqiao.dataplane.staging.chunks import from_ipc, to_ipc
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity
from jinqiao.kernel.crypto.suites import suite

KEPT_ROWS = 100_000  # more are counted, not kept
ROW, REASON = "_row", "_broken"
_MAGIC = b"JQQ1"


class Quarantine:
    """Bad rows of one run, as the text they had at the source."""

    def __init__(self, items: Sequence[GrantedItem]) -> None:
        fields = [pa.field(ROW, pa.int64()), pa.field(REASON, pa.string())]
        self._schema = pa.schema(fields + [pa.field(item.item, pa.string()) for item in items])
        self._batches: list[pa.RecordBatch] = []
        self.rows = 0

    def add(self, columns: Sequence[pa.Array], bad: Rows, reasons: Sequence[str], first_row: int) -> None:
        """`columns` as they came from the source; `first_row` is the number of the batch's first row in the run."""
        room = KEPT_ROWS - sum(batch.num_rows for batch in self._batches)
        self.rows += int(bad.sum())
        chosen = np.flatnonzero(bad)[:room]
        if len(chosen) == 0:
            return
        take = pa.array(chosen)
        arrays = [pa.array(chosen + first_row, pa.int64()), pa.array(reasons[: len(chosen)], pa.string())]
        arrays.extend(fit(column.take(take), pa.string()).values for column in columns)
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def table(self) -> pa.Table:
        """The rows that are kept."""
        return pa.Table.from_batches(self._batches, self._schema)

    def extend(self, rows: pa.Table, offset: int) -> None:
        """Rows of another quarantine of the same items, whose row numbers count from `offset`."""
        room = KEPT_ROWS - sum(batch.num_rows for batch in self._batches)
        self.rows += rows.num_rows
        numbered = rows.slice(0, room).set_column(
            0, self._schema.field(0), pc.add(rows.slice(0, room).column(0), offset)
        )
        self._batches.extend(numbered.to_batches())

    def sealed(self, provider: PublicIdentity, run_id: str) -> bytes:
        """The file: a key sealed to the provider, then the encrypted rows."""
        algorithms = suite(provider.suite)
        key = algorithms.new_key()
        head = json.dumps({"run": run_id, "suite": provider.suite, "key": provider.seal(key)}).encode()
        body = algorithms.encrypt(key, to_ipc(self.table()), run_id.encode())
        return _MAGIC + len(head).to_bytes(4, "big") + head + body


def open_quarantine(data: bytes, identity: Identity) -> pa.Table:
    """The rows of a quarantine file: `_row` (number in the run), `_broken`, then the items. Raises ChunkDamaged."""
    if not data.startswith(_MAGIC):
        raise ChunkDamaged(chunk=0, reason="form")
    size = int.from_bytes(data[4:8], "big")
    head = json.loads(data[8 : 8 + size])
    key = identity.unseal(head["key"])
    return from_ipc(suite(head["suite"]).decrypt(key, data[8 + size :], str(head["run"]).encode()))
