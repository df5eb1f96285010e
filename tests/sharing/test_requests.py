"""The consumer's side of a request."""

from datetime import date

import pytest
from django.core.files.base import ContentFile

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.catalogue.enums import SharingCategory
from jinqiao.kernel.errors import InvalidInput, NotAllowed, WrongState
from jinqiao.sharing import actions, queries
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import (
    CaseNumberNeeded,
    EntryIsOwn,
    EntryNotPublished,
    FieldMissing,
    FieldTooLong,
    ItemsUnknown,
    LegalBasisNeeded,
    ModeUnknown,
    NotTheConsumer,
    OwnDraft,
    PeriodNotInOrder,
    PeriodOver,
    PurposeMissing,
    ReasonMissing,
    RequestNotInState,
    RoleMayNot,
)
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import ToDo
from tests.factories import make_post
from tests.sharing.factories import ITEMS, fields, make_parties, make_request, make_version

pytestmark = pytest.mark.django_db


def open_kinds(request):
    about = queries.about_request(request)
    return sorted(
        ToDo.objects.filter(about_type=about.type, about_id=about.id, done_at=None).values_list("kind", flat=True)
    )


def test_a_draft_keeps_what_was_filled_in_and_knows_its_entry(parties):
    request = make_request(parties)
    assert request.number == "SQ-2026-0001"
    assert request.state == RequestState.DRAFT
    assert (request.consumer, request.provider) == (parties.consumer, parties.provider)
    assert request.version == parties.entry.live_version
    assert request.items == ["xm", "sfzh", "djrq", "qh"]
    assert request.rule_set == "rules-2025"
    assert AuditEvent.objects.filter(action="sharing.request.draft", actor_name="周启明").exists()


def test_an_incomplete_draft_can_be_saved_and_completed(parties):
    request = make_request(parties, basis="", scenario="", scope="", purposes=[])
    with pytest.raises(FieldMissing):
        actions.submit_request(request, by=parties.asker)
    request = actions.save_request(request, by=parties.asker, fields=fields())
    assert actions.submit_request(request, by=parties.asker).state == RequestState.HEAD_APPROVAL


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"mode": "mail"}, ModeUnknown),
        ({"items": ["xm", "geheim"]}, ItemsUnknown),
        ({"use_from": None}, FieldMissing),
        ({"use_from": date(2027, 4, 1)}, PeriodNotInOrder),
        ({"row_scope": "范" * 501}, FieldTooLong),
        ({"basis": "依" * 4001}, FieldTooLong),
        ({"purposes": ["用" * 101]}, FieldTooLong),
        ({"purposes": [f"用途{n}" for n in range(21)]}, FieldTooLong),
    ],
)
def test_a_field_that_cannot_be_kept_is_refused_at_once(parties, change, error):
    with pytest.raises(error):
        make_request(parties, **change)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"basis": " "}, FieldMissing),
        ({"scenario": ""}, FieldMissing),
        ({"scope": ""}, FieldMissing),
        ({"purposes": []}, PurposeMissing),
        ({"purposes": [], "mode": "batch"}, PurposeMissing),
        ({"case_number_required": False}, CaseNumberNeeded),
        ({"use_from": date(2025, 1, 1), "use_until": date(2026, 3, 17)}, PeriodOver),
    ],
)
def test_a_request_is_not_submitted_without_what_the_regulation_asks_for(parties, change, error):
    request = make_request(parties, **change)
    with pytest.raises(error):
        actions.submit_request(request, by=parties.asker)
    request.refresh_from_db()
    assert request.state == RequestState.DRAFT


def test_items_that_are_not_sensitive_need_no_case_number(parties):
    request = make_request(parties, items=["djrq", "je"], case_number_required=False, row_filter=[])
    assert actions.submit_request(request, by=parties.asker).state == RequestState.HEAD_APPROVAL


@pytest.mark.parametrize(
    ("basis", "taken"),
    [
        ("工作需要", False),
        ("《关于加强协作的通知》第三条", False),
        ("《中华人民共和国反洗钱法》", False),
        ("《中华人民共和国反洗钱法》第十一条", True),
        ("《社会救助暂行办法》；《不动产登记暂行条例》第二十五条", True),
    ],
)
def test_what_is_not_shared_is_asked_for_only_on_the_basis_of_a_law(db, basis, taken):
    parties = make_parties(category=SharingCategory.NOT_SHARED)
    request = make_request(parties, basis=basis)
    if taken:
        assert actions.submit_request(request, by=parties.asker).state == RequestState.HEAD_APPROVAL
    else:
        with pytest.raises(LegalBasisNeeded):
            actions.submit_request(request, by=parties.asker)


