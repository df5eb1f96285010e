"""Compiling an entry: a new one, a draft, a revision, its submission."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.catalogue import actions, content, errors, queries, rules
from jinqiao.catalogue.formats import FORMAT_TYPES
from jinqiao.catalogue.models import EntryVersion
from jinqiao.kernel.errors import InvalidInput
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.catalogue.forms import SECTIONS, EntryForm, ItemForms, ReviseForm, item_values
from jinqiao.web.catalogue.problems import put_on
from jinqiao.web.catalogue.roles import COMPILER_ROLES
from jinqiao.web.components import Crumb

_FIRST_ROWS = 5
_MORE_ROWS = 5


@post_required(*COMPILER_ROLES)
@require_http_methods(["GET", "POST"])
def new(request: PostHttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _posted(request, None)
    return _page(request, None, EntryForm(), ItemForms(initial=[{} for _row in range(_FIRST_ROWS)], prefix="items"))


@post_required(*COMPILER_ROLES)
@require_http_methods(["GET", "POST"])
def edit(request: PostHttpRequest, pk: int) -> HttpResponse:
    version = queries.version_for(request.post, pk)
    rules.check_may_change(request.post, version)
    if request.method == "POST":
        return _posted(request, version)
    initial = {**content.values_of(version), "node": version.entry.node_id}
    form = EntryForm(initial=initial, class_is_fixed=bool(version.entry.code))
    rows = content.item_values(version.items.order_by("position"))
    return _page(request, version, form, ItemForms(initial=rows or [{} for _row in range(_FIRST_ROWS)], prefix="items"))


def _posted(request: PostHttpRequest, version: EntryVersion | None) -> HttpResponse:
    then = request.POST.get("then", "save")
    if then == "more":
        return _with_more_rows(request, version)
    form = EntryForm(request.POST, class_is_fixed=bool(version and version.entry.code))
    items = ItemForms(request.POST, prefix="items")
    if not (form.is_valid() and items.is_valid()):
        return _page(request, version, form, items, status=400)
    filled = [item for item in items if not item.is_empty]
    try:
        saved = _saved(request, version, form, item_values(filled))
    except InvalidInput as error:
        put_on(form, error, filled)
        return _page(request, version, form, items, status=400)
    if then != "submit":
        messages.success(request, _("草稿已保存。"))
        return HttpResponseRedirect(reverse("catalogue:edit", args=[saved.pk]))
    try:
        actions.submit(saved, by=request.post)
    except InvalidInput as error:
        put_on(form, error, filled)
        messages.info(request, _("草稿已保存，还不能提交。"))
        return _page(request, saved, form, items, status=400)
    messages.success(request, _("已提交，由部门管理员审核。"))
    return HttpResponseRedirect(reverse("catalogue:review", args=[saved.pk]))


def _saved(
    request: PostHttpRequest, version: EntryVersion | None, form: EntryForm, items: list[dict[str, Any]]
) -> EntryVersion:
    node: Any = form.cleaned_data.get("node")
    if version is None:
        return actions.create_entry(by=request.post, node=node, fields=form.values(), items=items)
    return actions.save_draft(version, by=request.post, fields=form.values(), items=items, node=node)


def _with_more_rows(request: PostHttpRequest, version: EntryVersion | None) -> HttpResponse:
    """The form as it was sent, with empty rows for more items; nothing is checked or saved."""
    data: QueryDict = request.POST.copy()
    count = data.get("items-TOTAL_FORMS", "0")
    data["items-TOTAL_FORMS"] = str((int(count) if count.isdecimal() and len(count) < 5 else 0) + _MORE_ROWS)
    form = EntryForm(data, class_is_fixed=bool(version and version.entry.code))
    items = ItemForms(data, prefix="items")
    for one in (form, *items):
        one.full_clean()
        one.errors.clear()  # shown as entered, judged when it is saved
    return _page(request, version, form, items)


def _page(
    request: PostHttpRequest, version: EntryVersion | None, form: EntryForm, items: Any, *, status: int = 200
) -> HttpResponse:
    form.show_needed()
    title = _("修改“%s”") % version.name if version else _("新建目录")
    values = {
        "title": title,
        "version": version,
        "form": form,
        "items": items,
        "item_errors": [
            (number, bound, message)
            for number, item in enumerate(items, start=1)
            if item.is_bound
            for bound in item
            for message in bound.errors
        ],
        "sections": [
            {"heading": heading, "note": note, "fields": ",".join(name for name in names if name in form.fields)}
            for heading, note, names in SECTIONS
        ],
        "provider": request.post.organisation,
        "format_types": sorted({name for names in FORMAT_TYPES.values() for name in names}, key=str.casefold),
        "post_to": reverse("catalogue:edit", args=[version.pk]) if version else reverse("catalogue:new"),
        "back": reverse("catalogue:entry", args=[version.entry_id]) if version else reverse("catalogue:mine"),
    }
    return render(request, "catalogue/entry_form.html", values, status=status)


@require_POST
@post_required(*COMPILER_ROLES)
def submit(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Submit a draft from its page; what is missing is shown in its form."""
    version = queries.version_for(request.post, pk)
    rules.check_may_change(request.post, version)
    try:
        actions.submit(version, by=request.post)
    except errors.Findings as error:
        rows = content.item_values(version.items.order_by("position"))
        form = EntryForm(_as_sent(version), class_is_fixed=bool(version.entry.code))
        items = ItemForms(_items_as_sent(rows), prefix="items")
        form.is_valid()
        items.is_valid()
        put_on(form, error, list(items))
        return _page(request, version, form, items, status=400)
    messages.success(request, _("已提交，由部门管理员审核。"))
    return HttpResponseRedirect(reverse("catalogue:review", args=[pk]))


