"""The city dashboard: the chain of facts in figures, what needs a leader's eye, and the first charts.

Titles state the finding. Every figure leads to the list that it counts; every chart has its table.
"""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Step, tone_of
from jinqiao.web.dashboard import links, queries
from jinqiao.web.dashboard.attention import attention
from jinqiao.web.dashboard.queries import Scope
from jinqiao.web.dashboard.viewers import VIEWERS, scope_of


@post_required(*VIEWERS)
def dashboard(request: PostHttpRequest) -> HttpResponse:
    scope = scope_of(request)
    is_own = scope.organisation is not None
    totals = queries.totals(scope)
    moved, called = queries.rows_per_day(scope), queries.calls_per_day(scope)
    replies = queries.punctuality(scope)
    departments = queries.entries_by_department(scope)
    values = {
        "title": _("本部门驾驶舱") if is_own else _("市级驾驶舱"),
        "regions": [] if is_own else list(queries.regions()),
        "scope": scope,
        "chain": _chain(scope, totals),
        "attention": attention(scope, totals),
        "rows_chart": _chart(moved, _("交付行数"), _("失败运行"), "bar", links.rows(scope, "runs")),
        "rows_table": moved,
        "rows_has_data": any(day.first or day.second for day in moved),
        "rows_title": _rows_title(moved),
        "calls_chart": _chart(called, _("已答复"), _("已拒绝"), "line", links.rows(scope, "calls")),
        "calls_table": called,
        "calls_has_data": any(day.first or day.second for day in called),
        "calls_title": _calls_title(called),
        "departments": [(row, links.rows(scope, "entries", of=row.organisation)) for row in departments],
        "departments_title": _departments_title(departments),
        "largest": max((row.count for row in departments), default=0),
        "states": [
            (row, tone_of(row.state), links.rows(scope, "requests", state=row.state))
            for row in queries.requests_by_state(scope)
        ],
        "replies": [
            (row, formats.percent(row.on_time, row.judged), links.rows(scope, "requests", of=row.organisation))
            for row in replies
        ],
        "replies_title": _replies_title(replies),
        "states_largest": totals.requests,
    }
    return render(request, "dashboard/dashboard.html", values)


def _chain(scope: Scope, totals: queries.Totals) -> list[Step]:
    number = formats.number
    return [
        Step(_("数据源"), "done", number(totals.sources), _("%(n)s个连接正常") % {"n": number(totals.sources_reachable)}, links.rows(scope, "sources")),
        Step(_("目录"), "done", number(totals.entries), _("%(n)s项在审核") % {"n": number(totals.entries_in_work)}, links.rows(scope, "entries")),
        Step(_("申请"), "done", number(totals.requests), _("%(n)s件在办") % {"n": number(totals.requests_open)}, links.rows(scope, "requests")),
        Step(_("授权"), "done", number(totals.grants), _("%(n)s项30天未用") % {"n": number(totals.grants_unused)}, links.rows(scope, "grants")),
        Step(
            _("交换"),
            "bad" if totals.runs_failed else "done",
            formats.short_number(totals.rows),
            _("近30天行数，失败%(n)s次") % {"n": number(totals.runs_failed)},
            links.rows(scope, "runs", state="reconciled"),
        ),
        Step(
            _("查询"),
            "done",
            formats.short_number(totals.calls),
            _("近30天次数，拒绝%(n)s次") % {"n": number(totals.calls_refused)},
            links.rows(scope, "calls", state="ok"),
        ),
    ]  # fmt: skip


def _chart(days: list[queries.Day], first: str, second: str, kind: str, url: str) -> dict[str, Any]:
    """What the script draws, as JSON; the table in the page shows the same days."""
    return {
        "kind": kind,
        "days": [day.on.isoformat() for day in days],
        "labels": [formats.day(day.on) for day in days],
        "series": [
            {"name": first, "values": [day.first for day in days]},
            {"name": second, "values": [day.second for day in days]},
        ],
        "url": url,
    }


def _rows_title(days: list[queries.Day]) -> str:
    total, failed = sum(day.first for day in days), sum(day.second for day in days)
    if not total and not failed:
        return _("近30天没有交付数据")
    if not total:
        return _("近30天%(n)s次运行失败，没有交付数据") % {"n": failed}
    best = max(days, key=lambda day: day.first)
    return _("近30天交付%(total)s行，%(day)s最多") % {"total": formats.short_number(total), "day": formats.day(best.on)}


def _calls_title(days: list[queries.Day]) -> str:
    answered, refused = sum(day.first for day in days), sum(day.second for day in days)
    if not answered and not refused:
        return _("近30天没有查询")
    return _("近30天查询%(answered)s次，拒绝占%(share)s") % {
        "answered": formats.short_number(answered),
        "share": formats.percent(refused, answered + refused),
    }


def _departments_title(rows: list[queries.DepartmentCount]) -> str:
    if not rows:
        return _("还没有发布目录")
    return _("%(name)s发布最多，%(n)s项") % {
        "name": rows[0].organisation.short_name,
        "n": formats.number(rows[0].count),
    }


def _replies_title(rows: list[queries.Punctuality]) -> str:
    if not rows:
        return _("还没有答复时限")
    late = sum(row.late + row.open_late for row in rows)
    if not late:
        return _("各部门答复都在时限内")
    return _("逾期答复%(late)s件，%(name)s最多") % {"late": late, "name": rows[0].organisation.short_name}
