"""Requests: the lists, the record, and what the consumer does on it."""

from collections.abc import Iterator
from typing import Any, cast

from django.contrib import messages
from django.db import transaction
from django.http import FileResponse, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from jinqiao.accounts.enums import Role
from jinqiao.kernel.errors import InvalidInput, JinqiaoError
from jinqiao.sharing import actions, queries, rules, terms
from jinqiao.sharing.enums import RequestState
from jinqiao.sharing.errors import RequestMissing
from jinqiao.sharing.models import Decision, Grant, SharingRequest
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Crumb
from jinqiao.web.errors import language
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of
from jinqiao.web.sharing import conditions, record
from jinqiao.web.sharing.forms import OpinionForm, PapersForm, ReasonForm, RequestFilter
from jinqiao.web.sharing.lists import filtered, of_side, reply_clocks, side_of, side_tabs
from jinqiao.web.sharing.problems import put_on
from jinqiao.web.sharing.roles import STAFF_ROLES, VIEWERS
from jinqiao.workflow import actions as workflow_actions
from jinqiao.workflow import queries as workflow
from jinqiao.workflow.enums import SignOffKind


@post_required(*VIEWERS)
def request_list(request: PostHttpRequest) -> HttpResponse:
    visible = queries.requests_visible_to(request.post)
    side = side_of(request, request.post)
    form = RequestFilter(request.GET)
    rows = filtered(of_side(visible, side, request.post), form.cleaned_data if form.is_valid() else {})
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("共享申请"),
            [
                _("申请编号"), _("目录条目"), _("信息资源代码"), _("需求部门"), _("提供部门"), _("共享方式"), _("状态"),
                _("提交时间"), _("提供方收到时间"), _("到期日"), _("答复时间"),
            ],
            _exported(rows),
        )  # fmt: skip
    page = page_of(request, rows)
    clocks = reply_clocks(page.object_list)
    return render(
        request,
        "sharing/requests.html",
        {
            "title": _("共享申请"),
            "tabs": side_tabs(
                visible, "sharing:requests", side, request.post, (_("我方申请"), _("待我方答复与已答复"))
            ),
            "form": form,
            "side": side,
            "page": page,
            "rows": [(found, clocks.get(found.pk)) for found in page.object_list],
        },
    )


def _exported(rows: Any) -> Iterator[tuple[Any, ...]]:
    found = list(rows)
    clocks = reply_clocks(found)
    for row in found:
        clock = clocks.get(row.pk)
        yield (
            row.number,
            row.version.name,
            row.entry.code,
            row.consumer.name,
            row.provider.name,
            row.get_mode_display(),
            row.get_state_display(),
            row.submitted_at,
            row.received_at,
            clock.due_on if clock else None,
            row.decided_at,
        )


@post_required(*VIEWERS)
def request_page(request: PostHttpRequest, pk: int) -> HttpResponse:
    return page_response(request, queries.request_visible_to(request.post, pk))


def page_response(request: PostHttpRequest, found: SharingRequest, **changed: Any) -> HttpResponse:
    """The record of a request with what this post may do now. `changed` replaces a form that came back with errors."""
    post = request.post
    about = queries.about_request(found)
    sign_offs = list(workflow.sign_offs(about))
    decision = record.shown_decision(
        found, Decision.objects.select_related("drafted_by__person").filter(request=found).first(), post
    )
    known = terms.items_of(found.version)
    names = {code: item.name for code, item in known.items()}
    grant = Grant.objects.filter(request=found).order_by("-id").first()
    running = None
    if not found.decided_at and record.sees_inside(post, found.provider_id):
        running = queries.running_grant(found)
    clock = workflow.clocks_of(about).filter(key__startswith="request.reply.").last()
    approver = next((s for s in reversed(sign_offs) if s.kind == SignOffKind.REQUEST_HEAD and s.approved), None)
    values = {
        "title": _("%(consumer)s申请使用“%(entry)s”")
        % {"consumer": found.consumer.short_name, "entry": found.version.name},
        "crumb": found.number,
        "found": found,
        "clock": clock,
        "steps": record.course(found, clock, grant),
        "pairs": record.request_pairs(found, approver),
        "items": record.item_rows(found, known, decision),
        "conditions": conditions.described(found.row_filter, names),
        "decision": decision,
        "added_conditions": conditions.described(decision.row_filter, names) if decision else [],
        "article": queries.refusal_article(found) if decision and not decision.agrees else None,
        "is_english": language() == "en",
        "running": running,
        "differences": record.differences(found, running, names) if running else [],
        "papers": workflow.attachments(about),
        "events": record.timeline(found, post, sign_offs),
        "grant": grant,
        "waiting": workflow.open_todos(about),
        **_possible(found, decision, request),
        **changed,
    }
    return render(request, "sharing/request.html", values, status=400 if changed else 200)


