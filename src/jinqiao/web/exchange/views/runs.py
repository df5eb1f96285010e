"""Runs: the history, and one run live with its receipt."""

from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _

from jinqiao.exchange.models import Run
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.exchange.queries.visible import runs_visible_to
from jinqiao.kernel.moments import CHINA
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Crumb
from jinqiao.web.exchange import run_acts, run_view
from jinqiao.web.exchange.forms import RunFilter
from jinqiao.web.exchange.roles import SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import url_of
from jinqiao.web.pagination import page_of


@post_required(*SEERS)
def runs(request: PostHttpRequest) -> HttpResponse:
    """All runs that the post may see; bars of the charts and edges of the map lead here with their days and departments."""
    form = RunFilter(request.GET)
    form.is_valid()
    found = runs_visible_to(request.post)
    values = form.cleaned_data
    if text := values.get("q", "").strip():
        found = found.filter(
            Q(number__icontains=text)
            | Q(task__number__icontains=text)
            | Q(task__grant__number__icontains=text)
            | Q(task__grant__version__name__icontains=text)
        )
    exact = {
        "state": values.get("state"),
        "kind": values.get("kind"),
        "task__grant__provider": values.get("provider"),
        "task__grant__consumer": values.get("consumer"),
    }
    found = found.filter(**{name: value for name, value in exact.items() if value})
    if values.get("since"):
        found = found.filter(queued_at__gte=datetime.combine(values["since"], time(), CHINA))
    if values.get("until"):
        found = found.filter(queued_at__lt=datetime.combine(values["until"], time(), CHINA) + timedelta(days=1))
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("运行记录"),
            [
                _("运行编号"), _("任务编号"), _("目录"), _("提供部门"), _("需求部门"), _("授权"), _("类别"), _("缘由"), _("方式"),
                _("状态"), _("读取行数"), _("行数"), _("隔离行数"), _("删除行数"), _("字节数"), _("一致性"), _("并行读取数"),
                _("续传次数"), _("次数"), _("排队时间"), _("开始时间"), _("结束时间"), _("问题"),
            ],
            (
                (
                    run.number,
                    run.task.number,
                    run.task.grant.version.name,
                    run.task.grant.provider.name,
                    run.task.grant.consumer.name,
                    run.order["body"]["grant"]["grant_id"],
                    run.get_kind_display(),
                    run.get_cause_display(),
                    run.get_mode_display(),
                    run.get_state_display(),
                    run.rows_read,
                    run.rows,
                    run.rows_quarantined,
                    run.rows_deleted,
                    run.bytes,
                    run.snapshot,
                    run.readers,
                    run.resumed,
                    run.attempt,
                    run.queued_at,
                    run.started_at,
                    run.finished_at,
                    run.problem.get("code", ""),
                )
                for run in found.iterator(chunk_size=500)
            ),
        )  # fmt: skip
    return render(
        request, "exchange/runs.html", {"title": _("运行记录"), "form": form, "page": page_of(request, found)}
    )


def _chunks_workbook(run: Run) -> HttpResponse:
    return xlsx_response(
        _("分块"),
        [_("分块"), _("内容"), _("行数"), _("大小（字节）"), _("状态"), _("内容摘要")],
        (
            (line.number, str(line.kind), line.rows, line.size_bytes, str(line.state), line.digest)
            for line in run_view.chunks(run)
        ),
    )


def _findings_workbook(run: Run, values: dict[str, Any]) -> HttpResponse:
    return xlsx_response(
        _("检查发现"),
        [_("检查"), _("规则版本"), _("数据项"), _("级别"), _("行数"), _("占比"), _("行号（举例）")],
        (
            (line.check, line.version, line.item, str(line.severity), line.rows, line.share, line.samples)
            for line in values["findings"]
        ),
    )


@post_required(*SEERS)
def run(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One run. While it is live, its live part asks again every two seconds; without script the page is reloaded by hand."""
    found = get_object_or_404(runs_visible_to(request.post), pk=pk)
    values = run_view.view_of(found)
    if request.GET.get("export") == "chunks":
        return _chunks_workbook(found)
    if request.GET.get("export") == "findings":
        return _findings_workbook(found, values)
    receipt = values["receipt"]
    values["chunks"] = page_of(request, run_view.chunks(found))
    if receipt is not None:
        values["sender"], values["receiver"] = signatures(receipt)
        values["rows_signed"] = receipt.body["rows"]
    values |= run_acts.rights(found, request.post)
    values["acts"] = run_acts.acts(found, request.post)
    values["whose_turn"] = run_acts.whose_turn(found, request.post)
    values["quarantine"] = run_acts.quarantine(found, request.post)
    is_waiting = values["quarantine"] is not None and values["quarantine"].is_waiting
    values["is_polled"] = values["is_live"] or is_waiting
    if getattr(request, "htmx", False):
        response = render(request, "exchange/_run_live.html", values)
        if not values["is_polled"]:
            response["HX-Refresh"] = "true"  # the frame of the page (buttons, state) has changed as well
        return response
    grant = found.task.grant
    values |= {
        "title": grant.version.name,
        "grant_number": found.order["body"]["grant"]["grant_id"],
        "grant_url": url_of("sharing:grant", grant.pk),
        "crumbs": [Crumb(found.task.number, reverse("exchange:task", args=[found.task_id]))],
        "crumb": found.number,
        "target": found.task.target,
    }
    return render(request, "exchange/run.html", values)
