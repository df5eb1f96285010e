"""Alerts: the list, one alert, taking note of it; the rules behind them; where they are sent."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.exchange import actions, errors, rules
from jinqiao.exchange.enums import OF_EVIDENCE, AlertKind, ChannelKind
from jinqiao.exchange.models import AlertChannel, AlertRule, ExchangeTask
from jinqiao.exchange.queries.alerts import (
    Rule,
    alerts_found,
    alerts_visible_to,
    channels_visible_to,
    last_deliveries,
    rules_for,
)
from jinqiao.exchange.queries.visible import tasks_visible_to
from jinqiao.kernel.errors import InvalidInput, JinqiaoError, NotFound
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.errors import language
from jinqiao.web.exchange import alert_view
from jinqiao.web.exchange.alert_forms import ChannelForm, RuleForm
from jinqiao.web.exchange.forms import AlertFilter
from jinqiao.web.exchange.roles import ALERT_SEERS, ALERT_WORKERS, CHANNEL_KEEPERS, SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

_IS_OPEN = {"open": True, "closed": False}


@post_required(*SEERS)
def alerts(request: PostHttpRequest) -> HttpResponse:
    """The newest first; open ones stay until their cause is gone."""
    form = AlertFilter(request.GET)
    form.is_valid()
    values = form.cleaned_data
    organisation = values.get("organisation")
    found = alerts_found(
        request.post,
        text=values.get("q", ""),
        is_open=_IS_OPEN.get(values.get("status", "")),
        kind=values.get("kind", ""),
        severity=values.get("severity", ""),
        organisation_id=organisation.pk if organisation else None,
        since=values.get("since"),
        until=values.get("until"),
    )
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("告警"),
            [_("规则"), _("级别"), _("责任机构"), _("事项"), _("发生时间"), _("解除时间"), _("知悉"), _("知悉时间")],
            (
                (
                    alert.get_kind_display(),
                    alert.get_severity_display(),
                    alert.organisation.name,
                    str(alert_view.about(alert).value),
                    alert.opened_at,
                    alert.closed_at,
                    alert.seen_by.person.name if alert.seen_by else "",
                    alert.seen_at,
                )
                for alert in found.iterator(chunk_size=500)
            ),
        )
    page = page_of(request, found)
    rows = [
        (alert, alert_view.TONES[alert.severity], alert_view.about(alert), alert_view.may_see(alert, request.post))
        for alert in page
    ]
    values = {"title": _("告警"), "form": form, "page": page, "rows": rows}
    return render(request, "exchange/alerts.html", values)


@post_required(*SEERS)
def alert(request: PostHttpRequest, pk: int) -> HttpResponse:
    """What was found, what it means, to whom it was sent."""
    found = get_object_or_404(alerts_visible_to(request.post), pk=pk)
    values = {
        "title": found.get_kind_display(),
        "alert": found,
        "tone": alert_view.TONES[found.severity],
        "about": alert_view.about(found),
        "pairs": alert_view.detail_pairs(found),
        "meaning": alert_view.MEANINGS[found.kind],
        "deliveries": found.deliveries.select_related("channel__organisation").order_by("id"),
        "may_see": alert_view.may_see(found, request.post),
    }
    return render(request, "exchange/alert.html", values)


@post_required(*ALERT_SEERS)
@require_POST
def alert_see(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Somebody has taken note; it stays open until its cause is gone."""
    found = get_object_or_404(alerts_visible_to(request.post), pk=pk)
    actions.see_alert(found, by=request.post)
    messages.success(request, _("已记下您知悉这条告警；原因消除后它自动解除。"))
    return HttpResponseRedirect(reverse("exchange:alert", args=[pk]))


@post_required(*SEERS)
def alert_rules(request: PostHttpRequest) -> HttpResponse:
    """What is watched everywhere, or of one task (`?task=…`)."""
    task = _task(request)
    may_set = rules.may(rules.check_may_set_alert_rule, request.post, task)
    rows = [(rule, alert_view.TONES[rule.severity.value], alert_view.rule_numbers(rule)) for rule in rules_for(task)]
    values = {"title": _("告警规则"), "task": task, "rows": rows, "may_set": may_set}
    return render(request, "exchange/alert_rules.html", values)


