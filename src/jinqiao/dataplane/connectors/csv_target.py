"""A folder of CSV files as a target: the new file is written beside the old one and takes its place in one rename.

    <folder>/<table>.csv                      UTF-8, header, NULL empty, empty text `""`; option `bom` for spreadsheet programs
    <folder>/.jinqiao/ledger.json             batches that are merged, with their counts
    <folder>/.jinqiao/<run>/chunk-00001-….arrow   chunks of a batch that is not merged yet

A rename and a ledger cannot commit together. So the counts and the digest of the new file are noted first (`pending`), then
it is renamed, then the note becomes the entry: whoever finds a note compares the file and knows on which side of the rename
the process died.
"""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState, Target
from jinqiao.dataplane.connectors.csv_source import encoding_of, header_of, open_reader
from jinqiao.dataplane.connectors.ledger import run_table
from jinqiao.dataplane.connectors.values import fit
from jinqiao.dataplane.errors import (
    DatabaseMissing,
    PermissionDenied,
    ReconciliationFailed,
    TargetDiskFull,
    TargetKeyNotUnique,
    TargetSchemaMismatch,
    TargetTableMissing,
)
from jinqiao.kernel.contracts.exchange import ChunkManifest, CopyMode, DeliveryCounts
from jinqiao.kernel.contracts.tables import Connection, Engine
from jinqiao.kernel.keystore import sync_folder, write_durably

_BOM = b"\xef\xbb\xbf"
_JOIN = "\x1f"
_NULL = "\x00"  # not in any text (values.fit)


class CsvTarget(Target):
    engine: ClassVar[Engine] = Engine.CSV

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._folder = Path(connection.database)
        self._own = self._folder / ".jinqiao"
        self._bom = bool(connection.options.get("bom", False))

    def test(self) -> str:
        if not self._folder.is_dir():
            raise DatabaseMissing(database=self._folder.name)
        if not os.access(self._folder, os.W_OK):
            raise PermissionDenied(table=self._folder.name)
        return "CSV"

    def state(self, batch_id: str) -> LedgerState:
        self.test()
        ledger = self._ledger()
        entry = ledger["merged"].get(batch_id)
        if entry is None:
            entry = self._settled(ledger, batch_id)
        if entry is not None:
            return LedgerState(merged=DeliveryCounts.from_json(entry["counts"]))
        loaded = {}
        for path in self._run(batch_id).glob("chunk-*.arrow"):
            _, number, digest = path.stem.split("-")
            loaded[int(number)] = digest
        return LedgerState(loaded=loaded)

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        state = self.state(plan.batch_id)
        path = self._file(plan.table)
        if not path.is_file():
            if not plan.create:
                raise TargetTableMissing(table=plan.table)
        elif header_of(path, encoding_of(path)) != tuple(column.name for column in plan.columns):
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(column.name for column in plan.columns))
        if state.merged is None:
            with self._writing(plan.table):
                self._run(plan.batch_id).mkdir(parents=True, exist_ok=True, mode=0o700)
        return state

    def load(self, plan: DeliveryPlan, chunk: ChunkManifest, rows: pa.Table | bytes) -> None:
        if isinstance(rows, bytes):
            raise TypeError("this target takes Arrow")
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows)
        with self._writing(plan.table):
            write_durably(
                self._run(plan.batch_id) / f"chunk-{chunk.number:05d}-{chunk.content_digest}.arrow", sink.getvalue()
            )

    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        state = self.state(plan.batch_id)
        if state.merged is not None:
            return state.merged
        new = self._staged(plan)
        if new.num_rows != plan.rows or len(state.loaded) != plan.chunks:
            raise ReconciliationFailed(table=plan.table, sent=plan.rows, received=new.num_rows)
        old = self._current(plan)
        merged, inserted, updated, deleted = _merged(old, new, plan)
        counts = DeliveryCounts(
            received=new.num_rows,
            inserted=inserted,
            updated=updated,
            deleted=deleted,
            unchanged=new.num_rows - inserted - updated,
            target_rows=merged.num_rows,
        )
        with self._writing(plan.table):
            digest, temporary = self._write(plan.table, merged)
            ledger = self._ledger()
            ledger["pending"] = {plan.batch_id: {"table": plan.table, "digest": digest, "counts": counts.to_json()}}
            self._save(ledger)
            temporary.replace(self._file(plan.table))
            sync_folder(self._folder)
            self._settled(ledger, plan.batch_id)
        return counts

    def clean(self, plan: DeliveryPlan) -> None:
        shutil.rmtree(self._run(plan.batch_id), ignore_errors=True)

    def _file(self, table: str) -> Path:
        path = self._folder / f"{table}.csv"
        if path.parent != self._folder or table.startswith("."):
            raise TargetTableMissing(table=table)
        return path

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
        self._own.mkdir(exist_ok=True, mode=0o700)
        write_durably(self._own / "ledger.json", json.dumps(ledger, ensure_ascii=False).encode())

    def _settled(self, ledger: dict[str, Any], batch_id: str) -> dict[str, Any] | None:
        """Turn the note of a batch into its entry, if the file is the one that the note announced."""
        note: dict[str, Any] | None = ledger["pending"].get(batch_id)
        if note is None:
            return None
        path = self._file(note["table"])
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != note["digest"]:
            return None
        ledger["merged"][batch_id] = note
        ledger["pending"] = {}
        self._save(ledger)
        return note

    def _staged(self, plan: DeliveryPlan) -> pa.Table:
        """All loaded chunks as text columns."""
        schema = pa.schema([pa.field(column.name, pa.string()) for column in plan.columns])
        parts = []
        for path in sorted(self._run(plan.batch_id).glob("chunk-*.arrow")):
            with pa.ipc.open_file(io.BytesIO(path.read_bytes())) as reader:
                for batch in reader.read_all().to_batches():
                    parts.append(pa.RecordBatch.from_arrays([_text(column) for column in batch.columns], schema=schema))
        return pa.Table.from_batches(parts, schema)

    def _current(self, plan: DeliveryPlan) -> pa.Table | None:
        path = self._file(plan.table)
        if not path.is_file():
            return None
        encoding = encoding_of(path)
        names = header_of(path, encoding)
        try:
            return open_reader(path, names, names, encoding).read_all()
        except pa.ArrowInvalid as problem:
            if "Empty CSV file" in str(problem):
                return pa.table({name: pa.array([], pa.string()) for name in names})
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(names)) from None

    def _write(self, table: str, rows: pa.Table) -> tuple[str, Path]:
        sink = io.BytesIO()
        if self._bom:
            sink.write(_BOM)
        pacsv.write_csv(rows, sink)
        temporary = self._own / f"{run_table(table)}.csv"
        write_durably(temporary, sink.getvalue())
        return hashlib.sha256(sink.getvalue()).hexdigest(), temporary


