"""Drafting a request: a new one from the page of an entry, and changing a draft."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from jinqiao.catalogue.models import CatalogueEntry, DataItem, EntryVersion
from jinqiao.kernel.errors import InvalidInput, NotFound
from jinqiao.sharing import actions, queries, rules, terms
from jinqiao.sharing.models import SharingRequest
from jinqiao.sharing.terms import Condition
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Crumb
from jinqiao.web.navigation import url_of
from jinqiao.web.sharing.conditions import condition_forms, conditions_of
from jinqiao.web.sharing.forms import RequestForm, request_initial
from jinqiao.web.sharing.problems import put_on, words_of
from jinqiao.web.sharing.roles import STAFF_ROLES

Keep = Callable[[dict[str, Any]], SharingRequest]


@post_required(*STAFF_ROLES)
def new(request: PostHttpRequest, entry_id: int) -> HttpResponse:
    """A request for an entry, begun from its page."""
    entry = CatalogueEntry.objects.select_related("live_version", "provider").filter(pk=entry_id).first()
    if entry is None:
        raise NotFound
    version = rules.check_may_request(entry, request.post)

    def keep(fields: dict[str, Any]) -> SharingRequest:
        return actions.draft_request(entry, by=request.post, fields=fields)

    crumbs = [Crumb(version.name, url_of("catalogue:entry", entry.pk))]
    return _form_page(request, version, keep, title=_("申请使用“%(entry)s”") % {"entry": version.name}, crumbs=crumbs)


@post_required(*STAFF_ROLES)
def edit(request: PostHttpRequest, pk: int) -> HttpResponse:
    """A draft, on the entry's version of now."""
    found = queries.request_visible_to(request.post, pk)
    rules.check_may_edit(found, request.post)
    version = rules.check_may_request(found.entry, request.post)

    def keep(fields: dict[str, Any]) -> SharingRequest:
        return actions.save_request(found, by=request.post, fields=fields)

    return _form_page(
        request,
        version,
        keep,
        title=_("修改申请 %(number)s") % {"number": found.number},
        crumbs=[Crumb(found.number, reverse("sharing:request", args=[pk]))],
        initial=request_initial(found),
        row_filter=found.row_filter,
        found=found,
    )


def _form_page(
    request: PostHttpRequest,
    version: EntryVersion,
    keep: Keep,
    *,
    title: str,
    crumbs: list[Crumb],
    initial: dict[str, Any] | None = None,
    row_filter: list[Condition] | None = None,
    found: SharingRequest | None = None,
) -> HttpResponse:
    known = terms.items_of(version)
    is_post = request.method == "POST"
    form = RequestForm(request.POST or None, request.FILES or None, known=known, initial=initial)
    lines = condition_forms(known, request.POST if is_post else None, row_filter or [])
    if is_post and form.is_valid() and lines.is_valid():
        fields = {**form.cleaned_data, "row_filter": conditions_of(lines)}
        papers = fields.pop("papers")
        is_submitted = request.POST.get("then") == "submit"
        try:
            with transaction.atomic():
                kept = keep(fields)
                for file in papers:
                    actions.add_paper(kept, by=request.post, name=file.name, file=file)
                if is_submitted:
                    actions.submit_request(kept, by=request.post)
        except InvalidInput as error:
            put_on(form, error)
        else:
            messages.success(
                request, _("已提交本部门负责人审批。") if is_submitted else _("草稿已保存，提交后才开始办理。")
            )
            return HttpResponseRedirect(reverse("sharing:request", args=[kept.pk]))
    values = {
        "title": title,
        "crumbs": crumbs,
        "form": form,
        "lines": lines,
        "version": version,
        "provider": version.entry.provider,
        "found": found,
        "options": _options(form, known),
        "back": reverse("sharing:request", args=[found.pk]) if found else url_of("catalogue:entry", version.entry_id),
    }
    return render(request, "sharing/request_form.html", values, status=400 if form.errors else 200)


def _options(form: RequestForm, known: dict[str, DataItem]) -> list[tuple[DataItem, bool]]:
    """The items of the entry with whether they are ticked."""
    chosen = form["items"].value() or []
    return [(item, code in chosen) for code, item in known.items()]


@require_POST
@post_required(*STAFF_ROLES)
def submit(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Submit a saved draft as it stands; what it lacks is mended on its form."""
    found = queries.request_visible_to(request.post, pk)
    try:
        actions.submit_request(found, by=request.post)
    except InvalidInput as error:
        messages.error(request, words_of(error))
        return HttpResponseRedirect(reverse("sharing:request_edit", args=[pk]))
    messages.success(request, _("已提交本部门负责人审批。"))
    return HttpResponseRedirect(reverse("sharing:request", args=[pk]))
