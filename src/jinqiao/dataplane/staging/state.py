"""What a node remembers of the last delivered batch of a task, so that the next run hands over only what differs.

    <root>/<task>/<batch>.jqs       one file for each batch that was handed over and is not yet outlived

A state is written beside the one that it follows and is true only once the platform's cursor names its batch; opening a
task's state under one batch forgets all others. What is in it tells of persons (keys, fingerprints of rows), so the file is
encrypted like a chunk, under a key that is derived for it from the node's.

    JQS1 ‖ salt (16) ‖ frame … ‖ last frame ‖ length of the last frame (4)         frame: length (4) ‖ nonce ‖ ciphertext ‖ tag

Frames are Arrow IPC streams in their order; the last one holds `terms`, `batch`, counts. The place of a frame is bound in as
associated data: none can be left out, doubled or moved. A file that is damaged counts as lost.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import struct
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Self

import pyarrow as pa

from jinqiao.dataplane.errors import SpoolFull, SpoolNameRefused
from jinqiao.dataplane.staging.chunks import from_ipc, to_ipc
from jinqiao.kernel.crypto.errors import SealBroken
from jinqiao.kernel.crypto.suites import Suite, suite
from jinqiao.kernel.keystore import KeyStore, sync_folder

MAGIC = b"JQS1"
KEY_ENTRY = "exchange-state"  # in the keystore of a node
_SALT_BYTES = 16
_LENGTH = struct.Struct(">I")
_LAST = "last"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,180}\Z")
_ROWS = 65_536  # of a frame
_AHEAD = 2  # frames that wait to be sealed and written


def state_key(keystore: KeyStore, suite_name: str) -> bytes:
    """The node's key of its states, drawn at first use. Raises KeyStoreBroken, KeyFileExposed."""
    key = keystore.get(KEY_ENTRY)
    if key is None:
        key = suite(suite_name).new_key()
        keystore.put(KEY_ENTRY, key)
    return key


class StateStore:
    """The states of all tasks of a node."""

    def __init__(self, root: Path, key: bytes, suite_name: str) -> None:
        self.root, self._key, self.algorithms = root, key, suite(suite_name)

    def task(self, task_id: str) -> "TaskState":
        """Raises SpoolNameRefused where the id cannot name a folder."""
        name = _folder_name(task_id)
        return TaskState(self.root / name, task_id, self._key, self.algorithms)

    def folders(self) -> tuple[str, ...]:
        """Names of the folders of the tasks that have a state here."""
        return tuple(sorted(path.name for path in self.root.glob("*") if path.is_dir()))

    def keep_only(self, task_ids: set[str]) -> None:
        """Forget the tasks that are no longer run."""
        kept = {_folder_name(task_id) for task_id in task_ids}
        for name in self.folders():
            if name not in kept:
                shutil.rmtree(self.root / name, ignore_errors=True)

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.root.glob("*/*") if path.is_file())


def _folder_name(task_id: str) -> str:
    if _NAME.match(task_id):
        return task_id
    if not task_id or "\0" in task_id:
        raise SpoolNameRefused(run=task_id[:60])
    return "t-" + hashlib.sha256(task_id.encode()).hexdigest()[:32]


