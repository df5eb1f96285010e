"""The life of a grant after it was made."""

from datetime import date

import pytest
from django.db import connection, transaction

from jinqiao.accounts.enums import Role
from jinqiao.audit.models import AuditEvent
from jinqiao.sharing import actions, queries, signals
from jinqiao.sharing.enums import ChangeState, GrantState
from jinqiao.sharing.errors import (
    ChangeAlreadyPending,
    ChangeNotPending,
    ChangeWidens,
    GrantNotInState,
    GrantTermsImmutable,
    NotTheAuthority,
    NotTheProvider,
    OwnDraft,
    ReasonMissing,
    RoleMayNot,
    ValidityBeyondRequest,
)
from jinqiao.sharing.models import MUTABLE_GRANT_FIELDS, Grant
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import ToDo
from tests.factories import make_organisation, make_post
from tests.sharing.factories import make_grant

pytestmark = pytest.mark.django_db


@pytest.fixture
def grant(parties):
    return make_grant(parties)


@pytest.fixture
def heard():
    """States of grants in the order in which listeners heard of them."""
    states = []

    def listen(signal, sender, grant, by, **_):
        states.append((grant.number, str(grant.state), by))

    signals.grant_changed.connect(listen)
    signals.grant_made.connect(listen)
    yield states
    signals.grant_changed.disconnect(listen)
    signals.grant_made.disconnect(listen)


TERMS = {
    "number": "SQ-2026-9999/1",
    "mode": "batch",
    "items": [{"code": "je"}],
    "row_filter": [],
    "purposes": ["别的用途"],
    "case_number_required": False,
    "valid_from": date(2026, 1, 1),
    "valid_until": date(2030, 1, 1),
    "digest": "0" * 64,
}


@pytest.mark.parametrize("field", TERMS)
def test_no_term_of_a_grant_can_be_changed(grant, field):
    setattr(grant, field, TERMS[field])
    with pytest.raises(GrantTermsImmutable):
        grant.save()
    with pytest.raises(GrantTermsImmutable):
        grant.save(update_fields=[field])
    with pytest.raises(GrantTermsImmutable):
        Grant.objects.filter(pk=grant.pk).update(**{field: TERMS[field]})
    with pytest.raises(GrantTermsImmutable), transaction.atomic():
        Grant.objects.bulk_update([grant], [field])
    assert queries.is_unaltered(Grant.objects.get(pk=grant.pk))


@pytest.mark.parametrize("field", ["provider", "consumer", "entry", "version", "request", "replaces"])
def test_no_party_of_a_grant_can_be_changed(grant, parties, field):
    others = {"provider": parties.consumer, "consumer": parties.provider, "replaces": grant}
    setattr(grant, field, others[field]) if field in others else setattr(grant, f"{field}_id", 4711)
    with pytest.raises(GrantTermsImmutable):
        grant.save()


def test_every_field_of_a_grant_is_a_term_or_named_as_what_may_change():
    names = {field.name for field in Grant._meta.concrete_fields}
    assert names - MUTABLE_GRANT_FIELDS == {
        *TERMS, "id", "request", "replaces", "entry", "version", "provider", "consumer", "created_at",
    }  # fmt: skip


def test_a_grant_cannot_be_deleted(grant):
    with pytest.raises(GrantTermsImmutable):
        grant.delete()
    with pytest.raises(GrantTermsImmutable):
        Grant.objects.all().delete()


def test_terms_altered_behind_the_models_back_show(grant):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sharing_grant SET valid_until = '2030-01-01' WHERE id = %s", [grant.pk])
    assert not queries.is_unaltered(Grant.objects.get(pk=grant.pk))


def test_the_provider_suspends_and_resumes_and_the_authority_is_told(parties, grant, heard):
    suspended = actions.suspend_grant(grant, by=parties.provider_head, reason="核查使用情况")
    assert (suspended.state, suspended.state_reason) == (GrantState.SUSPENDED, "核查使用情况")
    todo = ToDo.objects.get(kind="sharing.grant.filing", done_at=None)
    assert (todo.organisation, todo.role) == (parties.bureau.organisation, Role.BUREAU)
    actions.note_filing(grant, by=parties.bureau)
    assert not ToDo.objects.filter(kind="sharing.grant.filing", done_at=None).exists()
    resumed = actions.resume_grant(grant, by=parties.provider_head, reason="核查无误")
    assert resumed.state == GrantState.ACTIVE
    assert [state for _, state, _ in heard] == ["suspended", "active"]
    assert heard[0][2] == parties.provider_head


@pytest.mark.parametrize("act", [actions.suspend_grant, actions.revoke_grant])
def test_stopping_a_grant_needs_a_reason(parties, grant, act):
    with pytest.raises(ReasonMissing):
        act(grant, by=parties.provider_head, reason=" ")


def test_the_consumers_head_gives_a_grant_up_once_its_purpose_is_met(parties, grant, heard):
    revoked = actions.revoke_grant(grant, by=parties.consumer_head, reason="审核工作已结束")
    assert revoked.state == GrantState.REVOKED
    assert not ToDo.objects.filter(kind="sharing.grant.filing").exists()
    with pytest.raises(GrantNotInState):
        actions.resume_grant(grant, by=parties.provider_head, reason="恢复")


