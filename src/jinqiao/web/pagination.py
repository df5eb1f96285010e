"""Pages of long lists."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

SIZES = (20, 50, 100)


def page_of(request: HttpRequest, rows: QuerySet[Any] | Sequence[Any], *, size: int | None = None) -> Page[Any]:
    """The page that `?page=` and `?size=` ask for; a number that makes no sense gives the nearest page that exists.

    Draw it with `{% pager page %}`. An unordered queryset is ordered by its key, so that no row shows twice.
    """
    if isinstance(rows, QuerySet) and not rows.ordered:
        rows = rows.order_by("pk")
    asked = request.GET.get("size", "")
    wanted = size or (int(asked) if asked.isdecimal() and int(asked) in SIZES else settings.PAGE_SIZE)
    return Paginator(rows, wanted).get_page(request.GET.get("page"))
