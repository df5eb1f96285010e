"""Query services: the list, one service, its applications, limits and switch."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from jinqiao.accounts.enums import ApplicationState, Role
from jinqiao.accounts.models import Application, Post
from jinqiao.exchange import actions, rules
from jinqiao.exchange.models import Binding, QueryService
from jinqiao.exchange.queries.openapi import gateway_root
from jinqiao.exchange.queries.policy import why_not_served
from jinqiao.exchange.queries.visible import calls_visible_to, last_call_at, services_visible_to
from jinqiao.kernel.contracts.tables import Mask
from jinqiao.web import formats
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.components import Pair
from jinqiao.web.exchange.forms import AttachForm, ReasonForm, ServiceFilter
from jinqiao.web.exchange.health_view import health_pairs
from jinqiao.web.exchange.roles import SERVICE_KEEPERS, SERVICE_SEERS, WORKERS
from jinqiao.web.exchange.service_forms import MASK_WORDS
from jinqiao.web.exchange.views.service_settings import setting_pairs
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import may_enter, url_of
from jinqiao.web.pagination import page_of

RECENT = 10


@post_required(*SERVICE_SEERS)
def services(request: PostHttpRequest) -> HttpResponse:
    form = ServiceFilter(request.GET)
    form.is_valid()
    found = services_visible_to(request.post)
    text, state = (form.cleaned_data.get(name, "").strip() for name in ("q", "state"))
    if text:
        found = found.filter(
            Q(number__icontains=text) | Q(grant__number__icontains=text) | Q(grant__version__name__icontains=text)
        )
    if state:
        found = found.filter(is_suspended=state == "suspended")
    sides = {f"grant__{side}": form.cleaned_data.get(side) for side in ("provider", "consumer")}
    found = found.filter(**{name: organisation for name, organisation in sides.items() if organisation})
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("查询服务"),
            [
                _("服务标识"),
                _("目录"),
                _("提供部门"),
                _("需求部门"),
                _("授权"),
                _("授权状态"),
                _("授权至"),
                _("网关"),
                _("应用数"),
                _("已暂停"),
            ],
            (
                (
                    service.number,
                    service.grant.version.name,
                    service.grant.provider.name,
                    service.grant.consumer.name,
                    service.grant.number,
                    service.grant.get_state_display(),
                    service.grant.valid_until,
                    service.gateway.name if service.gateway else "",
                    service.application_count,
                    _("是") if service.is_suspended else _("否"),
                )
                for service in found.iterator(chunk_size=500)
            ),
        )
    return render(
        request, "exchange/services.html", {"title": _("查询服务"), "form": form, "page": page_of(request, found)}
    )


def _masks(service: QueryService) -> list[dict[str, object]]:
    binding = Binding.objects.filter(entry_id=service.grant.entry_id).first()
    lookup = set(binding.lookup_items) if binding else set()
    return [
        {
            "name": item["name"],
            "code": item["code"],
            "mask": MASK_WORDS.get(item.get("mask") or Mask.NONE.value, ""),
            "is_key": item["code"] in lookup,
        }
        for item in service.grant.items
    ]


def _root(service: QueryService) -> str:
    return gateway_root(service.gateway) if service.gateway else ""


def _free_applications(service: QueryService, post: Post) -> list[Application]:
    """What this post may still attach."""
    found = (
        Application.objects.filter(organisation_id=service.grant.consumer_id, state=ApplicationState.ACTIVE)
        .exclude(pk__in=service.applications.values("pk"))
        .order_by("number")
    )
    return [one for one in found if rules.may(rules.check_may_attach, post, service, one)]


@post_required(*SERVICE_SEERS)
def service(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One service: how to call it, who calls it, why it is not served, what was called last."""
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    grant = found.grant
    may_attach = rules.may(rules.check_may_attach, request.post, found)
    grant_url = url_of("sharing:grant", grant.pk)
    values = {
        "title": grant.version.name,
        "service": found,
        "pairs": [
            Pair(_("服务标识"), found.number, code=True),
            Pair(_("调用地址"), f"POST {_root(found)}/gateway/v1/services/{found.number}/query", code=True, wide=True),
            Pair(_("授权"), grant.number, url=grant_url if may_enter(grant_url, request.post) else "", code=True),
            Pair(_("授权至"), formats.iso_day(grant.valid_until)),
            Pair(_("提供部门"), grant.provider.name),
            Pair(_("需求部门"), grant.consumer.name),
            Pair(_("网关"), found.gateway.name if found.gateway else ""),
            Pair(_("用途"), "、".join(grant.purposes)),
            Pair(_("业务编号"), _("每次调用必填") if grant.case_number_required else _("选填")),
            Pair(_("最近调用"), formats.moment(last_call_at(found))),
            *health_pairs(found),
        ],
        "settings": setting_pairs(found),
        "items": _masks(found),
        "hindrance": why_not_served(found),
        "applications": [
            (
                application,
                address if may_enter(address, request.post) else "",
                rules.may(rules.check_may_attach, request.post, found, application),
            )
            for application in found.applications.order_by("number")
            for address in (url_of("accounts:application", application.pk),)
        ],
        "calls": calls_visible_to(request.post).filter(service=found.number)[:RECENT],
        "calls_url": f"{reverse('exchange:calls')}?service={found.number}",
        "may_attach": may_attach,
        "attach_form": AttachForm(_free_applications(found, request.post)) if may_attach else None,
        "may_limit": rules.may(rules.check_may_limit_service, request.post, found),
        "may_switch": rules.may(rules.check_may_suspend_service, request.post, found),
    }
    return render(request, "exchange/service.html", values)


