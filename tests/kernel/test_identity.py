import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jinqiao.kernel.contracts.base import ContractBroken
from jinqiao.kernel.contracts.exchange import Command, CommandKind, Receipt
from jinqiao.kernel.crypto.errors import IdentityBroken, SealBroken, SignatureInvalid
from jinqiao.kernel.crypto.identity import Identity, PublicIdentity, open_message, sign_message
from jinqiao.kernel.crypto.suites import SUITE_NAMES

IDENTITIES = {name: Identity.generate(name) for name in SUITE_NAMES}
OTHERS = {name: Identity.generate(name) for name in SUITE_NAMES}
suites = pytest.mark.parametrize("name", SUITE_NAMES)


def command(**changes: object) -> Command:
    return Command(id="c1", kind=CommandKind.STOP, issued_at=datetime(2026, 3, 18, tzinfo=UTC), **changes)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SUITE_NAMES), st.binary(max_size=500))
def test_what_is_signed_verifies_and_what_is_sealed_opens(name: str, data: bytes) -> None:
    identity = IDENTITIES[name]
    identity.public.verify(data, identity.sign(data))
    assert identity.unseal(identity.public.seal(data)) == data


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SUITE_NAMES), st.binary(max_size=100), st.floats(0, 1, exclude_max=True))
def test_an_altered_signature_is_refused(name: str, data: bytes, where: float) -> None:
    signature = bytearray(IDENTITIES[name].sign(data))
    at = int(where * len(signature) * 8)  # SM2 signatures are drawn anew and differ in length
    signature[at // 8] ^= 1 << at % 8
    with pytest.raises(SignatureInvalid):
        IDENTITIES[name].public.verify(data, bytes(signature))


@suites
def test_nobody_else_opens_a_sealed_text(name: str) -> None:
    sealed = IDENTITIES[name].public.seal("口令".encode())
    with pytest.raises(SealBroken):
        OTHERS[name].unseal(sealed)
    renamed = sealed.replace(IDENTITIES[name].key_id, OTHERS[name].key_id)
    with pytest.raises(SealBroken):
        OTHERS[name].unseal(renamed)


@suites
@pytest.mark.parametrize("junk", ["", "jq1", "a.b.c.d", "jq1.international..", "jq1.guomi.x.!!"])
def test_junk_is_no_sealed_text(name: str, junk: str) -> None:
    with pytest.raises(SealBroken):
        IDENTITIES[name].unseal(junk)


@suites
def test_a_sealed_text_altered_anywhere_does_not_open(name: str) -> None:
    identity = IDENTITIES[name]
    sealed = identity.public.seal(b"password")
    start = sealed.rindex(".") + 1
    for at in range(start, len(sealed) - 1, 7):
        other = "A" if sealed[at] != "A" else "B"
        with pytest.raises(SealBroken):
            identity.unseal(sealed[:at] + other + sealed[at + 1 :])


@suites
def test_an_identity_survives_its_json_and_never_shows_its_keys(name: str) -> None:
    identity = IDENTITIES[name]
    assert Identity.from_json(identity.to_json()) == identity
    assert PublicIdentity.from_json(identity.public.to_json()) == identity.public
    assert identity.to_json()["signing_private_key"] not in f"{identity!r} {identity!s}"


@suites
def test_an_identity_cannot_claim_the_key_id_of_another(name: str) -> None:
    claimed = IDENTITIES[name].public.to_json() | {"key_id": OTHERS[name].key_id}
    with pytest.raises(IdentityBroken):
        PublicIdentity.from_json(claimed)


@pytest.mark.parametrize("broken", [None, [], {}, {"suite": "international"}, {"suite": 1, "key_id": 2}])
def test_an_incomplete_identity_is_refused(broken: object) -> None:
    with pytest.raises(IdentityBroken):
        PublicIdentity.from_json(broken)


@suites
def test_a_signed_message_opens_to_the_contract_that_was_signed(name: str) -> None:
    message = sign_message(command(), IDENTITIES[name])
    assert open_message(message, IDENTITIES[name].public, Command) == command()
    through_json = type(message).from_json(message.to_json())
    assert open_message(through_json, IDENTITIES[name].public, Command) == command()


@suites
def test_a_message_with_an_altered_body_is_refused(name: str) -> None:
    message = sign_message(command(), IDENTITIES[name])
    altered = dataclasses.replace(message, body=message.body | {"kind": "extract"})
    with pytest.raises(SignatureInvalid):
        open_message(altered, IDENTITIES[name].public, Command)


@suites
def test_a_message_of_another_identity_is_refused(name: str) -> None:
    message = sign_message(command(), OTHERS[name])
    with pytest.raises(SignatureInvalid):
        open_message(message, IDENTITIES[name].public, Command)
    with pytest.raises(SignatureInvalid):
        open_message(dataclasses.replace(message, key_id=IDENTITIES[name].key_id), IDENTITIES[name].public, Command)
    with pytest.raises(SignatureInvalid):
        open_message(dataclasses.replace(message, signature="not base64!"), OTHERS[name].public, Command)


def test_a_signed_message_of_another_kind_is_refused() -> None:
    message = sign_message(command(), IDENTITIES["international"])
    with pytest.raises(ContractBroken):
        open_message(message, IDENTITIES["international"].public, Receipt)
