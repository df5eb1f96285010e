"""Keys of an application: a secret is issued, a public key registered, either replaced with an overlap or revoked."""

from typing import Any

from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jinqiao.accounts import queries
from jinqiao.accounts.enums import ApplicationState, Role
from jinqiao.accounts.models import Application, Post
from jinqiao.exchange import errors, rules, service_errors
from jinqiao.exchange.actions import challenge_for, issue_key, register_key, revoke_key
from jinqiao.exchange.enums import NodeKind, NodeState
from jinqiao.exchange.models import ApplicationKey, Node
from jinqiao.kernel import moments
from jinqiao.kernel.crypto.errors import PublicKeyNotRead
from jinqiao.kernel.errors import JinqiaoError
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.forms import KeyForm, PublicKeyForm
from jinqiao.web.accounts.refusals import explain

MANAGERS = (Role.DEVELOPER, Role.DEPARTMENT_ADMINISTRATOR)
_FIELDS = {
    service_errors.OverlapWrong: "until",
    errors.KeyAlreadyRevoked: "replaces",
    errors.NodeNotActive: "gateway",
    service_errors.KeyAlgorithmWrong: "algorithm",
    service_errors.PossessionNotProved: "signature",
    service_errors.ChallengeNotGood: "signature",
    service_errors.PublicKeyUsed: "public_key",
    PublicKeyNotRead: "public_key",
}


@post_required(*MANAGERS)
@never_cache
@require_http_methods(["GET", "POST"])
def key_new(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Issue a secret for one gateway; it is shown once."""
    found = _application(request, pk)
    form = KeyForm(_gateways(), _usable(found), request.POST or None, initial=_initial(found))
    if request.method == "POST" and form.is_valid():
        wanted = dict(form.cleaned_data)
        try:
            key, secret = issue_key(found, wanted.pop("gateway"), by=request.post, **wanted)
        except JinqiaoError as error:
            explain(request, form, error, _FIELDS)
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


@post_required(*MANAGERS)
@never_cache
@require_http_methods(["GET", "POST"])
def key_register(request: PostHttpRequest, pk: int) -> HttpResponse:
    """Register a public key, whose private half the developer shows by signing the challenge of this page."""
    found = _application(request, pk)
    challenge = challenge_for(found)
    initial = {**_initial(found), "algorithm": "ed25519", "challenge": challenge}
    form = PublicKeyForm(_gateways(), _usable(found), request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        wanted = dict(form.cleaned_data)
        try:
            key = register_key(found, wanted.pop("gateway"), by=request.post, **wanted)
        except JinqiaoError as error:
            explain(request, form, error, _FIELDS)
            if isinstance(error, service_errors.ChallengeNotGood):  # the old one cannot be signed any more
                form.data = {**request.POST.dict(), "challenge": challenge}
        else:
            messages.success(request, _("公钥已登记，密钥标识%(key)s，几秒后网关接受它。") % {"key": key.key_id})
            return HttpResponseRedirect(reverse("accounts:application", args=[pk]))
    values = {
        "title": _("登记公钥"),
        "application": found,
        "form": form,
        "challenge": form["challenge"].value(),
        "back": reverse("accounts:application", args=[pk]),
    }
    return render(request, "accounts/key_register.html", values)


@post_required(*MANAGERS)
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


def may_manage_keys(post: Post, application: Application) -> bool:
    return rules.may(rules.check_may_manage_keys, post, application)


def state_of_key(key: ApplicationKey) -> tuple[str, str]:
    """Tone and word of a key's state now."""
    if key.revoked_at is not None:
        return "stop", _("已吊销")
    now = moments.now()
    if key.not_after is not None and key.not_after <= now:
        return "stop", _("已到期")
    if key.not_before is not None and key.not_before > now:
        return "wait", _("未启用")
    return "run", _("使用中")


def _application(request: PostHttpRequest, pk: int) -> Application:
    found = get_object_or_404(queries.applications_for(request.post), pk=pk, state=ApplicationState.ACTIVE)
    rules.check_may_manage_keys(request.post, found)
    return found


def _initial(application: Application) -> dict[str, Any]:
    """Where the application's services stand at one gateway, or the city has one only, nobody needs to choose."""
    gateways = list(_gateways().filter(query_services__applications=application).distinct()[:2] or _gateways()[:2])
    return {"algorithm": "hmac-sha256", "gateway": gateways[0].pk if len(gateways) == 1 else None}


def _gateways() -> QuerySet[Node]:
    return Node.objects.filter(kind=NodeKind.GATEWAY, state=NodeState.ACTIVE).order_by("name")


def _usable(application: Application) -> QuerySet[ApplicationKey]:
    return application.keys.filter(Q(not_after=None) | Q(not_after__gt=moments.now()), revoked_at=None).order_by("-id")
