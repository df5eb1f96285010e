"""The provider's side: papers, the drafted reply, its head's approval."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.sharing import queries, rules, terms
from jinqiao.sharing.actions import desk
from jinqiao.sharing.actions.making import check_still_published, make_grant
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import (
    DecisionMissing,
    FieldTooLong,
    ItemsBeyondRequest,
    PapersAlreadyAsked,
    PapersNotNamed,
    ReasonMissing,
    RefusalReasonMissing,
    ValidityBeyondRequest,
)
from jinqiao.sharing.models import Decision, Grant, SharingRequest
from jinqiao.workflow import actions as workflow
from jinqiao.workflow.enums import SignOffKind
from jinqiao.workflow.models import Clock

_TEXT_LIMIT = 4000


@transaction.atomic
def ask_for_papers(request: SharingRequest, *, by: Post, missing: str) -> SharingRequest:
    """Tell the consumer everything that is missing, in one go (第二十一条): a second time is refused. The clock pauses."""
    request = desk.locked_request(request)
    rules.check_may_answer(request, by)
    if request.papers_asked_at is not None:
        raise PapersAlreadyAsked(number=request.number)
    if not missing.strip():
        raise PapersNotNamed
    _limit(missing)
    about = queries.about_request(request)
    request.state = RequestState.AWAITING_PAPERS
    request.papers_missing, request.papers_asked_at = missing, moments.now()
    request.save()
    clock = desk.reply_clock(request)
    if clock is not None and desk.rule_set_of(request).clock(clock.key).may_pause:
        workflow.pause_clock(clock, on=moments.today(), by=by)
    workflow.finish_todos(about, by=by, kinds=["sharing.request.reply"])
    drafter = request.submitted_by or request.created_by
    desk.open_for_request(
        request,
        "sharing.request.papers",
        "补正共享申请材料",
        request.consumer,
        drafter.role,
        person=drafter.person,
        clock=_papers_clock(request),
    )
    trail.record("sharing.request.ask_papers", by=by.actor, about=about)
    return request


@transaction.atomic
def draft_decision(
    request: SharingRequest,
    *,
    by: Post,
    agrees: bool,
    items: Sequence[str] | None = None,
    masks: Mapping[str, str] | None = None,
    row_filter: Sequence[Mapping[str, Any]] = (),
    valid_until: date | None = None,
    article: str = "",
    reason: str = "",
) -> Decision:
    """Draft the reply and put it before the provider's head.

    Agreeing: `items` (all that were asked for where None), `masks` by item code (sensitive items of a query answer are
    masked unless the draft says otherwise), further row conditions, the last day (the request's where None). Refusing:
    `article` is a key of the rule set's refusal articles, `reason` is required.
    """
    request = desk.locked_request(request)
    rules.check_may_answer(request, by)
    _limit(reason)
    decision = Decision.objects.filter(request=request).first() or Decision(request=request)
    decision.agrees = agrees
    decision.reason = reason.strip()
    decision.drafted_by, decision.drafted_at = by, moments.now()
    decision.approved_by = decision.approved_at = None
    if agrees:
        _put_terms(decision, request, items, masks, row_filter, valid_until)
        decision.article = ""
    else:
        decision.items, decision.masks, decision.row_filter, decision.valid_until = [], {}, [], None
        decision.article = desk.rule_set_of(request).article(article).key
        if not decision.reason:
            raise RefusalReasonMissing
    decision.save()
    request.state = RequestState.REPLY_APPROVAL
    request.save()
    about = queries.about_request(request)
    workflow.finish_todos(about, by=by, kinds=["sharing.request.reply"])
    desk.open_for_request(
        request,
        "sharing.decision.approve",
        "审批共享答复",
        request.provider,
        Role.HEAD,
        clock=desk.reply_clock(request),
    )
    trail.record("sharing.decision.draft", by=by.actor, about=about, agrees=agrees, items=len(decision.items))
    return decision


@transaction.atomic
def approve_decision(request: SharingRequest, *, by: Post, approved: bool, opinion: str = "") -> Grant | None:
    """The provider's head approves the drafted reply, or sends it back. An approved agreement makes the grant."""
    request = desk.locked_request(request)
    decision = Decision.objects.select_related("drafted_by__person").filter(request=request).first()
    rules.check_may_approve_decision(request, decision, by)
    if decision is None:
        raise DecisionMissing(number=request.number)
    if not approved and not opinion.strip():
        raise ReasonMissing
    about = queries.about_request(request)
    workflow.sign(
        SignOffKind.DECISION_HEAD,
        about=about,
        by=by,
        approved=approved,
        opinion=opinion,
        content=decision_content(request, decision),
    )
    clock = desk.reply_clock(request)
    if not approved:
        workflow.finish_todos(about, by=by, kinds=["sharing.decision.approve"])
        request.state = RequestState.AWAITING_REPLY
        request.save()
        desk.open_for_request(
            request,
            "sharing.request.reply",
            "重拟共享答复",
            request.provider,
            decision.drafted_by.role,
            clock=clock,
        )
        trail.record("sharing.decision.return", by=by.actor, about=about)
        return None
    workflow.finish_todos(about, by=by)
    decision.approved_by, decision.approved_at = by, moments.now()
    decision.save()
    request.state = RequestState.GRANTED if decision.agrees else RequestState.REFUSED
    request.decided_at = decision.approved_at
    request.save()
    if clock is not None:
        workflow.stop_clock(clock, on=moments.today())
    trail.record("sharing.decision.approve", by=by.actor, about=about, agrees=decision.agrees, article=decision.article)
    if not decision.agrees:
        return None
    return make_grant(
        request,
        by=by,
        items=decision.items,
        masks=decision.masks,
        row_filter=decision.row_filter,
        valid_until=decision.valid_until or request.use_until,
    )


def _papers_clock(request: SharingRequest) -> Clock | None:
    """The consumer's term to hand papers in, where the rule set has one."""
    rule_set = desk.rule_set_of(request)
    if desk.PAPERS_CLOCK not in rule_set.clocks:
        return None
    return workflow.start_clock(
        key=desk.PAPERS_CLOCK,
        about=queries.about_request(request),
        organisation=request.consumer,
        rule_set=rule_set,
        started_on=moments.today(),
    )


def decision_content(request: SharingRequest, decision: Decision) -> bytes:
    """What the provider's head signs: the reply on exactly this request."""
    return canonical_json(
        {
            "request": terms.request_content(request).decode("utf-8"),
            "agrees": decision.agrees,
            "items": decision.items,
            "masks": decision.masks,
            "row_filter": decision.row_filter,
            "valid_until": decision.valid_until.isoformat() if decision.valid_until else None,
            "article": decision.article,
            "reason": decision.reason,
        }
    )


def _put_terms(
    decision: Decision,
    request: SharingRequest,
    items: Sequence[str] | None,
    masks: Mapping[str, str] | None,
    row_filter: Sequence[Mapping[str, Any]],
    valid_until: date | None,
) -> None:
    known = terms.items_of(request.version)
    codes = terms.chosen_items(request.items if items is None else items, known)
    if beyond := [code for code in codes if code not in request.items]:
        raise ItemsBeyondRequest(items="、".join(beyond))
    check_still_published(request, codes)
    until = valid_until or request.use_until
    if not max(request.use_from, moments.today()) <= until <= request.use_until:
        raise ValidityBeyondRequest(until=request.use_until.isoformat())
    chosen = {**terms.default_masks(request.mode, codes, known), **(masks or {})}
    decision.items = codes
    decision.masks = terms.checked_masks(chosen, codes, known)
    decision.row_filter = terms.checked_row_filter(row_filter, known)
    decision.valid_until = until


def _limit(text: str) -> None:
    if len(text) > _TEXT_LIMIT:
        raise FieldTooLong(field=str(Decision._meta.get_field("reason").verbose_name), limit=_TEXT_LIMIT)
