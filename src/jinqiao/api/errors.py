"""Errors of the machine interface, and how they reach a program: Problem Details (RFC 9457)."""

import json
import logging
import secrets
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language

from jinqiao.audit import trail
from jinqiao.audit.address import client_address
from jinqiao.audit.models import Outcome
from jinqiao.audit.trail import Actor
from jinqiao.exchange.actions.platform import node_actor
from jinqiao.exchange.models import Node
from jinqiao.kernel.contracts.base import canonical_json
from jinqiao.kernel.errors import InvalidInput, JinqiaoError, NotAllowed, NotFound, Unavailable

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"
STRANGERS_EVERY_S = 60


class BodyBroken(InvalidInput):
    """The body is no JSON."""

    code = "api.body.broken"


class BodyTooLarge(InvalidInput):
    code = "api.body.too_large"
    http_status = 413


class RouteMissing(NotFound):
    code = "api.route.missing"


class NotReady(Unavailable):
    """`health/ready`: something that the platform needs is not there."""

    code = "api.health.not_ready"


def problem_response(error: JinqiaoError, *, number: str = "", **more: Any) -> HttpResponse:
    """`code` for programs, `title` and `detail` for people; `details` never hold row values or secrets."""
    text = error.text("en" if (get_language() or "").startswith("en") else "zh")
    body = {
        "type": f"urn:jinqiao:error:{error.code}",
        "title": text.message,
        "status": int(error.http_status),
        "detail": text.mend,
        "code": error.code,
        "retryable": error.retryable,
        "details": _plain(error.details),
        "instance": f"urn:jinqiao:request:{number or secrets.token_hex(4).upper()}",
        **({"clause": text.clause} if text.clause else {}),
        **more,
    }
    response = HttpResponse(canonical_json(body), status=int(error.http_status), content_type=PROBLEM_JSON)
    if error.http_status == 401:
        response["WWW-Authenticate"] = 'Signature realm="jinqiao"'
    if error.retryable:
        response["Retry-After"] = "2"
    return response


def _plain(details: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(details, default=str))
    return plain


def answer_error(request: HttpRequest, error: Exception) -> HttpResponse:
    """The one place where errors of the machine interface become answers; refusals go into the trail."""
    number = secrets.token_hex(4).upper()
    if not isinstance(error, JinqiaoError):
        log.exception("request %s failed", number)
        return problem_response(JinqiaoError(), number=number)
    if isinstance(error, NotAllowed):
        record_refusal(request, error, number)
    return problem_response(error, number=number)


def record_refusal(request: HttpRequest, error: NotAllowed, number: str) -> None:
    """Who was refused what. Strangers are written down once a minute for each address and reason, so that they cannot flood
    the trail."""
    node: Node | None = getattr(request, "node", None)
    address = client_address(request)
    if node is None and not cache.add(f"refused:{address}:{error.code}", 1, STRANGERS_EVERY_S):
        return
    actor = node_actor(node) if node else Actor("", "未识别的调用方", "", "", "")
    match = request.resolver_match
    try:
        trail.record(
            "access.api.refuse",
            by=actor,
            about=trail.subject(node) if node else None,
            outcome=Outcome.REFUSED,
            code=error.code,
            route=match.url_name if match and match.url_name else "",
            path=request.path[:200],
            method=request.method or "",
            number=number,
        )
    except DatabaseError:
        log.exception("request %s: the refusal could not be recorded", number)
