"""The consumer's side: drafting, its head's approval, papers, withdrawal."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.core.files.base import File
from django.db import transaction

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Post
from jinqiao.audit import trail
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.kernel import moments
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.rulesets import ruleset_for
from jinqiao.sharing import queries, rules, terms
from jinqiao.sharing.actions import desk
from jinqiao.sharing.actions.making import make_grant
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import FieldMissing, FieldTooLong, ModeUnknown, PeriodNotInOrder, ReasonMissing
from jinqiao.sharing.models import SharingRequest
from jinqiao.sharing.numbers import next_request_number
from jinqiao.workflow import actions as workflow
from jinqiao.workflow import queries as workflow_queries
from jinqiao.workflow.enums import ClockState, SignOffKind
from jinqiao.workflow.models import Attachment

_TEXT_LIMIT = 4000
_ROW_SCOPE_LIMIT = 500
_PURPOSE_LIMIT = 100
_PURPOSES_LIMIT = 20


@transaction.atomic
def draft_request(entry: CatalogueEntry, *, by: Post, fields: Mapping[str, Any]) -> SharingRequest:
    """Begin a request for a published entry of another department.

    `fields`: basis, scenario, scope, mode, items (codes), row_filter ([{"item", "operator", "values"}]), row_scope,
    purposes, case_number_required, use_from, use_until (dates). Texts may be empty until it is submitted.
    """
    version = rules.check_may_request(entry, by)
    today = moments.today()
    request = SharingRequest(
        number=next_request_number(today.year),
        entry=entry,
        version=version,
        consumer=by.organisation,
        provider=entry.provider,
        rule_set=ruleset_for(today).name,
        sharing_category=version.sharing_category,
        created_by=by,
        edited_by=by,
        created_at=moments.now(),
    )
    _fill(request, fields, version)
    request.save(force_insert=True)
    trail.record("sharing.request.draft", by=by.actor, about=queries.about_request(request), entry=entry.code)
    return request


@transaction.atomic
def save_request(request: SharingRequest, *, by: Post, fields: Mapping[str, Any]) -> SharingRequest:
    """Change a draft; it follows the entry's published version of now."""
    request = desk.locked_request(request)
    rules.check_may_edit(request, by)
    _follow_entry(request, rules.check_may_request(request.entry, by))
    _fill(request, fields, request.version)
    request.edited_by = by
    request.save()
    trail.record("sharing.request.save", by=by.actor, about=queries.about_request(request))
    return request


@transaction.atomic
def add_paper(request: SharingRequest, *, by: Post, name: str, file: "File[bytes]") -> Attachment:
    """Hand in a file with a draft or with the papers asked for."""
    request = desk.locked_request(request)
    if request.state == RequestState.AWAITING_PAPERS:
        rules.check_may_supply_papers(request, by)
    else:
        rules.check_may_edit(request, by)
    return workflow.attach(queries.about_request(request), by=by, name=name, file=file)


@transaction.atomic
def submit_request(request: SharingRequest, *, by: Post) -> SharingRequest:
    """Put a complete draft before the consumer's own head."""
    request = desk.locked_request(request)
    rules.check_may_edit(request, by)
    _follow_entry(request, rules.check_may_request(request.entry, by))
    _check(request)
    request.state = RequestState.HEAD_APPROVAL
    request.submitted_by, request.submitted_at = by, moments.now()
    request.return_reason = ""
    request.save()
    about = queries.about_request(request)
    workflow.finish_todos(about, by=by)
    desk.open_for_request(request, "sharing.request.approve", "审批共享申请", request.consumer, Role.HEAD)
    trail.record("sharing.request.submit", by=by.actor, about=about, items=len(request.items), mode=request.mode)
    return request


@transaction.atomic
def approve_request(request: SharingRequest, *, by: Post, approved: bool, opinion: str = "") -> SharingRequest:
    """The consumer's head sends it to the provider, or back to the drafter (then `opinion` says why).

    The reply clock starts with the provider's receipt, by the rule set of that day. Where the rule set knows no reply for
    what is shared without conditions, the approval alone makes the grant.
    """
    request = desk.locked_request(request)
    rules.check_may_approve_request(request, by)
    about = queries.about_request(request)
    now = moments.now()
    if approved:
        rules.check_published(request.entry)
        _check(request)
    elif not opinion.strip():
        raise ReasonMissing
    workflow.sign(
        SignOffKind.REQUEST_HEAD,
        about=about,
        by=by,
        approved=approved,
        opinion=opinion,
        content=terms.request_content(request),
    )
    workflow.finish_todos(about, by=by)
    if not approved:
        request.state = RequestState.DRAFT
        request.return_reason = opinion
        request.save()
        desk.open_for_request(
            request,
            "sharing.request.amend",
            "修改退回的共享申请",
            request.consumer,
            request.edited_by.role,
            person=request.edited_by.person,
        )
        trail.record("sharing.request.return", by=by.actor, about=about)
        return request
    rule_set = ruleset_for(moments.today())
    request.rule_set = rule_set.name
    request.approved_by, request.received_at = by, now
    if rules.is_direct_use(request.sharing_category, rule_set):
        request.state, request.decided_at = RequestState.GRANTED, now
        request.save()
        trail.record("sharing.request.approve", by=by.actor, about=about, rule_set=rule_set.name, direct=True)
        make_grant(
            request,
            by=by,
            items=request.items,
            masks={},
            row_filter=request.row_filter,
            valid_until=request.use_until,
        )
        return request
    request.state = RequestState.AWAITING_REPLY
    request.save()
    key = rules.reply_clock_key(request.sharing_category)
    clock = (
        workflow.start_clock(
            key=key, about=about, organisation=request.provider, rule_set=rule_set, started_on=moments.today()
        )
        if key is not None and key in rule_set.clocks
        else None
    )
    desk.open_for_request(
        request,
        "sharing.request.reply",
        "答复共享申请",
        request.provider,
        desk.staff_role(request.provider),
        clock=clock,
    )
    trail.record(
        "sharing.request.approve",
        by=by.actor,
        about=about,
        rule_set=rule_set.name,
        due_on=clock.due_on if clock else None,
    )
    return request