def test_the_authority_can_suspend_and_revoke(parties, grant):
    actions.suspend_grant(grant, by=parties.bureau, reason="超范围使用")
    assert actions.revoke_grant(grant, by=parties.bureau, reason="逾期未整改").state == GrantState.REVOKED


def test_nobody_else_stops_a_grant(parties, grant):
    with pytest.raises(NotTheProvider):
        actions.suspend_grant(grant, by=parties.consumer_head, reason="不用了")
    with pytest.raises(RoleMayNot):
        actions.suspend_grant(grant, by=parties.clerk, reason="不用了")
    with pytest.raises(NotTheProvider):
        actions.revoke_grant(grant, by=make_post(Role.HEAD, make_organisation()), reason="不用了")
    with pytest.raises(NotTheProvider):
        actions.suspend_grant(grant, by=make_post(Role.BUREAU, parties.consumer), reason="不是主管部门")
    with pytest.raises(NotTheAuthority):
        actions.note_filing(grant, by=parties.provider_head)


def test_data_provided_stop_the_clock_of_provision_once(parties, grant):
    actions.mark_provided(grant, by=parties.clerk)
    [clock] = desk.clocks_of(queries.about_grant(grant))
    assert clock.state == "stopped"
    assert not ToDo.objects.filter(kind="sharing.grant.provide", done_at=None).exists()
    actions.mark_provided(grant)
    assert AuditEvent.objects.filter(action="sharing.grant.provide").count() == 1


def test_narrower_terms_are_a_new_grant_that_replaces_the_running_one(parties, grant, heard):
    change = actions.propose_change(
        grant,
        by=parties.clerk,
        items=["xm", "qh"],
        masks={"xm": "name"},
        row_filter=[{"item": "djrq", "operator": "ge", "values": ["2015-01-01"]}],
        valid_until=date(2026, 12, 31),
        reason="证件号码不再需要",
    )
    assert Grant.objects.get().state == GrantState.ACTIVE
    new = actions.approve_change(change, by=parties.provider_head, approved=True)
    grant.refresh_from_db()
    assert (grant.state, grant.state_reason) == (GrantState.REPLACED, "证件号码不再需要")
    assert (new.number, new.replaces, new.state) == ("SQ-2026-0001/2", grant, GrantState.ACTIVE)
    assert [(item["code"], item["mask"]) for item in new.items] == [("xm", "name"), ("qh", "none")]
    assert len(new.row_filter) == 2
    assert new.valid_until == date(2026, 12, 31)
    assert [(number, state) for number, state, _ in heard] == [
        ("SQ-2026-0001/1", "replaced"),
        ("SQ-2026-0001/2", "active"),
    ]
    assert queries.is_unaltered(grant)
    assert queries.is_unaltered(new)


def test_the_clock_of_provision_goes_on_for_the_grant_that_takes_over(parties, grant, monkeypatch):
    monkeypatch.setenv("JINQIAO_FIXED_DATE", "2026-03-25")
    change = actions.propose_change(grant, by=parties.clerk, items=["xm"], reason="缩小")
    new = actions.approve_change(change, by=parties.provider_head, approved=True)
    [clock] = desk.clocks_of(queries.about_grant(new))
    assert clock.due_on == date(2026, 4, 16)


def test_a_change_never_widens(parties):
    grant = make_grant(parties, decision={"agrees": True, "items": ["xm", "sfzh"]})
    with pytest.raises(ChangeWidens):
        actions.propose_change(grant, by=parties.clerk, items=["xm", "qh"], reason="增加")
    with pytest.raises(ChangeWidens):
        actions.propose_change(grant, by=parties.clerk, masks={"sfzh": "none"}, reason="去掉遮蔽")
    with pytest.raises(ValidityBeyondRequest):
        actions.propose_change(grant, by=parties.clerk, valid_until=date(2027, 4, 1), reason="延长")


def test_a_change_is_approved_by_another_person_and_once(parties, grant):
    drafting = make_post(Role.OPERATOR, parties.provider, person=parties.provider_head.person)
    change = actions.propose_change(grant, by=drafting, items=["xm"], reason="缩小")
    with pytest.raises(ChangeAlreadyPending):
        actions.propose_change(grant, by=parties.clerk, items=["xm"], reason="缩小")
    with pytest.raises(OwnDraft):
        actions.approve_change(change, by=parties.provider_head, approved=True)
    other_head = make_post(Role.HEAD, parties.provider)
    assert actions.approve_change(change, by=other_head, approved=False, opinion="不必") is None
    change.refresh_from_db()
    assert change.state == ChangeState.REJECTED
    with pytest.raises(ChangeNotPending):
        actions.approve_change(change, by=other_head, approved=True)
    assert Grant.objects.get().state == GrantState.ACTIVE


def test_the_end_of_a_grant_ends_a_change_under_way(parties, grant):
    change = actions.propose_change(grant, by=parties.clerk, items=["xm"], reason="缩小")
    actions.revoke_grant(grant, by=parties.provider_head, reason="系统下线")
    with pytest.raises(ChangeNotPending):
        actions.approve_change(change, by=parties.provider_head, approved=True)
    assert set(ToDo.objects.filter(done_at=None).values_list("kind", flat=True)) == {"sharing.grant.filing"}
