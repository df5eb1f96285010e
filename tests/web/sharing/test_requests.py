"""Pages of requests: lists, record, drafting, approval, papers, withdrawal."""

import io

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent, Outcome
from jinqiao.sharing import actions
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.models import SharingRequest
from jinqiao.web.sharing.roles import STAFF_ROLES, VIEWERS
from tests.factories import make_organisation, make_post
from tests.sharing.factories import make_grant, make_request

pytestmark = pytest.mark.django_db

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


def page(pk):
    return reverse("sharing:request", args=[pk])


def filled(**changes):
    """What the form sends for a complete request with one row condition."""
    return {
        "items": ["xm", "sfzh"],
        "basis": "《公共租赁住房管理办法》第七条",
        "scenario": "审核公租房资格",
        "scope": "住房保障科",
        "mode": "interface",
        "purposes": "公租房资格审核\n年度复核\n",
        "case_number_required": "on",
        "row_scope": "金川区的登记",
        "use_from": "2026-04-01",
        "use_until": "2027-03-31",
        "rows-TOTAL_FORMS": "2",
        "rows-INITIAL_FORMS": "0",
        "rows-0-item": "qh",
        "rows-0-operator": "in",
        "rows-0-values": "620302、620321",
        "rows-1-item": "",
        "rows-1-operator": "eq",
        "rows-1-values": "",
        **changes,
    }


def test_a_request_is_filled_in_from_an_entry_and_submitted(parties, browser):
    client = browser(parties.asker)
    url = reverse("sharing:new", args=[parties.entry.pk])
    shown = client.get(url).content.decode()
    assert "公民身份号码" in shown
    assert "敏感个人信息" in shown

    paper = SimpleUploadedFile("权责清单.pdf", PDF, content_type="application/pdf")
    response = client.post(url, {**filled(), "then": "submit", "papers": [paper]})

    found = SharingRequest.objects.get()
    assert response.url == page(found.pk)
    assert found.state == RequestState.HEAD_APPROVAL
    assert found.items == ["xm", "sfzh"]
    assert found.purposes == ["公租房资格审核", "年度复核"]
    assert found.row_filter == [{"item": "qh", "operator": "in", "values": ["620302", "620321"]}]
    shown = client.get(response.url).content.decode()
    assert "权责清单.pdf" in shown
    assert "区划代码 属于 620302、620321" in shown


def test_a_draft_is_kept_incomplete_and_completed_later(parties, browser):
    client = browser(parties.asker)
    client.post(reverse("sharing:new", args=[parties.entry.pk]), {**filled(basis=""), "then": "save"})
    found = SharingRequest.objects.get()
    assert found.state == RequestState.DRAFT

    response = client.post(reverse("sharing:request_submit", args=[found.pk]), follow=True)
    assert "申请缺少“使用依据”" in response.content.decode()

    edit = reverse("sharing:request_edit", args=[found.pk])
    assert "审核公租房资格" in client.get(edit).content.decode()
    client.post(edit, {**filled(), "then": "submit"})
    found.refresh_from_db()
    assert found.state == RequestState.HEAD_APPROVAL


def test_what_is_wrong_is_said_with_clause_and_mend_and_nothing_is_kept(parties, browser):
    client = browser(parties.asker)
    url = reverse("sharing:new", args=[parties.entry.pk])
    response = client.post(url, {**filled(case_number_required=""), "then": "submit"})

    shown = response.content.decode()
    assert response.status_code == 400
    assert "查询须逐笔带业务编号。个人信息保护法第二十八条。勾选“查询须有业务编号”" in shown
    assert 'value="sfzh" id="items-sfzh" checked' in shown
    assert not SharingRequest.objects.exists()
    assert client.post(url, {**filled(), "rows-0-item": "djrq", "then": "submit"}).status_code == 400
    assert client.post(url, {**filled(), "use_until": "明年", "then": "submit"}).status_code == 400


def test_the_own_entry_cannot_be_asked_for(parties, browser):
    response = browser(parties.clerk).get(reverse("sharing:new", args=[parties.entry.pk]))
    assert response.status_code == 400
    assert "由本部门提供" in response.content.decode()


