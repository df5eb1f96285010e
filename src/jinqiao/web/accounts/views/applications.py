"""Applications of an organisation, and their keys for query gateways."""

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jinqiao.accounts import actions, errors, queries, rules
from jinqiao.accounts.enums import ApplicationState, Role
from jinqiao.accounts.models import Application
from jinqiao.exchange import rules as exchange_rules
from jinqiao.exchange.actions import issue_key, revoke_key
from jinqiao.exchange.enums import NodeKind, NodeState
from jinqiao.exchange.models import ApplicationKey, Node
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.forms import ApplicationFilter, ApplicationForm, KeyForm
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Pair
from jinqiao.web.exports import xlsx_response
from jinqiao.web.navigation import url_of
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
        ],
        "services": [
            (service, url_of("exchange:service", service.pk))
            for service in found.query_services.select_related("grant__entry").order_by("pk")
        ],
        "keys": found.keys.select_related("gateway").order_by("-id"),
        "moves": [(state, _STATE_WORDS[state]) for state in moves],
        "may_manage_keys": _may_manage_keys(request, found) and found.state == ApplicationState.ACTIVE,
        "may_revoke": _may_manage_keys(request, found),
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


@post_required(Role.DEVELOPER, Role.DEPARTMENT_ADMINISTRATOR)
@never_cache
@require_http_methods(["GET", "POST"])
def key_new(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Issue a key for one gateway; its secret is shown once."""
    found = get_object_or_404(queries.applications_for(request.post), pk=pk, state=ApplicationState.ACTIVE)
    exchange_rules.check_may_manage_keys(request.post, found)
    form = KeyForm(_gateways(), request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            key, secret = issue_key(found, form.cleaned_data["gateway"], by=request.post)
        except JinqiaoError as error:
            explain(request, form, error)
        else:
            values = {"title": _("新密钥"), "application": found, "key": key, "secret": secret}
            return render(request, "accounts/key_secret.html", values)
    values = {
        "title": _("签发密钥"),
        "held_label": _("应用"),
        "held_value": found.name,
        "form": form,
        "action": _("签发密钥"),
        "back": reverse("accounts:application", args=[pk]),
    }
    return render(request, "accounts/form.html", values)


@post_required(Role.DEVELOPER, Role.DEPARTMENT_ADMINISTRATOR)
@require_http_methods(["GET", "POST"])
def key_revoke(request: PostHttpRequest, pk: int) -> HttpResponse:
    key = get_object_or_404(
        ApplicationKey.objects.filter(application__in=queries.applications_for(request.post)).select_related(
            "application", "gateway"
        ),
        pk=pk,
    )
    back = reverse("accounts:application", args=[key.application_id])
    if request.method == "POST":
        revoke_key(key, by=request.post)
        messages.success(request, _("密钥已吊销，网关从下一次策略起拒绝它。"))
        return HttpResponseRedirect(back)
    values = {
        "title": _("吊销密钥"),
        "question": _("吊销密钥%(key)s？") % {"key": key.key_id},
        "what_stays": [_("用这把密钥的调用会被拒绝，不能恢复。先换上新密钥，再吊销旧的，业务不中断。")],
        "action": _("吊销密钥"),
        "danger": True,
        "back": back,
    }
    return render(request, "components/confirm.html", values)


def _gateways() -> QuerySet[Node]:
    return Node.objects.filter(kind=NodeKind.GATEWAY, state=NodeState.ACTIVE).order_by("name")


def _may_manage_keys(request: PostHttpRequest, found: Application) -> bool:
    return exchange_rules.may(exchange_rules.check_may_manage_keys, request.post, found)
