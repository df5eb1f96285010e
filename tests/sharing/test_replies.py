"""The provider's side of a request."""

import hashlib
from datetime import date

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.kernel.rulesets import ArticleUnknown
from jinqiao.sharing import actions, queries, signals, terms
from jinqiao.sharing.actions.replies import decision_content
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import (
    EntryNotPublished,
    ItemsBeyondRequest,
    ItemsNoLongerPublished,
    MaskNotFitting,
    NotTheProvider,
    OwnDraft,
    PapersAlreadyAsked,
    PapersNotNamed,
    PartyToRequest,
    PeriodOver,
    ReasonMissing,
    RefusalReasonMissing,
    RequestNotInState,
    RoleMayNot,
    ValidityBeyondRequest,
)
from jinqiao.sharing.models import Decision, Grant
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import ToDo
from tests.factories import make_organisation, make_post
from tests.sharing.factories import ITEMS, make_request, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def request_received(parties):
    return make_request(parties, RequestState.AWAITING_REPLY)


def test_an_agreement_approved_by_the_head_makes_a_grant(parties, request_received):
    decision = actions.draft_decision(
        request_received,
        by=parties.clerk,
        agrees=True,
        items=["xm", "sfzh", "qh"],
        masks={"xm": "name"},
        row_filter=[{"item": "djrq", "operator": "ge", "values": ["2010-01-01"]}],
        valid_until=date(2026, 12, 31),
        reason="登记日期不必要",
    )
    assert decision.masks == {"xm": "name", "sfzh": "identity_number", "qh": "none"}
    grant = actions.approve_decision(request_received, by=parties.provider_head, approved=True, opinion="同意")
    assert grant is not None
    assert grant.number == "SQ-2026-0001/1"
    assert [(item["code"], item["mask"]) for item in grant.items] == [
        ("xm", "name"),
        ("sfzh", "identity_number"),
        ("qh", "none"),
    ]
    assert grant.items[1] == {
        "code": "sfzh",
        "name": "公民身份号码",
        "data_type": "C",
        "length": 18,
        "scale": None,
        "mask": "identity_number",
    }
    assert grant.row_filter == [
        {"item": "qh", "operator": "in", "values": ["620302", "620321"]},
        {"item": "djrq", "operator": "ge", "values": ["2010-01-01"]},
    ]
    assert (grant.valid_from, grant.valid_until) == (date(2026, 4, 1), date(2026, 12, 31))
    assert (grant.purposes, grant.case_number_required) == (["公租房资格审核"], True)
    assert queries.is_unaltered(grant)
    request_received.refresh_from_db()
    assert request_received.state == RequestState.GRANTED
    signers = [
        (signature.role, signature.person_name) for signature in desk.sign_offs(queries.about_request(request_received))
    ]
    assert signers == [(Role.HEAD, "何雅琴"), (Role.HEAD, "王海峰")]


def test_the_reply_stops_its_clock_and_starts_the_one_of_provision(parties, request_received):
    actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    grant = actions.approve_decision(request_received, by=parties.provider_head, approved=True)
    [reply] = desk.clocks_of(queries.about_request(request_received))
    assert reply.state == "stopped"
    [provision] = desk.clocks_of(queries.about_grant(grant))
    assert (provision.key, provision.organisation, provision.due_on) == (
        "grant.provision",
        parties.provider,
        date(2026, 4, 16),
    )
    [todo] = ToDo.objects.filter(done_at=None, organisation=parties.provider)
    assert todo.kind == "sharing.grant.provide"


def test_a_grant_is_announced_inside_the_transaction_so_that_a_failing_listener_undoes_it(parties, request_received):
    class ListenerFailed(Exception):
        pass

    def fail(sender, grant, by, **_):
        assert (grant.pk, by) == (Grant.objects.get().pk, parties.provider_head)
        raise ListenerFailed

    actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    signals.grant_made.connect(fail)
    try:
        with pytest.raises(ListenerFailed):
            actions.approve_decision(request_received, by=parties.provider_head, approved=True)
    finally:
        signals.grant_made.disconnect(fail)
    request_received.refresh_from_db()
    assert (request_received.state, Grant.objects.count()) == (RequestState.REPLY_APPROVAL, 0)


