import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import ClassificationNode, EntryVersion
from tests.catalogue.factories import FIELDS, make_draft, make_published, make_reviewed, make_submitted
from tests.factories import make_organisation, make_post

pytestmark = pytest.mark.django_db

ITEMS = [
    {"name": "主体名称", "code": "ZTMC", "data_type": "C", "length": "200", "personal_information": "none"},
    {"name": "注册资本", "code": "", "data_type": "Y", "length": "16", "scale": "4", "personal_information": "none"},
]


def sent(items=ITEMS, then="submit", **fields):
    values = {**FIELDS, "node": ClassificationNode.objects.get(code="3070110403").pk, **fields}
    data = {name: value for name, value in values.items() if value not in (False, None)}
    data |= {"items-TOTAL_FORMS": str(len(items) + 1), "items-INITIAL_FORMS": "0", "then": then}
    for number, item in enumerate(items):
        data |= {f"items-{number}-{name}": value for name, value in item.items()}
    data[f"items-{len(items)}-personal_information"] = "none"
    return data


def test_an_entry_is_compiled_and_submitted_in_one_form(cast, browser):
    client = browser(cast.operator)
    assert client.get(reverse("catalogue:new")).status_code == 200
    response = client.post(reverse("catalogue:new"), sent(), follow=True)

    version = EntryVersion.objects.get()
    assert response.redirect_chain[-1][0] == reverse("catalogue:review", args=[version.pk])
    assert version.state == VersionState.DEPARTMENT_REVIEW
    assert [(item.name, item.code) for item in version.items.all()] == [("主体名称", "ZTMC"), ("注册资本", "ZCZB")]


def test_an_incomplete_draft_is_kept_and_what_is_missing_is_named(cast, browser):
    client = browser(cast.operator)
    response = client.post(
        reverse("catalogue:new"), sent(sharing_condition="", data_level="", items=[{"name": "甲", "data_type": "C"}])
    )

    page = response.content.decode()
    assert response.status_code == 400
    assert "有条件共享须写明条件" in page
    assert "条例》第十五条" in page
    assert "没有填数据长度" in page
    assert EntryVersion.objects.get().state == VersionState.DRAFT
    assert f'action="{reverse("catalogue:edit", args=[EntryVersion.objects.get().pk])}"' in page


def test_five_rows_more_without_a_script_and_nothing_is_lost(cast, browser):
    response = browser(cast.operator).post(reverse("catalogue:new"), sent(then="more", volume_gb="十二"))

    assert response.status_code == 200
    page = response.content.decode()
    assert 'name="items-7-name"' in page
    assert 'value="主体名称"' in page
    assert 'value="十二"' in page
    assert EntryVersion.objects.count() == 0


def test_wrong_values_stay_in_the_form_with_their_error(cast, browser):
    response = browser(cast.operator).post(
        reverse("catalogue:new"), sent(then="save", volume_gb="12G", items=[{"name": "甲", "code": "1-A"}])
    )
    assert response.status_code == 400
    assert 'value="12G"' in response.content.decode()
    response = browser(cast.operator).post(
        reverse("catalogue:new"), sent(then="save", items=[{"name": "甲", "code": "1-A"}])
    )
    assert "不能用作列名" in response.content.decode()
    assert EntryVersion.objects.count() == 0


def test_what_is_marked_as_secret_is_refused_at_the_form(cast, browser):
    response = browser(cast.operator).post(reverse("catalogue:new"), sent(then="save", abstract="【机密】名单"))
    assert response.status_code == 400
    assert "标明是涉密内容" in response.content.decode()
    assert EntryVersion.objects.count() == 0
    assert AuditEvent.objects.filter(action="catalogue.secrecy.refuse").count() == 1


def test_a_draft_is_changed_and_saved(cast, browser):
    version = make_draft(cast)
    client = browser(cast.operator)
    page = client.get(reverse("catalogue:edit", args=[version.pk]))
    assert page.status_code == 200
    assert "TYSHXYDM" in page.content.decode()
    client.post(reverse("catalogue:edit", args=[version.pk]), sent(then="save", name="企业登记信息"))
    version.refresh_from_db()
    assert (version.name, version.items.count(), version.state) == ("企业登记信息", 2, VersionState.DRAFT)


