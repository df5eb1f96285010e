"""Organisations on their pages."""

from io import BytesIO

import openpyxl
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import OrganisationKind, Role
from jinqiao.accounts.models import Organisation, Region
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def system(browse):
    return browse(Role.SYSTEM_ADMINISTRATOR)


def _form(**changes):
    return {
        "credit_code": factories.credit_code(99887766),
        "name": "金昌市水务局",
        "short_name": "市水务局",
        "kind": OrganisationKind.DEPARTMENT,
        "region": factories.make_region().pk,
        "parent": "",
        "position": "3",
        **changes,
    }


def test_the_tree_shows_who_stands_below_whom(system):
    top = factories.make_organisation("金昌市人民政府", position=0)
    factories.make_organisation("金昌市教育局", parent=top)

    page = system.get(reverse("accounts:organisations")).content.decode()

    assert page.index("金昌市人民政府") < page.index("金昌市教育局")
    assert "<details" in page


def test_a_search_shows_a_list(system):
    factories.make_organisation("金昌市教育局")
    factories.make_organisation("金昌市财政局")

    page = system.get(reverse("accounts:organisations"), {"q": "教育"}).content.decode()

    assert "金昌市教育局" in page
    assert "金昌市财政局" not in page


def test_the_export_holds_what_the_list_holds(system):
    body = factories.make_organisation("金昌市教育局")

    response = system.get(reverse("accounts:organisations"), {"q": "教育", "export": "xlsx"})

    rows = list(openpyxl.load_workbook(BytesIO(response.getvalue())).active.values)
    assert [row[2] for row in rows[1:]] == [body.credit_code]


def test_an_organisation_is_registered(system):
    response = system.post(reverse("accounts:organisation_new"), _form())

    body = Organisation.objects.get(name="金昌市水务局")
    assert response.url == reverse("accounts:organisation", args=[body.pk])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"credit_code": "11620300000000000X"}, "credit_code"),
        ({"name": "金昌市教育局"}, "name"),
        ({"is_authority": "on"}, "is_authority"),
        ({"kind": "other thing"}, "kind"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_input_is_kept(changes, field, system):
    factories.make_authority()
    factories.make_organisation("金昌市教育局")

    response = system.post(reverse("accounts:organisation_new"), _form(**changes))

    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    assert "市水务局" in response.content.decode()


def test_an_organisation_is_edited_but_not_put_below_itself(system):
    body = factories.make_organisation("金昌市教育局")
    child = factories.make_organisation("金昌市教育考试院", parent=body)
    address = reverse("accounts:organisation_edit", args=[body.pk])
    fields = {"name": "金昌市教育局", "short_name": "市教育局", "kind": "department", "position": "1"}

    refused = system.post(address, {**fields, "parent": child.pk})
    system.post(address, fields)

    assert list(refused.context["form"].errors) == ["parent"]
    body.refresh_from_db()
    assert (body.short_name, body.parent) == ("市教育局", None)


def test_an_organisation_with_people_is_not_closed(system):
    post = factories.make_post()
    address = reverse("accounts:organisation_close", args=[post.organisation_id])

    assert "停用" in system.get(address).content.decode()
    assert system.post(address).status_code == 409

    empty = factories.make_organisation()
    assert system.post(reverse("accounts:organisation_close", args=[empty.pk])).status_code == 302
    empty.refresh_from_db()
    assert not empty.is_active
    system.post(reverse("accounts:organisation_reopen", args=[empty.pk]))
    empty.refresh_from_db()
    assert empty.is_active


def test_a_section_is_added_once(system):
    body = factories.make_organisation()
    address = reverse("accounts:section_add", args=[body.pk])

    assert system.post(address, {"name": "办公室"}).status_code == 302
    again = system.post(address, {"name": "办公室"})

    assert again.status_code == 200
    assert "办公室" in again.content.decode()
    assert body.sections.count() == 1


def test_a_region_is_registered_by_a_code_that_exists(system):
    address = reverse("accounts:region_new")

    wrong = system.post(address, {"code": "62030A", "name": "某区", "level": "county"})
    system.post(address, {"code": "620302", "name": "金川区", "level": "county"})

    assert "code" in wrong.context["form"].errors
    assert Region.objects.filter(code="620302").exists()


def test_the_list_costs_the_same_for_one_and_for_many(system, django_assert_max_num_queries):
    address = reverse("accounts:organisations") + "?view=list"
    system.get(address)
    with django_assert_max_num_queries(14) as few:
        system.get(address)
    for _ in range(10):
        factories.make_post()
    with django_assert_max_num_queries(len(few)):
        system.get(address)


def test_an_organisations_page_costs_the_same_for_one_and_for_many(system, django_assert_max_num_queries):
    body = factories.make_organisation()
    factories.make_post(organisation=body, section=factories.make_section(body))
    address = reverse("accounts:organisation", args=[body.pk])
    system.get(address)
    with django_assert_max_num_queries(20) as few:
        system.get(address)
    for _ in range(5):
        factories.make_post(organisation=body, section=factories.make_section(body))
        factories.make_application(body)
    with django_assert_max_num_queries(len(few)):
        system.get(address)
