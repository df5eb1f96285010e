"""Who calls: HTTP Message Signatures (RFC 9421) by a node's own identity. Deny by default; a nonce is good once."""

import time

from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from jinqiao.api.errors import BodyTooLarge
from jinqiao.exchange.enums import NodeState
from jinqiao.exchange.errors import NodeAwaitsApproval, NodeNotActive
from jinqiao.exchange.models import Node, SeenNonce
from jinqiao.kernel.crypto.identity import PublicIdentity, fingerprint
from jinqiao.kernel.httpsig import IdentityVerifier, NonceReplayed, Verifier, verify_request

WINDOW_S = 600


class NodeHttpRequest(HttpRequest):
    """What an operation behind `signed_by_node` receives."""

    node: Node


def body_of(request: HttpRequest) -> bytes:
    try:
        return request.body
    except RequestDataTooBig as problem:
        raise BodyTooLarge from problem


def signed_by_node(request: HttpRequest) -> Node:
    """The node whose identity signed this request; it is put on the request as well.

    Raises leaves of SignatureRefused (401), NonceReplayed (401), NodeNotActive (403), NodeAwaitsApproval (409).
    """
    found: dict[str, Node] = {}

    def verifier_for(key_id: str, algorithm: str) -> Verifier | None:
        node = Node.objects.select_related("organisation").filter(key_id=key_id).first() if key_id else None
        if node is None:
            return None
        found[key_id] = node
        return IdentityVerifier(PublicIdentity.from_json(node.identity))

    now = time.time()
    signed = verify_request(
        request.method or "",
        request.get_full_path(),
        request.get_host(),
        request.headers,
        body_of(request),
        verifier_for=verifier_for,
        now=now,
        window_s=WINDOW_S,
    )
    node = found[signed.key_id]
    request.node = node  # type: ignore[attr-defined]
    remember_nonce(signed.key_id, signed.nonce, signed.created)
    if node.state == NodeState.AWAITING:
        raise NodeAwaitsApproval(node=node.number, fingerprint=fingerprint(node.key_id))
    if node.state != NodeState.ACTIVE:
        raise NodeNotActive(node=node.number)
    return node


def remember_nonce(key_id: str, nonce: str, created: int) -> None:
    """Keep a nonce until the call's time window has surely passed. Raises NonceReplayed where it is known already."""
    try:
        with transaction.atomic():
            SeenNonce.objects.create(key_id=key_id, nonce=nonce, expires_at=created + 2 * WINDOW_S)
    except IntegrityError as problem:
        raise NonceReplayed from problem
