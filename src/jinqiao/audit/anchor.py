"""The sealed head: the last number and digest of the trail, signed with a key that is not in the database.

A chain of digests shows each change in its middle; who can write to the database can still cut its end off, or write the
whole chain anew. Against that the head is sealed from time to time (worker, each minute; and after each verification that
held) into `<JINQIAO_HOME>/keys/audit-head.json`. The seal only moves forward, and only over a trail that contains the
earlier one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

from jinqiao.audit import trail
from jinqiao.audit.errors import SealUnreadable, TrailBroken
from jinqiao.audit.models import AuditEvent
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.keystore import KeyStore, write_durably

IDENTITY = "audit"
FILE = "audit-head.json"


@dataclass(frozen=True, slots=True)
class Head:
    """The trail's last event when it was sealed."""

    number: int
    digest: str
    sealed_at: datetime


def keys_home() -> Path:
    return Path(settings.HOME) / "keys"


def sealed_head(home: Path | None = None) -> Head | None:
    """The sealed head, its signature verified; None where nothing was sealed yet.

    Raises:
        SealUnreadable: the file was altered, or signed by another key.
    """
    home = home or keys_home()
    try:
        data = json.loads((home / FILE).read_bytes())
        head = Head(int(data["number"]), str(data["digest"]), datetime.fromisoformat(data["sealed_at"]))
        _identity(home).public.verify(_covered(head), bytes.fromhex(data["signature"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, SignatureInvalid) as problem:
        raise SealUnreadable from problem
    return head


def seal_head(home: Path | None = None, *, anew: bool = False) -> Head | None:
    """Seal the present head; None while the trail is empty.

    `anew` gives up the earlier seal: after a restore from a backup, once its loss is explained. The trail records that.

    Raises:
        TrailBroken: the trail does not contain the head sealed before; SealUnreadable.
    """
    home = home or keys_home()
    with _locked(home):
        if anew:
            trail.record("audit.head.seal_anew", by=trail.SYSTEM)
        else:
            earlier = sealed_head(home)
            if earlier is not None:
                present = AuditEvent.objects.filter(number=earlier.number).values_list("digest", flat=True).first()
                if present != earlier.digest:
                    fault = trail.Fault.CUT if present is None else trail.Fault.REPLACED
                    raise TrailBroken(number=earlier.number, fault=fault.label)
        tail = AuditEvent.objects.order_by("-number").values_list("number", "digest").first()
        if tail is None:
            return None
        head = Head(tail[0], tail[1], moments.now())
        signature = _identity(home).sign(_covered(head)).hex()
        data = {
            "number": head.number,
            "digest": head.digest,
            "sealed_at": head.sealed_at.isoformat(),
            "signature": signature,
        }
        write_durably(home / FILE, json.dumps(data, sort_keys=True, indent=1).encode())
    return head


def verify(home: Path | None = None) -> trail.Verdict:
    """Verify the whole trail against the sealed head, and seal it where it held.

    Raises:
        SealUnreadable.
    """
    home = home or keys_home()
    head = sealed_head(home)
    verdict = trail.verify(head=(head.number, head.digest) if head else None)
    if verdict.ok:
        seal_head(home)
    return verdict


def _identity(home: Path) -> Identity:
    return KeyStore(home).identity(IDENTITY, suite=settings.CRYPTO_SUITE)


def _covered(head: Head) -> bytes:
    return canonical_json(
        {
            "what": "jinqiao.audit.head",
            "number": head.number,
            "digest": head.digest,
            "sealed_at": head.sealed_at.isoformat(),
        }
    )


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (home / ".audit-head.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
