"""Reading receipts: do both signatures hold over the same bytes?"""

import base64
import binascii
from dataclasses import dataclass

from jinqiao.exchange.models import ExchangeReceipt, Node, NodeIdentity
from jinqiao.kernel.contracts.exchange import Receipt
from jinqiao.kernel.crypto.identity import PublicIdentity
from jinqiao.kernel.crypto.suites import suite
from jinqiao.kernel.errors import JinqiaoError

ALGORITHMS = {"international": "Ed25519", "guomi": "SM2"}
"""Names of signatures as people know them."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One side of a receipt as verified now. `is_given` says whether this side has signed yet."""

    node: Node
    key_id: str
    algorithm: str
    is_given: bool
    holds: bool


def signatures(receipt: ExchangeReceipt) -> tuple[Signature, Signature]:
    """The sender's and the receiver's signature, verified anew over the canonical bytes of the receipt."""
    body = Receipt.from_json(receipt.body).canonical()
    return (
        _verified(receipt.sender, receipt.sender_key_id, receipt.sender_signature, body),
        _verified(receipt.receiver, receipt.receiver_key_id, receipt.receiver_signature, body),
    )


def _verified(node: Node, key_id: str, signature: str, body: bytes) -> Signature:
    try:
        identity = node.identity
        if node.key_id != key_id:  # signed before the node changed its key
            former = NodeIdentity.objects.filter(node=node, key_id=key_id).first()
            identity = former.identity if former is not None else identity
        public = PublicIdentity.from_json(identity)
        algorithm = ALGORITHMS[suite(public.suite).name]
        if not signature or public.key_id != key_id:
            return Signature(node, key_id, algorithm, bool(signature), False)
        public.verify(body, base64.b64decode(signature, validate=True))
    except (JinqiaoError, binascii.Error, ValueError):
        return Signature(node, key_id, "", bool(signature), False)
    return Signature(node, key_id, algorithm, True, True)
