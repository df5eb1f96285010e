"""The identities of a node: the one it works with, those it had, and the one that is to come.

A rotation makes a new identity, lets the platform know it, and keeps the old one as long as something may be sealed to it or
awaits its signature: an order names the identity that it was made for, and is worked with that one to its end.
"""

import json
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinqiao.kernel import moments
from jinqiao.kernel.crypto.identity import Identity, sealed_to
from jinqiao.kernel.keystore import KeyStore

CURRENT = "identity"
NEXT = "identity.next"
_FORMER = "identity.former."


@dataclass(frozen=True, slots=True)
class Former:
    """An identity that a node had until a rotation."""

    identity: Identity
    until: datetime


class KeyRing:
    """The identities in one home; used from several threads."""

    def __init__(self, folder: Path, suite: str) -> None:
        """Raises what the key store raises. The first identity is made here."""
        self._suite = suite
        self._store = KeyStore(folder, suite)
        self._lock = threading.Lock()
        self._current = self._store.identity(CURRENT, suite)
        self._former = self._read_former()

    def _read_former(self) -> dict[str, Former]:
        found = {}
        for name in self._store.names():
            if name.startswith(_FORMER) and (kept := self._store.get(name)) is not None:
                entry = json.loads(kept)
                former = Former(Identity.from_json(entry["identity"]), datetime.fromisoformat(entry["until"]))
                found[former.identity.key_id] = former
        return found

    def refresh(self) -> None:
        """Another process of this home may have changed the identity."""
        current, former = self._store.identity(CURRENT, self._suite), self._read_former()
        with self._lock:
            self._current, self._former = current, former

    @property
    def store(self) -> KeyStore:
        """The key store of the home, for secrets beside the identities."""
        return self._store

    @property
    def current(self) -> Identity:
        return self._current

    def former(self) -> tuple[Former, ...]:
        with self._lock:
            return tuple(self._former.values())

    def named(self, key_id: str) -> Identity | None:
        """The identity with this key id, if this node has or had it."""
        with self._lock:
            if key_id == self._current.key_id:
                return self._current
            former = self._former.get(key_id)
        return former.identity if former else None

    def unseal(self, text: str) -> bytes:
        """What was sealed to this node, now or before a rotation. Raises SealBroken."""
        if sealed_to(text) and self.named(sealed_to(text)) is None:
            self.refresh()
        return (self.named(sealed_to(text)) or self._current).unseal(text)

    # -- rotation

    @property
    def is_rotating(self) -> bool:
        return NEXT in self._store.names()

    def following(self) -> Identity:
        """The identity that is to come: kept from the first call until the rotation is done."""
        return self._store.identity(NEXT, self._suite)

    def promote(self) -> None:
        """Work with the identity that was to come; the old one is kept. May be repeated after a crash."""
        following = self.following()
        old = self._current
        if old.key_id == following.key_id:
            return
        former = Former(old, moments.now())
        entry = {"identity": old.to_json(), "until": former.until.isoformat()}
        self._store.put(_FORMER + old.key_id, json.dumps(entry).encode())
        self._store.put(CURRENT, json.dumps(following.to_json()).encode())
        with self._lock:
            self._former[old.key_id] = former
            self._current = following

    def finish(self) -> None:
        """The rotation is done; the next one makes another identity."""
        self._store.delete(NEXT)

    def forget(self, key_id: str) -> None:
        """Nothing can be sealed to this former identity any more."""
        with self._lock:
            self._former.pop(key_id, None)
        self._store.delete(_FORMER + key_id)
