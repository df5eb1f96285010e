"""Regions, organisations and their sections."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.accounts import actions, errors, queries
from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Organisation
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.kernel.identifiers.errors import IdentifierInvalid
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.forms import (
    OrganisationFields,
    OrganisationFilter,
    OrganisationForm,
    RegionForm,
    SectionForm,
)
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair, Tab, TreeNode
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

SEERS = (Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.BUREAU)
_FIELDS: dict[type[JinqiaoError], str] = {
    IdentifierInvalid: "credit_code",
    errors.OrganisationStands: "name",
    errors.AuthorityStands: "is_authority",
    errors.ParentRing: "parent",
}


@post_required(*SEERS)
def organisations(request: PostHttpRequest) -> HttpResponse:
    """All organisations as a tree; as a list where something is looked for, or asked by `?view=list`."""
    form = OrganisationFilter(request.GET)
    form.is_valid()
    text, state = form.cleaned_data.get("q", "").strip(), form.cleaned_data.get("state", "")
    branches = queries.organisation_tree(text=text)
    if state:
        branches = [branch for branch in branches if branch.organisation.is_active == (state == "active")]
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("机构"),
            [_("全称"), _("简称"), _("统一社会信用代码"), _("类别"), _("所在区划"), _("在任人数"), _("在用")],
            (
                (
                    branch.organisation.name,
                    branch.organisation.short_name,
                    branch.organisation.credit_code,
                    branch.organisation.get_kind_display(),
                    branch.organisation.region.name,
                    branch.people,
                    branch.organisation.is_active,
                )
                for branch in branches
            ),
        )
    is_list = bool(text or state or request.GET.get("view") == "list")
    here = reverse("accounts:organisations")
    values: dict[str, Any] = {
        "title": pgettext("list", "机构"),
        "form": form,
        "count": len(branches),
        "is_list": is_list,
        "tabs": [Tab(_("树"), here, not is_list), Tab(_("列表"), f"{here}?view=list", is_list)],
        "may_edit": request.post.role == Role.SYSTEM_ADMINISTRATOR,
    }
    if is_list:
        values["page"] = page_of(request, branches)
    else:
        values["nodes"] = _nodes(branches)
    return render(request, "accounts/organisation_list.html", values)


def _nodes(branches: list[queries.Branch]) -> list[TreeNode]:
    """The flat tree (parents before children, with depths) as nested nodes, the first two levels unfolded."""
    top: list[TreeNode] = []
    path: list[list[TreeNode]] = [top]
    for branch in branches:
        body = branch.organisation
        children: list[TreeNode] = []
        label = body.name if body.is_active else _("%(name)s（已停用）") % {"name": body.name}
        node = TreeNode(
            label,
            reverse("accounts:organisation", args=[body.pk]),
            count=branch.people,
            is_open=branch.depth < 2,
            children=children,
        )
        del path[branch.depth + 1 :]
        path[branch.depth].append(node)
        path.append(children)
    return top


@post_required(*SEERS)
def organisation(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One organisation: what it is, its sections, who holds which post, its applications."""
    body = get_object_or_404(Organisation.objects.select_related("region", "parent"), pk=pk)
    return _organisation_page(request, body, SectionForm())


