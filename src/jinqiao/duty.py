"""Backup, restore and key rotation of a home. No Django: they work while the pages are down.

A backup is one file: a compressed tar, cut into frames, each frame encrypted by AES-256-GCM under a key made of the
passphrase by scrypt. A frame's number and whether it is the last are authenticated, so that a cut or shuffled file is found.
SQLite databases are taken by SQLite's own online backup; a control database on PostgreSQL by pg_dump. Restoring writes
beside the home and renames at the end: a restore that fails leaves nothing behind.
"""

import argparse
import gzip
import hashlib
import io
import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from jinqiao.config.env import Environment
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import InvalidInput, WrongState
from jinqiao.kernel.keystore import KeyStore

MAGIC = b"JINQIAO-BACKUP-1\n"
FRAME_BYTES = 1 << 20
LEFT_OUT = {"log", "static", "up.lock"}
DUMP = "control.pgdump"


class PassphraseMissing(InvalidInput):
    code = "backup.passphrase.missing"


class BackupUnreadable(InvalidInput):
    code = "backup.file.unreadable"


class HomeNotEmpty(WrongState):
    code = "backup.home.not_empty"


class DatabaseToolFailed(WrongState):
    code = "backup.database.failed"


def _key(passphrase: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(passphrase, salt=salt, n=2**15, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=32)


class _Sealer(io.RawIOBase):
    """Writes what is given as encrypted frames."""

    def __init__(self, out: IO[bytes], passphrase: bytes) -> None:
        self._out = out
        self._buffer = bytearray()
        self._number = 0
        salt = secrets.token_bytes(16)
        self._key = _key(passphrase, salt)
        out.write(MAGIC + salt)

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._buffer += data
        while len(self._buffer) > FRAME_BYTES:
            self._frame(bytes(self._buffer[:FRAME_BYTES]), last=False)
            del self._buffer[:FRAME_BYTES]
        return len(data)

    def _frame(self, data: bytes, *, last: bool) -> None:
        sealed = suite("international").encrypt(self._key, data, f"{self._number}:{int(last)}".encode())
        self._out.write(bytes([last]) + len(sealed).to_bytes(4, "big") + sealed)
        self._number += 1

    def close(self) -> None:
        if not self.closed:
            self._frame(bytes(self._buffer), last=True)
        super().close()


class _Unsealer(io.RawIOBase):
    """Reads the frames back; raises BackupUnreadable for a wrong passphrase or a damaged file."""

    def __init__(self, source: IO[bytes], passphrase: bytes) -> None:
        head = source.read(len(MAGIC) + 16)
        if not head.startswith(MAGIC) or len(head) != len(MAGIC) + 16:
            raise BackupUnreadable(reason="not a backup")
        self._key = _key(passphrase, head[len(MAGIC) :])
        self._frames = self._read_frames(source)
        self._buffer = b""

    def _read_frames(self, source: IO[bytes]) -> Iterator[bytes]:
        number, last = 0, False
        while not last:
            head = source.read(5)
            if len(head) != 5:
                raise BackupUnreadable(reason="cut off")
            last = bool(head[0])
            sealed = source.read(int.from_bytes(head[1:], "big"))
            try:
                yield suite("international").decrypt(self._key, sealed, f"{number}:{int(last)}".encode())
            except Exception as problem:  # whatever the cipher says, the reader needs one answer
                raise BackupUnreadable(reason="wrong passphrase or damaged") from problem
            number += 1

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        while not self._buffer:
            frame = next(self._frames, None)
            if frame is None:
                return 0
            self._buffer = frame
        count = min(len(target), len(self._buffer))
        target[:count] = self._buffer[:count]
        self._buffer = self._buffer[count:]
        return count


def _is_sqlite(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(16) == b"SQLite format 3\0"


def _is_postgres() -> bool:
    return os.environ.get("DATABASE_URL", "").startswith(("postgresql://", "postgres://"))


def _postgres_tool(name: str, *arguments: str) -> None:
    """Runs a client tool on the control database. The password travels in the environment: everybody can read a command line."""
    database = Environment().database("DATABASE_URL", Path())
    where = [f"--dbname={database['NAME']}"]
    for option, value in (("host", database["HOST"]), ("port", database["PORT"]), ("username", database["USER"])):
        if value:
            where.append(f"--{option}={value}")
    environment = {**os.environ, "PGPASSWORD": database["PASSWORD"]}
    environment.pop("DATABASE_URL")
    try:
        done = subprocess.run([name, *where, *arguments], check=False, capture_output=True, text=True, env=environment)
    except FileNotFoundError as problem:
        raise DatabaseToolFailed(tool=name, reason="not installed") from problem
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise DatabaseToolFailed(tool=name, reason=reason)


def back_up(home: Path, target: Path, passphrase: bytes) -> int:
    """Writes everything of `home` to `target` (mode 0600, replaced atomically). Returns the number of files taken."""
    partial = target.with_name(target.name + ".partial")
    taken = 0
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with (
            os.fdopen(descriptor, "wb") as out,
            tempfile.TemporaryDirectory(dir=home) as scratch,
        ):
            with (
                _Sealer(out, passphrase) as sealer,
                gzip.GzipFile(fileobj=sealer, mode="wb", compresslevel=5) as packed,
                tarfile.open(fileobj=packed, mode="w|") as archive,
            ):
                # keys first: the sealed head of the trail must be older than the trail that is taken after it
                for file in _files(home / "keys"):
                    taken += _take(archive, file, str(file.relative_to(home)), Path(scratch))
                if _is_postgres():
                    dump = Path(scratch) / DUMP
                    _postgres_tool("pg_dump", "--format=custom", "--no-owner", f"--file={dump}")
                    archive.add(dump, DUMP)
                    taken += 1
                for file in _files(home):
                    name = file.relative_to(home)
                    if (
                        name.parts[0] in LEFT_OUT | {"keys"}
                        or Path(scratch) in file.parents
                        or file in (target, partial)
                    ):
                        continue
                    taken += _take(archive, file, str(name), Path(scratch))
            out.flush()
            os.fsync(out.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return taken


def _files(folder: Path) -> list[Path]:
    """All files below, without what only a running process needs."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.endswith(("-wal", "-shm", ".lock"))
    ]


def _take(archive: tarfile.TarFile, file: Path, name: str, scratch: Path) -> int:
    try:
        if _is_sqlite(file):
            copy = scratch / "copy.db"
            copy.unlink(missing_ok=True)
            with (
                closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as live,
                closing(sqlite3.connect(copy)) as still,
            ):
                live.backup(still)
            copy.chmod(file.stat().st_mode & 0o777)
            archive.add(copy, name)
        else:
            archive.add(file, name)
    except FileNotFoundError:  # a staged chunk that was purged meanwhile
        return 0
    return 1


def restore(source: Path, home: Path, passphrase: bytes) -> int:
    """Makes `home` (absent or empty) what it was when `source` was written. Returns the number of files."""
    if home.exists() and any(home.iterdir()):
        raise HomeNotEmpty(home=home.name)
    home.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{home.name}-restore-", dir=home.parent))
    try:
        count = 0
        with source.open("rb") as handle, _Unsealer(handle, passphrase) as unsealer:
            try:
                with (
                    gzip.GzipFile(fileobj=io.BufferedReader(unsealer)) as packed,
                    tarfile.open(fileobj=packed, mode="r|") as archive,
                ):
                    for member in archive:
                        archive.extract(member, beside, filter="data")
                        count += 1
            except (tarfile.TarError, EOFError, gzip.BadGzipFile) as problem:
                raise BackupUnreadable(reason="damaged") from problem
        dump = beside / DUMP
        if dump.exists():
            if not _is_postgres():
                raise DatabaseToolFailed(
                    tool="pg_restore", reason="DATABASE_URL does not name the PostgreSQL database to restore into"
                )
            _postgres_tool("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(dump))
            dump.unlink()
        for folder in ("log", "static"):
            (beside / folder).mkdir(exist_ok=True)
        beside.chmod(0o700)
        if home.exists():
            home.rmdir()
        beside.replace(home)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return count


def key_stores(home: Path) -> list[Path]:
    """The folders of this home that hold a master key: the platform's, each node's, the gateway's."""
    folders = [home / "keys", home / "gateway", *sorted((home / "nodes").glob("*"))]
    return [folder for folder in folders if (folder / "master.key").exists()]


def rotate_keys(home: Path) -> int:
    folders = key_stores(home)
    if not folders:
        print(f"{home}: 没有主密钥 no master key here", file=sys.stderr)
        return 1
    for folder in folders:
        KeyStore(folder).rotate()
        print(f"{folder.relative_to(home)}: 主密钥已更换 master key rotated")
    print("请重启平台各进程，并另做一次备份。Restart the platform's processes and make a new backup.")
    return 0


def _passphrase(file: Path | None) -> bytes:
    if file is None:
        raise PassphraseMissing
    text = file.read_text(encoding="utf-8").strip()
    if len(text) < 12:
        raise PassphraseMissing
    return text.encode()


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"jinqiao {name}", description=description)
    parser.add_argument("file", type=Path)
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("JINQIAO_HOME", "var")))
    parser.add_argument(
        "--passphrase-file", type=Path, help="a file with a passphrase of 12 or more characters, kept elsewhere"
    )
    return parser


