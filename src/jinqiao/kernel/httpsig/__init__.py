"""Signed HTTP calls: HTTP Message Signatures (RFC 9421) over a Content-Digest (RFC 9530).

Every signature covers method, authority, path and query, the content digest where there is a body, and the content type
where one is sent; its parameters are `created`, `nonce`, `keyid`, `alg` and the tag `jinqiao`. Algorithms are `hmac-sha256`
and `ed25519` of the RFC's registry, and ours for the SM suite: `hmac-sm3`, `sm2-sm3`, with the digest name `sm3`. The caller
keeps the nonces that were seen and raises `NonceReplayed`.
"""

from jinqiao.kernel.httpsig.errors import (
    DigestMismatch,
    KeyUnknown,
    NonceReplayed,
    OutsideWindow,
    SignatureMalformed,
    SignatureMissing,
    SignatureWrong,
)
from jinqiao.kernel.httpsig.keys import HmacSigner, HmacVerifier, IdentitySigner, IdentityVerifier, Signer, Verifier
from jinqiao.kernel.httpsig.signing import SignedBy, content_digest, sign_request, verify_fields, verify_request

__all__ = [
    "DigestMismatch",
    "HmacSigner",
    "HmacVerifier",
    "IdentitySigner",
    "IdentityVerifier",
    "KeyUnknown",
    "NonceReplayed",
    "OutsideWindow",
    "SignatureMalformed",
    "SignatureMissing",
    "SignatureWrong",
    "SignedBy",
    "Signer",
    "Verifier",
    "content_digest",
    "sign_request",
    "verify_fields",
    "verify_request",
]
