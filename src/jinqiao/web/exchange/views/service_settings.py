"""The provider's settings of a query service, and its announced end; and how both read on the service's page."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.exchange import actions, errors, rules, service_errors
from jinqiao.exchange.actions.service_settings import bound_items, open_items
from jinqiao.exchange.models import QueryService
from jinqiao.exchange.queries.visible import services_visible_to
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair
from jinqiao.web.exchange.roles import WORKERS
from jinqiao.web.exchange.service_forms import (
    MASK_WORDS,
    OPERATION_WORDS,
    SECTIONS,
    WEEKDAYS,
    EndForm,
    ServiceForm,
    initial_of,
)
from jinqiao.web.navigation import url_of

_FIELDS: dict[type[JinqiaoError], str] = {
    service_errors.NoOperationOffered: "operations",
    service_errors.FilterItemNotOpen: "filter_items",
    service_errors.CaseItemNotBound: "case_item",
    service_errors.RoleMaskWrong: "role_masks",
    service_errors.HoursWrong: "last",
    service_errors.VersionGoesBack: "version",
    service_errors.NationalIdTaken: "national_id",
    service_errors.EndTooSoon: "ends_on",
    service_errors.SuccessorWrong: "successor",
}


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def service_set(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    rules.check_may_limit_service(request.post, found)
    back = reverse("exchange:service", args=[pk])
    form = ServiceForm(found, request.POST or None, initial=initial_of(actions.settings_of(found)))
    if request.method == "POST" and form.is_valid():
        try:
            actions.set_service(found, form.wanted, by=request.post)
        except JinqiaoError as error:
            explain(request, form, error, {**_FIELDS, errors.LimitBroken: str(error.details.get("field", "row_cap"))})
        else:
            messages.success(request, _("设置已生效，几秒后网关照此答复。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("服务设置"),
        "form": form,
        "held_label": _("服务"),
        "held_value": found.grant.version.name,
        "sections": [{"heading": heading, "fields": fields} for heading, fields in SECTIONS],
        "action": _("保存设置"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


@post_required(*WORKERS)
@require_http_methods(["GET", "POST"])
def service_end(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    rules.check_may_limit_service(request.post, found)
    back = reverse("exchange:service", args=[pk])
    others = services_visible_to(request.post).filter(grant__consumer=found.grant.consumer_id).exclude(pk=pk)
    form = EndForm(others, request.POST or None, initial={"ends_on": found.ends_on, "successor": found.successor_id})
    if request.method == "POST" and form.is_valid():
        try:
            actions.announce_end(found, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, _FIELDS)
        else:
            messages.success(request, _("公告已更新，网关随每次答复告知调用方。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("公告停用"),
        "form": form,
        "held_label": _("服务"),
        "held_value": found.grant.version.name,
        "action": _("发布公告"),
        "back": back,
    }
    return render(request, "exchange/form.html", values)


def setting_pairs(service: QueryService) -> list[Pair]:
    """What is set, in words, for both sides."""
    names = {item["code"]: item["name"] for item in service.grant.items} | bound_items(service)
    successor = service.successor
    return [
        Pair(_("开放的操作"), "、".join(str(OPERATION_WORDS[name]) for name in service.operations), wide=True),
        Pair(_("筛选项"), "、".join(names[code] for code in service.filter_items if code in open_items(service))),
        Pair(_("本案限定项"), names.get(service.case_item, service.case_item)),
        Pair(_("经办人"), _("每次调用必填") if service.end_user_required else _("选填")),
        Pair(_("按角色遮蔽"), "；".join(_role_mask(mask, names) for mask in service.role_masks)),
        Pair(_("每次返回上限"), _("%(rows)s行") % {"rows": formats.number(service.row_cap)}),
        Pair(_("每批查询上限"), _("%(keys)s个") % {"keys": formats.number(service.batch_cap)}),
        Pair(_("最小计数"), formats.number(service.smallest_count) if service.smallest_count else _("照实答")),
        Pair(_("每分钟次数"), formats.number(service.calls_per_minute)),
        Pair(_("每日次数"), formats.number(service.calls_per_day) if service.calls_per_day else _("不限")),
        Pair(_("每日行数"), formats.number(service.rows_per_day) if service.rows_per_day else _("不限")),
        Pair(_("开放时段"), "；".join(map(_hours, service.hours)) or _("全天")),
        Pair(_("接口版本"), str(service.version)),
        Pair(_("国家平台服务标识"), service.national_id or _("未签发"), code=bool(service.national_id)),
        Pair(_("最后服务日"), formats.iso_day(service.ends_on) if service.ends_on else ""),
        Pair(
            _("替代服务"),
            successor.number if successor else "",
            url=url_of("exchange:service", successor.pk) if successor else "",
            code=True,
        ),
    ]


def _role_mask(mask: dict[str, str], names: dict[str, str]) -> str:
    return _("%(role)s看%(item)s：%(mask)s") % {
        "role": mask["role"],
        "item": names.get(mask["code"], mask["code"]),
        "mask": MASK_WORDS[mask["mask"]],
    }


def _hours(span: dict[str, object]) -> str:
    days = list(span.get("weekdays", []))  # type: ignore[call-overload]
    words = "、".join(str(word) for number, word in WEEKDAYS if number in days) if len(days) < 7 else _("每天")
    return f"{words} {span['first']}-{span['last']}"