def test_a_department_does_not_ask_itself(parties):
    with pytest.raises(EntryIsOwn):
        actions.draft_request(parties.entry, by=parties.clerk, fields=fields())


def test_only_a_published_entry_can_be_asked_for(parties):
    parties.entry.live_version = None
    with pytest.raises(EntryNotPublished):
        actions.draft_request(parties.entry, by=parties.asker, fields=fields())


@pytest.mark.parametrize("role", [Role.HEAD, Role.AUDITOR, Role.BUREAU, Role.SYSTEM_ADMINISTRATOR, Role.COUNTER])
def test_roles_that_do_not_draft_cannot_ask(parties, role):
    with pytest.raises(RoleMayNot):
        actions.draft_request(parties.entry, by=make_post(role, parties.consumer), fields=fields())


def test_another_department_cannot_touch_the_draft(parties):
    request = make_request(parties)
    for act in (
        lambda: actions.save_request(request, by=parties.clerk, fields=fields()),
        lambda: actions.submit_request(request, by=parties.clerk),
        lambda: actions.withdraw_request(request, by=parties.clerk, reason="误报"),
    ):
        with pytest.raises(NotTheConsumer):
            act()


def test_submission_puts_the_request_on_the_desk_of_the_own_head(parties):
    request = make_request(parties, RequestState.HEAD_APPROVAL)
    todo = ToDo.objects.get(kind="sharing.request.approve", done_at=None)
    assert (todo.organisation, todo.role) == (parties.consumer, Role.HEAD)
    assert request.number in todo.title


def test_a_draft_follows_the_entry_to_its_newly_published_version(parties):
    request = make_request(parties)
    newer = make_version(parties.entry, parties.clerk, items=ITEMS[:3], category=SharingCategory.UNCONDITIONAL)
    parties.entry.live_version = newer
    parties.entry.save()
    with pytest.raises(ItemsUnknown):
        actions.submit_request(request, by=parties.asker)
    request = actions.save_request(request, by=parties.asker, fields=fields(items=["xm"], row_filter=[]))
    assert (request.version, request.sharing_category) == (newer, SharingCategory.UNCONDITIONAL)


def test_the_head_sends_it_to_the_provider_and_its_clock_starts(parties):
    request = make_request(parties, RequestState.AWAITING_REPLY)
    clock = desk.running_clock(queries.about_request(request), "request.reply.conditional")
    # ten working days after Wednesday, 18 March 2026, reckoned by the State Council's calendar (清明 is 6 April)
    assert (clock.started_on, clock.due_on) == (date(2026, 3, 18), date(2026, 4, 1))
    assert clock.organisation == parties.provider
    todo = ToDo.objects.get(kind="sharing.request.reply", done_at=None)
    assert (todo.organisation, todo.role, todo.clock) == (parties.provider, Role.OPERATOR, clock)
    [signature] = desk.sign_offs(queries.about_request(request))
    assert (signature.person_name, signature.approved, signature.opinion) == ("何雅琴", True, "同意申请")


def test_unconditional_sharing_is_answered_within_one_working_day(db):
    parties = make_parties(category=SharingCategory.UNCONDITIONAL)
    request = make_request(parties, RequestState.AWAITING_REPLY)
    clock = desk.running_clock(queries.about_request(request), "request.reply.unconditional")
    assert clock.due_on == date(2026, 3, 19)


def test_before_the_regulation_unconditional_sharing_was_used_without_a_reply(db, monkeypatch):
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2025-07-31")
    parties = make_parties(category=SharingCategory.UNCONDITIONAL)
    request = make_request(
        parties, RequestState.AWAITING_REPLY, items=["djrq"], use_from=date(2025, 7, 1), use_until=date(2025, 12, 31)
    )
    assert (request.state, request.rule_set) == (RequestState.GRANTED, "rules-2016")
    assert request.grants.get().items[0]["code"] == "djrq"


def test_the_reply_follows_the_rule_set_of_the_day_of_receipt(db, monkeypatch):
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2025-07-31")
    parties = make_parties()
    request = make_request(parties, RequestState.HEAD_APPROVAL)
    assert request.rule_set == "rules-2016"
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2025-08-01")
    request = actions.approve_request(request, by=parties.consumer_head, approved=True)
    assert request.rule_set == "rules-2025"