@post_required(*WORKERS, Role.DEVELOPER)
@require_POST
def service_attach(request: PostHttpRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    form = AttachForm(_free_applications(found, request.post), request.POST)
    rules.check_may_attach(request.post, found)
    if form.is_valid():
        actions.attach_application(found, form.cleaned_data["application"], by=request.post)
        messages.success(request, _("应用已挂上，几秒后网关生效。"))
    else:
        messages.error(request, _("先选一个应用。"))
    return HttpResponseRedirect(reverse("exchange:service", args=[pk]))


@post_required(*WORKERS, Role.DEVELOPER)
@require_POST
def service_detach(request: PostHttpRequest, pk: int, application: int) -> HttpResponse:
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    gone = get_object_or_404(found.applications, pk=application)
    actions.detach_application(found, gone, by=request.post)
    messages.success(request, _("应用已取下，几秒后网关不再接受它的调用。"))
    return HttpResponseRedirect(reverse("exchange:service", args=[pk]))


@post_required(*SERVICE_KEEPERS)
@require_http_methods(["GET", "POST"])
def service_state(request: PostHttpRequest, pk: int, verb: str) -> HttpResponse:
    """Suspend or resume; asks first."""
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    rules.check_may_suspend_service(request.post, found)
    back = reverse("exchange:service", args=[pk])
    form = ReasonForm(request.POST or None) if verb == "suspend" else None
    if request.method == "POST" and (form is None or form.is_valid()):
        if form is None:
            actions.resume_service(found, by=request.post)
        else:
            actions.suspend_service(found, by=request.post, reason=form.cleaned_data["reason"])
        messages.success(request, _("已办理，几秒后网关生效。"))
        return HttpResponseRedirect(back)
    titles = {"resume": _("恢复服务"), "suspend": _("暂停服务")}
    lines = {
        "resume": _("下一次策略下发后，网关重新答复调用。"),
        "suspend": _("下一次策略下发后，网关不再答复调用；授权和应用都保留。"),
    }
    values = {
        "title": titles[verb],
        "question": _("%(action)s“%(name)s”？") % {"action": titles[verb], "name": found.grant.version.name},
        "what_stays": [lines[verb]],
        "form": form,
        "action": titles[verb],
        "danger": verb == "suspend",
        "back": back,
    }
    return render(request, "components/confirm.html", values)
