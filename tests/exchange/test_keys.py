"""Keys of applications: secrets in both suites, public keys with proof of possession, rotation with overlap."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.core import signing

from jinqiao.dataplane.client.keypair import KeyPair
from jinqiao.exchange import actions
from jinqiao.exchange.errors import KeyAlreadyRevoked, NotYourApplication
from jinqiao.exchange.models import ApplicationKey
from jinqiao.exchange.service_errors import (
    ChallengeNotGood,
    KeyAlgorithmWrong,
    OverlapWrong,
    PossessionNotProved,
    PublicKeyUsed,
)
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.errors import PublicKeyNotRead
from tests.exchange.factories import Served
from tests.factories import make_application

pytestmark = pytest.mark.django_db


def register(served: Served, pair: KeyPair, **changes: Any) -> ApplicationKey:
    challenge = changes.pop("challenge", actions.challenge_for(served.application))
    fields: dict[str, Any] = {
        "by": served.developer,
        "algorithm": pair.algorithm,
        "public_key": pair.public_pem,
        "challenge": challenge,
        "signature": base64.b64encode(pair.sign(challenge.encode())).decode(),
        **changes,
    }
    return actions.register_key(served.application, served.gateway.node, **fields)


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sm3"])
def test_a_secret_is_issued_for_either_suite(served: Served, algorithm: str) -> None:
    key, secret = actions.issue_key(served.application, served.gateway.node, by=served.developer, algorithm=algorithm)

    policy = served.policy()
    assert policy is not None
    found = next(one for one in policy.applications[0].keys if one.key_id == key.key_id)
    assert found.algorithm == algorithm
    assert served.gateway.identity.unseal(found.sealed_secret).decode() == secret


def test_no_secret_of_another_algorithm_is_issued(served: Served) -> None:
    with pytest.raises(KeyAlgorithmWrong):
        actions.issue_key(served.application, served.gateway.node, by=served.developer, algorithm="hmac-md5")


@pytest.mark.parametrize("algorithm", ["ed25519", "sm2-sm3"])
@pytest.mark.parametrize("form", ["pem", "hex"])
def test_a_public_key_is_registered_by_who_has_its_private_half(served: Served, algorithm: str, form: str) -> None:
    pair = KeyPair.generate(algorithm)
    key = register(served, pair, public_key=pair.public_pem if form == "pem" else pair.public.hex())

    policy = served.policy()
    assert policy is not None
    found = next(one for one in policy.applications[0].keys if one.key_id == key.key_id)
    assert (found.algorithm, found.public_key, found.sealed_secret) == (algorithm, pair.public.hex(), "")


def test_who_cannot_sign_the_challenge_registers_nothing(served: Served) -> None:
    pair, stranger = KeyPair.generate(), KeyPair.generate()
    challenge = actions.challenge_for(served.application)
    wrong = stranger.sign(challenge.encode()).hex()
    for signature in (wrong, "", "not a signature", pair.sign(b"something else").hex()):
        with pytest.raises(PossessionNotProved):
            register(served, pair, challenge=challenge, signature=signature)


def test_a_challenge_is_for_one_application_and_an_hour(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = KeyPair.generate()
    other = make_application(served.world.parties.consumer)
    with pytest.raises(ChallengeNotGood):
        register(served, pair, challenge=actions.challenge_for(other))
    with pytest.raises(ChallengeNotGood):
        register(served, pair, challenge="made up")
    old = actions.challenge_for(served.application)
    later = signing.time.time() + 3601
    monkeypatch.setattr(signing.time, "time", lambda: later)
    with pytest.raises(ChallengeNotGood):
        register(served, pair, challenge=old)


def test_a_public_key_in_use_is_not_registered_twice(served: Served) -> None:
    pair = KeyPair.generate()
    key = register(served, pair)
    with pytest.raises(PublicKeyUsed):
        register(served, pair)
    actions.revoke_key(key, by=served.developer)

    assert register(served, pair).public_key == pair.public.hex()


@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        ("ed25519", ""),
        ("ed25519", "ab" * 31),
        ("ed25519", KeyPair.generate("sm2-sm3").public_pem),
        ("sm2-sm3", KeyPair.generate("ed25519").public_pem),
        ("sm2-sm3", "02" + "ab" * 64),
        ("ed25519", "-----BEGIN PUBLIC KEY-----\n%%%\n-----END PUBLIC KEY-----"),
    ],
)
def test_what_is_no_public_key_is_refused(served: Served, algorithm: str, text: str) -> None:
    with pytest.raises(PublicKeyNotRead):
        register(served, KeyPair.generate(algorithm), public_key=text)


def test_a_rotation_overlaps_until_the_chosen_moment(served: Served) -> None:
    until = moments.now() + timedelta(days=7)
    new, _secret = actions.issue_key(
        served.application, served.gateway.node, by=served.developer, replaces=served.key, until=until
    )

    policy = served.policy()
    assert policy is not None
    ends = {key.key_id: key.not_after for key in policy.applications[0].keys}
    assert ends[served.key.key_id] == until
    assert ends[new.key_id] is not None
    assert ends[new.key_id] > until


def test_an_overlap_ends_neither_in_the_past_nor_after_the_keys_own_last_day(served: Served) -> None:
    for until in (moments.now() - timedelta(minutes=1), moments.now() + timedelta(days=400)):
        with pytest.raises(OverlapWrong):
            actions.retire_key(served.key, by=served.developer, until=until)
    actions.revoke_key(served.key, by=served.developer)
    with pytest.raises(KeyAlreadyRevoked):
        actions.retire_key(served.key, by=served.developer, until=moments.now() + timedelta(days=1))
    assert ApplicationKey.objects.count() == 1


def test_anothers_key_is_not_replaced(served: Served) -> None:
    theirs = make_application(served.world.parties.provider, served.world.provider_admin.person)
    foreign, _secret = actions.issue_key(theirs, served.gateway.node, by=served.world.provider_admin)
    with pytest.raises(NotYourApplication):
        actions.issue_key(
            served.application,
            served.gateway.node,
            by=served.developer,
            replaces=foreign,
            until=moments.now() + timedelta(days=1),
        )
    assert ApplicationKey.objects.count() == 2