def _task(request: PostHttpRequest) -> ExchangeTask | None:
    text = request.GET.get("task", "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise NotFound
    found: ExchangeTask = get_object_or_404(tasks_visible_to(request.post), pk=int(text))
    return found


def _rules_page(task: ExchangeTask | None) -> str:
    return reverse("exchange:alert_rules") + (f"?task={task.pk}" if task else "")


@post_required(*ALERT_WORKERS)
@require_http_methods(["GET", "POST"])
def alert_rule(request: PostHttpRequest, kind: str) -> HttpResponse:
    """One rule, for all or for `?task=…`."""
    task = _task(request)
    rules.check_may_set_alert_rule(request.post, task)
    rule = next((rule for rule in rules_for(task) if rule.kind.value == kind), None)
    if rule is None:
        raise NotFound
    form = RuleForm(rule, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            actions.set_alert_rule(rule.kind, by=request.post, task=task, **form.wanted())
        except JinqiaoError as error:
            named = str(error.details.get("parameter", ""))
            explain(request, form, error, {errors.AlertRuleWrong: named} if named in form.fields else None)
        else:
            messages.success(request, _("告警规则已保存。"))
            return HttpResponseRedirect(_rules_page(task))
    values = {
        "title": _("告警规则：%(name)s") % {"name": rule.kind.label},
        "form": form,
        "held_label": _("适用"),
        "held_value": _held(rule, task),
        "note": alert_view.MEANINGS[rule.kind.value],
        "action": _("保存规则"),
        "back": _rules_page(task),
    }
    return render(request, "exchange/form.html", values)


def _held(rule: Rule, task: ExchangeTask | None) -> str:
    """What a rule is for."""
    if task is not None:
        return task.grant.version.name
    if rule.kind in OF_EVIDENCE:
        return _("全部查询网关")
    return _("全部查询服务") if alert_view.is_of_calls(rule.kind) else _("全部任务和节点")


@post_required(*ALERT_WORKERS)
@require_POST
def alert_rule_drop(request: PostHttpRequest, kind: str) -> HttpResponse:
    """As it is for all again, or as shipped."""
    task = _task(request)
    found = AlertRule.objects.filter(kind=kind, task=task).first()
    if kind not in AlertKind.values or found is None:
        raise NotFound
    actions.drop_alert_rule(found, by=request.post)
    messages.success(request, _("已恢复为通用规则。"))
    return HttpResponseRedirect(_rules_page(task))


@post_required(*CHANNEL_KEEPERS)
def alert_channels(request: PostHttpRequest, pk: int = 0) -> HttpResponse:
    """Mail boxes and webhooks of the department, with what was sent last. With `pk` that one stands alone."""
    found = channels_visible_to(request.post)
    if pk:
        found = found.filter(pk=pk)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("告警通道"),
            [_("机构"), _("方式"), _("地址"), _("最低级别"), _("启用"), _("设置时间")],
            (
                (
                    channel.organisation.name,
                    channel.get_kind_display(),
                    channel.address,
                    channel.get_least_display(),
                    _("是") if channel.is_active else _("否"),
                    channel.created_at,
                )
                for channel in found.iterator(chunk_size=500)
            ),
        )
    page = page_of(request, found)
    values = {
        "title": _("告警通道"),
        "page": page,
        "rows": [(channel, last_deliveries(channel, 3), _may_manage(request, channel)) for channel in page],
        "notice": alert_view.mail_notice() if any(channel.kind == ChannelKind.MAIL for channel in page) else "",
    }
    return render(request, "exchange/alert_channels.html", values)


def _may_manage(request: PostHttpRequest, channel: AlertChannel) -> bool:
    return rules.may(rules.check_may_manage_channels, request.post, channel.organisation_id)


@post_required(*CHANNEL_KEEPERS)
@never_cache
@require_http_methods(["GET", "POST"])
def alert_channel_new(request: PostHttpRequest) -> HttpResponse:
    """Add one; the key of a webhook is shown on the answer, and never again."""
    rules.check_may_manage_channels(request.post, request.post.organisation_id)
    form = ChannelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            channel, secret = actions.add_alert_channel(by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, {InvalidInput: "address"})
        else:
            if secret:
                shown: dict[str, Any] = {"title": _("回调密钥"), "channel": channel, "secret": secret}
                return render(request, "exchange/channel_secret.html", shown)
            _say_added(request, channel)
            return HttpResponseRedirect(reverse("exchange:alert_channels"))
    values = {
        "title": _("增加告警通道"),
        "form": form,
        "held_label": _("机构"),
        "held_value": request.post.organisation.name,
        "note": _("待办里的告警照旧；通道是另外再发一份。业务运营部门的通道收到全部告警。"),
        "notice": alert_view.mail_notice(),
        "action": _("增加通道"),
        "back": reverse("exchange:alert_channels"),
    }
    return render(request, "exchange/form.html", values)


def _say_added(request: PostHttpRequest, channel: AlertChannel) -> None:
    """What comes of it: a channel that cannot send just now does not say that it will."""
    notice = alert_view.mail_notice() if channel.kind == ChannelKind.MAIL else ""
    if notice:
        messages.warning(request, _("通道已增加，但现在还发不出去，原因和办法见下。"))
    else:
        messages.success(request, _("通道已增加，之后的告警会发到那里。可以先发送一次测试。"))


@post_required(*CHANNEL_KEEPERS)
@require_POST
def alert_channel_test(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Send a test now and tell what came of it."""
    found = get_object_or_404(channels_visible_to(request.post), pk=pk)
    try:
        actions.try_channel(found, by=request.post)
    except errors.NotYourAlert:
        raise
    except JinqiaoError as error:
        text = error.text(language())
        why = text.message if isinstance(error, errors.AlertNotSent) else f"{text.message}{text.mend}"
        messages.error(request, _("测试没有发出：%(why)s") % {"why": why})
    else:
        notice = alert_view.mail_notice() if found.kind == ChannelKind.MAIL else ""
        said = (
            _("测试已交给%(address)s的服务器；请到收件处确认。")
            if found.kind == ChannelKind.MAIL
            else _("测试已送达，%(address)s已答复收到。")
        )
        if notice:
            messages.warning(request, _("测试只写在本机，没有外发。"))
        else:
            messages.success(request, said % {"address": found.address})
    return HttpResponseRedirect(reverse("exchange:alert_channels"))


@post_required(*CHANNEL_KEEPERS)
@require_POST
def alert_channel_switch(request: PostHttpRequest, pk: int) -> HttpResponse:
    """On or off."""
    found = get_object_or_404(channels_visible_to(request.post), pk=pk)
    actions.switch_alert_channel(found, by=request.post, is_active=not found.is_active)
    messages.success(request, _("通道已停发。") if found.is_active else _("通道已恢复发送。"))
    return HttpResponseRedirect(reverse("exchange:alert_channels"))


@post_required(*CHANNEL_KEEPERS)
@require_http_methods(["GET", "POST"])
def alert_channel_drop(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Remove it; asks first."""
    found = get_object_or_404(channels_visible_to(request.post), pk=pk)
    rules.check_may_manage_channels(request.post, found.organisation_id)
    if request.method == "POST":
        actions.drop_alert_channel(found, by=request.post)
        messages.success(request, _("通道已删除。"))
        return HttpResponseRedirect(reverse("exchange:alert_channels"))
    values = {
        "title": _("删除告警通道"),
        "question": _("不再把告警发到%(address)s？") % {"address": found.address},
        "what_stays": [_("待办里的告警不受影响；这个通道的发送记录一并删除，增删留痕。")],
        "action": _("删除通道"),
        "danger": True,
        "back": reverse("exchange:alert_channels"),
        "back_label": _("不删除"),
    }
    return render(request, "components/confirm.html", values)
