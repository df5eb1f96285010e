import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.errors import NotAllowed
from jinqiao.kernel.httpsig import (
    DigestMismatch,
    HmacSigner,
    IdentitySigner,
    IdentityVerifier,
    KeyUnknown,
    OutsideWindow,
    SignatureMalformed,
    SignatureMissing,
    SignatureWrong,
    SignedBy,
    Signer,
    Verifier,
    content_digest,
    sign_request,
    verify_request,
)
from jinqiao.kernel.httpsig.fields import (
    read_any_binaries,
    read_any_signature_inputs,
    read_binaries,
    read_signature_inputs,
)
from jinqiao.kernel.httpsig.signing import _USUAL, _any_base, _base, _usual_base

NODE, SM_NODE = Identity.generate(), Identity.generate("guomi")
PAIRS: dict[str, tuple[Signer, Verifier]] = {
    "hmac-sha256": (HmacSigner("hmac-sha256", b"s" * 32), HmacSigner("hmac-sha256", b"s" * 32)),
    "hmac-sm3": (HmacSigner("hmac-sm3", b"s" * 32), HmacSigner("hmac-sm3", b"s" * 32)),
    "ed25519": (IdentitySigner(NODE), IdentityVerifier(NODE.public)),
    "sm2-sm3": (IdentitySigner(SM_NODE), IdentityVerifier(SM_NODE.public)),
}
NOW = 1_773_800_000
URL = "https://platform.example/api/nodes/poll?after=7"
JSON = {"Content-Type": "application/json"}
algorithms = pytest.mark.parametrize("name", list(PAIRS))


def signed(
    name: str, method: str = "POST", url: str = URL, body: bytes = b'{"a":1}', **options: object
) -> dict[str, str]:
    given_options = {"key_id": "key-1", "signer": PAIRS[name][0], "headers": JSON, "created": NOW, "nonce": "n" * 20}
    return JSON | sign_request(method, url, body, **(given_options | options))  # type: ignore[arg-type]


def verified(name: str, headers: dict[str, str], **changes: object) -> SignedBy:
    parts: dict[str, object] = {
        "method": "POST",
        "path_with_query": "/api/nodes/poll?after=7",
        "authority": "platform.example",
        "body": b'{"a":1}',
        "now": NOW + 5.0,
        "verifier_for": lambda key_id, algorithm: PAIRS[name][1] if key_id == "key-1" else None,
    }
    parts |= changes
    return verify_request(headers=headers, **parts)  # type: ignore[arg-type]


@algorithms
def test_a_signed_call_shows_who_made_it(name: str) -> None:
    assert verified(name, signed(name)) == SignedBy("key-1", name, "n" * 20, NOW)


@algorithms
@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path_with_query": "/api/nodes/results?after=7"},
        {"path_with_query": "/api/nodes/poll?after=8"},
        {"path_with_query": "/api/nodes/poll"},
        {"authority": "other.example"},
    ],
)
def test_a_call_altered_on_the_way_is_refused(name: str, change: dict[str, object]) -> None:
    with pytest.raises(SignatureWrong):
        verified(name, signed(name), **change)


@algorithms
def test_another_body_or_type_is_refused(name: str) -> None:
    with pytest.raises(DigestMismatch):
        verified(name, signed(name), body=b'{"a":2}')
    with pytest.raises(SignatureWrong):
        verified(name, signed(name) | {"Content-Digest": content_digest(b'{"a":2}')}, body=b'{"a":2}')
    with pytest.raises(SignatureWrong):
        verified(name, signed(name) | {"Content-Type": "text/plain"})


@algorithms
def test_a_body_that_the_signature_does_not_cover_is_refused(name: str) -> None:
    with pytest.raises(SignatureMalformed):
        verified(name, signed(name, body=b""), body=b'{"a":1}')


def test_a_call_without_body_or_type_needs_neither() -> None:
    headers = sign_request("GET", URL, b"", key_id="key-1", signer=PAIRS["ed25519"][0], created=NOW)
    assert "Content-Digest" not in headers
    assert verified("ed25519", headers, method="GET", body=b"").key_id == "key-1"


def test_an_unsigned_call_is_refused() -> None:
    with pytest.raises(SignatureMissing) as caught:
        verified("ed25519", JSON)
    assert isinstance(caught.value, NotAllowed)
    assert caught.value.http_status == 401


def test_a_signature_of_another_application_is_as_none() -> None:
    headers = signed("hmac-sha256")
    headers["Signature-Input"] = headers["Signature-Input"].replace('tag="jinqiao"', 'tag="other"')
    with pytest.raises(SignatureMissing):
        verified("hmac-sha256", headers)


@algorithms
@pytest.mark.parametrize("seconds", [-601, 601, 10**9])
def test_a_call_too_old_or_from_the_future_is_refused(name: str, seconds: int) -> None:
    with pytest.raises(OutsideWindow):
        verified(name, signed(name), now=float(NOW + seconds))


def test_an_unknown_key_and_a_key_of_another_algorithm_are_refused() -> None:
    with pytest.raises(KeyUnknown):
        verified("ed25519", signed("ed25519", key_id="key-2"))
    with pytest.raises(KeyUnknown):
        verified("hmac-sha256", signed("ed25519"))


