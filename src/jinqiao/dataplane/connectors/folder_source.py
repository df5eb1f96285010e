"""A folder of arbitrary files as a source: one table `files`, a row for each file below the folder.

    path          TEXT, key: below the folder, parts joined by "/"       size_bytes    INTEGER
    modified_at   DATETIME, wall-clock time in China                     sha256        TEXT, hex
    content       BINARY

    options       max_file_mb: a larger file is refused (100 by default)

Hidden files, files that programs leave while they write (`~$…`, `*.tmp`, `*.part` …) and symbolic links are no rows. Contents
are read in batches of at most 16 MiB, or one file, so that memory stays bounded; without `content` and `sha256` among the
columns no file is opened. Rows are in the order of their paths. Every file is the same before and after it was read, and the
folder holds the same files at the end as at the beginning: otherwise SourceChanged.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from jinqiao.dataplane.connectors.base import ReadPlan, Source, select_columns
from jinqiao.dataplane.connectors.excel_source import whole_option
from jinqiao.dataplane.connectors.file_snapshot import FileSnapshot
from jinqiao.dataplane.connectors.file_source import Mark, kept, ordered, with_columns
from jinqiao.dataplane.connectors.protection import Throttle
from jinqiao.dataplane.connectors.snapshots import WHOLE, SnapshotState
from jinqiao.dataplane.errors import (
    DatabaseMissing,
    FileTooLarge,
    FilterNotPossible,
    PermissionDenied,
    SourceChanged,
    TableMissing,
)
from jinqiao.kernel.contracts.tables import Column, Connection, Engine, LogicalType, TableSchema
from jinqiao.kernel.moments import CHINA

TABLE = "files"
MB = 1 << 20
MAX_FILE_MB = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH_BYTES = 16 << 20
_SPLIT_BYTES = 64 << 20
COLUMNS = (
    Column(name="path", type=LogicalType.TEXT, native_type="file", nullable=False, primary_key=True),
    Column(name="size_bytes", type=LogicalType.INTEGER, native_type="file", nullable=False),
    Column(name="modified_at", type=LogicalType.DATETIME, native_type="file", nullable=False),
    Column(name="sha256", type=LogicalType.TEXT, native_type="file", nullable=False, length=64),
    Column(name="content", type=LogicalType.BINARY, native_type="file", nullable=False),
)
_SCHEMA = TableSchema(name=TABLE, columns=COLUMNS)
_FROM_CONTENT = ("sha256", "content")
_UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".swp", ".lock")
_NO_DOCUMENTS = ("thumbs.db", "desktop.ini")


def is_shown(name: str) -> bool:
    """Is a file or folder of this name one that people put there?"""
    lower = name.lower()
    return not name.startswith((".", "~")) and not lower.endswith(_UNFINISHED) and lower not in _NO_DOCUMENTS


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A file below the folder, as the listing saw it."""

    path: bytes  # as the file system has it
    mark: Mark

    @property
    def size_bytes(self) -> int:
        return self.mark[1]

    @property
    def modified_at(self) -> datetime:
        return (_EPOCH + timedelta(microseconds=self.mark[2] // 1000)).astimezone(CHINA).replace(tzinfo=None)


def listing(folder: Path) -> list[Found]:
    """Every file below the folder in the order of their paths; links are not followed. Raises PermissionDenied, SourceChanged."""
    found: list[Found] = []
    waiting = [os.fsencode(folder)]
    start = len(waiting[0].rstrip(b"/")) + 1
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if not is_shown(os.fsdecode(entry.name)) or entry.is_symlink():
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        found.append(Found(entry.path[start:], _mark(entry.stat(follow_symlinks=False))))
    except PermissionError:
        raise PermissionDenied(table=TABLE) from None
    except FileNotFoundError:
        raise SourceChanged(table=TABLE) from None
    return sorted(found)


def _mark(state: os.stat_result) -> Mark:
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


class FolderSource(Source):
    engine: ClassVar[Engine] = Engine.FOLDER
    snapshot = "file"

    def __init__(self, connection: Connection, password: str | None = None) -> None:
        self._folder = Path(connection.database)
        self._limit_mb = whole_option(connection.options, "max_file_mb", 1, 1024) or MAX_FILE_MB

    def test(self) -> str:
        if not self._folder.is_dir():
            raise DatabaseMissing(database=self._folder.name)
        if not os.access(self._folder, os.R_OK | os.X_OK):
            raise PermissionDenied(table=self._folder.name)
        return "folder"

    def tables(self) -> tuple[TableSchema, ...]:
        self.test()
        return (TableSchema(name=TABLE, columns=COLUMNS, row_estimate=len(listing(self._folder))),)

    def state_token(self, table: str) -> str:
        """Text that changes when a file is added, changed or gone."""
        self._check(table)
        digest = hashlib.sha256()
        for file in listing(self._folder):
            digest.update(repr(file).encode())
        return digest.hexdigest()

    def read(self, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        return self.read_from(plan, 0)

    def read_from(self, plan: ReadPlan, place: int) -> Iterator[pa.RecordBatch]:
        """As `read`, without the rows before a place."""
        wanted = [column.name for column in select_columns(_SCHEMA, plan.columns)]
        before = self._listing(plan.table)
        late = [pair for pair in with_columns(plan.row_filter, _SCHEMA) if pair[1].name in _FROM_CONTENT]
        opened = [name for name in _FROM_CONTENT if name in wanted or any(c.name == name for _, c in late)]
        throttle = Throttle(plan)
        for group in _groups(_chosen(before, plan)[place:], throttle, bool(opened)):
            piece = kept(self._with_contents(group, opened), late, TABLE).select(wanted)
            if piece.num_rows:
                yield piece
                throttle.took(piece)
        if listing(self._folder) != before:
            raise SourceChanged(table=TABLE)

    def splits(self, plan: ReadPlan, chunk_rows: int) -> tuple[str, ...]:
        """Ranges of files with about 64 MiB. A condition on contents leaves no places: then everything is one range."""
        if any(condition.column in _FROM_CONTENT for condition in plan.row_filter):
            return (WHOLE,)
        bounds, size = [0], 0
        chosen = _chosen(self._listing(plan.table), plan)
        for at, file in enumerate(chosen):
            if at > bounds[-1] and (size + file.size_bytes > _SPLIT_BYTES or 0 < chunk_rows <= at - bounds[-1]):
                bounds.append(at)
                size = 0
            size += file.size_bytes
        ends = [str(bound) for bound in bounds[1:]] + [""]
        return tuple(f"{since}:{until}" for since, until in zip(bounds, ends, strict=True))

    def open_snapshot(
        self, plan: ReadPlan, *, parallel: int = 1, resume: SnapshotState | None = None, chunk_rows: int = 100_000
    ) -> FileSnapshot:
        return FileSnapshot(self, plan, resume=resume, chunk_rows=chunk_rows)

    def _listing(self, table: str) -> list[Found]:
        """All files. Raises FileTooLarge where one of them is larger than the connection allows."""
        self._check(table)
        found = listing(self._folder)
        largest = max((file.size_bytes for file in found), default=0)
        if largest > self._limit_mb * MB:
            raise FileTooLarge(size_mb=-(-largest // MB), limit_mb=self._limit_mb)
        return found

    def _check(self, table: str) -> None:
        self.test()
        if table != TABLE:
            raise TableMissing(table=table)

    def _with_contents(self, files: list[Found], opened: list[str]) -> pa.RecordBatch:
        batch = _about(files)
        if opened:
            contents = [self._content(file) for file in files]
            digests = [hashlib.sha256(content).hexdigest() for content in contents]
            batch = batch.append_column("sha256", pa.array(digests, pa.string()))
            batch = batch.append_column("content", pa.array(contents, pa.binary()))
        return batch

    def _content(self, file: Found) -> bytes:
        """The bytes of a file that is still the one in the listing."""
        try:
            descriptor = os.open(
                os.path.join(os.fsencode(self._folder), file.path),  # noqa: PTH118 -- a path of bytes
                os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK,
            )
            with os.fdopen(descriptor, "rb") as opened:
                state = os.fstat(descriptor)
                if not stat.S_ISREG(state.st_mode) or _mark(state) != file.mark:
                    raise SourceChanged(table=TABLE)
                content = opened.read(file.size_bytes + 1)
                if len(content) != file.size_bytes or _mark(os.fstat(descriptor)) != file.mark:
                    raise SourceChanged(table=TABLE)
                return content
        except PermissionError:
            raise PermissionDenied(table=TABLE) from None
        except OSError:
            raise SourceChanged(table=TABLE) from None


def _about(files: list[Found]) -> pa.RecordBatch:
    """What a listing says of its files, and their places in it as `at`. A name that is no UTF-8 stays bytes: it fits no text."""
    columns: dict[str, Any] = {
        "path": _texts([file.path for file in files]),
        "size_bytes": pa.array([file.size_bytes for file in files], pa.int64()),
        "modified_at": pa.array([file.modified_at for file in files], pa.timestamp("us")),
        "at": pa.array(range(len(files)), pa.int64()),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _chosen(files: list[Found], plan: ReadPlan) -> list[Found]:
    """The files that the plan's conditions let through, in its order. Raises FilterNotPossible for an order by contents."""
    order = select_columns(_SCHEMA, plan.order_by)
    for column in order:
        if column.name in _FROM_CONTENT:
            raise FilterNotPossible(column=column.name, type=column.type.value)
    early = [pair for pair in with_columns(plan.row_filter, _SCHEMA) if pair[1].name not in _FROM_CONTENT]
    rows = iter([kept(_about(files), early, TABLE)])
    return [
        files[at] for batch in (ordered(rows, order, plan) if order else rows) for at in batch.column("at").to_pylist()
    ]


def _texts(paths: list[bytes]) -> pa.Array:
    given = pa.array(paths, pa.binary())
    try:
        return given.cast(pa.string())
    except pa.ArrowInvalid:
        return given


def _groups(files: list[Found], throttle: Throttle, by_bytes: bool) -> Iterator[list[Found]]:
    """Files that are handed on together."""
    group: list[Found] = []
    size = 0
    for file in files:
        if group and (len(group) >= throttle.batch_rows or (by_bytes and size + file.size_bytes > _BATCH_BYTES)):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size_bytes
    if group:
        yield group