def test_nothing_not_shared_has_a_clock(db):
    parties = make_parties(category=SharingCategory.NOT_SHARED)
    request = make_request(parties, RequestState.AWAITING_REPLY, basis="《中华人民共和国反洗钱法》第十一条")
    assert list(desk.clocks_of(queries.about_request(request))) == []
    assert open_kinds(request) == ["sharing.request.reply"]


def test_the_head_sends_it_back_with_an_opinion(parties):
    request = make_request(parties, RequestState.HEAD_APPROVAL)
    with pytest.raises(ReasonMissing):
        actions.approve_request(request, by=parties.consumer_head, approved=False)
    request = actions.approve_request(request, by=parties.consumer_head, approved=False, opinion="范围过宽")
    assert (request.state, request.return_reason) == (RequestState.DRAFT, "范围过宽")
    todo = ToDo.objects.get(kind="sharing.request.amend", done_at=None)
    assert todo.person == parties.asker.person
    request = actions.submit_request(request, by=parties.asker)
    assert (request.return_reason, open_kinds(request)) == ("", ["sharing.request.approve"])


@pytest.mark.parametrize("part", ["created_by", "edited_by", "submitted_by"])
def test_a_head_cannot_approve_his_own_request(parties, part):
    both = make_post(Role.OPERATOR, parties.consumer, person=parties.consumer_head.person)
    drafter, editor, submitter = ((both if part == name else parties.asker) for name in PARTS)
    request = actions.draft_request(parties.entry, by=drafter, fields=fields())
    request = actions.save_request(request, by=editor, fields=fields())
    request = actions.submit_request(request, by=submitter)
    with pytest.raises(OwnDraft):
        actions.approve_request(request, by=parties.consumer_head, approved=True)


PARTS = ("created_by", "edited_by", "submitted_by")


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.BUREAU, Role.LEADER])
def test_nobody_but_the_head_approves(parties, role):
    request = make_request(parties, RequestState.HEAD_APPROVAL)
    with pytest.raises(RoleMayNot):
        actions.approve_request(request, by=make_post(role, parties.consumer), approved=True)


def test_the_providers_head_cannot_approve_for_the_consumer(parties):
    request = make_request(parties, RequestState.HEAD_APPROVAL)
    with pytest.raises(NotTheConsumer):
        actions.approve_request(request, by=parties.provider_head, approved=True)


@pytest.mark.parametrize(
    "state",
    [
        RequestState.DRAFT,
        RequestState.HEAD_APPROVAL,
        RequestState.AWAITING_REPLY,
        RequestState.AWAITING_PAPERS,
    ],
)
def test_a_request_can_be_withdrawn_until_a_reply_lies_with_the_head(parties, state):
    request = actions.withdraw_request(make_request(parties, state), by=parties.asker, reason="改用统计数据")
    assert (request.state, request.withdrawn_reason) == (RequestState.WITHDRAWN, "改用统计数据")
    assert open_kinds(request) == []
    assert {clock.state for clock in desk.clocks_of(queries.about_request(request))} <= {"stopped"}


@pytest.mark.parametrize("state", [RequestState.REPLY_APPROVAL, RequestState.GRANTED, RequestState.REFUSED])
def test_an_answered_request_cannot_be_withdrawn(parties, state):
    request = make_request(parties, state)
    with pytest.raises(RequestNotInState):
        actions.withdraw_request(request, by=parties.asker, reason="改用统计数据")


def test_a_stale_page_cannot_act_twice(parties):
    request = make_request(parties, RequestState.HEAD_APPROVAL)
    actions.approve_request(request, by=parties.consumer_head, approved=True)
    with pytest.raises(RequestNotInState):
        actions.approve_request(request, by=parties.consumer_head, approved=True)


def test_papers_are_kept_with_the_request(parties):
    request = make_request(parties)
    actions.add_paper(request, by=parties.asker, name="权责清单.pdf", file=ContentFile(b"%PDF-1.7 list"))
    [attachment] = desk.attachments(queries.about_request(request))
    assert attachment.name == "权责清单.pdf"
    request = actions.submit_request(request, by=parties.asker)
    with pytest.raises(WrongState):
        actions.add_paper(request, by=parties.asker, name="晚到.pdf", file=ContentFile(b"%PDF-1.7 late"))


def test_refused_actions_leave_no_trace_of_change(parties):
    request = make_request(parties)
    events = AuditEvent.objects.count()
    with pytest.raises((NotAllowed, InvalidInput)):
        actions.submit_request(request, by=parties.bureau)
    assert AuditEvent.objects.count() == events
