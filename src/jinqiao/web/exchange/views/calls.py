"""Query calls as gateways recorded them: who asked what for which case; never what was answered."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from jinqiao.exchange.models import Anomaly, Call
from jinqiao.exchange.queries.anomalies import anomalies_visible_to
from jinqiao.exchange.queries.calls import calls_found, proof_of
from jinqiao.exchange.queries.samples import samples_visible_to
from jinqiao.exchange.queries.visible import calls_visible_to
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.exchange import call_view
from jinqiao.web.exchange.call_forms import CallFilter
from jinqiao.web.exchange.roles import SERVICE_SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of

EXPORT_CAP = 50_000


@post_required(*SERVICE_SEERS)
def calls(request: PostHttpRequest) -> HttpResponse:
    """The search; figures of statistics and anomalies lead here."""
    form = CallFilter(request.GET)
    wanted = form.wanted()
    anomaly = _anomaly(request, form)
    found = calls_found(request.post, replace(wanted, anomaly=anomaly))
    if request.GET.get("export") == "xlsx":
        return _workbook(found)
    page = page_of(request, found)
    values = {
        "title": _("调用记录"),
        "form": form,
        "page": page,
        "rows": call_view.rows_of(page),
        "anomaly": anomaly,
        "hour": formats.moment(wanted.hour) if wanted.hour else "",
        "cap": EXPORT_CAP if page.paginator.count > EXPORT_CAP else 0,
    }
    return render(request, "exchange/calls.html", values)


def _anomaly(request: PostHttpRequest, form: CallFilter) -> Anomaly | None:
    pk = form.cleaned_data.get("anomaly")
    return get_object_or_404(anomalies_visible_to(request.post), pk=pk) if pk else None


def _workbook(found: QuerySet[Call]) -> HttpResponse:
    """At most `EXPORT_CAP` calls, the newest; a last line says where more were found."""
    return xlsx_response(
        _("调用记录"),
        [
            _("时间"), _("调用编号"), _("服务"), _("授权"), _("应用"), _("经办人"), _("需求部门"), _("提供部门"), _("用途"), _("业务编号"),
            _("操作"), _("环境"), _("结果"), _("责任方"), _("查询对象数"), _("行数"), _("用时（毫秒）"),
        ],
        _lines(found),
    )  # fmt: skip


def _lines(found: QuerySet[Call]) -> Iterator[tuple[Any, ...]]:
    calls = found.iterator(chunk_size=500)
    for call in islice(calls, EXPORT_CAP):
        yield (
            call.at, call.call_id, call.service, call.grant_number, call.application, call.end_user, call.consumer, call.provider,
            call.purpose, call.case_number, str(call_view.operation_words(call.operation)),
            str(call_view.environment_words(call.environment)), call_view.outcome_words(call.outcome),
            call.get_error_owner_display() if call.error_owner else "", call.keys, call.rows, call.duration_us / 1000,
        )  # fmt: skip
    if next(calls, None) is not None:
        yield (_("只导出最近的%(cap)s次，后面还有；缩小筛选范围再导出。") % {"cap": formats.number(EXPORT_CAP)},)


@post_required(*SERVICE_SEERS)
def call(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One call: what was asked, what proves it, where it leads."""
    found = get_object_or_404(calls_visible_to(request.post), pk=pk)
    proof = proof_of(found)
    values = {
        "title": _("调用%(number)s") % {"number": found.call_id[:12]},
        "call": found,
        "outcome": call_view.outcome_words(found.outcome),
        "asked": call_view.asked_pairs(found, proof, request.post),
        "commitments": call_view.commitment_pairs(found),
        "steps": call_view.proof_steps(found, proof),
        "proof": proof,
        "may_prove": found.record is not None and proof.segment is not None and proof.anchor is not None,
        "samples": samples_visible_to(request.post).filter(call=found),
    }
    return render(request, "exchange/call.html", values)
