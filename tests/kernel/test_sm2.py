"""SM2 by OpenSSL and by gmssl must be the same SM2, and that of the standard."""

import pytest
from gmssl.sm2 import default_ecc_table
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.kernel.crypto import sm2 as ways_of_sm2
from jinqiao.kernel.crypto.errors import Sm2NotThere
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.sm2 import Sm2, sm2
from jinqiao.kernel.crypto.sm2_gmssl import GmsslSm2, _integer, _sequence
from jinqiao.kernel.crypto.sm2_openssl import OpensslSm2

WAYS: dict[str, Sm2] = {"openssl": OpensslSm2(), "gmssl": GmsslSm2()}
ways = pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))

# GB/T 32918.5-2017, appendix A: keys, message and results on the recommended curve
PRIVATE = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
PUBLIC = bytes.fromhex(
    "04"
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
R = int("F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3", 16)
S = int("B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA", 16)
ENCRYPTED = (
    "04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73",
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0",
    "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766",
    "21886CA989CA9C7D58087307CA93092D651EFA",
)


@ways
def test_the_published_signature_is_right(way: Sm2) -> None:
    signature = _sequence(_integer(R), _integer(S))
    assert way.verify(PUBLIC, b"message digest", signature)
    assert not way.verify(PUBLIC, b"message Digest", signature)


@ways
def test_the_published_ciphertext_opens(way: Sm2) -> None:
    x, y, check, hidden = ENCRYPTED
    der = _sequence(
        _integer(int(x, 16)),
        _integer(int(y, 16)),
        b"\x04\x20" + bytes.fromhex(check),
        b"\x04\x13" + bytes.fromhex(hidden),
    )
    assert way.decrypt(PRIVATE, PUBLIC, der) == b"encryption standard"


def test_the_way_of_this_machine_is_openssl_where_it_has_sm2() -> None:
    assert sm2().name == "openssl"


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(list(WAYS)), st.sampled_from(list(WAYS)), st.sampled_from(list(WAYS)))
def test_either_way_reads_what_the_other_made(data: bytes, makes: str, signs: str, reads: str) -> None:
    private, public = WAYS[makes].generate()
    signature = WAYS[signs].sign(private, public, data)
    assert WAYS[reads].verify(public, data, signature)
    assert not WAYS[reads].verify(public, data + b"x", signature)
    if data:
        assert WAYS[reads].decrypt(private, public, WAYS[signs].encrypt(public, data)) == data


@ways
def test_a_signature_with_zero_or_too_large_numbers_is_wrong(way: Sm2) -> None:
    order = int(default_ecc_table["n"], 16)
    for r, s in ((0, S), (R, 0), (R + order, S), (R, S + order), (order, order)):
        assert not way.verify(PUBLIC, b"message digest", _sequence(_integer(r), _integer(s)))


@ways
@pytest.mark.parametrize("junk", [b"", b"\x30\x00", b"junk", b"\x30\x80\x00\x00", bytes(72)])
def test_junk_is_no_signature(way: Sm2, junk: bytes) -> None:
    assert not way.verify(PUBLIC, b"message digest", junk)


@ways
def test_a_point_beside_the_curve_is_no_key(way: Sm2) -> None:
    for wrong in (PUBLIC[:-1] + bytes([PUBLIC[-1] ^ 1]), PUBLIC[1:], b"\x04" + bytes(64), b""):
        with pytest.raises(ValueError, match="not a"):
            way.verify(wrong, b"message digest", _sequence(_integer(R), _integer(S)))
        with pytest.raises(ValueError, match="not a"):
            way.encrypt(wrong, b"key")


@ways
def test_an_altered_ciphertext_does_not_open(way: Sm2) -> None:
    private, public = way.generate()
    sealed = bytearray(way.encrypt(public, b"0123456789abcdef"))
    for at in (10, 60, 90, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[at] ^= 1
        with pytest.raises(ValueError):
            way.decrypt(private, public, bytes(altered))


def test_without_openssl_identities_of_the_suite_still_work(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = Identity.generate("guomi")
    signature, sealed = identity.sign(b"data"), identity.public.seal(b"secret")

    def missing() -> Sm2:
        raise OSError("no libcrypto")

    monkeypatch.setattr(ways_of_sm2, "WAYS", (("openssl", missing), ways_of_sm2.WAYS[1]))
    sm2.cache_clear()
    try:
        assert sm2().name == "gmssl"
        identity.public.verify(b"data", signature)
        assert identity.unseal(sealed) == b"secret"
        monkeypatch.setattr(ways_of_sm2, "WAYS", (("openssl", missing),))
        sm2.cache_clear()
        with pytest.raises(Sm2NotThere) as caught:
            sm2()
        assert caught.value.details["tried"] == "openssl: OSError"
    finally:
        sm2.cache_clear()
