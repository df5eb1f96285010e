"""Secrets at rest of one process home: encrypted under a master key that lies in a file of its own.

    home/master.key      the master key, mode 0600: one line `id:base64`
    home/keystore.json   the encrypted entries, and the id of the master key that opens them

Every file is written aside, synced and renamed. A rotation writes the new master key as `master.key.next` first, then the
store, then renames the key: at each instant the store names a master key that is there, so a process killed in the middle
leaves the old or the new state, and the next start finishes what was begun.
"""

import base64
import binascii
import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from jinqiao.kernel.crypto.errors import KeyFileExposed, KeyStoreBroken, SealBroken
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.suites import Suite, suite

MASTER = "master.key"
NEXT = "master.key.next"
STORE = "keystore.json"
_VERSION = 1
_MASTER_BYTES = 32


@contextlib.contextmanager
def written_durably(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` in one instant at the end of the block, or not at all: written aside,
    synced, renamed, and the folder synced."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one instant (`written_durably`)."""
    with written_durably(path, mode) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class KeyStore:
    """Named secrets under one master key. Made with its home at first use; safe between processes of one machine."""

    def __init__(self, home: Path, suite_name: str = "international") -> None:
        """`suite_name` decides how a new store encrypts; one that is there keeps its own."""
        self.home = Path(home)
        self._suite_name = suite(suite_name).name

    # -- reading and writing entries

    def get(self, name: str) -> bytes | None:
        """The secret of that name. Raises KeyStoreBroken, KeyFileExposed."""
        with self._locked():
            return self._open_entry(self._read(), name)

    def put(self, name: str, secret: bytes) -> None:
        with self._locked():
            self._put(self._read(), name, secret)

    def change(self, name: str, change: Callable[[bytes | None], bytes]) -> bytes:
        """Put in the place of a secret what `change` makes of it (None: there is none yet), while nobody else writes; the new one."""
        with self._locked():
            state = self._read()
            kept = self._open_entry(state, name)
            new = change(kept)
            if new != kept:
                self._put(state, name, new)
            return new

    def delete(self, name: str) -> None:
        with self._locked():
            state = self._read()
            if state["entries"].pop(name, None) is not None:
                self._write(state)

    def names(self) -> list[str]:
        with self._locked():
            return sorted(self._read()["entries"])

    def identity(self, name: str = "identity", suite: str = "international") -> Identity:
        """The identity of that name, made in `suite` where there is none yet."""
        with self._locked():
            state = self._read()
            kept = self._open_entry(state, name)
            if kept is not None:
                return Identity.from_json(json.loads(kept))
            made = Identity.generate(suite)
            self._put(state, name, json.dumps(made.to_json()).encode())
            return made

    def rotate(self) -> str:
        """A new master key; every entry encrypted under it. Returns the new key's id."""
        with self._locked():
            state = self._read()
            plain = {name: self._open_entry(state, name) for name in state["entries"]}
            key_id, master = self._new_master()
            write_durably(self.home / NEXT, _master_line(key_id, master))
            state["master"] = key_id
            for name, secret in plain.items():
                if secret is not None:
                    state["entries"][name] = self._close(state, master, name, secret)
            self._write(state)
            (self.home / NEXT).replace(self.home / MASTER)
            sync_folder(self.home)
            return key_id

    # -- files

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.home / ".keystore.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, Any]:
        """The store as it lies there; made where nothing is. Finishes a rotation that was cut off."""
        path = self.home / STORE
        if not path.exists():
            if (self.home / MASTER).exists():
                key_id, _ = self._read_master(self.home / MASTER)
            else:
                key_id, master = self._new_master()
                write_durably(self.home / MASTER, _master_line(key_id, master))
            state: dict[str, Any] = {"version": _VERSION, "suite": self._suite_name, "master": key_id, "entries": {}}
            self._write(state)
            return state
        try:
            state = json.loads(path.read_bytes())
            known = (
                state["version"] == _VERSION and isinstance(state["entries"], dict) and isinstance(state["master"], str)
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise KeyStoreBroken(reason=f"{STORE} is not readable") from problem
        if not known:
            raise KeyStoreBroken(reason=f"{STORE} has another form")
        following = self.home / NEXT
        if following.exists():
            if self._read_master(following)[0] == state["master"]:
                following.replace(self.home / MASTER)
            else:
                following.unlink()
            sync_folder(self.home)
        return state

    def _write(self, state: dict[str, Any]) -> None:
        write_durably(self.home / STORE, json.dumps(state, ensure_ascii=False, sort_keys=True, indent=1).encode())

    @staticmethod
    def _new_master() -> tuple[str, bytes]:
        return secrets.token_hex(8), secrets.token_bytes(_MASTER_BYTES)

    @staticmethod
    def _read_master(path: Path) -> tuple[str, bytes]:
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise KeyFileExposed(file=path.name)
            key_id, _, encoded = path.read_text(encoding="ascii").strip().partition(":")
            master = base64.b64decode(encoded, validate=True)
        except FileNotFoundError as problem:
            raise KeyStoreBroken(reason=f"{path.name} is missing") from problem
        except (ValueError, binascii.Error) as problem:
            raise KeyStoreBroken(reason=f"{path.name} is not readable") from problem
        if len(master) != _MASTER_BYTES or not key_id:
            raise KeyStoreBroken(reason=f"{path.name} is not readable")
        return key_id, master

    # -- encryption of entries

    def _master(self, state: dict[str, Any]) -> bytes:
        key_id, master = self._read_master(self.home / MASTER)
        if key_id != state["master"]:
            raise KeyStoreBroken(reason=f"{MASTER} is not the key of this store")
        return master

    @staticmethod
    def _entry_key(algorithms: Suite, master: bytes) -> bytes:
        return algorithms.derive(master, salt=b"", info=b"jinqiao keystore v1", length=algorithms.key_bytes)

    def _close(self, state: dict[str, Any], master: bytes, name: str, secret: bytes) -> str:
        algorithms = suite(state["suite"])
        sealed = algorithms.encrypt(self._entry_key(algorithms, master), secret, f"{state['master']}/{name}".encode())
        return base64.b64encode(sealed).decode("ascii")

    def _put(self, state: dict[str, Any], name: str, secret: bytes) -> None:
        state["entries"][name] = self._close(state, self._master(state), name, secret)
        self._write(state)

    def _open_entry(self, state: dict[str, Any], name: str) -> bytes | None:
        sealed = state["entries"].get(name)
        if sealed is None:
            return None
        algorithms = suite(state["suite"])
        try:
            data = base64.b64decode(sealed, validate=True)
            key = self._entry_key(algorithms, self._master(state))
            return algorithms.decrypt(key, data, f"{state['master']}/{name}".encode())
        except (SealBroken, binascii.Error, ValueError, TypeError) as problem:
            raise KeyStoreBroken(reason=f"entry {name} was altered") from problem


def _master_line(key_id: str, master: bytes) -> bytes:
    return f"{key_id}:{base64.b64encode(master).decode('ascii')}\n".encode("ascii")
