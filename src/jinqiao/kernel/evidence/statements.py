"""Statements: one file with one signed message in it, which proves one thing by itself, e.g. the record of one call.

Its form is one only, canonical JSON and a line's end, so that no byte of it changes unseen. A proof that somebody wrote from a
pack by himself (`jinqiao verify --prove`) is not signed by anybody: what it says is bound by the anchor in it.
"""

import json
from typing import Any

from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.evidence import CallRecord, InclusionProof
from jinqiao.kernel.contracts.exchange import SignedMessage
from jinqiao.kernel.evidence.checking import Verdict
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.proofs import verify_proof


def statement_bytes(message: SignedMessage) -> bytes:
    """The file of a statement."""
    return message.canonical() + b"\n"


def verify_statement(raw: bytes, trusted: frozenset[str] = frozenset()) -> tuple[Verdict, CallRecord | None]:
    """Check the file of a statement; the record of the call that it is about. What is wrong becomes findings."""
    try:
        data: Any = json.loads(raw)
        if _kind(data) == InclusionProof.__name__:
            return verify_proof(InclusionProof.from_json(data), trusted)
        message = SignedMessage.from_json(data)
        if statement_bytes(message) != raw:
            raise ValueError("not canonical")
        return verify_proof(InclusionProof.from_json(message.body), trusted, signed=message)
    except (ContractBroken, ValueError, RecursionError):
        findings = Findings()
        findings.add(Code.PROOF_FORM)
        return Verdict(findings=findings.all), None


def _kind(data: Any) -> str:
    return str(data.get("_", "")).partition("/")[0] if isinstance(data, dict) else ""
