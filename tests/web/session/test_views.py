"""Signing in and out, lockout, password, post switch, language."""

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Person
from jinqiao.audit.models import AuditEvent, Outcome
from tests.factories import PASSWORD, make_organisation, make_person, make_post

pytestmark = pytest.mark.django_db


def sign_in(client, person, password=PASSWORD, **extra):
    return client.post(reverse("login"), {"username": person.username, "password": password, **extra})


def test_the_login_page_needs_nobody_to_be_signed_in(client):
    response = client.get(reverse("login"))

    assert response.status_code == 200
    assert "平台账号" in response.content.decode()


def test_the_bare_address_sends_a_stranger_to_sign_in(client):
    assert client.get("/").url == reverse("login")


def test_who_signs_in_lands_on_the_desk(client):
    post = make_post(Role.OPERATOR)

    response = sign_in(client, post.person)

    assert response.status_code == 302
    assert response.url == reverse("desk")
    assert client.get(response.url).status_code == 200


def test_a_leader_lands_on_the_dashboard(client):
    post = make_post(Role.LEADER)

    assert sign_in(client, post.person).url == reverse("dashboard")


def test_signing_in_goes_on_to_the_page_that_was_asked_for(client):
    post = make_post(Role.OPERATOR)

    assert sign_in(client, post.person, next=reverse("desk_done")).url == reverse("desk_done")


def test_signing_in_never_goes_on_to_another_site(client):
    post = make_post(Role.OPERATOR)

    assert sign_in(client, post.person, next="https://elsewhere.example/desk").url == reverse("desk")


def test_a_wrong_password_does_not_say_what_was_wrong(client):
    post = make_post(Role.OPERATOR)

    known = sign_in(client, post.person, "wrong-horse-43")
    unknown = client.post(reverse("login"), {"username": "nobody-here", "password": "wrong-horse-43"})

    assert known.status_code == unknown.status_code == 401
    assert "账号或口令不对" in known.content.decode()
    assert "账号或口令不对" in unknown.content.decode()


def test_five_wrong_passwords_lock_the_name_from_that_address_only(client):
    post = make_post(Role.OPERATOR)
    for _ in range(5):
        last = sign_in(client, post.person, "wrong-horse-43")

    assert last.status_code == 429
    assert "锁定" in last.content.decode()
    assert sign_in(client, post.person).status_code == 429
    elsewhere = client.post(
        reverse("login"), {"username": post.person.username, "password": PASSWORD}, REMOTE_ADDR="10.1.2.3"
    )
    assert elsewhere.status_code == 302


def test_a_locked_name_does_not_lock_out_a_colleague_behind_the_same_address(client):
    first, second = make_post(Role.OPERATOR), make_post(Role.OPERATOR)
    for _ in range(5):
        sign_in(client, first.person, "wrong-horse-43")

    assert sign_in(client, second.person).status_code == 302


def test_signing_out_ends_the_session_and_only_by_post(client):
    post = make_post(Role.OPERATOR)
    sign_in(client, post.person)

    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout")).url == reverse("login")
    assert client.get(reverse("desk")).status_code == 302


def test_an_initial_password_must_be_changed_before_anything_else(client):
    post = make_post(Role.OPERATOR)
    Person.objects.filter(pk=post.person_id).update(must_change_password=True)

    assert sign_in(client, post.person).url == reverse("password_change")
    assert client.get(reverse("desk")).url == reverse("password_change")


def test_a_changed_password_keeps_this_session_and_opens_the_desk(client):
    post = make_post(Role.OPERATOR)
    Person.objects.filter(pk=post.person_id).update(must_change_password=True)
    sign_in(client, post.person)

    values = {"old": PASSWORD, "new": "golden-bridge-77", "again": "golden-bridge-77"}
    response = client.post(reverse("password_change"), values)

    assert response.url == reverse("desk")
    assert client.get(reverse("desk")).status_code == 200


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"old": "not-it-at-all", "new": "golden-bridge-77", "again": "golden-bridge-77"}, "现口令"),
        ({"old": PASSWORD, "new": "golden-bridge-77", "again": "golden-bridge-78"}, "两遍不一样"),
        ({"old": PASSWORD, "new": "1234567890", "again": "1234567890"}, "field-error"),
    ],
)
def test_a_refused_password_says_why_and_changes_nothing(client, values, words):
    post = make_post(Role.OPERATOR)
    sign_in(client, post.person)

    response = client.post(reverse("password_change"), values)

    assert response.status_code == 200
    assert words in response.content.decode()
    assert Person.objects.get(pk=post.person_id).check_password(PASSWORD)


def test_switching_posts_changes_whose_desk_one_sees(client):
    person = make_person()
    first = make_post(Role.OPERATOR, make_organisation(name="金昌市甲局"), person)
    second = make_post(Role.DEPARTMENT_ADMINISTRATOR, make_organisation(name="金昌市乙局"), person)
    sign_in(client, person)

    response = client.post(reverse("switch_post"), {"post": second.pk})

    assert response.url == reverse("desk")
    page = client.get(reverse("desk"))
    assert page.wsgi_request.post == second
    assert first.organisation.short_name in page.content.decode()


@pytest.mark.parametrize("wanted", ["", "x", "999999", "9" * 40])
def test_nobody_acts_in_a_post_that_is_not_theirs(client, wanted):
    mine, other = make_post(Role.OPERATOR), make_post(Role.HEAD)
    sign_in(client, mine.person)

    response = client.post(reverse("switch_post"), {"post": wanted or other.pk})

    assert response.status_code == 403
    assert client.get(reverse("desk")).wsgi_request.post == mine
    refused = AuditEvent.objects.filter(action="access.page.refuse").get()
    assert refused.outcome == Outcome.REFUSED
    assert refused.actor_name == mine.person.name
    assert refused.details["code"] == "web.post.not_yours"


def test_a_person_without_a_live_post_is_told_so(client):
    person = make_person()
    sign_in(client, person)

    response = client.get(reverse("desk"))

    assert response.status_code == 403
    assert "没有在任的岗位" in response.content.decode()


def test_choosing_english_is_remembered_by_browser_and_account(client):
    post = make_post(Role.OPERATOR)
    sign_in(client, post.person)

    response = client.post(reverse("language"), {"language": "en", "next": reverse("desk")})

    assert response.url == reverse("desk")
    assert '<html lang="en">' in client.get(reverse("desk")).content.decode()
    assert Person.objects.get(pk=post.person_id).language == "en"


def test_a_stranger_may_choose_the_language_of_the_login_page(client):
    client.post(reverse("language"), {"language": "en", "next": "/login"})

    assert '<html lang="en">' in client.get(reverse("login")).content.decode()


def test_a_language_that_does_not_exist_is_refused(client):
    assert client.post(reverse("language"), {"language": "tlh"}).status_code == 400
