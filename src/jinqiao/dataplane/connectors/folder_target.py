"""A folder of arbitrary files as a target: `content` is written to `path` below the folder.

    columns     path and content, both needed; where there, modified_at becomes the file's time, size_bytes and sha256 are held
                against the content (names as at the source; the order's `target_names` gives them to items of other codes)
    records     <folder>/.jinqiao/files.json: every file that was delivered, with digest and state; ledger.json: as file_target

Each file is written aside, synced, read again and compared with its digest, and renamed: a reader never sees half a file. A batch
as a whole becomes visible file by file. Its counts are noted before the first file is touched, and writing may be repeated, so
a delivery that was killed goes on. MIRROR deletes the delivered files that are gone, and refuses to begin where the folder
holds files of others; UPSERT and APPEND delete nothing but what a diff names.

Paths that lead outside, through a symbolic link, to a hidden or unfinished name, or into another file are refused before
anything is written.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

from jinqiao.dataplane.connectors.base import DeliveryPlan, LedgerState
from jinqiao.dataplane.connectors.folder_source import is_shown, listing
from jinqiao.dataplane.connectors.plans import check_file_plan, deletes_keys
from jinqiao.dataplane.connectors.staged_target import StagedTarget, signed
from jinqiao.dataplane.errors import (
    ReconciliationFailed,
    TargetFilesForeign,
    TargetKeyNotUnique,
    TargetPathRefused,
    TargetRefused,
    TargetSchemaMismatch,
)
from jinqiao.kernel.contracts.exchange import ChunkKind, CopyMode, Delivery, DeliveryCounts
from jinqiao.kernel.contracts.tables import Engine, LogicalType
from jinqiao.kernel.keystore import write_durably
from jinqiao.kernel.moments import CHINA

_NEEDED = {"path": LogicalType.TEXT, "content": LogicalType.BINARY}
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 3000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
Delivered = dict[str, list[Any]]  # path → digest, size, time, change time, inode


def is_path(path: str) -> bool:
    """May a file be written there? Below the folder, no name hidden or unfinished."""
    names = path.split("/")
    return (
        "\0" not in path
        and len(os.fsencode(path)) <= _MAX_PATH_BYTES
        and all(name and name not in (".", "..") and is_shown(name) for name in names)
        and all(len(os.fsencode(name)) <= _MAX_NAME_BYTES for name in names)
    )


class FolderTarget(StagedTarget):
    engine: ClassVar[Engine] = Engine.FOLDER
    title: ClassVar[str] = "folder"

    def prepare(self, plan: DeliveryPlan) -> LedgerState:
        check_file_plan(plan, self.title)
        state = self.state(plan.batch_id)
        types = {column.name: column.type for column in plan.columns}
        broken = [name for name, type_ in _NEEDED.items() if types.get(name) is not type_]
        if broken:
            raise TargetSchemaMismatch(table=plan.table, columns=", ".join(broken))
        if state.merged is None:
            with self._writing(plan.table):
                self._run(plan.batch_id).mkdir(parents=True, exist_ok=True, mode=0o700)
        return state

    def merge(self, plan: DeliveryPlan) -> DeliveryCounts:
        with self._writing(plan.table), self._alone():
            state = self._state(plan.batch_id)
            if state.merged is not None:
                return state.merged
            self._check_staged(plan, state)
            digests = self._checked(plan)
            delivered = self._delivered()
            deleted = self._to_delete(plan, digests, delivered)
            ledger = self._ledger()
            if plan.batch_id not in ledger["pending"]:
                counts = self._counts(digests, deleted, delivered)
                self._note(ledger, plan.batch_id, {"table": plan.table, "counts": counts.to_json()} | signed(plan))
            for row in self._rows(plan):
                path = row["path"]
                if not self._is_there(path, digests[path], delivered):
                    delivered[path] = [digests[path], *self._write(row, digests[path])]
            for path in deleted:
                self._delete(path)
                delivered.pop(path, None)
            write_durably(self._own / "files.json", json.dumps(delivered, ensure_ascii=False).encode())
            note = self._done(ledger, plan.batch_id)
        return DeliveryCounts.from_json(note["counts"])

    def _rows(self, plan: DeliveryPlan) -> Iterator[dict[str, Any]]:
        """The rows of the batch one by one: contents stay in the mapped chunk until they are asked for."""
        for batch in self._staged(plan, ChunkKind.ROWS):
            for at in range(batch.num_rows):
                yield from batch.slice(at, 1).to_pylist()

    # --- what is to be done ---------------------------------------------------------------------------------------

    def _checked(self, plan: DeliveryPlan) -> dict[str, str]:
        """Path and digest of each file of the batch, in its order. Raises what makes the batch none for a folder."""
        digests: dict[str, str] = {}
        refused = 0
        for row in self._rows(plan):
            path, content = row["path"], row["content"]
            if path is None or content is None or not is_path(path):
                refused += 1
                continue
            digest = hashlib.sha256(content).hexdigest()
            if row.get("sha256") not in (None, digest) or row.get("size_bytes") not in (None, len(content)):
                raise TargetRefused(table=plan.table, state="digest")
            digests[path] = digest
        refused += sum(parent in digests for path in digests for parent in _parents(path))
        if refused:
            raise TargetPathRefused(table=plan.table, rows=refused)
        if len(digests) != plan.rows:
            raise TargetKeyNotUnique(table=plan.table, keys="path")
        return digests

    def _to_delete(self, plan: DeliveryPlan, digests: dict[str, str], delivered: Delivered) -> list[str]:
        """Paths that the batch takes away. Raises TargetFilesForeign where a mirror would have to delete others' files."""
        if plan.mode is CopyMode.FULL and plan.delivery in (Delivery.MIRROR, Delivery.RELOAD):
            there = {os.fsdecode(file.path) for file in listing(self._folder)}
            foreign = there - delivered.keys() - digests.keys()
            if foreign:
                raise TargetFilesForeign(files=len(foreign))
            return sorted(delivered.keys() - digests.keys())
        named: set[str] = set()
        if plan.rows_deleted and deletes_keys(plan):
            if "path" not in plan.keys:
                raise TargetSchemaMismatch(table=plan.table, columns="path")
            for batch in self._staged(plan, ChunkKind.DELETES):
                named.update(batch.column("path").to_pylist())
        return sorted(path for path in named if path in delivered and path not in digests)

    def _counts(self, digests: dict[str, str], deleted: list[str], delivered: Delivered) -> DeliveryCounts:
        there = {os.fsdecode(file.path) for file in listing(self._folder)}
        inserted = sum(path not in there for path in digests)
        unchanged = sum(self._is_there(path, digest, delivered) for path, digest in digests.items())
        return DeliveryCounts(
            received=len(digests),
            inserted=inserted,
            updated=len(digests) - inserted - unchanged,
            deleted=len(deleted),
            unchanged=unchanged,
            target_rows=len((there | digests.keys()) - set(deleted)),
        )

    def _delivered(self) -> Delivered:
        try:
            found: Delivered = json.loads((self._own / "files.json").read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def _is_there(self, path: str, digest: str, delivered: Delivered) -> bool:
        """Is the file the one that was delivered with this digest, untouched since?"""
        known = delivered.get(path)
        if known is None or known[0] != digest:
            return False
        with suppress(OSError), self._parent(path, make=False) as (folder, name):
            return known[1:] == _state_of(name, folder)
        return False

    # --- doing it -------------------------------------------------------------------------------------------------

    def _write(self, row: dict[str, Any], digest: str) -> list[int]:
        """One file in one instant, read again before it is renamed; its state."""
        modified = row.get("modified_at")
        with self._parent(row["path"], make=True) as (folder, name):
            # always the same name for a path: what a killed delivery left is written over
            aside = f".jinqiao-{hashlib.sha256(name.encode()).hexdigest()[:16]}.tmp"
            descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "w+b") as file:
                    file.write(row["content"])
                    file.flush()
                    if modified is not None:
                        at = _nanoseconds(modified)
                        os.utime(descriptor, ns=(at, at))
                    os.fsync(descriptor)
                    file.seek(0)
                    if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                        raise ReconciliationFailed(table="files", sent=1, received=0)
                os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
            except IsADirectoryError:
                os.unlink(aside, dir_fd=folder)
                raise TargetPathRefused(table="files", rows=1) from None
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(aside, dir_fd=folder)
                raise
            os.fsync(folder)
            return _state_of(name, folder)

    def _delete(self, path: str) -> None:
        """The file, and the folders that it leaves empty."""
        with suppress(FileNotFoundError, TargetPathRefused), self._parent(path, make=False) as (folder, name):
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)
        for parent in _parents(path):
            with suppress(OSError, TargetPathRefused), self._parent(parent, make=False) as (folder, name):
                os.rmdir(name, dir_fd=folder)

    @contextmanager
    def _parent(self, path: str, *, make: bool) -> Iterator[tuple[int, str]]:
        """The opened folder of a path, reached without following any link, and the last name.

        Raises TargetPathRefused where a link or a file stands in the way, FileNotFoundError where a folder is not there.
        """
        *folders, name = path.split("/")
        opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(folder, 0o750, dir_fd=opened)
                try:
                    inner = os.open(folder, _FOLDER, dir_fd=opened)
                except FileNotFoundError:
                    raise
                except (NotADirectoryError, OSError) as problem:
                    if isinstance(problem, PermissionError):
                        raise
                    raise TargetPathRefused(table="files", rows=1) from None
                os.close(opened)
                opened = inner
            yield opened, name
        finally:
            os.close(opened)


def _parents(path: str) -> list[str]:
    """The folders of a path, the innermost first."""
    names = path.split("/")[:-1]
    return ["/".join(names[:count]) for count in range(len(names), 0, -1)]


def _state_of(name: str, folder: int) -> list[int]:
    state = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _nanoseconds(moment: datetime) -> int:
    """A wall-clock time in China as nanoseconds since 1970, exactly."""
    since = moment.replace(tzinfo=CHINA).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
