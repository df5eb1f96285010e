"""Exchange tasks: the list, one task, starting, pausing, going on."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, rules
from jinqiao.exchange.enums import RunState
from jinqiao.exchange.queries.tasks import tasks_found
from jinqiao.exchange.queries.visible import tasks_visible_to
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.exchange import task_view
from jinqiao.web.exchange.forms import TaskFilter
from jinqiao.web.exchange.roles import RESTRAINERS, SEERS, WORKERS
from jinqiao.web.exchange.task_forms import SpeedForm
from jinqiao.web.exchange.words import schedule_words, start_words
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

_HAS_ALERT = {"yes": True, "no": False}


@post_required(*SEERS)
def tasks(request: PostHttpRequest) -> HttpResponse:
    """Tasks that the post may see; an edge of the map leads here with both departments."""
    form = TaskFilter(request.GET)
    form.is_valid()
    values = form.cleaned_data
    provider, consumer = values.get("provider"), values.get("consumer")
    found = tasks_found(
        request.post,
        text=values.get("q", ""),
        state=values.get("state", ""),
        mode=values.get("mode", ""),
        last_state=values.get("last_state", ""),
        provider_id=provider.pk if provider else None,
        consumer_id=consumer.pk if consumer else None,
        has_alert=_HAS_ALERT.get(values.get("alert", "")),
    ).select_related(
        "grant__provider", "grant__consumer", "grant__entry", "grant__version", "target__node", "after_task"
    )
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("交换任务"),
            [
                _("任务编号"), _("目录"), _("提供部门"), _("需求部门"), _("授权"), _("方式"), _("交付方式"), _("计划"),
                _("目标表"), _("状态"), _("上次运行"), _("下次运行"), _("有告警"),
            ],
            (
                (
                    task.number,
                    task.grant.version.name,
                    task.grant.provider.name,
                    task.grant.consumer.name,
                    task.grant.number,
                    task.get_mode_display(),
                    task.get_delivery_display(),
                    schedule_words(task.schedule),
                    task.target_table,
                    task.get_state_display(),
                    task.last_at,
                    task.next_run_at,
                    _("是") if task.has_alert else _("否"),
                )
                for task in found.iterator(chunk_size=500)
            ),
        )  # fmt: skip
    page = page_of(request, found)
    labels = dict(RunState.choices)
    for task in page.object_list:
        task.plan = _("、").join(start_words(task))
        task.last_word = labels.get(task.last_state, "")
    return render(request, "exchange/tasks.html", {"title": _("交换任务"), "form": form, "page": page})


@post_required(*SEERS)
def task(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One task with its runs, newest first."""
    found = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    values: dict[str, Any] = {
        "title": found.grant.version.name,
        "task": found,
        "page": page_of(request, found.runs.order_by("-id")),
        **task_view.view_of(found, request.post),
    }
    return render(request, "exchange/task.html", values)


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
    form = SpeedForm(request.POST or None, initial={"rows_per_s": found.rows_per_s, "mb_per_s": found.mb_per_s})
    back = reverse("exchange:task", args=[pk])
    if request.method == "POST" and form.is_valid():
        actions.limit_task(found, by=request.post, **form.cleaned_data)
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
