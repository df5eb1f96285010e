"""Calls counted: by side, service, purpose, error owner, day and hour. Every count leads to its calls."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.accounts.models import Application
from jinqiao.exchange.enums import ErrorOwner
from jinqiao.exchange.models import QueryService
from jinqiao.exchange.queries import statistics
from jinqiao.exchange.queries.anomalies import anomalies_found
from jinqiao.exchange.queries.calls import CallsWanted
from jinqiao.exchange.queries.statistics import DayCount, Line
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Figure, Tab, Text
from jinqiao.web.exchange import call_view
from jinqiao.web.exchange.call_forms import StatisticsFilter
from jinqiao.web.exchange.roles import SEERS, SERVICE_SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

DIMENSIONS: dict[str, Text] = {
    "provider": gettext_lazy("提供部门"),
    "consumer": gettext_lazy("需求部门"),
    "service": gettext_lazy("服务"),
    "application": gettext_lazy("应用"),
    "purpose": gettext_lazy("用途"),
    "operation": gettext_lazy("操作"),
    "owner": gettext_lazy("责任方"),
    "day": gettext_lazy("日期"),
    "hour": gettext_lazy("小时"),
}


@post_required(*SERVICE_SEERS)
def call_statistics(request: PostHttpRequest) -> HttpResponse:
    form = StatisticsFilter(request.GET)
    wanted = form.wanted()
    dimension = request.GET.get("by", "")
    dimension = dimension if dimension in DIMENSIONS else "service"
    lines = statistics.by(request.post, wanted, dimension)
    if request.GET.get("export") == "xlsx":
        return _workbook(lines, dimension)
    whole, days = statistics.total(request.post, wanted), statistics.daily(request.post, wanted)
    page = page_of(request, lines)
    values = {
        "title": _("调用统计"),
        "form": form,
        "figures": _figures(request, wanted, whole),
        "tabs": _tabs(wanted, dimension),
        "heading": DIMENSIONS[dimension],
        "is_code": dimension in ("service", "application"),
        "page": page,
        "rows": _rows(list(page), wanted, dimension),
        "largest": max((line.calls for line in lines), default=0),
        "days": [(day, calls_url(wanted, since=day.on, until=day.on, outcome="ok"),
                  calls_url(wanted, since=day.on, until=day.on, outcome="refused")) for day in days],
        "chart": _chart(days, wanted),
        "chart_title": _chart_title(whole, days),
        "has_calls": whole.calls > 0,
        "period": _("%(since)s至%(until)s") % {"since": formats.iso_day(wanted.since), "until": formats.iso_day(wanted.until)},
    }  # fmt: skip
    return render(request, "exchange/call_statistics.html", values)


def parameters(wanted: CallsWanted, **changes: Any) -> str:
    """The query of a page with the same filters."""
    names = ("since", "until", "provider", "consumer", "service", "application", "purpose", "environment")
    values = {name: getattr(wanted, name) for name in names} | changes
    return urlencode({name: value.isoformat() if hasattr(value, "isoformat") else value
                      for name, value in values.items() if value})  # fmt: skip


def calls_url(wanted: CallsWanted, **changes: Any) -> str:
    """The calls that a figure counts."""
    return f"{reverse('exchange:calls')}?{parameters(wanted, **changes)}"


def _figures(request: PostHttpRequest, wanted: CallsWanted, whole: Line) -> list[Figure]:
    share = formats.percent(whole.refused, whole.calls) if whole.calls else ""
    figures = [
        Figure(formats.number(whole.calls), _("调用"), _("次"), url=calls_url(wanted)),
        Figure(formats.number(whole.answered), _("已答复"), _("次"), url=calls_url(wanted, outcome="ok")),
        Figure(
            formats.number(whole.refused), _("未答复"), _("次"), note=share, url=calls_url(wanted, outcome="refused")
        ),
        Figure(formats.number(whole.rows), _("返回行数"), _("行"), url=calls_url(wanted, outcome="ok")),
        Figure(_ms(whole.p50_us), _("用时中位数"), _("毫秒"), url=calls_url(wanted)),
        Figure(_ms(whole.p95_us), _("95百分位用时"), _("毫秒"), url=calls_url(wanted)),
    ]
    if request.post.role in SEERS:
        waiting = anomalies_found(request.post, state="open").count()
        url = f"{reverse('exchange:anomalies')}?state=open"
        figures.append(Figure(formats.number(waiting), _("待核实异常"), _("条"), url=url))
    return figures


def _ms(duration_us: float | None) -> str:
    """Milliseconds with two digits that mean something."""
    if duration_us is None:
        return formats.DASH
    ms = duration_us / 1000
    return formats.number(round(ms, 2) if ms < 10 else round(ms, 1) if ms < 100 else round(ms))


def _tabs(wanted: CallsWanted, current: str) -> list[Tab]:
    return [Tab(label, f"?{parameters(wanted, by=name)}", name == current) for name, label in DIMENSIONS.items()]


def _rows(lines: list[Line], wanted: CallsWanted, dimension: str) -> list[dict[str, Any]]:
    words = _words([line.key for line in lines], dimension)
    rows = []
    for line in lines:
        narrowed = _narrowed(line.key, dimension)
        rows.append(
            {
                "name": words.get(line.key, "") or formats.DASH,
                "sub": line.key if dimension in ("service", "application") and words.get(line.key) != line.key else "",
                "line": line,
                "p50": _ms(line.p50_us),
                "p95": _ms(line.p95_us),
                "url": calls_url(wanted, **narrowed) if narrowed else "",
                "refused_url": calls_url(wanted, **narrowed, outcome="refused") if narrowed else "",
                "answered_url": calls_url(wanted, **narrowed, outcome="ok") if narrowed else "",
            }
        )
    return rows


def _narrowed(key: Any, dimension: str) -> dict[str, Any]:
    """Filters of the calls of a line; none where the line is of calls without that thing."""
    if dimension == "day":
        return {"since": key, "until": key}
    if dimension == "hour":
        return {"since": None, "until": None, "hour": key}
    return {dimension: key} if key else {}


def _words(keys: list[Any], dimension: str) -> dict[Any, str]:
    if dimension in ("provider", "consumer"):
        names = call_view.names_of(keys)
        return {key: names.get(key, key) for key in keys}
    if dimension == "service":
        found = QueryService.objects.filter(number__in=keys).values_list("number", "grant__version__name")
        return {key: key for key in keys} | dict(found)
    if dimension == "application":
        named = Application.objects.filter(number__in=keys).values_list("number", "name")
        return {key: key for key in keys} | dict(named)
    if dimension == "owner":
        return {owner.value: str(owner.label) for owner in ErrorOwner}
    if dimension == "operation":
        return {key: str(call_view.operation_words(key)) for key in keys}
    if dimension == "day":
        return {key: formats.iso_day(key) for key in keys}
    if dimension == "hour":
        return {key: formats.moment(key) for key in keys}
    return {key: str(key) for key in keys}


def _chart(days: list[DayCount], wanted: CallsWanted) -> dict[str, Any]:
    return {
        "kind": "stack",
        "days": [day.on.isoformat() for day in days],
        "labels": [formats.day(day.on) for day in days],
        "series": [
            {"name": _("已答复"), "values": [day.answered for day in days], "colour": "--chart-1"},
            {"name": _("未答复"), "values": [day.refused for day in days], "colour": "--chart-4"},
        ],
        "urls": [calls_url(wanted, since=day.on, until=day.on) for day in days],
    }


def _chart_title(whole: Line, days: list[DayCount]) -> str:
    if not whole.calls:
        return _("这段时间没有调用")
    best = max(days, key=lambda day: day.answered + day.refused)
    return _("调用%(total)s次，%(day)s最多") % {"total": formats.short_number(whole.calls), "day": formats.day(best.on)}


def _workbook(lines: list[Line], dimension: str) -> HttpResponse:
    words = _words([line.key for line in lines], dimension)
    return xlsx_response(
        _("调用统计"),
        [
            DIMENSIONS[dimension],
            _("标识"),
            _("调用"),
            _("已答复"),
            _("未答复"),
            _("返回行数"),
            _("用时中位数（毫秒）"),
            _("95百分位用时（毫秒）"),
        ],
        (
            (
                words.get(line.key, ""),
                line.key if isinstance(line.key, str) else "",
                line.calls,
                line.answered,
                line.refused,
                line.rows,
                round(line.p50_us / 1000, 3) if line.p50_us is not None else None,
                round(line.p95_us / 1000, 3) if line.p95_us is not None else None,
            )
            for line in lines
        ),
    )