def _as_sent(version: EntryVersion) -> QueryDict:
    data = QueryDict(mutable=True)
    for name, value in {**content.values_of(version), "node": version.entry.node_id}.items():
        if value not in (None, False):
            data[name] = str(value)
    return data


def _items_as_sent(rows: list[dict[str, Any]]) -> QueryDict:
    data = QueryDict(mutable=True)
    data["items-TOTAL_FORMS"] = str(len(rows))
    data["items-INITIAL_FORMS"] = "0"
    for number, row in enumerate(rows):
        for name, value in row.items():
            if value not in (None, False):
                data[f"items-{number}-{name}"] = str(value)
    return data


@post_required(*COMPILER_ROLES)
@require_http_methods(["GET", "POST"])
def revise(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Begin a new version of a published entry."""
    found = queries.visible_to(request.post).filter(pk=pk).first()
    if found is None or found.live_version is None:
        raise errors.EntryNotFound
    rules.check_may_compile(request.post, found.provider)
    form = ReviseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        version = actions.start_revision(found, by=request.post, changed_on=form.cleaned_data["changed_on"])
        return HttpResponseRedirect(reverse("catalogue:edit", args=[version.pk]))
    back = reverse("catalogue:entry", args=[pk])
    return render(
        request,
        "components/confirm.html",
        {
            "title": _("修改“%s”，编制新版？") % found.live_version.name,
            "crumbs": [Crumb(found.live_version.name, back)],
            "what_stays": [
                _("现在这一版继续有效，新版发布后才替代它。"),
                _("两项评估要对新版重新作出，由第一责任人签发。"),
            ],
            "form": form,
            "action": _("编制新版"),
            "back": back,
        },
        status=400 if form.errors else 200,
    )


@post_required(*COMPILER_ROLES)
@require_http_methods(["GET", "POST"])
def discard(request: PostHttpRequest, pk: int) -> HttpResponse:
    version = queries.version_for(request.post, pk)
    rules.check_may_change(request.post, version)
    back = reverse("catalogue:edit", args=[pk])
    if request.method == "POST":
        actions.discard_draft(version, by=request.post)
        messages.success(request, _("草稿已放弃。"))
        return HttpResponseRedirect(reverse("catalogue:mine"))
    live = version.entry.live_version
    return render(
        request,
        "components/confirm.html",
        {
            "title": _("放弃“%s”的草稿？") % version.name,
            "crumbs": [Crumb(version.name, back)],
            "what_stays": [
                _("已发布的第%d版不变。") % live.number if live else _("这项目录还没有发布过，将一并撤销。")
            ],
            "action": _("放弃草稿"),
            "danger": True,
            "back": back,
            "back_label": _("不放弃"),
        },
    )
