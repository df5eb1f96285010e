"""The city's key of persons: what gateways mark calls with, the platform finds again, also after a new key."""

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.dataplane.gateway.keyed import KeyedDigest, suite_of_hmac
from jinqiao.dataplane.gateway.snapshot import SubjectMark
from jinqiao.exchange import actions
from jinqiao.exchange.errors import SubjectKeyNotYours
from tests.exchange.factories import Served, make_served
from tests.factories import make_post

pytestmark = pytest.mark.django_db

NUMBER = "620302199001010015"


def marked(served: Served, after: int = 0) -> tuple[int, str]:
    """The version of the gateway's policy, and how the gateway marks a call about the person."""
    policy = served.policy(after)
    assert policy is not None
    key = policy.subject_key
    assert key is not None
    secret = served.gateway.identity.unseal(key.sealed_key)
    mark = SubjectMark(key.key_id, secret, KeyedDigest(suite_of_hmac(key.algorithm), secret))
    return policy.version, mark.of(NUMBER)


def test_the_platform_finds_what_a_gateway_marked_also_after_the_key_was_renewed() -> None:
    served = make_served()
    keeper = make_post(Role.SECURITY_ADMINISTRATOR, served.grant.consumer)
    version, before = marked(served)
    assert before == actions.commitments_of(NUMBER)[0]
    assert actions.policy_for(served.gateway.node, version) is None  # sealing anew each time makes no new policy

    key_id = actions.renew_subject_key(by=keeper)

    _, after = marked(served, version)
    assert after.startswith(f"{key_id}:")
    found = actions.commitments_of(f" {NUMBER[:6]} {NUMBER[6:]} ")
    assert (found[0], before in found, NUMBER in "".join(found)) == (after, True, False)


def test_only_the_security_administrator_renews_the_key() -> None:
    served = make_served()
    with pytest.raises(SubjectKeyNotYours):
        actions.renew_subject_key(by=served.world.parties.provider_head)
