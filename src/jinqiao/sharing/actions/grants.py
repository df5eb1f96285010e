"""The life of a grant: suspended, resumed, ended, replaced by narrower terms. Terms themselves never change."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.audit.trail import SYSTEM
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.sharing import queries, rules, signals, terms
from jinqiao.sharing.actions import desk
from jinqiao.sharing.actions.making import check_still_published, make_grant
from jinqiao.sharing.enums import GRANT_MOVES, ChangeState, GrantState
from jinqiao.sharing.errors import (
    ChangeAlreadyPending,
    ChangeWidens,
    FieldTooLong,
    GrantNotInState,
    NotTheAuthority,
    ReasonMissing,
    ValidityBeyondRequest,
)
from jinqiao.sharing.models import Grant, GrantChange
from jinqiao.workflow import actions as workflow
from jinqiao.workflow import queries as workflow_queries
from jinqiao.workflow.enums import SignOffKind

_REASON_LIMIT = 500


@transaction.atomic
def suspend_grant(grant: Grant, *, by: Post, reason: str) -> Grant:
    """Stop all use at once, for now. The authority is told: a service is not stopped without cause (第二十七条)."""
    grant = desk.locked_grant(grant)
    rules.check_may_suspend(grant, by)
    _change_state(grant, GrantState.SUSPENDED, by=by, reason=_reason(reason), action="sharing.grant.suspend")
    _file_with_authority(grant, by, "暂停授权备案")
    return grant


@transaction.atomic
def suspend_by_rule(grant: Grant, *, reason: str) -> bool:
    """The platform stops all use for a duty that the consumer did not meet in time; the authority is told and lifts it. Whether the
    grant was running. `reason` is the platform's own word, in Chinese."""
    grant = desk.locked_grant(grant)
    if grant.state != GrantState.ACTIVE:
        return False
    _change_state(grant, GrantState.SUSPENDED, by=None, reason=_reason(reason), action="sharing.grant.suspend")
    _file_with_authority(grant, None, "暂停授权备案")
    return True


@transaction.atomic
def resume_grant(grant: Grant, *, by: Post, reason: str) -> Grant:
    grant = desk.locked_grant(grant)
    rules.check_may_resume(grant, by)
    if grant.valid_until < moments.today():
        raise GrantNotInState(number=grant.number, state=GrantState.EXPIRED.label)
    _change_state(grant, GrantState.ACTIVE, by=by, reason=_reason(reason), action="sharing.grant.resume")
    return grant


@transaction.atomic
def revoke_grant(grant: Grant, *, by: Post, reason: str) -> Grant:
    """End a grant for good before its time."""
    grant = desk.locked_grant(grant)
    rules.check_may_revoke(grant, by)
    _end(grant, GrantState.REVOKED, by=by, reason=_reason(reason), action="sharing.grant.revoke")
    if by.organisation_id == grant.provider_id:
        _file_with_authority(grant, by, "撤销授权备案")
    return grant


@transaction.atomic
def expire_grant(grant: Grant) -> Grant | None:
    """The platform marks a grant whose last day is over; None where somebody else already ended or renewed it."""
    grant = desk.locked_grant(grant)
    if grant.state not in (GrantState.ACTIVE, GrantState.SUSPENDED) or grant.valid_until >= moments.today():
        return None
    _end(grant, GrantState.EXPIRED, by=None, reason="", action="sharing.grant.expire")
    return grant


@transaction.atomic
def note_filing(grant: Grant, *, by: Post) -> Grant:
    """The authority takes note that a provider suspended or ended a grant (备案)."""
    grant = desk.locked_grant(grant)
    authority = queries.authority_for(grant.provider)
    if by.role != Role.BUREAU or authority is None or by.organisation_id != authority.pk:
        raise NotTheAuthority(number=grant.number)
    about = queries.about_grant(grant)
    workflow.finish_todos(about, by=by, kinds=["sharing.grant.filing"])
    trail.record("sharing.grant.note_filing", by=by.actor, about=about)
    return grant


@transaction.atomic
def mark_provided(grant: Grant, *, by: Post | None = None) -> Grant:
    """Data reached the consumer, or its query service answers: the provider's clock of provision stops. Once; repeats do nothing."""
    grant = desk.locked_grant(grant)
    if grant.provided_at is not None:
        return grant
    grant.provided_at = moments.now()
    grant.save(update_fields=["provided_at"])
    about = queries.about_grant(grant)
    _close_provision(grant, by)
    trail.record("sharing.grant.provide", by=by.actor if by else SYSTEM, about=about)
    return grant