def test_the_head_approves_and_the_provider_finds_it_in_its_list(parties, browser):
    found = make_request(parties, RequestState.HEAD_APPROVAL)
    head = browser(parties.consumer_head)
    assert "批准申请" in head.get(page(found.pk)).content.decode()
    assert browser(parties.clerk).get(page(found.pk)).status_code == 404

    response = head.post(
        reverse("sharing:request_approve", args=[found.pk]), {"approved": "yes", "opinion": "同意"}, follow=True
    )
    assert "已批准，申请已送提供部门" in response.content.decode()
    listed = browser(parties.clerk).get(reverse("sharing:requests") + "?side=received").content.decode()
    assert found.number in listed
    assert "剩余<b>11</b>个工作日" in listed


def test_a_return_needs_an_opinion(parties, browser):
    found = make_request(parties, RequestState.HEAD_APPROVAL)
    head = browser(parties.consumer_head)
    url = reverse("sharing:request_approve", args=[found.pk])
    response = head.post(url, {"approved": "no", "opinion": ""})
    assert response.status_code == 400
    assert "没有写明理由" in response.content.decode()
    head.post(url, {"approved": "no", "opinion": "范围过宽"})
    assert "范围过宽" in browser(parties.asker).get(page(found.pk)).content.decode()


def test_a_head_reads_why_his_own_draft_waits_for_somebody_else(parties, browser):
    own = make_post(Role.OPERATOR, parties.consumer, person=parties.consumer_head.person)
    found = actions.submit_request(make_request(parties), by=own)
    shown = browser(parties.consumer_head).get(page(found.pk)).content.decode()
    assert "是本人起草的，不能由本人审批" in shown
    assert "批准申请</button>" not in shown
    response = browser(parties.consumer_head).post(
        reverse("sharing:request_approve", args=[found.pk]), {"approved": "yes"}
    )
    assert response.status_code == 403
    refusal = AuditEvent.objects.get(outcome=Outcome.REFUSED)
    assert refusal.details["code"] == "sharing.approval.own_draft"


def test_papers_are_handed_in_on_the_page_and_read_by_the_provider(parties, browser):
    found = make_request(parties, RequestState.AWAITING_PAPERS)
    client = browser(parties.asker)
    assert "权责清单复印件" in client.get(page(found.pk)).content.decode()
    url = reverse("sharing:request_papers", args=[found.pk])
    assert client.post(url, {"note": ""}).status_code == 400
    paper = SimpleUploadedFile("清单.pdf", PDF, content_type="application/pdf")
    client.post(url, {"note": "清单已补", "papers": [paper]})
    found.refresh_from_db()
    assert found.state == RequestState.AWAITING_REPLY

    provider = browser(parties.clerk)
    shown = provider.get(page(found.pk))
    [attachment] = shown.context["papers"]
    download = provider.get(reverse("sharing:request_paper", args=[found.pk, attachment.pk]))
    assert b"".join(download.streaming_content) == PDF
    assert browser(make_post(Role.OPERATOR)).get(
        reverse("sharing:request_paper", args=[found.pk, attachment.pk])
    ).status_code == 404  # fmt: skip


def test_a_file_that_is_not_what_it_says_is_refused_beside_its_field(parties, browser):
    client = browser(parties.asker)
    paper = SimpleUploadedFile("清单.pdf", b"MZ not a pdf", content_type="application/pdf")
    response = client.post(
        reverse("sharing:new", args=[parties.entry.pk]), {**filled(), "then": "save", "papers": [paper]}
    )
    assert response.status_code == 400
    assert response.context["form"].errors["papers"]
    assert not SharingRequest.objects.exists()


def test_a_request_is_withdrawn_after_a_page_that_says_what_stays(parties, browser):
    found = make_request(parties, RequestState.AWAITING_REPLY)
    client = browser(parties.asker)
    url = reverse("sharing:request_withdraw", args=[found.pk])
    assert "不撤回" in client.get(url).content.decode()
    client.post(url, {"reason": "改用统计数据"})
    found.refresh_from_db()
    assert found.state == RequestState.WITHDRAWN
    assert "改用统计数据" in browser(parties.clerk).get(page(found.pk)).content.decode()