def _text(values: pa.Array) -> pa.Array:
    if pa.types.is_binary(values.type):
        return pa.array([None if value is None else value.hex() for value in values.to_pylist()], pa.string())
    return fit(values, pa.string()).values


def _merged(old: pa.Table | None, new: pa.Table, plan: DeliveryPlan) -> tuple[pa.Table, int, int, int]:
    """The table afterwards; rows inserted, updated, deleted."""
    if not plan.keys:
        return new, new.num_rows, 0, old.num_rows if old is not None else 0
    new_rows = dict(zip(_joined(new, plan.keys), _joined(new, new.column_names), strict=True))
    if len(new_rows) != new.num_rows:
        raise TargetKeyNotUnique(table=plan.table, keys=", ".join(plan.keys))
    if old is None:
        return new, new.num_rows, 0, 0
    old_keys = _joined(old, plan.keys)
    old_rows = dict(zip(old_keys, _joined(old, old.column_names), strict=True))
    inserted = sum(key not in old_rows for key in new_rows)
    updated = sum(key in old_rows and old_rows[key] != row for key, row in new_rows.items())
    if plan.mode is CopyMode.FULL:
        return new, inserted, updated, sum(key not in new_rows for key in old_keys)
    kept = old.filter(pa.array([key not in new_rows for key in old_keys], pa.bool_()))
    return pa.concat_tables([kept, new]), inserted, updated, 0


def _joined(rows: pa.Table, names: Any) -> list[str]:
    fields = [rows.column(name).combine_chunks().fill_null(_NULL) for name in names]
    fields = [field.combine_chunks() if isinstance(field, pa.ChunkedArray) else field for field in fields]
    joined: list[str] = (pc.binary_join_element_wise(*fields, _JOIN) if len(fields) > 1 else fields[0]).to_pylist()
    return joined
