"""Quarantine: rows that broke a check, kept for their provider alone, sealed to its node, with the reason beside each row."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import ChunkDamaged
from jinqiao.dataplane.staging.chunks import from_ipc, to_ipc
from jinqiao.kernel.contracts.grants import GrantedItem
from jinqiao.kernel.contracts.tables import LogicalType
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, sealed_to
from jinqiao.kernel.crypto.suites import suite

if TYPE_CHECKING:
    from jinqiao.dataplane.checks.rows import Rows

KEPT_ROWS = 100_000  # more are counted, not kept
ROW, REASON = "_row", "_broken"
_MAGIC = b"JQQ1"


class Quarantine:
    """Bad rows of one run, as the text they had at the source."""

    def __init__(self, items: Sequence[GrantedItem]) -> None:
        self._items = tuple(items)
        fields = [pa.field(ROW, pa.int64()), pa.field(REASON, pa.string())]
        self._schema = pa.schema(fields + [pa.field(item.item, pa.string()) for item in items])
        self._batches: list[pa.RecordBatch] = []
        self.rows = 0

    def add(self, columns: Sequence[pa.Array], bad: "Rows", reasons: Sequence[str], first_row: int) -> None:
        """`columns` as they came from the source; `first_row` is the number of the batch's first row in the run."""
        room = KEPT_ROWS - sum(batch.num_rows for batch in self._batches)
        self.rows += int(bad.sum())
        chosen = np.flatnonzero(bad)[:room]
        if len(chosen) == 0:
            return
        take = pa.array(chosen)
        arrays = [pa.array(chosen + first_row, pa.int64()), pa.array(reasons[: len(chosen)], pa.string())]
        arrays.extend(
            shown(column.take(take), binary=item.type is LogicalType.BINARY)
            for column, item in zip(columns, self._items, strict=True)
        )
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


def shown(values: pa.Array, *, binary: bool = False) -> pa.Array:
    """Every value as text, none lost: hexadecimal for a binary item, and what is no text with its octets written out."""
    if binary and (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        return pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())
    fitted = fit(values, pa.string())
    if fitted.bad is None:
        return fitted.values
    texts = fitted.values.to_pylist()
    for row in np.flatnonzero(fitted.bad).tolist():
        value = values[row].as_py()
        texts[row] = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return pa.array(texts, pa.string())


def run_of(data: bytes) -> str:
    """The run whose rows a quarantine file keeps. Raises ChunkDamaged."""
    return str(_head(data)["run"])


def sealed_for(data: bytes) -> str:
    """Key id of the identity that a quarantine file is sealed to. Raises ChunkDamaged."""
    return sealed_to(str(_head(data)["key"]))


def _head(data: bytes) -> dict[str, Any]:
    if not data.startswith(_MAGIC):
        raise ChunkDamaged(chunk=0, reason="form")
    head: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[4:8], "big")])
    return head


def open_quarantine(data: bytes, identity: Identity) -> pa.Table:
    """The rows of a quarantine file: `_row` (number in the run), `_broken`, then the items. Raises ChunkDamaged."""
    head = _head(data)
    size = int.from_bytes(data[4:8], "big")
    key = identity.unseal(head["key"])
    return from_ipc(suite(head["suite"]).decrypt(key, data[8 + size :], str(head["run"]).encode()))
