"""Acts on a task besides its ordinary runs: contents compared, windows brought again, a table emptied and loaded anew."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, errors, rules
from jinqiao.exchange.models import Binding, ExchangeTask, ReloadApproval
from jinqiao.exchange.queries.tasks import open_reload
from jinqiao.exchange.queries.visible import tasks_visible_to
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange.forms import ReasonForm
from jinqiao.web.exchange.roles import ADMINISTRATORS, WORKERS
from jinqiao.web.exchange.task_forms import DecisionForm, WindowForm


def _task(request: PostHttpRequest, pk: int) -> ExchangeTask:
    found: ExchangeTask = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    return found


def _page(pk: int) -> str:
    return reverse("exchange:task", args=[pk])


@post_required(*WORKERS)
@require_POST
def task_compare(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Read both sides again."""
    comparison = actions.compare_contents(_task(request, pk), by=request.post)
    messages.info(
        request, _("已通知两侧节点重读并比对，编号%(number)s；结果稍后在本页。") % {"number": comparison.number}
    )
    return HttpResponseRedirect(f"{_page(pk)}#comparison")


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_backfill(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Bring a window of watermarks once more."""
    found = _task(request, pk)
    rules.check_may_run(request.post, found)
    form = WindowForm(request.POST or None)
    binding = Binding.objects.filter(entry_id=found.grant.entry_id).first()
    if request.method == "POST" and form.is_valid():
        try:
            run = actions.backfill(found, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, {errors.WindowBroken: "until"})
        else:
            return HttpResponseRedirect(reverse("exchange:run", args=[run.pk]))
    values = {
        "title": _("补传一段"),
        "form": form,
        "held_label": _("水位列"),
        "held_value": binding.watermark_column if binding else "",
        "note": _("这一段按来源现在的样子更新或插入，不删除目标表的行；任务自己的水位不动。"),
        "action": _("开始补传"),
        "back": _page(pk),
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_start_over(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Forget the watermark; asks first."""
    found = _task(request, pk)
    rules.check_may_run(request.post, found)
    if request.method == "POST":
        actions.start_over(found, by=request.post)
        messages.success(request, _("水位已归零，下一次运行重送全部授权行。"))
        return HttpResponseRedirect(_page(pk))
    values = {
        "title": _("水位归零"),
        "question": _("让下一次运行重送全部授权行？"),
        "what_stays": [
            _("目标表现有的行保留；重送的行按主键合并，没有变化的不写。"),
            _("来源会被完整读取一次，限速和时段照旧。"),
        ],
        "action": _("水位归零"),
        "back": _page(pk),
        "back_label": _("不归零"),
    }
    return render(request, "components/confirm.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_reload(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Ask for leave to empty the target table and load it anew."""
    found = _task(request, pk)
    rules.check_may_run(request.post, found)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            approval = actions.ask_reload(found, by=request.post, reason=form.cleaned_data["reason"])
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            messages.success(request, _("已提交，编号%(number)s，等本部门管理员签批。") % {"number": approval.number})
            return HttpResponseRedirect(_page(pk))
    values = {
        "title": _("申请清空重载"),
        "question": _("申请清空目标表%(table)s后重新装入？") % {"table": found.target_table},
        "what_stays": [
            _("签批之前什么都不动。签批后由人启动，只能用一次，七天内有效。"),
            _("清空和装入在目标库的一个事务里；没有装完，旧数据不丢。"),
        ],
        "form": form,
        "action": _("提交签批"),
        "back": _page(pk),
        "back_label": _("不申请"),
    }
    return render(request, "components/confirm.html", values)


def _open_reload(task: ExchangeTask) -> ReloadApproval:
    approval = open_reload(task)
    if approval is None:
        raise NotFound
    return approval


@post_required(*ADMINISTRATORS)
@require_http_methods(["GET", "POST"])
def task_reload_decide(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The consumer's administrator signs, or refuses."""
    found = _task(request, pk)
    rules.check_may_approve_reload(request.post, found)
    approval = _open_reload(found)
    form = DecisionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            actions.decide_reload(approval, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            messages.success(request, _("签批已记录。"))
            return HttpResponseRedirect(_page(pk))
    values = {
        "title": _("签批清空重载%(number)s") % {"number": approval.number},
        "question": _("同意清空%(table)s后重新装入？") % {"table": found.target_table},
        "what_stays": [
            _("%(person)s申请，理由：%(reason)s")
            % {"person": approval.asked_by.person.name, "reason": approval.reason},
            _("同意后由本部门启动一次运行：目标表在一个事务里清空并装入全部授权行。您的签批连同内容摘要留痕。"),
        ],
        "form": form,
        "action": _("提交签批"),
        "back": _page(pk),
        "back_label": _("返回任务，暂不签批"),
    }
    return render(request, "components/confirm.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_reload_use(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Use the leave; asks once more."""
    found = _task(request, pk)
    rules.check_may_run(request.post, found)
    approval = _open_reload(found)
    if request.method == "POST":
        run = actions.reload_target(approval, by=request.post)
        return HttpResponseRedirect(reverse("exchange:run", args=[run.pk]))
    values = {
        "title": _("清空重载"),
        "question": _("现在清空%(table)s并重新装入？") % {"table": found.target_table},
        "what_stays": [
            _("签批%(number)s用掉；不论这次成败，再做须重新签批。") % {"number": approval.number},
            _("装入完成前，读目标表的系统看到的还是旧数据。"),
        ],
        "action": _("清空并装入"),
        "danger": True,
        "back": _page(pk),
        "back_label": _("不清空"),
    }
    return render(request, "components/confirm.html", values)