def _organisation_page(request: PostHttpRequest, body: Organisation, section_form: SectionForm) -> HttpResponse:
    parent_url = reverse("accounts:organisation", args=[body.parent_id]) if body.parent_id else ""
    values = {
        "title": body.name,
        "organisation": body,
        "pairs": [
            Pair(_("信用代码"), body.credit_code, code=True),
            Pair(_("简称"), body.short_name),
            Pair(_("类别"), body.get_kind_display()),
            Pair(_("所在区划"), f"{body.region.name} {body.region.code}"),
            Pair(_("上级机构"), body.parent.name if body.parent else "", url=parent_url),
            Pair(_("次序"), body.position),
        ],
        "posts": queries.posts_at(body),
        "sections": body.sections.all(),
        "children": body.children.order_by("position", "credit_code"),
        "applications": body.applications.select_related("contact").order_by("number"),
        "section_form": section_form,
        "may_edit": request.post.role == Role.SYSTEM_ADMINISTRATOR,
        "may_see_people": request.post.role != Role.BUREAU,
    }
    return render(request, "accounts/organisation.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def organisation_new(request: PostHttpRequest) -> HttpResponse:
    form = OrganisationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            body = actions.add_organisation(by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, _FIELDS)
        else:
            messages.success(request, _("已登记%(name)s。") % {"name": body.name})
            return HttpResponseRedirect(reverse("accounts:organisation", args=[body.pk]))
    return _form_page(request, _("登记机构"), form, _("登记机构"), reverse("accounts:organisations"))


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def organisation_edit(request: PostHttpRequest, pk: int) -> HttpResponse:
    body = get_object_or_404(Organisation, pk=pk)
    initial = {
        "name": body.name,
        "short_name": body.short_name,
        "kind": body.kind,
        "parent": body.parent_id,
        "is_authority": body.is_authority,
        "position": body.position,
    }
    form = OrganisationFields(request.POST or None, initial=initial)
    back = reverse("accounts:organisation", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.edit_organisation(body, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, _FIELDS)
        else:
            messages.success(request, _("已保存。"))
            return HttpResponseRedirect(back)
    return _form_page(request, _("修改%(name)s") % {"name": body.short_name}, form, _("保存修改"), back)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def organisation_close(request: PostHttpRequest, pk: int) -> HttpResponse:
    body = get_object_or_404(Organisation, pk=pk, is_active=True)
    back = reverse("accounts:organisation", args=[pk])
    if request.method == "POST":
        actions.close_organisation(body, by=request.post)
        messages.success(request, _("已停用%(name)s。") % {"name": body.name})
        return HttpResponseRedirect(back)
    values = {
        "title": _("停用机构"),
        "question": _("停用%(name)s？") % {"name": body.name},
        "what_stays": [
            _("已有的目录、授权和留痕都保留，新事项不再能选到它。"),
            _("还有人在任的机构不能停用。"),
        ],
        "action": _("停用机构"),
        "danger": True,
        "back": back,
    }
    return render(request, "components/confirm.html", values)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_POST
def organisation_reopen(request: PostHttpRequest, pk: int) -> HttpResponse:
    body = get_object_or_404(Organisation, pk=pk, is_active=False)
    actions.reopen_organisation(body, by=request.post)
    messages.success(request, _("已恢复使用%(name)s。") % {"name": body.name})
    return HttpResponseRedirect(reverse("accounts:organisation", args=[pk]))


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_POST
def section_add(request: PostHttpRequest, pk: int) -> HttpResponse:
    body = get_object_or_404(Organisation.objects.select_related("region", "parent"), pk=pk)
    form = SectionForm(request.POST)
    if form.is_valid():
        try:
            section = actions.add_section(by=request.post, organisation=body, name=form.cleaned_data["name"])
        except errors.SectionStands as error:
            explain(request, form, error, {errors.SectionStands: "name"})
        else:
            messages.success(request, _("已增加科室%(name)s。") % {"name": section.name})
            return HttpResponseRedirect(reverse("accounts:organisation", args=[pk]))
    return _organisation_page(request, body, form)


@post_required(Role.SYSTEM_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def region_new(request: PostHttpRequest) -> HttpResponse:
    form = RegionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            region = actions.add_region(by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, {IdentifierInvalid: "code", errors.RegionStands: "code"})
        else:
            messages.success(request, _("已登记%(name)s。") % {"name": region.name})
            return HttpResponseRedirect(reverse("accounts:organisations"))
    return _form_page(request, _("登记区划"), form, _("登记区划"), reverse("accounts:organisations"))


def _form_page(request: HttpRequest, title: str, form: Any, action: str, back: str) -> HttpResponse:
    values = {"title": title, "form": form, "action": action, "back": back}
    return render(request, "accounts/form.html", values)
