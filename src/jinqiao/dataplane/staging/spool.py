"""The spool: where a node keeps staged chunks until their receipt is complete.

    <spool>/out/<run>/chunk-00001.jqc …   what this node extracted       manifest.json   written last, when all chunks are durable
                                                                         begun.json      how extraction began: snapshot, data key (sealed)
                                                                         splits.jsonl    a line for each split that is staged whole
                                                                         memory-….jqc    what the mode must remember of it (`staging.memory`)
    <spool>/in/<run>/chunk-00001.jqc …    what this node fetched         quarantine.jqc  rows that failed a check, sealed to the provider

Every file is written beside its place, flushed to the disk, and moved into place, so that a file that is there is whole.
A run without a manifest is unfinished. What is written down as JSON stands behind its own digest: a record that the disk has
changed counts as one that was never written, and what it told of is read again.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinqiao.dataplane.errors import ChunkMissing, SpoolFull, SpoolNameRefused
from jinqiao.dataplane.staging.records import record, value_of
from jinqiao.kernel.contracts.exchange import BatchManifest
from jinqiao.kernel.keystore import sync_folder, write_durably

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}\Z")
_MANIFEST = "manifest.json"
_QUARANTINE = "quarantine.jqc"
_BEGUN = "begun.json"
_FLAT_OBJECT = re.compile(rb"\{[^{}]*\}")
_SPLITS = "splits.jsonl"


def _flat(handle: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A handle and those within it, each without the others."""
    inner = {name: value for name, value in handle.items() if isinstance(value, dict)}
    yield {name: value for name, value in handle.items() if name not in inner}
    for value in inner.values():
        yield from _flat(value)


def _write(path: Path, data: bytes) -> None:
    """All of `data` at `path`, or nothing. Raises SpoolFull where the disk, a quota or a size limit ends."""
    try:
        write_durably(path, data)
    except OSError as problem:
        if problem.errno in _NO_ROOM:
            raise SpoolFull(size_bytes=len(data)) from None
        raise


