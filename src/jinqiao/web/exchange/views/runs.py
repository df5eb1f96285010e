"""Runs: the history, one run live, its receipt, stopping it."""

from datetime import datetime, time, timedelta

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.exchange import actions, rules
from jinqiao.exchange.queries.receipts import signatures
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.queries.visible import runs_visible_to
from jinqiao.kernel.moments import CHINA
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Crumb
from jinqiao.web.exchange import run_view
from jinqiao.web.exchange.forms import ReasonForm, RunFilter
from jinqiao.web.exchange.roles import RESTRAINERS, SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import url_of
from jinqiao.web.pagination import page_of


@post_required(*SEERS)
def runs(request: PostHttpRequest) -> HttpResponse:
    """All runs that the post may see."""
    form = RunFilter(request.GET)
    form.is_valid()
    found = runs_visible_to(request.post)
    values = form.cleaned_data
    if text := values.get("q", "").strip():
        found = found.filter(
            Q(number__icontains=text)
            | Q(task__grant__number__icontains=text)
            | Q(task__grant__version__name__icontains=text)
        )
    if values.get("state"):
        found = found.filter(state=values["state"])
    if values.get("since"):
        found = found.filter(queued_at__gte=datetime.combine(values["since"], time(), CHINA))
    if values.get("until"):
        found = found.filter(queued_at__lt=datetime.combine(values["until"], time(), CHINA) + timedelta(days=1))
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("运行记录"),
            [
                _("运行编号"), _("任务编号"), _("目录"), _("提供部门"), _("需求部门"), _("授权"), _("方式"), _("状态"), _("行数"),
                _("隔离行数"), _("次数"), _("排队时间"), _("开始时间"), _("结束时间"), _("问题"),
            ],
            (
                (
                    run.number,
                    run.task.number,
                    run.task.grant.version.name,
                    run.task.grant.provider.name,
                    run.task.grant.consumer.name,
                    run.order["body"]["grant"]["grant_id"],
                    run.get_mode_display(),
                    run.get_state_display(),
                    run.rows,
                    run.rows_quarantined,
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


@post_required(*SEERS)
def run(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One run. While it is live, its live part asks again every two seconds; without script the page is reloaded by hand."""
    found = get_object_or_404(runs_visible_to(request.post), pk=pk)
    values = run_view.view_of(found)
    receipt, manifest = values["receipt"], values["manifest"]
    values["chunks"] = page_of(request, run_view.chunks(found, manifest))
    if receipt is not None:
        values["sender"], values["receiver"] = signatures(receipt)
        values["rows_signed"] = receipt.body["rows"]
    values["may_stop"] = (found.state in LIVE or found.retry_at is not None) and rules.may(
        rules.check_may_restrain, request.post, found.task
    )
    if getattr(request, "htmx", False):
        response = render(request, "exchange/_run_live.html", values)
        if not values["is_live"]:
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


@post_required(*RESTRAINERS)
@require_http_methods(["GET", "POST"])
def run_stop(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Ask, then stop."""
    found = get_object_or_404(runs_visible_to(request.post), pk=pk)
    rules.check_may_restrain(request.post, found.task)
    form = ReasonForm(request.POST or None)
    back = reverse("exchange:run", args=[pk])
    if request.method == "POST" and form.is_valid():
        actions.stop_run(found, by=request.post, reason=form.cleaned_data["reason"])
        messages.success(request, _("运行已停止。"))
        return HttpResponseRedirect(back)
    values = {
        "title": _("停止运行"),
        "question": _("停止运行%(number)s？") % {"number": found.number},
        "what_stays": [
            _("目标表保持上一次运行后的样子，不会出现半批数据。"),
            _("双方节点和中转区里已落地的分块会清除；再次启动从头抽取。"),
        ],
        "form": form,
        "action": _("停止运行"),
        "danger": True,
        "back": back,
        "back_label": _("不停止"),
    }
    return render(request, "components/confirm.html", values)
