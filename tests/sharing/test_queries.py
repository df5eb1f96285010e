"""Who may see which requests and grants."""

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.sharing import queries
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import GrantMissing, RequestMissing
from tests.factories import make_organisation, make_post
from tests.sharing.factories import make_grant, make_request

pytestmark = pytest.mark.django_db


def test_a_draft_is_seen_by_its_own_department_only(parties):
    draft = make_request(parties)
    assert queries.request_visible_to(parties.consumer_head, draft.pk) == draft
    for other in (parties.clerk, parties.provider_head, parties.bureau, make_post(Role.AUDITOR)):
        with pytest.raises(RequestMissing):
            queries.request_visible_to(other, draft.pk)


def test_the_provider_sees_a_request_once_it_has_received_it(parties):
    waiting = make_request(parties, RequestState.HEAD_APPROVAL)
    received = make_request(parties, RequestState.AWAITING_REPLY)
    assert list(queries.requests_visible_to(parties.clerk)) == [received]
    assert list(queries.requests_visible_to(parties.bureau)) == [received, waiting]


@pytest.mark.parametrize("role", Role)
def test_a_third_department_sees_nothing(parties, role):
    grant = make_grant(parties)
    stranger = make_post(role, make_organisation())
    sees_all = role in (Role.BUREAU, Role.AUDITOR)
    assert queries.requests_visible_to(stranger).exists() is sees_all
    assert queries.grants_visible_to(stranger).exists() is sees_all
    if not sees_all:
        with pytest.raises(GrantMissing):
            queries.grant_visible_to(stranger, grant.pk)


@pytest.mark.parametrize(
    "role",
    [Role.COUNTER, Role.LEADER, Role.APPROVER, Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR,
     Role.AUDIT_ADMINISTRATOR],
)  # fmt: skip
def test_posts_without_a_part_in_sharing_see_nothing_of_their_own_department_either(parties, role):
    make_grant(parties)
    own = make_post(role, parties.consumer)
    assert not queries.requests_visible_to(own).exists()
    assert not queries.grants_visible_to(own).exists()


def test_the_running_grant_of_the_same_entry_and_mode_is_found_for_comparison(parties):
    old = make_grant(parties)
    make_grant(parties, mode="batch")
    assert queries.running_grant(make_request(parties)) == old
