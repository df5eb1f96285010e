"""Entries: the page of one, the list of one's own, withdrawal."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.accounts.models import Post
from jinqiao.catalogue import actions, errors, queries, rules, workbook
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.sharing.rules import STAFF
from jinqiao.web.access import READERS, PostHttpRequest, post_required, public
from jinqiao.web.catalogue import record
from jinqiao.web.catalogue.downloads import workbook_response
from jinqiao.web.catalogue.forms import MineFilter, WithdrawForm
from jinqiao.web.catalogue.roles import DEPARTMENT_ROLES
from jinqiao.web.components import Crumb, Tab
from jinqiao.web.pagination import page_of


@public
def entry(request: HttpRequest, pk: int) -> HttpResponse:
    """An entry as this reader may see it: the live version, or another that `?version=` asks for."""
    post: Post | None = getattr(request, "post", None)
    found = _found(post, pk)
    versions = list(queries.versions_visible_to(post, found))
    version = _asked_version(request, found, versions)
    version.entry = found
    values = record.page_values(found, version, post)
    live = found.live_version
    work = next((one for one in versions if one.state in rules.IN_WORK), None)
    before = next((one for one in versions if one.number < version.number and one.published_at), None)
    return render(
        request,
        "catalogue/entry.html",
        {
            **values,
            "title": version.name,
            "chain": record.chain(found, version, post, len(values["items"])),
            "versions": record.version_events(versions, found, version),
            "changes": record.changes(before, version),
            "before": before,
            "is_live": live is not None and live.pk == version.pk,
            "work": work if values["inside"] else None,
            "may_ask": _may_ask(post, found),
            "may_revise": work is None and live is not None and rules.may_compile(post, found.provider),
            "may_edit": work is not None and rules.may_change(post, work),
            "may_withdraw": rules.may_withdraw(post, found),
            "may_export": post is not None and post.role in READERS,
        },
    )


@post_required(*READERS)
def entry_workbook(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One entry as the filled form: its live version, or the one in work of one's own department."""
    found = _found(request.post, pk)
    version = found.live_version or queries.versions_visible_to(request.post, found).first()
    if version is None:
        raise errors.EntryNotFound
    version.entry = found
    return workbook_response(version.name, workbook.export_entries([version]))


@post_required(*DEPARTMENT_ROLES)
def mine(request: PostHttpRequest) -> HttpResponse:
    """Entries of the post's organisation in any state."""
    post = request.post
    form = MineFilter(request.GET)
    wanted = form.cleaned_data if form.is_valid() else {}
    entries = queries.of_organisation(post.organisation, state=wanted.get("state", ""), text=wanted.get("q", ""))
    if request.GET.get("export") == "xlsx":
        return workbook_response(
            _("%s政务信息资源目录") % post.organisation.short_name, workbook.export_entries(_current_versions(entries))
        )
    page = page_of(request, entries)
    return render(
        request,
        "catalogue/mine.html",
        {
            "title": _("本部门目录"),
            "tabs": list_tabs(post, "mine"),
            "form": form,
            "page": page,
            "rows": [_mine_row(one) for one in page.object_list],
            "may_compile": rules.may_compile(post, post.organisation),
        },
    )


@post_required(*DEPARTMENT_ROLES)
@require_http_methods(["GET", "POST"])
def withdraw(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = _found(request.post, pk)
    rules.check_may_withdraw(request.post, found)
    back = reverse("catalogue:entry", args=[pk])
    form = WithdrawForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        actions.withdraw(found, by=request.post, reason=form.cleaned_data["reason"])
        messages.success(request, _("目录已撤销。"))
        return HttpResponseRedirect(reverse("catalogue:mine"))
    name = found.live_version.name if found.live_version else str(found)
    return render(
        request,
        "components/confirm.html",
        {
            "title": _("撤销目录“%s”？") % name,
            "crumbs": [Crumb(name, back)],
            "what_stays": [
                _("各版内容和审核记录都留存，代码不再使用。"),
                _("检索里不再出现，不再接受新的申请。"),
                _("已有的授权由提供方另行处理。"),
            ],
            "form": form,
            "action": _("撤销目录"),
            "danger": True,
            "back": back,
            "back_label": _("不撤销"),
        },
        status=400 if form.errors else 200,
    )


def list_tabs(post: Post, current: str) -> list[Tab]:
    waiting = queries.awaiting(post).order_by().count()
    own = CatalogueEntry.objects.filter(provider=post.organisation).count()
    return [
        Tab(_("本部门目录"), reverse("catalogue:mine"), current == "mine", own),
        Tab(_("待我审核"), reverse("catalogue:review_list"), current == "awaiting", waiting),
    ]


def _found(post: Post | None, pk: int) -> CatalogueEntry:
    found = (
        queries.visible_to(post)
        .select_related("live_version", "provider__region", "node__parent__parent")
        .filter(pk=pk)
        .first()
    )
    if found is None:
        raise errors.EntryNotFound
    return found


def _asked_version(request: HttpRequest, entry: CatalogueEntry, versions: list[EntryVersion]) -> EntryVersion:
    asked = request.GET.get("version", "")
    if asked:
        found = next((version for version in versions if str(version.number) == asked), None)
    else:
        found = next(
            (version for version in versions if version.pk == entry.live_version_id), next(iter(versions), None)
        )
    if found is None:
        raise errors.EntryNotFound
    return found


def _may_ask(post: Post | None, entry: CatalogueEntry) -> bool:
    return (
        post is not None
        and post.role in STAFF
        and post.organisation_id != entry.provider_id
        and entry.live_version is not None
        and entry.live_version.sharing_category != "3"
    )


def _mine_row(entry: Any) -> dict[str, Any]:
    """The newest version names the row; the one in work, if any, says what happens now."""
    newest = entry.all_versions[0]
    work = entry.work[0] if entry.work else None
    return {"entry": entry, "version": work or entry.live_version or newest, "work": work, "live": entry.live_version}


def _current_versions(entries: Any) -> list[EntryVersion]:
    chosen = {(one.work[0] if one.work else one.live_version or one.all_versions[0]).pk for one in entries}
    return list(
        EntryVersion.objects.filter(pk__in=chosen)
        .select_related("entry__provider", "entry__node")
        .prefetch_related("items")
        .order_by("entry_id")
    )
