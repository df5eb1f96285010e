"""What a task is set to: target and way, plan, checks; a change of the source's columns taken note of."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, errors, rules
from jinqiao.exchange.models import ExchangeTask
from jinqiao.exchange.queries.visible import tasks_visible_to
from jinqiao.kernel.catalogues import check_catalogue
from jinqiao.kernel.contracts.exchange import CheckRule
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange import task_view
from jinqiao.web.exchange.roles import WORKERS
from jinqiao.web.exchange.rule_forms import CheckForm, ChooseCheck, LimitForm, Offered
from jinqiao.web.exchange.task_forms import PlanForm, TaskForm
from jinqiao.web.exchange.words import check_word, titled

FIELDS: dict[type[JinqiaoError], str] = {
    errors.TargetOfAnotherOrganisation: "target",
    errors.TargetNotWritable: "target",
    errors.SourceRetired: "target",
    errors.TargetNameBroken: "target_table",
    errors.WatermarkMissing: "mode",
    errors.KeysMissing: "mode",
    errors.KeyNotGranted: "mode",
    errors.LogNotPossible: "mode",
    errors.DeliveryNotFitting: "delivery",
    errors.ScheduleBroken: "every",
    errors.CronBroken: "cron",
    errors.CronNever: "cron",
    errors.LimitBroken: "rows_per_s",
    errors.PredecessorWrong: "after_task",
    errors.ComparisonNotPossible: "compare_schedule",
}
"""At which field of a form an action's refusal is told."""


def _task(request: PostHttpRequest, pk: int) -> ExchangeTask:
    found: ExchangeTask = get_object_or_404(tasks_visible_to(request.post), pk=pk)
    return found


def _place(form: Any, error: JinqiaoError) -> dict[type[JinqiaoError], str]:
    """Where the words of an error stand: by its class, or by the field that it names."""
    named = str(error.details.get("field", ""))
    if isinstance(error, errors.SettingWrong) and named in form.fields:
        return {errors.SettingWrong: named}
    if isinstance(error, errors.TargetNamesBroken) and f"name-{error.details.get('item')}" in form.fields:
        return {errors.TargetNamesBroken: f"name-{error.details['item']}"}
    return {kind: field for kind, field in FIELDS.items() if field in form.fields}


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_configure(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The consumer says where it takes the data and how."""
    found = _task(request, pk)
    rules.check_may_run(request.post, found)
    form = TaskForm(found, request.POST or None, initial=TaskForm.values_of(found))
    back = reverse("exchange:task", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.configure_task(found, by=request.post, **form.wanted())
        except JinqiaoError as error:
            explain(request, form, error, _place(form, error))
        else:
            messages.success(request, _("任务已配置。"))
            return HttpResponseRedirect(back)
    values = {"title": _("配置交换任务"), "form": form, "task": found, "back": back}
    return render(request, "exchange/task_configure.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_plan(request: PostHttpRequest, pk: int) -> HttpResponse:
    """When it runs, after what, how it is tried again."""
    found = _task(request, pk)
    rules.check_may_run(request.post, found)
    form = PlanForm(found, request.post, request.POST or None, initial=PlanForm.values_of(found))
    back = reverse("exchange:task", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.plan_task(found, by=request.post, **form.wanted())
        except JinqiaoError as error:
            explain(request, form, error, _place(form, error))
        else:
            messages.success(request, _("运行安排已保存。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("安排运行"),
        "form": form,
        "held_label": _("目录"),
        "held_value": found.grant.version.name,
        "action": _("保存安排"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_POST
def task_columns(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The source's table has changed, and that is right."""
    found = _task(request, pk)
    actions.accept_columns(found, by=request.post)
    messages.success(request, _("已确认来源现在的结构，下一次运行按它读取。"))
    return HttpResponseRedirect(reverse("exchange:task", args=[pk]))


def _items(task: ExchangeTask) -> list[tuple[str, str]]:
    return [(code, f"{name}（{code}）") for code, name in task_view.item_names(task).items()]


def _rules(task: ExchangeTask) -> list[CheckRule]:
    return [CheckRule.from_json(rule) for rule in task.checks]


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_checks(request: PostHttpRequest, pk: int) -> HttpResponse:
    """The rules, a chooser for one more, and the share of set-aside rows that is borne."""
    found = _task(request, pk)
    rules.check_may_watch(request.post, found)
    form = LimitForm(request.POST or None, initial={"percent": round(found.quarantine_limit * 100, 6)})
    if request.method == "POST" and form.is_valid():
        limit = form.cleaned_data["percent"] / 100
        actions.choose_checks(found, by=request.post, checks=_rules(found), quarantine_limit=limit)
        messages.success(request, _("隔离上限已保存。"))
        return HttpResponseRedirect(reverse("exchange:task_checks", args=[pk]))
    values = {
        "title": _("检查规则"),
        "task": found,
        "lines": task_view.check_lines(found),
        "chooser": ChooseCheck(_items(found)),
        "form": form,
        "back": reverse("exchange:task", args=[pk]),
    }
    return render(request, "exchange/task_checks.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def task_check(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One rule: a new one (`?check=…&item=…`), or the one at `?position=…`."""
    found = _task(request, pk)
    rules.check_may_watch(request.post, found)
    kept = _rules(found)
    position = request.GET.get("position", "")
    rule = kept[int(position)] if position.isdecimal() and int(position) < len(kept) else None
    check = rule.check if rule else request.GET.get("check", "")
    item = rule.item if rule else request.GET.get("item", "")
    entry = check_catalogue().get(check)
    names = task_view.item_names(found)
    if entry is None or entry.get("implicit") or item not in names:
        raise NotFound
    form = CheckForm(Offered(_items(found), ()), check, item, request.POST or None, rule=rule)
    back = reverse("exchange:task_checks", args=[pk])
    if request.method == "POST" and form.is_valid():
        new = form.rule()
        wanted = [new if old is rule else old for old in kept] if rule is not None else [*kept, new]
        try:
            actions.choose_checks(found, by=request.post, checks=wanted, quarantine_limit=found.quarantine_limit)
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            messages.success(request, _("检查规则已保存，下一次运行起生效。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("检查：%(check)s") % {"check": check_word(check)},
        "form": form,
        "held_label": _("数据项"),
        "held_value": f"{names[item]}（{item}）",
        "note": titled(entry, "note"),
        "action": _("保存规则"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_POST
def task_check_remove(request: PostHttpRequest, pk: int, position: int) -> HttpResponse:
    found = _task(request, pk)
    kept = _rules(found)
    if position >= len(kept):
        raise NotFound
    del kept[position]
    actions.choose_checks(found, by=request.post, checks=kept, quarantine_limit=found.quarantine_limit)
    messages.success(request, _("检查规则已删除，下一次运行起生效。"))
    return HttpResponseRedirect(reverse("exchange:task_checks", args=[pk]))