def test_a_refusal_cites_an_article_of_the_rule_set_and_its_reason(parties, request_received):
    with pytest.raises(ArticleUnknown):
        actions.draft_decision(request_received, by=parties.clerk, agrees=False, article="我局惯例", reason="不便提供")
    with pytest.raises(RefusalReasonMissing):
        actions.draft_decision(request_received, by=parties.clerk, agrees=False, article="article-25", reason=" ")
    actions.draft_decision(
        request_received, by=parties.clerk, agrees=False, article="article-25", reason="公租房审核不需要证件号码"
    )
    assert actions.approve_decision(request_received, by=parties.provider_head, approved=True) is None
    request_received.refresh_from_db()
    assert (request_received.state, Grant.objects.count()) == (RequestState.REFUSED, 0)
    article = queries.refusal_article(request_received)
    assert article is not None
    assert article.clause == "《政务数据共享条例》第二十五条"
    assert not ToDo.objects.filter(done_at=None).exists()


def test_the_head_sends_a_reply_back_and_it_is_drafted_anew(parties, request_received):
    actions.draft_decision(request_received, by=parties.clerk, agrees=False, article="article-25", reason="不需要")
    with pytest.raises(ReasonMissing):
        actions.approve_decision(request_received, by=parties.provider_head, approved=False)
    actions.approve_decision(request_received, by=parties.provider_head, approved=False, opinion="可以部分同意")
    request_received.refresh_from_db()
    assert request_received.state == RequestState.AWAITING_REPLY
    actions.draft_decision(request_received, by=parties.clerk, agrees=True, items=["xm"])
    assert Decision.objects.get().article == ""
    grant = actions.approve_decision(request_received, by=parties.provider_head, approved=True)
    assert [item["code"] for item in grant.items] == ["xm"]


def test_only_what_was_asked_for_can_be_agreed_to(parties, request_received):
    with pytest.raises(ItemsBeyondRequest):
        actions.draft_decision(request_received, by=parties.clerk, agrees=True, items=["xm", "je"])


def test_a_date_cannot_be_masked(parties, request_received):
    with pytest.raises(MaskNotFitting):
        actions.draft_decision(request_received, by=parties.clerk, agrees=True, masks={"djrq": "hidden"})


@pytest.mark.parametrize("until", [date(2027, 4, 1), date(2026, 3, 31)])
def test_a_grant_ends_within_the_period_asked_for(parties, request_received, until):
    with pytest.raises(ValidityBeyondRequest):
        actions.draft_decision(request_received, by=parties.clerk, agrees=True, valid_until=until)


def test_a_batch_is_granted_unmasked_unless_said_otherwise(parties):
    request = make_request(parties, RequestState.AWAITING_REPLY, mode="batch")
    actions.draft_decision(request, by=parties.clerk, agrees=True)
    grant = actions.approve_decision(request, by=parties.provider_head, approved=True)
    assert {item["mask"] for item in grant.items} == {"none"}


def test_an_entry_withdrawn_meanwhile_can_no_longer_be_granted(parties, request_received):
    actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    parties.entry.withdrawn_at = request_received.created_at
    parties.entry.save()
    with pytest.raises(EntryNotPublished):
        actions.approve_decision(request_received, by=parties.provider_head, approved=True)


def test_items_dropped_from_the_entry_meanwhile_can_no_longer_be_granted(parties, request_received):
    parties.entry.live_version = make_version(parties.entry, parties.clerk, items=ITEMS[:2])
    parties.entry.save()
    with pytest.raises(ItemsNoLongerPublished):
        actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    actions.draft_decision(request_received, by=parties.clerk, agrees=True, items=["xm"])


def test_a_period_that_ran_out_while_waiting_makes_no_grant(parties, request_received, monkeypatch):
    actions.draft_decision(request_received, by=parties.clerk, agrees=True, valid_until=date(2026, 4, 2))
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-03")
    with pytest.raises(PeriodOver):
        actions.approve_decision(request_received, by=parties.provider_head, approved=True)


