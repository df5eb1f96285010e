"""What the worker does to requests and grants each day."""

from datetime import date

import pytest

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.kernel.errors import Unavailable
from jinqiao.sharing import actions, signals, tasks
from jinqiao.sharing.enums import GrantState, RequestState
from jinqiao.sharing.models import Grant
from jinqiao.workflow.models import ToDo
from tests.sharing.factories import make_grant, make_request

pytestmark = pytest.mark.django_db


def test_a_grant_is_used_on_its_last_day_and_expires_on_the_next(parties, monkeypatch):
    grant = make_grant(parties, use_until=date(2026, 4, 30))
    suspended = make_grant(parties, use_until=date(2026, 4, 30))
    actions.suspend_grant(suspended, by=parties.provider_head, reason="核查")
    longer = make_grant(parties)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-30")
    assert tasks.expire_grants() == 0
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-05-01")
    assert tasks.expire_grants() == 2
    assert tasks.expire_grants() == 0
    states = {g.number: g.state for g in Grant.objects.all()}
    assert states == {
        grant.number: GrantState.EXPIRED,
        suspended.number: GrantState.EXPIRED,
        longer.number: GrantState.ACTIVE,
    }
    assert AuditEvent.objects.filter(action="sharing.grant.expire", actor_role="system").count() == 2


def test_one_grant_that_cannot_be_ended_holds_up_no_other(parties, monkeypatch):
    stuck = make_grant(parties, use_until=date(2026, 4, 30))
    make_grant(parties, use_until=date(2026, 4, 30))

    def fail(sender, grant, by, **_):
        if grant.pk == stuck.pk:
            raise Unavailable

    signals.grant_changed.connect(fail)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-05-01")
    try:
        assert tasks.expire_grants() == 1
    finally:
        signals.grant_changed.disconnect(fail)
    stuck.refresh_from_db()
    assert stuck.state == GrantState.ACTIVE


def test_a_late_reply_is_brought_before_the_head_and_the_authority_once(parties, monkeypatch):
    request = make_request(parties, RequestState.AWAITING_REPLY)
    waiting = make_request(parties, RequestState.AWAITING_PAPERS)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-01")
    assert tasks.remind_due() == 0
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-02")
    assert tasks.remind_due() == 1
    assert tasks.remind_due() == 0
    todos = ToDo.objects.filter(kind="sharing.reply.overdue")
    assert {(todo.organisation, todo.role) for todo in todos} == {
        (parties.provider, Role.HEAD),
        (parties.bureau.organisation, Role.BUREAU),
    }
    assert {todo.about_id for todo in todos} == {str(request.pk)} != {str(waiting.pk)}
    actions.draft_decision(request, by=parties.clerk, agrees=True)
    actions.approve_decision(request, by=parties.provider_head, approved=True)
    assert not todos.filter(done_at=None).exists()


def test_late_provision_is_brought_before_the_head_once(parties, monkeypatch):
    grant = make_grant(parties)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-04-17")
    assert tasks.remind_due() == 1
    assert tasks.remind_due() == 0
    actions.mark_provided(grant)
    assert not ToDo.objects.filter(kind="sharing.grant.provision_overdue", done_at=None).exists()


def test_the_consumer_hears_of_a_grant_that_ends_within_thirty_days(parties, monkeypatch):
    grant = make_grant(parties, use_until=date(2026, 6, 30))
    actions.mark_provided(grant)
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-05-30")
    assert tasks.remind_due() == 0
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-05-31")
    assert tasks.remind_due() == 1
    assert tasks.remind_due() == 0
    todo = ToDo.objects.get(kind="sharing.grant.ending")
    assert todo.organisation == parties.consumer
