"""Who may enter which page of administration; who may not is refused, and the refusal is written down."""

import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.web.accounts.urls import urlpatterns
from tests import factories

SYSTEM, SECURITY, BUREAU = Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.BUREAU
KEEPERS = {Role.DEVELOPER, Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK}

MAY_ENTER = {
    "organisations": {SYSTEM, SECURITY, BUREAU},
    "organisation": {SYSTEM, SECURITY, BUREAU},
    "organisation_new": {SYSTEM},
    "organisation_edit": {SYSTEM},
    "organisation_close": {SYSTEM},
    "organisation_reopen": {SYSTEM},
    "section_add": {SYSTEM},
    "region_new": {SYSTEM},
    "people": {SYSTEM, SECURITY},
    "person": {SYSTEM, SECURITY},
    "person_new": {SYSTEM},
    "person_edit": {SYSTEM},
    "person_password": {SYSTEM},
    "person_close": {SYSTEM},
    "person_reopen": {SYSTEM},
    "person_unlock": {SECURITY},
    "post_new": {SECURITY},
    "post_end": {SECURITY},
    "applications": KEEPERS | {BUREAU, SYSTEM, SECURITY, Role.AUDITOR},
    "application": KEEPERS | {BUREAU, SYSTEM, SECURITY, Role.AUDITOR},
    "application_new": KEEPERS,
    "application_state": KEEPERS,
    "application_access": KEEPERS,
    "application_openapi": KEEPERS | {BUREAU, SYSTEM, SECURITY, Role.AUDITOR},
    "client_package": KEEPERS | {BUREAU, SYSTEM, SECURITY, Role.AUDITOR},
    "key_register": {Role.DEVELOPER, Role.DEPARTMENT_ADMINISTRATOR},
    "key_new": {Role.DEVELOPER, Role.DEPARTMENT_ADMINISTRATOR},
    "key_revoke": {Role.DEVELOPER, Role.DEPARTMENT_ADMINISTRATOR},
    "calendar": {BUREAU, SYSTEM, Role.AUDITOR},
    "calendar_year": {BUREAU, SYSTEM, Role.AUDITOR},
    "calendar_new": {BUREAU},
}
POST_ONLY = {"organisation_reopen", "section_add", "person_reopen", "person_unlock"}


def _address(name, pk):
    if name == "calendar_year":
        return reverse("accounts:calendar_year", args=[2026])
    if name == "application_state":
        return reverse("accounts:application_state", args=[pk, "suspend"])
    takes_key = "pk" in next(str(entry.pattern) for entry in urlpatterns if entry.name == name)
    return reverse(f"accounts:{name}", args=[pk] if takes_key else [])


def test_every_page_stands_in_the_table():
    assert {entry.name for entry in urlpatterns} == set(MAY_ENTER)


@pytest.mark.django_db
@pytest.mark.parametrize("role", list(Role))
def test_only_the_named_roles_enter(role, browse):
    client = browse(role)
    body = client.post_in.organisation
    keys = {
        "organisation": body.pk,
        "person": client.post_in.person_id,
        "post": factories.make_post().pk,
        "application": factories.make_application(body, client.post_in.person).pk,
    }

    for name, roles in MAY_ENTER.items():
        pk = keys.get(name.split("_")[0], 0) if not name.startswith(("post_new", "key", "section")) else 0
        if name == "post_new":
            pk = keys["person"]
        if name == "section_add":
            pk = keys["organisation"]
        address = _address(name, pk)
        response = client.post(address) if name in POST_ONLY else client.get(address)
        if role not in roles:
            assert response.status_code == 403, name
        else:
            assert response.status_code in (200, 302, 404), name


@pytest.mark.django_db
def test_a_refused_visit_is_in_the_trail(browse):
    client = browse(Role.OPERATOR)

    assert client.get(reverse("accounts:people")).status_code == 403

    event = AuditEvent.objects.get(action="access.page.refuse")
    assert (event.outcome, event.details["page"]) == (Outcome.REFUSED, "accounts:people")


@pytest.mark.django_db
def test_who_is_not_signed_in_is_sent_to_sign_in(client):
    response = client.get(reverse("accounts:people"))

    assert response.status_code == 302
    assert response.url.startswith(reverse("login"))