def test_papers_are_asked_for_once_and_the_clock_waits_for_them(parties, request_received, monkeypatch):
    about = queries.about_request(request_received)
    with pytest.raises(PapersNotNamed):
        actions.ask_for_papers(request_received, by=parties.clerk, missing=" ")
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-03-20")
    request = actions.ask_for_papers(request_received, by=parties.clerk, missing="权责清单复印件")
    clock = desk.running_clock(about, "request.reply.conditional")
    assert (request.state, clock.state) == (RequestState.AWAITING_PAPERS, "paused")
    todo = ToDo.objects.get(kind="sharing.request.papers", done_at=None)
    assert (todo.person, todo.clock.key, todo.clock.due_on) == (
        parties.asker.person,
        "request.papers",
        date(2026, 3, 27),
    )
    with pytest.raises(RequestNotInState):
        actions.draft_decision(request, by=parties.clerk, agrees=True)

    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-03-25")
    request = actions.supply_papers(request, by=parties.asker, note="权责清单第12项复印件已上传")
    clock.refresh_from_db()
    # three working days waited for papers: due on 1 April, now on 7 April, past the holiday of the 6th
    assert (request.state, clock.state, clock.due_on) == (RequestState.AWAITING_REPLY, "running", date(2026, 4, 7))
    assert desk.running_clock(about, "request.papers") is None
    with pytest.raises(PapersAlreadyAsked):
        actions.ask_for_papers(request, by=parties.clerk, missing="还要一份介绍信")


def test_another_department_cannot_answer(parties, request_received):
    stranger = make_post(Role.OPERATOR, make_organisation())
    with pytest.raises(NotTheProvider):
        actions.draft_decision(request_received, by=stranger, agrees=True)
    with pytest.raises(NotTheProvider):
        actions.ask_for_papers(request_received, by=parties.asker, missing="材料")


@pytest.mark.parametrize("role", [Role.HEAD, Role.AUDITOR, Role.COUNTER, Role.SECURITY_ADMINISTRATOR])
def test_roles_without_casework_do_not_draft_replies(parties, request_received, role):
    with pytest.raises(RoleMayNot):
        actions.draft_decision(request_received, by=make_post(role, parties.provider), agrees=True)


def test_a_head_cannot_approve_the_reply_he_drafted(parties, request_received):
    drafting = make_post(Role.DEPARTMENT_ADMINISTRATOR, parties.provider, person=parties.provider_head.person)
    actions.draft_decision(request_received, by=drafting, agrees=True)
    with pytest.raises(OwnDraft):
        actions.approve_decision(request_received, by=parties.provider_head, approved=True)


def test_who_approved_for_the_consumer_cannot_answer_for_the_provider(parties, request_received):
    both = parties.consumer_head.person
    with pytest.raises(PartyToRequest):
        actions.draft_decision(
            request_received, by=make_post(Role.OPERATOR, parties.provider, person=both), agrees=True
        )
    actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    with pytest.raises(PartyToRequest):
        actions.approve_decision(
            request_received, by=make_post(Role.HEAD, parties.provider, person=both), approved=True
        )


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU])
def test_nobody_but_the_providers_head_approves_a_reply(parties, request_received, role):
    actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    with pytest.raises(RoleMayNot):
        actions.approve_decision(request_received, by=make_post(role, parties.provider), approved=True)
    with pytest.raises(NotTheProvider):
        actions.approve_decision(request_received, by=parties.consumer_head, approved=True)


def test_what_the_heads_signed_is_exactly_this_request_and_this_reply(parties, request_received):
    actions.draft_decision(request_received, by=parties.clerk, agrees=True)
    actions.approve_decision(request_received, by=parties.provider_head, approved=True)
    request_received.refresh_from_db()
    asked, answered = desk.sign_offs(queries.about_request(request_received))
    assert asked.digest == hashlib.sha256(terms.request_content(request_received)).hexdigest()
    content = decision_content(request_received, Decision.objects.get())
    assert answered.digest == hashlib.sha256(content).hexdigest()
