"""One chunk as a file: `JQC1` ‖ nonce ‖ ciphertext ‖ tag, over a payload compressed with zstd.

The payload is an Arrow IPC stream, or between two PostgreSQL servers the tuples of binary COPY. Its digest is the
content digest that both sides sign for. The data key is drawn once for a batch, sealed to the consumer's node, and while
extraction goes on also to the provider's own, so that a killed extraction can go on. Batch and chunk number are bound in as
associated data, so that chunks cannot change places.
"""

import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc as ipc

from jinqiao.dataplane.errors import ChunkDamaged
from jinqiao.kernel.contracts.exchange import ChunkKind, ChunkManifest
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.suites import suite

Buffer = bytes | bytearray | memoryview
MAGIC = b"JQC1"
COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True)
class SealedChunk:
    data: bytes
    manifest: ChunkManifest


def _associated(batch_id: str, number: int) -> bytes:
    return f"{batch_id}/{number}".encode()


class ArrowPayload:
    """An Arrow IPC stream that grows batch by batch; only the compressed bytes are held."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = io.BytesIO()
        options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", COMPRESSION_LEVEL))
        self._writer = ipc.new_stream(self._sink, schema, options=options)
        self.rows = 0
        self.raw_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)
        self.rows += batch.num_rows
        self.raw_bytes += batch.nbytes

    def finish(self) -> bytes:
        self._writer.close()
        return self._sink.getvalue()


class TuplePayload:
    """Tuples of binary COPY, piece by piece: raw length, compressed length (4 bytes each, big-endian), zstd frame."""

    def __init__(self) -> None:
        self._codec = pa.Codec("zstd", COMPRESSION_LEVEL)
        self._parts: list[bytes] = []
        self.rows = 0
        self.raw_bytes = 0

    def add(self, tuples: Buffer, rows: int) -> None:
        frame = self._codec.compress(tuples, asbytes=True)
        self._parts.append(len(tuples).to_bytes(4, "big") + len(frame).to_bytes(4, "big") + frame)
        self.rows += rows
        self.raw_bytes += len(tuples)

    def finish(self) -> bytes:
        return b"".join(self._parts)


def seal_chunk(
    rows: pa.Table, *, batch_id: str, number: int, key: bytes, suite_name: str, kind: ChunkKind = ChunkKind.ROWS
) -> SealedChunk:
    """Rows as the bytes of their staged file, with what the manifest says of it."""
    payload = ArrowPayload(rows.schema)
    for batch in rows.to_batches():
        payload.add(batch)
    return seal_payload(
        payload.finish(), rows.num_rows, batch_id=batch_id, number=number, key=key, suite_name=suite_name, kind=kind
    )


def seal_payload(
    payload: bytes,
    rows: int,
    *,
    batch_id: str,
    number: int,
    key: bytes,
    suite_name: str,
    kind: ChunkKind = ChunkKind.ROWS,
) -> SealedChunk:
    """A finished payload as the bytes of its staged file."""
    algorithms = suite(suite_name)
    data = MAGIC + algorithms.encrypt(key, payload, _associated(batch_id, number))
    return SealedChunk(
        data,
        ChunkManifest(
            number=number,
            rows=rows,
            size_bytes=len(data),
            digest=algorithms.digest(data).hex(),
            content_digest=algorithms.digest(payload).hex(),
            kind=kind,
        ),
    )


def open_chunk(
    data: bytes, *, batch_id: str, chunk: ChunkManifest, key: bytes, suite_name: str, schema: pa.Schema
) -> pa.Table:
    """The rows of a staged file, after every part of the manifest's word about it was verified. Raises ChunkDamaged."""
    payload = _opened(data, batch_id, chunk, key, suite_name)
    try:
        rows = from_ipc(payload)
    except (pa.ArrowInvalid, OSError):
        raise ChunkDamaged(chunk=chunk.number, reason="form") from None
    if not rows.schema.equals(schema, check_metadata=False):
        raise ChunkDamaged(chunk=chunk.number, reason="schema")
    if rows.num_rows != chunk.rows:
        raise ChunkDamaged(chunk=chunk.number, reason="rows")
    return rows


def open_tuples(data: bytes, *, batch_id: str, chunk: ChunkManifest, key: bytes, suite_name: str) -> bytes:
    """The tuples of a staged file of the form PGCOPY. Raises ChunkDamaged."""
    payload = memoryview(_opened(data, batch_id, chunk, key, suite_name))
    codec, pieces, at = pa.Codec("zstd"), [], 0
    try:
        while at < len(payload):
            raw, packed = int.from_bytes(payload[at : at + 4], "big"), int.from_bytes(payload[at + 4 : at + 8], "big")
            pieces.append(codec.decompress(payload[at + 8 : at + 8 + packed], raw, asbytes=True))
            at += 8 + packed
    except (pa.ArrowInvalid, OSError):
        raise ChunkDamaged(chunk=chunk.number, reason="form") from None
    return b"".join(pieces)


def _opened(data: bytes, batch_id: str, chunk: ChunkManifest, key: bytes, suite_name: str) -> bytes:
    algorithms = suite(suite_name)
    if len(data) != chunk.size_bytes or algorithms.digest(data).hex() != chunk.digest:
        raise ChunkDamaged(chunk=chunk.number, reason="digest")
    if not data.startswith(MAGIC):
        raise ChunkDamaged(chunk=chunk.number, reason="form")
    try:
        payload = algorithms.decrypt(key, data[len(MAGIC) :], _associated(batch_id, chunk.number))
    except SealBroken:
        raise ChunkDamaged(chunk=chunk.number, reason="key") from None
    if algorithms.digest(payload).hex() != chunk.content_digest:
        raise ChunkDamaged(chunk=chunk.number, reason="content")
    return payload


def to_ipc(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", COMPRESSION_LEVEL))
    with ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def from_ipc(data: bytes) -> pa.Table:
    with ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()
