import hashlib
import hmac
import json
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.kernel.crypto.errors import SealBroken, SuiteUnknown
from jinqiao.kernel.crypto.sm3_python import Sm3
from jinqiao.kernel.crypto.suites import SUITE_NAMES, SuiteName, sm4_gcm_works, suite

names = st.sampled_from(SUITE_NAMES)


def vectors(material: Path, name: str) -> dict:
    return json.loads((material / "conformance" / "sm_vectors" / name).read_text(encoding="utf-8"))


def test_sm3_gives_the_published_digests(material: Path) -> None:
    for vector in vectors(material, "sm3_sm4_vectors.json")["sm3"]:
        message = bytes.fromhex(vector["msg_hex"])
        assert suite("guomi").digest(message).hex() == vector["sm3"]
        assert Sm3(message).hexdigest() == vector["sm3"]


def test_sm4_gives_the_published_ciphertexts(material: Path) -> None:
    for vector in vectors(material, "sm3_sm4_vectors.json")["sm4_ecb"]:
        key, plain, sealed = (bytes.fromhex(vector[part]) for part in ("key", "pt", "ct"))
        encryptor = Cipher(SM4(key), modes.ECB()).encryptor()  # noqa: S305 -- the published examples are single blocks
        block = plain
        for _ in range(1_000_000 if "1,000,000" in vector["name"] else 1):
            block = encryptor.update(block)
        assert block == sealed


def test_sm4_gcm_opens_the_example_of_rfc_8998_and_nothing_altered(material: Path) -> None:
    example = vectors(material, "sm4_gcm_rfc8998.json")["sm4_gcm_rfc8998_A1"]
    key, nonce, associated, plain, sealed, tag = (
        bytes.fromhex(example[part]) for part in ("key", "iv", "aad", "pt", "ct", "tag")
    )
    guomi = suite("guomi")
    assert sm4_gcm_works()
    assert guomi.decrypt(key, nonce + sealed + tag, associated) == plain
    assert guomi._encrypt(key, nonce, plain, associated) == sealed + tag
    with pytest.raises(SealBroken):
        guomi.decrypt(key, nonce + sealed + tag, associated + b"x")


def test_hmac_sm3_agrees_with_every_wycheproof_vector(material: Path) -> None:
    tests = vectors(material, "hmac_sm3_wycheproof.json")["tests"]
    assert len(tests) > 100
    for vector in tests:
        key, message, tag = (bytes.fromhex(vector[part]) for part in ("key", "msg", "tag"))
        right = hmac.compare_digest(suite("guomi").hmac(key, message)[: len(tag)], tag)
        assert right == (vector["result"] == "valid"), vector["tc"]
        assert hmac.new(key, message, Sm3).digest() == suite("guomi").hmac(key, message)


def test_sm3_of_abc_is_that_of_the_standard() -> None:
    expected = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert suite("guomi").digest(b"abc").hex() == expected == Sm3(b"abc").hexdigest()


@given(st.lists(st.binary(max_size=150), max_size=6))
def test_sm3_in_python_fed_in_pieces_equals_that_of_openssl(pieces: list[bytes]) -> None:
    ours = Sm3()
    for piece in pieces:
        ours.update(piece)
    assert ours.digest() == hashlib.new("sm3", b"".join(pieces)).digest()


@given(names, st.binary(max_size=2000), st.binary(max_size=40))
def test_what_is_encrypted_opens_again(name: str, plain: bytes, associated: bytes) -> None:
    algorithms = suite(name)
    key = algorithms.new_key()
    sealed = algorithms.encrypt(key, plain, associated)
    assert len(sealed) == len(plain) + 28
    assert algorithms.decrypt(key, sealed, associated) == plain


@given(names, st.binary(max_size=200), st.data())
def test_one_altered_bit_anywhere_is_found(name: str, plain: bytes, data: st.DataObject) -> None:
    algorithms = suite(name)
    key = algorithms.new_key()
    sealed = bytearray(algorithms.encrypt(key, plain))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        algorithms.decrypt(key, bytes(sealed))


@given(names, st.binary(max_size=27))
def test_a_text_too_short_for_nonce_and_tag_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(SealBroken):
        suite(name).decrypt(suite(name).new_key(), data)


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_another_key_does_not_open(name: str) -> None:
    algorithms = suite(name)
    with pytest.raises(SealBroken):
        algorithms.decrypt(algorithms.new_key(), algorithms.encrypt(algorithms.new_key(), b"secret"))
    with pytest.raises(ValueError, match="bytes"):
        algorithms.encrypt(b"short", b"secret")


def test_the_same_text_is_never_encrypted_alike_twice() -> None:
    algorithms = suite("international")
    key = algorithms.new_key()
    assert algorithms.encrypt(key, b"secret") != algorithms.encrypt(key, b"secret")


def test_hkdf_gives_the_first_example_of_rfc_5869() -> None:
    derived = suite("international").derive(
        bytes.fromhex("0b" * 22),
        salt=bytes.fromhex("000102030405060708090a0b0c"),
        info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9"),
        length=42,
    )
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"


def test_an_unknown_suite_is_named_in_the_error() -> None:
    with pytest.raises(SuiteUnknown) as caught:
        suite("rot13")
    assert "rot13" in caught.value.text("en").message


@given(key=st.binary(max_size=100), messages=st.lists(st.binary(max_size=150), max_size=4), name=names)
@settings(max_examples=30)
def test_a_key_set_up_once_gives_the_same_hmac(key: bytes, messages: list[bytes], name: str) -> None:
    of = suite(name).keyed(key)

    assert [of(message) for message in messages] == [suite(name).hmac(key, message) for message in messages]


@pytest.mark.parametrize("name", SUITE_NAMES)
def test_many_pieces_have_the_digests_that_each_has_alone(name: SuiteName) -> None:
    data, ends = b"abc" * 100, [0, 0, 3, 200, 300]

    digests = suite(name).digest_each(data, ends)

    assert digests == b"".join(suite(name).digest(data[start:end]) for start, end in pairwise(ends))