@pytest.mark.parametrize("state", list(RequestState))
@pytest.mark.parametrize("who", ["asker", "consumer_head", "clerk", "provider_head", "bureau"])
def test_the_page_shows_in_every_state_to_everybody_who_has_a_part_in_it(parties, browser, state, who):
    found = make_request(parties, state)
    is_received = state not in (RequestState.DRAFT, RequestState.HEAD_APPROVAL)
    sees = who in ("asker", "consumer_head") or is_received or (who == "bureau" and state != RequestState.DRAFT)
    response = browser(getattr(parties, who)).get(page(found.pk))
    assert response.status_code == (200 if sees else 404)


@pytest.mark.parametrize("role", Role)
def test_another_department_gets_no_request_and_no_list_of_others(parties, browser, role):
    grant = make_grant(parties)
    client = browser(make_post(role, make_organisation()))
    sees_all = role in (Role.BUREAU, Role.AUDITOR)
    hidden = 404 if role in VIEWERS else 403
    assert client.get(page(grant.request_id)).status_code == (200 if sees_all else hidden)
    assert client.get(reverse("sharing:grant", args=[grant.pk])).status_code == (200 if sees_all else hidden)
    listed = client.get(reverse("sharing:requests"))
    assert listed.status_code == (200 if role in VIEWERS else 403)
    assert (grant.request.number in listed.content.decode()) is sees_all


@pytest.mark.parametrize("role", set(Role) - set(STAFF_ROLES))
def test_only_staff_draft_requests_and_replies(parties, browser, role):
    found = make_request(parties, RequestState.AWAITING_REPLY)
    for organisation, name, pk in (
        (parties.consumer, "sharing:new", parties.entry.pk),
        (parties.provider, "sharing:decide", found.pk),
    ):
        response = browser(make_post(role, organisation)).get(reverse(name, args=[pk]))
        assert response.status_code == 403


def test_the_other_side_does_not_read_inner_steps(parties, browser):
    found = make_request(parties, RequestState.HEAD_APPROVAL)
    actions.approve_request(found, by=parties.consumer_head, approved=False, opinion="本方内部意见")
    actions.submit_request(found, by=parties.asker)
    actions.approve_request(found, by=parties.consumer_head, approved=True)
    actions.draft_decision(found, by=parties.clerk, agrees=False, article="article-25", reason="草拟的理由")

    provider = browser(parties.clerk).get(page(found.pk)).content.decode()
    consumer = browser(parties.asker).get(page(found.pk)).content.decode()
    assert "本方内部意见" not in provider
    assert "本方内部意见" in consumer
    assert "草拟的理由" in provider
    assert "草拟的理由" not in consumer
    assert "拟办答复" not in consumer


def test_the_list_filters_and_exports(parties, browser):
    first = make_request(parties)
    second = make_request(parties, RequestState.HEAD_APPROVAL, mode="batch")
    client = browser(parties.asker)
    url = reverse("sharing:requests")
    listed = client.get(url, {"state": "draft"}).content.decode()
    assert first.number in listed
    assert second.number not in listed
    listed = client.get(url, {"q": second.number}).content.decode()
    assert second.number in listed
    assert first.number not in listed
    assert "没有符合条件的申请" in client.get(url, {"q": "没有这个"}).content.decode()
    workbook = openpyxl.load_workbook(
        io.BytesIO(b"".join(client.get(url, {"mode": "batch", "export": "xlsx"}).streaming_content))
    )
    rows = list(workbook.active.iter_rows(values_only=True))
    assert [row[0] for row in rows] == ["申请编号", second.number]
    workbook.close()


def test_the_list_costs_the_same_number_of_queries_however_long_it_is(parties, browser, django_assert_max_num_queries):
    client = browser(parties.clerk)
    url = reverse("sharing:requests") + "?side=received"
    make_request(parties, RequestState.AWAITING_REPLY)
    client.get(url)
    with django_assert_max_num_queries(50) as one:
        client.get(url)
    for _ in range(3):
        make_request(parties, RequestState.AWAITING_REPLY)
    with django_assert_max_num_queries(len(one)):
        client.get(url)


def test_the_page_of_a_request_speaks_english(parties, browser):
    found = make_request(parties, RequestState.REFUSED)
    client = browser(parties.asker)
    client.post(reverse("language"), {"language": "en", "next": "/"})
    shown = client.get(page(found.pk)).content.decode()
    assert "Beyond what the duty needs" in shown
