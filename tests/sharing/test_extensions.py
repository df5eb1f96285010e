"""More time for a reply: asked once, with the authority's consent, told to the consumer."""

from datetime import date

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation
from jinqiao.catalogue.enums import SharingCategory
from jinqiao.sharing import actions, queries
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import (
    AuthorityMissing,
    ExtensionNotPossible,
    ExtensionTooLong,
    NotTheAuthority,
    OwnDraft,
    ReasonMissing,
)
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import ToDo
from tests.factories import make_post
from tests.sharing.factories import make_parties, make_request

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(parties):
    request = make_request(parties, RequestState.AWAITING_REPLY)
    return actions.ask_extension(request, by=parties.clerk, days=5, reason="须与省厅核对口径")


def test_consent_moves_the_due_date_and_the_consumer_is_told(parties, asked):
    todo = ToDo.objects.get(kind="sharing.extension.decide", done_at=None)
    assert (todo.organisation, todo.role) == (parties.bureau.organisation, Role.BUREAU)
    actions.decide_extension(asked, by=parties.bureau, approved=True, opinion="同意")
    clock = desk.running_clock(queries.about_request(asked), "request.reply.conditional")
    assert (clock.extended_by, clock.due_on) == (5, date(2026, 4, 9))
    told = ToDo.objects.get(kind="sharing.reply.extended", done_at=None)
    assert told.person == parties.asker.person
    assert [s.kind for s in desk.sign_offs(queries.about_request(asked))] == ["request_head", "extension_authority"]


def test_without_consent_the_date_stays(parties, asked):
    with pytest.raises(ReasonMissing):
        actions.decide_extension(asked, by=parties.bureau, approved=False)
    request = actions.decide_extension(asked, by=parties.bureau, approved=False, opinion="理由不足")
    clock = desk.running_clock(queries.about_request(request), "request.reply.conditional")
    assert (request.extension_consented, clock.due_on) == (False, date(2026, 4, 1))


def test_more_time_is_asked_for_once(parties, asked):
    with pytest.raises(ExtensionNotPossible):
        actions.ask_extension(asked, by=parties.clerk, days=1, reason="再延长")
    actions.decide_extension(asked, by=parties.bureau, approved=True)
    with pytest.raises(ExtensionNotPossible):
        actions.decide_extension(asked, by=parties.bureau, approved=True)


@pytest.mark.parametrize("days", [0, 11])
def test_an_extension_is_ten_working_days_at_most(parties, days):
    request = make_request(parties, RequestState.AWAITING_REPLY)
    with pytest.raises(ExtensionTooLong):
        actions.ask_extension(request, by=parties.clerk, days=days, reason="须与省厅核对口径")


def test_an_overdue_reply_and_an_unconditional_one_are_not_extended(parties, monkeypatch):
    quick = make_parties(category=SharingCategory.UNCONDITIONAL)
    request = make_request(quick, RequestState.AWAITING_REPLY)
    with pytest.raises(ExtensionNotPossible):
        actions.ask_extension(request, by=quick.clerk, days=1, reason="来不及")
    request = make_request(parties, RequestState.AWAITING_REPLY)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-02")
    with pytest.raises(ExtensionNotPossible):
        actions.ask_extension(request, by=parties.clerk, days=1, reason="来不及")


def test_only_the_authority_of_the_level_consents_and_not_who_asked(parties, asked):
    for stranger in (parties.provider_head, make_post(Role.BUREAU, parties.consumer)):
        with pytest.raises(NotTheAuthority):
            actions.decide_extension(asked, by=stranger, approved=True)
    same_person = make_post(Role.BUREAU, parties.bureau.organisation, person=parties.clerk.person)
    with pytest.raises(OwnDraft):
        actions.decide_extension(asked, by=same_person, approved=True)


def test_where_no_authority_is_registered_nobody_can_consent(parties):
    request = make_request(parties, RequestState.AWAITING_REPLY)
    Organisation.objects.update(is_authority=False)
    with pytest.raises(AuthorityMissing):
        actions.ask_extension(request, by=parties.clerk, days=5, reason="须与省厅核对口径")
