"""Exchange tasks: the list, one task, its configuration and its switches."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, errors, rules
from jinqiao.exchange.enums import RunState, TaskState
from jinqiao.exchange.models import Binding, ExchangeTask
from jinqiao.exchange.queries.runs import LIVE
from jinqiao.exchange.queries.visible import tasks_visible_to
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair
from jinqiao.web.exchange.forms import SpeedForm, TaskFilter, TaskForm
from jinqiao.web.exchange.roles import RESTRAINERS, SEERS, WORKERS
from jinqiao.web.exchange.words import schedule_words
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import url_of
from jinqiao.web.pagination import page_of

_FIELDS: dict[type[JinqiaoError], str] = {
    errors.TargetOfAnotherOrganisation: "target",
    errors.TargetNotWritable: "target",
    errors.TargetNameBroken: "target_table",
    errors.WatermarkMissing: "mode",
    errors.KeyNotGranted: "mode",
    errors.ScheduleBroken: "every",
    errors.LimitBroken: "rows_per_s",
}


@post_required(*SEERS)
def tasks(request: PostHttpRequest) -> HttpResponse:
    form = TaskFilter(request.GET)
    form.is_valid()
    found = tasks_visible_to(request.post)
    text, state = (form.cleaned_data.get(name, "").strip() for name in ("q", "state"))
    if text:
        found = found.filter(
            Q(number__icontains=text) | Q(grant__number__icontains=text) | Q(grant__version__name__icontains=text)
        )
    if state:
        found = found.filter(state=state)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("交换任务"),
            [
                _("任务编号"),
                _("目录"),
                _("提供部门"),
                _("需求部门"),
                _("授权"),
                _("方式"),
                _("计划"),
                _("状态"),
                _("上次运行"),
                _("下次运行"),
            ],
            (
                (
                    task.number,
                    task.grant.version.name,
                    task.grant.provider.name,
                    task.grant.consumer.name,
                    task.grant.number,
                    task.get_mode_display(),
                    schedule_words(task.schedule),
                    task.get_state_display(),
                    task.last_at,
                    task.next_run_at,
                )
                for task in found.iterator(chunk_size=500)
            ),
        )
    page = page_of(request, found)
    labels = dict(RunState.choices)
    for task in page.object_list:
        task.plan = schedule_words(task.schedule)
        task.last_word = labels.get(task.last_state, "")
    return render(request, "exchange/tasks.html", {"title": _("交换任务"), "form": form, "page": page})


def _pairs(task: ExchangeTask, binding: Binding | None) -> list[Pair]:
    grant = task.grant
    return [
        Pair(_("任务编号"), task.number, code=True),
        Pair(_("授权"), grant.number, url=url_of("sharing:grant", grant.pk), code=True),
        Pair(_("提供部门"), grant.provider.name),
        Pair(_("需求部门"), grant.consumer.name),
        Pair(_("授权至"), formats.iso_day(grant.valid_until)),
        Pair(_("数据项"), _("%(count)s项") % {"count": len(grant.items)}),
        Pair(_("来源"), f"{binding.source.name} · {binding.table}" if binding else _("提供方还没有挂接")),
        Pair(_("交付到"), f"{task.target.name} · {task.target_table}" if task.target else _("还没有选定")),
        Pair(_("方式"), task.get_mode_display()),
        Pair(_("计划"), schedule_words(task.schedule)),
        Pair(_("下次运行"), formats.moment(task.next_run_at)),
        Pair(
            _("限速"),
            _("%(rows)s行/秒") % {"rows": formats.number(task.rows_per_s)} if task.rows_per_s else _("不限速"),
        ),
        Pair(_("水位"), task.cursor, code=True),
    ]


@post_required(*SEERS)
def task(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One task with its runs, newest first."""
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    binding = Binding.objects.select_related("source").filter(entry_id=found.grant.entry_id).first()
    may_run = rules.may(rules.check_may_run, request.post, found)
    has_live = found.last_state in LIVE
    is_live = rules.is_live(found.grant)
    values = {
        "title": found.grant.version.name,
        "task": found,
        "pairs": _pairs(found, binding),
        "page": page_of(request, found.runs.order_by("-id")),
        "grant_is_live": is_live,
        "binding": binding,
        "may_configure": may_run and found.state != TaskState.ENDED,
        "may_start": may_run and found.state == TaskState.ACTIVE and is_live and binding is not None and not has_live,
        "may_restrain": rules.may(rules.check_may_restrain, request.post, found) and found.state != TaskState.ENDED,
        "may_resume": may_run and found.state == TaskState.PAUSED and is_live,
    }
    return render(request, "exchange/task.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_configure(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    rules.check_may_run(request.post, found)
    form = TaskForm(found, request.POST or None, initial=TaskForm.values_of(found))
    back = reverse("exchange:task", args=[pk])
    if request.method == "POST" and form.is_valid():
        wanted = {
            name: form.cleaned_data[name] for name in ("target", "target_table", "mode", "schedule", "rows_per_s")
        }
        try:
            actions.configure_task(found, by=request.post, **wanted)
        except JinqiaoError as error:
            explain(request, form, error, _FIELDS)
        else:
            messages.success(request, _("任务已配置。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("配置交换任务"),
        "form": form,
        "held_label": _("目录"),
        "held_value": found.grant.version.name,
        "action": _("保存配置"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_POST
def task_start(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Run now."""
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    run = actions.start_run(found, by=request.post)
    return HttpResponseRedirect(reverse("exchange:run", args=[run.pk]))


@post_required(*RESTRAINERS)
@require_POST
def task_pause(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    actions.pause_task(found, by=request.post)
    messages.success(request, _("任务已暂停；进行中的运行继续到结束。"))
    return HttpResponseRedirect(reverse("exchange:task", args=[pk]))


@post_required(*WORKERS)
@require_POST
def task_resume(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    actions.resume_task(found, by=request.post)
    messages.success(request, _("任务已恢复。"))
    return HttpResponseRedirect(reverse("exchange:task", args=[pk]))


@post_required(*RESTRAINERS)
@require_http_methods(["GET", "POST"])
def task_limit(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Slow the next runs down."""
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    rules.check_may_restrain(request.post, found)
    form = SpeedForm(request.POST or None, initial={"rows_per_s": found.rows_per_s})
    back = reverse("exchange:task", args=[pk])
    if request.method == "POST" and form.is_valid():
        actions.limit_task(found, by=request.post, rows_per_s=form.cleaned_data["rows_per_s"])
        messages.success(request, _("限速已更新，下一次运行起生效。"))
        return HttpResponseRedirect(back)
    values = {
        "title": _("限速"),
        "form": form,
        "held_label": _("目录"),
        "held_value": found.grant.version.name,
        "action": _("更新限速"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)
