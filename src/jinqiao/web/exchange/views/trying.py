"""The try-it page: a developer asks the sandbox and sees the signed request, the answer, and code to paste."""

import json
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jinqiao.accounts.enums import Role
from jinqiao.accounts.models import Application
from jinqiao.exchange import rules
from jinqiao.exchange.actions.trying import Tried, sandbox_examples, try_service
from jinqiao.exchange.errors import GatewayMissing
from jinqiao.exchange.models import QueryService
from jinqiao.exchange.queries.openapi import gateway_root, policy_of
from jinqiao.exchange.queries.policy import why_not_served
from jinqiao.exchange.queries.visible import services_visible_to
from jinqiao.kernel.contracts.policy import Operation, ServicePolicy
from jinqiao.kernel.errors import JinqiaoError, Language
from jinqiao.web.access import PostHttpRequest, post_required
from jinqiao.web.accounts.refusals import explain
from jinqiao.web.components import Tab
from jinqiao.web.exchange.roles import WORKERS
from jinqiao.web.exchange.service_forms import OPERATION_WORDS
from jinqiao.web.exchange.snippets import Snippet, snippets
from jinqiao.web.exchange.try_form import TryForm, initial_of


@post_required(*WORKERS, Role.DEVELOPER)
@never_cache
@require_http_methods(["GET", "POST"])
def service_try(request: PostHttpRequest, pk: int) -> HttpResponse:
    """`?operation=` chooses what is asked, `?person=` the synthetic person it is asked about."""
    found = get_object_or_404(services_visible_to(request.post), pk=pk)
    rules.check_may_attach(request.post, found)
    policy, applications = policy_of(found), _applications(found, request)
    values: dict[str, Any] = {"title": _("沙箱试用"), "service": found}
    if policy is None or not applications:
        values |= {"hindrance": why_not_served(found) if policy is None else "", "has_application": bool(applications)}
        return render(request, "exchange/try.html", values)
    operation = _operation(request, policy)
    examples = sandbox_examples(found, applications[0])
    person = request.GET.get("person", "0")
    initial = initial_of(policy, operation, examples, int(person) if person.isdigit() and len(person) < 4 else 0)
    initial["application"] = applications[0].pk
    form = TryForm(policy, operation, applications, request.POST or None, initial=initial)
    tried = None
    if request.method == "POST" and form.is_valid():
        try:
            tried = try_service(
                found, form.cleaned_data["application"], operation, form.question, by=request.post, language=_language()
            )
        except JinqiaoError as error:
            explain(request, form, error)
    page = reverse("exchange:service_try", args=[pk])
    offered = [Operation(name) for name in policy.operations]
    values |= {
        "form": form,
        "operation": operation.value,
        "tabs": [Tab(OPERATION_WORDS[o.value], f"{page}?operation={o.value}", o is operation) for o in offered],
        "people": [
            (number, "、".join(str(value) for value in one["by"].values()))
            for number, one in enumerate(examples.get("people") or [])
        ],
        "takes_person": operation in (Operation.QUERY, Operation.VERIFY),
        "page": page,
    }
    if tried is not None:
        values |= _shown(found, operation, form, tried)
    return render(request, "exchange/try.html", values)


def _shown(service: QueryService, operation: Operation, form: TryForm, tried: Tried) -> dict[str, Any]:
    if service.gateway is None:
        raise GatewayMissing(service=service.number)
    root = gateway_root(service.gateway)

    def code(*, sandbox: bool) -> list[Snippet]:
        return snippets(root, service.number, operation.value, form.question, sandbox=sandbox)

    return {
        "tried": tried,
        "sent_body": _pretty(tried.body),
        "answer": _pretty(tried.answer),
        "sandbox_code": code(sandbox=True),
        "production_code": code(sandbox=False),
    }


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text


def _operation(request: PostHttpRequest, policy: ServicePolicy) -> Operation:
    wanted = request.GET.get("operation", "")
    return next((one for one in policy.operations if one.value == wanted), policy.operations[0])


def _applications(service: QueryService, request: PostHttpRequest) -> list[Application]:
    return [
        one
        for one in service.applications.filter(state="active").order_by("number")
        if rules.may(rules.check_may_attach, request.post, service, one)
    ]


def _language() -> Language:
    return "en" if (get_language() or "").startswith("en") else "zh"
