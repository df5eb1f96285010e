"""The lists behind the figures of the dashboard."""

from datetime import date, datetime
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.accounts.models import Organisation, Post
from jinqiao.exchange.enums import RunState
from jinqiao.kernel.errors import NotFound
from jinqiao.sharing.enums import RequestState
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Text
from jinqiao.web.dashboard.rows import LISTINGS, Column, Filters, Listing, plain, rows_of
from jinqiao.web.dashboard.viewers import VIEWERS, scope_of
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of
from jinqiao.web.targets import page_for

STATE_WORDS: dict[str, Text] = {
    **dict(RequestState.choices),
    **dict(RunState.choices),
    "ok": gettext_lazy("已答复"),
    "refused": gettext_lazy("已拒绝"),
}


class RowFilter(forms.Form):
    """What links of the dashboard carry; a value that makes no sense narrows nothing."""

    department = forms.IntegerField(required=False, min_value=1, max_value=2**53)
    state = forms.CharField(required=False, max_length=20)
    day = forms.DateField(required=False)


@post_required(*VIEWERS)
def dashboard_rows(request: PostHttpRequest, figure: str) -> HttpResponse:
    """The rows that a figure counts, with the link to each where the post may follow it."""
    listing = LISTINGS.get(figure)
    if listing is None:
        raise NotFound
    scope, form = scope_of(request), RowFilter(request.GET)
    form.is_valid()
    values = form.cleaned_data
    filters = Filters(values.get("department"), values.get("state") or "", values.get("day"))
    found = rows_of(listing, scope, filters)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            str(listing.title),
            [column.label for column in listing.columns],
            ([plain(column.value(row)) for column in listing.columns] for row in found.iterator(chunk_size=500)),
        )
    page = page_of(request, found)
    shown = [(_url_of(listing, row, request.post), [_cell(column, row) for column in listing.columns]) for row in page]
    return render(
        request,
        "dashboard/rows.html",
        {
            "title": str(listing.title),
            "page": page,
            "rows": shown,
            "columns": listing.columns,
            "scope": scope,
            "narrowed": _narrowed(filters),
        },
    )


def _url_of(listing: Listing, row: Any, post: Post) -> str:
    if listing.about is None:
        return ""
    return page_for(post, *listing.about(row))


def _cell(column: Column, row: Any) -> dict[str, Any]:
    value = column.value(row)
    if isinstance(value, datetime):
        value = formats.moment(value)
    elif isinstance(value, date):
        value = formats.iso_day(value)
    elif column.is_number:
        value = formats.number(value)
    return {"column": column, "value": value, "tone": column.tone(row) if column.tone else ""}


def _narrowed(filters: Filters) -> str:
    """What the list is narrowed to, in words."""
    words: list[Text] = []
    if filters.department is not None:
        body = Organisation.objects.filter(pk=filters.department).first()
        words.append(body.short_name if body else "")
    if filters.state:
        words.append(STATE_WORDS.get(filters.state, filters.state))
    if filters.day is not None:
        words.append(formats.full_day(filters.day))
    return _("，").join(str(word) for word in words if word)
