"""Query calls as gateways recorded them: who asked what for which case; never what was answered."""

from datetime import datetime, time, timedelta

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from jinqiao.accounts.models import Organisation
from jinqiao.exchange.queries.visible import calls_visible_to
from jinqiao.kernel.errors import error_texts
from jinqiao.kernel.moments import CHINA
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.errors import language
from jinqiao.web.exchange.forms import CallFilter
from jinqiao.web.exchange.roles import SERVICE_SEERS
from jinqiao.web.exports import xlsx_response
from jinqiao.web.pagination import page_of


class _Unnamed(dict[str, str]):
    """Details of a refusal are not part of the record: … stands for them."""

    def __missing__(self, key: str) -> str:
        return "…"


def outcome_words(code: str) -> str:
    """An outcome as people read it: answered, or the first sentence of the refusal's code."""
    if code == "ok":
        return _("已答复")
    text = error_texts().get(code)
    if text is None:
        return code
    message = text["message" if language() == "zh" else "message_en"].format_map(_Unnamed())
    return message.split("。")[0].removesuffix(".")


@post_required(*SERVICE_SEERS)
def calls(request: PostHttpRequest) -> HttpResponse:
    form = CallFilter(request.GET)
    form.is_valid()
    found = calls_visible_to(request.post)
    values = form.cleaned_data
    if text := values.get("q", "").strip():
        found = found.filter(Q(call_id=text) | Q(case_number__icontains=text))
    if values.get("service"):
        found = found.filter(service=values["service"].strip())
    for side in ("provider", "consumer"):
        if values.get(side):
            found = found.filter(**{side: values[side].credit_code})
    if values.get("outcome"):
        found = found.filter(outcome="ok") if values["outcome"] == "ok" else found.exclude(outcome="ok")
    if values.get("since"):
        found = found.filter(at__gte=datetime.combine(values["since"], time(), CHINA))
    if values.get("until"):
        found = found.filter(at__lt=datetime.combine(values["until"], time(), CHINA) + timedelta(days=1))
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("调用记录"),
            [
                _("时间"),
                _("调用编号"),
                _("服务"),
                _("授权"),
                _("应用"),
                _("需求部门"),
                _("提供部门"),
                _("用途"),
                _("业务编号"),
                _("结果"),
                _("行数"),
                _("用时（毫秒）"),
            ],
            (
                (
                    call.at,
                    call.call_id,
                    call.service,
                    call.grant_number,
                    call.application,
                    call.consumer,
                    call.provider,
                    call.purpose,
                    call.case_number,
                    outcome_words(call.outcome),
                    call.rows,
                    call.duration_us / 1000,
                )
                for call in found.iterator(chunk_size=500)
            ),
        )
    page = page_of(request, found)
    codes = {code for call in page.object_list for code in (call.consumer, call.provider)}
    names = dict(Organisation.objects.filter(credit_code__in=codes).values_list("credit_code", "short_name"))
    for call in page.object_list:
        call.consumer_name = names.get(call.consumer, call.consumer)
        call.provider_name = names.get(call.provider, call.provider)
        call.outcome_words = outcome_words(call.outcome)
        call.duration_ms = round(call.duration_us / 1000, 1)
    return render(request, "exchange/calls.html", {"title": _("调用记录"), "form": form, "page": page})
