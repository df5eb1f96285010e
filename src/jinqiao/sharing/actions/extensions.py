"""More time for a reply: asked once, consented to by the authority of the same level, told to the consumer (第二十一条)."""

from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.sharing import queries, rules
from jinqiao.sharing.actions import desk
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import (
    AuthorityMissing,
    ExtensionNotPossible,
    ExtensionTooLong,
    NotTheAuthority,
    OwnDraft,
    ReasonMissing,
)
from jinqiao.sharing.models import SharingRequest
from jinqiao.workflow import actions as workflow
from jinqiao.workflow.enums import SignOffKind


@transaction.atomic
def ask_extension(request: SharingRequest, *, by: Post, days: int, reason: str) -> SharingRequest:
    """The provider asks the authority for more working days, before the reply is overdue."""
    request = desk.locked_request(request)
    rules.check_may_answer(request, by)
    most = queries.extension_days_possible(request)
    if not most:
        raise ExtensionNotPossible(number=request.number)
    if not 1 <= days <= most:
        raise ExtensionTooLong(days=days, limit=most)
    if not reason.strip():
        raise ReasonMissing
    authority = queries.authority_for(request.provider)
    if authority is None:
        raise AuthorityMissing(organisation=request.provider.name)
    request.extension_days, request.extension_reason = days, reason.strip()
    request.extension_asked_by, request.extension_asked_at = by, moments.now()
    request.save()
    desk.open_for_request(
        request, "sharing.extension.decide", "审批延期答复", authority, Role.BUREAU, clock=desk.reply_clock(request)
    )
    trail.record("sharing.extension.ask", by=by.actor, about=queries.about_request(request), days=days)
    return request


@transaction.atomic
def decide_extension(request: SharingRequest, *, by: Post, approved: bool, opinion: str = "") -> SharingRequest:
    """The authority consents or not; a consent moves the due date and tells the consumer."""
    request = desk.locked_request(request)
    authority = queries.authority_for(request.provider)
    if by.role != Role.BUREAU or authority is None or by.organisation_id != authority.pk:
        raise NotTheAuthority(number=request.number)
    rules.check_state(request, RequestState.AWAITING_REPLY, RequestState.REPLY_APPROVAL, RequestState.AWAITING_PAPERS)
    asker = request.extension_asked_by
    clock = desk.reply_clock(request)
    if asker is None or request.extension_consented is not None or clock is None or request.extension_days is None:
        raise ExtensionNotPossible(number=request.number)
    if asker.person_id == by.person_id:
        raise OwnDraft(number=request.number)
    if not approved and not opinion.strip():
        raise ReasonMissing
    about = queries.about_request(request)
    workflow.sign(
        SignOffKind.EXTENSION_AUTHORITY,
        about=about,
        by=by,
        approved=approved,
        opinion=opinion,
        content=canonical_json(
            {"request": request.number, "days": request.extension_days, "reason": request.extension_reason}
        ),
    )
    workflow.finish_todos(about, by=by, kinds=["sharing.extension.decide"])
    request.extension_consented = approved
    request.save()
    if approved:
        workflow.extend_clock(clock, by=by, days=request.extension_days)
        drafter = request.submitted_by or request.created_by
        desk.open_for_request(
            request,
            "sharing.reply.extended",
            "答复期限已延长",
            request.consumer,
            drafter.role,
            person=drafter.person,
            clock=clock,
        )
    trail.record("sharing.extension.decide", by=by.actor, about=about, approved=approved, days=request.extension_days)
    return request
