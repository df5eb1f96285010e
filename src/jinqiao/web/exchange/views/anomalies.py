"""Anomalies of calls: the list, one with its figures and its calls, closing it; the rules that find them."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.exchange import actions, oversight_errors, rules
from jinqiao.exchange.enums import ALERT_OF
from jinqiao.exchange.queries.anomalies import (
    anomalies_found,
    anomalies_visible_to,
    anomaly_rules_version,
)
from jinqiao.exchange.queries.anomalies import anomaly_rules as rules_that_hold
from jinqiao.exchange.queries.calls import CallsWanted, calls_found
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.exchange import anomaly_view, call_view
from jinqiao.web.exchange.call_forms import AnomalyCloseForm, AnomalyFilter
from jinqiao.web.exchange.roles import ALERT_WORKERS, SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

SHOWN = 20


@post_required(*SEERS)
def anomalies(request: PostHttpRequest) -> HttpResponse:
    """The newest first; a closed one stays with its reason."""
    form = AnomalyFilter(request.GET)
    found = anomalies_found(request.post, **form.wanted())
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("调用异常"),
            [
                _("日期"), _("规则"), _("规则版本"), _("提供部门"), _("需求部门"), _("服务"), _("应用"), _("经办人"), _("业务编号"), _("数据"),
                _("状态"), _("处理说明"), _("处理人"), _("处理时间"),
            ],
            (
                (
                    formats.iso_day(one.since), one.get_kind_display(), one.rules_version,
                    one.provider.name if one.provider else "", one.consumer.name if one.consumer else "", one.service,
                    one.application, one.end_user, one.case_number, anomaly_view.headline(one), one.get_state_display(), one.reason,
                    one.closed_by.person.name if one.closed_by else "", one.closed_at,
                )
                for one in found.iterator(chunk_size=500)
            ),
        )  # fmt: skip
    page = page_of(request, found)
    values = {
        "title": _("调用异常"),
        "form": form,
        "page": page,
        "rows": [(one, anomaly_view.headline(one), anomaly_view.subject_of(one)) for one in page],
        "version": anomaly_rules_version(),
    }
    return render(request, "exchange/anomalies.html", values)


@post_required(*SEERS)
def anomaly(request: PostHttpRequest, pk: int) -> HttpResponse:
    """What was found by which rule, in which calls, and what came of it."""
    found = get_object_or_404(anomalies_visible_to(request.post), pk=pk)
    calls = calls_found(request.post, CallsWanted(anomaly=found))
    values = {
        "title": found.get_kind_display(),
        "anomaly": found,
        "meaning": anomaly_view.MEANINGS[found.kind],
        "common": anomaly_view.common_pairs(found),
        "figures": anomaly_view.figure_pairs(found),
        "calls": call_view.rows_of(calls[:SHOWN]),
        "count": calls.count(),
        "calls_url": f"{reverse('exchange:calls')}?anomaly={found.pk}",
        "form": AnomalyCloseForm(),
        "may_close": found.state == "open" and rules.may(rules.check_may_close_anomaly, request.post, found),
    }
    return render(request, "exchange/anomaly.html", values)


@post_required(*ALERT_WORKERS)
@require_http_methods(["GET", "POST"])
def anomaly_close(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Say what was behind it."""
    found = get_object_or_404(anomalies_visible_to(request.post), pk=pk)
    form = AnomalyCloseForm(request.POST or None)
    back = reverse("exchange:anomaly", args=[pk])
    if request.method == "POST" and form.is_valid():
        try:
            actions.close_anomaly(found, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, {oversight_errors.AnomalyReasonMissing: "reason"})
        else:
            messages.success(request, _("异常已处理，说明留痕。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("处理调用异常"),
        "form": form,
        "held_label": _("规则"),
        "held_value": found.get_kind_display(),
        "action": _("提交处理结果"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*SEERS)
def anomaly_rules(request: PostHttpRequest) -> HttpResponse:
    """The thresholds as they hold, with their version."""
    rows = [
        (
            rule,
            rule.kind.label,
            ALERT_OF[rule.kind].value,
            anomaly_view.MEANINGS[rule.kind.value],
            [(anomaly_view.NUMBERS.get(name, name), formats.number(value)) for name, value in rule.numbers.items()],
        )
        for rule in rules_that_hold()
    ]
    values = {
        "title": _("调用异常规则"),
        "rows": rows,
        "version": anomaly_rules_version(),
        "may_set": rules.may(rules.check_may_set_alert_rule, request.post, None),
    }
    return render(request, "exchange/anomaly_rules.html", values)
