"""Review of a version by the department's administrator, the head, the authority: one page, the panel by whose turn it is."""

from collections.abc import Iterable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from jinqiao.accounts.enums import Role
from jinqiao.audit.trail import subject
from jinqiao.catalogue import actions, completeness, content, queries, rules
from jinqiao.catalogue.actions import Assessments
from jinqiao.catalogue.enums import VersionState
from jinqiao.catalogue.models import EntryVersion
from jinqiao.kernel.errors import InvalidInput, JinqiaoError
from jinqiao.kernel.rulesets import ruleset
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.catalogue import record
from jinqiao.web.catalogue.forms import HeadForm, ReviewForm, show_needed
from jinqiao.web.catalogue.problems import put_on, words_of
from jinqiao.web.catalogue.roles import DEPARTMENT_ROLES, REVIEW_READERS
from jinqiao.web.catalogue.views.entries import list_tabs
from jinqiao.web.errors import language
from jinqiao.web.pagination import page_of
from jinqiao.workflow import queries as desk
from jinqiao.workflow.models import Clock

_HEADINGS = {
    VersionState.DEPARTMENT_REVIEW: (gettext_lazy("部门审核"), gettext_lazy("审核通过，送第一责任人签发")),
    VersionState.HEAD_SIGNATURE: (gettext_lazy("第一责任人签发"), gettext_lazy("签发，送主管部门审核")),
    VersionState.AUTHORITY_REVIEW: (gettext_lazy("主管部门审核"), gettext_lazy("审核通过并发布")),
}


@post_required(*DEPARTMENT_ROLES)
def awaiting(request: PostHttpRequest) -> HttpResponse:
    """Versions whose next step is this post's."""
    page = page_of(request, queries.awaiting(request.post))
    clocks = _clocks(page.object_list)
    return render(
        request,
        "catalogue/awaiting.html",
        {
            "title": _("待我审核"),
            "tabs": list_tabs(request.post, "awaiting"),
            "page": page,
            "rows": [(version, clocks.get(version.pk)) for version in page.object_list],
        },
    )


@post_required(*REVIEW_READERS)
@require_http_methods(["GET", "POST"])
def review(request: PostHttpRequest, pk: int) -> HttpResponse:
    version = queries.version_for(request.post, pk)
    step = rules.step_of(request.post, version)
    form = _form(version, step, request)
    if request.method == "POST":
        _check_turn(request, version)
        if form is not None and form.is_valid():
            try:
                return _reviewed(request, version, step, form)
            except InvalidInput as error:
                put_on(form, error)
    return _page(request, version, step, form)


def _form(version: EntryVersion, step: VersionState | None, request: PostHttpRequest) -> ReviewForm | None:
    if step is None:
        return None
    data = request.POST if request.method == "POST" else None
    if step != VersionState.HEAD_SIGNATURE:
        return ReviewForm(data)
    names = ("secrecy_risk_conclusion", "personal_information", "personal_information_conclusion")
    return HeadForm(data, initial={name: getattr(version, name) for name in names})


def _check_turn(request: PostHttpRequest, version: EntryVersion) -> None:
    """Raise why this post cannot act now."""
    check = {
        Role.HEAD: rules.check_may_sign_as_head,
        Role.BUREAU: rules.check_may_review_as_authority,
    }.get(Role(request.post.role), rules.check_may_review_as_department)
    check(request.post, version)


def _reviewed(
    request: PostHttpRequest, version: EntryVersion, step: VersionState | None, form: ReviewForm
) -> HttpResponse:
    approved = request.POST.get("approved") == "yes"
    opinion = form.cleaned_data["opinion"]
    if step == VersionState.DEPARTMENT_REVIEW:
        actions.review_as_department(version, by=request.post, approved=approved, opinion=opinion)
        done = _("审核通过，已送第一责任人签发。")
    elif step == VersionState.HEAD_SIGNATURE:
        assessed = Assessments(
            form.cleaned_data["secrecy_risk_conclusion"],
            form.cleaned_data["personal_information"],
            form.cleaned_data["personal_information_conclusion"],
        )
        actions.sign_as_head(version, by=request.post, approved=approved, opinion=opinion, assessments=assessed)
        done = _("已签发，送主管部门审核。")
    else:
        version = actions.review_as_authority(version, by=request.post, approved=approved, opinion=opinion)
        done = _("已发布，信息资源代码%s。") % version.entry.code
    messages.success(request, done if approved else _("已退回编制人修改。"))
    return HttpResponseRedirect(reverse("catalogue:review", args=[version.pk]))


def _page(
    request: PostHttpRequest, version: EntryVersion, step: VersionState | None, form: ReviewForm | None
) -> HttpResponse:
    entry = version.entry
    live = entry.live_version
    if live is None or live.pk == version.pk:
        live = entry.versions.filter(number__lt=version.number, published_at__isnull=False).order_by("-number").first()
    if isinstance(form, HeadForm):
        show_needed(form, form.needed)
    heading, button = _HEADINGS.get(step, ("", "")) if step else ("", "")
    values: dict[str, Any] = {
        **record.page_values(entry, version, request.post),
        "title": version.name,
        "steps": record.course(version),
        "step": step,
        "heading": heading,
        "button": button,
        "form": form,
        "changes": record.changes(live, version),
        "before": live,
        "blocked": _why_not(request, version) if step is None else "",
        "missing": _missing(version),
        "may_edit": rules.may_change(request.post, version),
        "waiting": desk.open_todos(subject(version)),
    }
    return render(request, "catalogue/review.html", values, status=400 if form is not None and form.errors else 200)


def _why_not(request: PostHttpRequest, version: EntryVersion) -> str:
    """Why a reviewer whose step it is cannot take it, as with one's own work."""
    turns = {
        VersionState.DEPARTMENT_REVIEW: Role.DEPARTMENT_ADMINISTRATOR,
        VersionState.HEAD_SIGNATURE: Role.HEAD,
        VersionState.AUTHORITY_REVIEW: Role.BUREAU,
    }
    if turns.get(VersionState(version.state)) != request.post.role:
        return ""
    try:
        _check_turn(request, version)
    except JinqiaoError as error:
        text = error.text(language())
        return f"{text.message}{text.mend}"
    return ""


def _missing(version: EntryVersion) -> list[str]:
    """What publication will still ask for (条例 第十三条)."""
    if version.state not in (VersionState.DEPARTMENT_REVIEW, VersionState.HEAD_SIGNATURE):
        return []
    required = ruleset(version.rule_set).publication
    return [words_of(finding) for finding in completeness.unassessed(content.values_of(version), required)]


def _clocks(versions: Iterable[EntryVersion]) -> dict[int, Clock]:
    """The running clock of each version that has one, in one query."""
    keys = [str(version.pk) for version in versions]
    found = Clock.objects.filter(about_type=EntryVersion._meta.label_lower, about_id__in=keys, stopped_on__isnull=True)
    return {int(clock.about_id): clock for clock in found.order_by("-due_on")}