@transaction.atomic
def propose_change(
    grant: Grant,
    *,
    by: Post,
    reason: str,
    items: Sequence[str] | None = None,
    masks: Mapping[str, str] | None = None,
    row_filter: Sequence[Mapping[str, Any]] = (),
    valid_until: date | None = None,
) -> GrantChange:
    """Propose narrower terms: fewer items, more masks, further row conditions, an earlier end. The old grant runs on."""
    grant = desk.locked_grant(grant)
    rules.check_may_propose_change(grant, by)
    if GrantChange.objects.filter(grant=grant, state=ChangeState.PENDING).exists():
        raise ChangeAlreadyPending(number=grant.number)
    known = terms.items_of(grant.version)
    granted = {item["code"]: item["mask"] for item in grant.items}
    codes = list(granted) if items is None else terms.chosen_items(items, known)
    if wider := [code for code in codes if code not in granted]:
        raise ChangeWidens(number=grant.number, items="、".join(wider))
    kept = {code: granted[code] for code in codes}
    new_masks = terms.checked_masks({**kept, **(masks or {})}, codes, known)
    if bared := [code for code in codes if new_masks[code] == Mask.NONE and granted[code] != Mask.NONE]:
        raise ChangeWidens(number=grant.number, items="、".join(bared))
    check_still_published(grant.request, codes)
    until = valid_until or grant.valid_until
    if not moments.today() <= until <= grant.valid_until:
        raise ValidityBeyondRequest(until=grant.valid_until.isoformat())
    change = GrantChange.objects.create(
        grant=grant,
        items=codes,
        masks=new_masks,
        row_filter=terms.joined_row_filters(grant.row_filter, terms.checked_row_filter(row_filter, known)),
        valid_until=until,
        reason=_reason(reason),
        drafted_by=by,
        drafted_at=moments.now(),
    )
    desk.open_for_grant(grant, "sharing.change.approve", "审批授权变更", grant.provider, Role.HEAD)
    trail.record("sharing.change.propose", by=by.actor, about=queries.about_grant(grant), items=len(codes))
    return change


@transaction.atomic
def approve_change(change: GrantChange, *, by: Post, approved: bool, opinion: str = "") -> Grant | None:
    """The provider's head approves: a new grant replaces the running one in the same instant."""
    grant = desk.locked_grant(change.grant)
    change = GrantChange.objects.select_for_update(of=("self",)).select_related("drafted_by").get(pk=change.pk)
    change.grant = grant
    rules.check_may_approve_change(change, by)
    if not approved and not opinion.strip():
        raise ReasonMissing
    about = queries.about_grant(grant)
    workflow.sign(
        SignOffKind.DECISION_HEAD,
        about=about,
        by=by,
        approved=approved,
        opinion=opinion,
        content=_change_content(change),
    )
    workflow.finish_todos(about, by=by, kinds=["sharing.change.approve"])
    change.state = ChangeState.APPROVED if approved else ChangeState.REJECTED
    change.approved_by, change.approved_at = by, moments.now()
    change.save()
    trail.record("sharing.change.approve", by=by.actor, about=about, approved=approved)
    if not approved:
        return None
    request = desk.locked_request(grant.request)
    _end(grant, GrantState.REPLACED, by=by, reason=change.reason, action="sharing.grant.replace")
    return make_grant(
        request,
        by=by,
        items=change.items,
        masks=change.masks,
        row_filter=change.row_filter,
        valid_until=change.valid_until,
        replaces=grant,
    )


def _change_content(change: GrantChange) -> bytes:
    return canonical_json(
        {
            "grant": change.grant.number,
            "digest": change.grant.digest,
            "items": change.items,
            "masks": change.masks,
            "row_filter": change.row_filter,
            "valid_until": change.valid_until.isoformat(),
            "reason": change.reason,
        }
    )


def _change_state(grant: Grant, state: GrantState, *, by: Post | None, reason: str, action: str) -> None:
    if state not in GRANT_MOVES[GrantState(grant.state)]:
        raise GrantNotInState(number=grant.number, state=grant.get_state_display())
    grant.state, grant.state_reason, grant.state_changed_at = state, reason, moments.now()
    grant.save(update_fields=["state", "state_reason", "state_changed_at"])
    trail.record(action, by=by.actor if by else SYSTEM, about=queries.about_grant(grant), reason=reason)
    signals.grant_changed.send(sender=Grant, grant=grant, by=by)


def _end(grant: Grant, state: GrantState, *, by: Post | None, reason: str, action: str) -> None:
    """A final state: what was still to be done about the grant falls away."""
    GrantChange.objects.filter(grant=grant, state=ChangeState.PENDING).update(state=ChangeState.REJECTED)
    _close_provision(grant, by)
    workflow.finish_todos(queries.about_grant(grant), by=by, kinds=["sharing.change.approve", "sharing.grant.ending"])
    _change_state(grant, state, by=by, reason=reason, action=action)


def _close_provision(grant: Grant, by: Post | None) -> None:
    about = queries.about_grant(grant)
    clock = workflow_queries.running_clock(about, desk.PROVISION_CLOCK)
    if clock is not None:
        workflow.stop_clock(clock, on=moments.today())
    workflow.finish_todos(about, by=by, kinds=["sharing.grant.provide", "sharing.grant.provision_overdue"])


def _file_with_authority(grant: Grant, by: Post | None, title: str) -> None:
    authority = queries.authority_for(grant.provider)
    if authority is not None and (by is None or authority.pk != by.organisation_id):
        desk.open_for_grant(grant, "sharing.grant.filing", title, authority, Role.BUREAU)


def _reason(text: str) -> str:
    if not text.strip():
        raise ReasonMissing
    if len(text.strip()) > _REASON_LIMIT:
        raise FieldTooLong(field=str(Grant._meta.get_field("state_reason").verbose_name), limit=_REASON_LIMIT)
    return text.strip()
