"""Folders as targets: where chunks wait and how a batch is remembered, for data files and for folders of documents.

<folder>/.jinqiao/ledger.json             batches that are merged, with their counts; `pending`: one that is under way
<folder>/.jinqiao/<run>/chunk-00001-….rows.arrow   chunks of a batch that is not merged yet
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState, Target
from jinqiao.dataplane.connectors.ledger import run_table
from jinqiao.dataplane.connectors.values import arrow_schema
from jinqiao.dataplane.errors import (
    DatabaseMissing,
    PermissionDenied,
    ReconciliationFailed,
    TargetDiskFull,
)
from jinqiao.kernel.contracts.exchange import ChunkKind, ChunkManifest, DeliveryCounts
from jinqiao.kernel.contracts.tables import Connection
from jinqiao.kernel.keystore import write_durably

OWN = ".jinqiao"
_CHUNK = re.compile(r"chunk-(\d{5,})-([0-9a-f]+)\.(rows|deletes)\.arrow")


def signed(plan: DeliveryPlan) -> dict[str, Any]:
    """What a note says of who allowed the batch."""
    return {"approval": plan.approval} if plan.approval else {}


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class StagedTarget(Target):
    """A folder that takes batches: chunks wait in a folder of the run, the ledger is a file beside them."""

    title: ClassVar[str]

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._folder = Path(connection.database)
        self._options = connection.options

    @property
    def _own(self) -> Path:
        return self._folder / OWN

    def test(self) -> str:
        if not self._folder.is_dir():
            raise DatabaseMissing(database=self._folder.name)
        if not os.access(self._folder, os.W_OK):
            raise PermissionDenied(table=self._folder.name)
        return self.title

    def state(self, batch_id: str) -> LedgerState:
        self.test()
        if not self._own.is_dir():
            return LedgerState()
        with self._writing(self._folder.name), self._alone():
            return self._state(batch_id)

    def _state(self, batch_id: str) -> LedgerState:
        ledger = self._ledger()
        entry = ledger["merged"].get(batch_id) or self.settled(ledger, batch_id)
        if entry is not None:
            return LedgerState(merged=DeliveryCounts.from_json(entry["counts"]))
        return LedgerState(loaded={number: digest for number, digest, _, _ in self._chunks(batch_id)})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else merges into this folder, or reads its ledger, as long as this lasts."""
        descriptor = os.open(self._own / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def settled(self, ledger: dict[str, Any], batch_id: str) -> dict[str, Any] | None:
        """The entry of a batch that was merged in full although its ledger entry is still to be written; None otherwise."""
        return None

    def load(self, plan: DeliveryPlan, chunk: ChunkManifest, rows: pa.Table | bytes) -> None:
        if isinstance(rows, bytes):
            raise TypeError("this target takes Arrow")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        name = f"chunk-{chunk.number:05d}-{chunk.content_digest}.{chunk.kind.value}.arrow"
        with self._writing(plan.table):
            write_durably(self._run(plan.batch_id) / name, sink.getvalue())

    def clean(self, plan: DeliveryPlan) -> None:
        shutil.rmtree(self._run(plan.batch_id), ignore_errors=True)

    def _run(self, batch_id: str) -> Path:
        return self._own / run_table(batch_id)

    @contextmanager
    def _writing(self, table: str) -> Iterator[None]:
        try:
            yield
        except PermissionError:
            raise PermissionDenied(table=table) from None
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise TargetDiskFull(table=table) from None
            raise

    def _ledger(self) -> dict[str, Any]:
        try:
            ledger: dict[str, Any] = json.loads((self._own / "ledger.json").read_bytes())
        except FileNotFoundError:
            return {"merged": {}, "pending": {}}
        return ledger

    def _save(self, ledger: dict[str, Any]) -> None:
        write_durably(self._own / "ledger.json", json.dumps(ledger, ensure_ascii=False).encode())

    def _note(self, ledger: dict[str, Any], batch_id: str, note: dict[str, Any]) -> None:
        """Write down what is about to be done; earlier notes about the same table are void, unless it has come to be as they say."""
        for batch in [batch for batch, found in ledger["pending"].items() if found["table"] == note["table"]]:
            self.settled(ledger, batch)
        others = {batch: found for batch, found in ledger["pending"].items() if found["table"] != note["table"]}
        ledger["pending"] = others | {batch_id: note}
        self._save(ledger)

    def _done(self, ledger: dict[str, Any], batch_id: str) -> dict[str, Any]:
        """Turn the note of a batch into its entry."""
        note: dict[str, Any] = ledger["pending"].pop(batch_id)
        ledger["merged"][batch_id] = note
        self._save(ledger)
        return note

    def _chunks(self, batch_id: str) -> list[tuple[int, str, ChunkKind, Path]]:
        """Number, content digest, kind and file of each loaded chunk, in their order."""
        found = []
        for path in self._run(batch_id).glob("chunk-*.arrow"):
            named = _CHUNK.fullmatch(path.name)
            if named is not None:
                found.append((int(named.group(1)), named.group(2), ChunkKind(named.group(3)), path))
        return sorted(found)

    def _staged(self, plan: DeliveryPlan, kind: ChunkKind) -> Iterator[pa.RecordBatch]:
        """The rows of all loaded chunks of a kind, chunk by chunk: their files are mapped, not read into memory."""
        columns = tuple(c for c in plan.columns if kind is ChunkKind.ROWS or c.name in plan.keys)
        schema = arrow_schema(columns)
        for _, _, found, path in self._chunks(plan.batch_id):
            if found is not kind:
                continue
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                for at in range(reader.num_record_batches):
                    batch = reader.get_batch(at)
                    arrays = [batch.column(field.name).cast(field.type) for field in schema]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _check_staged(self, plan: DeliveryPlan, state: LedgerState) -> None:
        """Raises ReconciliationFailed where not everything is there that was sent."""
        rows, deletes = (
            sum(b.num_rows for b in self._staged(plan, kind)) for kind in (ChunkKind.ROWS, ChunkKind.DELETES)
        )
        if rows != plan.rows or deletes != plan.rows_deleted or len(state.loaded) != plan.chunks:
            raise ReconciliationFailed(table=plan.table, sent=plan.rows, received=rows)
