"""Who calls: from the headers of a request to an application, or a refusal. The one place where identity is decided."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from jinqiao.dataplane.evidence.log import Token
from jinqiao.dataplane.gateway.errors import AddressNotAllowed, CertificateNotShown, KeyForSandboxOnly
from jinqiao.dataplane.gateway.nonces import WINDOW_S, NonceStore
from jinqiao.dataplane.gateway.peers import Peer, is_within
from jinqiao.dataplane.gateway.snapshot import OpenedKey, PolicyView
from jinqiao.kernel.contracts.policy import ApplicationPolicy
from jinqiao.kernel.httpsig import verify_fields

SANDBOX = "/gateway/sandbox/"


class Request(Struct, gc=False):
    """What identity is decided from. `target` is path and query as they were sent; `headers` as `http.headers_of` gives them."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    peer: Peer


class Caller(Struct, gc=False):
    """An application, the key that it showed, and the nonce to remember with its record."""

    application: ApplicationPolicy
    key_id: str
    token: Token


def admit(request: Request, view: PolicyView, nonces: NonceStore, *, now: float, on: datetime) -> Caller:
    """Verify the request and take its nonce. `now` is Unix time, for the signature; `on` business time, for keys.

    Raises what `verify_fields` raises, KeyForSandboxOnly, AddressNotAllowed, CertificateNotShown and NonceReplayed; details carry `key_id`
    where one was claimed.
    """
    signed = verify_fields(
        request.method,
        request.target,
        request.headers.get("host", ""),
        request.headers,
        request.body,
        verifier_for=lambda key_id, algorithm: view.verifier_for(key_id, algorithm, on),
        now=now,
        window_s=WINDOW_S,
    )
    key = view.keys[signed.key_id]
    if not key.sandbox_only:
        check_peer(request.peer, key)
    elif not request.target.startswith(SANDBOX):
        raise KeyForSandboxOnly(key_id=key.key_id)
    return Caller(key.application, signed.key_id, nonces.take(signed, now))


def check_peer(peer: Peer, key: OpenedKey) -> None:
    """Whether the application may call from there, with that certificate. Raises AddressNotAllowed, CertificateNotShown."""
    if key.networks and not is_within(peer.address, key.networks):
        raise AddressNotAllowed(key_id=key.key_id)
    if key.application.certificates and peer.certificate not in key.application.certificates:
        raise CertificateNotShown(key_id=key.key_id)