class RunSpool:
    """The folder of one run on one side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def chunk_path(self, number: int) -> Path:
        return self.folder / f"chunk-{number:05d}.jqc"

    def write_chunk(self, number: int, data: bytes) -> None:
        self._make()
        _write(self.chunk_path(number), data)

    def has_chunk(self, number: int) -> bool:
        return self.chunk_path(number).is_file()

    def read_chunk(self, number: int) -> bytes:
        """Raises ChunkMissing."""
        try:
            return self.chunk_path(number).read_bytes()
        except FileNotFoundError:
            raise ChunkMissing(chunk=number, run=self.folder.name) from None

    def write_manifest(self, manifest: BatchManifest) -> None:
        self._make()
        _write(self.folder / _MANIFEST, record(manifest.to_json()))

    def manifest(self) -> BatchManifest | None:
        """What was handed over, None while the run is unfinished."""
        found = self._read(_MANIFEST)
        return None if found is None else BatchManifest.from_json(found)

    def drop_manifest(self) -> None:
        """The run is unfinished again."""
        (self.folder / _MANIFEST).unlink(missing_ok=True)

    def _read(self, name: str) -> Any:
        try:
            return value_of((self.folder / name).read_bytes())
        except FileNotFoundError:
            return None

    def write_begun(self, begun: dict[str, Any]) -> None:
        """How the extraction began, or went on.

        What is open at the source stands in it twice more, so that the disk cannot hide it by one bit (`damaged_handles`).
        """
        self._make()
        handles = list(_flat(begun.get("snapshot", {}).get("handle", {})))
        _write(self.folder / _BEGUN, record({**begun, "handles": [handles, handles]}))

    def begun(self) -> dict[str, Any] | None:
        found = self._read(_BEGUN)
        return None if found is None else {name: value for name, value in found.items() if name != "handles"}

    def damaged_handles(self) -> list[dict[str, Any]]:
        """Handles of its snapshot where the disk has changed it: to be asked about, never to be believed."""
        found: list[dict[str, Any]] = []
        with suppress(OSError):
            for text in _FLAT_OBJECT.findall((self.folder / _BEGUN).read_bytes()):
                with suppress(ValueError):
                    handle = json.loads(text)
                    if handle and handle not in found:
                        found.append(handle)
        return found

    def note_split(self, split: dict[str, Any]) -> None:
        """A split is staged whole: its chunks are durable already. For one thread at a time."""
        path = self.folder / _SPLITS
        is_new = not path.exists()
        try:
            with path.open("ab") as file:
                file.write(record(split))
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            if problem.errno in _NO_ROOM:
                raise SpoolFull(size_bytes=0) from None
            raise
        if is_new:
            sync_folder(self.folder)

    def staged_splits(self) -> list[dict[str, Any]]:
        """The lines that are whole: the last may be torn, and is then as if it had never been written."""
        try:
            lines = (self.folder / _SPLITS).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        values = (value_of(line) for line in lines)
        return [dict(value) for value in values if value is not None]

    def rewrite_splits(self, records: list[dict[str, Any]]) -> None:
        """Those and no others, unless that is how it is."""
        if not records and not (self.folder / _SPLITS).exists():
            return
        _write(self.folder / _SPLITS, b"".join(map(record, records)))

    def chunk_numbers(self) -> set[int]:
        """Numbers of the chunk files that are here."""
        return {int(path.name[6:-4]) for path in self.folder.glob("chunk-*.jqc")}

    def drop_chunk(self, number: int) -> None:
        self.chunk_path(number).unlink(missing_ok=True)

    def drop_staged(self) -> None:
        """Forget all that was staged; the quarantine stays for its provider."""
        for path in (self.folder / _MANIFEST, self.folder / _BEGUN):
            path.unlink(missing_ok=True)
        self._drop_files()

    def forget_staged(self) -> None:
        """Forget all but how extraction began: that names what may be open at the source, until it is written anew."""
        for path in (self.folder / _MANIFEST, self.folder / _QUARANTINE):
            path.unlink(missing_ok=True)
        self._drop_files()

    def _drop_files(self) -> None:
        (self.folder / _SPLITS).unlink(missing_ok=True)
        for number in self.chunk_numbers():
            self.drop_chunk(number)
        for pattern in ("quarantine-*.jqc", "memory-*.jqc"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)

    def write_memory(self, name: str, data: bytes) -> None:
        """What is to be known of what is staged, sealed."""
        self._make()
        _write(self.folder / f"memory-{name}.jqc", data)

    def memory(self, name: str) -> bytes | None:
        path = self.folder / f"memory-{name}.jqc"
        return path.read_bytes() if path.is_file() else None

    def write_quarantine(self, data: bytes, part: int | None = None) -> None:
        """The quarantine of the run, or of one split while the run goes on."""
        self._make()
        _write(self.folder / (_QUARANTINE if part is None else f"quarantine-{part:05d}.jqc"), data)

    def quarantine(self, part: int | None = None) -> bytes | None:
        path = self.folder / (_QUARANTINE if part is None else f"quarantine-{part:05d}.jqc")
        return path.read_bytes() if path.is_file() else None

    def purge(self) -> None:
        """Forget the run; may be repeated. The manifest goes first: what is left of a half purge is unfinished."""
        (self.folder / _MANIFEST).unlink(missing_ok=True)
        (self.folder / _BEGUN).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(self.folder.parent)


class Spool:
    """The spool of a node. `root` is made when first used."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def outgoing(self, run_id: str) -> RunSpool:
        return self._run("out", run_id)

    def incoming(self, run_id: str) -> RunSpool:
        return self._run("in", run_id)

    def purge(self, run_id: str) -> None:
        self.outgoing(run_id).purge()
        self.incoming(run_id).purge()

    def runs(self) -> tuple[str, ...]:
        """Ids of the runs that have something here, on either side."""
        return tuple(
            sorted({path.name for side in ("out", "in") for path in (self.root / side).glob("*") if path.is_dir()})
        )

    def free_bytes(self) -> int:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self.root).free

    def _run(self, side: str, run_id: str) -> RunSpool:
        if _NAME.match(run_id) is None:
            raise SpoolNameRefused(run=run_id[:60])
        return RunSpool(self.root / side / run_id)
