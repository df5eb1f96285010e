"""Who may do what to a request or a grant, and when. `check_…` raises the reason; `may_…` is the same as a boolean, for pages.

Provider or consumer is decided by whose organisation it is, never by the role alone.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.catalogue.enums import PersonalInformation, SharingCategory
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.rulesets import RuleSet
from jinqiao.sharing.enums import ChangeState, GrantState, RequestState
from jinqiao.sharing.errors import (
    CaseNumberNeeded,
    ChangeNotPending,
    EntryIsOwn,
    EntryNotPublished,
    FieldMissing,
    GrantNotInState,
    LegalBasisNeeded,
    NotTheConsumer,
    NotTheProvider,
    OwnDraft,
    PartyToRequest,
    PeriodNotInOrder,
    PeriodOver,
    PurposeMissing,
    RequestNotInState,
    RoleMayNot,
)
from jinqiao.sharing.models import Decision, Grant, GrantChange, SharingRequest
from jinqiao.sharing.terms import Items

STAFF: frozenset[Role] = frozenset({Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK})
"""Roles that draft: requests on the consumer's side, replies on the provider's."""

_KEEPERS: frozenset[Role] = frozenset({Role.HEAD, Role.DEPARTMENT_ADMINISTRATOR})

_CITED_LAW = re.compile(r"《[^》]*(法|条例|决定)[^》]*》[^《]*第[〇零一二三四五六七八九十百千0-9]+条")


def reply_clock_key(category: str) -> str | None:
    """Key of the reply clock; none for what is not shared: the regulation sets no term for it (negotiation, 第二十八条)."""
    return {
        SharingCategory.UNCONDITIONAL.value: "request.reply.unconditional",
        SharingCategory.CONDITIONAL.value: "request.reply.conditional",
    }.get(category)


def is_direct_use(category: str, rule_set: RuleSet) -> bool:
    """Whether the consumer takes it without a reply: unconditional sharing where the rule set knows no reply clock for it."""
    return category == SharingCategory.UNCONDITIONAL and "request.reply.unconditional" not in rule_set.clocks


def check_state(request: SharingRequest, *states: RequestState) -> None:
    if request.state not in states:
        raise RequestNotInState(number=request.number, state=request.get_state_display())


def check_grant_state(grant: Grant, *states: GrantState) -> None:
    if grant.state not in states:
        raise GrantNotInState(number=grant.number, state=grant.get_state_display())


def _check_role(by: Post, roles: Iterable[Role]) -> None:
    if by.role not in frozenset(roles):
        raise RoleMayNot(role=by.get_role_display())


def _check_consumer(request: SharingRequest, by: Post) -> None:
    if by.organisation_id != request.consumer_id:
        raise NotTheConsumer(number=request.number)


def _check_provider(request: SharingRequest, by: Post) -> None:
    if by.organisation_id != request.provider_id:
        raise NotTheProvider(number=request.number)


def check_published(entry: CatalogueEntry) -> EntryVersion:
    """The version that readers see and that a request is about."""
    if entry.live_version is None or entry.withdrawn_at is not None:
        raise EntryNotPublished(entry=str(entry))
    return entry.live_version


def check_may_request(entry: CatalogueEntry, by: Post) -> EntryVersion:
    """May this post draft a request for this entry? Returns the version to ask for."""
    _check_role(by, STAFF)
    version = check_published(entry)
    if entry.provider_id == by.organisation_id:
        raise EntryIsOwn(entry=str(entry))
    return version


def check_may_edit(request: SharingRequest, by: Post) -> None:
    _check_consumer(request, by)
    _check_role(by, STAFF)
    check_state(request, RequestState.DRAFT)


def check_may_supply_papers(request: SharingRequest, by: Post) -> None:
    _check_consumer(request, by)
    _check_role(by, STAFF)
    check_state(request, RequestState.AWAITING_PAPERS)


def check_may_withdraw(request: SharingRequest, by: Post) -> None:
    _check_consumer(request, by)
    _check_role(by, STAFF | {Role.HEAD})
    check_state(
        request,
        RequestState.DRAFT,
        RequestState.HEAD_APPROVAL,
        RequestState.AWAITING_REPLY,
        RequestState.AWAITING_PAPERS,
    )


def check_may_approve_request(request: SharingRequest, by: Post) -> None:
    """The head of the consumer's sharing body approves (第二十条); not what the same person drafted."""
    _check_consumer(request, by)
    _check_role(by, {Role.HEAD})
    check_state(request, RequestState.HEAD_APPROVAL)
    if by.person_id in _drafters(request):
        raise OwnDraft(number=request.number)


