import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.catalogue import actions
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import EntryVersion
from tests.catalogue.factories import make_draft, make_published, make_reviewed, make_signed, make_submitted
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db

ASSESSED = {
    "secrecy_risk_conclusion": "不涉及国家秘密。",
    "personal_information": "ordinary",
    "personal_information_conclusion": "最小必要。",
}


def test_three_reviewers_each_find_it_act_and_pass_it_on(cast, browser):
    version = make_submitted(cast)
    url = reverse("catalogue:review", args=[version.pk])
    for post, data, state in (
        (cast.administrator, {}, VersionState.HEAD_SIGNATURE),
        (cast.head, ASSESSED, VersionState.AUTHORITY_REVIEW),
        (cast.bureau, {}, VersionState.PUBLISHED),
    ):
        client = browser(post)
        assert version.name in client.get(reverse("catalogue:review_list")).content.decode()
        assert 'name="approved" value="yes"' in client.get(url).content.decode()
        response = client.post(url, {"approved": "yes", "opinion": "同意", **data}, follow=True)
        assert response.status_code == 200
        version.refresh_from_db()
        assert version.state == state
        assert 'name="approved"' not in response.content.decode()
    assert version.entry.code
    page = browser(cast.operator).get(url).content.decode()
    assert "主管部门审核：同意" in page


def test_the_head_is_told_what_is_missing(cast, browser):
    version = make_reviewed(cast)
    response = browser(cast.head).post(reverse("catalogue:review", args=[version.pk]), {"approved": "yes"})
    assert response.status_code == 400
    assert "没有完成" in response.content.decode()
    assert "第十三条" in response.content.decode()
    version.refresh_from_db()
    assert version.state == VersionState.HEAD_SIGNATURE


def test_returning_needs_a_reason_and_the_compiler_sees_it(cast, browser):
    version = make_signed(cast)
    url = reverse("catalogue:review", args=[version.pk])
    client = browser(cast.bureau)
    assert "没有写原因" in client.post(url, {"approved": "no", "opinion": ""}).content.decode()
    client.post(url, {"approved": "no", "opinion": "摘要太短"})
    page = browser(cast.operator).get(url).content.decode()
    assert "摘要太短" in page
    assert reverse("catalogue:edit", args=[version.pk]) in page


def test_the_authoritys_clock_stands_on_the_page(cast, browser):
    version = make_signed(cast)
    page = browser(cast.bureau).get(reverse("catalogue:review", args=[version.pk])).content.decode()
    assert "剩余<b>3</b>个工作日" in page
    assert "剩余<b>3</b>个工作日" in browser(cast.bureau).get(reverse("catalogue:review_list")).content.decode()


def test_who_compiled_it_is_told_why_they_cannot_review(cast, browser):
    version = make_submitted(cast)
    both = make_post(Role.DEPARTMENT_ADMINISTRATOR, cast.organisation, cast.operator.person)
    client = browser(both)
    assert "自己编制的目录" in client.get(reverse("catalogue:review", args=[version.pk])).content.decode()
    assert client.post(reverse("catalogue:review", args=[version.pk]), {"approved": "yes"}).status_code == 403
    assert AuditEvent.objects.filter(action="access.page.refuse", outcome="refused").exists()


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.HEAD, Role.BUREAU, Role.DEPARTMENT_ADMINISTRATOR])
def test_another_departments_work_is_not_found(cast, browser, role):
    version = make_submitted(cast)
    client = browser(make_post(role, make_organisation()))
    assert client.get(reverse("catalogue:review", args=[version.pk])).status_code == 404
    assert client.post(reverse("catalogue:review", args=[version.pk]), {"approved": "yes"}).status_code == 404
    assert EntryVersion.objects.get().state == VersionState.DEPARTMENT_REVIEW


def test_the_wrong_role_of_the_department_may_look_but_not_act(cast, browser):
    version = make_submitted(cast)
    client = browser(cast.head)
    assert client.get(reverse("catalogue:review", args=[version.pk])).status_code == 200
    assert client.post(reverse("catalogue:review", args=[version.pk]), {"approved": "yes"}).status_code == 409
    auditor = browser(make_post(Role.AUDITOR))
    assert auditor.get(reverse("catalogue:review", args=[version.pk])).status_code == 200
    assert auditor.post(reverse("catalogue:review", args=[version.pk]), {"approved": "yes"}).status_code == 403


def test_a_reviewer_sees_what_changed_against_the_published_version(cast, browser):
    entry = make_published(cast)
    draft = actions.start_revision(entry, by=cast.operator)
    actions.save_draft(
        draft, by=cast.operator, fields={"update_cycle": "weekly"}, items=[{"name": "新的一项", "data_type": "D"}]
    )
    page = browser(cast.administrator).get(reverse("catalogue:review", args=[draft.pk])).content.decode()
    assert "与第1版比较" in page
    assert "每周" in page
    assert "新的一项" in page


def test_the_list_costs_the_same_for_one_and_three(cast, browser, django_assert_num_queries):
    make_submitted(cast)
    client = browser(cast.administrator)
    client.get(reverse("catalogue:review_list"))
    with CaptureQueriesContext(connection) as one:
        client.get(reverse("catalogue:review_list"))
    make_submitted(cast)
    make_submitted(cast)
    make_draft(cast)
    with django_assert_num_queries(len(one)):
        client.get(reverse("catalogue:review_list"))
