"""What the two lists share: sides as tabs, filters, the clocks of the rows on a page."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from jinqiao.accounts.models import Post
from jinqiao.sharing.models import SharingRequest
from jinqiao.web.components import Tab
from jinqiao.web.sharing.record import is_overseer
from jinqiao.workflow.enums import ClockState
from jinqiao.workflow.models import Clock

MADE, RECEIVED, ALL = "made", "received", "all"


def side_of(request: HttpRequest, post: Post) -> str:
    """Which side's rows are shown: overseers see all unless they choose; a department begins with what it asked for."""
    sides = (MADE, RECEIVED, ALL) if is_overseer(post) else (MADE, RECEIVED)
    asked = request.GET.get("side", "")
    return asked if asked in sides else sides[-1] if is_overseer(post) else MADE


def of_side(rows: QuerySet[Any], side: str, post: Post) -> QuerySet[Any]:
    if side == MADE:
        return rows.filter(consumer=post.organisation)
    if side == RECEIVED:
        return rows.filter(provider=post.organisation)
    return rows


def side_tabs(rows: QuerySet[Any], url_name: str, side: str, post: Post, labels: tuple[str, str]) -> list[Tab]:
    """Tabs with counts of what the post may see on each side."""
    url = reverse(url_name)
    tabs = [
        Tab(label, f"{url}?side={name}", is_current=side == name, count=of_side(rows, name, post).order_by().count())
        for name, label in zip((MADE, RECEIVED), labels, strict=True)
    ]
    if is_overseer(post):
        tabs.insert(0, Tab(_("全部"), f"{url}?side={ALL}", is_current=side == ALL, count=rows.order_by().count()))
    return tabs


def filtered(rows: QuerySet[Any], values: dict[str, Any]) -> QuerySet[Any]:
    text = (values.get("q") or "").strip()
    if text:
        rows = rows.filter(
            Q(number__icontains=text)
            | Q(version__name__icontains=text)
            | Q(consumer__name__icontains=text)
            | Q(provider__name__icontains=text)
        )
    for name in ("state", "mode"):
        if values.get(name):
            rows = rows.filter(**{name: values[name]})
    return rows


def reply_clocks(found: Iterable[SharingRequest]) -> dict[int, Clock]:
    """The reply clock of each request that has one, in one query; a running one before a stopped one."""
    keys = [str(request.pk) for request in found]
    clocks = Clock.objects.filter(
        about_type=SharingRequest._meta.label_lower, about_id__in=keys, key__startswith="request.reply."
    ).order_by("id")
    by_request: dict[int, Clock] = {}
    for clock in clocks:
        if clock.state != ClockState.STOPPED or int(clock.about_id) not in by_request:
            by_request[int(clock.about_id)] = clock
    return by_request
