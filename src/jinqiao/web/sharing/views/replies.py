"""The provider's reply, its head's approval, and more time with the authority's consent."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from jinqiao.accounts.enums import Role
from jinqiao.kernel.contracts.grants import SharingMode
from jinqiao.kernel.errors import InvalidInput
from jinqiao.kernel.rulesets import ruleset
from jinqiao.sharing import actions, queries, rules, terms
from jinqiao.sharing.models import Decision, SharingRequest
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Crumb
from jinqiao.web.sharing import conditions, record
from jinqiao.web.sharing.forms import AGREE, ASK, REFUSE, ExtensionForm, OpinionForm, ReplyForm
from jinqiao.web.sharing.problems import put_on
from jinqiao.web.sharing.roles import STAFF_ROLES
from jinqiao.web.sharing.views.requests import page_response
from jinqiao.workflow import queries as workflow


@post_required(*STAFF_ROLES)
def decide(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Draft the reply: agree item by item with masks, ask for papers, or refuse by an article."""
    found = queries.request_visible_to(request.post, pk)
    rules.check_may_answer(found, request.post)
    known = terms.items_of(found.version)
    before = Decision.objects.filter(request=found).first()
    # what is shown on a screen is masked unless decided otherwise; a batch feeds registers, which need keys and names
    is_shown = found.mode == SharingMode.INTERFACE
    suggested = {code: terms.suggested_mask(known[code]).value for code in found.items if is_shown and code in known}
    form = ReplyForm(
        request.POST or None,
        request=found,
        known=known,
        rule_set=ruleset(found.rule_set),
        masks={**suggested, **(before.masks if before else {})},
        initial=_initial(found, before),
    )
    is_post = request.method == "POST"
    lines = conditions.condition_forms(known, request.POST if is_post else None, before.row_filter if before else ())
    if is_post and form.is_valid() and lines.is_valid():
        try:
            said = _reply(found, form, conditions.conditions_of(lines), request)
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(request, said)
            return HttpResponseRedirect(reverse("sharing:request", args=[pk]))
    about = queries.about_request(found)
    names = {code: item.name for code, item in known.items()}
    return render(
        request,
        "sharing/decide.html",
        {
            "title": _("答复%(consumer)s的申请") % {"consumer": found.consumer.short_name},
            "crumbs": [Crumb(found.number, reverse("sharing:request", args=[pk]))],
            "found": found,
            "form": form,
            "lines": lines,
            "clock": workflow.clocks_of(about).filter(key__startswith="request.reply.").last(),
            "pairs": record.request_pairs(found, None),
            "conditions": conditions.described(found.row_filter, names),
            "options": _options(form, found, known),
            "running": queries.running_grant(found),
            "returned": before,
        },
        status=400 if form.errors else 200,
    )


def _initial(found: SharingRequest, before: Decision | None) -> dict[str, Any]:
    if before is None:
        return {"items": found.items, "valid_until": found.use_until}
    return {
        "reply": AGREE if before.agrees else REFUSE,
        "items": before.items or found.items,
        "valid_until": before.valid_until or found.use_until,
        "article": before.article,
        "reason": before.reason,
    }


def _options(form: ReplyForm, found: SharingRequest, known: dict[str, Any]) -> list[dict[str, Any]]:
    chosen = form["items"].value() or []
    return [
        {
            "item": known[code],
            "is_chosen": code in chosen,
            "mask": form[form.mask_names[code]] if code in form.mask_names else None,
        }
        for code in found.items
        if code in known
    ]


def _reply(found: SharingRequest, form: ReplyForm, row_filter: list[terms.Condition], request: PostHttpRequest) -> str:
    """Do what was chosen; the words that say so."""
    values = form.cleaned_data
    if values["reply"] == ASK:
        actions.ask_for_papers(found, by=request.post, missing=values["missing"])
        return _("已告知需求部门补正，时限暂停计算。")
    if values["reply"] == REFUSE:
        actions.draft_decision(found, by=request.post, agrees=False, article=values["article"], reason=values["reason"])
    else:
        actions.draft_decision(
            found,
            by=request.post,
            agrees=True,
            items=values["items"],
            masks=form.masks(),
            row_filter=row_filter,
            valid_until=values["valid_until"],
            reason=values["reason"],
        )
    return _("答复已拟好，待本部门负责人审批。")


@require_POST
@post_required(Role.HEAD)
def approve(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The provider's head approves the reply or sends it back."""
    found = queries.request_visible_to(request.post, pk)
    form = OpinionForm(request.POST)
    if form.is_valid():
        approved = request.POST.get("approved") == "yes"
        try:
            grant = actions.approve_decision(
                found, by=request.post, approved=approved, opinion=form.cleaned_data["opinion"]
            )
        except InvalidInput as error:
            put_on(form, error)
        else:
            if grant is not None:
                messages.success(request, _("已批准，授权%(number)s生效。") % {"number": grant.number})
            else:
                messages.success(request, _("答复已发出。") if approved else _("已退回重拟。"))
            return HttpResponseRedirect(reverse("sharing:request", args=[pk]))
    return page_response(request, found, form=form)


@post_required(*STAFF_ROLES)
def ask_extension(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Ask the authority for more working days."""
    found = queries.request_visible_to(request.post, pk)
    rules.check_may_answer(found, request.post)
    back = reverse("sharing:request", args=[pk])
    most = queries.extension_days_possible(found)
    form = ExtensionForm(request.POST if request.method == "POST" else None, initial={"days": most or None})
    if request.method == "POST" and form.is_valid():
        try:
            actions.ask_extension(
                found, by=request.post, days=form.cleaned_data["days"], reason=form.cleaned_data["reason"]
            )
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(request, _("延期申请已送主管部门。"))
            return HttpResponseRedirect(back)
    return render(
        request,
        "components/confirm.html",
        {
            "title": _("申请延期答复 %(number)s") % {"number": found.number},
            "crumbs": [Crumb(found.number, back)],
            "what_stays": [
                _("延期只能申请一次，最多%(days)s个工作日，须主管部门同意并告知需求部门（条例第二十一条）。")
                % {"days": most},
                _("同意前，原时限继续计算。"),
            ],
            "form": form,
            "action": _("提交延期申请"),
            "back": back,
            "back_label": _("不申请延期"),
        },
        status=400 if form.errors else 200,
    )


@require_POST
@post_required(Role.BUREAU)
def decide_extension(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The authority consents to more time, or not."""
    found = queries.request_visible_to(request.post, pk)
    form = OpinionForm(request.POST)
    if form.is_valid():
        approved = request.POST.get("approved") == "yes"
        try:
            actions.decide_extension(found, by=request.post, approved=approved, opinion=form.cleaned_data["opinion"])
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(request, _("已同意延期并告知需求部门。") if approved else _("已答复不同意延期。"))
            return HttpResponseRedirect(reverse("sharing:request", args=[pk]))
    return page_response(request, found, form=form)
