"""Statements: one file with one signed message in it, which proves one thing by itself: the record of one call, the receipt of one run.

Its form is one only, canonical JSON and a line's end, so that no byte of it changes unseen. A proof that somebody wrote from a
pack by himself (`jinqiao verify --prove`) is not signed by anybody: what it says is bound by the anchor in it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import CallRecord, InclusionProof, KnownIdentity, SignedReceipt
from jinqiao.kernel.contracts.exchange import Receipt, SignedMessage
from jinqiao.kernel.evidence.checking import Verdict
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.proofs import verify_proof
from jinqiao.kernel.evidence.receipts import verify_receipt
from jinqiao.kernel.evidence.signers import Signers


@dataclass(frozen=True, slots=True)
class Statement:
    """What the check of a statement gave: the verdict, and the call or the receipt that it is about."""

    verdict: Verdict
    record: CallRecord | None = None
    receipt: Receipt | None = None


def statement_bytes(message: SignedMessage) -> bytes:
    """The file of a statement."""
    return message.canonical() + b"\n"


def verify_statement(
    raw: bytes, trusted: frozenset[str] = frozenset(), identities: Sequence[KnownIdentity] = ()
) -> Statement:
    """Check the file of a statement. `trusted` are key ids known from elsewhere, `identities` public identities that are believed
    instead of those in the file. What is wrong becomes findings."""
    try:
        data: Any = json.loads(raw)
        if _kind(data) == InclusionProof.__name__:
            return Statement(*verify_proof(InclusionProof.from_json(data), trusted, identities=identities))
        message = SignedMessage.from_json(data)
        if statement_bytes(message) != raw:
            raise ValueError("not canonical")
        if _kind(message.body) == SignedReceipt.__name__:
            given, findings = SignedReceipt.from_json(message.body), Findings()
            signers = Signers(identities or given.identities, findings, trusted)
            verdict, receipt = verify_receipt(given, signers, findings, message)
            return Statement(verdict, receipt=receipt)
        proof = InclusionProof.from_json(message.body)
        return Statement(*verify_proof(proof, trusted, signed=message, identities=identities))
    except (ContractBroken, ValueError, RecursionError):
        findings = Findings()
        findings.add(Code.PROOF_FORM)
        return Statement(Verdict(findings=findings.all))


def _kind(data: Any) -> str:
    return str(data.get("_", "")).partition("/")[0] if isinstance(data, dict) else ""
