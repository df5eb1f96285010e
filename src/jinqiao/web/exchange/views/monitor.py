"""Movement over thirty days: who supplies whom, runs by state, rows by day. Every figure leads to its rows."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jinqiao.exchange.enums import RunState
from jinqiao.exchange.queries import history
from jinqiao.exchange.queries.alerts import alerts_found
from jinqiao.exchange.queries.history import DayFigures, Edge, SupplyMap
from jinqiao.exchange.queries.unused import unused_found
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Figure, Text, Tone
from jinqiao.web.exchange.roles import SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

DRAWN = 30
"""So many edges are drawn; the table has all."""
EDGE_STATES: dict[str, tuple[Tone, Text]] = {
    "live": ("run", gettext_lazy("运行中")),
    "failed": ("bad", gettext_lazy("上次失败")),
    "alert": ("warn", gettext_lazy("有告警")),
    "moved": ("good", gettext_lazy("正常")),
    "idle": ("idle", gettext_lazy("30天未动")),
}
_SHOWN = (
    (RunState.RECONCILED, gettext_lazy("已对账"), "--chart-1"),
    (RunState.FAILED, gettext_lazy("失败"), "--chart-4"),
    (RunState.STOPPED, gettext_lazy("已停止"), "--chart-8"),
)


@post_required(*SEERS)
def monitor(request: PostHttpRequest) -> HttpResponse:
    """The map with its table, and two charts with theirs."""
    supply, days = history.supply_map(request.post), history.daily(request.post)
    if request.GET.get("export") == "xlsx":
        return _workbook(supply)
    edges = page_of(request, list(supply.edges))
    values = {
        "title": _("流转总览"),
        "supply": supply,
        "is_whole": history.sees_whole_map(request.post),
        "figures": _figures(request, supply, days),
        "page": edges,
        "rows": [_row(edge, supply) for edge in edges],
        "map": _map(supply),
        "map_title": _map_title(supply),
        "days": [_day(day) for day in days],
        "runs_chart": _runs_chart(days),
        "runs_title": _runs_title(days),
        "rows_chart": _rows_chart(days),
        "rows_title": _rows_title(days),
        "has_runs": any(day.count for day in days),
        "has_rows": any(day.rows for day in days),
    }
    return render(request, "exchange/monitor.html", values)


def _runs_url(**parameters: Any) -> str:
    return f"{reverse('exchange:runs')}?{urlencode({name: value for name, value in parameters.items() if value})}"


def _figures(request: PostHttpRequest, supply: SupplyMap, days: list[DayFigures]) -> list[Figure]:
    open_alerts = alerts_found(request.post, is_open=True).count()
    failed = sum(day.runs.get(RunState.FAILED, 0) for day in days)
    span = {"since": supply.since.isoformat(), "until": supply.until.isoformat()}
    return [
        Figure(formats.number(len(supply.edges)), _("供数关系"), _("对部门"), url="#edges"),
        Figure(formats.number(sum(day.count for day in days)), _("运行"), _("次"), url=_runs_url(**span)),
        Figure(
            formats.short_number(sum(day.rows for day in days)),
            _("已对账行数"),
            _("行"),
            url=_runs_url(state=RunState.RECONCILED.value, **span),
        ),
        Figure(formats.number(failed), _("失败"), _("次"), url=_runs_url(state=RunState.FAILED.value, **span)),
        Figure(formats.number(open_alerts), _("未解除告警"), _("条"), url=f"{reverse('exchange:alerts')}?status=open"),
        Figure(
            formats.number(unused_found(request.post).count()),
            _("30天未用的授权"),
            _("项"),
            url=reverse("exchange:unused"),
        ),
    ]


def _row(edge: Edge, supply: SupplyMap) -> dict[str, Any]:
    """An edge with the addresses of the rows behind its figures."""
    sides = {"provider": edge.provider.pk, "consumer": edge.consumer.pk}
    span = {"since": supply.since.isoformat(), "until": supply.until.isoformat()}
    tone, word = EDGE_STATES[edge.state]
    calls = {"provider": edge.provider.credit_code, "consumer": edge.consumer.credit_code, **span}
    return {
        "edge": edge,
        "tone": tone,
        "word": word,
        "tasks_url": f"{reverse('exchange:tasks')}?{urlencode(sides)}",
        "runs_url": _runs_url(**sides, **span),
        "failed_url": _runs_url(**sides, **span, state=RunState.FAILED.value),
        "rows_url": _runs_url(**sides, **span, state=RunState.RECONCILED.value),
        "calls_url": f"{reverse('exchange:calls')}?{urlencode(calls)}",
    }


def _map(supply: SupplyMap) -> dict[str, Any]:
    """What the script draws: departments as nodes, supply as arrows."""
    index = {body.pk: at for at, body in enumerate(supply.organisations)}
    return {
        "kind": "map",
        "nodes": [body.short_name for body in supply.organisations],
        "edges": [
            {
                "from": index[edge.provider.pk],
                "to": index[edge.consumer.pk],
                "rows": edge.rows,
                "label": _edge_words(edge),
                "tone": EDGE_STATES[edge.state][0],
                "url": f"{reverse('exchange:tasks')}?{urlencode({'provider': edge.provider.pk, 'consumer': edge.consumer.pk})}",
            }
            for edge in supply.edges[:DRAWN]
        ],
    }


def _edge_words(edge: Edge) -> str:
    return _("%(provider)s给%(consumer)s：%(rows)s行，调用%(calls)s次，%(state)s") % {
        "provider": edge.provider.short_name,
        "consumer": edge.consumer.short_name,
        "rows": formats.short_number(edge.rows),
        "calls": formats.number(edge.calls),
        "state": EDGE_STATES[edge.state][1],
    }


def _map_title(supply: SupplyMap) -> str:
    if not supply.edges:
        return _("还没有部门之间的供数")
    broken = sum(edge.state == "failed" for edge in supply.edges)
    if broken:
        return _("%(count)s对部门之间供数，%(broken)s对上次失败") % {"count": len(supply.edges), "broken": broken}
    most = supply.edges[0]
    return _("%(count)s对部门之间供数，%(provider)s给%(consumer)s最多") % {
        "count": len(supply.edges),
        "provider": most.provider.short_name,
        "consumer": most.consumer.short_name,
    }


def _day(day: DayFigures) -> dict[str, Any]:
    on = day.on.isoformat()
    shown = [(day.runs.get(state, 0), _runs_url(since=on, until=on, state=state.value)) for state, _word, _c in _SHOWN]
    rows_url = _runs_url(since=on, until=on, state=RunState.RECONCILED.value)
    return {"on": day.on, "states": shown, "rows": day.rows, "quarantined": day.rows_quarantined, "rows_url": rows_url}


def _chart(days: list[DayFigures], series: list[dict[str, Any]], *, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "labels": [formats.day(day.on) for day in days],
        "urls": [_runs_url(since=day.on.isoformat(), until=day.on.isoformat()) for day in days],
        "series": series,
    }


def _runs_chart(days: list[DayFigures]) -> dict[str, Any]:
    series = [
        {"name": str(word), "values": [day.runs.get(state, 0) for day in days], "colour": colour}
        for state, word, colour in _SHOWN
    ]
    return _chart(days, series, kind="stack")


def _rows_chart(days: list[DayFigures]) -> dict[str, Any]:
    return _chart(days, [{"name": _("已对账行数"), "values": [day.rows for day in days]}], kind="stack")


def _runs_title(days: list[DayFigures]) -> str:
    total, failed = sum(day.count for day in days), sum(day.runs.get(RunState.FAILED, 0) for day in days)
    if not total:
        return _("近30天没有运行")
    if not failed:
        return _("近30天运行%(total)s次，没有失败") % {"total": formats.number(total)}
    return _("近30天运行%(total)s次，失败占%(share)s") % {
        "total": formats.number(total),
        "share": formats.percent(failed, total),
    }


def _rows_title(days: list[DayFigures]) -> str:
    total = sum(day.rows for day in days)
    if not total:
        return _("近30天没有数据对账入库")
    best = max(days, key=lambda day: day.rows)
    return _("近30天对账%(total)s行，%(day)s最多") % {
        "total": formats.short_number(total),
        "day": formats.day(best.on),
    }


def _workbook(supply: SupplyMap) -> HttpResponse:
    return xlsx_response(
        _("供数关系"),
        [
            _("提供部门"), _("需求部门"), _("任务"), _("运行"), _("失败"), _("行数"), _("字节数"), _("调用"), _("上次运行"),
            _("上次运行时间"), _("状态"),
        ],
        (
            (
                edge.provider.name,
                edge.consumer.name,
                edge.tasks,
                edge.runs,
                edge.failed,
                edge.rows,
                edge.bytes,
                edge.calls,
                edge.last_run.number if edge.last_run else "",
                edge.last_run.queued_at if edge.last_run else None,
                str(EDGE_STATES[edge.state][1]),
            )
            for edge in supply.edges
        ),
    )  # fmt: skip
