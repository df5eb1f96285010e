"""Pages of the reply: drafting it, asking for papers, more time, the head's approval."""

import pytest
from django.urls import reverse

from jinqiao.sharing import actions
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.models import Grant
from tests.sharing.factories import make_grant, make_request

pytestmark = pytest.mark.django_db

NO_ROWS = {"rows-TOTAL_FORMS": "0", "rows-INITIAL_FORMS": "0"}


@pytest.fixture
def received(parties):
    return make_request(parties, RequestState.AWAITING_REPLY)


def url(name, found):
    return reverse(f"sharing:{name}", args=[found.pk])


def test_the_reply_is_drafted_item_by_item_and_approved(parties, browser, received):
    clerk = browser(parties.clerk)
    form = clerk.get(url("decide", received))
    shown = form.content.decode()
    assert 'value="identity_number" selected' in shown
    assert "不是文字，原样提供" in shown
    assert form.context["form"]["valid_until"].value() == received.use_until

    clerk.post(
        url("decide", received),
        {
            "reply": "agree",
            "items": ["xm", "sfzh"],
            "mask_xm": "none",
            "mask_sfzh": "identity_number",
            "mask_qh": "hidden",
            "valid_until": "2026-12-31",
            "reason": "登记日期不必要",
            "rows-TOTAL_FORMS": "1",
            "rows-INITIAL_FORMS": "0",
            "rows-0-item": "djrq",
            "rows-0-operator": "ge",
            "rows-0-values": "2010-01-01",
        },
    )
    received.refresh_from_db()
    assert received.state == RequestState.REPLY_APPROVAL

    head = browser(parties.provider_head)
    shown = head.get(url("request", received)).content.decode()
    assert "登记日期 不小于 2010-01-01" in shown
    assert "遮蔽证件号码中段" in shown
    response = head.post(url("decide_approve", received), {"approved": "yes", "opinion": "同意"}, follow=True)
    grant = Grant.objects.get()
    assert f"授权{grant.number}生效" in response.content.decode()
    assert {item["code"]: item["mask"] for item in grant.items} == {"xm": "none", "sfzh": "identity_number"}


def test_a_refusal_is_chosen_from_the_articles_of_the_rule_set(parties, browser, received):
    clerk = browser(parties.clerk)
    assert (
        "《政务数据共享条例》第二十五条：超出履行职责所需的范围" in clerk.get(url("decide", received)).content.decode()
    )
    refusal = {"reply": "refuse", "article": "", "reason": "不便提供", **NO_ROWS}
    response = clerk.post(url("decide", received), refusal)
    assert response.status_code == 400
    assert response.context["form"].errors["article"]
    assert clerk.post(url("decide", received), {**refusal, "article": "own-custom"}).status_code == 400
    response = clerk.post(url("decide", received), {**refusal, "article": "article-25", "reason": ""})
    assert response.context["form"].errors["reason"]
    clerk.post(url("decide", received), {**refusal, "article": "article-25"})
    browser(parties.provider_head).post(url("decide_approve", received), {"approved": "yes"})
    shown = browser(parties.asker).get(url("request", received)).content.decode()
    assert "超出履行职责所需的范围" in shown
    assert "不便提供" in shown


def test_papers_are_asked_for_once_and_then_no_longer_offered(parties, browser, received):
    clerk = browser(parties.clerk)
    response = clerk.post(url("decide", received), {"reply": "ask", "missing": "", **NO_ROWS})
    assert response.context["form"].errors["missing"]
    clerk.post(url("decide", received), {"reply": "ask", "missing": "权责清单复印件", **NO_ROWS})
    received.refresh_from_db()
    assert received.state == RequestState.AWAITING_PAPERS
    actions.supply_papers(received, by=parties.asker, note="已补")
    assert 'value="ask"' not in clerk.get(url("decide", received)).content.decode()
    response = clerk.post(url("decide", received), {"reply": "ask", "missing": "再要", **NO_ROWS})
    assert response.context["form"].errors["reply"]


def test_a_reply_sent_back_comes_up_as_it_was(parties, browser, received):
    actions.draft_decision(received, by=parties.clerk, agrees=False, article="article-25", reason="不需要这么多")
    browser(parties.provider_head).post(url("decide_approve", received), {"approved": "no", "opinion": "部分同意即可"})
    clerk = browser(parties.clerk)
    assert "部分同意即可" in clerk.get(url("request", received)).content.decode()
    assert "部分同意即可" not in browser(parties.asker).get(url("request", received)).content.decode()
    form = clerk.get(url("decide", received)).context["form"]
    assert (form["reply"].value(), form["article"].value(), form["reason"].value()) == (
        "refuse",
        "article-25",
        "不需要这么多",
    )


def test_more_time_is_asked_for_and_consented_to(parties, browser, received):
    clerk = browser(parties.clerk)
    assert "申请延期" in clerk.get(url("request", received)).content.decode()
    response = clerk.post(url("request_extension", received), {"days": "11", "reason": "须与省厅核对"})
    assert response.context["form"].errors["days"]
    clerk.post(url("request_extension", received), {"days": "5", "reason": "须与省厅核对"})
    bureau = browser(parties.bureau)
    assert "同意延期" in bureau.get(url("request", received)).content.decode()
    bureau.post(url("request_extension_decide", received), {"approved": "yes", "opinion": "同意"})
    shown = browser(parties.asker).get(url("request", received)).content.decode()
    assert "答复期限延长5个工作日" in shown


def test_the_consumer_cannot_open_the_reply(parties, browser, received):
    assert browser(parties.asker).get(url("decide", received)).status_code == 403
    assert browser(parties.consumer_head).post(url("decide_approve", received), {"approved": "yes"}).status_code == 403


def test_the_request_is_compared_with_the_grant_that_runs(parties, browser):
    old = make_grant(parties, items=["xm"])
    found = make_request(parties, RequestState.AWAITING_REPLY)
    shown = browser(parties.clerk).get(url("request", found)).content.decode()
    assert old.number in shown
    assert "扩大" in shown
