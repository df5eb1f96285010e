"""The trail on its pages."""

from io import BytesIO

import openpyxl
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit import trail
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.audit.trail import Actor, Subject
from jinqiao.web.audit import views
from tests import factories

pytestmark = pytest.mark.django_db

ANN = Actor("901", "安娜", "operator", "7", "金昌市教育局", "10.0.0.7")


@pytest.fixture(autouse=True)
def _home(settings, tmp_path):
    settings.HOME = tmp_path


@pytest.fixture
def auditor(browse):
    return browse(Role.AUDIT_ADMINISTRATOR)


def _write(count=1, **more):
    for number in range(count):
        trail.record(
            "catalogue.entry.publish", by=ANN, about=Subject("catalogue.catalogueentry", str(number), "学籍"), **more
        )


@pytest.mark.parametrize("role", list(Role))
def test_only_the_audit_administrator_and_auditors_enter(role, browse):
    client = browse(role)
    _write()
    number = AuditEvent.objects.latest("number").number
    wanted = 200 if role in (Role.AUDIT_ADMINISTRATOR, Role.AUDITOR) else 403

    for address in (reverse("audit:events"), reverse("audit:event", args=[number]), reverse("audit:verify")):
        assert client.get(address).status_code == wanted


def test_the_search_filters_by_action_person_organisation_date_and_outcome(auditor):
    _write(2)
    trail.record("sharing.grant.revoke", by=trail.SYSTEM, outcome=Outcome.REFUSED)
    address = reverse("audit:events")

    def found(**query):
        return {event.action for event in auditor.get(address, query).context["page"]}

    assert found(action="catalogue") == {"catalogue.entry.publish"}
    assert found(action="发布目录") == {"catalogue.entry.publish"}
    assert found(action="没有这种事") == set()
    assert found(person="安娜") == {"catalogue.entry.publish"}
    assert found(organisation="教育") == {"catalogue.entry.publish"}
    assert found(outcome="refused") == {"sharing.grant.revoke"}
    assert found(text="学籍", since="2026-03-18", until="2026-03-18") == {"catalogue.entry.publish"}
    assert found(until="2026-03-17") == set()
    assert "sharing.grant.revoke" in found(since="not a date", outcome="nonsense")


def test_long_trails_come_in_pages(auditor, settings):
    _write(45)

    first = auditor.get(reverse("audit:events"), {"action": "catalogue"})
    third = auditor.get(reverse("audit:events"), {"action": "catalogue", "page": "3"})

    assert [len(first.context["page"]), len(third.context["page"])] == [20, 5]


def test_an_event_shows_its_details_and_that_it_holds(auditor):
    _write(2, items=3)
    number = AuditEvent.objects.filter(action="catalogue.entry.publish").latest("number").number

    page = auditor.get(reverse("audit:event", args=[number])).content.decode()

    assert "安娜" in page
    assert "items" in page
    assert "与上一条衔接" in page
    assert auditor.get(reverse("audit:event", args=[99999])).status_code == 404


def test_a_changed_event_is_called_broken_on_its_page(auditor):
    _write(2)
    AuditEvent.objects.filter(action="catalogue.entry.publish").update(actor_name="别人")
    number = AuditEvent.objects.latest("number").number

    assert "这一条不成立" in auditor.get(reverse("audit:event", args=[number])).content.decode()


def test_verification_shows_the_verdict_and_is_itself_written_down(auditor):
    _write(3)

    page = auditor.post(reverse("audit:verify")).content.decode()

    assert "留痕完整" in page
    event = AuditEvent.objects.latest("number")
    assert (event.action, event.details["ok"]) == ("audit.trail.verify", True)
    assert (views.anchor.keys_home() / "audit-head.json").exists()


def test_verification_names_the_first_broken_event(auditor):
    _write(3)
    broken = AuditEvent.objects.filter(action="catalogue.entry.publish").order_by("number")[1]
    AuditEvent.objects.filter(pk=broken.pk).update(about_label="别的")

    page = auditor.post(reverse("audit:verify")).content.decode()

    assert f"第{broken.number}条起不成立" in page
    assert "内容被改动" in page
    assert reverse("audit:event", args=[broken.number]) in page


def test_a_cut_tail_is_found_after_a_verification(auditor):
    _write(3)
    auditor.post(reverse("audit:verify"))
    AuditEvent.objects.filter(number__gt=2).delete()

    assert "末尾被截断" in auditor.post(reverse("audit:verify")).content.decode()


def test_the_export_neutralises_formulas_and_is_written_down(auditor):
    trail.record("catalogue.entry.publish", by=ANN, about=Subject("x.y", "1", '=HYPERLINK("http://x","y")'))

    response = auditor.get(reverse("audit:events"), {"export": "xlsx", "action": "catalogue"})

    sheet = openpyxl.load_workbook(BytesIO(response.getvalue())).active
    labels = [row[10] for row in sheet.iter_rows(min_row=2)]
    assert [cell.value for cell in labels] == ['\'=HYPERLINK("http://x","y")']
    assert all(cell.data_type == "s" for cell in labels)
    assert AuditEvent.objects.latest("number").action == "audit.event.export"


def test_an_export_that_is_too_large_is_refused_with_words(auditor, monkeypatch):
    monkeypatch.setattr(views, "EXPORT_LIMIT", 1)
    _write(2)

    response = auditor.get(reverse("audit:events"), {"export": "xlsx"})

    assert response.status_code == 400
    assert "缩小日期范围" in response.content.decode()


def test_pages_cost_the_same_for_one_and_for_many(auditor, django_assert_max_num_queries):
    _write(1)
    address = reverse("audit:events")
    auditor.get(address)
    with django_assert_max_num_queries(16) as few:
        auditor.get(address)
    _write(15)
    with django_assert_max_num_queries(len(few)):
        auditor.get(address)
    number = AuditEvent.objects.latest("number").number
    with django_assert_max_num_queries(16):
        auditor.get(reverse("audit:event", args=[number]))


def test_the_subject_of_an_event_links_to_its_page(auditor):
    person = factories.make_person()
    trail.record("accounts.person.add", by=ANN, about=trail.subject(person))
    number = AuditEvent.objects.latest("number").number

    page = auditor.get(reverse("audit:event", args=[number])).content.decode()

    assert reverse("accounts:person", args=[person.pk]) in page
