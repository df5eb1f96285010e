"""Switches of a run: stopping, holding, going on, chunks sent again, a window replayed, the rows that it set aside."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, rules
from jinqiao.exchange.errors import ChunkMissing
from jinqiao.exchange.models import Run
from jinqiao.exchange.queries.visible import runs_visible_to
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange.forms import ReasonForm, WorkbookForm
from jinqiao.web.exchange.roles import RESTRAINERS, WORKERS
from jinqiao.web.exports import XLSX

MOST_CHUNKS_AT_ONCE = 1000


def _run(request: PostHttpRequest, pk: int) -> Run:
    return get_object_or_404(runs_visible_to(request.post), pk=pk)


def _page(pk: int, place: str = "") -> str:
    return reverse("exchange:run", args=[pk]) + place


@post_required(*RESTRAINERS)
@require_http_methods(["GET", "POST"])
def run_stop(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Ask, then stop."""
    found = _run(request, pk)
    rules.check_may_restrain(request.post, found.task)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        actions.stop_run(found, by=request.post, reason=form.cleaned_data["reason"])
        messages.success(request, _("运行已停止。"))
        return HttpResponseRedirect(_page(pk))
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
        "back": _page(pk),
        "back_label": _("不停止"),
    }
    return render(request, "components/confirm.html", values)


@post_required(*RESTRAINERS)
@require_POST
def run_pause(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Hold it where it is."""
    actions.pause_run(_run(request, pk), by=request.post)
    messages.success(request, _("运行已暂停，已落地的分块保留；继续后接着送。"))
    return HttpResponseRedirect(_page(pk))


@post_required(*RESTRAINERS)
@require_POST
def run_resume(request: PostHttpRequest, pk: int) -> HttpResponse:
    actions.resume_run(_run(request, pk), by=request.post)
    messages.success(request, _("运行继续。"))
    return HttpResponseRedirect(_page(pk))


@post_required(*WORKERS)
@require_POST
def run_resend(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Have the ticked chunks brought once more."""
    found = _run(request, pk)
    numbers = [int(text) for text in request.POST.getlist("chunk")[:MOST_CHUNKS_AT_ONCE] if text.isdecimal()]
    if not numbers:
        raise ChunkMissing(run=found.number, chunk="-")
    actions.resend_chunks(found, by=request.post, chunks=numbers)
    messages.success(request, _("已通知提供方节点重传%(count)s块。") % {"count": len(numbers)})
    return HttpResponseRedirect(_page(pk, "#chunks"))


@post_required(*WORKERS)
@require_POST
def run_replay(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The window of this run once more."""
    new = actions.replay(_run(request, pk), by=request.post)
    return HttpResponseRedirect(_page(new.pk))


@post_required(*WORKERS)
@require_POST
def quarantine_ask(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Have the provider's node send the rows that were set aside."""
    actions.ask_quarantine(_run(request, pk), by=request.post)
    messages.info(request, _("已通知本部门节点送来隔离行；送到后在这里下载。"))
    return HttpResponseRedirect(_page(pk, "#quarantine"))


@post_required(*WORKERS)
@never_cache
@require_POST
def quarantine_open(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The workbook; each opening stands in the trail."""
    found = _run(request, pk)
    content = actions.open_quarantine(found, by=request.post)
    response = HttpResponse(content, content_type=XLSX)
    response["Content-Disposition"] = f'attachment; filename="{found.number}-quarantine.xlsx"'
    return response


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def quarantine_resubmit(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Upload the corrected workbook: a run of its own."""
    found = _run(request, pk)
    rules.check_may_open_quarantine(request.post, found.task)
    form = WorkbookForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            new = actions.resubmit(found, by=request.post, workbook=form.cleaned_data["workbook"].read())
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            messages.success(request, _("更正行已密封给节点，重新检查后交付。"))
            return HttpResponseRedirect(_page(new.pk))
    values = {
        "title": _("提交更正行"),
        "form": form,
        "is_upload": True,
        "held_label": _("更正自运行"),
        "held_value": found.number,
        "note": _(
            "用下载的工作簿更正，不改行号和表头。更正行按原来的规则重新检查，通过的按主键并入目标表；工作簿密封给本部门节点，平台不留明文。"
        ),
        "action": _("提交更正行"),
        "back": _page(pk, "#quarantine"),
    }
    return render(request, "exchange/form.html", values)
