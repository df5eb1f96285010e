"""One chunk as a file: `JQC1` ‖ nonce ‖ ciphertext ‖ tag, over an Arrow IPC stream compressed with zstd.

The data key is drawn once for a batch and sealed to the consumer's node: not even the provider's node can open a staged
chunk again. Batch and chunk number are bound in as associated data, so that chunks cannot change places.
"""

import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.ipc as ipc

from jinqiao.dataplane.errors import ChunkDamaged
from jinqiao.dataplane.staging.digests import content_digest
from jinqiao.kernel.contracts.exchange import ChunkManifest
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.suites import suite

MAGIC = b"JQC1"
COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True)
class SealedChunk:
    data: bytes
    manifest: ChunkManifest


def _associated(batch_id: str, number: int) -> bytes:
    return f"{batch_id}/{number}".encode()


def seal_chunk(rows: pa.Table, *, batch_id: str, number: int, key: bytes, suite_name: str) -> SealedChunk:
    """Rows as the bytes of their staged file, with what the manifest says of it."""
    algorithms = suite(suite_name)
    data = MAGIC + algorithms.encrypt(key, to_ipc(rows), _associated(batch_id, number))
    return SealedChunk(
        data,
        ChunkManifest(
            number=number,
            rows=rows.num_rows,
            size_bytes=len(data),
            digest=algorithms.digest(data).hex(),
            content_digest=content_digest(rows, suite_name),
        ),
    )


def open_chunk(
    data: bytes, *, batch_id: str, chunk: ChunkManifest, key: bytes, suite_name: str, schema: pa.Schema
) -> pa.Table:
    """The rows of a staged file, after every part of the manifest's word about it was verified. Raises ChunkDamaged."""
    algorithms = suite(suite_name)
    if len(data) != chunk.size_bytes or algorithms.digest(data).hex() != chunk.digest:
        raise ChunkDamaged(chunk=chunk.number, reason="digest")
    if not data.startswith(MAGIC):
        raise ChunkDamaged(chunk=chunk.number, reason="form")
    try:
        rows = from_ipc(algorithms.decrypt(key, data[len(MAGIC) :], _associated(batch_id, chunk.number)))
    except SealBroken:
        raise ChunkDamaged(chunk=chunk.number, reason="key") from None
    except (pa.ArrowInvalid, OSError):
        raise ChunkDamaged(chunk=chunk.number, reason="form") from None
    if not rows.schema.equals(schema, check_metadata=False):
        raise ChunkDamaged(chunk=chunk.number, reason="schema")
    if rows.num_rows != chunk.rows:
        raise ChunkDamaged(chunk=chunk.number, reason="rows")
    if content_digest(rows, suite_name) != chunk.content_digest:
        raise ChunkDamaged(chunk=chunk.number, reason="content")
    return rows


def to_ipc(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    options = ipc.IpcWriteOptions(compression=pa.Codec("zstd", COMPRESSION_LEVEL))
    with ipc.new_stream(sink, rows.schema, options=options) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def from_ipc(data: bytes) -> pa.Table:
    with ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()