def test_submitting_from_the_record_shows_what_is_missing(cast, browser):
    version = make_draft(cast, data_level="")
    response = browser(cast.operator).post(reverse("catalogue:edit_submit", args=[version.pk]))
    assert response.status_code == 400
    assert "条例》第十三条" in response.content.decode()
    EntryVersion.objects.filter(pk=version.pk).update(data_level="2")
    assert browser(cast.operator).post(reverse("catalogue:edit_submit", args=[version.pk])).status_code == 302


def test_a_new_version_begins_from_the_published_one(cast, browser):
    entry = make_published(cast)
    client = browser(cast.operator)
    assert client.get(reverse("catalogue:entry_revise", args=[entry.pk])).status_code == 200
    response = client.post(
        reverse("catalogue:entry_revise", args=[entry.pk]), {"changed_on": "2026-03-10"}, follow=True
    )
    assert response.status_code == 200
    assert 'name="node"' not in response.content.decode()
    draft = entry.versions.get(state=VersionState.DRAFT)
    page = client.get(reverse("catalogue:review", args=[draft.pk])).content.decode()
    assert 'class="clock"' in page
    client.post(reverse("catalogue:edit_discard", args=[draft.pk]))
    draft.refresh_from_db()
    assert draft.state == VersionState.WITHDRAWN


def test_who_may_not_compile_cannot_enter_and_cannot_touch_another_departments_draft(cast, browser):
    version = make_draft(cast)
    for post in (
        cast.administrator,
        cast.head,
        cast.bureau,
        make_post(Role.AUDITOR),
        make_post(Role.SYSTEM_ADMINISTRATOR),
    ):
        assert browser(post).get(reverse("catalogue:new")).status_code == 403
        assert browser(post).get(reverse("catalogue:edit", args=[version.pk])).status_code == 403
    stranger = browser(make_post(Role.OPERATOR, make_organisation()))
    assert stranger.get(reverse("catalogue:edit", args=[version.pk])).status_code == 404
    assert stranger.post(reverse("catalogue:edit_submit", args=[version.pk])).status_code == 404
    submitted = make_submitted(cast)
    assert browser(cast.operator).get(reverse("catalogue:edit", args=[submitted.pk])).status_code == 409


def test_my_departments_list_shows_every_state_and_goes_out_as_a_workbook(cast, browser, django_assert_max_num_queries):
    make_published(cast, name="企业注册登记信息")
    make_reviewed(cast, name="企业年报信息")
    make_draft(cast, name="企业信用信息")
    client = browser(cast.administrator)
    page = client.get(reverse("catalogue:mine")).content.decode()
    assert all(name in page for name in ("企业注册登记信息", "企业年报信息", "企业信用信息"))
    only = client.get(reverse("catalogue:mine"), {"state": "draft"})
    assert [row["version"].name for row in only.context["rows"]] == ["企业信用信息"]
    assert client.get(reverse("catalogue:mine"), {"export": "xlsx"}).status_code == 200
    with django_assert_max_num_queries(16):
        client.get(reverse("catalogue:mine"))


def test_withdrawing_asks_first_and_needs_a_reason(cast, browser):
    entry = make_published(cast)
    client = browser(cast.administrator)
    url = reverse("catalogue:entry_withdraw", args=[entry.pk])
    assert "代码不再使用" in client.get(url).content.decode()
    assert client.post(url, {"reason": ""}).status_code == 400
    assert client.post(url, {"reason": "职能划转"}).status_code == 302
    entry.refresh_from_db()
    assert entry.withdrawn_at is not None
    assert browser(cast.operator).get(reverse("catalogue:entry", args=[entry.pk])).status_code == 200
    assert browser(make_post(Role.OPERATOR)).get(reverse("catalogue:entry", args=[entry.pk])).status_code == 404
