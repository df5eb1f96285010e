"""The receipt of a run, checked by itself: did both sides sign these very bytes, and are they who the receipt names?"""

from jinqiao.kernel.contracts.evidence import SignedReceipt
from jinqiao.kernel.contracts.exchange import Receipt, SignedMessage
from jinqiao.kernel.evidence.checking import Verdict
from jinqiao.kernel.evidence.codes import Code, Findings
from jinqiao.kernel.evidence.signers import Signers


def verify_receipt(
    given: SignedReceipt, signers: Signers, findings: Findings, signed: SignedMessage
) -> tuple[Verdict, Receipt | None]:
    """Check both signatures, and that of who handed the receipt out (`signed`); the receipt, where the sender's holds."""
    handed = signers.opened(signed, SignedReceipt, what="proof", wrong=Code.PROOF_SIGNATURE)
    sender = _side(given.sender, "provider_node", signers, findings)
    receiver = _side(given.receiver, "consumer_node", signers, findings) if given.receiver is not None else None
    if given.receiver is None:
        findings.add(Code.RECEIPT_UNSIGNED, node=str(given.sender.body.get("consumer_node", ""))[:60])
    elif given.receiver.body != given.sender.body:
        findings.add(Code.RECEIPT_DIFFERS)
    verdict = Verdict(
        findings=findings.all,
        suite=given.sender.suite,
        exported_by=handed[1] if handed else "",
        signers=tuple(signers.used.values()),
    )
    return verdict, sender or receiver


def _side(message: SignedMessage, named: str, signers: Signers, findings: Findings) -> Receipt | None:
    opened = signers.opened(message, Receipt, what="receipt", wrong=Code.RECEIPT_SIGNATURE)
    if opened is None:
        return None
    receipt, node = opened
    if node != getattr(receipt, named):
        findings.add(Code.RECEIPT_SIGNATURE, node=node)
        return None
    return receipt
