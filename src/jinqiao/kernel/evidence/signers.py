"""Who signed, and whether the key was theirs at that time."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TypeVar

from jinqiao.kernel.contracts.base import Contract, ContractBroken
from jinqiao.kernel.contracts.evidence import KnownIdentity
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.crypto.errors import SignatureInvalid
from jinqiao.kernel.crypto.identity import PublicIdentity, open_message
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.evidence.codes import Code, Findings

CLOCKS_MAY_DIFFER = timedelta(minutes=10)
"""The times of a key are the platform's, that of a signature is the signer's own."""
Kind = TypeVar("Kind", bound=Contract)


def has_moments(contract: Contract) -> bool:
    """Whether its times are moments that one can reckon with: they say how far they are from UTC, and are not at the end of all times."""
    values = (getattr(contract, field.name) for field in fields(contract))
    return all(value.tzinfo is not None and 1 < value.year < 9999 for value in values if isinstance(value, datetime))


@dataclass(frozen=True, slots=True)
class _Known:
    entry: KnownIdentity
    public: PublicIdentity


class Signers:
    """The identities that stand in the evidence. `trusted` are key ids that the reader knows from elsewhere; empty: the
    identities are believed as they stand there, and the verdict names them."""

    def __init__(
        self, identities: Iterable[KnownIdentity], findings: Findings, trusted: frozenset[str] = frozenset()
    ) -> None:
        self._findings, self._trusted = findings, trusted
        self._known: dict[str, _Known] = {}
        self._told: set[tuple[Code, str]] = set()
        self.used: dict[str, KnownIdentity] = {}
        for entry in identities:
            try:
                public = PublicIdentity.from_json(entry.identity)
                if not has_moments(entry):
                    raise ContractBroken(contract=KnownIdentity.__name__, field="since")
            except JinqiaoError:
                findings.add(Code.IDENTITY_BROKEN, node=entry.node)
                continue
            self._known[public.key_id] = _Known(entry, public)

    def entries(self) -> Mapping[str, KnownIdentity]:
        return {key_id: known.entry for key_id, known in self._known.items()}

    def opened(self, message: SignedMessage, kind: type[Kind], *, what: str, wrong: Code) -> tuple[Kind, str] | None:
        """The contract inside and the number of the node that signed it; None where that is told as a finding: an unknown key,
        or `wrong` for a signature that does not hold."""
        known = self._known.get(message.key_id)
        if known is None:
            self._once(Code.IDENTITY_UNKNOWN, message.key_id[:64], what=what)
            return None
        node = known.entry.node
        try:
            signature = base64.b64decode(message.signature, validate=True)
            if base64.b64encode(signature).decode("ascii") != message.signature:
                raise SignatureInvalid(key_id=message.key_id)
            contract = open_message(message, known.public, kind)
            if not has_moments(contract):
                raise ValueError("a time is no moment")
        except (SignatureInvalid, ContractBroken, binascii.Error, ValueError):
            self._findings.add(wrong, witness=node, node=node, reason="signature")
            return None
        self.used[message.key_id] = known.entry
        if self._trusted and message.key_id not in self._trusted:
            self._once(Code.IDENTITY_UNTRUSTED, message.key_id, node=node)
        return contract, node

    def check_time(self, key_id: str, at: datetime, what: str) -> None:
        """Whether the key was in use then."""
        known = self._known.get(key_id)
        if known is None:
            return
        since, until = known.entry.since, known.entry.until
        early = since is not None and at < since - CLOCKS_MAY_DIFFER
        late = until is not None and at > until + CLOCKS_MAY_DIFFER
        if early or late:
            self._findings.add(Code.KEY_TIME, node=known.entry.node, key_id=key_id, at=at.isoformat(), what=what)

    def _once(self, code: Code, key_id: str, *, node: str = "", what: str = "") -> None:
        if (code, key_id) not in self._told:
            self._told.add((code, key_id))
            self._findings.add(code, key_id=key_id, node=node, what=what)
