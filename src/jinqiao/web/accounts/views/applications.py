"""Applications of an organisation, and their keys for query gateways."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from jinqiao.accounts import actions, errors, queries, rules
from jinqiao.accounts.enums import ApplicationState, Role
from jinqiao.client_wheel import client_wheel
from jinqiao.exchange.queries.openapi import document_for, gateways_of
from jinqiao.kernel.errors import JinqiaoError, NotFound
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.forms import AccessForm, ApplicationFilter, ApplicationForm
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.accounts.views.keys import may_manage_keys, state_of_key
from jinqiao.web.components import Pair
from jinqiao.web.errors import language
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import may_enter, url_of
from jinqiao.web.pagination import page_of

KEEPERS = (Role.DEVELOPER, Role.OPERATOR, Role.DEPARTMENT_ADMINISTRATOR, Role.COUNTY_CLERK)
SEERS = (*KEEPERS, Role.BUREAU, Role.SYSTEM_ADMINISTRATOR, Role.SECURITY_ADMINISTRATOR, Role.AUDITOR)
_STATE_WORDS = {
    ApplicationState.ACTIVE: "resume",
    ApplicationState.SUSPENDED: "suspend",
    ApplicationState.RETIRED: "retire",
}


@post_required(*SEERS)
def applications(request: PostHttpRequest) -> HttpResponse:
    """The own organisation's applications; the bureau and the administrators see all."""
    form = ApplicationFilter(request.GET)
    form.is_valid()
    found = queries.applications_for(request.post)
    text, state = form.cleaned_data.get("q", "").strip(), form.cleaned_data.get("state", "")
    if text:
        found = found.filter(Q(name__icontains=text) | Q(number__icontains=text))
    if state:
        found = found.filter(state=state)
    if request.GET.get("export") == "xlsx":
        return xlsx_response(
            _("应用"),
            [_("应用标识"), _("名称"), _("机构"), _("联系人"), _("状态"), _("登记时间")],
            (
                (
                    application.number,
                    application.name,
                    application.organisation.name,
                    application.contact.name,
                    application.get_state_display(),
                    application.created_at,
                )
                for application in found.iterator(chunk_size=500)
            ),
        )
    values = {
        "title": _("应用与密钥"),
        "form": form,
        "page": page_of(request, found),
        "may_add": rules.may_keep_applications(request.post, request.post.organisation),
    }
    return render(request, "accounts/application_list.html", values)


@post_required(*SEERS)
def application(request: PostHttpRequest, pk: int) -> HttpResponse:
    """One application: who answers for it, which services it may call, its keys."""
    found = get_object_or_404(queries.applications_for(request.post), pk=pk)
    may_keep = rules.may_keep_applications(request.post, found.organisation)
    moves = sorted(rules.APPLICATION_MOVES[ApplicationState(found.state)]) if may_keep else []
    values = {
        "title": found.name,
        "application": found,
        "pairs": [
            Pair(_("应用标识"), found.number, code=True),
            Pair(_("机构"), found.organisation.name),
            Pair(_("联系人"), found.contact.name),
            Pair(_("登记时间"), f"{found.created_at:%Y-%m-%d}"),
            Pair(_("允许的来源网段"), "、".join(found.addresses) or _("不限"), code=bool(found.addresses)),
            Pair(_("国家平台请求方标识"), found.national_id or _("未签发"), code=bool(found.national_id)),
            Pair(_("客户端证书指纹"), "、".join(found.certificates) or _("不要求证书"), code=True, wide=True),
        ],
        "services": [
            (service, address if may_enter(address, request.post) else "")
            for service in found.query_services.select_related("grant__version", "grant__provider").order_by("pk")
            for address in (url_of("exchange:service", service.pk),)
        ],
        "gateways": gateways_of(found),
        "keys": [(key, *state_of_key(key)) for key in found.keys.select_related("gateway").order_by("-id")],
        "may_keep": may_keep and found.state != ApplicationState.RETIRED,
        "moves": [(state, _STATE_WORDS[state]) for state in moves],
        "may_manage_keys": may_manage_keys(request.post, found) and found.state == ApplicationState.ACTIVE,
        "may_revoke": may_manage_keys(request.post, found),
    }
    return render(request, "accounts/application.html", values)