def test_another_secret_is_refused() -> None:
    with pytest.raises(SignatureWrong):
        verified("hmac-sm3", signed("hmac-sm3", signer=HmacSigner("hmac-sm3", b"x" * 32)))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "jinqiao",
        "jinqiao=1",
        'jinqiao=("@method" "@authority" "@path" "@query" "content-digest" "content-type")',
        'jinqiao=("@method";tag="jinqiao"',
        'jinqiao=();created=1;nonce="nnnnnnnnnnnnnnnn";keyid="k";alg="ed25519";tag="jinqiao"',
        'jinqiao=("@method" "@method");created=1;nonce="nnnnnnnnnnnnnnnn";keyid="k";alg="ed25519";tag="jinqiao"',
        'jinqiao=("@method");created="1";nonce="nnnnnnnnnnnnnnnn";keyid="k";alg="ed25519";tag="jinqiao"',
        'jinqiao=("@method");created=1;nonce="short";keyid="k";alg="ed25519";tag="jinqiao"',
        'a=("@method");created=1;tag="jinqiao", b=("@method");created=1;tag="jinqiao"',
        (
            'jinqiao=("@method" "@authority" "@path" "@query" "x-absent" "content-digest" "content-type")'
            ';created=1773800000;nonce="nnnnnnnnnnnnnnnn";keyid="key-1";alg="ed25519";tag="jinqiao"'
        ),
    ],
)
def test_a_malformed_field_is_refused_and_never_an_accident(written: str) -> None:
    with pytest.raises((SignatureMalformed, SignatureMissing)):
        verified("ed25519", signed("ed25519") | {"Signature-Input": written})


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_no_text_whatever_breaks_the_reader(text: str) -> None:
    try:
        verified("ed25519", signed("ed25519") | {"Signature-Input": text, "Signature": text})
    except NotAllowed:
        return
    raise AssertionError("junk was taken for a signature")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["hmac-sha256", "hmac-sm3", "ed25519"]),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters="?#%"), max_size=20),
    st.binary(max_size=200),
)
def test_every_call_that_is_signed_verifies(name: str, method: str, query: str, body: bytes) -> None:
    headers = signed(name, method, f"https://Platform.example:443/a?{query}", body)
    assert verified(name, headers, method=method, path_with_query=f"/a?{query}", body=body).key_id == "key-1"


def test_the_base_is_that_of_rfc_9421_for_its_ed25519_example() -> None:
    """RFC 9421, B.2.6: the base and the signature published for test-key-ed25519."""
    private = base64.b64decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU=", altchars=b"-_")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    parameters = (
        '("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"'
    )
    values = {
        "date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "@method": "POST",
        "@path": "/foo",
        "@authority": "example.com",
        "content-type": "application/json",
        "content-length": "18",
    }
    inner = read_signature_inputs(f"sig-b26={parameters}")["sig-b26"]
    assert inner.written == parameters
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(_base(inner.items, values, inner.written))
    assert base64.b64encode(signature).decode() == (
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    )


def test_the_digest_is_that_of_rfc_9530() -> None:
    """RFC 9530, appendix D: sha-256 of {"hello": "world"} and a line end."""
    expected = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert content_digest(b'{"hello": "world"}\n') == expected


def test_the_time_is_real_time_unless_given() -> None:
    headers = sign_request("GET", URL, b"", key_id="key-1", signer=PAIRS["ed25519"][0])
    assert verified("ed25519", headers, method="GET", body=b"", now=time.time()).created == pytest.approx(
        time.time(), abs=5
    )


_pieces = st.sampled_from(
    ['jinqiao=', 'a=', '("@method" "@path")', '("@method"  "@path")', '()', '("@method")', ';created=1', ';created=-1', ';created="1"',
     ';nonce="nnnnnnnnnnnnnnnn"', ';nonce="a\\"b"', ';keyid="k"', ';keyid="k,"', ';alg="ed25519"', ';tag="jinqiao"', ';expires=5', ', ', ',', ' ', '\t',
     '"', ';', 'é', '(', ')', ':AAAA:', ':AAA=:', ':AA:', '::', ':A:', 'sha-256=', 'sm3=']
)  # fmt: skip


@given(st.lists(_pieces, max_size=12).map("".join))
@settings(max_examples=400)
def test_the_quick_reading_of_fields_reads_what_the_strict_one_reads(text: str) -> None:
    for quick, strict in (
        (lambda: read_signature_inputs(text), lambda: read_any_signature_inputs(text)),
        (lambda: read_binaries(text, "Signature"), lambda: read_any_binaries(text, "Signature")),
    ):
        assert _read_or_refused(quick) == _read_or_refused(strict)


def _read_or_refused(read: object) -> object:
    try:
        return read()  # type: ignore[operator]
    except SignatureMalformed as refusal:
        return refusal.code, refusal.details


@algorithms
def test_a_signed_call_is_read_quickly_to_the_same(name: str) -> None:
    written = signed(name)["Signature-Input"]
    assert read_signature_inputs(written) == read_any_signature_inputs(written)


@given(
    st.sampled_from(["POST", "get"]),
    st.text(max_size=30),
    st.text(max_size=30),
    st.dictionaries(st.sampled_from(["content-digest", "content-type"]), st.text('a;=\n :"', max_size=6)),
    st.text(max_size=30),
)
def test_what_is_usually_signed_is_put_together_quickly_to_the_same(
    method: str, authority: str, target: str, fields: dict[str, str], written: str
) -> None:
    def base(quickly: bool) -> bytes | str:
        try:
            if quickly:
                return _usual_base(method, authority, target, fields, written)
            return _any_base(method, authority, target, fields, _USUAL, written)
        except (SignatureMalformed, UnicodeEncodeError) as problem:
            return type(problem).__name__

    assert base(quickly=True) == base(quickly=False)