def _report(problem: InvalidInput | WrongState) -> int:
    text = problem.text("zh")
    print(
        f"{problem.code}: {text.message}{text.mend}\n{problem.text('en').message} {problem.text('en').mend}",
        file=sys.stderr,
    )
    return 1


def backup_main(arguments: list[str]) -> int:
    chosen = _parser("backup", "Everything of a home in one encrypted file.").parse_args(arguments)
    home: Path = chosen.home.resolve()
    if not home.is_dir():
        print(f"{home}: 没有这个目录 no such folder", file=sys.stderr)
        return 2
    try:
        count = back_up(home, chosen.file.resolve(), _passphrase(chosen.passphrase_file))
    except (InvalidInput, WrongState) as problem:
        return _report(problem)
    size = chosen.file.stat().st_size / 1e6
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ} 已备份 backed up: {count} 个文件 files, {size:.1f} MB → {chosen.file}")
    return 0


def restore_main(arguments: list[str]) -> int:
    chosen = _parser("restore", "A backup into an empty home.").parse_args(arguments)
    try:
        count = restore(chosen.file, chosen.home.resolve(), _passphrase(chosen.passphrase_file))
    except (InvalidInput, WrongState) as problem:
        return _report(problem)
    print(f"已恢复 restored: {count} 个文件 files → {chosen.home}")
    return 0
