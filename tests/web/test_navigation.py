"""The side navigation shows what a post may enter, and nothing else."""

import pytest
from django.urls import resolve, reverse

from jinqiao.accounts.enums import THREE_ADMINISTRATORS, Role
from jinqiao.web import navigation
from tests.factories import make_post

pytestmark = pytest.mark.django_db


def urls_of(role):
    post = make_post(role)
    return {link.url for group in navigation.groups_for(post, None) for link in group.links}


@pytest.mark.parametrize("role", list(Role))
def test_every_link_shown_can_be_entered(enter, role):
    post = make_post(role)
    client = enter(post)

    for group in navigation.groups_for(post, None):
        for link in group.links:
            assert client.get(link.url).status_code in (200, 302), link.url


@pytest.mark.parametrize("role", list(Role))
def test_the_first_page_of_a_role_can_be_entered(enter, role):
    post = make_post(role)

    assert enter(post).get(navigation.first_page(post)).status_code == 200


def test_a_leader_sees_the_dashboard_and_a_counter_clerk_does_not():
    assert reverse("dashboard") in urls_of(Role.LEADER)
    assert reverse("dashboard") not in urls_of(Role.COUNTER)


def test_the_current_item_is_marked(enter):
    page = enter(make_post(Role.OPERATOR)).get(reverse("desk_done")).content.decode()

    assert f'<a href="{reverse("desk_done")}" aria-current="page">' in page


def test_no_group_stands_empty():
    for role in Role:
        assert all(group.links for group in navigation.groups_for(make_post(role), None))


def test_an_address_that_has_not_landed_is_left_out():
    assert navigation.url_of("nowhere:at_all") == ""
    assert not navigation.may_enter("", None)


def test_pages_below_an_item_are_found_by_the_longest_pattern():
    match = resolve(reverse("desk"))
    match.view_name = "exchange:run"
    assert navigation.current_item(match).name == "exchange:tasks"
    match.view_name = "exchange:calls_export"
    assert navigation.current_item(match).name == "exchange:calls"


def test_a_person_with_one_post_sees_no_other_organisation(enter):
    mine, other = make_post(Role.OPERATOR), make_post(Role.OPERATOR)

    page = enter(mine).get(reverse("desk")).content.decode()

    assert mine.organisation.short_name in page
    assert other.organisation.short_name not in page


@pytest.mark.parametrize("role", sorted(THREE_ADMINISTRATORS))
def test_the_three_administrators_see_only_their_desk_and_administration(role):
    labels = [str(group.label) for group in navigation.groups_for(make_post(role), None)]

    assert set(labels) <= {"工作台", "管理"}
