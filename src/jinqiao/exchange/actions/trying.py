"""A call of the sandbox from the pages: signed by the platform's own key, which gateways take for the sandbox only."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from django.db import transaction

from jinqiao.accounts.models import Application, Post
from jinqiao.audit import trail
from jinqiao.exchange import rules
from jinqiao.exchange.actions.platform import platform_identity
from jinqiao.exchange.errors import ApplicationOfAnother, GatewayMissing
from jinqiao.exchange.models import QueryService
from jinqiao.exchange.queries.openapi import gateway_root
from jinqiao.exchange.service_errors import SandboxNotReached
from jinqiao.kernel.contracts.policy import Operation, trial_key_id
from jinqiao.kernel.errors import Language
from jinqiao.kernel.httpsig import IdentitySigner, sign_request

TIMEOUT_S = 10.0
MOST_SHOWN = 200_000  # bytes of an answer
SANDBOX = "/gateway/sandbox/v1/services"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Tried:
    """A call as it was sent and what came back. The signature is of the platform's sandbox key: good once, and there only."""

    method: str
    url: str
    sent: tuple[tuple[str, str], ...]
    body: str
    status: int
    got: tuple[tuple[str, str], ...]
    answer: str

    @property
    def is_answered(self) -> bool:
        return self.status == 200


def try_service(
    service: QueryService,
    application: Application,
    operation: Operation,
    question: dict[str, Any],
    *,
    by: Post,
    language: Language = "zh",
) -> Tried:
    """Ask the sandbox of a service in an application's name.

    Raises NotYourService, ApplicationOfAnother, GatewayMissing, SandboxNotReached.
    """
    rules.check_may_attach(by, service, application)
    if not service.applications.filter(pk=application.pk).exists():
        raise ApplicationOfAnother(application=application.number)
    body = json.dumps(question, ensure_ascii=False).encode()
    tried = _send(service, application, "POST", operation.value, body, language)
    with transaction.atomic():
        trail.record(
            "exchange.service.try",
            by=by.actor,
            about=trail.subject(service),
            application=application.number,
            operation=operation.value,
            status=tried.status,
        )
    return tried


def sandbox_examples(service: QueryService, application: Application) -> dict[str, Any]:
    """Synthetic people that the sandbox knows; empty where it cannot be asked now."""
    try:
        told = _send(service, application, "GET", "examples", b"", "zh")
        found = json.loads(told.answer) if told.is_answered else {}
    except (SandboxNotReached, GatewayMissing, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _send(
    service: QueryService, application: Application, method: str, last: str, body: bytes, language: Language
) -> Tried:
    if service.gateway is None:
        raise GatewayMissing(service=service.number)
    url = f"{gateway_root(service.gateway)}{SANDBOX}/{quote(service.number, safe='')}/{last}"
    headers = {"Accept": JSON, "Accept-Language": language} | ({"Content-Type": JSON} if body else {})
    signed = sign_request(
        method,
        url,
        body,
        key_id=trial_key_id(application.number),
        signer=IdentitySigner(platform_identity()),
        headers=headers,
    )
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client:
            response = client.request(method, url, content=body, headers=headers | signed)
    except httpx.HTTPError as problem:
        raise SandboxNotReached(host=urlsplit(url).netloc, reason=type(problem).__name__) from problem
    shown = ("content-type", "jinqiao-answer-salt", "retry-after", "deprecation", "sunset", "link")
    return Tried(
        method,
        url,
        tuple({"Host": urlsplit(url).netloc, **headers, **signed}.items()),
        body.decode(),
        response.status_code,
        tuple((name, response.headers[name]) for name in shown if name in response.headers),
        response.content[:MOST_SHOWN].decode("utf-8", "replace"),
    )