@transaction.atomic
def supply_papers(request: SharingRequest, *, by: Post, note: str) -> SharingRequest:
    """The consumer hands in what was missing; the reply clock goes on."""
    request = desk.locked_request(request)
    rules.check_may_supply_papers(request, by)
    if not note.strip():
        raise FieldMissing(field=_verbose("papers_note"))
    _limit("papers_note", note, _TEXT_LIMIT)
    about = queries.about_request(request)
    request.state = RequestState.AWAITING_REPLY
    request.papers_note, request.papers_supplied_at = note, moments.now()
    request.save()
    papers_clock = workflow_queries.running_clock(about, desk.PAPERS_CLOCK)
    if papers_clock is not None:
        workflow.stop_clock(papers_clock, on=moments.today())
    clock = desk.reply_clock(request)
    if clock is not None and clock.state == ClockState.PAUSED:
        clock = workflow.resume_clock(clock, on=moments.today(), by=by)
    workflow.finish_todos(about, by=by, kinds=["sharing.request.papers"])
    desk.open_for_request(
        request,
        "sharing.request.reply",
        "答复共享申请",
        request.provider,
        desk.staff_role(request.provider),
        clock=clock,
    )
    trail.record("sharing.request.supply_papers", by=by.actor, about=about)
    return request


@transaction.atomic
def withdraw_request(request: SharingRequest, *, by: Post, reason: str) -> SharingRequest:
    """The consumer takes it back before a reply lies with the provider's head."""
    request = desk.locked_request(request)
    rules.check_may_withdraw(request, by)
    if not reason.strip():
        raise ReasonMissing
    _limit("withdrawn_reason", reason, _TEXT_LIMIT)
    about = queries.about_request(request)
    request.state = RequestState.WITHDRAWN
    request.withdrawn_reason = reason
    request.save()
    desk.stop_clocks(request)
    workflow.finish_todos(about, by=by)
    trail.record("sharing.request.withdraw", by=by.actor, about=about)
    return request


def _follow_entry(request: SharingRequest, version: EntryVersion) -> None:
    request.version = version
    request.sharing_category = version.sharing_category


def _check(request: SharingRequest) -> None:
    items = terms.items_of(request.version)
    request.items = terms.chosen_items(request.items, items)
    request.row_filter = terms.checked_row_filter(request.row_filter, items)
    rules.check_complete(request, items, moments.today())


def _fill(request: SharingRequest, fields: Mapping[str, Any], version: EntryVersion) -> None:
    """Put the fields on the request, each checked by itself; what must be complete is checked when it is submitted."""
    for name in ("basis", "scenario", "scope"):
        text = str(fields.get(name) or "").strip()
        _limit(name, text, _TEXT_LIMIT)
        setattr(request, name, text)
    request.row_scope = str(fields.get("row_scope") or "").strip()
    _limit("row_scope", request.row_scope, _ROW_SCOPE_LIMIT)
    try:
        request.mode = SharingMode(fields.get("mode", "")).value
    except ValueError:
        raise ModeUnknown(mode=str(fields.get("mode", ""))) from None
    items = terms.items_of(version)
    request.items = terms.chosen_items(fields.get("items") or [], items)
    request.row_filter = terms.checked_row_filter(fields.get("row_filter") or [], items)
    request.purposes = _purposes(fields.get("purposes") or [])
    request.case_number_required = bool(fields.get("case_number_required", True))
    for name in ("use_from", "use_until"):
        day = fields.get(name)
        if not isinstance(day, date):
            raise FieldMissing(field=_verbose(name))
        setattr(request, name, day)
    if request.use_until < request.use_from:
        raise PeriodNotInOrder


def _purposes(names: Sequence[str]) -> list[str]:
    purposes = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    for name in purposes:
        _limit("purposes", name, _PURPOSE_LIMIT)
    if len(purposes) > _PURPOSES_LIMIT:
        raise FieldTooLong(field=_verbose("purposes"), limit=_PURPOSES_LIMIT)
    return purposes


def _limit(field: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise FieldTooLong(field=_verbose(field), limit=limit)


def _verbose(field: str) -> str:
    return str(SharingRequest._meta.get_field(field).verbose_name)  # type: ignore[union-attr]