def _drafters(request: SharingRequest) -> set[int]:
    posts = [request.created_by, request.edited_by, request.submitted_by]
    return {post.person_id for post in posts if post is not None}


def _check_not_party(request: SharingRequest, by: Post) -> None:
    parties = _drafters(request)
    if request.approved_by is not None:
        parties.add(request.approved_by.person_id)
    if by.person_id in parties:
        raise PartyToRequest(number=request.number)


def check_may_answer(request: SharingRequest, by: Post) -> None:
    """The provider's staff drafts the reply, asks for papers, asks for more time."""
    _check_provider(request, by)
    _check_role(by, STAFF)
    check_state(request, RequestState.AWAITING_REPLY)
    _check_not_party(request, by)


def check_may_approve_decision(request: SharingRequest, decision: Decision | None, by: Post) -> None:
    """The head of the provider's sharing body approves the reply (第二十条); not what the same person drafted."""
    _check_provider(request, by)
    _check_role(by, {Role.HEAD})
    check_state(request, RequestState.REPLY_APPROVAL)
    _check_not_party(request, by)
    if decision is not None and by.person_id == decision.drafted_by.person_id:
        raise OwnDraft(number=request.number)


def check_may_suspend(grant: Grant, by: Post) -> None:
    _check_keeper(grant, by)
    check_grant_state(grant, GrantState.ACTIVE)


def check_may_resume(grant: Grant, by: Post) -> None:
    _check_keeper(grant, by)
    check_grant_state(grant, GrantState.SUSPENDED)


def check_may_revoke(grant: Grant, by: Post) -> None:
    """The provider's head or the authority ends it; the consumer's head gives it up once its purpose is met (第二十七条)."""
    if not (by.role == Role.HEAD and by.organisation_id == grant.consumer_id):
        _check_keeper(grant, by, roles={Role.HEAD})
    check_grant_state(grant, GrantState.ACTIVE, GrantState.SUSPENDED)


def _check_keeper(grant: Grant, by: Post, roles: Iterable[Role] = _KEEPERS) -> None:
    """The provider, or the authority in charge of sharing."""
    if by.role == Role.BUREAU and by.organisation.is_authority:
        return
    if by.organisation_id != grant.provider_id:
        raise NotTheProvider(number=grant.number)
    _check_role(by, roles)


def check_may_propose_change(grant: Grant, by: Post) -> None:
    if by.organisation_id != grant.provider_id:
        raise NotTheProvider(number=grant.number)
    _check_role(by, STAFF)
    check_grant_state(grant, GrantState.ACTIVE)


def check_may_approve_change(change: GrantChange, by: Post) -> None:
    if by.organisation_id != change.grant.provider_id:
        raise NotTheProvider(number=change.grant.number)
    _check_role(by, {Role.HEAD})
    if change.state != ChangeState.PENDING:
        raise ChangeNotPending(number=change.grant.number)
    if by.person_id == change.drafted_by.person_id:
        raise OwnDraft(number=change.grant.number)


def check_complete(request: SharingRequest, items: Items, today: date) -> None:
    """What a request must state before it leaves the drafter's desk: 第二十条; items and rows are checked by `terms`."""
    for field in ("basis", "scenario", "scope"):
        if not getattr(request, field).strip():
            raise FieldMissing(field=request._meta.get_field(field).verbose_name)  # type: ignore[union-attr]
    if request.use_until < request.use_from:
        raise PeriodNotInOrder
    if request.use_until < today:
        raise PeriodOver(number=request.number, until=request.use_until.isoformat())
    if request.sharing_category == SharingCategory.NOT_SHARED and not cites_law(request.basis):
        raise LegalBasisNeeded
    sensitive = [
        items[code].name for code in request.items if items[code].personal_information == PersonalInformation.SENSITIVE
    ]
    if not request.purposes:  # what it may be used for is part of every grant: 第二十五条
        raise PurposeMissing
    if sensitive and request.mode == SharingMode.INTERFACE and not request.case_number_required:
        raise CaseNumberNeeded(items="、".join(sensitive))


def cites_law(basis: str) -> bool:
    """Whether the basis names a law, an administrative regulation or a decision of the State Council, and its article."""
    return _CITED_LAW.search(basis) is not None


def allows(check: Callable[[], object]) -> bool:
    """The boolean of a check, for pages: `allows(lambda: check_may_edit(request, post))`."""
    try:
        check()
    except JinqiaoError:
        return False
    return True