def _possible(found: SharingRequest, decision: Decision | None, request: PostHttpRequest) -> dict[str, Any]:
    """What the post may do with the request now; `blocked` is why a head cannot approve what waits for a head."""
    post = request.post
    values: dict[str, Any] = {
        "may_edit": rules.allows(lambda: rules.check_may_edit(found, post)),
        "may_approve": rules.allows(lambda: rules.check_may_approve_request(found, post)),
        "may_answer": rules.allows(lambda: rules.check_may_answer(found, post)),
        "may_supply": rules.allows(lambda: rules.check_may_supply_papers(found, post)),
        "may_approve_reply": rules.allows(lambda: rules.check_may_approve_decision(found, decision, post)),
        "may_withdraw": rules.allows(lambda: rules.check_may_withdraw(found, post)),
        "may_ask_extension": False,
        "may_decide_extension": _may_decide_extension(found, request),
        "blocked": None,
    }
    if values["may_answer"] and found.extension_asked_at is None:
        values["may_ask_extension"] = queries.extension_days_possible(found) > 0
    if values["may_approve"] or values["may_approve_reply"] or values["may_decide_extension"]:
        values["form"] = OpinionForm()
    elif values["may_supply"]:
        values["form"] = PapersForm()
    if post.role == Role.HEAD and not values["may_approve"] and not values["may_approve_reply"]:
        values["blocked"] = _why_blocked(found, decision, request)
    return values


def _may_decide_extension(found: SharingRequest, request: PostHttpRequest) -> bool:
    return (
        request.post.role == Role.BUREAU
        and found.extension_asked_at is not None
        and found.extension_consented is None
        and found.decided_at is None
        and found.state != RequestState.WITHDRAWN
        and queries.authority_for(found.provider) == request.post.organisation
    )


def _why_blocked(found: SharingRequest, decision: Decision | None, request: PostHttpRequest) -> Any:
    checks = {
        (RequestState.HEAD_APPROVAL, found.consumer_id): lambda: rules.check_may_approve_request(found, request.post),
        (RequestState.REPLY_APPROVAL, found.provider_id): lambda: rules.check_may_approve_decision(
            found, decision, request.post
        ),
    }
    check = checks.get((RequestState(found.state), request.post.organisation_id))
    if check is None:
        return None
    try:
        check()
    except JinqiaoError as error:
        return error.text(language())
    return None


@require_POST
@post_required(Role.HEAD)
def approve(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The consumer's head approves or returns."""
    found = queries.request_visible_to(request.post, pk)
    form = OpinionForm(request.POST)
    if form.is_valid():
        approved = request.POST.get("approved") == "yes"
        try:
            actions.approve_request(found, by=request.post, approved=approved, opinion=form.cleaned_data["opinion"])
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(request, _("已批准，申请已送提供部门。") if approved else _("已退回经办人修改。"))
            return HttpResponseRedirect(reverse("sharing:request", args=[pk]))
    return page_response(request, found, form=form)


@post_required(*STAFF_ROLES, Role.HEAD)
def withdraw(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = queries.request_visible_to(request.post, pk)
    rules.check_may_withdraw(found, request.post)
    back = reverse("sharing:request", args=[pk])
    form = ReasonForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        actions.withdraw_request(found, by=request.post, reason=form.cleaned_data["reason"])
        messages.success(request, _("申请已撤回。"))
        return HttpResponseRedirect(back)
    return render(
        request,
        "components/confirm.html",
        {
            "title": _("撤回申请 %(number)s？") % {"number": found.number},
            "crumbs": [Crumb(found.number, back)],
            "what_stays": [_("申请和经过都留存，编号不再使用。"), _("提供部门不再答复；还需要时另行申请。")],
            "form": form,
            "action": _("撤回申请"),
            "danger": True,
            "back": back,
            "back_label": _("不撤回"),
        },
        status=400 if form.errors else 200,
    )


@require_POST
@post_required(*STAFF_ROLES)
def supply_papers(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = queries.request_visible_to(request.post, pk)
    form = PapersForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            with transaction.atomic():
                for file in form.cleaned_data["papers"]:
                    actions.add_paper(found, by=request.post, name=file.name, file=file)
                actions.supply_papers(found, by=request.post, note=form.cleaned_data["note"])
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(request, _("已补正，提供部门继续办理，时限继续计算。"))
            return HttpResponseRedirect(reverse("sharing:request", args=[pk]))
    return page_response(request, found, form=form)


@post_required(*VIEWERS)
def paper(request: PostHttpRequest, pk: int, paper_id: int) -> HttpResponse:
    """A file handed in with the request, for whoever may see the request."""
    found = queries.request_visible_to(request.post, pk)
    attachment = workflow.attachments(queries.about_request(found)).filter(pk=paper_id).first()
    if attachment is None:
        raise RequestMissing
    file = workflow_actions.open_attachment(attachment)
    response = FileResponse(file, as_attachment=True, filename=attachment.name, content_type=attachment.media_type)
    return cast(HttpResponse, response)  # a view may answer with any response; only the stubs keep the two apart