@post_required(*KEEPERS)
@require_http_methods(["GET", "POST"])
def application_new(request: PostHttpRequest) -> HttpResponse:
    body = request.post.organisation
    form = ApplicationForm(body, request.POST or None, initial={"contact": request.post.person_id})
    if request.method == "POST" and form.is_valid():
        try:
            made = actions.register_application(by=request.post, organisation=body, **form.cleaned_data)
        except JinqiaoError as error:
            explain(request, form, error, {errors.ContactElsewhere: "contact"})
        else:
            messages.success(
                request, _("已登记%(name)s，标识%(number)s。") % {"name": made.name, "number": made.number}
            )
            return HttpResponseRedirect(reverse("accounts:application", args=[made.pk]))
    values = {
        "title": _("登记应用"),
        "held_label": _("机构"),
        "held_value": body.name,
        "form": form,
        "action": _("登记应用"),
        "back": reverse("accounts:applications"),
    }
    return render(request, "accounts/form.html", values)


@post_required(*KEEPERS)
@require_http_methods(["GET", "POST"])
def application_state(request: PostHttpRequest, pk: int, state: str) -> HttpResponse:
    """Suspend, resume or retire; asks first."""
    found = get_object_or_404(queries.applications_for(request.post), pk=pk)
    wanted = next(known for known, word in _STATE_WORDS.items() if word == state)
    back = reverse("accounts:application", args=[pk])
    if request.method == "POST":
        actions.change_application_state(found, by=request.post, state=wanted)
        messages.success(request, _("已改为“%(state)s”。") % {"state": wanted.label})
        return HttpResponseRedirect(back)
    titles = {"resume": _("恢复应用"), "suspend": _("暂停应用"), "retire": _("停用应用")}
    lines = {
        "resume": _("下一次策略下发后，网关重新接受它的调用。"),
        "suspend": _("下一次策略下发后，网关不再接受它的调用。可以恢复。"),
        "retire": _("下一次策略下发后，网关不再接受它的调用。停用后不能恢复，记录保留。"),
    }
    values = {
        "title": titles[state],
        "question": _("%(action)s“%(name)s”？") % {"action": titles[state], "name": found.name},
        "what_stays": [lines[state]],
        "action": titles[state],
        "danger": state != "resume",
        "back": back,
    }
    return render(request, "components/confirm.html", values)


@post_required(*KEEPERS)
@require_http_methods(["GET", "POST"])
def application_access(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Networks, client certificates and the national id."""
    found = get_object_or_404(queries.applications_for(request.post), pk=pk)
    rules.check_may_keep_applications(request.post, found.organisation)
    back = reverse("accounts:application", args=[pk])
    shown = {
        "addresses": "\n".join(found.addresses),
        "certificates": "\n".join(found.certificates),
        "national_id": found.national_id,
    }
    form = AccessForm(request.POST or None, initial=shown)
    if request.method == "POST" and form.is_valid():
        try:
            actions.change_application_access(found, by=request.post, **form.cleaned_data)
        except JinqiaoError as error:
            places: dict[type[JinqiaoError], str] = {
                errors.AddressNotNetwork: "addresses",
                errors.FingerprintNotSha256: "certificates",
                errors.NationalIdTaken: "national_id",
            }
            explain(request, form, error, places)
        else:
            messages.success(request, _("接入限制已更新，几秒后网关照此核对。"))
            return HttpResponseRedirect(back)
    values = {
        "title": _("接入限制"),
        "held_label": _("应用"),
        "held_value": found.name,
        "form": form,
        "action": _("保存限制"),
        "back": back,
    }
    return render(request, "accounts/form.html", values)


@post_required(*SEERS)
def application_openapi(request: PostHttpRequest, pk: int) -> HttpResponse:
    """What the application may ask at one gateway (`?gateway=` its number, else the first), as its gateway says it too."""
    found = get_object_or_404(queries.applications_for(request.post), pk=pk)
    wanted = request.GET.get("gateway", "")
    gateway = next((one for one in gateways_of(found) if wanted in ("", one.number)), None)
    made = document_for(found, gateway, language()) if gateway is not None else None
    if made is None:
        raise NotFound
    response = JsonResponse(made, json_dumps_params={"ensure_ascii": False, "indent": 2})
    response["Content-Disposition"] = f'inline; filename="{found.number}.openapi.json"'
    return response


@post_required(*SEERS)
def client_package(request: PostHttpRequest) -> HttpResponse:
    """The client of the query gateway for an application's machine: a wheel, made of the platform that is installed here."""
    wheel = client_wheel()
    response = HttpResponse(wheel.content, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{wheel.name}"'
    return response
