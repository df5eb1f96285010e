import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jinqiao.dataplane.gateway.keyed import KeyedDigest, PreparedVerifier, public_key_verifier, salted_digest
from jinqiao.kernel.crypto.identity import Identity
from jinqiao.kernel.crypto.suites import SUITE_NAMES, suite

suites = pytest.mark.parametrize("name", SUITE_NAMES)


@suites
@given(salt=st.binary(max_size=64), data=st.binary(max_size=300))
def test_a_commitment_is_the_hmac_of_its_suite(name: str, salt: bytes, data: bytes) -> None:
    assert salted_digest(name, salt, data) == suite(name).hmac(salt, data) == KeyedDigest(name, salt).digest(data)


@suites
def test_a_key_pair_of_an_application_signs_calls(name: str) -> None:
    identity = Identity.generate(name)
    verifier = public_key_verifier(suite(name).signature_name, identity.public.signing_key)

    assert verifier.algorithm == suite(name).signature_name
    assert verifier.is_right(b"call", identity.sign(b"call"))
    assert not verifier.is_right(b"another call", identity.sign(b"call"))
    assert not verifier.is_right(b"call", Identity.generate(name).sign(b"call"))
    assert not verifier.is_right(b"call", b"no signature")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("hmac-sha256", bytes(32)),
        ("ed25519", bytes(31)),
        ("sm2-sm3", bytes(65)),
        ("sm2-sm3", b"\x04" + b"\x01" * 64),
        ("sm2-sm3", bytes(32)),
        ("rsa", bytes(32)),
    ],
)
def test_what_is_no_key_is_refused_before_the_first_call(algorithm: str, key: bytes) -> None:
    with pytest.raises(ValueError):
        public_key_verifier(algorithm, key)


def test_a_secret_verifies_its_own_algorithm_only() -> None:
    verifier = PreparedVerifier("hmac-sm3", b"secret")
    assert verifier.is_right(b"call", suite("guomi").hmac(b"secret", b"call"))
    assert not verifier.is_right(b"call", hmac.digest(b"secret", b"call", "sha256"))
    with pytest.raises(ValueError):
        PreparedVerifier("ed25519", b"secret")
