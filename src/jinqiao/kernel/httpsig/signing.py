"""Sign and verify one request."""

import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite
from jinqiao.kernel.httpsig.errors import (
    DigestMismatch,
    KeyUnknown,
    OutsideWindow,
    SignatureMalformed,
    SignatureMissing,
    SignatureWrong,
)
from jinqiao.kernel.httpsig.fields import (
    InnerList,
    read_binaries,
    read_signature_inputs,
    read_usual_signature_input,
    written_binary,
    written_string,
)
from jinqiao.kernel.httpsig.keys import Signer, Verifier

TAG = "jinqiao"
LABEL = "jinqiao"
ALWAYS = ("@method", "@authority", "@path", "@query")
_USUAL = (
    *ALWAYS,
    "content-digest",
    "content-type",
)  # what a client of ours signs of a request with a body, in its order
_NONCE_LENGTHS = range(16, 129)
_DIGESTS = {suite(name).digest_name: suite(name) for name in SUITE_NAMES}


@dataclass(slots=True)
class SignedBy:
    """Who made a call, as its signature shows. `created` is Unix time in seconds."""

    key_id: str
    algorithm: str
    nonce: str
    created: int


def content_digest(body: bytes, name: str = "sha-256") -> str:
    """Value of the Content-Digest field: `sha-256=:…:` or `sm3=:…:`."""
    return f"{name}={written_binary(_DIGESTS[name].digest(body))}"


@lru_cache(256)
def _normal_authority(authority: str) -> str:
    """Lower case, without a default port (RFC 9421, 2.2.3). Behind a proxy the scheme is not known: both defaults go."""
    return authority.strip().lower().rpartition("@")[2].removesuffix(":80").removesuffix(":443")


def _derived(method: str, authority: str, path: str, query: str) -> dict[str, str]:
    return {"@method": method.upper(), "@authority": authority, "@path": path or "/", "@query": f"?{query}"}


def _lines(components: Iterable[str], values: Mapping[str, str]) -> str:
    return "".join([f'"{name}": {values[name]}\n' for name in components])


def _base(components: Iterable[str], values: Mapping[str, str], parameters: str) -> bytes:
    return f'{_lines(components, values)}"@signature-params": {parameters}'.encode()


def sign_request(
    method: str,
    url: str,
    body: bytes,
    *,
    key_id: str,
    signer: Signer,
    headers: Mapping[str, str] | None = None,
    created: int | None = None,
    nonce: str | None = None,
) -> dict[str, str]:
    """Headers to add to a request: Signature-Input, Signature, and Content-Digest where there is a body.

    `url` is absolute; `headers` are those that go along (Content-Type is covered). `created` defaults to real time.
    """
    parts = urlsplit(url)
    values = _derived(method, _normal_authority(parts.netloc), parts.path, parts.query)
    components = list(ALWAYS)
    added: dict[str, str] = {}
    if body:
        added["Content-Digest"] = content_digest(body, signer.digest_name)
        components.append("content-digest")
        values["content-digest"] = added["Content-Digest"]
    content_type = {name.lower(): value for name, value in (headers or {}).items()}.get("content-type")
    if content_type is not None:
        components.append("content-type")
        values["content-type"] = content_type.strip()
    covered = " ".join(f'"{name}"' for name in components)
    parameters = (
        f"({covered});created={int(time.time()) if created is None else created}"
        f";nonce={written_string(nonce or secrets.token_urlsafe(18))}"
        f";keyid={written_string(key_id)};alg={written_string(signer.algorithm)};tag={written_string(TAG)}"
    )
    signature = signer.sign(_base(components, values, parameters))
    return added | {"Signature-Input": f"{LABEL}={parameters}", "Signature": f"{LABEL}={written_binary(signature)}"}


def verify_request(
    method: str,
    path_with_query: str,
    authority: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    verifier_for: Callable[[str, str], Verifier | None],
    now: float,
    window_s: int = 600,
) -> SignedBy:
    """Who signed this request. The caller then checks that the nonce is new.

    `headers` by name, in whatever case, with one value each. `verifier_for(key_id, algorithm)` gives the key, or None where it is unknown, revoked or of another algorithm. Raises
    SignatureMissing, SignatureMalformed, KeyUnknown, OutsideWindow, DigestMismatch, SignatureWrong.
    """
    fields = {name.lower(): value.strip() for name, value in headers.items()}
    return verify_fields(
        method, path_with_query, authority, fields, body, verifier_for=verifier_for, now=now, window_s=window_s
    )


