"""Searching the catalogue: for everybody what is open to society, for who is signed in all that is published."""

from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _

from jinqiao.accounts.models import Post
from jinqiao.catalogue import queries, workbook
from jinqiao.catalogue.models import CatalogueEntry, EntryVersion
from jinqiao.catalogue.queries import Filters, Results
from jinqiao.catalogue.search import query_words
from jinqiao.sharing.rules import STAFF
from jinqiao.web.access import READERS, PostHttpRequest, post_required, public
from jinqiao.web.catalogue.downloads import workbook_response
from jinqiao.web.catalogue.forms import FACETS
from jinqiao.web.pagination import page_of


@public
def search(request: HttpRequest) -> HttpResponse:
    post: Post | None = getattr(request, "post", None)
    text, filters = _asked(request.GET)
    results = _results(post, text, filters)
    page = page_of(request, results.page_rows)
    words = query_words(text)
    values = {
        "title": _("目录检索") if post else _("开放目录"),
        "text": text,
        "results": results,
        "page": page,
        "rows": [_row(entry, words, post) for entry in page.object_list],
        "facets": [
            {"name": name, "heading": heading, "options": results.facets[name], "is_open": at < 3}
            for at, (name, heading, _values) in enumerate(FACETS)
            if results.facets[name]
        ],
        "chips": _chips(request.GET, results),
        "kept": [(name, value) for name, values in request.GET.lists() if name in _NAMES for value in values],
        "may_export": post is not None and post.role in READERS,
    }
    return render(request, "catalogue/search.html", values)


@post_required(*READERS)
def export(request: PostHttpRequest) -> HttpResponse:
    """What a search found, as the filled form."""
    text, filters = _asked(request.GET)
    found = _results(request.post, text, filters).entries
    versions = (
        EntryVersion.objects.filter(pk__in=found.order_by().values("live_version"))
        .select_related("entry__provider", "entry__node")
        .prefetch_related("items")
        .order_by("entry__code")
    )
    return workbook_response(_("政务信息资源目录"), workbook.export_entries(versions.iterator(chunk_size=500)))


_NAMES = frozenset(name for name, _heading, _values in FACETS)


def _results(post: Post | None, text: str, filters: Filters) -> Results:
    among = queries.published() if post is not None else queries.open_to_public()
    return queries.search(text, among=among, filters=filters)


def _asked(query: QueryDict) -> tuple[str, Filters]:
    """Text and filters of an address; values that make no sense are left out."""
    known: dict[str, frozenset[str]] = {}
    for name, _heading, choices in FACETS:
        given = query.getlist(name)[:50]
        known[name] = frozenset(value for value in given if choices is None or value in choices.values)
    providers = frozenset(int(value) for value in known["provider"] if value.isdecimal() and len(value) < 10)
    node = next((value for value in known["node"] if value.isdecimal()), "")
    filters = Filters(providers, known["category"], known["means"], known["cycle"], node)
    return query.get("q", "").strip()[:200], filters


def _row(entry: CatalogueEntry, words: list[str], post: Post | None) -> dict[str, Any]:
    version = entry.live_version
    if version is None:
        raise ValueError("a published entry without a live version")
    may_ask = (
        post is not None
        and post.role in STAFF
        and post.organisation_id != entry.provider_id
        and version.sharing_category != "3"
    )
    return {
        "entry": entry,
        "version": version,
        "name": marked(version.name, words),
        "abstract": marked(version.abstract[:200], words),
        "may_ask": may_ask,
        "is_own": post is not None and post.organisation_id == entry.provider_id,
    }


def marked(text: str, words: list[str]) -> list[tuple[str, bool]]:
    """A text in pieces; those that are words of the query are marked."""
    lowered = text.casefold()
    if len(lowered) != len(text):
        return [(text, False)]
    hit = [False] * len(text)
    for word in words:
        at = lowered.find(word)
        while at >= 0:
            hit[at : at + len(word)] = [True] * len(word)
            at = lowered.find(word, at + 1)
    pieces: list[tuple[str, bool]] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or hit[end] != hit[start]:
            pieces.append((text[start:end], hit[start]))
            start = end
    return pieces


def _chips(query: QueryDict, results: Results) -> list[dict[str, str]]:
    """A link for each filter in force that drops it."""
    chips = []
    for name, _heading, _choices in FACETS:
        for option in results.facets[name]:
            if option.selected:
                left = query.copy()
                left.setlist(name, [value for value in query.getlist(name) if value != option.value])
                left.pop("page", None)
                chips.append({"label": option.label, "url": f"?{left.urlencode()}"})
    return chips
