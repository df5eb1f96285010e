"""People and posts on their pages."""

import re

import pytest
from axes.models import AccessAttempt
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Person, Post
from jinqiao.audit.models import AuditEvent, Outcome
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def system(browse):
    return browse(Role.SYSTEM_ADMINISTRATOR)


@pytest.fixture
def security(browse):
    return browse(Role.SECURITY_ADMINISTRATOR)


def test_a_new_person_gets_an_initial_password_shown_once(system, client):
    response = system.post(reverse("accounts:person_new"), {"username": "li.na", "name": "李娜"})

    initial = re.search(r"(\w{4}-){3}\w{4}", response.content.decode()).group()
    assert "no-store" in response["Cache-Control"]
    person = Person.objects.get(username="li.na")
    assert person.check_password(initial)
    assert person.must_change_password
    assert initial not in system.get(reverse("accounts:person", args=[person.pk])).content.decode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"username": "l"}, "username"),
        ({"username": "taken"}, "username"),
        ({"employer": "某公司"}, "valid_until"),
        ({"employer": "某公司", "valid_until": "2020-01-01"}, "valid_until"),
    ],
)
def test_what_is_wrong_with_a_new_person_is_said_at_its_field(changes, field, system):
    factories.make_person(username="taken")

    response = system.post(reverse("accounts:person_new"), {"username": "li.na", "name": "李娜", **changes})

    assert list(response.context["form"].errors) == [field]
    assert not Person.objects.filter(username="li.na").exists()


def test_the_list_is_filtered_by_name_organisation_role_and_state(system):
    head = factories.make_post(Role.HEAD, name="周正")
    gone = factories.make_person("吴去", is_active=False)
    address = reverse("accounts:people")

    def shown(**query):
        return {person.name for person, _ in system.get(address, query).context["rows"]}

    assert shown(q="周") == {"周正"}
    assert shown(organisation=head.organisation_id) == {"周正"}
    assert shown(role="head") == {"周正"}
    assert shown(state="ended") == {gone.name}
    assert shown(role="nonsense", q="周") == {"周正"}


def test_the_system_administrator_sees_account_buttons_and_the_security_administrator_post_buttons(system, security):
    post = factories.make_post()
    address = reverse("accounts:person", args=[post.person_id])
    account, appointing = (
        reverse("accounts:person_password", args=[post.person_id]),
        reverse("accounts:post_new", args=[post.person_id]),
    )

    for_system, for_security = system.get(address).content.decode(), security.get(address).content.decode()

    assert account in for_system
    assert appointing not in for_system
    assert appointing in for_security
    assert account not in for_security


def test_appointing_from_the_page(security):
    person, body = factories.make_person(), factories.make_organisation()
    address = reverse("accounts:post_new", args=[person.pk])

    assert security.get(address).status_code == 200
    response = security.post(address, {"organisation": body.pk, "role": "operator", "starts_on": "2026-03-18"})

    assert response.url == reverse("accounts:person", args=[person.pk])
    assert Post.objects.get(person=person).organisation == body


def test_a_refused_appointment_says_why_at_the_role_and_is_in_the_trail(security):
    operator = factories.make_post(Role.OPERATOR)

    response = security.post(
        reverse("accounts:post_new", args=[operator.person_id]),
        {"organisation": operator.organisation_id, "role": "audit_administrator", "starts_on": "2026-03-18"},
    )

    assert "三员" in str(response.context["form"].errors["role"])
    refused = AuditEvent.objects.get(outcome=Outcome.REFUSED)
    assert refused.details["code"] == "accounts.post.administrator_with_business"


def test_ending_a_post_asks_first(security):
    post = factories.make_post()
    address = reverse("accounts:post_end", args=[post.pk])

    assert "结束岗位" in security.get(address).content.decode()
    security.post(address)

    post.refresh_from_db()
    assert post.ends_on is not None


def test_the_last_audit_administrator_stays_also_from_the_page(security):
    last = factories.make_post(Role.AUDIT_ADMINISTRATOR)

    response = security.post(reverse("accounts:post_end", args=[last.pk]))

    assert response.status_code == 409
    last.refresh_from_db()
    assert last.ends_on is None


def test_resetting_a_password_asks_first_and_never_touches_the_other_administrators(system):
    person = factories.make_person()
    auditor = factories.make_post(Role.AUDIT_ADMINISTRATOR)

    assert system.get(reverse("accounts:person_password", args=[person.pk])).status_code == 200
    assert system.post(reverse("accounts:person_password", args=[person.pk])).status_code == 200
    refused = system.post(reverse("accounts:person_password", args=[auditor.person_id]))

    assert refused.status_code == 403
    auditor.person.refresh_from_db()
    assert auditor.person.check_password(factories.PASSWORD)


def test_closing_an_account_ends_its_session(system, browse):
    other = browse(Role.OPERATOR)
    desk = reverse("desk")
    assert other.get(desk).status_code == 200

    system.post(reverse("accounts:person_close", args=[other.post_in.person_id]))

    assert other.get(desk).status_code == 302
    system.post(reverse("accounts:person_reopen", args=[other.post_in.person_id]))
    other.post_in.person.refresh_from_db()
    assert other.post_in.person.is_active


def test_ended_posts_shut_the_door_within_the_session(security, browse):
    other = browse(Role.BUREAU)
    address = reverse("accounts:calendar")
    assert other.get(address).status_code == 200

    security.post(reverse("accounts:post_end", args=[other.post_in.pk]))

    assert other.get(address).status_code == 403


def test_the_security_administrator_unlocks(security):
    person = factories.make_person(username="locked")
    AccessAttempt.objects.create(username="locked", ip_address="10.0.0.9", failures_since_start=5)
    address = reverse("accounts:person", args=[person.pk])
    assert "5" in security.get(address).content.decode()

    security.post(reverse("accounts:person_unlock", args=[person.pk]))

    assert not AccessAttempt.objects.exists()


def test_editing_a_person_keeps_the_rules(system):
    person = factories.make_person("李娜")
    address = reverse("accounts:person_edit", args=[person.pk])

    refused = system.post(address, {"name": "李娜", "employer": "某公司"})
    system.post(address, {"name": "李娜", "employer": "某公司", "valid_until": "2026-12-31"})

    assert list(refused.context["form"].errors) == ["valid_until"]
    person.refresh_from_db()
    assert person.employer == "某公司"


def test_the_list_costs_the_same_for_one_and_for_many(system, django_assert_max_num_queries):
    address = reverse("accounts:people")
    system.get(address)
    with django_assert_max_num_queries(16) as few:
        system.get(address)
    for _ in range(10):
        factories.make_post()
    with django_assert_max_num_queries(len(few)):
        assert system.get(address).status_code == 200


def test_the_export_is_a_workbook(system):
    response = system.get(reverse("accounts:people"), {"export": "xlsx"})

    assert response["Content-Type"].endswith("spreadsheetml.sheet")
    assert response.getvalue().startswith(b"PK")