class TaskState:
    """The states of one task. One run of a task works at a time."""

    def __init__(self, folder: Path, task_id: str, key: bytes, algorithms: Suite) -> None:
        self.folder, self.task_id, self._key, self.algorithms = folder, task_id, key, algorithms

    def open(self, batch_id: str, terms: str) -> "StateReader | None":
        """The state of that batch, made under the same terms. None where there is none, or it is damaged or of other terms.

        Every other state of the task is forgotten: its batch never arrived, or is outlived.
        """
        wanted = self._path(batch_id) if batch_id and _NAME.match(batch_id) else None
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            if path != wanted:
                path.unlink(missing_ok=True)
        if wanted is None or not wanted.is_file():
            return None
        try:
            reader = StateReader(wanted, self._key, self.algorithms)
        except (SealBroken, OSError, ValueError, struct.error, pa.ArrowInvalid):
            return None
        if reader.batch_id != batch_id or reader.terms != terms:
            reader.close()
            return None
        return reader

    def writer(self, terms: str) -> "StateWriter":
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return StateWriter(self.folder, self._path, self._key, self.algorithms, terms)

    def forget(self) -> None:
        """Nothing is known any more; the next run brings everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, batch_id: str) -> Path:
        if _NAME.match(batch_id) is None:
            raise SpoolNameRefused(run=batch_id[:60])
        return self.folder / f"{batch_id}.jqs"


class StateReader:
    """A state as it lies on the disk; frames are read and opened as they are asked for."""

    def __init__(self, path: Path, key: bytes, algorithms: Suite) -> None:
        """Raises SealBroken, ValueError, OSError, struct.error where the file is not whole."""
        self._algorithms = algorithms
        self._file: BinaryIO = path.open("rb")
        try:
            head = self._file.read(len(MAGIC) + _SALT_BYTES)
            if head[: len(MAGIC)] != MAGIC:
                raise ValueError("not a state")
            self._key = _file_key(algorithms, key, head[len(MAGIC) :])
            self._file.seek(-_LENGTH.size, os.SEEK_END)
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            end = self._file.seek(-(_LENGTH.size + length), os.SEEK_END)
            last = json.loads(algorithms.decrypt(self._key, self._file.read(length), _LAST.encode()))
            self.terms, self.batch_id = str(last["terms"]), str(last["batch"])
            self.rows = int(last["rows"])
            self.sizes = [min(_ROWS, self.rows - start) for start in range(0, self.rows, _ROWS)]  # rows of each frame
            place = len(head)
            self._frames: list[tuple[int, int]] = []
            for size in map(int, last["sizes"]):
                self._frames.append((place + _LENGTH.size, size))
                place += _LENGTH.size + size
            if place != end - _LENGTH.size or len(self._frames) != len(self.sizes):
                raise ValueError("frames are missing")
        except BaseException:
            self._file.close()
            raise

    def frame(self, number: int) -> pa.RecordBatch:
        """A frame, from 0. Raises SealBroken where it was altered."""
        place, size = self._frames[number]
        self._file.seek(place)
        data = self._algorithms.decrypt(self._key, self._file.read(size), str(number).encode())
        (batch,) = from_ipc(data).combine_chunks().to_batches()
        return batch

    def frames(self) -> Iterator[pa.RecordBatch]:
        """All frames; the next is opened while one is worked on."""
        with ThreadPoolExecutor(1, thread_name_prefix="state") as pool:
            ahead = deque(pool.submit(self.frame, number) for number in range(min(1, len(self._frames))))
            for number in range(1, len(self._frames) + 1):
                batch = ahead.popleft().result()
                if number < len(self._frames):
                    ahead.append(pool.submit(self.frame, number))
                yield batch

    def close(self) -> None:
        self._file.close()


class StateWriter:
    """A state that is being made, beside its place. `add` may be called for any number of rows at a time."""

    def __init__(self, folder: Path, path_of: Callable[[str], Path], key: bytes, algorithms: Suite, terms: str) -> None:
        salt = secrets.token_bytes(_SALT_BYTES)
        self._folder, self._path_of, self._algorithms, self._terms = folder, path_of, algorithms, terms
        self._key = _file_key(algorithms, key, salt)
        self._aside = folder / f".new-{secrets.token_hex(6)}"
        self._file = os.fdopen(os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._sizes: list[int] = []
        self._frames = 0
        self.rows = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")  # one: frames are written in their order
        self._pending: deque[Future[None]] = deque()
        try:
            with _telling_full():
                self._file.write(MAGIC + salt)
        except BaseException:
            self.discard()
            raise

    def add(self, batch: pa.RecordBatch) -> None:
        """Raises SpoolFull, now or at a later call."""
        while batch.num_rows:
            piece = batch.slice(0, _ROWS - self._waiting_rows)
            self._waiting.append(piece)
            self._waiting_rows += piece.num_rows
            self.rows += piece.num_rows
            batch = batch.slice(piece.num_rows)
            if self._waiting_rows == _ROWS:
                self._cut()

    def save(self, batch_id: str) -> None:
        """Durable under the name of its batch. Raises SpoolFull, SpoolNameRefused."""
        path = self._path_of(batch_id)
        if self._waiting_rows:
            self._cut()
        self._collect(0)
        last = {"terms": self._terms, "batch": batch_id, "rows": self.rows, "sizes": self._sizes}
        sealed = self._algorithms.encrypt(self._key, json.dumps(last).encode(), _LAST.encode())
        with _telling_full():
            self._file.write(_LENGTH.pack(len(sealed)) + sealed + _LENGTH.pack(len(sealed)))
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        self._aside.replace(path)
        sync_folder(self._folder)
        self._pool.shutdown()

    def discard(self) -> None:
        """Leave nothing behind; may be called at any time, also after `save`, which then stands."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        with contextlib.suppress(OSError):
            self._file.close()
        self._aside.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _cut(self) -> None:
        rows = pa.Table.from_batches(self._waiting)
        self._waiting, self._waiting_rows = [], 0
        self._pending.append(self._pool.submit(self._write, self._frames, rows))
        self._frames += 1
        self._collect(_AHEAD)

    def _collect(self, most: int) -> None:
        while len(self._pending) > most:
            self._pending.popleft().result()

    def _write(self, number: int, rows: pa.Table) -> None:
        sealed = self._algorithms.encrypt(self._key, to_ipc(rows.combine_chunks()), str(number).encode())
        with _telling_full():
            self._file.write(_LENGTH.pack(len(sealed)) + sealed)
        self._sizes.append(len(sealed))


def _file_key(algorithms: Suite, key: bytes, salt: bytes) -> bytes:
    return algorithms.derive(key, salt=salt, info=b"jinqiao state v1", length=algorithms.key_bytes)


@contextlib.contextmanager
def _telling_full() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise SpoolFull(size_bytes=0) from None
        raise