def verify_fields(
    method: str,
    path_with_query: str,
    authority: str,
    fields: Mapping[str, str],
    body: bytes,
    *,
    verifier_for: Callable[[str, str], Verifier | None],
    now: float,
    window_s: int = 600,
) -> SignedBy:
    """`verify_request` where the names of the headers are in lower case already, and their values without blanks around them."""
    if "signature-input" not in fields or "signature" not in fields:
        raise SignatureMissing
    created: str | int | None
    nonce: str | int | None
    input_ = fields["signature-input"]
    usual = read_usual_signature_input(input_)
    if usual is not None and usual[1].parameters["tag"] == TAG:
        label, inner, created, nonce = usual
        written = input_[len(label) + 1 :]
    else:
        label, inner = _ours(input_)
        created, nonce, written = inner.parameters.get("created"), inner.parameters.get("nonce"), inner.written
    signature = read_binaries(fields["signature"], "Signature").get(label)
    if signature is None:
        raise SignatureMalformed(field="Signature")
    parameters, components = inner.parameters, inner.items
    key_id, algorithm = parameters.get("keyid"), parameters.get("alg")
    if not (
        isinstance(created, int) and isinstance(nonce, str) and isinstance(key_id, str) and isinstance(algorithm, str)
    ):
        raise SignatureMalformed(field="Signature-Input")
    is_usual = components == _USUAL
    if len(nonce) not in _NONCE_LENGTHS or not (
        is_usual or _is_enough(components, bool(body), "content-type" in fields)
    ):
        raise SignatureMalformed(field="Signature-Input")
    if "expires" in parameters and (not isinstance(parameters["expires"], int) or parameters["expires"] < now):
        raise OutsideWindow(window_s=window_s)
    if is_usual:
        base = _usual_base(method, authority, path_with_query, fields, written)
    else:
        base = _any_base(method, authority, path_with_query, fields, components, written)
    if abs(now - created) > window_s:
        raise OutsideWindow(window_s=window_s, now=int(now))
    if "content-digest" in components:
        _check_digest(fields["content-digest"], body)
    verifier = verifier_for(key_id, algorithm)
    if verifier is None or verifier.algorithm != algorithm:
        raise KeyUnknown(key_id=key_id)
    if not verifier.is_right(base, signature):
        raise SignatureWrong(key_id=key_id)
    return SignedBy(key_id, algorithm, nonce, created)


def _ours(written: str) -> tuple[str, InnerList]:
    """Of the signatures of a request the one that is meant for us. Raises SignatureMissing, SignatureMalformed."""
    ours = [
        (label, inner) for label, inner in read_signature_inputs(written).items() if inner.parameters.get("tag") == TAG
    ]
    if not ours:
        raise SignatureMissing
    if len(ours) > 1:
        raise SignatureMalformed(field="Signature-Input")
    return ours[0]


def _any_base(
    method: str, authority: str, target: str, fields: Mapping[str, str], components: tuple[str, ...], written: str
) -> bytes:
    """What a signature of any list of components is made of. Raises SignatureMalformed where one of them is not there."""
    path, _, query = target.partition("?")
    values = _derived(method, _normal_authority(authority), path, query)
    for name in components:
        if name not in values:
            if name.startswith("@") or _is_lacking(fields, name):
                raise SignatureMalformed(field="Signature-Input")
            values[name] = fields[name]
    return _base(components, values, written)


def _usual_base(method: str, authority: str, target: str, fields: Mapping[str, str], written: str) -> bytes:
    """The same for the usual list, of which only the digest and the parameters differ from call to call."""
    if _is_lacking(fields, "content-digest") or _is_lacking(fields, "content-type"):
        raise SignatureMalformed(field="Signature-Input")
    begin, end = _around_digest(method, authority, target, fields["content-type"])
    return f"{begin}{fields['content-digest']}{end}{written}".encode()


@lru_cache(512)
def _around_digest(method: str, authority: str, target: str, content_type: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    begin = _lines(ALWAYS, _derived(method, _normal_authority(authority), path, query))
    end = _lines(("content-type",), {"content-type": content_type})
    return f'{begin}"content-digest": ', f'\n{end}"@signature-params": '


def _is_lacking(fields: Mapping[str, str], name: str) -> bool:
    return "\n" in fields.get(name, "\n")


@lru_cache(512)
def _is_enough(components: tuple[str, ...], has_body: bool, has_type: bool) -> bool:
    """Whether a signature covers what every signature must, each thing once. Clients have few different lists."""
    needed = set(ALWAYS)
    if has_body:
        needed.add("content-digest")
        if has_type:
            needed.add("content-type")
    return needed <= set(components) and len(set(components)) == len(components)


def _check_digest(field: str, body: bytes) -> None:
    if field == content_digest(body):  # as nearly every client writes it
        return
    digests = {name: value for name, value in read_binaries(field, "Content-Digest").items() if name in _DIGESTS}
    if not digests:
        raise SignatureMalformed(field="Content-Digest")
    for name, value in digests.items():
        if not hmac.compare_digest(_DIGESTS[name].digest(body), value):
            raise DigestMismatch
