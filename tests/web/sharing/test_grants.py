"""Pages of grants."""

import io

import openpyxl
import pytest
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.sharing import actions
from jinqiao.sharing.enums import GrantState
from jinqiao.sharing.models import Grant
from tests.factories import make_post
from tests.sharing.factories import make_grant

pytestmark = pytest.mark.django_db


@pytest.fixture
def grant(parties):
    return make_grant(parties)


def url(name, grant):
    return reverse(f"sharing:{name}", args=[grant.pk])


def test_the_page_shows_the_terms_and_that_they_are_unaltered(parties, browser, grant):
    shown = browser(parties.asker).get(url("grant", grant)).content.decode()
    assert "公民身份号码" in shown
    assert "遮蔽证件号码中段" in shown
    assert "区划代码 属于 620302、620321" in shown
    assert "内容与授权时一致" in shown
    assert "暂停授权</a>" not in shown


def test_the_head_suspends_the_authority_files_and_the_head_resumes(parties, browser, grant):
    head = browser(parties.provider_head)
    assert "暂停授权</a>" in head.get(url("grant", grant)).content.decode()
    assert "查询和交换随即停止" in head.get(url("grant_suspend", grant)).content.decode()
    assert head.post(url("grant_suspend", grant), {"reason": ""}).status_code == 400
    response = head.post(url("grant_suspend", grant), {"reason": "核查使用情况"}, follow=True)
    assert "核查使用情况" in response.content.decode()

    bureau = browser(parties.bureau)
    assert "予以备案" in bureau.get(url("grant", grant)).content.decode()
    bureau.post(url("grant_filing", grant))
    assert "予以备案" not in bureau.get(url("grant", grant)).content.decode()

    head.post(url("grant_resume", grant), {"reason": "核查无误"})
    grant.refresh_from_db()
    assert grant.state == GrantState.ACTIVE


def test_the_consumers_head_gives_it_up(parties, browser, grant):
    browser(parties.consumer_head).post(url("grant_revoke", grant), {"reason": "审核工作结束"})
    grant.refresh_from_db()
    assert grant.state == GrantState.REVOKED


@pytest.mark.parametrize("name", ["grant_suspend", "grant_revoke", "grant_change"])
def test_who_may_not_stop_or_change_a_grant_is_refused(parties, browser, grant, name):
    for post in (parties.asker, make_post(Role.AUDITOR), make_post(Role.DEVELOPER, parties.consumer)):
        assert browser(post).get(url(name, grant)).status_code == 403
    grant.refresh_from_db()
    assert grant.state == GrantState.ACTIVE


def test_narrower_terms_are_drafted_approved_and_replace_it(parties, browser, grant):
    clerk = browser(parties.clerk)
    form = clerk.get(url("grant_change", grant))
    assert next(str(value) for value, _ in form.context["form"].fields["mask_sfzh"].choices) == "identity_number"
    sent = {
        "items": ["xm", "sfzh"],
        "mask_xm": "name",
        "mask_sfzh": "identity_number",
        "valid_until": "2026-12-31",
        "reason": "只核对姓名",
        "rows-TOTAL_FORMS": "0",
        "rows-INITIAL_FORMS": "0",
    }
    assert clerk.post(url("grant_change", grant), {**sent, "valid_until": "2028-01-01"}).status_code == 400
    clerk.post(url("grant_change", grant), sent)
    assert "只核对姓名" not in browser(parties.asker).get(url("grant", grant)).content.decode()

    head = browser(parties.provider_head)
    assert "批准变更" in head.get(url("grant", grant)).content.decode()
    response = head.post(url("grant_change_approve", grant), {"approved": "yes"}, follow=True)
    new = Grant.objects.latest("id")
    assert f"新授权{new.number}生效" in response.content.decode()
    old = browser(parties.asker).get(url("grant", grant)).content.decode()
    assert f"已由授权{new.number}替代" in old
    assert "只核对姓名" in old


def test_a_change_not_approved_leaves_the_grant_as_it_was(parties, browser, grant):
    actions.propose_change(grant, by=parties.clerk, items=["xm"], reason="缩小")
    head = browser(parties.provider_head)
    assert head.post(url("grant_change_approve", grant), {"approved": "no"}).status_code == 400
    head.post(url("grant_change_approve", grant), {"approved": "no", "opinion": "不必"})
    grant.refresh_from_db()
    assert grant.state == GrantState.ACTIVE
    assert head.post(url("grant_change_approve", grant), {"approved": "yes"}).status_code == 409


def test_the_list_shows_each_side_its_own_and_exports(parties, browser, grant):
    listing = reverse("sharing:grants")
    assert grant.number in browser(parties.asker).get(listing).content.decode()
    client = browser(parties.clerk)
    assert grant.number not in client.get(listing).content.decode()
    assert grant.number in client.get(listing, {"side": "received"}).content.decode()
    workbook = openpyxl.load_workbook(
        io.BytesIO(b"".join(client.get(listing, {"side": "received", "export": "xlsx"}).streaming_content))
    )
    rows = list(workbook.active.iter_rows(values_only=True))
    assert rows[1][0] == grant.number
    workbook.close()


def test_the_list_costs_the_same_number_of_queries_however_long_it_is(
    parties, browser, django_assert_max_num_queries, grant
):
    client = browser(parties.asker)
    listing = reverse("sharing:grants")
    client.get(listing)
    with django_assert_max_num_queries(50) as one:
        client.get(listing)
    for _ in range(3):
        make_grant(parties)
    with django_assert_max_num_queries(len(one)):
        client.get(listing)
