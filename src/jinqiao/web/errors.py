"""How errors reach a reader: as a page, as a fragment for HTMX, or as Problem Details (RFC 9457), each with a number to ask by.

Refusals of people who are signed in are recorded in the audit trail here, because the transaction of what they tried is gone;
so is asking for a thing of others, which is told as missing.
"""

import logging
import secrets
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.signals import got_request_exception
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import get_language

from jinqiao.accounts.models import Person, Post
from jinqiao.audit import trail
from jinqiao.audit.models import Outcome
from jinqiao.audit.trail import Actor
from jinqiao.kernel.errors import ErrorText, InvalidInput, JinqiaoError, Language, NotAllowed, NotFound

log = logging.getLogger(__name__)

PROBLEM_JSON = "application/problem+json"


class NoLivePost(NotAllowed):
    """Signed in, but no post of theirs is live today."""

    code = "web.post.none_live"


class FormExpired(NotAllowed):
    """The secret of the form does not fit the session: open too long, or sent from elsewhere."""

    code = "web.form.expired"


class PostNotYours(NotAllowed):
    """Somebody asked to act in a post that is not theirs or not live."""

    code = "web.post.not_yours"


class LanguageUnknown(InvalidInput):
    code = "web.language.unknown"


class SignInLocked(NotAllowed):
    """Too many wrong passwords for this name from this address."""

    code = "web.sign_in.locked"
    http_status = HTTPStatus.TOO_MANY_REQUESTS


def language() -> Language:
    """The reader's language, for the texts of errors."""
    return "en" if (get_language() or "").startswith("en") else "zh"


def new_number() -> str:
    """A number that a reader can read out over the telephone."""
    return secrets.token_hex(4).upper()


def wants_json(request: HttpRequest) -> bool:
    if request.path.startswith("/api/"):
        return True
    accept = request.headers.get("Accept", "")
    return "json" in accept and "text/html" not in accept


def error_response(request: HttpRequest, error: JinqiaoError, *, number: str = "") -> HttpResponse:
    """The answer to an error in the form that the caller understands."""
    number = number or new_number()
    text = error.text(language())
    status = int(error.http_status)
    if wants_json(request):
        return JsonResponse(problem(error, text, number), status=status, content_type=PROBLEM_JSON)
    values: dict[str, Any] = {"text": text, "code": error.code, "number": number, "status": status, "error": error}
    if getattr(request, "htmx", False) and not request.htmx.boosted:  # type: ignore[attr-defined]
        return render(request, "components/error_notice.html", values, status=status)
    return render(request, "errors/error.html", {**values, "title": text.message.rstrip("。.")}, status=status)


def problem(error: JinqiaoError, text: ErrorText, number: str) -> dict[str, Any]:
    """Problem Details of an error. `title` is what happened, `detail` how to mend it."""
    return {
        "type": "about:blank",
        "title": text.message,
        "status": int(error.http_status),
        "detail": text.mend,
        "clause": text.clause,
        "code": error.code,
        "retryable": error.retryable,
        "instance": f"urn:jinqiao:request:{number}",
    }


class ErrorPagesMiddleware:
    """Turns what views raise into answers. Inside PostMiddleware, so that it knows who asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, Http404):
            exception = NotFound()
        if isinstance(exception, PermissionDenied):
            exception = NotAllowed()
        if isinstance(exception, JinqiaoError) and exception.code != JinqiaoError.code:
            number = new_number()
            if isinstance(exception, NotAllowed) or _asked_for_a_thing(request, exception):
                record_refusal(request, exception, number)
            return error_response(request, exception, number=number)
        number = new_number()
        log_unexpected(exception, number)
        got_request_exception.send(sender=type(self), request=request)
        return error_response(request, JinqiaoError(), number=number)


def _asked_for_a_thing(request: HttpRequest, error: JinqiaoError) -> bool:
    """Whether a thing was asked for by its number and there was none to be shown. What belongs to others is told as missing, and
    trying numbers is the way to it: so it is written down like any refusal."""
    match = request.resolver_match
    return isinstance(error, NotFound) and match is not None and bool(match.kwargs)


def log_unexpected(exception: BaseException, number: str) -> None:
    """Where it broke, without the words of the exception: they may carry values of rows."""
    stack = "".join(traceback.format_tb(exception.__traceback__ or sys.exc_info()[2]))
    log.error("request %s failed: %s\n%s", number, type(exception).__qualname__, stack)


def record_refusal(request: HttpRequest, error: JinqiaoError, number: str) -> None:
    """Write down that somebody tried what they may not. Who is not signed in leaves no trace here."""
    actor = actor_of(request)
    if actor is None:
        return
    match = request.resolver_match
    try:
        trail.record(
            "access.page.refuse",
            by=actor,
            outcome=Outcome.REFUSED,
            code=error.code,
            page=match.view_name if match else request.path,
            arguments={name: str(value) for name, value in match.kwargs.items()} if match else {},
            method=request.method or "",
            number=number,
        )
    except DatabaseError as broken:
        log_unexpected(broken, number)


def actor_of(request: HttpRequest) -> Actor | None:
    """Who asked, as the trail names them."""
    post: Post | None = getattr(request, "post", None)
    if post is not None:
        return post.actor
    person = getattr(request, "user", None)
    return Actor(str(person.pk), person.name, "", "", "") if isinstance(person, Person) else None


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The form's secret does not fit. The page says how to go on; the reason is for the log only."""
    log.info("form refused: %s", reason)
    return error_response(request, FormExpired())
